//! The cluster and registries under test, and a project of its own for each test.

use std::fs;
use std::path::Path;

use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, DeploymentRegistry, KanikoNamespace, KanikoOptions, ProviderConfig,
};
use garden_build::{BuildRequest, Builder};
use garden_build_testing::cluster::{Keep, TestNamespace};
use kube::{Client, Config};
use tempfile::TempDir;

use super::{in_turn, variable};

/// A project with a namespace, an open registry and a context directory of its own.
pub(crate) struct Project {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) provider: ProviderConfig,
    pub(crate) directory: TempDir,
}

/// Runs a test in a project of its own when it is its turn. The namespace is deleted afterwards, unless the test fails.
pub(crate) async fn in_project(name: &str, test: impl AsyncFnOnce(&mut Project)) {
    // In a box, as whole tests are large for the futures around them.
    in_turn(Box::pin(async {
        let options = TestNamespace::options(&format!("e2e-{name}")).keep(Keep::Failed);
        let namespace = options.create(config().await).await.unwrap();
        let mut project = Project::in_namespace(namespace.name().to_owned()).await;
        test(&mut project).await;
        namespace.remove().await.unwrap();
    }))
    .await;
}

/// Returns the way to the cluster.
async fn config() -> Config {
    // Names the variable that is missing, before anything is tried.
    let _kubeconfig = variable("KUBECONFIG");
    // The test's own way to the cluster passes by the proxies that its environment may name.
    let mut config = Config::infer().await.expect("KUBECONFIG names a cluster");
    config.proxy_url = None;
    config
}

impl Project {
    /// A project in a namespace that exists.
    pub(crate) async fn in_namespace(namespace: String) -> Self {
        let client = Client::try_from(config().await).expect("a client");
        let mut kaniko = KanikoOptions::default();
        kaniko.image = variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE");
        kaniko.namespace = KanikoNamespace::Project;
        let mut provider = ProviderConfig::kubernetes("e2e");
        provider.namespace.name.clone_from(&namespace);
        provider.build_mode = BuildMode::Kaniko(kaniko);
        provider.resources.builder.requests.cpu = 50;
        provider.resources.builder.requests.memory = 64;
        let mut project = Self { namespace, client, provider, directory: TempDir::new().unwrap() };
        project.use_registry(&variable("GARDEN_TEST_REGISTRY"));
        project.registry().insecure = true;
        project
    }

    /// Pushes to the registry at `host`, below a namespace that no other test uses.
    pub(crate) fn use_registry(&mut self, host: &str) {
        let mut registry = DeploymentRegistry::new(host).unwrap();
        registry.namespace = Some(self.namespace.clone());
        self.provider.deployment_registry = Some(registry);
    }

    pub(crate) fn registry(&mut self) -> &mut DeploymentRegistry {
        self.provider.deployment_registry.as_mut().unwrap()
    }

    pub(crate) fn kaniko(&mut self) -> &mut KanikoOptions {
        match &mut self.provider.build_mode {
            BuildMode::Kaniko(options) => options,
            other => panic!("not kaniko: {other:?}"),
        }
    }

    /// Switches to cluster-buildkit, without registry caches, and returns its options.
    pub(crate) fn buildkit(&mut self) -> &mut ClusterBuildkitOptions {
        if !matches!(self.provider.build_mode, BuildMode::ClusterBuildkit(_)) {
            let mut options = ClusterBuildkitOptions::default();
            options.image = Some(variable("GARDEN_TEST_BUILDKIT_IMAGE"));
            options.cache = Vec::new();
            self.provider.build_mode = BuildMode::ClusterBuildkit(options);
        }
        match &mut self.provider.build_mode {
            BuildMode::ClusterBuildkit(options) => options,
            other => panic!("not cluster-buildkit: {other:?}"),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::options(self.provider.clone()).client(self.client.clone()).connect().unwrap()
    }

    pub(crate) fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }

    pub(crate) fn file(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Writes a Dockerfile on top of the testbed's busybox.
    pub(crate) fn dockerfile(&self, instructions: &str) {
        self.file("Dockerfile", format!("FROM {}\n{instructions}", variable("GARDEN_TEST_BASE_IMAGE")));
    }

    /// A command that lasts, and that no other test runs: it is known again among all processes.
    pub(crate) fn long_sleep(&self) -> String {
        let number = self.namespace.rsplit('-').next().unwrap_or_default();
        format!("sleep 1{number}")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}
