//! A program between builders and the real registry, as registries with rules of their own and networks with login pages have one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{own_address, variable};

/// What it does with requests that the registry would answer otherwise.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// A tag that exists stays. The answer is that of Amazon ECR.
    ImmutableTags,
    /// Whoever asks is sent to a page where people log in.
    LoginPage,
}

const PAGE: &str =
    "<!doctype html>\n<html><title>Log in</title><form action=\"/login\">Welcome</form></html>";

/// The longest head of a request that is read.
const LONGEST_HEAD: usize = 64 << 10;

/// Starts one on all addresses of this machine, and returns its port.
pub(crate) async fn start(rule: Rule) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            // Whoever breaks a connection off does so here as well.
            tokio::spawn(async move { serve(near, rule).await.unwrap_or_default() });
        }
    });
    port
}

/// Returns the address of a port of this machine that pods reach.
pub(crate) fn for_pods(port: u16) -> String {
    SocketAddr::new(own_address(), port).to_string()
}

/// Answers one request. Each has a connection of its own, so that the rest of it can be passed on unread.
async fn serve(mut near: TcpStream, rule: Rule) -> std::io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if near.read_buf(&mut read).await? == 0 || read.len() > LONGEST_HEAD {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if let Some(answer) = answer(rule, method, path).await {
        near.write_all(answer.as_bytes()).await?;
        // What the client still sends is read, or it would not read the answer.
        near.shutdown().await?;
        return tokio::io::copy(&mut near, &mut tokio::io::sink()).await.map(drop);
    }
    let mut far = TcpStream::connect(variable("GARDEN_TEST_REGISTRY")).await?;
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let passed_on = kept.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close";
    far.write_all(passed_on.as_bytes()).await?;
    far.write_all(&read[end..]).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

async fn answer(rule: Rule, method: &str, path: &str) -> Option<String> {
    match rule {
        Rule::LoginPage if path == "/login" => Some(response("200 OK", "Content-Type: text/html\r\n", PAGE)),
        Rule::LoginPage => Some(response("302 Found", "Location: /login\r\n", "")),
        Rule::ImmutableTags => {
            let (repository, tag) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
            if method != "PUT" || tag.starts_with("sha256:") {
                return None;
            }
            super::registry::digest(&variable("GARDEN_TEST_REGISTRY"), repository, tag).await?;
            let message = format!(
                "The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten because the \
                 repository is immutable."
            );
            let errors = serde_json::json!({ "errors": [{ "code": "TAG_INVALID", "message": message }] });
            Some(response("400 Bad Request", "Content-Type: application/json\r\n", &errors.to_string()))
        }
    }
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
