//! What a registry, a token server or a credential helper answers.

use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::Value;

use super::listing::{Page, next_target};
use super::upload_session::offset;
use crate::endpoint::join;
use crate::image_config::ImageConfig;
use crate::manifest::{Descriptor, Manifest, ManifestKind};
use crate::origin::Origin;
use crate::server_message::ServerMessage;
use crate::transport::retry_after;
use crate::{HelperOutput, HelperProblem, told_refusal};

/// What the registry was shown, and may repeat.
const SECRET: &str = "czNjcmV0";

/// More than any message has that is shown.
const LONGEST_SHOWN: usize = 4 * 1024;

/// Reads headers, an empty line and a body, as the answer to any question.
///
/// # Panics
/// If something was read that the answer does not say, or that must not be shown.
pub fn registry_answers(data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((&b""[..], data), |end| (&data[..end], &data[end + 2..]));
    let headers = headers(head);
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    read_manifest(text(CONTENT_TYPE), body);
    read_places(&headers);
    let message = ServerMessage::read(body, &["", SECRET]);
    let shown = message.text().unwrap_or_default();
    assert_can_be_shown(&shown);
    assert!(!shown.contains(SECRET), "{shown:?}");
    if let Err(reason) = ImageConfig::parse(body) {
        assert_can_be_shown(&reason);
    }
    if let Ok(page) = serde_json::from_slice::<Page>(body) {
        let size: usize = page.tags.iter().flatten().map(String::len).sum();
        assert!(size <= body.len());
    }
    told_refusal(&String::from_utf8_lossy(body));
    offset(&headers);
    retry_after(&headers);
    read_helper(head, body);
}

fn headers(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(32) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn read_manifest(content_type: Option<&str>, body: &[u8]) {
    let manifest = Manifest::new(content_type, body.to_vec());
    assert_eq!((manifest.bytes().as_ref(), manifest.size()), (body, body.len() as u64));
    if manifest.kind() == ManifestKind::Unknown {
        assert_eq!(manifest.children().len() + manifest.blobs().count(), 0);
    }
    let own = manifest.descriptor();
    for descriptor in manifest.children().iter().chain(manifest.blobs()).chain([&own]) {
        let written = serde_json::to_vec(descriptor).expect("JSON");
        let read: Descriptor = serde_json::from_slice(&written).expect("a descriptor of our own");
        assert_eq!(&read, descriptor);
    }
    if let Some(instead) = Manifest::instead(content_type, body) {
        assert!(!instead.is_empty());
    }
}

/// Where lists and uploads go on.
fn read_places(headers: &HeaderMap) {
    let asked: Uri = "https://registry.example/v2/a/tags/list?n=1".parse().expect("a URL");
    let values = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let links = values(LINK).flat_map(|links| links.split(',')).filter_map(next_target);
    for place in links.chain(values(LOCATION)) {
        let Some(target) = join(&asked, place) else { continue };
        if let Some(origin) = Origin::of(&target) {
            assert!(!origin.host().is_empty() && !origin.host().contains('@'), "{target}");
        }
    }
}

/// What a credential helper answers, with the head as its error stream.
fn read_helper(stderr: &[u8], stdout: &[u8]) {
    for succeeded in [true, false] {
        let Err(HelperProblem::Failed { reason }) = (HelperOutput { succeeded, stdout, stderr }).login()
        else {
            continue;
        };
        assert_can_be_shown(&reason);
        let answer: Value = serde_json::from_slice(stdout).unwrap_or_default();
        let secret = answer["Secret"].as_str().filter(|secret| secret.len() > 8);
        assert!(!secret.is_some_and(|secret| reason.contains(secret)), "{reason}");
    }
}

fn assert_can_be_shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() <= LONGEST_SHOWN, "{} bytes", text.len());
}
