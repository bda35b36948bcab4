//! What the words mean in which a builder, or a kubelet, passes on how a registry refused it.
//!
//! All of them ask registries by clients written in Go, whose errors are chains. A chain is read part by part, and a part counts
//! as a whole or from its beginning: a name, a path or a page may hold any word.

use garden_build_core::Remedy;
use garden_build_core::words::{fits, parts};

/// How a registry refused, as somebody else tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ToldRefusal {
    /// The registry does not know who asks.
    Unauthorized,
    /// The registry does not allow it.
    Denied,
    /// There is no such image, or no such repository.
    Missing,
    /// The tag stands for another image, and the registry lets nobody change that.
    ImmutableTag,
    /// What refused is not a registry: it answered with a page for people, as proxies that filter do.
    Page,
}

impl ToldRefusal {
    /// Returns what to do, where other credentials would not help.
    pub fn remedy(self) -> Option<Remedy> {
        match self {
            Self::ImmutableTag => Some(Remedy::new(
                "the registry lets nobody give a tag that exists to another image: build without replacing the image, or allow \
                 it in the registry's settings for this repository",
            )),
            Self::Page => Some(Remedy::new(
                "what refused is no registry but answers with a web page, as proxies do that filter: have the registry's host \
                 allowed there, or let builders go around it",
            )),
            Self::Unauthorized | Self::Denied | Self::Missing => None,
        }
    }
}

/// Returns how a registry refused, if `words` say that one did.
pub fn told_refusal(words: &str) -> Option<ToldRefusal> {
    // A registry may have several errors. Clients write each on a line of its own.
    let parts: Vec<&str> = words.lines().flat_map(parts).collect();
    // A page may hold any words, so nothing counts that comes after its beginning.
    let page = parts.iter().position(|part| is_page(part));
    let told = &parts[..page.unwrap_or(parts.len())];
    if told.iter().any(|part| is_about_immutable_tag(part)) {
        return Some(ToldRefusal::ImmutableTag);
    }
    // The registry's own words come after those of the layers above it, and what it adds to them comes last.
    let refusal = told.iter().find_map(|part| refusal_of(part))?;
    Some(if page.is_some() { ToldRefusal::Page } else { refusal })
}

fn refusal_of(part: &str) -> Option<ToldRefusal> {
    // Details come after a dash: ` - Server message …`, ` - incorrect username or password`.
    let part = part.split_once(" - ").map_or(part, |(words, _)| words);
    if is_missing_in_harbor(part) {
        return Some(ToldRefusal::Missing);
    }
    let code = CODES.iter().find(|(code, _)| *code == part);
    let status = || {
        let words = part.strip_prefix("unexpected status code ").unwrap_or(part);
        // With what the client adds of itself: ` (HEAD responses …)`.
        let is_whole = |rest: &str| rest.is_empty() || rest.starts_with(" (");
        STATUSES.iter().find(|(status, _)| words.strip_prefix(status).is_some_and(is_whole))
    };
    code.or_else(status).map(|(_, refusal)| *refusal)
}

/// `artifact p/x:1 not found`. Harbor has the code `NOT_FOUND` for it, which no client of distribution knows: Docker says
/// `unknown` in its place.
fn is_missing_in_harbor(part: &str) -> bool {
    let named = part.strip_prefix("artifact ").and_then(|rest| rest.strip_suffix(" not found"));
    named.is_some_and(|name| !name.contains(' '))
}

/// HTTP statuses, as Go's `net/http` writes them.
///
/// Sources: go-containerregistry 0.20 (kaniko 1.24 and 1.28), `pkg/v1/remote/transport/error.go`; containerd 2.2 (`BuildKit` 0.26,
/// Docker 28, kubelets), `core/remotes/errors/errors.go` and `core/remotes/docker/resolver.go`; distribution 2.8 (Docker's own
/// store), `registry/client/errors.go`; containers/image 5 (CRI-O), `docker/errors.go`.
const STATUSES: [(&str, ToldRefusal); 9] = [
    ("401 Unauthorized", ToldRefusal::Unauthorized),
    ("403 Forbidden", ToldRefusal::Denied),
    ("404 Not Found", ToldRefusal::Missing),
    ("error parsing HTTP 401 response body", ToldRefusal::Unauthorized),
    ("error parsing HTTP 403 response body", ToldRefusal::Denied),
    ("error parsing HTTP 404 response body", ToldRefusal::Missing),
    ("invalid status code from registry 401 (Unauthorized)", ToldRefusal::Unauthorized),
    ("invalid status code from registry 403 (Forbidden)", ToldRefusal::Denied),
    ("invalid status code from registry 404 (Not Found)", ToldRefusal::Missing),
];

