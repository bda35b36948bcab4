//! The daemon's life: brought up, stopped when nobody uses it, brought back.

use std::time::Duration;

use garden_build_core::{Backend as _, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault};
use garden_buildkit::spec::{NAME, Settings};
use garden_buildkit::{BuildkitBackend, daemon};
use garden_cluster::{Cluster, DaemonPod, PushTarget};
use garden_config::{ClusterBuildkitOptions, DeploymentRegistry, IdleAfter, Namespace, Resources};
use serde_json::Value;
use tokio::time::sleep;

use crate::{NAMESPACE, no_credentials, settings};

/// A cluster in which all pods run, and go when they are told to.
pub(crate) fn cluster() -> (FakeCluster, Cluster) {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.on_pod(async |pod: FakePod| {
        pod.run();
        pod.deleted().await;
        pod.vanish();
    });
    let cluster = Cluster::new(fake.client());
    (fake, cluster)
}

/// Makes sure of the daemon, as a build does. Returns what is said meanwhile, too.
async fn ensured(cluster: &Cluster, settings: &Settings) -> (DaemonPod, Vec<String>) {
    let (events, mut stream) = event_channel();
    let daemon = daemon::ensure(cluster, settings, &no_credentials(cluster), &events).await.unwrap();
    drop(events);
    let mut said = Vec::new();
    while let Some(event) = stream.next().await {
        said.push(event.to_string());
    }
    (daemon.pod, said)
}

/// Sweeps, as another project's client does. Returns what was stopped.
async fn swept(cluster: &Cluster) -> Vec<String> {
    let registry = DeploymentRegistry::new("registry.example").unwrap();
    let target = PushTarget::with_two_names(registry.clone(), registry);
    let options = ClusterBuildkitOptions::default();
    let settings =
        garden_buildkit::Settings::new(&options, Namespace::new("another"), Resources::builder(), &target);
    let settings = settings.unwrap().idle_after(IdleAfter::Never);
    BuildkitBackend::new(cluster.clone(), settings, no_credentials(cluster)).sweep().await.unwrap().stopped
}

async fn stopped_for_want_of_use(fake: &FakeCluster, cluster: &Cluster) {
    sleep(Duration::from_secs(5 * 3600)).await;
    assert_eq!(swept(cluster).await, ["Deployment shop/garden-buildkit"]);
    fake.until(|| fake.names("pods").is_empty().then_some(())).await;
}

fn deployment(fake: &FakeCluster) -> Value {
    fake.object("deployments", NAMESPACE, NAME).unwrap()
}

fn is_waited_for(line: &str) -> bool {
    line.contains("waiting for")
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_nobody_used_is_back_by_the_next_build_as_it_was_without_a_word() {
    let (fake, cluster) = cluster();
    let (first, _) = ensured(&cluster, &settings()).await;
    let before = deployment(&fake);
    assert!(swept(&cluster).await.is_empty(), "it was used just now");
    stopped_for_want_of_use(&fake, &cluster).await;

    let (second, said) = ensured(&cluster, &settings()).await;
    assert_ne!(first.name, second.name);
    assert!(said.iter().all(|line| is_waited_for(line)), "{said:?}");
    assert_eq!(deployment(&fake)["spec"], before["spec"]);
    assert!(swept(&cluster).await.is_empty(), "it is in use");
    assert_eq!(fake.names("replicasets").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_stopped_is_started_again_and_that_is_told() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &settings()).await;
    stopped_for_want_of_use(&fake, &cluster).await;
    ensured(&cluster, &settings()).await;
    // By hand, after it was used again.
    fake.alter("deployments", NAMESPACE, NAME, |it| it["spec"]["replicas"] = 0.into());
    fake.until(|| fake.names("pods").is_empty().then_some(())).await;
    sleep(Duration::from_secs(50 * 3600)).await;
    assert!(swept(&cluster).await.is_empty());
    let (_, said) = ensured(&cluster, &settings()).await;
    assert!(said.iter().any(|line| line.contains("was scaled to nothing or paused")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_with_other_settings_does_not_wake_the_former_daemon_first() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &settings()).await;
    stopped_for_want_of_use(&fake, &cluster).await;
    let mut other = settings();
    other.options.annotations.insert("team".to_owned(), "web".to_owned());
    ensured(&cluster, &other).await;
    assert_eq!(fake.created("pods").len(), 2, "one of each");
    assert!(swept(&cluster).await.is_empty(), "it is in use");
    // It is what its last user wants, and so is stopped after its own time.
    stopped_for_want_of_use(&fake, &cluster).await;
}

#[tokio::test(start_paused = true)]
async fn another_time_without_use_counts_from_the_next_build_on_and_the_daemon_stays() {
    let (fake, cluster) = cluster();
    let (first, _) = ensured(&cluster, &settings()).await;
    let mut other = settings();
    other.idle_after = IdleAfter::Seconds(1800);
    let (second, _) = ensured(&cluster, &other).await;
    assert_eq!(first, second);
    assert_eq!(deployment(&fake)["metadata"]["annotations"]["garden-build/idle-after"], "30m");
    sleep(Duration::from_secs(2400)).await;
    assert_eq!(swept(&cluster).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_a_sweep_gets_ahead_of_by_a_hair_gets_a_daemon_that_stays() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &settings()).await;
    sleep(Duration::from_secs(3600)).await;
    fake.fault(Fault::meddle("patch", "deployments", |fake| {
        fake.alter("deployments", NAMESPACE, NAME, |it| {
            it["spec"]["replicas"] = 0.into();
            let annotations = &mut it["metadata"]["annotations"];
            annotations["garden-build/stopped-unused-since"] = annotations["garden-build/last-used"].clone();
        });
    }));
    let (daemon, said) = ensured(&cluster, &settings()).await;
    assert!(said.iter().all(|line| is_waited_for(line)), "{said:?}");
    sleep(Duration::from_secs(10)).await;
    let pod = fake.pod(NAMESPACE, &daemon.name).unwrap();
    assert!(pod.object().unwrap()["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(deployment(&fake)["spec"]["replicas"], 1);
}

/// It would be root on the node then.
#[tokio::test(start_paused = true)]
async fn a_daemon_is_not_created_if_the_cluster_would_leave_out_its_user_namespace() {
    let (fake, cluster) = cluster();
    let mut wanted = settings();
    wanted.options.user_namespace = true;
    let (events, _stream) = event_channel();
    let field = "/spec/template/spec/hostUsers";
    fake.fault(Fault::forget("patch", "deployments", field).always());
    let error = daemon::ensure(&cluster, &wanted, &no_credentials(&cluster), &events).await.unwrap_err();
    let error = garden_build_core::Error::from(error);
    assert!(error.message().contains("`hostUsers`"), "{error}");
    assert!(error.hint().unwrap().contains("UserNamespacesSupport"), "{error:?}");
    assert_eq!((fake.names("deployments").len(), fake.created("pods").len()), (0, 0));

    let (fake, cluster) = self::cluster();
    ensured(&cluster, &wanted).await;
    assert_eq!(deployment(&fake)["spec"]["template"]["spec"]["hostUsers"], false);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_used_often_is_written_to_seldom() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &settings()).await;
    fake.forget_requests();
    for _ in 0..60 {
        sleep(Duration::from_secs(60)).await;
        ensured(&cluster, &settings()).await;
    }
    assert_eq!((fake.count("get", "deployments"), fake.count("list", "pods")), (60, 60));
    assert!((1..=2).contains(&fake.writes().len()), "{:?}", fake.writes());
}
