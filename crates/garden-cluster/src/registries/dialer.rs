use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use garden_registry::{Dial, Place, TcpDialer, Transport};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::ListParams;
use tokio::time::timeout;

use crate::api::{Cluster, ClusterError, ask};
use crate::pod::PodStream;

/// How long a program in the cluster waits for a Service before it tries the way through the API server as well. Where a `NetworkPolicy` keeps it out,
/// nothing comes back in most clusters.
const SILENCE: Duration = Duration::from_millis(500);

/// Opens connections to hosts that this machine reaches itself and, through the API server, to
/// Services of the cluster, which are named `<service>.<namespace>.svc` or `….svc.cluster.local`. A program in the cluster connects to
/// Services itself, and goes through the API server where that fails.
#[derive(Clone, Debug)]
pub struct ClusterDialer {
    cluster: Cluster,
    direct: Arc<TcpDialer>,
    in_cluster: bool,
}

impl ClusterDialer {
    /// Dials through `cluster` where this is needed: from a program that runs in the cluster, only where it is kept out.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, direct: Arc::new(TcpDialer), in_cluster: in_cluster() }
    }
}

/// Whether this program runs in a cluster; in which one, nobody says.
pub fn in_cluster() -> bool {
    // The kubelet sets this variable in every container.
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

impl Dial for ClusterDialer {
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> {
        let Some((service, namespace)) = service_of(host) else {
            return self.direct.dial(host, port);
        };
        let (cluster, service, namespace) = (self.cluster.clone(), service.to_owned(), namespace.to_owned());
        let through_the_api_server = async move {
            let stream =
                dial_service(&cluster, &namespace, &service, port).await.map_err(io::Error::other)?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        };
        if self.in_cluster {
            Box::pin(either(self.direct.dial(host, port), through_the_api_server))
        } else {
            Box::pin(through_the_api_server)
        }
    }

    fn leaves_by_network(&self, host: &str) -> bool {
        // A Service is reached through the API server, or from within the cluster: no proxy of this machine knows the way.
        service_of(host).is_none()
    }

    /// A registry in the cluster may lead to Services of its own namespace, and one elsewhere to none: this machine reaches them with the
    /// rights of its user.
    fn place(&self, host: &str) -> Place {
        match service_of(host) {
            Some((_, namespace)) => Place::Behind(format!("Namespace {namespace} of the cluster")),
            None => Place::of(host),
        }
    }
}

/// Takes the direct way; if that fails or is silent, the other one as well, and then the first that succeeds.
async fn either<T>(
    direct: impl Future<Output = io::Result<T>>,
    other: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let (mut direct, other) = (pin!(direct), pin!(other));
    let failed = |direct: io::Error, other: io::Error| {
        let message = format!("{direct}; and through the API server: {other}");
        Err(io::Error::new(direct.kind(), message))
    };
    match timeout(SILENCE, direct.as_mut()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(direct)) => match other.await {
            Err(other) => failed(direct, other),
            stream => stream,
        },
        Err(_) => match select(direct, other).await {
            Either::Left((Err(direct), other)) => match other.await {
                Err(other) => failed(direct, other),
                stream => stream,
            },
            Either::Right((Err(other), direct)) => match direct.await {
                Err(direct) => failed(direct, other),
                stream => stream,
            },
            Either::Left((stream, _)) | Either::Right((stream, _)) => stream,
        },
    }
}

/// Splits the DNS name of a Service into the Service's name and namespace.
fn service_of(host: &str) -> Option<(&str, &str)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let name = host.strip_suffix(".svc").or_else(|| host.strip_suffix(".svc.cluster.local"))?;
    name.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
}

async fn dial_service(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
    port: u16,
) -> Result<PodStream, ClusterError> {
    let action = format!("find the pods of Service {namespace}/{service}");
    let slices_of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let (services, slices) = (cluster.api::<Service>(namespace), cluster.api::<EndpointSlice>(namespace));
    let (found, slices) = tokio::try_join!(
        ask(&action, || services.get(service)),
        ask(&action, || slices.list(&slices_of_service)),
    )?;
    let Some((pod, pod_port)) = ready_pod(&found, &slices.items, port) else {
        return Err(ClusterError::StreamCut {
            target: format!("Service {namespace}/{service}"),
            reason: format!("no pod of it is ready on port {port}"),
        });
    };
    PodStream::port_forward(cluster, namespace, &pod, pod_port).await
}

