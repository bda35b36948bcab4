//! Asks a registry without any of our own code.

use std::io::Read as _;

use flate2::read::GzDecoder;
use garden_build::{BuiltImage, ImageReference};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index.
pub(crate) struct Manifest {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) json: Value,
}

/// Makes sure that the tag of `image` stands for it in the plain-HTTP registry where it was pushed to.
pub(crate) async fn assert_has(image: &BuiltImage) {
    let reference = &image.reference;
    let found = digest(reference.registry(), reference.repository(), reference.tag().unwrap()).await;
    assert_eq!(found, Some(image.digest.to_string()), "{reference}");
}

/// Returns the digest that the plain-HTTP registry at `host` has for `repository:tag`.
pub(crate) async fn digest(host: &str, repository: &str, tag: &str) -> Option<String> {
    manifest(host, repository, tag).await.map(|manifest| manifest.digest)
}

/// Returns what the plain-HTTP registry at `host` has for `repository:reference`; `reference` is a tag or a
/// digest.
pub(crate) async fn manifest(host: &str, repository: &str, reference: &str) -> Option<Manifest> {
    let (head, body) = get(host, &format!("/v2/{repository}/manifests/{reference}")).await?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).expect("a header").1.to_owned()
    };
    Some(Manifest {
        digest: header("Docker-Content-Digest"),
        media_type: header("Content-Type"),
        json: serde_json::from_slice(&body).unwrap(),
    })
}

/// Returns the tags of `repository`.
pub(crate) async fn tags(host: &str, repository: &str) -> Vec<String> {
    let (_, body) = get(host, &format!("/v2/{repository}/tags/list")).await.expect("the repository exists");
    let list: Value = serde_json::from_slice(&body).unwrap();
    serde_json::from_value(list["tags"].clone()).unwrap()
}

/// Returns the configuration of an image for one platform.
pub(crate) async fn config(image: &ImageReference) -> Value {
    let [config, ..] = &blobs(image).await[..] else { panic!("{image} has no blobs") };
    serde_json::from_slice(config).unwrap()
}

/// Returns the manifest, the configuration and the unpacked layers of an image for one platform.
pub(crate) async fn contents(image: &ImageReference) -> Vec<Vec<u8>> {
    let manifest = manifest(image.registry(), image.repository(), image.tag().unwrap()).await.unwrap();
    let mut contents = blobs(image).await;
    for layer in &mut contents[1..] {
        let mut unpacked = Vec::new();
        GzDecoder::new(&layer[..]).read_to_end(&mut unpacked).unwrap();
        *layer = unpacked;
    }
    contents.push(manifest.json.to_string().into_bytes());
    contents
}

/// The configuration, then the layers, as they are stored.
async fn blobs(image: &ImageReference) -> Vec<Vec<u8>> {
    let (host, repository) = (image.registry(), image.repository());
    let manifest = manifest(host, repository, image.tag().unwrap()).await.unwrap().json;
    let layers = manifest["layers"].as_array().unwrap();
    let mut blobs = Vec::new();
    for descriptor in [&manifest["config"]].into_iter().chain(layers) {
        let digest = descriptor["digest"].as_str().unwrap();
        let (_, blob) =
            get(host, &format!("/v2/{repository}/blobs/{digest}")).await.expect("the blob exists");
        blobs.push(blob);
    }
    blobs
}

/// Deletes the image that the tag of `image` stands for from a plain-HTTP registry that lets everybody delete.
pub(crate) async fn delete(image: &BuiltImage) {
    let path = format!("/v2/{}/manifests/{}", image.reference.repository(), image.digest);
    let (head, _) = ask(image.reference.registry(), "DELETE", &path).await;
    assert!(head.contains(" 202 "), "{head}");
}

/// Returns the head and the body of the answer, or `None` if nothing is at `path`.
async fn get(host: &str, path: &str) -> Option<(String, Vec<u8>)> {
    let (head, body) = ask(host, "GET", path).await;
    let status = head.split(' ').nth(1).expect("a status");
    if status == "404" {
        return None;
    }
    assert_eq!(status, "200", "{head}");
    Some((head, body))
}

/// Returns the head and the body of the answer.
async fn ask(host: &str, method: &str, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    // In this version bodies are not chunked, and the end of the connection ends the answer.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: {MANIFESTS}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}
