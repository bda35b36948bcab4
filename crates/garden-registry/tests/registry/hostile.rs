//! Registries that mean harm: nothing goes on for ever, and nobody is asked whom only this machine reaches.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use garden_build_core::Digest;
use garden_registry::{Descriptor, Dial, RegistryClient, RegistryError, Sent, Transport};
use serde_json::json;

use crate::support::{FakeServer, Seen, body, challenge, credentials, found, image, status, with};

const CONTENT: &[u8] = &[7; 1000];

/// Uploads a blob to a registry that says this of how much it has, by how many parts it was sent.
async fn upload(range: impl Fn(usize) -> String + Send + Sync + 'static) -> (RegistryError, usize) {
    let parts = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&parts);
    let server = FakeServer::start(move |seen| match seen.method.as_str() {
        "HEAD" => status(404),
        "POST" => with(status(202), "location", "/v2/team/api/blobs/uploads/1"),
        "PATCH" => {
            let mut parts = counted.lock().expect("no panic");
            *parts += 1;
            assert!(*parts < 1000, "for ever");
            with(status(202), "range", &range(*parts))
        }
        _ => status(400),
    })
    .await;
    let blob = Descriptor::new("application/octet-stream", Digest::of(CONTENT), CONTENT.len() as u64);
    let client = server.plain().build().expect("valid");
    let source = Bytes::from_static(CONTENT);
    let uploaded = client.upload_blob("team/api", &blob, None, &source, &Sent::untold()).await;
    let sent = *parts.lock().expect("no panic");
    (uploaded.expect_err("it has nothing in the end"), sent)
}

#[tokio::test]
async fn an_upload_that_brings_nothing_new_ends() {
    let (error, parts) = upload(|_| "0-0".to_owned()).await;
    assert!(error.to_string().contains("no more than 0 bytes"), "{error}");
    assert!(parts < 20, "{parts}");
    // Forth and back is not forth.
    let (_, parts) = upload(|part| if part % 2 == 0 { "0-0" } else { "0-99" }.to_owned()).await;
    assert!(parts < 20, "{parts}");
}

#[tokio::test]
async fn an_upload_that_gets_on_by_a_byte_at_a_time_ends() {
    let (_, parts) = upload(|part| format!("0-{part}")).await;
    assert!(parts < 50, "{parts}");
}

#[tokio::test]
async fn a_registry_cannot_have_more_than_it_was_sent() {
    for range in ["0-18446744073709551615", "0-18446744073709551614", "0-99999", "0-18446744073709551616"] {
        let (error, parts) = upload(move |_| range.to_owned()).await;
        // It is believed to have everything, and does not take the end.
        assert!(matches!(error, RegistryError::Unexpected { .. }), "{range}: {error}");
        assert!(parts <= 5, "{range}: {parts}");
    }
}

/// The number in `?from=…`.
fn from(seen: &Seen) -> usize {
    seen.query.split('&').find_map(|part| part.strip_prefix("from=")?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_list_of_referrers_that_goes_on_is_given_up() {
    let server = FakeServer::start(|seen| {
        let first = from(seen);
        assert!(first < 100_000, "for ever");
        let manifests: Vec<_> = (first..first + 1000)
            .map(|number| {
                let digest = Digest::of(number.to_string().as_bytes()).to_string();
                json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1 })
            })
            .collect();
        let page = json!({ "schemaVersion": 2, "manifests": manifests });
        let next = format!("<{}?from={}>; rel=\"next\"", seen.path, first + 1000);
        with(body(200, page.to_string()), "link", &next)
    })
    .await;
    let client = server.plain().build().expect("valid");
    let error = client.referrers("team/api", Digest::of(b"x")).await.expect_err("it goes on");
    assert!(error.to_string().contains("more than 10000 entries"), "{error}");

    // One that begins again and again ends where it brings nothing new.
    let server = FakeServer::start(|seen| {
        let digest = Digest::of(b"one").to_string();
        let manifests = json!([{ "mediaType": "a/b", "digest": digest, "size": 1 }]);
        let next = format!("<{}?from=1>; rel=\"next\"", seen.path);
        with(body(200, json!({ "schemaVersion": 2, "manifests": manifests }).to_string()), "link", &next)
    })
    .await;
    let client = server.plain().build().expect("valid");
    assert_eq!(client.referrers("team/api", Digest::of(b"x")).await.expect("a list").len(), 1);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_list_of_tags_that_goes_on_is_given_up() {
    let server = FakeServer::start(|seen| {
        let first = from(seen);
        assert!(first < 2_000_000, "for ever");
        let tags: Vec<_> = (first..first + 100_000).map(|number| number.to_string()).collect();
        let next = format!("<{}?from={}>; rel=\"next\"", seen.path, first + 100_000);
        with(body(200, json!({ "tags": tags }).to_string()), "link", &next)
    })
    .await;
    let client = server.plain().build().expect("valid");
    let error = client.tags("team/api").await.expect_err("it goes on");
    assert!(error.to_string().contains("more than 500000 entries"), "{error}");
}

#[tokio::test]
async fn any_time_limit_will_do() {
    let server = FakeServer::start(|_| found()).await;
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let client = server.plain().timeout(timeout).build().expect("valid");
        assert!(client.resolve(&server.image()).await.is_ok());
    }
}

