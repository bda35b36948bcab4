//! The context service: a pod in the namespace of the builders, which keeps contexts. A build sends it only what it does not
//! have yet, and the build's pod fetches its context from there.
//!
//! * `spec`: its objects, as functions of its settings. `files` has what runs in its pod.
//! * `install`: makes sure of it, and finds its pod.
//! * `session`: what a client and the service say to each other.
//! * `upload`: one build's context, from here to its pod; `trouble`: what it means that this has ended early.
//! * `handover`: what shows the build's pod that it gets what we have, whoever may write to the service.
//! * `key`: what the client and the build's pod know, and nobody else.
//! * `indexes`: what this machine knows of what the service has.

use garden_build_core::Remedy;
use garden_cluster::{
    AllowedPeers, Cluster, DeploymentWords, ManagedDeployment, RegistryCredentials, Remedies, ServicePolicy,
    VolumeWords,
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handover;
mod indexes;
mod install;
mod key;
mod patient;
mod session;
mod spec;
mod trouble;
mod upload;

pub(crate) use install::Found;
pub(crate) use key::Key;
pub(crate) use spec::{ServiceSettings, claim, deployment};
pub(crate) use upload::{Announced, Stage, Upload};

/// The name of the Deployment, of its label, and of the claim to its volume: that of Garden's utility pod, which it stands
/// for, and whose options it has.
pub(crate) const NAME: &str = "garden-util";

/// The name of its container.
pub(crate) const CONTAINER: &str = "context-service";

/// The port that builders' pods connect to.
pub(crate) const PORT: u16 = 4120;

/// What to do if the image has no shell.
const SHELL_HINT: Remedy = Remedy::set(
    &["kaniko.image", "kaniko.contextDelivery"],
    "it runs in `kaniko.image`, which needs a shell at /busybox/sh: use the variant of the image whose tag ends in \
                          `-debug`, or set `kaniko.contextDelivery: stdin`",
);

/// What to do if the cluster's rules do not allow its pod.
const RULES_HINT: Remedy = Remedy::set(
    &["kaniko.contextDelivery"],
    "the context service fits the Pod Security level `restricted`; ask who has set the namespace's rules, or set \
                          `kaniko.contextDelivery: stdin`, which needs no service",
);

/// Which Deployment the service is, and what is said of it. Only `Builder::init` gives other settings to one that works.
const WORDS: DeploymentWords = DeploymentWords {
    what: "the context service",
    name: NAME,
    container: CONTAINER,
    volume: Some(VolumeWords {
        claim: NAME,
        storage_class: "storage.sync.storageClass",
        keeps_size: Remedy::set(&["storage.sync.size"], "set `storage.sync.size` to its size"),
        quota: Remedy::set(
            &["storage.sync.size"],
            "set `storage.sync.size` to less, or raise the namespace's ResourceQuota",
        ),
    }),
    remedies: Remedies {
        memory: Remedy::set_and_install(
            &["resources.util.limits.memory"],
            "raise `resources.util.limits.memory`, and install again (`init`)",
        ),
        evicted: Remedy::set_and_install(
            &["resources.util.requests", "storage.sync"],
            "raise `resources.util.requests` (memory, ephemeralStorage) so that the context service gets a node with room, or \
                  give it a volume with `storage.sync`; then install again (`init`)",
        ),
        disk_limit: Remedy::set(
            &["resources.util.limits.ephemeralStorage"],
            "raise `resources.util.limits.ephemeralStorage`, or set it if a LimitRange of the namespace sets a lower one",
        ),
        scheduling: Remedy::set(
            &["kaniko.util.nodeSelector", "kaniko.nodeSelector", "kaniko.util", "resources.util.requests"],
            "check `kaniko.util.nodeSelector` (or `kaniko.nodeSelector`, if `kaniko.util` is not set) and \
                     `resources.util.requests` against the cluster's nodes",
        ),
        port: None,
        image: Remedy::set(
            &["kaniko.image", "imagePullSecrets"],
            "check `kaniko.image`, and that nodes can pull it: those of `imagePullSecrets` that have a user and a password for its \
                registry are brought to the service's namespace for that",
        ),
        start: SHELL_HINT,
        quota: Remedy::set(
            &["resources.util"],
            "lower `resources.util`, or raise the namespace's ResourceQuota",
        ),
        limit_range: Remedy::set(
            &["resources.util"],
            "set amounts in `resources.util` that the namespace's LimitRange allows",
        ),
        pod_security: RULES_HINT,
        privileges: RULES_HINT,
    },
    ended: Remedy::build_again("build again; all that is lost is sent again"),
    complaint: None,
    foreign: Remedy::set(
        &["kaniko.namespace", "kaniko.contextDelivery"],
        "uninstall it there, or build in another namespace (`kaniko.namespace`), or set `kaniko.contextDelivery: stdin`, \
              which needs no service",
    ),
    missing: Remedy::build_again("build again: each build makes sure of it"),
    longest: Some(DeploymentWords::USUALLY_LONGEST),
};

/// The context service of a namespace, whether it is installed or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ContextService {
    cluster: Cluster,
    settings: ServiceSettings,
    credentials: RegistryCredentials,
}

impl ContextService {
    /// Describes the service of `cluster` that `settings` are about. Nodes pull its image with `credentials`.
    pub(crate) fn new(cluster: Cluster, settings: ServiceSettings, credentials: RegistryCredentials) -> Self {
        Self { cluster, settings, credentials }
    }

    /// Returns the namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }

    fn managed(&self) -> ManagedDeployment {
        ManagedDeployment::new(&self.cluster, self.namespace(), &WORDS)
    }

    /// The pods of builds fetch their contexts. This machine comes by commands in the service's pod.
    pub(crate) fn policy(&self) -> ServicePolicy {
        let (metadata, is_wanted) = (spec::metadata(&self.settings), self.settings.network_policies);
        ServicePolicy::new(&self.cluster, &WORDS, metadata, AllowedPeers::PodsOfBuilds, is_wanted)
    }
}
