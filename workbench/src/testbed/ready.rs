//! Asking the cluster whether it is ready, and applying the manifests to it.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client, Config};
use tokio::runtime::Runtime;

use super::network::{NODE, NODE_NAME, listens};
use super::registries;

const POLL: Duration = Duration::from_millis(100);
const REGISTRY: &str = include_str!("../../../testbed/manifests/registry.yaml");

/// A cluster, asked synchronously.
pub(super) struct Cluster {
    runtime: Runtime,
    client: Client,
}

impl Cluster {
    pub(super) fn of_testbed(kubeconfig: &Path) -> Result<Self> {
        Self::of(Kubeconfig::read_from(kubeconfig)?)
    }

    /// The cluster that the `KUBECONFIG` of the environment names.
    pub(super) fn of_environment() -> Result<Self> {
        Self::of(Kubeconfig::from_env()?.context("KUBECONFIG names no file")?)
    }

    fn of(kubeconfig: Kubeconfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let mut config =
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            config.connect_timeout = Some(Duration::from_secs(5));
            config.read_timeout = Some(Duration::from_secs(15));
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    pub(super) fn version(&self) -> Result<String> {
        Ok(self.runtime.block_on(self.client.apiserver_version())?.git_version)
    }

    pub(super) fn api_is_ready(&self) -> Result<()> {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        self.runtime.block_on(self.client.request_text(request)).context("the API server is not ready")?;
        Ok(())
    }

    pub(super) fn node_is_ready(&self) -> Result<()> {
        let node = self.runtime.block_on(Api::<Node>::all(self.client.clone()).get(NODE_NAME))?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        match ready {
            Some(condition) if condition.status == "True" => Ok(()),
            Some(condition) => {
                bail!("the node is not ready: {}", condition.message.as_deref().unwrap_or("no reason given"))
            }
            None => bail!("the node has not reported yet"),
        }
    }

    pub(super) fn default_service_account_exists(&self) -> Result<()> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), "default");
        self.runtime.block_on(accounts.get("default")).context("no default service account yet")?;
        Ok(())
    }

    pub(super) fn in_cluster_registry_is_available(&self) -> Result<()> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), "testbed");
        let status = self.runtime.block_on(deployments.get("registry"))?.status;
        let available = status.and_then(|status| status.available_replicas).unwrap_or(0);
        ensure!(available > 0, "the registry in the cluster has no available pod");
        Ok(())
    }

    /// Applies `testbed/manifests`, as often as one likes; those of the volumes are in `storage`.
    pub(super) fn apply_manifests(&self, storage: &str) -> Result<()> {
        let mut documents: Vec<serde_json::Value> = Vec::new();
        for manifests in [REGISTRY, storage] {
            let read: Vec<_> = serde_saphyr::from_multiple(manifests).context("reading the manifests")?;
            documents.extend(read);
        }
        for document in documents {
            let object: DynamicObject = serde_json::from_value(document)?;
            let types: TypeMeta = object.types.clone().context("a manifest lacks its kind")?;
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
            let name = object.metadata.name.clone().context("a manifest lacks its name")?;
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            let parameters = PatchParams::apply("garden-build-testbed").force();
            self.runtime
                .block_on(api.patch(&name, &parameters, &Patch::Apply(&object)))
                .with_context(|| format!("applying {} {name}", types.kind))?;
        }
        Ok(())
    }
}

/// Asks again and again until the answer is yes; fails with the last answer.
pub(super) fn wait_until(
    limit: Duration,
    mut is_alive: impl FnMut() -> Result<()>,
    mut is_ready: impl FnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        is_alive()?;
        match is_ready() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("not ready after {} s", limit.as_secs()));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

pub(super) fn registries_listen() -> Result<()> {
    for registry in registries::ALL {
        let address = registry.address();
        ensure!(listens(address.into()), "the registry {address} does not answer");
    }
    Ok(())
}

/// Asks the cluster's DNS for a name that every cluster has.
pub(super) fn dns_answers() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect(SocketAddr::from((NODE, 53)))?;
    socket.send(&dns_query("kubernetes.default.svc.cluster.local"))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).context("the cluster's DNS does not answer")?;
    // RFC 1035, section 4.1.1: the response code is the low half of byte 3, the count of
    // answers stands in bytes 6 and 7.
    ensure!(
        length > 12 && answer[3].trailing_zeros() >= 4 && answer[7] > 0,
        "the cluster's DNS does not know its services yet"
    );
    Ok(())
}

/// A question for an IPv4 address (RFC 1035, section 4.1).
fn dns_query(name: &str) -> Vec<u8> {
    let mut query = vec![0x47, 0x42, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_question_is_framed_by_label_lengths() {
        let query = dns_query("a.bc");
        assert_eq!(&query[12..], &[1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
    }

    #[test]
    fn the_manifests_are_objects_with_names() {
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(REGISTRY).expect("YAML");
        let kinds: Vec<_> =
            documents.iter().map(|document| document["kind"].as_str().expect("kind")).collect();
        assert_eq!(kinds, ["Namespace", "Deployment", "Service"]);
        for document in documents {
            serde_json::from_value::<DynamicObject>(document).expect("object").metadata.name.expect("name");
        }
    }

    #[test]
    fn waiting_ends_with_the_last_answer_or_with_the_death_of_the_node() {
        let late = wait_until(Duration::ZERO, || Ok(()), || bail!("not yet"));
        assert!(format!("{:#}", late.expect_err("late")).contains("not yet"));
        let dead = wait_until(Duration::from_secs(60), || bail!("dead"), || bail!("not yet"));
        assert!(format!("{:#}", dead.expect_err("dead")).contains("dead"));
    }
}
