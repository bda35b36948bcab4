//! Whose word a build's image is.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Builder, BuiltImage, Capabilities, Pushed,
    Result,
};
use http::{Request, Response};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Says that it has pushed an image, once it has asked whether that is seen.
#[derive(Debug, Default)]
struct Asking {
    has_pushed: Arc<AtomicBool>,
    seen: Mutex<Vec<bool>>,
}

impl Backend for Asking {
    fn name(&self) -> &'static str {
        "asking"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn build<'a>(&'a self, _: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        self.has_pushed.store(true, Ordering::SeqCst);
        Box::pin(async move {
            let image = DIGEST.parse().unwrap();
            let seen = cx.is_witnessed(image).await;
            self.seen.lock().unwrap().push(seen);
            Ok(Pushed::new(image, 0, 1).witnessed(seen))
        })
    }
}

/// A registry that has every image once `has_images` is true. Returns its `host:port`.
fn registry(has_images: &Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let has_images = Arc::clone(has_images);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            let status = if has_images.load(Ordering::SeqCst) { "200 OK" } else { "404 Not Found" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nDocker-Content-Digest: {DIGEST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// Builds with the registry at `host`. Returns the image, and whether the backend was told that it had arrived.
async fn build(backend: &Arc<Asking>, host: &str, force: bool) -> (BuiltImage, bool) {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
    let mut provider = ProviderConfig::kubernetes("demo");
    let mut deployment = DeploymentRegistry::new(host).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    let used: Arc<dyn Backend> = Arc::clone(backend) as _;
    let builder =
        Builder::options(provider).client(Client::new(nobody, "default")).backend(used).connect().unwrap();
    let image = builder.build(BuildRequest::new("api", directory.path()).force(force)).await.unwrap();
    (image, backend.seen.lock().unwrap().pop().unwrap())
}

#[tokio::test]
async fn an_image_that_comes_with_the_build_is_seen() {
    let backend = Arc::<Asking>::default();
    let (image, seen) = build(&backend, &registry(&backend.has_pushed), false).await;
    assert!(seen && image.confirmed_by_registry, "{image:?}");
}

#[tokio::test]
async fn an_image_that_was_there_before_proves_nothing() {
    let backend = Arc::<Asking>::default();
    backend.has_pushed.store(true, Ordering::SeqCst);
    let (image, seen) = build(&backend, &registry(&backend.has_pushed), true).await;
    assert!(!seen && image.confirmed_by_registry, "{image:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_has_seen_nothing_and_the_image_says_so() {
    let backend = Arc::<Asking>::default();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (image, seen) = build(&backend, &nobody, false).await;
    assert!(!seen && !image.confirmed_by_registry, "{image:?}");
}
