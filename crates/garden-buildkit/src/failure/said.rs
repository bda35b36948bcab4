//! What a daemon says of a failed build. It has no classes for failures, so its words have to do.
//!
//! Sources: `BuildKit` 0.25 (in Docker 28.5) and 0.26, `solver/edge.go`, `solver/llbsolver/ops/exec.go` and
//! `ops/opsutils/contenthash.go`, `cache/contenthash/checksum.go`, `exporter/containerimage/export.go`,
//! `client/llb/sourceresolver/imageresolver.go`, `frontend/dockerfile/dockerfile2llb/convert.go`, `session/secrets/secrets.go`,
//! `solver/llbsolver/mounts/mount.go`, `util/suggest/error.go`; and our own answers in `client/session`.

use garden_build_core::words::{fits, has_part};

/// What the scheduler puts before the failure of a step.
const LAYERS: [&str; 4] = [
    "failed to compute cache key: ",
    "failed to load cache key: ",
    "error on cache query: ",
    "failed to load cache: ",
];

/// What a failure is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said<'w> {
    /// The registry does not take this image.
    Push { name: &'w str, reason: &'w str },
    /// A registry does not hand out a base image.
    BaseImage { name: &'w str, reason: &'w str },
    /// An instruction reads a file that is not there: in the context, or in what its `--from` names.
    MissingFile { path: &'w str },
    /// The request has no secret of the id that a RUN names.
    MissingSecret,
    /// The request has no SSH agent of the id that a RUN names.
    MissingAgent,
    /// There is not enough memory.
    NoMemory,
    /// The daemon's disk is full.
    FullDisk,
    /// Anything else.
    Other,
}

/// Reads a failure that is not the exit of a command.
pub(super) fn read(message: &str) -> Said<'_> {
    let message = without_suggestion(message);
    let inner = LAYERS.iter().fold(message, |words, layer| words.strip_prefix(layer).unwrap_or(words));
    if let Some((name, reason)) = inner.strip_prefix("failed to push ").and_then(|rest| rest.split_once(": "))
    {
        return Said::Push { name, reason };
    }
    if let Some((name, reason)) = of_base_image(inner) {
        return Said::BaseImage { name, reason };
    }
    if let Some(path) = missing_file(inner) {
        return Said::MissingFile { path };
    }
    if inner.starts_with("secret ") && inner.ends_with(": not found") {
        return Said::MissingSecret;
    }
    if fits(inner, &["no SSH key ", " forwarded from the client"])
        || fits(inner, &["no SSH agent ", " is forwarded"])
    {
        return Said::MissingAgent;
    }
    let own = behind_command(inner);
    if has_part(own, "cannot allocate memory") {
        return Said::NoMemory;
    }
    if has_part(own, "no space left on device") {
        return Said::FullDisk;
    }
    Said::Other
}

/// Takes away what the daemon guesses: `… not found (did you mean golang?)`.
fn without_suggestion(message: &str) -> &str {
    let words = message.strip_suffix("?)").and_then(|rest| rest.rsplit_once(" (did you mean "));
    words.map_or(message, |(words, _)| words)
}

/// Takes away the command's line, which may say anything: `process "/bin/sh -c …" did not complete successfully: …`.
fn behind_command(words: &str) -> &str {
    let quoted = words.strip_prefix("process \"");
    quoted.and_then(|rest| rest.rsplit_once("\" did not complete successfully")).map_or(words, |(_, own)| own)
}

/// `NAME: failed to resolve source metadata for IMAGE: …`, where the name is as the Dockerfile has it. It is not there for
/// `COPY --from`.
fn of_base_image(words: &str) -> Option<(&str, &str)> {
    const RESOLVING: &str = "failed to resolve source metadata for ";
    let resolving = words.strip_prefix(RESOLVING).or_else(|| {
        let (name, rest) = words.split_once(": ")?;
        let is_name = !name.contains([' ', '"']);
        rest.strip_prefix(RESOLVING).filter(|_| is_name)
    })?;
    resolving.split_once(": ")
}

