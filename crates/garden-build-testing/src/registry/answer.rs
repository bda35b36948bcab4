//! What is answered to a request that is carried out. Source: OCI Distribution Specification 1.1.

use bytes::Bytes;
use garden_build_core::{Digest, ImageReference};
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, LINK, LOCATION, RANGE};
use serde_json::{Value, json};

use super::request::Request;
use super::route::{Resource, Route};
use super::store::{Manifest, Store};
use super::upload;

/// An answer of the registry.
pub type Response = http::Response<Bytes>;

/// The largest manifest that is taken, in bytes. The specification lets registries refuse larger ones.
const LARGEST_MANIFEST: usize = 4 << 20;

const DIGEST: &str = "docker-content-digest";

/// How the registry differs from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    pub(crate) has_referrers: bool,
    /// Whether a tag that stands for something may come to stand for something else.
    pub(crate) has_immutable_tags: bool,
}

/// Carries out `request`.
pub(crate) fn answer(store: &mut Store, ways: Ways, route: &Route, request: &Request) -> Response {
    let method = request.method.as_str();
    match (route, method) {
        (Route::Base, "GET" | "HEAD") => response(200, "{}"),
        (Route::Catalog, "GET") => {
            let names = store.repositories().map(str::to_owned).collect();
            page(request, names, |names| json!({ "repositories": names }))
        }
        (Route::In(name, resource), method) => {
            if ImageReference::tagged("registry.example", name, "1").is_err() {
                return error(400, "NAME_INVALID", "invalid repository name");
            }
            match (resource, method) {
                (Resource::Tags, "GET") => match store.tags(name) {
                    None => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
                    Some(tags) => {
                        let tags = tags.map(str::to_owned).collect();
                        page(request, tags, |tags| json!({ "name": name, "tags": tags }))
                    }
                },
                (Resource::Manifest(reference), _) => manifest(store, ways, name, reference, request),
                (Resource::Blob(digest), _) => match digest.parse() {
                    Ok(digest) => blob(store, name, digest, request),
                    Err(_) => error(400, "DIGEST_INVALID", "the digest is not one of SHA-256"),
                },
                (Resource::Referrers(digest), "GET") if ways.has_referrers => {
                    referrers(store, name, digest, request)
                }
                (Resource::Uploads | Resource::Upload(_), _) => {
                    upload::answer(store, name, resource, request)
                }
                _ => not_served(),
            }
        }
        _ => not_served(),
    }
}

/// Says that there is nothing at the path.
pub(crate) fn not_served() -> Response {
    error(404, "NOT_FOUND", "nothing is served at this path with this method")
}

fn manifest(store: &mut Store, ways: Ways, name: &str, reference: &str, request: &Request) -> Response {
    match request.method.as_str() {
        "GET" | "HEAD" => match store.manifest(name, reference) {
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            Some(manifest) => {
                let digest = manifest.digest().to_string();
                let answer = with(response(200, manifest.bytes.clone()), DIGEST, &digest);
                with(answer, CONTENT_TYPE.as_str(), &manifest.media_type)
            }
        },
        "PUT" => put_manifest(store, ways, name, reference, request),
        "DELETE" if store.remove_manifest(name, reference) => response(202, ""),
        "DELETE" => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        _ => not_served(),
    }
}

fn put_manifest(store: &mut Store, ways: Ways, name: &str, reference: &str, request: &Request) -> Response {
    if request.body.len() > LARGEST_MANIFEST {
        return error(413, "MANIFEST_INVALID", "the manifest is larger than 4 MiB");
    }
    let declared = request.header("content-type").unwrap_or_default();
    let manifest = Manifest::new(declared, request.body.clone());
    let content = manifest.json();
    if content["schemaVersion"] != 2 || content["mediaType"].as_str().is_some_and(|it| it != declared) {
        return error(400, "MANIFEST_INVALID", "not a manifest of the type that the header says");
    }
    let digest = manifest.digest();
    let tag = match reference.parse::<Digest>() {
        Ok(named) if named != digest => {
            return error(400, "DIGEST_INVALID", "the manifest has another digest");
        }
        Ok(_) => None,
        Err(_) if ImageReference::is_tag(reference) => Some(reference),
        Err(_) => return error(400, "TAG_INVALID", "invalid tag"),
    };
    if let Some(missing) = store.missing(name, &manifest) {
        return error(404, "MANIFEST_BLOB_UNKNOWN", &format!("{missing} is unknown to registry"));
    }
    if ways.has_immutable_tags && tag.is_some_and(|tag| store.manifest(name, tag).is_some()) {
        return error(400, "TAG_INVALID", "the tag is immutable, and exists");
    }
    let subject = manifest.subject().filter(|_| ways.has_referrers);
    store.put_manifest(name, tag, manifest);
    let mut answer = with(response(201, ""), DIGEST, &digest.to_string());
    if let Some(subject) = subject {
        answer = with(answer, "oci-subject", &subject);
    }
    with(answer, LOCATION.as_str(), &format!("/v2/{name}/manifests/{digest}"))
}

