//! The executor's own spans, which kaniko's maintained fork has from version 1.28 on.
//!
//! The executor begins a trace of its own for each build: it takes no parent. So each of its spans names the one of ours that it belongs to, as attributes of
//! its resource. Other executors do not read these variables. Source: osscontainertools/kaniko, `pkg/tracing/tracing.go` (`Init`), at 1.28.3.

use garden_build_core::{BuildJob, TraceContext};
use k8s_openapi::api::core::v1::{EnvVar, Pod};

/// Has the executor of `pod` send its spans to `url`. A build whose trace the caller does not record sends none.
pub(crate) fn send(pod: &mut Pod, url: Option<&str>, job: &BuildJob, context: Option<&TraceContext>) {
    let Some(url) = url.filter(|_| context.is_none_or(TraceContext::is_sampled)) else { return };
    let containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    for container in containers {
        container.env.get_or_insert_default().extend(variables(url, job, context));
    }
}

fn variables(url: &str, job: &BuildJob, context: Option<&TraceContext>) -> [EnvVar; 2] {
    // Letters, digits and hexadecimal digits, so nothing needs to be escaped.
    let mut attributes = vec![format!("garden_build.build_id={}", job.id)];
    if let Some(context) = context {
        attributes.push(format!("garden_build.trace_id={}", context.trace_id()));
        attributes.push(format!("garden_build.span_id={}", context.span_id()));
    }
    let variable =
        |name: &str, value| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() };
    [
        variable("KANIKO_TELEMETRY_ENDPOINT", url.to_owned()),
        variable("OTEL_RESOURCE_ATTRIBUTES", attributes.join(",")),
    ]
}

#[cfg(test)]
mod tests {
    use garden_build_core::BuildRequest;
    use garden_build_core::context::Context;
    use k8s_openapi::api::core::v1::{Container, PodSpec};

    use super::*;

    const URL: &str = "http://collector.svc:4318/v1/traces";

    fn sent(url: Option<&str>, context: Option<&TraceContext>) -> Option<Vec<(String, String)>> {
        let directory = tempfile::TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").expect("written");
        let request = BuildRequest::new("api", directory.path());
        let files = Context::scan(&request, &|| false).expect("scanned");
        let job =
            BuildJob::new("0123456789", request, files, "registry.example/api:v-1".parse().expect("a name"));
        let spec = PodSpec { containers: vec![Container::default()], ..PodSpec::default() };
        let mut pod = Pod { spec: Some(spec), ..Pod::default() };
        send(&mut pod, url, &job, context);
        let env = pod.spec.expect("a specification").containers.remove(0).env?;
        Some(env.into_iter().map(|variable| (variable.name, variable.value.unwrap_or_default())).collect())
    }

    fn variables_of(attributes: &str) -> Vec<(String, String)> {
        let variables = [("KANIKO_TELEMETRY_ENDPOINT", URL), ("OTEL_RESOURCE_ATTRIBUTES", attributes)];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    #[test]
    fn the_executor_s_spans_name_the_build_and_the_span_that_it_belongs_to() {
        let context = |flags: &str| {
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            TraceContext::new(&parent, "").expect("valid")
        };
        let build = "garden_build.build_id=0123456789";
        assert_eq!(sent(Some(URL), None), Some(variables_of(build)));
        let traced = format!(
            "{build},garden_build.trace_id=4bf92f3577b34da6a3ce929d0e0e4736,garden_build.span_id=00f067aa0ba902b7"
        );
        assert_eq!(sent(Some(URL), Some(&context("01"))), Some(variables_of(&traced)));
        assert_eq!(sent(Some(URL), Some(&context("00"))), None, "nobody records the trace");
        assert_eq!(sent(None, Some(&context("01"))), None, "nobody takes the spans");
    }
}
