//! What the executor says last: the line with which it ends, as opposed to what the Dockerfile's commands printed.
//!
//! Sources: kaniko 1.24.0 and 1.28.3 (osscontainertools), `cmd/executor/cmd/root.go`, `pkg/executor/build.go` and `push.go`,
//! `pkg/image/remote/remote.go`, `pkg/util/util.go` and `command_util.go`; go-containerregistry 0.20,
//! `pkg/v1/remote/transport/error.go`; Go, `net/url`.

/// How the line begins with which a pod says that it did not get its context. Source: `service/files/build.sh`.
pub(super) const NOT_ARRIVED: &str = "garden-build: the build context did not arrive: ";

/// How it begins if the context service, or the client's conversation with it, has ended too early. Source: the same.
pub(super) const BROKE_OFF: &str = "garden-build: the build context broke off: ";

/// How it begins if what the context service gave is not what the client has. Source: the same.
pub(super) const ALTERED: &str = "garden-build: the build context was altered: ";

/// What 1.24 adds to the failure of its first look at the registry; 1.28 says it in a warning.
const ADVICE: &str =
    " -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again";

/// Where the executor unpacks a context that it is sent.
const CONTEXT_DIRECTORY: &str = "/kaniko/buildcontext/";

/// The beginnings of the lines with which the executor ends.
const BEGINNINGS: [&str; 9] = [
    NOT_ARRIVED,
    BROKE_OFF,
    ALTERED,
    "error building image: ",
    "error pushing image: ",
    "error checking push permissions",
    "error resolving ",
    "Error: ",
    "kaniko should only be run inside of a container",
];

