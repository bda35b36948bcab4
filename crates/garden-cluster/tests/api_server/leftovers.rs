use std::time::Duration;

use garden_build_core::event_channel;
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use garden_cluster::{Cluster, Lease, sweep};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::SignedDuration;
use kube::Resource as _;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{NAMESPACE, fake, pod};

/// Makes the objects of a build, as a build does.
async fn begin(cluster: &Cluster, build: &str) -> Lease {
    let lease = Lease::start(cluster, build).await.unwrap();
    let ownership = lease.ownership();
    let mut pod = pod(&format!("pod-{build}"));
    pod.metadata.labels = Some(ownership.labels());
    pod.metadata.annotations = Some(ownership.annotations());
    let mut secret = Secret { metadata: pod.metadata.clone(), ..Secret::default() };
    secret.metadata.name = Some(format!("secret-{build}"));
    let pod = cluster.apply::<Pod>(&pod).await.unwrap();
    secret.metadata.owner_references = pod.controller_owner_ref(&()).map(|owner| vec![owner]);
    cluster.apply(&secret).await.unwrap();
    lease
}

fn left(fake: &FakeCluster) -> Vec<String> {
    [fake.names("pods"), fake.names("secrets")].concat()
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_client_lives_is_never_swept_and_one_whose_client_died_is() {
    let (fake, cluster) = fake();
    let living = begin(&cluster, "living").await;
    begin(&cluster, "dead").await;
    cluster.apply(&pod("of-somebody-else")).await.unwrap();
    let renewing = tokio::spawn({
        let cluster = cluster.clone();
        async move { living.keep_renewing(&cluster, NAMESPACE, "pod-living", &event_channel().0).await }
    });
    sleep(Duration::from_secs(59)).await;
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, Vec::<String>::new());
    sleep(Duration::from_secs(3600)).await;
    let report = sweep(&cluster, NAMESPACE).await.unwrap();
    assert_eq!(report.removed, ["Pod builds/pod-dead"]);
    assert_eq!(fake.count("list", "secrets"), 0, "a pod takes its Secret with it");
    assert_eq!(left(&fake), ["of-somebody-else", "pod-living", "secret-living"]);
    renewing.abort();
    let _ = renewing.await;
    sleep(Duration::from_secs(61)).await;
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed.len(), 1);
    assert_eq!(left(&fake), ["of-somebody-else"]);
}

#[tokio::test(start_paused = true)]
async fn three_renewals_may_fail() {
    let (fake, cluster) = fake();
    let lease = begin(&cluster, "a").await;
    fake.fault(Fault::cut("patch", "pods").times(3));
    let (events, _stream) = event_channel();
    let renewing = lease.keep_renewing(&cluster, NAMESPACE, "pod-a", &events);
    let sweeping = async {
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, Vec::<String>::new());
        }
    };
    tokio::select! {
        () = sweeping => {}
        never = renewing => match never {},
    }
    assert_eq!(left(&fake), ["pod-a", "secret-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_in_the_servers_time_whatever_this_machine_says() {
    let (fake, cluster) = fake();
    fake.put_clock_forward(Duration::from_secs(24 * 3600));
    begin(&cluster, "a").await;
    assert!(sweep(&cluster, NAMESPACE).await.unwrap().removed.is_empty());
    // This machine slept, and its clock with it.
    let lease = begin(&cluster, "asleep").await;
    fake.put_clock_forward(Duration::from_secs(50));
    let (events, _stream) = event_channel();
    let renewing = lease.keep_renewing(&cluster, NAMESPACE, "pod-asleep", &events);
    assert!(timeout(Duration::from_secs(16), renewing).await.is_err());
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, ["Pod builds/pod-a"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_does_not_keep_the_rest() {
    let (fake, cluster) = fake();
    begin(&cluster, "a").await;
    begin(&cluster, "b").await;
    // Pods that run, as those do whose client has died.
    for name in ["pod-a", "pod-b"] {
        fake.pod(NAMESPACE, name).unwrap().run();
    }
    sleep(Duration::from_secs(100)).await;
    fake.fault(
        Fault::refuse("delete", "pods", Refusal::forbidden("delete", "pods", NAMESPACE))
            .named("pod-a")
            .always(),
    );
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap_err().code(), Some(403));
    assert_eq!(left(&fake), ["pod-a", "secret-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_between_look_and_deletion_counts() {
    let (fake, cluster) = fake();
    begin(&cluster, "asleep").await;
    begin(&cluster, "dead").await;
    sleep(Duration::from_secs(100)).await;
    // Awake again, just in time.
    let renew = |fake: &FakeCluster| {
        let lease = fake.now() + SignedDuration::from_secs(60);
        assert!(fake.alter("pods", NAMESPACE, "pod-asleep", |pod| {
            pod["metadata"]["annotations"]["garden-build/lease-expires"] = lease.to_string().into();
        }));
    };
    fake.fault(Fault::meddle("delete", "pods", renew).named("pod-asleep"));
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, ["Pod builds/pod-dead"]);
    assert_eq!(left(&fake), ["pod-asleep", "secret-asleep"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_build_whose_pod_changes_meanwhile_is_removed_all_the_same() {
    let (fake, cluster) = fake();
    begin(&cluster, "dead").await;
    sleep(Duration::from_secs(100)).await;
    let change = |fake: &FakeCluster| {
        assert!(fake.alter("pods", NAMESPACE, "pod-dead", |pod| pod["status"]["phase"] = "Running".into()));
    };
    fake.fault(Fault::meddle("delete", "pods", change));
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, ["Pod builds/pod-dead"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_lease_somebody_has_removed_goes_by_its_age() {
    let (fake, cluster) = fake();
    begin(&cluster, "a").await;
    assert!(fake.alter("pods", NAMESPACE, "pod-a", |pod| pod["metadata"]["annotations"] = json!({})));
    sleep(Duration::from_secs(3590)).await;
    assert!(sweep(&cluster, NAMESPACE).await.unwrap().removed.is_empty());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sweep(&cluster, NAMESPACE).await.unwrap().removed, ["Pod builds/pod-a"]);
}

#[tokio::test]
async fn where_there_is_no_namespace_there_is_nothing_to_sweep() {
    let (_, cluster) = fake();
    assert!(sweep(&cluster, "nowhere").await.unwrap().removed.is_empty());
}
