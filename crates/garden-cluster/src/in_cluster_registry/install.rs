//! Making sure of the registry's objects, and waiting until they work.

use std::time::Duration;

use garden_build_core::EventSink;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, PodSpec, Secret, Service};
use tokio::time::{Instant, sleep};

use super::login::random;
use super::{InClusterRegistry, RegistrySettings, ServerRun, judge, spec};
use crate::api::ClusterError;
use crate::service::deployment::{refuse_foreign, too_late};
use crate::service::wait::{Judgement, Parts, Snapshot, until_ready};
use crate::service::{DeploymentWords, ManagedDeployment, pod_of, service_selector, unpulled};

/// How often the registry itself is asked whether it takes pushes, which no object of the cluster shows.
const POLL: Duration = Duration::from_millis(500);

/// How long a collection may take. The registry goes on with it whether somebody waits or not.
pub(super) const LONGEST_COLLECTION: Duration = Duration::from_secs(60 * 60);

/// What the cluster has of the registry.
struct Live {
    has_secret: bool,
    /// The login for pushes, if the settings or the registry that is there want one.
    login: Option<Secret>,
    /// The pods of its templates, that of the proxies as well.
    pods: Vec<PodSpec>,
}

impl InClusterRegistry {
    /// Whether it is installed, by us; whether it serves is another question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        self.service().is_installed().await
    }

    /// Creates the registry's objects, or changes those that are there to what the settings say. Images stay. So do the Secrets with
    /// which other projects have nodes pull the same image.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or an object of one of the names is not ours: then nothing is
    /// changed.
    pub async fn apply(&self, events: &EventSink) -> Result<(), ClusterError> {
        let cluster = &self.cluster;
        cluster.ensure_namespace(&self.settings.namespace).await?;
        let live = Box::pin(self.refuse_foreign()).await?;
        let settings = &Box::pin(self.with_pull_secrets(&live, events)).await?;
        if !live.has_secret {
            cluster.create(&spec::secret(settings, random())).await?;
        }
        let htpasswd = self.htpasswd(live.login).await?;
        self.service().ensure_claim(&spec::claim(settings), events).await?;
        // What the pods refer to comes before them.
        cluster.apply(&spec::config_map(settings)).await?;
        cluster.apply(&spec::service(settings)).await?;
        self.apply_policies().await?;
        cluster.apply(&spec::deployment(settings, htpasswd.as_deref())).await?;
        cluster.apply(&spec::daemon_set(settings)).await?;
        self.remove_unwanted_policies(events).await
    }

    /// Looks at all objects before the first is changed.
    async fn refuse_foreign(&self) -> Result<Live, ClusterError> {
        let (service, name) = (self.service(), Self::NAME);
        let (secret, _, _, _, deployment, daemon_set, ()) = tokio::try_join!(
            service.own::<Secret>(name),
            service.own::<ConfigMap>(name),
            service.own::<PersistentVolumeClaim>(name),
            service.own::<Service>(name),
            service.own::<Deployment>(name),
            service.own::<DaemonSet>(Self::PROXY),
            self.refuse_foreign_policies(),
        )?;
        let wants_login = deployment.as_ref().is_some_and(spec::wants_login);
        // Nobody else is to need a right for it.
        let login =
            if self.has_login() || wants_login { service.own::<Secret>(Self::LOGIN).await? } else { None };
        // Whoever knows nothing of the password does not take it away from others.
        if wants_login && login.is_some() && !self.has_login() {
            return Err(self.wants_password());
        }
        // Optional in some versions of the Kubernetes API only.
        let proxies: Option<&DaemonSetSpec> = daemon_set.as_ref().and_then(|proxies| (&proxies.spec).into());
        let proxy = proxies.and_then(|proxies| proxies.template.spec.as_ref());
        let pods = [deployment.as_ref().and_then(pod_of), proxy].into_iter().flatten().cloned().collect();
        Ok(Live { has_secret: secret.is_some(), login, pods })
    }

    /// Makes the password for pushes, unless there is one, and returns what the registry reads of it; `None` if pushes need none.
    ///
    /// # Errors
    /// If there is one that builds could not push with.
    async fn htpasswd(&self, live: Option<Secret>) -> Result<Option<Vec<u8>>, ClusterError> {
        if !self.has_login() {
            return Ok(None);
        }
        let mut secret = live;
        if secret.is_none() {
            secret = self.cluster.create(&self.new_login()?).await?;
        }
        if secret.is_none() {
            // Somebody else has just created it.
            secret = self.service().own::<Secret>(Self::LOGIN).await?;
        }
        Ok(Some(self.checked_htpasswd(&secret.unwrap_or_default())?))
    }

    /// Brings what nodes need to pull the image, and has those pods made anew that they could not pull it for.
    async fn with_pull_secrets(
        &self,
        live: &Live,
        events: &EventSink,
    ) -> Result<RegistrySettings, ClusterError> {
        let brought = self.credentials.bring_to(self.namespace(), &[&self.settings.image]).await;
        brought.warn(events);
        if brought.have_changed() {
            let service = self.service();
            let (pods, proxies) = tokio::try_join!(service.pods(), self.proxies())?;
            unpulled::end(&self.cluster, self.namespace(), &[pods, proxies].concat(), events).await;
        }
        let beside = |pod| brought.names_beside(Some(pod));
        let pull_secrets = live.pods.iter().flat_map(beside).chain(brought.names_beside(None)).collect();
        Ok(RegistrySettings { pull_secrets, ..self.settings.clone() })
    }

    /// Waits until the registry answers to this machine, and on every node.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about.
    pub async fn ready(&self, events: &EventSink) -> Result<ServerRun, ClusterError> {
        // Together: what the cluster does not allow shows at once, however long something else takes.
        tokio::try_join!(self.pod_ready(events), self.proxies_ready(events))?;
        self.takes_pushes(events).await
    }

    /// Waits until the registry takes pushes, as after a collection or while its pod is replaced.
    ///
    /// # Errors
    /// With the cause, if that does not come about.
    pub async fn takes_pushes(&self, events: &EventSink) -> Result<ServerRun, ClusterError> {
        let started = Instant::now();
        let (mut longest, mut told) = (DeploymentWords::USUALLY_LONGEST, false);
        loop {
            // Boxed, for they are large, and every build has a place for them.
            let reason = match Box::pin(self.server()).await {
                Ok(run) if run.takes_pushes => return Ok(run),
                Ok(_) => {
                    longest = LONGEST_COLLECTION;
                    "it collects garbage, and takes no pushes meanwhile".to_owned()
                }
                // What has been judged does not pass.
                Err(error @ ClusterError::Pod(_)) => return Err(error),
                Err(error) if matches!(error.code(), Some(401 | 403)) => return Err(error),
                Err(error) => {
                    // That it is not there will not pass; what keeps its pod from starting is reported.
                    if !self.is_installed().await? {
                        return Err(self.service().not_installed());
                    }
                    self.pod_ready(events).await?;
                    error.to_string()
                }
            };
            if started.elapsed() > longest {
                return Err(too_late(self.words.registry.what, self.namespace(), longest, &reason));
            }
            if !told {
                events.log(format!("waiting for the registry: {reason}"));
                told = true;
            }
            sleep(POLL).await;
        }
    }

    /// Waits until all that serves in the registry's pod does.
    async fn pod_ready(&self, events: &EventSink) -> Result<(), ClusterError> {
        self.service().ready(events).await?;
        if self.has_login() {
            let reader = ManagedDeployment::new(&self.cluster, self.namespace(), &self.words.reader);
            reader.ready(events).await?;
        }
        Ok(())
    }

    async fn proxies_ready(&self, events: &EventSink) -> Result<(), ClusterError> {
        let selector = service_selector(Self::PROXY);
        let parts = Parts::<DaemonSet>::watch(&self.cluster, self.namespace(), Self::PROXY, &selector);
        let words = &self.words.proxy;
        let judge = |shown: &Snapshot<DaemonSet>, seen: &[Event]| {
            let Some(daemon_set) = &shown.owner else { return Err(self.service().not_installed()) };
            refuse_foreign(words, daemon_set)?;
            let outlook = judge::proxies(self.words, daemon_set, &shown.pods, seen);
            Ok(Judgement { outlook, subject: Some(judge::subject(self.words, &shown.pods)) })
        };
        let too_late = |after, reason: &str| too_late(words.what, self.namespace(), after, reason);
        let (cluster, namespace, longest) = (&self.cluster, self.namespace(), words.longest);
        Box::pin(until_ready(cluster, namespace, parts, judge, longest, too_late, events)).await
    }

    /// Returns the pods of the proxies, of which each node has one that can pull images.
    pub(super) async fn proxies(&self) -> Result<Vec<Pod>, ClusterError> {
        self.cluster.list::<Pod>(self.namespace(), &service_selector(Self::PROXY)).await
    }
}