/// What a last line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastWord<'w> {
    /// The pod did not get its context.
    NotArrived { reason: &'w str },
    /// The pod was given another context.
    Altered { reason: &'w str },
    /// The executor could not read its context.
    BrokenContext,
    /// The registry does not take the image.
    Push { reason: &'w str },
    /// The registry does not hand out a base image.
    BaseImage { reason: &'w str },
    /// An instruction reads a file that the context does not have.
    MissingFile { path: &'w str },
    /// The command of a RUN failed.
    Command,
    /// Another instruction failed.
    Instruction { reason: &'w str },
    /// Anything else.
    Other,
}

/// Whether the line is one with which the executor, or the pod, ends.
pub(super) fn is_last_word(line: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
}

/// Whether the pod says that the context service, or the client's conversation with it, has ended too early.
pub(super) fn says_broken_off(line: &str) -> bool {
    line.starts_with(BROKE_OFF)
}

/// Whether the pod says that it was given another context.
pub(super) fn says_altered(line: &str) -> bool {
    line.starts_with(ALTERED)
}

/// Reads a last line.
pub(super) fn read(words: &str) -> LastWord<'_> {
    if let Some(reason) = words.strip_prefix(NOT_ARRIVED).or_else(|| words.strip_prefix(BROKE_OFF)) {
        return LastWord::NotArrived { reason };
    }
    if let Some(reason) = words.strip_prefix(ALTERED) {
        return LastWord::Altered { reason };
    }
    // The command line's library reports failures before the build begins in this way.
    let words = words.strip_prefix("Error: ").unwrap_or(words);
    if words.starts_with("error resolving source context: ") {
        return LastWord::BrokenContext;
    }
    if let Some(rest) = words.strip_prefix("error checking push permissions") {
        let rest = rest.strip_prefix(ADVICE).unwrap_or(rest);
        let reason = behind(rest, ": checking push permission for ");
        return LastWord::Push { reason: reason.or_else(|| rest.strip_prefix(": ")).unwrap_or(rest) };
    }
    if let Some(rest) = words.strip_prefix("error pushing image: ") {
        return LastWord::Push { reason: behind(rest, "failed to push to destination ").unwrap_or(rest) };
    }
    match words.strip_prefix("error building image: ") {
        Some(rest) => of_build(rest),
        None => LastWord::Other,
    }
}

fn of_build(words: &str) -> LastWord<'_> {
    let words = words.strip_prefix("error building stage: ").unwrap_or(words);
    if let Some(reason) = words.strip_prefix("failed to execute command: ") {
        // A process that was killed has no exit status.
        let of_command = reason.starts_with("waiting for process to exit: ");
        return if of_command { LastWord::Command } else { LastWord::Instruction { reason } };
    }
    if let Some(path) = missing_file(words) {
        return LastWord::MissingFile { path };
    }
    let reason = of_base_image(words);
    let is_remote =
        is_request(reason) || reason.starts_with("image not found on any configured mapped registries for ");
    if is_remote { LastWord::BaseImage { reason } } else { LastWord::Other }
}

/// The executor looks for the files of COPY and ADD before it runs the first instruction, or when a command of their stage
/// has run: `failed to get files used from context: failed to get fileinfo for /…: lstat /…: no such file or directory`.
fn missing_file(words: &str) -> Option<&str> {
    let words = words.strip_prefix("failed to optimize instructions: ").unwrap_or(words);
    let words = words.strip_prefix("failed to get files used from context: ")?;
    let (path, reason) = words.strip_prefix("failed to get fileinfo for ")?.split_once(": lstat ")?;
    reason
        .ends_with(": no such file or directory")
        .then_some(path.strip_prefix(CONTEXT_DIRECTORY).unwrap_or(path))
}

/// Takes away what the executor says before the reason why it does not have a base image.
fn of_base_image(words: &str) -> &str {
    let words = words.strip_prefix("precompute: ").unwrap_or(words);
    let words = ["failed to get baseImage: ", "failed to get filesystem from image: "]
        .iter()
        .find_map(|layer| words.strip_prefix(layer))
        .unwrap_or(words);
    let tried = words.strip_prefix("unable to complete operation after ");
    tried.and_then(|rest| Some(rest.split_once(" attempts, last error: ")?.1)).unwrap_or(words)
}

/// Returns the image that a registry was asked for with these words, as far as they tell: `GET https://HOST/v2/NAME/manifests/TAG: …`.
/// The host may be that of a mirror, which is where to look then.
pub(super) fn asked_for(words: &str) -> Option<String> {
    let (_, url) = words.split_once(' ').filter(|_| is_request(words))?;
    let (_, rest) = url.split_once("://")?;
    let (host, rest) = rest.split_once("/v2/")?;
    let (name, rest) = rest.split_once("/manifests/")?;
    // A digest has one colon of its own.
    let end = rest.find([' ', '"', '?']).unwrap_or(rest.len());
    let reference = rest[..end].trim_end_matches(':');
    let is_plain = |text: &str| !text.contains([' ', '"', '@', '?']);
    let separator = if reference.contains(':') { '@' } else { ':' };
    [host, name].into_iter().all(is_plain).then(|| format!("{host}/{name}{separator}{reference}"))
}

/// Whether the words begin with a question to a server: `GET https://…`, followed by the answer, or `Get "https://…`, which
/// got none. Commands download what ADD names, so at this point a server is a registry or its token server.
fn is_request(words: &str) -> bool {
    let Some((method, url)) = words.split_once(' ') else { return false };
    let is_method = ["GET", "HEAD", "POST", "PUT", "PATCH"].iter().any(|it| it.eq_ignore_ascii_case(method));
    let url = url.strip_prefix('"').unwrap_or(url);
    is_method && (url.starts_with("https://") || url.starts_with("http://"))
}

/// Returns what comes after `beginning` and a name.
fn behind<'w>(words: &'w str, beginning: &str) -> Option<&'w str> {
    Some(words.strip_prefix(beginning)?.split_once(": ")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_that_a_registry_was_asked_for_is_named() {
        for (words, expected) in [
            (
                "GET https://r.example:5000/v2/team/api/manifests/1.2: MANIFEST_UNKNOWN: manifest unknown",
                Some("r.example:5000/team/api:1.2"),
            ),
            (
                "Get \"https://r.example/v2/a/manifests/sha256:0a\": dial tcp: refused",
                Some("r.example/a@sha256:0a"),
            ),
            ("GET https://r.example/token?scope=repository%3Aa%3Apull&service=x: 401 Unauthorized", None),
            ("GET https://user:secret@r.example/v2/a/manifests/1: denied", None),
            ("GET nowhere", None),
            ("something else", None),
        ] {
            assert_eq!(asked_for(words).as_deref(), expected, "{words}");
        }
    }

    /// As kaniko 1.24.0 and 1.28.3 said it.
    #[test]
    fn recorded_lines_are_understood() {
        for (line, expected) in [
            ("Error: error resolving source context: unexpected EOF", LastWord::BrokenContext),
            (
                "error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: checking push permission for \"r.example/x:1\": POST https://r.example/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:x Type:repository]]",
                LastWord::Push {
                    reason: "POST https://r.example/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:x Type:repository]]",
                },
            ),
            (
                "error checking push permissions: checking push permission for \"r.example/x:1\": creating push check transport for r.example failed: Get \"https://r.example/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
                LastWord::Push {
                    reason: "creating push check transport for r.example failed: Get \"https://r.example/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
                },
            ),
            (
                "error pushing image: failed to push to destination r.example/x:1: PUT https://r.example/v2/x/manifests/1: MANIFEST_INVALID: manifest invalid",
                LastWord::Push {
                    reason: "PUT https://r.example/v2/x/manifests/1: MANIFEST_INVALID: manifest invalid",
                },
            ),
            (
                "error building image: unable to complete operation after 0 attempts, last error: GET https://r.example/v2/no/such/manifests/1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1]",
                LastWord::BaseImage {
                    reason: "GET https://r.example/v2/no/such/manifests/1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1]",
                },
            ),
            (
                "error building image: error building stage: failed to get filesystem from image: GET https://r.example/v2/x/blobs/sha256:1: BLOB_UNKNOWN: blob unknown to registry",
                LastWord::BaseImage {
                    reason: "GET https://r.example/v2/x/blobs/sha256:1: BLOB_UNKNOWN: blob unknown to registry",
                },
            ),
            (
                "error building image: failed to get baseImage: unable to complete operation after 0 attempts, last error: Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                LastWord::BaseImage {
                    reason: "Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                },
            ),
            (
                "error building image: error building stage: failed to optimize instructions: failed to get files used from context: failed to get fileinfo for /kaniko/buildcontext/api/v2/openapi.yaml: lstat /kaniko/buildcontext/api/v2/openapi.yaml: no such file or directory",
                LastWord::MissingFile { path: "api/v2/openapi.yaml" },
            ),
            (
                "error building image: error building stage: failed to get files used from context: failed to get fileinfo for /kaniko/buildcontext/web/index.html: lstat /kaniko/buildcontext/web/index.html: no such file or directory",
                LastWord::MissingFile { path: "web/index.html" },
            ),
            (
                "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3",
                LastWord::Command,
            ),
            (
                "error building image: error building stage: failed to execute command: downloading remote source file: invalid response status 404",
                LastWord::Instruction {
                    reason: "downloading remote source file: invalid response status 404",
                },
            ),
            (
                "error building image: error building stage: failed to get filesystem from image: mkdir /usr/share/file/magic: not a directory",
                LastWord::Other,
            ),
            (
                "error building image: parsing dockerfile: dockerfile parse error line 1: unknown instruction: FORM",
                LastWord::Other,
            ),
        ] {
            assert!(is_last_word(line), "{line}");
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn words_within_a_line_decide_nothing() {
        for line in [
            "error building image: could not save file: lstat /v2/manifests/error pushing image: no such file or directory",
            "error building image: error building stage: failed to take snapshot: lstat /v2/blobs/x: no such file or directory",
        ] {
            assert_eq!(read(line), LastWord::Other, "{line}");
        }
        assert!(!is_last_word("+ echo error building image: no"));
    }
}
