//! Making sure of the registry's objects, and waiting until they work.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::ResourceExt;
use tokio::time::{Instant, sleep};

use super::{InClusterRegistry, ServerRun, judge, spec};
use crate::api::ClusterError;
use crate::service::shared::{LONGEST, Outlook, POLL, Tell, service_selector, too_late, wait_for};
use crate::service::{ServiceNotice, ensure_claim};

/// How long a collection may take. The registry goes on with it whether somebody waits or not.
pub(super) const LONGEST_COLLECTION: Duration = Duration::from_secs(60 * 60);

/// What is waited for.
#[derive(Clone, Copy)]
enum Part {
    Registry,
    Proxies,
}

impl InClusterRegistry {
    /// Whether it is installed, by us; whether it serves is another question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        self.service().is_installed().await
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
            tell(ServiceNotice::Warning { message, hint });
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
        let (service, name) = (self.service(), Self::NAME);
        let (secret, ..) = tokio::try_join!(
            service.own::<Secret>(name),
            service.own::<ConfigMap>(name),
            service.own::<PersistentVolumeClaim>(name),
            service.own::<Service>(name),
            service.own::<Deployment>(name),
            service.own::<DaemonSet>(Self::PROXY),
        )?;
        Ok(secret.is_some())
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
                        return Err(self.service().not_installed());
                    }
                    Box::pin(self.wait(&[Part::Registry], tell)).await?;
                    error.to_string()
                }
            };
            if started.elapsed() > longest {
                return Err(self.too_late(Part::Registry, longest, &reason));
            }
            if !told {
                tell(ServiceNotice::Progress(format!("waiting for the registry: {reason}")));
                told = true;
            }
            sleep(POLL).await;
        }
    }

    async fn wait(&self, parts: &[Part], tell: Tell<'_>) -> Result<(), ClusterError> {
        let look = |part, with_events| async move {
            match part {
                Part::Registry => self.service().outlook(with_events).await,
                Part::Proxies => self.proxies_outlook(with_events).await,
            }
        };
        wait_for(parts, LONGEST, look, |part, reason| self.too_late(part, LONGEST, reason), tell).await
    }

    async fn proxies_outlook(&self, with_events: bool) -> Result<Outlook, ClusterError> {
        let (daemon_set, pods) =
            tokio::try_join!(self.cluster.get::<DaemonSet>(self.namespace(), Self::PROXY), self.proxies(),)?;
        let Some(daemon_set) = daemon_set else { return Err(self.service().not_installed()) };
        let service = self.service();
        let events = match judge::unready(&pods) {
            _ if !with_events => Vec::new(),
            Some(pod) => service.events("Pod", &pod.name_any()).await,
            None => service.events("DaemonSet", Self::PROXY).await,
        };
        Ok(judge::proxies(&daemon_set, &pods, &events))
    }

    /// Returns the pods of the proxies, of which each node has one that can pull images.
    pub(super) async fn proxies(&self) -> Result<Vec<Pod>, ClusterError> {
        self.cluster.list::<Pod>(self.namespace(), &service_selector(Self::PROXY)).await
    }

    fn too_late(&self, part: Part, after: Duration, reason: &str) -> ClusterError {
        let what = match part {
            Part::Registry => super::WORDS.what,
            Part::Proxies => "the registry's proxy on a node",
        };
        too_late(what, self.namespace(), after, reason)
    }
}
