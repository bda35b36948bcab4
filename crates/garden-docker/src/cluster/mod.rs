//! The Docker daemon in the cluster, which all projects share.
//!
//! One pod of one Deployment, in the namespace of the services, with its images on a volume. It listens on a socket of its
//! own pod only: whoever may connect to a Docker daemon is root on its node. So the way to it is a command in the pod,
//! through the API server, and who may run that is a matter of Kubernetes' own rights.
//!
//! * `settings`: what the provider's configuration says about it.
//! * `spec`, `configuration`: the objects, and what the daemon reads, as functions of [`ClusterDaemonSettings`].
//! * `install`: makes sure of them.
//! * `find`: the pod that takes a build.
//! * `dialer`: connections to it.
//! * `backend`: the story of one build.
//! * `occupancy`: which builds it has, so that nobody takes something away from them.

use garden_cluster::{Cluster, DaemonPod, DaemonWords, Diagnosis, ServiceWords, SharedService};

mod backend;
mod configuration;
mod dialer;
mod find;
mod install;
mod occupancy;
mod settings;
mod spec;

pub use backend::ClusterDockerBackend;
pub(crate) use dialer::PodDialer;
pub use settings::ClusterDaemonSettings;

/// What is said of the daemon while it is installed and waited for.
const SERVICE: ServiceWords = ServiceWords {
    what: "the Docker daemon",
    name: ClusterDaemon::NAME,
    container: ClusterDaemon::CONTAINER,
    claim: ClusterDaemon::CLAIM,
    resources: "resources.builder",
    node_selector: "`systemNodeSelector`",
    storage_class: "storage.builder.storageClass",
    image_hint: "check `clusterDocker.image`, and that nodes can reach where it comes from; `utilImageRegistryDomain` names another place",
    crash_hint: "see what the daemon said last; its image has to be one of Docker in Docker, and its volume must not be a network file system",
    security_hint: "a Docker daemon is a privileged container, so its namespace needs the label \
                    `pod-security.kubernetes.io/enforce: privileged`; set it, or use `buildMode: kaniko`, which needs no privileges",
    foreign_hint: "uninstall it there, or set `gardenSystemNamespace` to another namespace",
    missing_hint: "install it with `Builder::init`",
    longest_stop: spec::LONGEST_DRAIN,
};

/// What is said of its end.
const DAEMON: DaemonWords = DaemonWords {
    what: "the Docker daemon",
    container: ClusterDaemon::CONTAINER,
    hint: "see what the daemon said last; a full volume is the usual cause, which `Builder::clean_up_registry` frees",
    complaint: None,
};

/// The Docker daemon of a cluster, whether it is installed or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterDaemon {
    cluster: Cluster,
    settings: ClusterDaemonSettings,
}

impl ClusterDaemon {
    /// The name of the daemon's Deployment and `ConfigMap`.
    pub const NAME: &str = "garden-docker-daemon";

    /// The name of the daemon's container.
    pub const CONTAINER: &str = "docker-daemon";

    /// The name of the claim to its volume.
    pub const CLAIM: &str = "garden-docker-data";

    /// The daemon's socket, in its pod.
    pub const SOCKET: &str = "unix:///var/run/docker.sock";

    /// Describes the daemon of `cluster` that `settings` are about.
    pub fn new(cluster: Cluster, settings: ClusterDaemonSettings) -> Self {
        Self { cluster, settings }
    }

    /// Returns the namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }

    /// Says which one it is, for people.
    pub fn description(&self) -> String {
        format!("the Docker daemon, Deployment {}/{}", self.namespace(), Self::NAME)
    }

    /// Returns the label selector of its pod.
    pub fn selector(&self) -> String {
        self.service().selector()
    }

    /// Completes when the daemon in `pod` has ended, with the cause. Its builds have ended with it.
    pub(crate) async fn lost(&self, pod: &DaemonPod) -> Diagnosis {
        pod.lost(&self.cluster, self.namespace(), &DAEMON).await
    }

    fn service(&self) -> SharedService {
        SharedService::new(&self.cluster, self.namespace(), &SERVICE)
    }
}