/// Codes of registries, in capitals as go-containerregistry passes them on, and in small letters as the others do; and what the
/// clients say themselves.
///
/// Sources: OCI distribution specification 1.1, "Error Codes"; containerd 2.2, `core/remotes/docker/authorizer.go`, `resolver.go`,
/// `pusher.go` and `fetcher.go`; Docker 20.10 and 28.5, `distribution/errors.go`; distribution 2.8,
/// `registry/client/auth/session.go` and `registry/api/errcode/errors.go`; containers/image 5 (CRI-O), `docker/errors.go`.
/// Docker 28 with containerd's image store has messages without their codes (`error from registry: …`): those of distribution,
/// `registry/api/errcode/register.go`, and of Harbor 2, `src/server/middleware/v2auth/auth.go`.
const CODES: [(&str, ToldRefusal); 18] = [
    ("UNAUTHORIZED", ToldRefusal::Unauthorized),
    ("DENIED", ToldRefusal::Denied),
    ("MANIFEST_UNKNOWN", ToldRefusal::Missing),
    ("NAME_UNKNOWN", ToldRefusal::Missing),
    ("NOT_FOUND", ToldRefusal::Missing),
    ("unauthorized", ToldRefusal::Unauthorized),
    ("denied", ToldRefusal::Denied),
    ("manifest unknown", ToldRefusal::Missing),
    ("name unknown", ToldRefusal::Missing),
    ("no basic auth credentials", ToldRefusal::Unauthorized),
    ("authorization failed", ToldRefusal::Unauthorized),
    ("authentication required", ToldRefusal::Unauthorized),
    ("unauthorized to access repository", ToldRefusal::Unauthorized),
    ("pull access denied, repository does not exist or may require authorization", ToldRefusal::Unauthorized),
    ("push access denied, repository does not exist or may require authorization", ToldRefusal::Unauthorized),
    ("insufficient_scope", ToldRefusal::Denied),
    ("requested access to the resource is denied", ToldRefusal::Denied),
    ("not found", ToldRefusal::Missing),
];

/// There is no code for it.
///
/// Sources: Amazon ECR, "Image tag mutability" (of a repository, and since 2025 of single tags); Google Artifact Registry,
/// "Troubleshooting", as kaniko 1.24 quotes it in `pkg/executor/push.go`; Harbor 2,
/// `src/server/middleware/immutable/pushmf.go` and `src/pkg/immutable`.
fn is_about_immutable_tag(part: &str) -> bool {
    const ECR: &[&str] = &[
        "The image tag ",
        " already exists in the ",
        " repository and cannot be overwritten because the ",
        " is immutable",
    ];
    const HARBOR: &[&str] = &["Failed to process request due to '", "' configured as immutable"];
    fits(part, ECR) || fits(part, HARBOR) || part.starts_with("The repository has enabled tag immutability")
}

