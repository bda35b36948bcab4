//! The build modes under test, and what is expected of each.

use garden_build::Builder;
use garden_build::config::{BuildMode, ClusterDockerOptions, DeploymentRegistry};
use garden_build::docker::DockerDaemon;
use kube::Client;
use tokio::sync::OnceCell;

use super::Seen;
use crate::site::buildkit_daemon::Daemon;
use crate::site::{Project, WITHIN_SECONDS, assert_not_running, everything_in_namespace, variable};

/// Where the daemon of cluster-docker is, one for all tests.
const DOCKER_NAMESPACE: &str = "e2e-docker-daemon";

/// Installed once by each run.
static DOCKER: OnceCell<()> = OnceCell::const_new();

/// A build mode in one of its forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Kaniko,
    ClusterBuildkit,
    ClusterBuildkitRootless,
    ClusterDocker,
    ClusterDockerBuildkit,
    LocalDocker,
    LocalDockerClassic,
}

impl Mode {
    /// In the order of the table's columns.
    pub(super) const ALL: [Self; 7] = [
        Self::Kaniko,
        Self::ClusterBuildkit,
        Self::ClusterBuildkitRootless,
        Self::ClusterDocker,
        Self::ClusterDockerBuildkit,
        Self::LocalDocker,
        Self::LocalDockerClassic,
    ];

