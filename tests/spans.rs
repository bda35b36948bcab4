//! The spans of operations and steps. In a program of its own: what is traced is decided once for all threads of a process.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use garden_build::config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig};
use garden_build::{BuildRequest, Builder};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Notes each span: its parent's name, its own, and what it is about.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut about = About::default();
        attributes.record(&mut about);
        let span = cx.span(id).unwrap();
        let parent = span.parent().map_or("nothing", |parent| parent.name());
        self.0.lock().unwrap().push(format!("{parent} > {} {}", span.name(), about.0));
    }
}

#[derive(Default)]
struct About(String);

impl Visit for About {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if ["kind", "what"].contains(&field.name()) {
            self.0 = format!("{value:?}");
        }
    }
}

/// A registry that has nothing. Returns its `host:port`.
fn empty_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn each_operation_and_each_step_is_a_span_within_the_caller_s() {
    let spans = Spans::default();
    tracing_subscriber::registry().with(spans.clone()).init();
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    let mut registry = DeploymentRegistry::new(&empty_registry()).unwrap();
    registry.insecure = true;
    provider.deployment_registry = Some(registry);
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let builder = Builder::options(provider).connect().unwrap();
    let request = BuildRequest::new("api", directory.path());
    let status = tracing::info_span!("deployment").in_scope(|| builder.status(request));
    status.await.unwrap();
    assert_eq!(
        *spans.0.lock().unwrap(),
        [
            "nothing > deployment ",
            "deployment > operation \"look for the image of api\"",
            "operation > step \"scan\"",
            "operation > step \"look-up\"",
        ]
    );
}
