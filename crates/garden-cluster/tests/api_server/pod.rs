use std::time::Duration;

use garden_build_core::{Error, ErrorKind};
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
use garden_cluster::{BuildPod, Cluster, PodEnd};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{MAIN, NAMESPACE, REMEDIES, fake, made};

fn watch(cluster: &Cluster, name: &str) -> BuildPod {
    BuildPod::watch(cluster, NAMESPACE, name, MAIN, &REMEDIES)
}

/// Runs a pod of which `script` says what happens, to its start and to its end. Returns how long the start took.
async fn life<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(FakePod) -> F + Send + Sync + 'static,
) -> (Duration, Result<PodEnd, Error>) {
    let (fake, cluster) = fake();
    life_in(&fake, &cluster, script).await
}

async fn life_in<F: Future<Output = ()> + Send + 'static>(
    fake: &FakeCluster,
    cluster: &Cluster,
    script: impl Fn(FakePod) -> F + Send + Sync + 'static,
) -> (Duration, Result<PodEnd, Error>) {
    fake.on_pod(script);
    let started = Instant::now();
    made(fake, cluster, "a").await;
    let mut pod = watch(cluster, "a");
    let start = pod.started(|_| {}).await;
    let took = started.elapsed();
    match start {
        Ok(()) => (took, pod.ended().await.map_err(Error::from)),
        Err(error) => (took, Err(error.into())),
    }
}

