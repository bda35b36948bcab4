//! Context services that nobody uses, and those that somebody does.

use std::time::Duration;

use garden_build_core::Backend as _;
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
use garden_config::{ContextDelivery, IdleAfter};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::service::{Turn, site};
use crate::site::{NAMESPACE, Site, settings, succeed};

const NAME: &str = "garden-util";
const STOPPED: [&str; 1] = ["Deployment builds/garden-util"];

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn deployment(fake: &FakeCluster) -> Value {
    fake.object("deployments", NAMESPACE, NAME).unwrap()
}

/// Another build in the same cluster.
fn another(site: &Site, id: &str) -> Site {
    Site::new(site.fake.clone(), id, ContextDelivery::Sync)
}

/// What somebody does who finds the service unused.
fn stop(fake: &FakeCluster) {
    assert!(fake.alter("deployments", NAMESPACE, NAME, |it| {
        it["spec"]["replicas"] = 0.into();
        let annotations = &mut it["metadata"]["annotations"];
        annotations["garden-build/stopped-unused-since"] = annotations["garden-build/last-used"].clone();
    }));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_nobody_used_is_stopped_and_started_again_as_it_was_without_a_word() {
    let first = site(Turn::None);
    first.build().await.outcome.unwrap();
    let before = deployment(&first.fake);
    assert_eq!(before["metadata"]["annotations"]["garden-build/idle-after"], "4h");
    assert!(first.backend.sweep().await.unwrap().stopped.is_empty());
    sleep(hours(5)).await;
    // Whoever finds it unused may want their own kept for ever.
    let mut others = settings(ContextDelivery::Sync);
    others.idle_after = IdleAfter::Never;
    others.service_resources.limits.memory = 600;
    let other = Site::with_settings(first.fake.clone(), "9876543210", others);
    assert_eq!(other.backend.sweep().await.unwrap().stopped, STOPPED);
    first.fake.until(|| first.fake.names("pods").is_empty().then_some(())).await;

    let seen = other.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    assert_eq!((seen.warnings(), other.left()), (Vec::new(), Vec::new()));
    assert!(
        !seen.log().iter().any(|line| line.contains("scaled") || line.contains("stopped")),
        "{:?}",
        seen.log()
    );
    let after = deployment(&first.fake);
    assert_eq!((&after["spec"], &after["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
    assert_eq!(
        after["metadata"]["annotations"]["garden-build/idle-after"], "never",
        "its last user wants that"
    );
    assert_eq!(first.fake.count("create", "deployments"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_build_keeps_its_service_however_long_it_takes() {
    let long = site(Turn::LongBuild);
    let mut short = settings(ContextDelivery::Sync);
    short.idle_after = IdleAfter::Seconds(300);
    let long = Site::with_settings(long.fake, "0123456789", short);
    let other = another(&long, "9876543210");
    let sweeping = async {
        loop {
            sleep(Duration::from_secs(40)).await;
            assert!(other.backend.sweep().await.unwrap().stopped.is_empty());
        }
    };
    tokio::select! {
        seen = long.build() => assert!(seen.outcome.is_ok(), "{:?}", seen.outcome),
        () = sweeping => {}
    }
    let writes = long.fake.count("patch", "deployments");
    assert!((10..=60).contains(&writes), "{writes}");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(other.backend.sweep().await.unwrap().stopped, STOPPED);
}

#[tokio::test(start_paused = true)]
async fn every_build_stops_on_its_way_what_nobody_uses() {
    let site = Site::stdin(async |pod: FakePod| {
        sleep(Duration::from_secs(20)).await;
        succeed(&pod);
    });
    for (namespace, name) in [(NAMESPACE, NAME), (NAMESPACE, "garden-buildkit"), ("elsewhere", NAME)] {
        site.fake.namespace(namespace);
        site.fake.put(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": { "app": name, "app.kubernetes.io/managed-by": "garden-build" },
                "annotations": { "garden-build/idle-after": "4h", "garden-build/last-used": "2020-01-01T00:00:00Z" },
            },
            "spec": { "replicas": 1, "selector": {}, "template": {} },
        }));
    }
    site.build().await.outcome.unwrap();
    let running = |deployment: &Value| deployment["spec"]["replicas"] == 1;
    let running: Vec<Value> = site.fake.objects("deployments").into_iter().filter(running).collect();
    assert_eq!(running.len(), 1, "{running:?}");
    assert_eq!(running[0]["metadata"]["namespace"], "elsewhere", "a build looks where it builds");
    assert_eq!(site.backend.sweep().await.unwrap().stopped, ["Deployment elsewhere/garden-util"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_a_sweep_gets_ahead_of_by_a_hair_starts_the_service_again() {
    let first = site(Turn::None);
    first.build().await.outcome.unwrap();
    sleep(hours(1)).await;
    first.fake.fault(Fault::meddle("patch", "deployments", stop));
    let second = another(&first, "9876543210");
    let seen = second.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    assert_eq!(seen.warnings(), Vec::<String>::new());
    assert_eq!(deployment(&first.fake)["spec"]["replicas"], 1);
    let services = first.fake.created("pods").into_iter().filter(|name| name.starts_with(NAME));
    assert_eq!(services.count(), 2, "the one that was seen went");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_not_look_at_deployments_builds_where_the_service_runs() {
    let first = site(Turn::None);
    first.build().await.outcome.unwrap();
    first.fake.fault(
        Fault::refuse("*", "deployments", Refusal::forbidden("get", "deployments", NAMESPACE)).always(),
    );
    let second = another(&first, "9876543210");
    let seen = second.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    assert_eq!(seen.warnings(), Vec::<String>::new());
    assert!(second.backend.sweep().await.unwrap().stopped.is_empty());
}

#[tokio::test(start_paused = true)]
async fn that_its_use_cannot_be_told_does_not_fail_a_build() {
    let first = site(Turn::None);
    first.build().await.outcome.unwrap();
    sleep(hours(1)).await;
    first.fake.fault(
        Fault::refuse("patch", "deployments", Refusal::internal("etcdserver: request timed out")).always(),
    );
    let seen = another(&first, "9876543210").build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
}