/// Leads to one server by its name, and notes who else is to be reached.
#[derive(Clone, Debug)]
struct OneWay {
    server: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dial for OneWay {
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        let server = self.server;
        let is_known = ["registry.example", "storage.example"].contains(&host);
        if !is_known {
            self.asked.lock().expect("no panic").push(format!("{host}:{port}"));
        }
        Box::pin(async move {
            if !is_known {
                return Err(io::Error::other("nobody"));
            }
            Ok(Box::new(tokio::net::TcpStream::connect(server).await?) as Box<dyn Transport>)
        })
    }
}

#[tokio::test]
async fn a_registry_leads_nobody_to_where_only_this_machine_gets() {
    for target in [
        "http://127.0.0.1:2375/x",
        "http://localhost:2375/x",
        "http://[::1]:2375/x",
        "http://2130706433/x",
        "http://169.254.169.254/latest/meta-data/",
    ] {
        let location = target.to_owned();
        let server = FakeServer::start(move |seen| match (seen.method.as_str(), seen.path.as_str()) {
            (_, "/v2/") => challenge(&format!(r#"Bearer realm="{location}""#)),
            ("POST", _) => with(status(202), "location", &location),
            ("HEAD", path) if path.contains("/blobs/") => status(404),
            _ => with(status(307), "location", &location),
        })
        .await;
        let address = server.name().parse().expect("an address");
        let dialer = OneWay { server: address, asked: Arc::default() };
        let client =
            RegistryClient::builder("registry.example").insecure(true).dialer(Arc::new(dialer.clone()));
        let client = client.credentials(credentials("registry.example")).build().expect("valid");
        let refused = |error: RegistryError| {
            assert!(matches!(&error, RegistryError::Redirect { .. }), "{error}");
            assert!(error.to_string().contains("it leads to http://"), "{error}");
        };
        refused(client.resolve(&image("registry.example")).await.expect_err("a redirect"));
        refused(client.access_token(&["repository:a:pull".to_owned()]).await.expect_err("a realm"));
        let blob = Descriptor::new("application/octet-stream", Digest::of(CONTENT), CONTENT.len() as u64);
        let source = Bytes::from_static(CONTENT);
        let uploaded = client.upload_blob("team/api", &blob, None, &source, &Sent::untold()).await;
        refused(uploaded.expect_err("an upload"));
        assert_eq!(*dialer.asked.lock().expect("no panic"), Vec::<String>::new(), "{target}");
    }
}

#[tokio::test]
async fn a_registry_leads_to_other_hosts_of_the_network() {
    let server = FakeServer::start(|seen| {
        if seen.header("host") == Some("storage.example") {
            return found();
        }
        with(status(307), "location", "http://storage.example/blob")
    })
    .await;
    let dialer = OneWay { server: server.name().parse().expect("an address"), asked: Arc::default() };
    let client = RegistryClient::builder("registry.example").insecure(true).dialer(Arc::new(dialer));
    assert!(client.build().expect("valid").resolve(&image("registry.example")).await.is_ok());
}