fn unschedulable(pod: &FakePod, message: &str) {
    pod.alter(|pod| {
        pod["status"]["conditions"] =
            json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }]);
    });
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_followed_from_its_node_to_its_exit_code() {
    let (fake, cluster) = fake();
    fake.on_pod(async |pod| {
        sleep(Duration::from_millis(500)).await;
        pod.schedule("node");
        sleep(Duration::from_millis(500)).await;
        pod.run();
        sleep(seconds(3600)).await;
        pod.exit(MAIN, 3, "said at the end");
    });
    let fake_pod = made(&fake, &cluster, "a").await;
    let mut pod = watch(&cluster, "a");
    let mut waits = Vec::new();
    pod.started(|what| waits.push(what)).await.unwrap();
    assert_eq!(waits.len(), 3, "the cluster, a node, the image: {waits:?}");
    let end = pod.ended().await.unwrap();
    assert_eq!(end, PodEnd { exit_code: 3, message: "said at the end".to_owned() });
    assert_eq!(fake.count("list", "events"), 0, "a pod that starts at once is not asked why it does not");
    assert!(fake_pod.object().is_some(), "who follows a pod does not remove it");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pod_is_named_when_its_grace_is_over() {
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    let (took, end) = life(move |pod| async move { unschedulable(&pod, message) }).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unschedulable);
    assert!(error.message().contains(message), "{error}");
    assert!((seconds(12)..seconds(13)).contains(&took), "{took:?}");

    // An autoscaler says that it adds a node, so this is waited for, and comes.
    let (took, end) = life(move |pod| async move {
        unschedulable(&pod, message);
        sleep(seconds(5)).await;
        pod.event("TriggeredScaleUp", "pod triggered scale-up");
        sleep(seconds(300)).await;
        pod.run();
        pod.exit(MAIN, 0, "");
    })
    .await;
    assert!(end.is_ok() && took >= seconds(300), "{took:?} {end:?}");

    // One that says that no node would help ends the wait.
    let (took, end) = life(move |pod| async move {
        unschedulable(&pod, message);
        sleep(seconds(5)).await;
        pod.event("NotTriggerScaleUp", "pod didn't trigger scale-up");
    })
    .await;
    assert!(end.is_err() && took < seconds(6), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn events_are_heard_after_their_watch_broke() {
    for disrupt in [FakeCluster::cut_watches as fn(&FakeCluster), FakeCluster::expire_watches] {
        let (fake, cluster) = fake();
        let server = fake.clone();
        let (took, end) = life_in(&fake, &cluster, move |pod| {
            let server = server.clone();
            async move {
                unschedulable(&pod, "0/1 nodes are available");
                sleep(seconds(4)).await;
                disrupt(&server);
                sleep(seconds(1)).await;
                pod.event("TriggeredScaleUp", "pod triggered scale-up");
                sleep(seconds(60)).await;
                pod.run();
                pod.exit(MAIN, 0, "");
            }
        })
        .await;
        assert!(end.is_ok() && took >= seconds(60), "{took:?} {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_not_read_events_builds_all_the_same() {
    let (fake, cluster) = fake();
    fake.fault(Fault::refuse("list", "events", Refusal::forbidden("list", "events", NAMESPACE)).always());
    let (_, end) = life_in(&fake, &cluster, async |pod| {
        sleep(seconds(100)).await;
        pod.run();
        pod.exit(MAIN, 0, "");
    })
    .await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(fake.count("list", "events"), 1, "asked once");
}

#[tokio::test(start_paused = true)]
async fn images_that_cannot_be_pulled_get_time_if_that_may_pass() {
    for (reason, message, from, until) in [
        ("InvalidImageName", "couldn't parse image name", 0, 1),
        ("ErrImagePull", "manifest unknown", 0, 1),
        ("ImagePullBackOff", "dial tcp: i/o timeout", 25, 26),
        ("CreateContainerConfigError", "secret \"s\" not found", 30, 31),
    ] {
        let (took, end) = life(move |pod| async move {
            pod.schedule("node");
            pod.wait(MAIN, reason, message);
        })
        .await;
        let error = end.unwrap_err();
        assert!(error.message().contains(message) && error.message().contains("Pod builds/a"), "{error}");
        assert!((seconds(from)..seconds(until)).contains(&took), "{reason} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trouble_that_passes_in_time_is_none() {
    let (_, end) = life(async |pod| {
        for _ in 0..5 {
            pod.wait(MAIN, "ErrImagePull", "dial tcp: i/o timeout");
            sleep(seconds(20)).await;
            pod.wait(MAIN, "ContainerCreating", "");
            sleep(seconds(20)).await;
        }
        pod.run();
        pod.exit(MAIN, 0, "");
    })
    .await;
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn why_a_pod_died_is_told_apart() {
    let killed = |kill: fn(&FakePod)| async move {
        let (_, end) = life(move |pod| async move {
            pod.run();
            sleep(seconds(10)).await;
            kill(&pod);
        })
        .await;
        let error = end.unwrap_err();
        (error.kind(), error.is_retryable(), error.message().to_owned())
    };
    let (kind, again, message) = killed(|pod| pod.run_out_of_memory(MAIN)).await;
    assert_eq!((kind, again), (ErrorKind::OutOfMemory, false));
    assert!(message.contains("1Gi"), "{message}");
    let (kind, again, message) = killed(|pod| pod.evict("The node was low on resource: memory.")).await;
    assert_eq!((kind, again), (ErrorKind::Evicted, true));
    assert!(message.contains("low on resource"), "{message}");
    let (kind, again, _) = killed(FakePod::vanish).await;
    assert_eq!((kind, again), (ErrorKind::BuilderLost, true));
    let marked = |pod: &FakePod| {
        pod.alter(|pod| {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            pod["status"]["conditions"] = json!([{
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained",
            }]);
        });
    };
    let (kind, again, message) = killed(marked).await;
    assert_eq!((kind, again), (ErrorKind::Evicted, true));
    assert!(message.contains("drained"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_came_while_the_watch_was_down_is_found() {
    for disrupt in
        [FakeCluster::end_watches as fn(&FakeCluster), FakeCluster::cut_watches, FakeCluster::expire_watches]
    {
        for is_gone in [false, true] {
            let (fake, cluster) = fake();
            let server = fake.clone();
            let (_, end) = life_in(&fake, &cluster, move |pod| {
                let server = server.clone();
                async move {
                    pod.run();
                    sleep(seconds(10)).await;
                    server.fault(Fault::cut("*", "pods").times(2));
                    disrupt(&server);
                    if is_gone { pod.vanish() } else { pod.exit(MAIN, 7, "") }
                }
            })
            .await;
            match end {
                Ok(end) => assert_eq!((end.exit_code, is_gone), (7, false)),
                Err(error) => assert_eq!((error.kind(), is_gone), (ErrorKind::BuilderLost, true), "{error}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_gone_before_anybody_watched_is_lost() {
    let (_, cluster) = fake();
    let error = Error::from(watch(&cluster, "never").started(|_| {}).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::BuilderLost);
    assert!(error.is_retryable() && error.message().contains("Pod builds/never"), "{error}");
}
