//! A registry of a test's own, and images that are made in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use garden_build::config::Resources;
use garden_build::{CleanUpOptions, Digest, ImageReference};
use garden_cluster::{Cluster, ClusterDialer, InClusterRegistry};
use garden_registry::{Descriptor, Manifest, RegistryClient, RegistryError, Sent};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::api::{AttachParams, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::site::installing::host_port;
use crate::site::{PATIENCE, Project, in_project, printed, variable};

pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A registry in the project's own namespace, and with a host port of its own, so that nobody else's images are in it.
pub(super) struct Registry {
    pub(super) in_cluster: InClusterRegistry,
    pub(super) client: RegistryClient,
    pods: Api<k8s_openapi::api::core::v1::Pod>,
    /// On which port of the node the kubelet pulls from it.
    port: u16,
    base: Base,
}

/// The image that the test's images are made on top of.
struct Base {
    config: Value,
    layers: Vec<(Descriptor, Bytes)>,
}

/// What a clean-up does to images that were pushed by the test a moment ago.
pub(super) fn at_once() -> CleanUpOptions {
    CleanUpOptions::new().keep_younger_than(Duration::ZERO)
}

pub(super) async fn with_own_registry(name: &str, test: impl AsyncFnOnce(&mut Project, &Registry)) {
    in_project(name, async |project| {
        use_own_registry(project);
        project.provider.storage.registry = project.make_volume().await;
        let port =
            20_000 + u16::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() % 10_000).unwrap();
        let registry = Registry::install(project, port).await;
        test(project, &registry).await;
        registry.remove(project).await;
    })
    .await;
}

/// Has `project` use the registry in its own namespace.
pub(super) fn use_own_registry(project: &mut Project) {
    let provider = &mut project.provider;
    provider.deployment_registry = None;
    provider.project_name.clone_from(&project.namespace);
    provider.garden_system_namespace.clone_from(&project.namespace);
    provider.in_cluster_registry.image = Some(variable("GARDEN_TEST_REGISTRY_IMAGE"));
    provider.resources.registry = Resources::registry();
    provider.resources.registry.requests.cpu = 50;
    provider.resources.registry.requests.memory = 64;
}

impl Registry {
    async fn install(project: &Project, port: u16) -> Self {
        let cluster = Cluster::new(project.client.clone());
        let registry = project.in_cluster_registry();
        let host_port = host_port().await;
        registry.apply(&printed()).await.unwrap();
        let proxies: Api<DaemonSet> = Api::namespaced(project.client.clone(), &project.namespace);
        let patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/ports/0/hostPort", "value": port }]);
        let patch = Patch::<()>::Json(serde_json::from_value(patch).unwrap());
        proxies.patch(InClusterRegistry::PROXY, &PatchParams::default(), &patch).await.unwrap();
        registry.ready(&printed()).await.unwrap();
        drop(host_port);

        let client = RegistryClient::builder(registry.host())
            .insecure(true)
            .dialer(Arc::new(ClusterDialer::new(cluster)))
            .build()
            .unwrap();
        Self { in_cluster: registry, client, pods: project.pods(), port, base: Base::read().await }
    }

    async fn remove(&self, project: &Project) {
        let deployments: Api<Deployment> = Api::namespaced(project.client.clone(), &project.namespace);
        deployments.delete(InClusterRegistry::NAME, &DeleteParams::default()).await.unwrap();
        let its_pods = ListParams::default().labels(&InClusterRegistry::selector());
        let started = Instant::now();
        while !self.pods.list(&its_pods).await.unwrap().items.is_empty() {
            assert!(started.elapsed() < PATIENCE, "the registry's pod stays");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        project.remove_volume().await;
    }

    /// The name by which the kubelet pulls an image.
    pub(super) fn on_the_node(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    fn reference(&self, repository: &str, tag: &str) -> ImageReference {
        ImageReference::tagged(self.client.registry(), repository, tag).unwrap()
    }

    /// Pushes an image that prints its `name`, with a layer of its own and one for each of `shared`, which images of the
    /// same name share.
    pub(super) async fn push(&self, repository: &str, tag: &str, name: &str, shared: &[&str]) -> Digest {
        let manifest = self.push_blobs(repository, name, shared, "amd64").await.unwrap();
        self.client.push_manifest(&self.reference(repository, tag), &manifest).await.unwrap();
        manifest.digest()
    }

    pub(super) async fn try_push(
        &self,
        repository: &str,
        tag: &str,
        name: &str,
    ) -> Result<Digest, RegistryError> {
        let manifest = self.push_blobs(repository, name, &[], "amd64").await?;
        self.client.push_manifest(&self.reference(repository, tag), &manifest).await?;
        Ok(manifest.digest())
    }

    /// Pushes an image for two platforms.
    pub(super) async fn push_index(&self, repository: &str, tag: &str, name: &str) -> Digest {
        let mut children = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let manifest = self.push_blobs(repository, name, &[], architecture).await.unwrap();
            let by_digest = format!("{}/{repository}@{}", self.client.registry(), manifest.digest());
            self.client.push_manifest(&by_digest.parse().unwrap(), &manifest).await.unwrap();
            let mut child = serde_json::to_value(Descriptor::of(IMAGE, manifest.bytes())).unwrap();
            child["platform"] = json!({ "architecture": architecture, "os": "linux" });
            children.push(child);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        let index = Manifest::new(Some(INDEX), index.to_string());
        self.client.push_manifest(&self.reference(repository, tag), &index).await.unwrap();
        index.digest()
    }

    async fn push_blobs(
        &self,
        repository: &str,
        name: &str,
        shared: &[&str],
        architecture: &str,
    ) -> Result<Manifest, RegistryError> {
        let mut config = self.base.config.clone();
        config["architecture"] = json!(architecture);
        config["config"] = json!({ "Cmd": ["cat", "/made"], "Env": config["config"]["Env"] });
        config["history"] = json!([]);
        let mut layers = self.base.layers.clone();
        let own = (format!("{name} for {architecture}"), Some(("made", name)));
        for (content, file) in shared.iter().map(|shared| ((*shared).to_owned(), None)).chain([own]) {
            let layer = layer(&content, file);
            let described = Descriptor::of(LAYER, &layer);
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(described.digest));
            layers.push((described, layer));
        }
        let config = Bytes::from(config.to_string());
        let described_config = Descriptor::of(CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": described_config,
            "layers": layers.iter().map(|(described, _)| described).collect::<Vec<_>>(),
        });
        for (described, content) in layers.iter().chain([&(described_config, config)]) {
            self.client.upload_blob(repository, described, None, content, &Sent::untold()).await?;
        }
        Ok(Manifest::new(Some(IMAGE), manifest.to_string()))
    }