/// `failed to calculate checksum of ref ID: "/PATH": not found`: the path that a COPY did not find, from between the daemon's
/// identifiers of what it looked in.
fn missing_file(words: &str) -> Option<&str> {
    let (_, rest) = words.strip_prefix("failed to calculate checksum of ref ")?.split_once(": \"")?;
    rest.strip_suffix("\": not found")
}

/// Returns what an instruction reads files from, if it is not the build context: `COPY --from=NAME …` and
/// `RUN --mount=type=bind,from=NAME …`.
pub(super) fn read_from(instruction: &str) -> Option<&str> {
    let mut words = instruction.split_ascii_whitespace();
    let keyword = words.next()?;
    let mut flags = words.take_while(|word| word.starts_with("--"));
    if keyword.eq_ignore_ascii_case("RUN") {
        let mounts = flags.filter_map(|flag| flag.strip_prefix("--mount="));
        return mounts.flat_map(|mount| mount.split(',')).find_map(|part| part.strip_prefix("from="));
    }
    flags.find_map(|flag| flag.strip_prefix("--from="))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `BuildKit` 0.25.2 and 0.26.3 said it.
    #[test]
    fn recorded_messages_are_understood() {
        for (message, expected) in [
            (
                "failed to compute cache key: failed to calculate checksum of ref i4i8dq::r4166v: \"/app.txt\": not found",
                Said::MissingFile { path: "/app.txt" },
            ),
            (
                "failed to push r.example/a:1: unexpected status from POST request to https://r.example/v2/a/blobs/uploads/: 401 Unauthorized",
                Said::Push {
                    name: "r.example/a:1",
                    reason: "unexpected status from POST request to https://r.example/v2/a/blobs/uploads/: 401 Unauthorized",
                },
            ),
            (
                "r.example/a:1: failed to resolve source metadata for r.example/a:1: r.example/a:1: not found",
                Said::BaseImage { name: "r.example/a:1", reason: "r.example/a:1: not found" },
            ),
            (
                "failed to resolve source metadata for docker.io/library/none:1: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Said::BaseImage {
                    name: "docker.io/library/none:1",
                    reason: "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                },
            ),
            (
                "golan: failed to resolve source metadata for docker.io/library/golan:latest: docker.io/library/golan:latest: not found (did you mean golang?)",
                Said::BaseImage {
                    name: "docker.io/library/golan:latest",
                    reason: "docker.io/library/golan:latest: not found",
                },
            ),
            ("secret token: not found", Said::MissingSecret),
            ("no SSH key \"default\" forwarded from the client", Said::MissingAgent),
            ("failed to copy files: copy file range failed: no space left on device", Said::FullDisk),
            (
                "process \"/bin/sh -c make\" did not complete successfully: cannot allocate memory",
                Said::NoMemory,
            ),
            ("failed to load cache key: invalid response status 404", Said::Other),
        ] {
            assert_eq!(read(message), expected, "{message}");
        }
    }

    #[test]
    fn what_a_command_or_a_server_says_decides_nothing() {
        for message in [
            "process \"/bin/sh -c echo 'secret x: not found: no space left on device: '\" did not complete successfully: context deadline exceeded",
            "invalid response status 404 of https://r.example/failed to resolve source metadata for x",
            "dockerfile parse error on line 3: unknown instruction: no SSH key \"a\" forwarded from the client",
        ] {
            assert_eq!(read(message), Said::Other, "{message}");
        }
    }

    #[test]
    fn what_an_instruction_reads_from_is_in_its_flags() {
        for (instruction, expected) in [
            ("COPY --from=build /x /y", Some("build")),
            ("COPY --chmod=755 --from=r.example/a:1 /x /y", Some("r.example/a:1")),
            ("RUN --mount=type=bind,from=build,target=/x make", Some("build")),
            ("COPY /x --from=build", None),
            ("RUN --mount=type=bind,target=/x make --from=y", None),
            ("ADD x /", None),
            ("", None),
        ] {
            assert_eq!(read_from(instruction), expected, "{instruction}");
        }
    }
}
