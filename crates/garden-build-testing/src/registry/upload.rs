//! Uploads: in one request, or in parts one after the other. Source: OCI Distribution Specification 1.1, "Pushing blobs".

use garden_build_core::Digest;
use http::header::{LOCATION, RANGE};

use super::answer::{Response, error, not_served, response, with};
use super::request::Request;
use super::route::Resource;
use super::store::Store;

pub(crate) fn answer(store: &mut Store, name: &str, resource: &Resource, request: &Request) -> Response {
    match (resource, request.method.as_str()) {
        (Resource::Uploads, "POST") => begin(store, name, request),
        // It is part of the address that was answered.
        (Resource::Upload(_), "PATCH" | "PUT") if request.parameter("_state").is_none() => {
            error(400, "BLOB_UPLOAD_INVALID", "this is not the address of an upload that was answered")
        }
        (Resource::Upload(id), "GET") => match store.uploaded(name, id) {
            Some(length) => under_way(204, name, id, length),
            None => unknown(),
        },
        (Resource::Upload(id), "PATCH") => add(store, name, id, request),
        (Resource::Upload(id), "PUT") => finish(store, name, id, request),
        (Resource::Upload(id), "DELETE") => match store.end_upload(name, id) {
            Some(_) => response(204, ""),
            None => unknown(),
        },
        _ => not_served(),
    }
}

/// Keeps what of a part arrived before its connection broke.
pub(crate) fn keep_part(store: &mut Store, name: &str, id: &str, request: &Request) {
    if request.method == "PATCH" && continues(store, name, id, request) == Some(true) {
        store.continue_upload(name, id, &request.body);
    }
}

fn begin(store: &mut Store, name: &str, request: &Request) -> Response {
    let digest = |parameter: &str| request.parameter(parameter)?.parse::<Digest>().ok();
    if let (Some(mount), Some(from)) = (digest("mount"), request.parameter("from"))
        && store.mount(name, &from, mount)
    {
        return uploaded(name, mount);
    }
    if let Some(digest) = digest("digest") {
        return keep(store, name, digest, request.body.clone());
    }
    let id = store.begin_upload(name);
    under_way(202, name, &id, 0)
}

/// Whether a part begins where the last one has ended; `None` if there is no such upload.
fn continues(store: &mut Store, name: &str, id: &str, request: &Request) -> Option<bool> {
    let length = store.uploaded(name, id)?;
    let first =
        request.header("content-range").and_then(|range| range.split_once('-')).map(|(first, _)| first);
    Some(first.is_none_or(|first| first.parse() == Ok(length)))
}

fn add(store: &mut Store, name: &str, id: &str, request: &Request) -> Response {
    match continues(store, name, id, request) {
        Some(true) => {}
        Some(false) => {
            let length = store.uploaded(name, id).unwrap_or_default();
            return under_way(416, name, id, length);
        }
        None => return unknown(),
    }
    match store.continue_upload(name, id, &request.body) {
        Some(length) => under_way(202, name, id, length),
        None => unknown(),
    }
}

fn finish(store: &mut Store, name: &str, id: &str, request: &Request) -> Response {
    if store.uploaded(name, id).is_none() {
        return unknown();
    }
    let Some(digest) = request.parameter("digest").and_then(|digest| digest.parse().ok()) else {
        return error(400, "DIGEST_INVALID", "the digest is missing, or is not one of SHA-256");
    };
    store.continue_upload(name, id, &request.body);
    match store.end_upload(name, id) {
        Some(bytes) => keep(store, name, digest, bytes),
        None => unknown(),
    }
}

fn keep(store: &mut Store, name: &str, digest: Digest, bytes: bytes::Bytes) -> Response {
    if Digest::of(&bytes) != digest {
        return error(400, "DIGEST_INVALID", "the bytes have another digest");
    }
    store.put_blob(name, bytes);
    uploaded(name, digest)
}

fn uploaded(name: &str, digest: Digest) -> Response {
    let answer = with(response(201, ""), LOCATION.as_str(), &format!("/v2/{name}/blobs/{digest}"));
    with(answer, "docker-content-digest", &digest.to_string())
}

fn under_way(status: u16, name: &str, id: &str, length: usize) -> Response {
    // Clients have to keep the query of the address that they are given.
    let location = format!("/v2/{name}/blobs/uploads/{id}?_state={length}");
    let answer = with(response(status, ""), LOCATION.as_str(), &location);
    let answer = with(answer, "docker-upload-uuid", id);
    // The specification knows no empty range; real registries say this.
    with(answer, RANGE.as_str(), &format!("0-{}", length.saturating_sub(1)))
}

fn unknown() -> Response {
    error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
}
