//! The context service: a pod in the namespace of the builders, which keeps contexts. A build sends it only what it does not
//! have yet, and the build's pod fetches its context from there.
//!
//! * `spec`: its objects, as functions of its settings. `files` has what runs in its pod.
//! * `install`: makes sure of it, and finds its pod.
//! * `session`: what a client and the service say to each other.
//! * `upload`: one build's context, from here to its pod.
//! * `key`: what the client and the build's pod know, and nobody else.
//! * `indexes`: what this machine knows of what the service has.

use std::time::Duration;

use garden_cluster::{Cluster, DaemonWords, ServiceWords, SharedService};

mod indexes;
mod install;
mod key;
mod session;
mod spec;
mod upload;

pub(crate) use indexes::IndexCache;
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
const SHELL_HINT: &str = "it runs in `kaniko.image`, which needs a shell at /busybox/sh: use the variant of the image whose tag ends in \
                          `-debug`, or set `kaniko.contextDelivery: stdin`";

/// What is said of the service while it is installed and waited for.
const SERVICE: ServiceWords = ServiceWords {
    what: "the context service",
    name: NAME,
    container: CONTAINER,
    claim: NAME,
    resources: "resources.util",
    node_selector: "`kaniko.util.nodeSelector` (or `kaniko.nodeSelector`, if `kaniko.util` is not set)",
    storage_class: "storage.sync.storageClass",
    image_hint: "check `kaniko.image`, and that nodes can pull it: `imagePullSecrets` of the service's own namespace are used for that",
    crash_hint: SHELL_HINT,
    security_hint: "the context service fits the Pod Security level `restricted`; ask who has set the namespace's rules, or set \
                    `kaniko.contextDelivery: stdin`, which needs no service",
    foreign_hint: "uninstall it there, or build in another namespace (`kaniko.namespace`), or set `kaniko.contextDelivery: stdin`, \
                   which needs no service",
    missing_hint: "build again: each build makes sure of it",
    longest_stop: Duration::ZERO,
};

/// What is said of its end.
const DAEMON: DaemonWords = DaemonWords {
    what: "the context service",
    container: CONTAINER,
    hint: "build again; all that is lost is sent again",
    complaint: None,
};

/// The context service of a namespace, whether it is installed or not. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ContextService {
    cluster: Cluster,
    settings: ServiceSettings,
}

impl ContextService {
    pub(crate) fn new(cluster: Cluster, settings: ServiceSettings) -> Self {
        Self { cluster, settings }
    }

    /// Returns the namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace.name
    }

    fn service(&self) -> SharedService {
        SharedService::new(&self.cluster, self.namespace(), &SERVICE)
    }
}
