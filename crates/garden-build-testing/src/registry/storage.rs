//! Where blobs are, of a registry that redirects to them: another server, which knows no logins but signed addresses, as those of clouds.

use garden_build_core::Digest;

use super::answer::{Response, content, error, not_served, response, with};
use super::request::Request;
use super::store::Store;

const PATH: &str = "/storage/";

/// Sends whoever reads a blob to the storage at `url`, if the repository has the blob.
pub(crate) fn redirect(
    store: &Store,
    url: &str,
    name: &str,
    digest: &str,
    request: &Request,
) -> Option<Response> {
    let digest: Digest = digest.parse().ok()?;
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    store.blob(name, digest).filter(|_| is_read)?;
    let location = format!("{url}{PATH}{digest}?signature={}", signature(digest));
    Some(with(response(307, ""), http::header::LOCATION.as_str(), &location))
}

/// Answers as a cloud's storage does: whoever shows a login beside the signature is refused.
pub(crate) fn answer(store: &Store, request: &Request) -> Response {
    let Some(digest) = request.path.strip_prefix(PATH).and_then(|digest| digest.parse().ok()) else {
        return not_served();
    };
    if request.authorization().is_some() {
        return error(400, "INVALID_ARGUMENT", "only one way of authentication is allowed: the signature");
    }
    if request.parameter("signature") != Some(signature(digest)) {
        return error(403, "DENIED", "the signature does not match");
    }
    match store.blob_anywhere(digest) {
        Some(bytes) if matches!(request.method.as_str(), "GET" | "HEAD") => content(bytes, digest, request),
        Some(_) => not_served(),
        None => error(404, "NOT_FOUND", "no such object"),
    }
}

fn signature(digest: Digest) -> String {
    Digest::of(format!("signature of {digest}").as_bytes()).hex()[..16].to_owned()
}
