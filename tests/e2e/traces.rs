//! The spans that builders in the cluster send by themselves.

use garden_build::{Builder, TraceContext};

use crate::site::collector::{Collector, contains};
use crate::site::{Project, in_project};

const SECRET: &str = "s3cret-of-a-build";

/// Builds within a trace that no other test has. Returns its identifier.
async fn build_traced(project: &Project, flags: &str, secret: Option<&str>) -> [u8; 16] {
    let trace = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let context = TraceContext::new(&format!("00-{trace:032x}-00f067aa0ba902b7-{flags}"), "").unwrap();
    let options = Builder::options(project.provider.clone()).client(project.client.clone());
    let builder = options.trace_context(move || Some(context.clone())).connect().unwrap();
    let request =
        secret.into_iter().fold(project.request(), |request, secret| request.secret("token", secret));
    builder.build(request).await.unwrap();
    trace.to_be_bytes()
}

#[tokio::test]
async fn a_daemon_s_spans_are_part_of_the_caller_s_trace_and_have_no_secret() {
    in_project("traced", async |project| {
        project.buildkit();
        let collector = Collector::listen();
        project.provider.telemetry.endpoint = Some(collector.url());
        project.dockerfile("RUN --mount=type=secret,id=token test -s /run/secrets/token\n");
        let trace = build_traced(project, "01", Some(SECRET)).await;
        for call in ["Control/Solve", "Control/Status", "Control/Session"] {
            let path = collector.request_with(&[&trace, call.as_bytes()]).await;
            assert_eq!(path, "/v1/traces");
        }
        let received = collector.received();
        assert!(!received.iter().any(|(_, body)| contains(body, SECRET.as_bytes())));

        // What the caller does not record, the daemon does not record either.
        project.dockerfile("RUN echo another\n");
        let unsampled = build_traced(project, "00", None).await;
        project.dockerfile("RUN echo a third\n");
        let trace = build_traced(project, "01", None).await;
        collector.request_with(&[&trace, b"Control/Solve"]).await;
        let received = collector.received();
        assert!(!received.iter().any(|(_, body)| contains(body, &unsampled)));
    })
    .await;
}

#[tokio::test]
async fn an_executor_that_knows_no_telemetry_builds_as_before() {
    in_project("untraced", async |project| {
        project.provider.telemetry.endpoint = Some("http://127.0.0.1:1".to_owned());
        project.dockerfile("RUN env; ! env | grep -e TELEMETRY -e OTEL\nCMD [\"env\"]\n");
        build_traced(project, "01", None).await;
    })
    .await;
}
