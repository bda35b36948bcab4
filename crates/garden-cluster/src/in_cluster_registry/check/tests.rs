use std::sync::{Arc, OnceLock};

use garden_build_core::{CancellationToken, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, Fault};

use super::*;
use crate::api::Cluster;
use crate::registries::RegistryCredentials;
use crate::{RegistryRemedies, RegistrySettings, RegistryWords};

const NAMESPACE: &str = "garden-system";

const ANY: Remedy = Remedy::new("something");

const WORDS: RegistryWords = RegistryWords::new(&RegistryRemedies {
    memory: ANY,
    evicted: ANY,
    scheduling: ANY,
    image: ANY,
    start: ANY,
    quota: ANY,
    limit_range: ANY,
    disk_limit: ANY,
    storage_class: "",
    keeps_size: ANY,
    volume_quota: ANY,
    taints: ANY,
    foreign: ANY,
    password_wanted: ANY,
    password_missing: ANY,
});

fn registry(fake: &FakeCluster) -> InClusterRegistry {
    let mut provider = ProviderConfig::kubernetes("demo");
    NAMESPACE.clone_into(&mut provider.garden_system_namespace);
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    InClusterRegistry::new(cluster, RegistrySettings::new(&provider), credentials, &WORDS)
}

/// Checks one node, which never pulls.
async fn check(fake: &FakeCluster, cancel: &CancellationToken) -> Result<Checked, ClusterError> {
    let (events, _stream) = event_channel();
    let cx = BuildControl::new(events, cancel.clone(), Duration::MAX);
    Box::pin(registry(fake).check_node("node".to_owned(), Digest::of(b"abc"), &cx)).await
}

fn cluster() -> FakeCluster {
    let fake = FakeCluster::new();
    fake.namespace(NAMESPACE);
    fake
}

#[tokio::test(start_paused = true)]
async fn a_check_that_is_cancelled_removes_its_pod() {
    let (fake, cancel) = (cluster(), CancellationToken::new());
    let (checked, ()) = tokio::join!(check(&fake, &cancel), async {
        fake.until(|| (fake.count("watch", "pods") > 0).then_some(())).await;
        cancel.cancel();
    });
    assert_eq!((checked.expect("checked").left, fake.names("pods").len()), (None, 0));
    assert_eq!(fake.created("pods").len(), 1);
    // And makes none any more.
    assert!(check(&fake, &cancel).await.is_ok());
    assert_eq!(fake.created("pods").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_does_not_wait_for_a_silent_api_server_and_names_the_pod() {
    for request in 0..4 {
        let (fake, cancel) = (cluster(), CancellationToken::new());
        let (since, cancelling) = (Arc::new(OnceLock::new()), cancel.clone());
        let noted = Arc::clone(&since);
        let meddle = move |fake: &FakeCluster| {
            fake.fault(Fault::silent("*", "*").always());
            let _first = noted.set(Instant::now());
            cancelling.cancel();
        };
        fake.fault(Fault::meddle("*", "*", meddle).after(request));
        let checked = tokio::time::timeout(Duration::from_secs(60), check(&fake, &cancel)).await;
        let Some(since) = since.get() else { continue };
        assert!(since.elapsed() <= Duration::from_secs(5), "at {request}: {:?}", since.elapsed());
        let checked = checked.expect("in time").expect("no error");
        let left = checked.left.expect("a pod");
        assert!(left.starts_with("Pod garden-system/garden-registry-check-"), "at {request}: {left}");
    }
}

fn state(status: &serde_json::Value) -> Pull {
    pull(&serde_json::from_value(json!({ "status": status })).expect("a pod"))
}

fn container(state: &serde_json::Value) -> Pull {
    let status = json!({ "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    super::pull(
        &serde_json::from_value(json!({ "status": { "containerStatuses": [status] } })).expect("a pod"),
    )
}

#[test]
fn an_image_was_pulled_when_its_container_cannot_be_started() {
    let waiting = |reason: &str| container(&json!({ "waiting": { "reason": reason, "message": "why" } }));
    for reason in ["CreateContainerError", "RunContainerError"] {
        assert_eq!(waiting(reason), Pull::Done);
    }
    assert_eq!(container(&json!({ "terminated": { "exitCode": 128, "reason": "StartError" } })), Pull::Done);
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        assert_eq!(waiting(reason), Pull::Failing("why".to_owned()));
    }
    assert_eq!(waiting("ContainerCreating"), Pull::Waiting);
}

#[test]
fn a_pod_that_its_node_refuses_is_not_waited_for() {
    assert_eq!(state(&json!({ "phase": "Pending" })), Pull::Waiting);
    let refused = json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "no room" });
    assert_eq!(state(&refused), Pull::Refused("OutOfcpu: no room".to_owned()));
}

#[test]
fn the_pod_is_on_its_node_and_can_be_swept() {
    let ownership = Ownership { build: "0123456789".to_owned(), lease_expires: Timestamp::UNIX_EPOCH };
    insta::assert_yaml_snapshot!(pod("garden-system", "node-1", Digest::of(b"abc"), &ownership));
}
