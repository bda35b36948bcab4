use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use garden_cluster::ImageSources;
use garden_registry::{Dial, RegistryClient, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::*;

/// The way to a registry that says at once which digest a tag has, and never sends a manifest. It is in memory, so that a
/// paused clock stands still while it works.
#[derive(Debug)]
struct Stalling;

impl Dial for Stalling {
    fn dial(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(stall(far));
        async { Ok(Box::new(near) as Box<dyn Transport>) }.boxed()
    }
}

async fn stall(mut stream: DuplexStream) {
    let digest = Digest::of(b"a manifest");
    let answer = format!("HTTP/1.1 200 OK\r\nDocker-Content-Digest: {digest}\r\nContent-Length: 10\r\n\r\n");
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
        if request.starts_with(b"HEAD ") {
            stream.write_all(answer.as_bytes()).await.expect("a client");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_has_five_seconds_for_all_that_it_is_asked() {
    let images = BaseImages::new(Arc::new(ImageSources::default()), &Caches::none());
    let registry = RegistryClient::builder("slow.example").insecure(true).dialer(Arc::new(Stalling)).build();
    let image = "slow.example/base:1".parse().expect("a reference");
    let place = BasePlace::elsewhere(registry.expect("a client"), image);
    let began = Instant::now();
    let doubt = images.ask_patiently(&place, &[]).await.expect_err("no manifest");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(doubt.reason, "slow.example did not answer everything within 5 s");
}