    pub(super) async fn has(&self, repository: &str, tag: &str) -> bool {
        self.client.resolve(&self.reference(repository, tag)).await.unwrap().digest().is_some()
    }

    /// Asserts that an image is there with everything that belongs to it.
    pub(super) async fn assert_complete(&self, repository: &str, digest: Digest) {
        let image = format!("{}/{repository}@{digest}", self.client.registry()).parse().unwrap();
        let manifest =
            self.client.manifest(&image).await.unwrap().unwrap_or_else(|| panic!("{image} is gone"));
        for blob in manifest.blobs() {
            let has = self.client.has_blob(repository, blob.digest).await.unwrap();
            assert!(has, "{image} has lost {}", blob.digest);
        }
        for child in manifest.children() {
            Box::pin(self.assert_complete(repository, child.digest)).await;
        }
    }

    /// How much room the registry takes on its volume, in bytes.
    pub(super) async fn disk_usage(&self) -> u64 {
        let pod = self.in_cluster.pod().await.unwrap().name_any();
        let parameters = AttachParams::default().container(InClusterRegistry::CONTAINER).stderr(false);
        let command = ["du", "-sk", InClusterRegistry::STORAGE];
        let mut running = self.pods.exec(&pod, command, &parameters).await.unwrap();
        let mut text = String::new();
        running.stdout().unwrap().read_to_string(&mut text).await.unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Tags of a repository, as the registry lists them.
    pub(super) async fn tags(&self, repository: &str) -> BTreeSet<String> {
        self.client.tags(repository).await.unwrap().into_iter().collect()
    }
}

impl Base {
    /// Reads the testbed's busybox.
    async fn read() -> Self {
        let image: ImageReference = variable("GARDEN_TEST_BASE_IMAGE").parse().unwrap();
        let client = RegistryClient::builder(image.registry()).insecure(true).build().unwrap();
        let manifest = client.manifest(&image).await.unwrap().expect("the testbed has it");
        let read = async |described: &Descriptor| {
            let blob = client.blob(image.repository(), described).unwrap();
            blob.bytes(100 << 20).await.unwrap()
        };
        let config = serde_json::from_slice(&read(manifest.config().unwrap()).await).unwrap();
        let mut layers = Vec::new();
        for layer in manifest.layers() {
            layers.push((layer.clone(), read(layer).await));
        }
        Self { config, layers }
    }
}

/// Makes a layer of 128 KiB that only `content` leads to, and of a `file` with a text.
fn layer(content: &str, file: Option<(&str, &str)>) -> Bytes {
    let mut filling = Vec::new();
    for number in 0..4096 {
        filling.extend(Digest::of(format!("{content} {number}").as_bytes()).as_bytes());
    }
    let mut archive = tar::Builder::new(Vec::new());
    let name = Digest::of(content.as_bytes()).hex();
    for (name, text) in
        [(name.as_str(), filling.as_slice())].into_iter().chain(file.map(|(n, t)| (n, t.as_bytes())))
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text).unwrap();
    }
    archive.into_inner().unwrap().into()
}

/// Pushes many images, some at a time.
pub(super) async fn in_parallel<T>(pushes: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let pushes = pushes.into_iter().map(|push| async { Ok::<_, ()>(push.await) });
    stream::iter(pushes).buffered(8).try_collect().await.unwrap()
}
