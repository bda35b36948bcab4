//! Spans of `tracing` as OpenTelemetry's, and which one is current.

use std::collections::HashMap;

use garden_build::TraceContext;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of this program's own spans.
pub(crate) const TARGET: &str = "deployment";

/// Sends the spans of this process, ours and garden-build's, to the collector at `endpoint`, by OTLP over gRPC. What is returned has to be shut down before the process ends.
pub(crate) fn spans(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder_empty().with_service_name("deployment").build();
    let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("deployment"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let targets = ["garden_build", TARGET].map(|target| (target, LevelFilter::INFO));
    tracing_subscriber::registry().with(spans.with_filter(Targets::new().with_targets(targets))).init();
    Ok(provider)
}

/// Returns the current span, for `BuilderOptions::trace_context`.
pub(crate) fn current() -> Option<TraceContext> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&tracing::Span::current().context(), &mut headers);
    let state = headers.get("tracestate").map_or("", String::as_str);
    TraceContext::new(headers.get("traceparent")?, state).ok()
}
