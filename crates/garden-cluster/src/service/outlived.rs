//! Pods that only what the cluster has added to them still holds.
//!
//! They are known by the end of their own container, which has to be shown for that. The kubelets of today show the ends of single
//! containers only until their pod begins to stop, and from then on nothing before all have ended. So a daemon is noticed that had
//! ended before its pod began to stop, and one on a node that says more. Otherwise the pod's grace period has to pass.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::api::{Cluster, ClusterError};
use crate::service::daemon;

/// What stops together with the container that we wait for may need a moment longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pod that is held, by name and uid.
type HeldPod = (String, String);

/// Looks out for pods that are stopping and whose own container has ended, while another one in them goes on.
pub(super) struct Lookout {
    container: &'static str,
    found: UnboundedSender<HeldPod>,
}

/// Ends what the [`Lookout`] has found.
pub(super) struct Ends(UnboundedReceiver<HeldPod>);

/// Looks out for pods whose work is done by `container`.
pub(super) fn lookout(container: &'static str) -> (Lookout, Ends) {
    let (found, ends) = unbounded_channel();
    (Lookout { container, found }, Ends(ends))
}

impl Lookout {
    /// Takes note of those among `pods`.
    pub(super) fn look_at(&self, pods: &[Pod]) {
        for pod in pods.iter().filter(|pod| daemon::is_outlived(pod, self.container)) {
            if let (Some(name), Some(uid)) = (pod.metadata.name.clone(), pod.metadata.uid.clone()) {
                // Whoever looks may do so a moment longer than somebody listens.
                let _ = self.found.send((name, uid));
            }
        }
    }
}

impl Ends {
    /// Has them end. A container that does not heed SIGTERM would keep the pod, and with it the volume and the room that its
    /// successor waits for, for as long as builds may take.
    ///
    /// Never completes. A user who may not delete pods waits as long as the cluster does.
    pub(super) async fn bring_about(mut self, cluster: &Cluster, namespace: &str) -> Infallible {
        let mut known = HashSet::new();
        while let Some((name, uid)) = self.0.recv().await {
            if known.contains(&uid) {
                continue;
            }
            sleep(PATIENCE).await;
            // Nothing may change about the pod any more, so nobody would report it again.
            while let Err(error) = cluster.end_soon(namespace, &name, &uid).await {
                tracing::debug!(%error, pod = name, "cannot end a pod that only other containers hold");
                if is_final(&error) {
                    break;
                }
                sleep(PATIENCE).await;
            }
            known.insert(uid);
        }
        std::future::pending().await
    }
}

/// Whether asking again would end in the same way: the pod has gone, or the user may not.
fn is_final(error: &ClusterError) -> bool {
    error.code().is_some_and(|code| (400..500).contains(&code) && code != 429)
}

#[cfg(test)]
mod tests {
    use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A daemon's pod with a sidecar, which is stopping and has an hour for that.
    async fn stopping() -> (FakeCluster, FakePod) {
        let fake = FakeCluster::new();
        fake.namespace("demo");
        fake.on_pod(async |pod| {
            pod.schedule("node");
            pod.run();
        });
        fake.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "daemon-1", "namespace": "demo" },
            "spec": {
                "containers": [{ "name": "daemon", "image": "d" }, { "name": "proxy", "image": "p" }],
                "terminationGracePeriodSeconds": 3600,
            },
        }));
        sleep(Duration::from_secs(1)).await;
        let pod = fake.pod("demo", "daemon-1").expect("it was put there");
        (fake, pod)
    }

    /// The pod as it is stopping, with its daemon in this state.
    fn shown(pod: &FakePod, daemon: &serde_json::Value) -> [Pod; 1] {
        let container = |name: &str, state: &serde_json::Value| json!({ "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state });
        let mut object = pod.object().expect("it is there");
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let statuses = [container("daemon", daemon), container("proxy", &json!({ "running": {} }))];
        object["status"]["containerStatuses"] = json!(statuses);
        [serde_json::from_value(object).expect("a pod")]
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_only_a_sidecar_holds_is_ended_once() {
        let (fake, pod) = stopping().await;
        let cluster = Cluster::new(fake.client());
        let (lookout, ends) = lookout("daemon");
        let ending = ends.bring_about(&cluster, "demo");
        tokio::pin!(ending);
        // The daemon finishes its builds, however long they take.
        lookout.look_at(&shown(&pod, &json!({ "running": {} })));
        assert!(timeout(MINUTE, &mut ending).await.is_err());
        assert_eq!(fake.count("delete", "pods"), 0);

        let ended = json!({ "terminated": { "exitCode": 0 } });
        for _ in 0..3 {
            lookout.look_at(&shown(&pod, &ended));
        }
        assert!(timeout(MINUTE, &mut ending).await.is_err());
        assert_eq!(fake.count("delete", "pods"), 1);
        let grace = pod.object().map(|pod| pod["metadata"]["deletionGracePeriodSeconds"].clone());
        assert!(grace.is_none_or(|grace| grace == 1), "its node kills what is left in it");
    }
    #[tokio::test(start_paused = true)]
    async fn a_failure_in_between_does_not_leave_the_pod_and_a_refusal_does() {
        for (refusal, deletes) in [
            (Refusal::internal("etcdserver: request timed out"), 2),
            (Refusal::too_many_requests(Duration::from_secs(1)), 2),
            (Refusal::forbidden("delete", "pods", "demo"), 1),
        ] {
            let (fake, pod) = stopping().await;
            let cluster = Cluster::new(fake.client());
            let (lookout, ends) = lookout("daemon");
            let words = format!("{refusal:?}");
            fake.fault(Fault::refuse("delete", "pods", refusal));
            lookout.look_at(&shown(&pod, &json!({ "terminated": { "exitCode": 0 } })));
            assert!(timeout(MINUTE, ends.bring_about(&cluster, "demo")).await.is_err());
            assert_eq!(fake.count("delete", "pods"), deletes, "{words}");
        }
    }
}
