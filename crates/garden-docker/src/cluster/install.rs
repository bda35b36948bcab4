//! Making sure of the daemon's objects, and waiting until it serves.

use garden_build_core::EventSink;
use garden_cluster::ClusterError;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};

use super::{ClusterDaemon, ClusterDaemonSettings, configuration, spec};

impl ClusterDaemon {
    /// Whether it is installed, by us, and was told of the registries of the settings; whether it serves is another
    /// question.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or another program has installed one under the same name.
    pub async fn is_installed(&self) -> Result<bool, ClusterError> {
        let live = self.managed().own::<Deployment>(Self::NAME).await?;
        Ok(live.is_some_and(|live| spec::untold(&self.settings, &live).is_empty()))
    }

    /// Creates the daemon's objects, or changes those that are there to what the settings say. Its images stay, and so does
    /// what other projects have told it of their registries. A daemon whose objects change is replaced when its builds
    /// have ended.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or an object of one of the names is not ours: then nothing is
    /// changed.
    pub async fn apply(&self, events: &EventSink) -> Result<(), ClusterError> {
        let cluster = &self.cluster;
        cluster.ensure_namespace(&self.settings.namespace).await?;
        let (mut settings, secret) = Box::pin(self.with_what_others_need()).await?;
        let metadata = spec::proxy_secret(&settings);
        settings.proxy_secret = Box::pin(settings.proxies.keep_in_secret(cluster, metadata, secret)).await?;
        self.managed().ensure_claim(&spec::claim(&settings), events).await?;
        // What the pod refers to comes before it.
        cluster.apply(&spec::config_map(&settings)).await?;
        cluster.apply(&spec::deployment(&settings)).await?;
        Ok(())
    }

    /// Looks at all objects before the first is changed. Returns the settings, and the Secret with the addresses of proxies if one is needed.
    async fn with_what_others_need(&self) -> Result<(ClusterDaemonSettings, Option<Secret>), ClusterError> {
        let managed = self.managed();
        let secret = async {
            if self.settings.proxies.have_credentials() {
                managed.own::<Secret>(spec::PROXY_SECRET).await
            } else {
                Ok(None)
            }
        };
        let (config_map, deployment, _, secret) = tokio::try_join!(
            managed.own::<ConfigMap>(Self::NAME),
            managed.own::<Deployment>(Self::NAME),
            managed.own::<PersistentVolumeClaim>(Self::CLAIM),
            secret,
        )?;
        let mut settings = self.settings.clone();
        if let Some(live) = config_map.and_then(|config_map| config_map.data) {
            configuration::keep_others(&mut settings, &live);
        }
        settings.forwards |= deployment.is_some_and(|live| spec::forwards(&live));
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
mod tests {
    use garden_build_core::event_channel;
    use garden_build_testing::kubernetes::FakeCluster;
    use garden_cluster::{BuilderProxies, Cluster};
    use garden_config::ProxyOptions;

    use super::*;
    use crate::cluster::spec::tests::settings;

    #[tokio::test(start_paused = true)]
    async fn the_password_of_a_proxy_is_in_a_secret_and_another_one_replaces_the_daemon() {
        let fake = FakeCluster::new();
        fake.run_deployments();
        fake.on_pod(async |pod| {
            pod.run();
            pod.deleted().await;
            pod.vanish();
        });
        let cluster = Cluster::new(fake.client());
        let (events, _heard) = event_channel();
        let install = async |password: &str| {
            let mut options = ProxyOptions::default();
            options.https_proxy = Some(format!("http://who:{password}@proxy.example:3128").into());
            let settings = ClusterDaemonSettings { proxies: BuilderProxies::new(&options), ..settings() };
            let daemon = ClusterDaemon::new(cluster.clone(), settings);
            daemon.apply(&events).await.expect("installed");
            daemon.ready(&events).await.expect("it serves");
            daemon.running(&events).await.expect("it takes builds").name
        };
        let first = install("s3cret-1").await;
        let namespace = settings().namespace.name;
        let pod = fake.object("pods", &namespace, &first).expect("the daemon's pod");
        let env = pod["spec"]["containers"][0]["env"].as_array().expect("variables");
        let source = |name: &str| {
            let variable = env.iter().find(|it| it["name"] == name).expect("set");
            variable["valueFrom"]["secretKeyRef"].clone()
        };
        let secret = fake.object("secrets", &namespace, spec::PROXY_SECRET).expect("a Secret");
        for name in ["HTTPS_PROXY", "https_proxy"] {
            assert_eq!(source(name)["name"], spec::PROXY_SECRET);
            assert!(secret["data"][source(name)["key"].as_str().expect("a key")].is_string(), "{secret}");
        }
        assert_eq!(install("s3cret-1").await, first);
        assert_ne!(install("s3cret-2").await, first);
        for plural in ["deployments", "pods", "configmaps"] {
            let shown = format!("{:?}", fake.objects(plural));
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
