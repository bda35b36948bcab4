//! The spans of operations and steps, and which of them a builder's own spans belong to. In a program of its own: what is traced is decided once for all threads of a process.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use garden_build::config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig};
use garden_build::{BuildRequest, Builder, Error, ErrorKind, TraceContext};
use garden_build_testing::backend::{Script, ScriptedBackend};
use garden_build_testing::registry::Registry;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Notes each span: the names of those that it is in and its own, and what it is about.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut about = About::default();
        attributes.record(&mut about);
        let names: Vec<_> = cx.span_scope(id).unwrap().from_root().map(|span| span.name()).collect();
        self.0.lock().unwrap().push(format!("{} {}", names.join(" > "), about.0));
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

/// Notes the spans of this process from now on.
fn spans() -> &'static Spans {
    static SPANS: OnceLock<Spans> = OnceLock::new();
    SPANS.get_or_init(|| {
        let spans = Spans::default();
        tracing_subscriber::registry().with(spans.clone()).init();
        spans
    })
}

/// Builds with kaniko, and pushes to this registry.
fn provider(registry: &Registry) -> ProviderConfig {
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    let mut deployment = DeploymentRegistry::new(&registry.host()).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    provider
}

fn context() -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    directory
}

#[tokio::test]
async fn each_operation_and_each_step_is_a_span_within_the_caller_s() {
    let spans = spans();
    let registry = Registry::start().await;
    let (provider, directory) = (provider(&registry), context());
    let builder = Builder::options(provider).connect().unwrap();
    let request = BuildRequest::new("api", directory.path());
    let status = tracing::info_span!("deployment").in_scope(|| builder.status(request));
    status.await.unwrap();
    // Other tests of this process have spans as well.
    let spans = spans.0.lock().unwrap();
    let seen: Vec<_> = spans.iter().filter(|span| span.starts_with("deployment")).collect();
    assert_eq!(
        seen,
        [
            "deployment ",
            "deployment > operation \"look for the image of api\"",
            "deployment > operation > step \"scan\"",
            "deployment > operation > step \"look-up\"",
        ]
    );
}

/// A backend whose builds fail, and the registry that has nothing.
async fn failing() -> ScriptedBackend {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.otherwise(Script::fail(Error::new(ErrorKind::BuildFailed, "made up")));
    backend
}

/// Which span the last build was told that its own belong to.
fn traced(backend: &ScriptedBackend) -> Option<TraceContext> {
    backend.builds().pop().unwrap().trace_context
}

/// The span of which `current` is asked, by the last digit of its id.
fn numbered(number: usize) -> TraceContext {
    TraceContext::new(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b{number:x}-01"), "")
        .unwrap()
}

#[tokio::test]
async fn a_builder_s_spans_belong_to_the_operation_that_builds_the_image() {
    spans();
    let asked: Arc<Mutex<Vec<(String, ThreadId)>>> = Arc::default();
    let (noted, backend, directory) = (Arc::clone(&asked), failing().await, context());
    let current = move || {
        let name = tracing::Span::current().metadata().map_or("", |metadata| metadata.name());
        let mut noted = noted.lock().unwrap();
        noted.push((name.to_owned(), thread::current().id()));
        Some(numbered(noted.len()))
    };
    let options = Builder::options(provider(backend.registry())).backend(Arc::new(backend.clone()));
    let builder = options.trace_context(current).connect().unwrap();
    builder.build(BuildRequest::new("api", directory.path())).await.unwrap_err();
    let asked: Vec<_> = asked.lock().unwrap().clone();
    assert_eq!(asked.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["operation"; 2]);
    assert_eq!(traced(&backend), Some(numbered(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_current_for_whoever_begins_a_build_counts_where_nothing_else_is_known() {
    let (caller, backend, directory) = (thread::current().id(), failing().await, context());
    let current = move || (thread::current().id() == caller).then(|| numbered(7));
    let options = Builder::options(provider(backend.registry())).backend(Arc::new(backend.clone()));
    let builder = options.trace_context(current).connect().unwrap();
    let error = builder.build(BuildRequest::new("api", directory.path())).await.unwrap_err();
    assert_eq!(traced(&backend), Some(numbered(7)), "{error:?}");
}

#[tokio::test]
async fn a_build_that_is_not_traced_hands_nothing_on() {
    let (backend, directory) = (failing().await, context());
    let builder =
        Builder::options(provider(backend.registry())).backend(Arc::new(backend.clone())).connect().unwrap();
    builder.build(BuildRequest::new("api", directory.path())).await.unwrap_err();
    assert_eq!(traced(&backend), None);
}
