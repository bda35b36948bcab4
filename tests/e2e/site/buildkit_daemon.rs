//! The daemon as the cluster and it itself show it.

use std::time::{Duration, Instant};

use garden_build::config::BuildMode;
use garden_buildkit::client::Client;
use garden_buildkit::spec;
use garden_cluster::{Cluster, PodStream};
use k8s_openapi::api::core::v1::Pod;

use super::{Project, WITHIN_SECONDS, running};

/// A daemon of a project, asked by a connection that no build uses.
pub(crate) struct Daemon {
    pub(crate) pod: Pod,
    client: Client,
}

impl Daemon {
    /// Connects to the daemon that runs.
    pub(crate) async fn of(project: &Project) -> Self {
        let pod = project.builder_pod(running).await;
        let cluster = Cluster::new(project.client.clone());
        let rootless =
            matches!(&project.provider.build_mode, BuildMode::ClusterBuildkit(options) if options.rootless);
        let command = ["buildctl", "--addr", spec::address(rootless), "dial-stdio"];
        let name = pod.metadata.name.as_deref().unwrap();
        let stream = PodStream::exec(&cluster, &project.namespace, name, spec::CONTAINER, &command);
        let client = Client::connect(stream.await.unwrap()).await.unwrap();
        Self { pod, client }
    }

    /// How many builds it says it is running.
    pub(crate) async fn builds(&self) -> usize {
        self.client.running_builds().await.unwrap().len()
    }

    /// Waits until it says that no build is running: long before the steps of these tests would end by themselves.
    pub(crate) async fn assert_idle(&self) {
        let started = Instant::now();
        while self.builds().await > 0 {
            assert!(started.elapsed() < WITHIN_SECONDS, "the daemon still builds");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
