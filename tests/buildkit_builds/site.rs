//! A project with a cluster, a daemon and a registry of its own.

use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, DeploymentRegistry, ProviderConfig, SecretRef,
};
use garden_build::{BuildRequest, Builder, Caches};
use garden_build_testing::buildkit::{FakeBuild, FakeBuildkit};
use garden_build_testing::kubernetes::FakeCluster;
use k8s_openapi::ByteString;
use serde_json::json;
use tempfile::TempDir;

use super::registry::Registry;

pub(crate) struct Site {
    pub(crate) cluster: FakeCluster,
    pub(crate) daemon: FakeBuildkit,
    pub(crate) registry: Registry,
    pub(crate) builder: Builder,
    directory: TempDir,
}

impl Site {
    /// A daemon whose builds do what they do by themselves, and push.
    pub(crate) fn new() -> Self {
        Self::make(None)
    }

    /// The same, and the project has a login for its registry.
    pub(crate) fn with_login(username: &str, password: &str) -> Self {
        Self::make(Some((username, password)))
    }

    fn make(login: Option<(&str, &str)>) -> Self {
        let (cluster, daemon, registry) = (FakeCluster::new(), FakeBuildkit::new(), Registry::listen());
        daemon.run_in(&cluster);
        let pushing = registry.clone();
        daemon.on_build(move |build: FakeBuild| {
            let registry = pushing.clone();
            async move { Ok(registry.push(&build.record(), build.run().await?)) }
        });
        let mut provider = ProviderConfig::kubernetes("shop");
        let mut options = ClusterBuildkitOptions::default();
        options.cache = Vec::new();
        provider.build_mode = BuildMode::ClusterBuildkit(options);
        let mut deployment = DeploymentRegistry::new(registry.host()).unwrap();
        deployment.insecure = true;
        provider.deployment_registry = Some(deployment);
        if let Some((username, password)) = login {
            let config =
                json!({ "auths": { registry.host(): { "username": username, "password": password } } });
            cluster.put(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
                "metadata": { "name": "registry", "namespace": "default" },
                "data": { ".dockerconfigjson": ByteString(config.to_string().into_bytes()) },
            }));
            provider.image_pull_secrets = vec![SecretRef::new("registry")];
        }
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY main.c /\n").unwrap();
        std::fs::write(directory.path().join("main.c"), "int main;").unwrap();
        let options = Builder::options(provider).client(cluster.client()).caches(Caches::none());
        Self { cluster, daemon, registry, builder: options.connect().unwrap(), directory }
    }

    pub(crate) fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }
}
