//! A service in the cluster that all projects share: one pod of one Deployment, with a volume. Installed once, by
//! `Builder::init`, and used by all builds.
//!
//! * `judge`: what the cluster shows of it, and what that means.
//! * `objects`: what all such services have in common.
//! * `wait`: until it serves.

use std::fmt::Debug;
use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::api::{Cluster, ClusterError};
use crate::api::{answer, name_of};
use crate::diagnosis::Diagnosis;
use crate::service::lacks_volume;

pub(crate) mod judge;
mod objects;
mod wait;

pub(crate) use judge::Outlook;
pub(crate) use objects::pod_template;
pub use objects::{service_deployment, service_labels, service_selector};
pub(crate) use wait::{LONGEST, POLL, wait_for};

/// What is said of a service, and which options cure its troubles.
#[derive(Debug)]
pub struct ServiceWords {
    /// What it is called, such as `the registry`.
    pub what: &'static str,
    /// The name of its Deployment, which is also the label `app` of its pods.
    pub name: &'static str,
    /// The name of its container.
    pub container: &'static str,
    /// The name of the claim to its volume.
    pub claim: &'static str,
    /// The option with its resources, such as `resources.registry`.
    pub resources: &'static str,
    /// The option that chooses its node, as it is written in a sentence: in backquotes.
    pub node_selector: &'static str,
    /// The option with the storage class of its volume.
    pub storage_class: &'static str,
    /// What to do if its image cannot be pulled.
    pub image_hint: &'static str,
    /// What to do if its container ends again and again.
    pub crash_hint: &'static str,
    /// What to do if Pod Security does not allow its pod.
    pub security_hint: &'static str,
    /// What to do if another program has installed something under its names.
    pub foreign_hint: &'static str,
    /// What to do if it is not installed.
    pub missing_hint: &'static str,
    /// How long a pod that was told to stop may take, beyond what any pod may.
    pub longest_stop: Duration,
}

/// What a user should hear while a service is installed or waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceNotice {
    /// What is waited for, or done.
    Progress(String),
    /// Something that does not stop anything, and deserves attention.
    Warning {
        /// What it is.
        message: String,
        /// What to do about it.
        hint: String,
    },
}

/// Hears what a user should know.
pub type Tell<'a> = &'a mut (dyn FnMut(ServiceNotice) + Send);

/// A service of a cluster, whether it is installed or not.
#[derive(Clone, Debug)]
pub struct SharedService {
    cluster: Cluster,
    namespace: String,
    words: &'static ServiceWords,
}

impl SharedService {
    /// Describes the service of `cluster` that `words` are about, in `namespace`.
    pub fn new(cluster: &Cluster, namespace: &str, words: &'static ServiceWords) -> Self {
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), words }
    }

    /// Returns the label selector of its pods.
    pub fn selector(&self) -> String {
        service_selector(self.words.name)
    }

    /// Whether it is installed, by us; whether it serves is another question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        Ok(self.own::<Deployment>(self.words.name).await?.is_some())
    }

    /// Returns our object of this name, if there is one. One that another program has made is an error.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or the object is not ours.
    pub async fn own<K>(&self, name: &str) -> Result<Option<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let Some(live) = self.cluster.get::<K>(&self.namespace, name).await? else { return Ok(None) };
        match judge::foreign(self.words, &name_of(&live), live.meta()) {
            Some(foreign) => Err(ClusterError::Pod(foreign)),
            None => Ok(Some(live)),
        }
    }

    /// Returns its pods, those that stop or have ended among them.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn pods(&self) -> Result<Vec<Pod>, ClusterError> {
        self.cluster.list::<Pod>(&self.namespace, &self.selector()).await
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about.
    pub async fn ready(&self, tell: Tell<'_>) -> Result<(), ClusterError> {
        let look = |(), with_events| self.outlook(with_events);
        let longest = LONGEST + self.words.longest_stop;
        let too_late = |(), reason: &str| self.too_late(longest, reason);
        wait_for(&[()], longest, look, too_late, tell).await
    }

    pub(crate) async fn outlook(&self, with_events: bool) -> Result<Outlook, ClusterError> {
        let (deployment, pods) =
            tokio::try_join!(self.cluster.get::<Deployment>(&self.namespace, self.words.name), self.pods(),)?;
        let Some(deployment) = deployment else { return Err(self.not_installed()) };
        let events = match judge::newest(&pods).filter(|_| with_events) {
            Some(pod) if lacks_volume(pod) => self.events("PersistentVolumeClaim", self.words.claim).await,
            Some(pod) => self.events("Pod", &pod.name_any()).await,
            None => Vec::new(),
        };
        Ok(judge::outlook(self.words, &deployment, &pods, &events))
    }

    /// Returns the events about an object. They make a diagnosis better, but nothing depends on them.
    pub(crate) async fn events(&self, kind: &str, name: &str) -> Vec<Event> {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let about = ListParams::default().fields(&fields);
        let events = self.cluster.api::<Event>(&self.namespace);
        answer("list Events", events.list(&about)).await.map(|list| list.items).unwrap_or_default()
    }

    /// Says that it is not installed, and what to do.
    pub fn not_installed(&self) -> ClusterError {
        ClusterError::Pod(Diagnosis {
            kind: ErrorKind::NotFound,
            message: format!("{} in Namespace {} is not installed", self.words.what, self.namespace),
            hint: Some(self.words.missing_hint.to_owned()),
            retryable: false,
        })
    }

    fn too_late(&self, after: Duration, reason: &str) -> ClusterError {
        too_late(self.words.what, &self.namespace, after, reason)
    }
}

/// Says that `what` has not become ready, for a `reason` that nobody takes for a failure.
pub(crate) fn too_late(what: &str, namespace: &str, after: Duration, reason: &str) -> ClusterError {
    let minutes = after.as_secs() / 60;
    ClusterError::Pod(Diagnosis {
        kind: ErrorKind::Timeout,
        message: format!("{what} in Namespace {namespace} is not ready after {minutes} minutes: {reason}"),
        hint: Some("ask the cluster's operator what keeps it, and run `Builder::init` again".to_owned()),
        retryable: true,
    })
}