/// distribution quotes what it cannot parse.
fn is_page(part: &str) -> bool {
    let start: String = part.trim_start_matches('"').chars().take(14).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<html") || start.starts_with("<!doctype html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_refusals_are_understood() {
        use ToldRefusal::{Denied, ImmutableTag, Missing, Page, Unauthorized};
        for (words, expected) in [
            // go-containerregistry 0.20
            (
                "POST https://r.example/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required; [map[Action:pull]]",
                Unauthorized,
            ),
            (
                "GET https://r.example/v2/x/manifests/1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1]",
                Missing,
            ),
            (
                "HEAD https://r.example/v2/x/manifests/1: unexpected status code 404 Not Found (HEAD responses have no body, use GET for details)",
                Missing,
            ),
            (
                "GET https://r.example/v2/: unexpected status code 403 Forbidden: <!DOCTYPE html><title>Blocked</title>",
                Page,
            ),
            ("GET https://auth.example/token?scope=x: unexpected status code 401 Unauthorized", Unauthorized),
            (
                "PUT https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/a/manifests/v-1: TAG_INVALID: The image tag 'v-1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
                ImmutableTag,
            ),
            (
                "PUT https://europe-docker.pkg.dev/v2/p/r/a/manifests/v-1: DENIED: The repository has enabled tag immutability",
                ImmutableTag,
            ),
            // containerd 2
            (
                "unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 401 Unauthorized",
                Unauthorized,
            ),
            (
                "unexpected status code https://r.example/v2/x/blobs/sha256:1: 403 Forbidden - Server message: no",
                Denied,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Unauthorized,
            ),
            (
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r.example/token: 403 Forbidden: <html><body>blocked",
                Page,
            ),
            ("r.example/x:1: not found", Missing),
            (
                "unexpected status from PUT request to https://harbor.example/v2/a/b/manifests/v-1: 412 Precondition Failed: Failed to process request due to 'b:v-1' configured as immutable.",
                ImmutableTag,
            ),
            // distribution 2.8, by Docker
            (
                "tag invalid: The image tag 'v-1' already exists in the 'a' repository and cannot be overwritten because the tag is immutable.",
                ImmutableTag,
            ),
            (
                "pull access denied for r.example/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Denied,
            ),
            ("manifest for r.example/x:1 not found: manifest unknown: manifest unknown", Missing),
            (
                "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>\\r\\n<head>\"",
                Page,
            ),
            ("Get \"https://r.example/v2/\": no basic auth credentials", Unauthorized),
            (
                "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n",
                Denied,
            ),
            ("error parsing HTTP 404 response body: unexpected end of JSON input: \"\"", Missing),
            (
                "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>\\r\\n<head>\"",
                Page,
            ),
            // Docker 28 with containerd's image store
            ("error from registry: authentication required", Unauthorized),
            ("error from registry: authentication required - incorrect username or password", Unauthorized),
            (
                "error from registry: unauthorized\nunexpected status from HEAD request to https://r.example/v2/x/manifests/1: 403 Forbidden",
                Unauthorized,
            ),
            ("error from registry: denied\ndenied", Denied),
            (
                "error from registry: unauthorized to access repository: p/x, action: push: unauthorized to access repository: p/x, action: push",
                Unauthorized,
            ),
            // Harbor 2, by go-containerregistry and by distribution
            ("GET https://harbor.example/v2/p/x/manifests/1: NOT_FOUND: artifact p/x:1 not found", Missing),
            ("unknown: artifact p/x:1 not found", Missing),
            // containers/image 5
            (
                "initializing source docker://r.example/x:1: Requesting bearer token: invalid status code from registry 403 (Forbidden)",
                Denied,
            ),
            ("Requesting bearer token: invalid status code from registry 401 (Unauthorized)", Unauthorized),
            ("Requesting bearer token: invalid status code from registry 404 (Not Found)", Missing),
        ] {
            assert_eq!(told_refusal(words), Some(expected), "{words}");
        }
    }

    #[test]
    fn names_and_paths_decide_nothing() {
        for words in [
            "Get \"https://r.example/v2/denied/unauthorized/manifests/immutable\": dial tcp 10.0.0.1:443: i/o timeout",
            "failed to do request: Head \"https://forbidden.example/v2/\": EOF",
            "unexpected status from PUT request to https://r.example/v2/401 Unauthorized: 500 Internal Server Error",
            "connection refused",
            "Requesting bearer token: invalid status code from registry 503 (Service Unavailable)",
            "unexpected status code 500 Internal Server Error: <html>\nnot found\ndenied\n</html>",
            "the artifact of p/x: an artifact p/x:1 not found in the mirror's list",
            "",
        ] {
            assert_eq!(told_refusal(words), None, "{words}");
        }
    }
}
