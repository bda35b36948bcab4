//! Making sure of the registry's objects, and waiting until they work.

use std::fmt::Debug;
use std::time::Duration;

use garden_build_core::ErrorKind;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::judge::{self, Outlook};
use super::{InClusterRegistry, RegistryNotice, ServerRun, spec};
use crate::client::{answer, name_of};
use crate::{ClusterError, Diagnosis, Patience, ensure_claim, lacks_volume};

/// How often the cluster is asked how far it is.
const POLL: Duration = Duration::from_millis(500);

/// Pods that start within this time are not asked for their events.
const EVENTS_AFTER: Duration = Duration::from_secs(2);

/// How long all may take for which nobody shows a reason, such as the pull of an image on a slow line.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long a collection may take. The registry goes on with it whether somebody waits or not.
pub(super) const LONGEST_COLLECTION: Duration = Duration::from_secs(60 * 60);

/// What is waited for.
#[derive(Clone, Copy)]
enum Part {
    Registry,
    Proxies,
}

/// Hears what a user should know.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(RegistryNotice) + Send);

impl InClusterRegistry {
    /// Whether it is installed, by us; whether it serves is another question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        let Some(live) = self.cluster.get::<Deployment>(self.namespace(), Self::NAME).await? else {
            return Ok(false);
        };
        judge::foreign(&name_of(&live), &live.metadata)
            .map_or(Ok(true), |other| Err(ClusterError::Pod(other)))
    }

    /// Creates the registry's objects, or changes those that are there to what the settings say. Images stay.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or an object of one of the names is not ours: then nothing is
    /// changed.
    pub async fn apply(&self, tell: Tell<'_>) -> Result<(), ClusterError> {
        let (cluster, settings) = (&self.cluster, &self.settings);
        cluster.ensure_namespace(&settings.namespace).await?;
        let has_secret = Box::pin(self.refuse_foreign()).await?;
        if !has_secret {
            let random =
                [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat();
            cluster.create(&spec::secret(settings, random)).await?;
        }
        if let Some(message) = ensure_claim(cluster, &spec::claim(settings)).await? {
            let hint = "set `storage.registry.size` to its size".to_owned();
            tell(RegistryNotice::Warning { message, hint });
        }
        // What the pods refer to comes before them.
        cluster.apply(&spec::config_map(settings)).await?;
        cluster.apply(&spec::service(settings)).await?;
        cluster.apply(&spec::deployment(settings)).await?;
        cluster.apply(&spec::daemon_set(settings)).await?;
        Ok(())
    }

    /// Says whether the Secret exists. All objects are looked at before the first is changed.
    async fn refuse_foreign(&self) -> Result<bool, ClusterError> {
        let (name, proxy) = (Self::NAME, Self::PROXY);
        let (secret, ..) = tokio::try_join!(
            self.own::<Secret>(name),
            self.own::<ConfigMap>(name),
            self.own::<PersistentVolumeClaim>(name),
            self.own::<Service>(name),
            self.own::<Deployment>(name),
            self.own::<DaemonSet>(proxy),
        )?;
        Ok(secret)
    }

    /// Whether there is an object of this name; one that is not ours is an error.
    async fn own<K>(&self, name: &str) -> Result<bool, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let Some(live) = self.cluster.get::<K>(self.namespace(), name).await? else { return Ok(false) };
        judge::foreign(&name_of(&live), live.meta()).map_or(Ok(true), |other| Err(ClusterError::Pod(other)))
    }

    /// Waits until the registry answers to this machine, and on every node.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about.
    pub async fn ready(&self, tell: Tell<'_>) -> Result<ServerRun, ClusterError> {
        // Together: what the cluster does not allow shows at once, however long something else takes.
        self.wait(&[Part::Registry, Part::Proxies], tell).await?;
        self.takes_pushes(tell).await
    }

    /// Waits until the registry takes pushes, as after a collection or while its pod is replaced.
    ///
    /// # Errors
    /// With the cause, if that does not come about.
    pub async fn takes_pushes(&self, tell: Tell<'_>) -> Result<ServerRun, ClusterError> {
        let started = Instant::now();
        let (mut longest, mut told) = (LONGEST, false);
        loop {
            // Boxed, for they are large, and every build has a place for them.
            let reason = match Box::pin(self.server()).await {
                Ok(run) if run.takes_pushes => return Ok(run),
                Ok(_) => {
                    longest = LONGEST_COLLECTION;
                    "it collects garbage, and takes no pushes meanwhile".to_owned()
                }
                Err(error) if matches!(error.code(), Some(401 | 403)) => return Err(error),
                Err(error) => {
                    // That it is not there will not pass; what keeps its pod from starting is told.
                    if !self.is_installed().await? {
                        return Err(self.not_installed());
                    }
                    Box::pin(self.wait(&[Part::Registry], tell)).await?;
                    error.to_string()
                }
            };
            if started.elapsed() > longest {
                return Err(self.too_late(Part::Registry, longest, &reason));
            }
            if !told {
                tell(RegistryNotice::Progress(format!("waiting for the registry: {reason}")));
                told = true;
            }
            sleep(POLL).await;
        }
    }

    async fn wait(&self, parts: &[Part], tell: Tell<'_>) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut patience = vec![Patience::default(); parts.len()];
        let mut told = String::new();
        loop {
            let with_events = started.elapsed() > EVENTS_AFTER;
            // The first of the parts that is not ready.
            let mut waiting = None;
            for (part, patience) in parts.iter().zip(&mut patience) {
                let outlook = match part {
                    Part::Registry => self.registry_outlook(with_events).await?,
                    Part::Proxies => self.proxies_outlook(with_events).await?,
                };
                let (what, trouble) = match outlook {
                    Outlook::Ready => continue,
                    Outlook::Waiting(what) => (format!("waiting for {what}"), None),
                    Outlook::Stuck(trouble) => (trouble.diagnosis.message.clone(), Some(trouble)),
                };
                patience.bear(trouble)?;
                waiting.get_or_insert((*part, what));
            }
            let Some((part, waiting)) = waiting else { return Ok(()) };
            if started.elapsed() > LONGEST {
                return Err(self.too_late(part, LONGEST, &waiting));
            }
            if waiting != told {
                tell(RegistryNotice::Progress(waiting.clone()));
                told = waiting;
            }
            sleep(POLL).await;
        }
    }

    async fn registry_outlook(&self, with_events: bool) -> Result<Outlook, ClusterError> {
        let selector = Self::selector();
        let (deployment, pods) = tokio::try_join!(
            self.cluster.get::<Deployment>(self.namespace(), Self::NAME),
            self.cluster.list::<Pod>(self.namespace(), &selector),
        )?;
        let Some(deployment) = deployment else { return Err(self.not_installed()) };
        let events = match judge::newest(&pods).filter(|_| with_events) {
            Some(pod) if lacks_volume(pod) => self.events("PersistentVolumeClaim", Self::NAME).await,
            Some(pod) => self.events("Pod", &pod.name_any()).await,
            None => Vec::new(),
        };
        Ok(judge::registry(&deployment, &pods, &events))
    }

    async fn proxies_outlook(&self, with_events: bool) -> Result<Outlook, ClusterError> {
        let (daemon_set, pods) =
            tokio::try_join!(self.cluster.get::<DaemonSet>(self.namespace(), Self::PROXY), self.proxies(),)?;
        let Some(daemon_set) = daemon_set else { return Err(self.not_installed()) };
        let events = match judge::unready(&pods) {
            _ if !with_events => Vec::new(),
            Some(pod) => self.events("Pod", &pod.name_any()).await,
            None => self.events("DaemonSet", Self::PROXY).await,
        };
        Ok(judge::proxies(&daemon_set, &pods, &events))
    }

    /// Returns the pods of the proxies, of which each node has one that can pull images.
    pub(super) async fn proxies(&self) -> Result<Vec<Pod>, ClusterError> {
        self.cluster.list::<Pod>(self.namespace(), &spec::selector(Self::PROXY)).await
    }

    /// Returns the events about an object. They make a diagnosis better, but nothing depends on them.
    async fn events(&self, kind: &str, name: &str) -> Vec<Event> {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let about = ListParams::default().fields(&fields);
        let events = self.cluster.api::<Event>(self.namespace());
        answer("list Events", events.list(&about)).await.map(|list| list.items).unwrap_or_default()
    }

    pub(super) fn not_installed(&self) -> ClusterError {
        ClusterError::Pod(Diagnosis {
            kind: ErrorKind::NotFound,
            message: format!("the registry in Namespace {} is not installed", self.namespace()),
            hint: Some(
                "install it with `Builder::init`, or set `deploymentRegistry` to a registry outside of the cluster"
                    .to_owned(),
            ),
            retryable: false,
        })
    }

    fn too_late(&self, part: Part, after: Duration, reason: &str) -> ClusterError {
        let what = match part {
            Part::Registry => "the registry",
            Part::Proxies => "the registry's proxy on a node",
        };
        ClusterError::Pod(Diagnosis {
            kind: ErrorKind::Timeout,
            message: format!(
                "{what} in Namespace {} is not ready after {} minutes: {reason}",
                self.namespace(),
                after.as_secs() / 60
            ),
            hint: Some("ask the cluster's operator what keeps it, and run `Builder::init` again".to_owned()),
            retryable: true,
        })
    }
}
