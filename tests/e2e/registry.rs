//! Asks a registry without any of our own code.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Returns the digest that the plain-HTTP registry at `host` has for `repository:tag`.
pub(crate) async fn digest(host: &str, repository: &str, tag: &str) -> Option<String> {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "HEAD /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    if answer.starts_with("HTTP/1.1 404") {
        return None;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let header = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "));
    Some(header.expect("a digest").to_owned())
}
