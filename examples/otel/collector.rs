//! A collector of spans in this process: it takes them by OTLP over gRPC, as a real one does, and shows a trace as a tree.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What it was sent. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Listens on loopback, for as long as the runtime lives. Returns where.
    pub(crate) fn listen() -> anyhow::Result<(Self, String)> {
        let (collector, incoming) = (Self::default(), TcpIncoming::bind("127.0.0.1:0".parse()?)?);
        let endpoint = format!("http://{}", incoming.local_addr()?);
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok((collector, endpoint))
    }

    /// Returns the spans so far, those that began first in front.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Shows `spans` as trees, with how long each took.
pub(crate) fn tree(spans: &[Span]) -> String {
    let mut text = String::new();
    let is_root = |span: &&Span| !spans.iter().any(|other| other.span_id == span.parent_span_id);
    let mut open: Vec<_> = spans.iter().filter(is_root).rev().map(|root| (0, root)).collect();
    while let Some((depth, span)) = open.pop() {
        let took = Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano));
        let _infallible = writeln!(text, "{}{}{} ({took:.1?})", "  ".repeat(depth), span.name, fields(span));
        let children = spans.iter().rev().filter(|child| child.parent_span_id == span.span_id);
        open.extend(children.map(|child| (depth + 1, child)));
    }
    text
}

/// The fields of garden-build's spans.
fn fields(span: &Span) -> String {
    let attributes = span.attributes.iter().filter_map(|attribute| {
        let name = attribute.key.as_str();
        let value = match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => format!("{text:?}"),
            Value::BoolValue(is_so) => is_so.to_string(),
            _ => return None,
        };
        ["what", "kind", "name", "cached", "error"].contains(&name).then(|| format!(" {name}={value}"))
    });
    attributes.collect()
}
