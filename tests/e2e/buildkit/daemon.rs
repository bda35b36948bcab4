//! The daemon as the cluster and it itself show it.

use std::time::{Duration, Instant};

use garden_build::config::BuildMode;
use garden_build::{Build, Event};
use garden_buildkit::client::Client;
use garden_buildkit::spec;
use garden_cluster::{Cluster, PodStream};
use k8s_openapi::api::core::v1::Pod;

use crate::site::{Project, running, shown};

/// How soon a daemon has to notice that nobody wants a build any more.
pub(crate) const SOON: Duration = Duration::from_secs(2);

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

    /// Waits until it says that no build is running.
    pub(crate) async fn assert_idle(&self, within: Duration) {
        let started = Instant::now();
        while self.builds().await > 0 {
            assert!(started.elapsed() < within, "the daemon still builds after {within:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Follows a build until one of its events contains `text`, and returns what it has told so far.
pub(crate) async fn follow_until(build: &mut Build, text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(event) = build.next_event().await {
            let found = event.to_string().contains(text);
            events.push(event);
            if found {
                return true;
            }
        }
        false
    });
    let told = told.await.unwrap_or(false);
    assert!(told, "no event tells of `{text}`:\n{}", shown(&events));
    events
}

/// Follows a build to its end, and returns what it has told.
pub(crate) async fn follow(build: &mut Build) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = build.next_event().await {
        events.push(event);
    }
    events
}

pub(crate) fn warnings(events: &[Event]) -> Vec<&str> {
    let mut warnings = Vec::new();
    for event in events {
        if let Event::Warning { message, .. } = event {
            warnings.push(message.as_str());
        }
    }
    warnings
}