/// Chooses a ready pod of the Service, and the pod's own number of the Service's `port`.
fn ready_pod(service: &Service, slices: &[EndpointSlice], port: u16) -> Option<(String, u16)> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let wanted = ports.iter().find(|candidate| candidate.port == i32::from(port))?;
    slices.iter().find_map(|slice| {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let same_name =
            |name: &Option<String>| name.as_deref().unwrap_or("") == wanted.name.as_deref().unwrap_or("");
        let port = ports.iter().find(|candidate| same_name(&candidate.name))?.port?;
        // `into`: whether this field is optional differs between versions of the Kubernetes API.
        let endpoints: Option<&Vec<Endpoint>> = (&slice.endpoints).into();
        let ready = endpoints.into_iter().flatten().find(|endpoint| {
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
        })?;
        Some((ready.target_ref.as_ref()?.name.clone()?, u16::try_from(port).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_service_names_go_through_the_api_server() {
        assert_eq!(service_of("registry.testbed.svc.cluster.local"), Some(("registry", "testbed")));
        assert_eq!(service_of("registry.testbed.svc"), Some(("registry", "testbed")));
        assert_eq!(service_of("registry.testbed.svc."), Some(("registry", "testbed")));
        for host in ["registry.example.com", "localhost", "127.0.0.1", "svc", "a.svc", "a.b.svc.example.com"]
        {
            assert_eq!(service_of(host), None, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_keeps_a_program_in_the_cluster_out_is_reached_through_the_api_server() {
        let after = async |seconds: u64, outcome: Result<&'static str, &'static str>| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            outcome.map_err(io::Error::other)
        };
        let silent = std::future::pending::<io::Result<&str>>;
        let never = async || -> io::Result<&str> { panic!("nobody needs it") };
        assert_eq!(either(after(0, Ok("direct")), never()).await.ok(), Some("direct"));
        assert_eq!(either(after(0, Err("refused")), after(1, Ok("other"))).await.ok(), Some("other"));
        let started = tokio::time::Instant::now();
        assert_eq!(either(silent(), after(1, Ok("other"))).await.ok(), Some("other"));
        assert_eq!(started.elapsed(), SILENCE + Duration::from_secs(1));
        assert_eq!(either(after(1, Err("refused")), after(2, Ok("other"))).await.ok(), Some("other"));
        // A slow network is none that keeps it out.
        assert_eq!(either(after(2, Ok("direct")), after(1, Err("no right"))).await.ok(), Some("direct"));
        for seconds in [0, 1, 3] {
            let failed = either(after(seconds, Err("refused")), after(2, Err("no right"))).await;
            let message = failed.expect_err("both fail").to_string();
            assert_eq!(message, "refused; and through the API server: no right");
        }
    }

    #[tokio::test]
    async fn a_service_is_at_a_place_of_its_own() {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>("no cluster")
        });
        let dialer = ClusterDialer::new(Cluster::new(kube::Client::new(nobody, "default")));
        let [here, same, other] =
            ["a.one.svc", "b.one.svc.cluster.local", "a.two.svc"].map(|host| dialer.place(host));
        assert!(here == same && here != other && other != Place::Network);
        assert_eq!(dialer.place("registry.example"), Place::Network);
        assert_eq!(dialer.place("127.0.0.1"), Place::ThisMachine);
    }

    #[test]
    fn a_ready_pod_and_its_own_port_are_chosen() {
        let service: Service = serde_json::from_value(json!({
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] },
        }))
        .expect("a service");
        let endpoint = |pod: &str, ready: bool| json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "name": pod } });
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 5000 }],
            "endpoints": [endpoint("starting", false), endpoint("serving", true)],
        }))
        .expect("an endpoint slice");
        assert_eq!(ready_pod(&service, std::slice::from_ref(&slice), 80), Some(("serving".to_owned(), 5000)));
        assert_eq!(ready_pod(&service, &[slice], 81), None);
    }
}