    /// The name of the module with its tests.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kaniko => "kaniko",
            Self::ClusterBuildkit => "cluster_buildkit",
            Self::ClusterBuildkitRootless => "cluster_buildkit_rootless",
            Self::ClusterDocker => "cluster_docker",
            Self::ClusterDockerBuildkit => "cluster_docker_buildkit",
            Self::LocalDocker => "local_docker",
            Self::LocalDockerClassic => "local_docker_classic",
        }
    }

    /// What the table calls it. Breaks keep columns narrow.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Kaniko => "kaniko",
            Self::ClusterBuildkit => "cluster-<br>buildkit",
            Self::ClusterBuildkitRootless => "…<br>rootless",
            Self::ClusterDocker => "cluster-<br>docker",
            Self::ClusterDockerBuildkit => "…<br>BuildKit",
            Self::LocalDocker => "local-<br>docker",
            Self::LocalDockerClassic => "…<br>classic",
        }
    }

    /// Has [`set_up`](Self::set_up) rely on what another process has installed.
    pub(super) fn is_installed() {
        let _already = DOCKER.set(());
    }

    /// Whether a build goes by the cluster at all.
    pub(super) fn builds_in_the_cluster(self) -> bool {
        !matches!(self, Self::LocalDocker | Self::LocalDockerClassic)
    }

    /// Makes `project` one that builds in this mode and pulls base images from both registries with plain HTTP.
    pub(super) async fn set_up(self, project: &mut Project) {
        let plain = ["GARDEN_TEST_REGISTRY", "GARDEN_TEST_REGISTRY_BASIC"].map(variable);
        match self {
            Self::Kaniko => {
                let flags = plain.map(|host| format!("--insecure-registry={host}"));
                project.kaniko().extra_flags.extend(flags);
            }
            Self::ClusterBuildkit | Self::ClusterBuildkitRootless => {
                let options = project.buildkit();
                options.registries = insecure(&plain);
                if self == Self::ClusterBuildkitRootless {
                    options.rootless = true;
                    // Secrets need it: `attacks::shared_daemon`.
                    options.builds_trust_each_other = true;
                    options.image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
                }
            }
            Self::ClusterDocker | Self::ClusterDockerBuildkit => {
                let mut options = ClusterDockerOptions::default();
                options.image = Some(variable("GARDEN_TEST_DOCKER_IMAGE"));
                options.enable_buildkit = self == Self::ClusterDockerBuildkit;
                options.registries = insecure(&plain);
                project.provider.build_mode = BuildMode::ClusterDocker(options);
                DOCKER_NAMESPACE.clone_into(&mut project.provider.garden_system_namespace);
                let builder = project.builder();
                DOCKER.get_or_init(async || drop(builder.init().await.unwrap())).await;
            }
            Self::LocalDocker | Self::LocalDockerClassic => {
                project.provider.build_mode = BuildMode::LocalDocker;
            }
        }
    }

    /// A builder of this mode. With local-docker, its daemon is at `docker`, or else the testbed's.
    pub(super) fn builder(self, project: &Project, client: Client, docker: Option<&str>) -> Builder {
        let provider = project.provider.clone();
        let daemon = |name| DockerDaemon::at(&docker.map_or_else(|| variable(name), str::to_owned)).unwrap();
        let builder = match self {
            Self::LocalDocker => {
                Builder::options(provider).client(client).docker(daemon("GARDEN_TEST_DOCKER_HOST")).connect()
            }
            // A daemon of years ago, besides.
            Self::LocalDockerClassic => {
                let daemon = daemon("GARDEN_TEST_DOCKER_HOST_OLD").without_buildkit();
                Builder::options(provider).client(client).docker(daemon).connect()
            }
            _ => Builder::options(provider).client(client).connect(),
        };
        builder.unwrap()
    }

    /// Whether `BuildKit` builds, and our client talks to it: then there are secrets, SSH agents and named
    /// contexts, only what has changed is sent, and failures are told with the lines of the Dockerfile.
    pub(super) fn has_buildkit(self) -> bool {
        match self {
            Self::ClusterBuildkit
            | Self::ClusterBuildkitRootless
            | Self::ClusterDockerBuildkit
            | Self::LocalDocker => true,
            Self::Kaniko | Self::ClusterDocker | Self::LocalDockerClassic => false,
        }
    }

    /// What is to be said of secrets and SSH agents that steps have been given.
    pub(super) fn seen_with_secrets(self) -> Seen {
        match self {
            Self::ClusterBuildkitRootless => {
                Seen::Differs("with `buildsTrustEachOther`: other builds' steps can read and use them")
            }
            _ => Seen::Works,
        }
    }

    /// Whether a Docker daemon builds, which takes a base image that it has without asking the registry.
    pub(super) fn keeps_base_images(self) -> bool {
        matches!(
            self,
            Self::ClusterDocker | Self::ClusterDockerBuildkit | Self::LocalDocker | Self::LocalDockerClassic
        )
    }

    /// Whether one build may be for several platforms. A Docker daemon keeps images for one each.
    pub(super) fn builds_for_several_platforms(self) -> bool {
        matches!(self, Self::ClusterBuildkit | Self::ClusterBuildkitRootless)
    }

    /// Makes sure that nothing of a build that has ended goes on or is left: long before its step would end by itself.
    pub(super) async fn assert_nothing_goes_on(self, project: &Project) {
        if matches!(self, Self::ClusterBuildkit | Self::ClusterBuildkitRootless) {
            // The daemon itself stays.
            return Daemon::of(project).await.assert_idle().await;
        }
        project.assert_nothing_left().await;
        if self.keeps_base_images() {
            assert_not_running(&project.long_sleep(), WITHIN_SECONDS).await;
        }
    }

    /// What a build has left in the cluster besides the Secrets called `own`, and what its builder logged, as text.
    pub(super) async fn traces(self, project: &Project, own: &[&str]) -> String {
        if matches!(self, Self::ClusterBuildkit | Self::ClusterBuildkitRootless) {
            return everything_in_namespace(project, own).await;
        }
        project.leftovers().await.join("\n")
    }
}

fn insecure(hosts: &[String]) -> Vec<DeploymentRegistry> {
    let insecure = |host: &String| {
        let mut registry = DeploymentRegistry::new(host).unwrap();
        registry.insecure = true;
        registry
    };
    hosts.iter().map(insecure).collect()
}
