//! A build as one trace, at a collector: with what the example `otel` has it exported with.

use std::collections::BTreeSet;
use std::time::Duration;

use garden_build::Builder;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use tracing::Instrument as _;

use super::collector::{Collector, tree};
use super::{Site, export, succeed};

const PASSWORD: &str = "s3cret-of-the-registry";

/// What `span` is and what it is in, from the outside inwards.
fn path(span: &Span, all: &[Span]) -> String {
    let field = |name: &str| {
        let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            AnyValue::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    let own = field("what").or_else(|| field("kind")).unwrap_or_else(|| span.name.clone());
    match all.iter().find(|other| other.span_id == span.parent_span_id) {
        Some(parent) => format!("{} > {own}", path(parent, all)),
        None => own,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_one_trace_that_the_executor_s_spans_name_and_that_has_no_secret() {
    let mut site = Site::with_secrets(&["one"], async |pod, registry| succeed(&pod, &registry)).await;
    site.set_password(PASSWORD, &["one"]);
    site.provider.telemetry.endpoint = Some("http://collector.svc:4318".to_owned());
    site.provider.proxies.https_proxy = Some("http://who:s3cret-of-the-proxy@proxy.example:3128".into());
    let (collector, endpoint) = Collector::listen().unwrap();
    let exporting = export::spans(&endpoint).unwrap();
    let options = Builder::options(site.provider.clone()).client(site.fake.client());
    site.builder = options.trace_context(export::current).connect().unwrap();
    let span = tracing::info_span!(target: export::TARGET, "deployment");
    site.build().instrument(span).await.0.unwrap();
    // It ends after all within it.
    let spans = loop {
        exporting.force_flush().unwrap();
        let spans = collector.spans();
        if spans.iter().any(|span| span.name == "deployment") {
            break spans;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let root = spans.iter().find(|span| span.name == "deployment").unwrap();
    let ours: Vec<Span> = spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect();
    let shown = tree(&ours);
    let paths: BTreeSet<String> = ours.iter().map(|span| path(span, &ours)).collect();
    let image = format!("deployment > build api > build {}/api:v-", site.host);
    for part in ["deployment > build api > scan", "deployment > build api > look-up", &image] {
        assert!(paths.iter().any(|path| path.starts_with(part)), "{part}: {paths:?}\n{shown}");
    }
    for step in [" > prepare", " > wait", " > upload", " > clean-up", " > confirm"] {
        assert!(
            paths.iter().any(|path| path.starts_with(&image) && path.ends_with(step)),
            "{step}: {paths:?}\n{shown}"
        );
    }
    assert!(
        paths.iter().all(|path| path.starts_with("deployment")),
        "no parent is missing: {paths:?}\n{shown}"
    );
    assert!(!format!("{spans:?}").contains("s3cret"), "{spans:?}");

    // The executor's spans name the operation that builds the image.
    let operation =
        ours.iter().filter(|span| span.name == "operation").nth(1).expect("the build of the image");
    let requests = site.fake.requests();
    let applied = requests.iter().filter(|it| it.verb() == "patch" && it.resource() == "pods");
    let pod = applied.filter_map(|it| it.json().ok()).find(|pod| pod["spec"].is_object()).expect("a pod");
    let env = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let value = |name: &str| {
        env.iter().find(|it| it["name"] == name).and_then(|it| it["value"].as_str()).map(str::to_owned)
    };
    assert_eq!(value("KANIKO_TELEMETRY_ENDPOINT").as_deref(), Some("http://collector.svc:4318/v1/traces"));
    let attributes = value("OTEL_RESOURCE_ATTRIBUTES").expect("attributes");
    let trace = u128::from_be_bytes(operation.trace_id[..].try_into().unwrap());
    let span = u64::from_be_bytes(operation.span_id[..].try_into().unwrap());
    let expected = format!("garden_build.trace_id={trace:032x},garden_build.span_id={span:016x}");
    assert!(attributes.ends_with(&expected), "{attributes} for {expected}");
}
