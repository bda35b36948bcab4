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
//!
//! Why: docs/decisions/46-no-sync-service-for-daemons.md

use garden_build_core::{ProxyVariables, Remedy};
use garden_cluster::{
    AllowedPeers, Cluster, DaemonPod, DeploymentWords, Diagnosis, ManagedDeployment, RegistryCredentials,
    Remedies, ServicePolicy, VolumeWords,
};

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

const PRIVILEGED: Remedy = Remedy::set(
    &["buildMode"],
    "a Docker daemon is a privileged container, so its namespace needs the label \
                          `pod-security.kubernetes.io/enforce: privileged`; set it, or use `buildMode: kaniko`, which needs no privileges",
);

/// Which Deployment the daemon is, and what is said of it. `Builder::init` alone gives it other resources.
const WORDS: DeploymentWords = DeploymentWords {
    what: "the Docker daemon",
    name: ClusterDaemon::NAME,
    container: ClusterDaemon::CONTAINER,
    volume: Some(VolumeWords {
        claim: ClusterDaemon::CLAIM,
        storage_class: "storage.builder.storageClass",
        keeps_size: Remedy::set(&["storage.builder.size"], "set `storage.builder.size` to its size"),
        quota: Remedy::set(
            &["storage.builder.size"],
            "set `storage.builder.size` to less, or raise the namespace's ResourceQuota",
        ),
    }),
    remedies: Remedies {
        memory: backend::ADVICE.memory,
        evicted: Remedy::set_and_install(
            &["resources.builder.requests"],
            "raise `resources.builder.requests` (memory, ephemeralStorage) so that the daemon gets a node with room, and install again \
                  (`init`)",
        ),
        disk_limit: Remedy::set(
            &["resources.builder.limits.ephemeralStorage"],
            "raise `resources.builder.limits.ephemeralStorage`, or set it if a LimitRange of the namespace sets a lower one",
        ),
        scheduling: Remedy::set(
            &["systemNodeSelector", "resources.builder.requests"],
            "check `systemNodeSelector` and `resources.builder.requests` against the cluster's nodes",
        ),
        port: None,
        image: Remedy::set(
            &["clusterDocker.image", "utilImageRegistryDomain", "imagePullSecrets"],
            "check `clusterDocker.image`, and that nodes can reach where it comes from (`utilImageRegistryDomain` names another place); \
                installing (`init`) brings those of `imagePullSecrets` to the daemon that have a user and a password for its registry",
        ),
        start: Remedy::new(
            "see what the daemon said last; its image has to be one of Docker in Docker, and its volume must not be a network file system",
        ),
        quota: Remedy::set(
            &["resources.builder"],
            "lower `resources.builder`, or raise the namespace's ResourceQuota",
        ),
        limit_range: Remedy::set(
            &["resources.builder"],
            "set amounts in `resources.builder` that the namespace's LimitRange allows",
        ),
        pod_security: PRIVILEGED,
        privileges: PRIVILEGED,
    },
    ended: Remedy::clean_up(
        &[],
        "see what the daemon said last; a full volume is the usual cause, in which a clean-up frees room",
    ),
    complaint: None,
    foreign: Remedy::set(
        &["gardenSystemNamespace"],
        "uninstall it there, or set `gardenSystemNamespace` to another namespace",
    ),
    missing: Remedy::install("install it (`init`)"),
    // The former one finishes its builds first.
    longest: Some(DeploymentWords::USUALLY_LONGEST.saturating_add(spec::LONGEST_DRAIN)),
};

/// The Docker daemon of a cluster, whether it is installed or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterDaemon {
    cluster: Cluster,
    settings: ClusterDaemonSettings,
    credentials: RegistryCredentials,
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

    /// Describes the daemon of `cluster` that `settings` are about. Nodes pull its image with `credentials`.
    pub fn new(cluster: Cluster, settings: ClusterDaemonSettings, credentials: RegistryCredentials) -> Self {
        Self { cluster, settings, credentials }
    }

    /// Returns the namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }

    /// Describes which one it is, for people.
    pub fn description(&self) -> String {
        format!("the Docker daemon, Deployment {}/{}", self.namespace(), Self::NAME)
    }

    /// Returns the label selector of its pod.
    pub fn selector(&self) -> String {
        self.managed().selector()
    }

    /// Returns the proxies of the RUN steps of this project's builds.
    pub(crate) fn proxies(&self) -> &ProxyVariables {
        self.settings.proxies.variables()
    }

    /// Completes when the daemon in `pod` has ended, with the cause. Its builds have ended with it.
    pub(crate) async fn lost(&self, pod: &DaemonPod) -> Diagnosis {
        self.managed().lost(pod).await
    }

    fn managed(&self) -> ManagedDeployment {
        ManagedDeployment::new(&self.cluster, self.namespace(), &WORDS)
    }

    /// Nobody connects to its pod: the way to the daemon is a command there.
    fn policy(&self) -> ServicePolicy {
        let metadata = spec::metadata(Self::NAME, &self.settings);
        let is_wanted = self.settings.network_policies;
        ServicePolicy::new(&self.cluster, &WORDS, metadata, AllowedPeers::Nobody, is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use garden_build_core::{ErrorKind, HintCode};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_daemon_that_ran_out_of_memory_gets_more_by_init_only() {
        let status = json!({ "containerStatuses": [{
            "name": WORDS.container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": "containerd://1", "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
        }] });
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).expect("a pod");
        let diagnosis = WORDS.death(&pod, "containerd://1").expect("dead");
        assert_eq!(diagnosis.kind, ErrorKind::OutOfMemory);
        let hint = diagnosis.hint.expect("a hint");
        assert_eq!(hint.options, ["resources.builder.limits.memory"]);
        assert!(hint.code == HintCode::InstallServices, "{hint}");
    }
}
