//! Watches of an API server in this process.

use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use serde_json::json;
use tokio::time::sleep;

use super::*;

const NAMESPACE: &str = "builds";

fn fake() -> (FakeCluster, Cluster) {
    let fake = FakeCluster::new();
    fake.namespace(NAMESPACE);
    let cluster = Cluster::new(fake.client());
    (fake, cluster)
}

/// Puts a pod there.
fn made(fake: &FakeCluster, name: &str) -> FakePod {
    fake.put(
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE } }),
    );
    fake.pod(NAMESPACE, name).expect("a pod")
}

/// Waits until the watch has shown the pod `name`.
async fn shows(watch: &mut Watch<Pod>, name: &str) {
    loop {
        match watch.next().await.expect("watched") {
            Event::Apply(pod) | Event::InitApply(pod) if pod.name_any() == name => return,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_an_end_a_cut_and_410_gone() {
    for (lists, disrupt) in [
        (1, FakeCluster::end_watches as fn(&FakeCluster)),
        (1, FakeCluster::cut_watches),
        (2, FakeCluster::expire_watches),
    ] {
        let (fake, cluster) = fake();
        let mut watch = Watch::<Pod>::labelled(&cluster, NAMESPACE, "");
        made(&fake, "a");
        shows(&mut watch, "a").await;
        made(&fake, "b");
        shows(&mut watch, "b").await;
        disrupt(&fake);
        made(&fake, "c");
        shows(&mut watch, "c").await;
        assert_eq!(fake.count("list", "pods"), lists);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_went_while_nobody_watched_is_missing_in_the_next_list() {
    let (fake, cluster) = fake();
    let mut watch = Watch::<Pod>::one(&cluster, NAMESPACE, "a");
    let pod = made(&fake, "a");
    made(&fake, "other");
    shows(&mut watch, "a").await;
    assert!(matches!(watch.next().await.expect("watched"), Event::InitDone));
    pod.vanish();
    fake.expire_watches();
    // The watch may have reported the deletion itself before it broke.
    let mut told = Vec::new();
    while !matches!(told.last(), Some(Event::InitDone)) {
        told.push(watch.next().await.expect("watched"));
    }
    let is_shown = |event: &Event<Pod>| matches!(event, Event::Apply(_) | Event::InitApply(_));
    assert!(!told.iter().any(is_shown), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_not_watch_hears_it_at_once() {
    for (verb, refused) in [("list", "list"), ("watch", "watch")] {
        let (fake, cluster) = fake();
        fake.fault(Fault::refuse(verb, "pods", Refusal::forbidden(refused, "pods", NAMESPACE)).always());
        let started = Instant::now();
        let mut watch = Watch::<Pod>::one(&cluster, NAMESPACE, "a");
        let error = loop {
            if let Err(error) = watch.next().await {
                break error;
            }
        };
        assert_eq!(error.code(), Some(403));
        assert!(started.elapsed().is_zero());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_for_half_a_minute_is_given_up_and_can_be_asked_again() {
    let (fake, cluster) = fake();
    fake.fault(Fault::cut("*", "pods").always());
    let started = Instant::now();
    let mut watch = Watch::<Pod>::labelled(&cluster, NAMESPACE, "");
    let error = loop {
        if let Err(error) = watch.next().await {
            break error;
        }
    };
    assert!(matches!(error, ClusterError::Unreachable { .. }), "{error:?}");
    let took = started.elapsed();
    // The last try is up to half a minute after the one before.
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(90), "{took:?}");

    let (fake, cluster) = self::fake();
    fake.fault(Fault::cut("list", "pods").times(2));
    let mut watch = Watch::<Pod>::labelled(&cluster, NAMESPACE, "");
    made(&fake, "a");
    shows(&mut watch, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_that_breaks_now_and_then_is_not_given_up() {
    let (fake, cluster) = fake();
    let mut watch = Watch::<Pod>::labelled(&cluster, NAMESPACE, "");
    let watching = tokio::spawn(async move {
        shows(&mut watch, "a").await;
    });
    // Nothing happens for an hour, but that the watch ends, and its next beginning fails.
    for _ in 0..20 {
        sleep(Duration::from_secs(180)).await;
        fake.fault(Fault::cut("watch", "pods"));
        fake.end_watches();
    }
    made(&fake, "a");
    watching.await.expect("not given up");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_the_server_does_not_answer_is_begun_again() {
    for verb in ["list", "watch"] {
        let (fake, cluster) = fake();
        fake.fault(Fault::silent(verb, "pods"));
        let started = Instant::now();
        let mut watch = Watch::<Pod>::labelled(&cluster, NAMESPACE, "");
        while !matches!(watch.next().await.expect("watched"), Event::InitDone) {}
        made(&fake, "a");
        shows(&mut watch, "a").await;
        assert!(started.elapsed() < Duration::from_secs(35), "{verb} {:?}", started.elapsed());
    }
}