fn blob(store: &mut Store, name: &str, digest: Digest, request: &Request) -> Response {
    match request.method.as_str() {
        "GET" | "HEAD" => match store.blob(name, digest) {
            None => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            Some(bytes) => content(bytes, digest, request),
        },
        "DELETE" if store.remove_blob(name, digest) => response(202, ""),
        "DELETE" => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        _ => not_served(),
    }
}

/// Returns a blob, or the part of it that is asked for.
pub(crate) fn content(bytes: &Bytes, digest: Digest, request: &Request) -> Response {
    let length = bytes.len();
    let answer =
        match request.header(RANGE.as_str()).filter(|_| request.method == "GET").map(|it| span(it, length)) {
            None | Some(Span::Senseless) => response(200, bytes.clone()),
            Some(Span::Outside) => {
                return with(
                    error(416, "RANGE_INVALID", "outside of the blob"),
                    CONTENT_RANGE.as_str(),
                    &format!("bytes */{length}"),
                );
            }
            Some(Span::Within(first, last)) => {
                let part = response(206, bytes.slice(first..=last));
                with(part, CONTENT_RANGE.as_str(), &format!("bytes {first}-{last}/{length}"))
            }
        };
    let answer = with(answer, DIGEST, &digest.to_string());
    let answer = with(answer, ACCEPT_RANGES.as_str(), "bytes");
    with(answer, CONTENT_TYPE.as_str(), "application/octet-stream")
}

enum Span {
    Senseless,
    Outside,
    Within(usize, usize),
}

/// Reads a header `Range` with one range. Source: RFC 9110, section 14.
fn span(header: &str, length: usize) -> Span {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
        return Span::Senseless;
    };
    let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last),
        (Ok(first), Err(_)) if last.is_empty() => (first, usize::MAX),
        (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), usize::MAX),
        _ => return Span::Senseless,
    };
    if first > last {
        return Span::Senseless;
    }
    if first >= length { Span::Outside } else { Span::Within(first, last.min(length - 1)) }
}

fn referrers(store: &Store, name: &str, digest: &str, request: &Request) -> Response {
    let wanted = request.parameter("artifactType");
    let describe = |manifest: &Manifest| {
        let content = manifest.json();
        let kind = content["artifactType"].as_str().or(content["config"]["mediaType"].as_str());
        let mut described = json!({
            "mediaType": manifest.media_type, "digest": manifest.digest(), "size": manifest.bytes.len(), "artifactType": kind,
        });
        if content["annotations"].is_object() {
            described["annotations"] = content["annotations"].clone();
        }
        described
    };
    let is_wanted =
        |described: &Value| wanted.as_deref().is_none_or(|wanted| described["artifactType"] == *wanted);
    let all = store.referrers(name, digest).into_iter().map(describe).filter(is_wanted);
    let list = json!({
        "schemaVersion": 2, "mediaType": super::INDEX, "manifests": all.collect::<Vec<_>>(),
    });
    let answer = with(response(200, list.to_string()), CONTENT_TYPE.as_str(), super::INDEX);
    if wanted.is_some() { with(answer, "oci-filters-applied", "artifactType") } else { answer }
}

/// Answers with a page of a list that is in order: `n` names after `last`, and where the next page is.
fn page(request: &Request, mut names: Vec<String>, shown: impl Fn(&[String]) -> Value) -> Response {
    if let Some(last) = request.parameter("last") {
        names.retain(|name| *name > last);
    }
    let count = request.parameter("n").and_then(|count| count.parse().ok()).unwrap_or(usize::MAX);
    let is_more = names.len() > count;
    names.truncate(count);
    let answer = with(response(200, shown(&names).to_string()), CONTENT_TYPE.as_str(), "application/json");
    match names.last() {
        Some(last) if is_more => {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("last", last)
                .append_pair("n", &count.to_string())
                .finish();
            with(answer, LINK.as_str(), &format!("<{}?{query}>; rel=\"next\"", request.path))
        }
        _ => answer,
    }
}

/// Answers with a status and a body.
pub(crate) fn response(status: u16, body: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer
}

/// Answers with an error, as the specification writes it.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Response {
    let errors = json!({ "errors": [{ "code": code, "message": message }] });
    with(response(status, errors.to_string()), CONTENT_TYPE.as_str(), "application/json")
}

/// Adds a header. What cannot stand in one is left out.
pub(crate) fn with(mut answer: Response, name: &'static str, value: &str) -> Response {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}
