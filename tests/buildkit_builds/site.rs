//! A project with a cluster, a daemon and a registry of its own.

use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, DeploymentRegistry, ProviderConfig, SecretRef,
};
use garden_build::{BuildRequest, Builder, Caches};
use garden_build_testing::buildkit::{Built, FakeBuild, FakeBuildkit};
use garden_build_testing::kubernetes::FakeCluster;
use garden_build_testing::registry::{Image, Registry};
use tempfile::TempDir;

pub(crate) struct Site {
    pub(crate) cluster: FakeCluster,
    pub(crate) daemon: FakeBuildkit,
    pub(crate) registry: Registry,
    pub(crate) builder: Builder,
    directory: TempDir,
}

impl Site {
    /// A daemon whose builds do what they do by themselves, and push.
    pub(crate) async fn new() -> Self {
        Self::make(None).await
    }

    /// The same, and the project has a login for its registry.
    pub(crate) async fn with_login(username: &str, password: &str) -> Self {
        Self::make(Some((username, password))).await
    }

    async fn make(login: Option<(&str, &str)>) -> Self {
        let (cluster, daemon, registry) = (FakeCluster::new(), FakeBuildkit::new(), Registry::start().await);
        daemon.run_in(&cluster);
        let pushing = registry.clone();
        daemon.on_build(move |build: FakeBuild| {
            let registry = pushing.clone();
            async move {
                build.run().await?;
                Ok(push(&registry, &build))
            }
        });
        let mut provider = ProviderConfig::kubernetes("shop");
        let mut options = ClusterBuildkitOptions::default();
        options.cache = Vec::new();
        provider.build_mode = BuildMode::ClusterBuildkit(options);
        let mut deployment = DeploymentRegistry::new(&registry.host()).unwrap();
        deployment.insecure = true;
        provider.deployment_registry = Some(deployment);
        if let Some((username, password)) = login {
            cluster.put(registry.pull_secret("registry", username, password));
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

/// Pushes an image with the file that the build has sent.
pub(crate) fn push(registry: &Registry, build: &FakeBuild) -> Built {
    let record = build.record();
    build.push(registry, &Image::new().file("main.c", record.text("context", "main.c").unwrap()))
}
