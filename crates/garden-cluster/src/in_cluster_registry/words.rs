//! What people hear of the registry and of its proxies.

use garden_build_core::Remedy;

use super::InClusterRegistry;
use crate::diagnosis::Remedies;
use crate::service::{DeploymentWords, VolumeWords};

/// What to do about the registry, in the words of whoever knows the options that its [`RegistrySettings`](super::RegistrySettings) are
/// made of. Each is a hint as people read it.
#[derive(Clone, Copy, Debug)]
pub struct RegistryRemedies {
    /// It took more memory than its limit.
    pub memory: Remedy,
    /// Its node ran short of something and evicted it.
    pub evicted: Remedy,
    /// No node can take it.
    pub scheduling: Remedy,
    /// Its image, which is that of the proxies as well, cannot be pulled.
    pub image: Remedy,
    /// It cannot be started, or ends again and again.
    pub start: Remedy,
    /// It takes more than is left of the namespace's `ResourceQuota`.
    pub quota: Remedy,
    /// The namespace's `LimitRange` does not allow its resources.
    pub limit_range: Remedy,
    /// It wrote more to its node's disk than its limit.
    pub disk_limit: Remedy,
    /// The option with the storage class of its volume.
    pub storage_class: &'static str,
    /// Its volume keeps its size although an option says another.
    pub keeps_size: Remedy,
    /// Its volume is more than is left of the namespace's `ResourceQuota`.
    pub volume_quota: Remedy,
    /// All nodes have taints that its proxies do not tolerate.
    pub taints: Remedy,
    /// Another program has installed something under its names.
    pub foreign: Remedy,
    /// Its pushes need a password, and the settings say that they do not.
    pub password_wanted: Remedy,
    /// The settings say that pushes need a password, and the cluster has none.
    pub password_missing: Remedy,
}

/// What is said of the registry and of its proxies.
#[derive(Debug)]
pub struct RegistryWords {
    pub(super) registry: DeploymentWords,
    /// The container in the registry's pod that serves pulls, if pushes need a password.
    pub(super) reader: DeploymentWords,
    pub(super) proxy: DeploymentWords,
    /// What to do if all nodes have taints that the proxies do not tolerate.
    pub(super) taints: Remedy,
    /// What to do if pushes need a password, and the settings say that they do not.
    pub(super) password_wanted: Remedy,
    /// What to do if the settings say that pushes need a password, and the cluster has none.
    pub(super) password_missing: Remedy,
}

const HOST_PORT: Remedy = Remedy::new(
    "the nodes reach the registry by a host port, so its namespace needs the label \
                         `pod-security.kubernetes.io/enforce: privileged`; set it, or push to a registry outside of the cluster",
);
const MISSING: Remedy = Remedy::install("install it (`init`), or push to a registry outside of the cluster");

impl RegistryWords {
    /// Adds to `remedies` what depends on no option.
    pub const fn new(remedies: &RegistryRemedies) -> Self {
        let RegistryRemedies { image, start, foreign, .. } = *remedies;
        let registry = DeploymentWords {
            what: "the registry",
            name: InClusterRegistry::NAME,
            container: InClusterRegistry::CONTAINER,
            volume: Some(VolumeWords {
                claim: InClusterRegistry::NAME,
                storage_class: remedies.storage_class,
                keeps_size: remedies.keeps_size,
                quota: remedies.volume_quota,
            }),
            remedies: Remedies {
                memory: remedies.memory,
                evicted: remedies.evicted,
                scheduling: remedies.scheduling,
                port: None,
                image,
                start,
                quota: remedies.quota,
                limit_range: remedies.limit_range,
                disk_limit: remedies.disk_limit,
                pod_security: Remedy::new(
                    "label the namespace with a Pod Security level that allows the registry, or push to a registry outside of \
                               the cluster",
                ),
                privileges: Remedy::new(
                    "allow the registry's pod in its namespace, or push to a registry outside of the cluster",
                ),
            },
            ended: start,
            complaint: None,
            foreign,
            missing: MISSING,
            longest: Some(DeploymentWords::USUALLY_LONGEST),
        };
        let reader = DeploymentWords {
            what: "the registry's server for pulls",
            container: InClusterRegistry::READER_CONTAINER,
            ..registry
        };
        // No option has their resources, and no selector keeps them from a node.
        let proxy = DeploymentWords {
            what: "the registry's proxy on a node",
            name: InClusterRegistry::PROXY,
            container: InClusterRegistry::PROXY_CONTAINER,
            volume: None,
            remedies: Remedies {
                memory: Remedy::new("see what else runs in its pod: the proxy itself needs little"),
                evicted: Remedy::new("see what its node lacks: the proxy itself needs little"),
                scheduling: Remedy::new(
                    "each node needs a little CPU and memory that is free for the proxy, or a taint that the proxy does not \
                             tolerate",
                ),
                port: Some(Remedy::new(
                    "another pod has taken port 5000 of this node, such as the registry proxy of Garden itself; remove it",
                )),
                image,
                start,
                quota: Remedy::new("raise the namespace's ResourceQuota: each node has a pod of the proxy's"),
                limit_range: Remedy::new(
                    "have the namespace's LimitRange allow the little that the proxies need",
                ),
                disk_limit: Remedy::new("see what else runs in its pod: the proxy itself writes nothing"),
                pod_security: HOST_PORT,
                privileges: HOST_PORT,
            },
            ended: start,
            complaint: None,
            foreign,
            missing: MISSING,
            longest: Some(DeploymentWords::USUALLY_LONGEST),
        };
        let RegistryRemedies { taints, password_wanted, password_missing, .. } = *remedies;
        Self { registry, reader, proxy, taints, password_wanted, password_missing }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Each says which it is.
    pub(in super::super) const WORDS: RegistryWords = RegistryWords::new(&RegistryRemedies {
        memory: Remedy::new("more memory"),
        evicted: Remedy::new("a larger node"),
        scheduling: Remedy::new("fewer demands on nodes"),
        image: Remedy::new("another image"),
        start: Remedy::new("a better command"),
        quota: Remedy::new("a smaller registry"),
        limit_range: Remedy::new("other resources"),
        disk_limit: Remedy::new("more disk"),
        storage_class: "an.option.storageClass",
        keeps_size: Remedy::new("set the option to its size"),
        volume_quota: Remedy::new("a smaller volume"),
        taints: Remedy::new("more tolerations"),
        foreign: Remedy::new("another namespace"),
        password_wanted: Remedy::new("say that there is a password"),
        password_missing: Remedy::new("install it with a password"),
    });
}
