//! The daemon that takes a build.

use garden_build_core::{ErrorKind, EventSink, Remedy, WarningCode};
use garden_cluster::{ClusterError, DaemonPod, Diagnosis, Sight, living};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::Pod;

use super::{ClusterDaemon, ClusterDaemonSettings, PodDialer, spec};

impl ClusterDaemon {
    /// Returns the daemon that takes builds now, which costs two requests at once. Waits for one that is on its way, as
    /// while it is replaced; `events` hear of that, and if it uses other proxies than this project.
    ///
    /// # Errors
    /// If it is not installed, or without what these settings need; with the cause, if it cannot start.
    pub(crate) async fn running(&self, events: &EventSink) -> Result<DaemonPod, ClusterError> {
        let managed = self.managed();
        let Sight { live, pods, .. } = managed.look().await?;
        let fits = |live: &Deployment| unfit(&self.settings, live).map_or(Ok(()), Err);
        let live = live.ok_or_else(|| managed.not_installed())?;
        fits(&live).map_err(ClusterError::Pod)?;
        if spec::has_other_proxies(&self.settings, &live) {
            let daemon = self.description();
            let message = format!("{daemon}, uses other proxies than this project's `proxies`, or none");
            let hint =
                "install again (`init`) to have it pull and push through these, if all projects may use them";
            events.warn(WarningCode::ServiceDiffers, message, Some(hint.to_owned()));
        }
        match choose(&pods) {
            Some(pod) => Ok(pod),
            // Another project may change it meanwhile.
            None => managed.ready_with(fits, choose, events).await,
        }
    }

    /// Returns what opens connections to the daemon in `pod`.
    pub(crate) fn dialer(&self, pod: &DaemonPod) -> PodDialer {
        PodDialer::new(&self.cluster, self.namespace(), pod)
    }
}

/// Explains why the daemon of `live` is of no use to a project with these settings.
fn unfit(settings: &ClusterDaemonSettings, live: &Deployment) -> Option<Diagnosis> {
    let name = format!("Deployment {}/{}", settings.namespace.name, ClusterDaemon::NAME);
    let untold = spec::untold(settings, live);
    let spec: Option<&DeploymentSpec> = (&live.spec).into();
    let message = if !untold.is_empty() {
        format!("{name} was installed without what this project says of {}", untold.join(", "))
    } else if settings.forwards && !spec::forwards(live) {
        format!("{name} was installed without a way to the registry within the cluster")
    } else if settings.forwards && !spec::forwards_to(&settings.in_cluster_registry, live) {
        format!(
            "{name} reaches the registry within the cluster by another port than the one that takes this project's pushes"
        )
    } else if spec.is_some_and(|spec| spec.replicas == Some(0)) {
        format!("{name} is scaled to nothing")
    } else {
        return None;
    };
    let hint = Remedy::install(
        "install again (`init`): that adds what is missing, and takes nothing from other projects",
    );
    Some(Diagnosis::other(ErrorKind::NotFound, message, hint))
}

/// Chooses the pod that takes builds: started, and not stopping. There is one at most, except on a lost node.
fn choose(pods: &[Pod]) -> Option<DaemonPod> {
    living(pods).into_iter().rev().find_map(|pod| DaemonPod::of(pod, ClusterDaemon::CONTAINER))
}

#[cfg(test)]
mod tests {
    use garden_build_core::HintCode;
    use garden_cluster::RegistryAccess;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::spec::tests::{settings, with_every_option};

    fn pod(name: &str, created: &str, started: bool) -> Pod {
        let state = json!({ "running": {} });
        let status = json!({
            "name": ClusterDaemon::CONTAINER, "image": "", "imageID": "", "ready": started, "started": started,
            "restartCount": 0, "containerID": "containerd://1", "state": state,
        });
        let metadata = json!({ "name": name, "uid": name, "creationTimestamp": created });
        let pod = json!({ "metadata": metadata, "status": { "containerStatuses": [status] } });
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_pod_that_has_started_and_is_not_to_stop_takes_builds() {
        let old = pod("old", "2026-01-01T00:00:00Z", true);
        let starting = pod("starting", "2026-01-02T00:00:00Z", false);
        let name = |pods: &[Pod]| choose(pods).map(|daemon| daemon.name);
        assert_eq!(name(&[old.clone(), starting.clone()]).as_deref(), Some("old"));
        let mut stopping = old;
        stopping.metadata.deletion_timestamp = stopping.metadata.creation_timestamp.clone();
        assert_eq!(name(&[stopping, starting]), None);
    }

    #[test]
    fn a_daemon_with_other_proxies_is_noticed_by_projects_that_have_some() {
        let without = settings();
        let with = |address: &str| {
            let mut options = garden_config::ProxyOptions::default();
            options.https_proxy = Some(address.into());
            let proxies = garden_cluster::BuilderProxies::new(&options);
            ClusterDaemonSettings { proxies, ..without.clone() }
        };
        let (one, other) = (with("http://a:1"), with("http://b:1"));
        let differs = |mine: &ClusterDaemonSettings, live: &ClusterDaemonSettings| {
            spec::has_other_proxies(mine, &spec::deployment(live))
        };
        assert!(differs(&one, &without) && differs(&one, &other));
        assert!(!differs(&one, &one) && !differs(&without, &one) && !differs(&without, &without));
    }

    #[test]
    fn a_daemon_that_was_not_told_enough_is_named_with_the_remedy() {
        let settings = settings();
        let live = spec::deployment(&settings);
        assert_eq!(unfit(&settings, &live), None);
        let demanding = with_every_option();
        // What others need as well does not count.
        assert_eq!(unfit(&settings, &spec::deployment(&demanding)), None);

        let diagnosis = unfit(&demanding, &live).expect("unfit");
        assert!(diagnosis.message.ends_with("says of old.example:5000, private.example:8443"), "{diagnosis}");
        assert!(diagnosis.hint.is_some_and(|hint| hint.code == HintCode::InstallServices));

        let mut renewed = demanding.clone();
        let change = |registry: &mut RegistryAccess| {
            registry.certificate_authority =
                registry.certificate_authority.as_ref().map(|_| "another".to_owned());
        };
        renewed.registries.iter_mut().for_each(change);
        let diagnosis = unfit(&renewed, &spec::deployment(&demanding)).expect("unfit");
        assert!(diagnosis.message.ends_with("says of private.example:8443"), "{diagnosis}");

        let mut forwarding = settings.clone();
        forwarding.forwards = true;
        assert!(unfit(&forwarding, &live).is_some_and(|unfit| unfit.message.contains("within the cluster")));
        let live_forwarding = spec::deployment(&forwarding);
        assert_eq!(unfit(&forwarding, &live_forwarding), None);
        forwarding.in_cluster_registry.password_for_pushes = true;
        let diagnosis = unfit(&forwarding, &live_forwarding).expect("unfit");
        assert!(diagnosis.message.contains("another port"), "{diagnosis}");
        assert_eq!(unfit(&forwarding, &spec::deployment(&forwarding)), None);

        let mut value: Value = serde_json::to_value(&live).expect("serialises");
        value["spec"]["replicas"] = json!(0);
        let stopped = serde_json::from_value(value).expect("a Deployment");
        assert!(unfit(&settings, &stopped).is_some_and(|unfit| unfit.message.ends_with("scaled to nothing")));
    }
}
