//! Making sure of the daemon's objects, and waiting until it serves.

use garden_build_core::EventSink;
use garden_cluster::{ClusterError, pod_of};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};

use super::{ClusterDaemon, ClusterDaemonSettings, configuration, spec};

impl ClusterDaemon {
    /// Whether it is installed, by us, and configured with the registries of the settings; whether it serves is another
    /// question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        let live = self.managed().own::<Deployment>(Self::NAME).await?;
        Ok(live.is_some_and(|live| spec::untold(&self.settings, &live).is_empty()))
    }

    /// Creates the daemon's objects, or changes those that are there to what the settings say. Its images stay, and so does
    /// what other projects have configured for their registries, and with which Secrets they have nodes pull the same image. A daemon
    /// whose objects change is replaced when its builds have ended.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or an object of one of the names is not ours: then nothing is
    /// changed.
    pub async fn apply(&self, events: &EventSink) -> Result<(), ClusterError> {
        let cluster = &self.cluster;
        cluster.ensure_namespace(&self.settings.namespace).await?;
        let (mut settings, secret) = Box::pin(self.with_what_others_need(events)).await?;
        let metadata = spec::proxy_secret(&settings);
        settings.proxy_secret = Box::pin(settings.proxies.keep_in_secret(cluster, metadata, secret)).await?;
        self.managed().ensure_claim(&spec::claim(&settings), events).await?;
        // What the pod refers to comes before it.
        cluster.apply(&spec::config_map(&settings)).await?;
        let policy = self.policy();
        policy.apply().await?;
        cluster.apply(&spec::deployment(&settings)).await?;
        policy.remove_unwanted(events).await
    }

    /// Looks at all objects before the first is changed. Then brings what nodes need to pull the images. Returns the settings, and the
    /// Secret with the addresses of proxies if one is needed.
    async fn with_what_others_need(
        &self,
        events: &EventSink,
    ) -> Result<(ClusterDaemonSettings, Option<Secret>), ClusterError> {
        let managed = self.managed();
        let secret = async {
            if self.settings.proxies.have_credentials() {
                managed.own::<Secret>(spec::PROXY_SECRET).await
            } else {
                Ok(None)
            }
        };
        let policy = self.policy();
        let (config_map, deployment, _, secret, _) = tokio::try_join!(
            managed.own::<ConfigMap>(Self::NAME),
            managed.own::<Deployment>(Self::NAME),
            managed.own::<PersistentVolumeClaim>(Self::CLAIM),
            secret,
            policy.is_due(),
        )?;
        let mut settings = self.settings.clone();
        if let Some(live) = config_map.and_then(|config_map| config_map.data) {
            configuration::keep_others(&mut settings, &live);
        }
        if let Some(live) = deployment.as_ref().filter(|live| !settings.forwards && spec::forwards(live)) {
            settings.forwards = true;
            // This project does not use that registry, so it knows nothing of its password.
            let registry = &mut settings.in_cluster_registry;
            registry.password_for_pushes = true;
            registry.password_for_pushes = spec::forwards_to(registry, live);
        }
        let brought = self.credentials.bring_to(self.namespace(), &settings.images()).await;
        brought.warn(events);
        if brought.have_changed() {
            managed.end_unpulled(&managed.pods().await?, events).await;
        }
        settings.pull_secrets = brought.names_beside(deployment.as_ref().and_then(pod_of));
        Ok((settings, secret))
    }

    /// Waits until the daemon takes builds.
    ///
    /// # Errors
    /// With the cause, within seconds where it is known, if that cannot come about.
    pub async fn ready(&self, events: &EventSink) -> Result<(), ClusterError> {
        self.managed().ready(events).await
    }
}

#[cfg(test)]
mod tests;
