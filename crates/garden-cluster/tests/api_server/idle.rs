//! Deployments that nobody uses, and those that somebody does.

use std::time::Duration;

use garden_build_core::{Event, Remedy, WarningCode, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use garden_cluster::{
    BuildPod, Cluster, ClusterError, DeploymentWords, ManagedDeployment, Sight, service_labels, stop_idle,
    stop_idle_in, used_at,
};
use garden_config::IdleAfter;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{MAIN, NAMESPACE, REMEDIES, fake, made};

const NAME: &str = "garden-daemon";
const IDLE_AFTER: &str = "garden-build/idle-after";
const FOUR_HOURS: IdleAfter = IdleAfter::Seconds(4 * 3600);

const WORDS: DeploymentWords = DeploymentWords {
    what: "the daemon",
    name: NAME,
    container: MAIN,
    volume: None,
    remedies: REMEDIES,
    ended: Remedy::new("see why"),
    complaint: None,
    foreign: Remedy::new("remove it"),
    missing: Remedy::build_again("build again"),
    longest: None,
};

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// Puts a Deployment of ours there that was used just now, and a pod of it that runs.
fn deployment(fake: &FakeCluster, namespace: &str, idle_after: &str) {
    fake.namespace(namespace);
    let mut used = ObjectMeta::default();
    used_at(&mut used, fake.now());
    let mut annotations = json!(used.annotations);
    annotations[IDLE_AFTER] = idle_after.into();
    fake.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": NAME, "namespace": namespace, "generation": 1, "labels": service_labels(NAME), "annotations": annotations,
        },
        "spec": { "replicas": 1, "selector": {}, "template": {} },
    }));
    let maker = fake.put(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": NAME, "namespace": namespace },
    }));
    let maker = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": NAME, "uid": maker["metadata"]["uid"], "controller": true,
    });
    fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "garden-daemon-1", "namespace": namespace, "labels": service_labels(NAME), "ownerReferences": [maker],
        },
        "spec": {
            "nodeName": "node",
            "containers": [{ "name": MAIN, "resources": { "requests": { "cpu": "2", "memory": "4Gi" } } }],
        },
    }));
}

fn site(idle_after: &str) -> (FakeCluster, Cluster) {
    let (fake, cluster) = fake();
    deployment(&fake, NAMESPACE, idle_after);
    (fake, cluster)
}

fn live(fake: &FakeCluster, namespace: &str) -> Value {
    fake.object("deployments", namespace, NAME).unwrap()
}

fn replicas(fake: &FakeCluster) -> u64 {
    live(fake, NAMESPACE)["spec"]["replicas"].as_u64().unwrap()
}

fn scale(fake: &FakeCluster, replicas: u64) {
    assert!(fake.alter("deployments", NAMESPACE, NAME, |it| it["spec"]["replicas"] = replicas.into()));
}

fn managed(cluster: &Cluster) -> ManagedDeployment {
    ManagedDeployment::new(cluster, NAMESPACE, &WORDS)
}

/// Looks at the Deployment, and begins to use it, as a build does.
async fn begin(cluster: &Cluster, idle_after: IdleAfter) -> Result<Sight, ClusterError> {
    let seen = managed(cluster).look().await.unwrap();
    managed(cluster).used_from_now_on(seen, idle_after).await
}

/// Does what every build does on its way.
async fn stop_in(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, ClusterError> {
    stop_idle_in(cluster, namespace, cluster.server_time().await?).await
}

fn is_stopped(seen: &Sight) -> bool {
    seen.live.as_ref().is_some_and(garden_cluster::is_stopped)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_is_scaled_to_zero_after_its_own_time() {
    for (idle_after, kept, stopped) in
        [("4h", 4, Some(5)), ("30m", 0, Some(1)), ("never", 1000, None), ("", 1000, None)]
    {
        let (fake, cluster) = site(idle_after);
        sleep(hours(kept)).await;
        assert_eq!(stop_in(&cluster, NAMESPACE).await.unwrap(), Vec::<String>::new(), "{idle_after}");
        if let Some(stopped) = stopped {
            sleep(hours(stopped - kept)).await;
            let report = stop_in(&cluster, NAMESPACE).await.unwrap();
            assert_eq!(report, ["Deployment builds/garden-daemon"], "{idle_after}");
            assert_eq!(replicas(&fake), 0);
            assert!(stop_in(&cluster, NAMESPACE).await.unwrap().is_empty(), "once");
        }
        let patches = fake.count("patch", "deployments");
        assert_eq!(patches, usize::from(stopped.is_some()), "{idle_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_stopped_or_another_program_made_stays_as_it_is() {
    let changes: [fn(&mut Value); 3] = [
        |it| it["spec"]["replicas"] = 0.into(),
        |it| it["spec"]["paused"] = true.into(),
        |it| it["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into(),
    ];
    for change in changes {
        let (fake, cluster) = site("4h");
        fake.alter("deployments", NAMESPACE, NAME, change);
        let before = live(&fake, NAMESPACE);
        sleep(hours(100)).await;
        assert!(stop_in(&cluster, NAMESPACE).await.unwrap().is_empty());
        assert_eq!(live(&fake, NAMESPACE), before);
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_else_s_clock_and_time_do_not_count() {
    let (fake, cluster) = site("8h");
    fake.put_clock_forward(hours(6));
    // Whoever sweeps may want theirs kept for less: nobody asks.
    assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
    fake.put_clock_forward(hours(6));
    assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap().len(), 1);
    begin(&cluster, FOUR_HOURS).await.unwrap();
    let last_used = &live(&fake, NAMESPACE)["metadata"]["annotations"]["garden-build/last-used"];
    let last_used: Timestamp = last_used.as_str().unwrap().parse().unwrap();
    assert_eq!(last_used.as_second(), fake.now().as_second(), "hours ahead of this machine's");
}

#[tokio::test(start_paused = true)]
async fn a_build_of_any_length_keeps_it_and_writes_seldom() {
    for (idle_after, most_writes) in [("5m", 24 * 60), ("4h", 50)] {
        let (fake, cluster) = site(idle_after);
        let before = live(&fake, NAMESPACE);
        begin(&cluster, IdleAfter::parse(idle_after).unwrap()).await.unwrap();
        let managed = managed(&cluster);
        let sweeping = async {
            for _ in 0..(24 * 72) {
                sleep(Duration::from_secs(50)).await;
                assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty(), "{idle_after}");
            }
        };
        let (events, _stream) = event_channel();
        tokio::select! {
            () = sweeping => {}
            never = managed.keep_in_use(&events) => match never {},
        }
        let writes = fake.count("patch", "deployments");
        assert!((1..=most_writes).contains(&writes), "{idle_after}: {writes} writes a day");
        let after = live(&fake, NAMESPACE);
        assert_eq!(after["spec"], before["spec"], "its pods stay");
        // And when the build has ended, it goes after its time.
        sleep(hours(5)).await;
        assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap().len(), 1, "{idle_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_wants_it_kept_for_long_is_not_stopped_by_one_that_does_not() {
    let (fake, cluster) = site("4h");
    let managed = managed(&cluster);
    begin(&cluster, FOUR_HOURS).await.unwrap();
    let others = async {
        for _ in 0..100 {
            sleep(Duration::from_secs(1000)).await;
            begin(&cluster, IdleAfter::Seconds(300)).await.unwrap();
            assert_eq!(live(&fake, NAMESPACE)["metadata"]["annotations"][IDLE_AFTER], "5m");
            for _ in 0..20 {
                sleep(Duration::from_secs(30)).await;
                assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
            }
        }
    };
    let (events, _stream) = event_channel();
    tokio::select! {
        () = others => {}
        never = managed.keep_in_use(&events) => match never {},
    }
}

#[tokio::test(start_paused = true)]
async fn three_words_may_get_lost() {
    let (fake, cluster) = site("5m");
    begin(&cluster, IdleAfter::Seconds(300)).await.unwrap();
    fake.fault(Fault::cut("patch", "deployments").times(3));
    let managed = managed(&cluster);
    let sweeping = async {
        for _ in 0..100 {
            sleep(Duration::from_secs(10)).await;
            assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
        }
    };
    let (events, _stream) = event_channel();
    tokio::select! {
        () = sweeping => {}
        never = managed.keep_in_use(&events) => match never {},
    }
    assert!(fake.count("patch", "deployments") > 3);
}

#[tokio::test(start_paused = true)]
async fn that_its_use_cannot_be_told_is_told_once_and_so_is_that_it_can_again() {
    let (fake, cluster) = site("5m");
    begin(&cluster, IdleAfter::Seconds(300)).await.unwrap();
    fake.fault(
        Fault::refuse("patch", "deployments", Refusal::forbidden("patch", "deployments", NAMESPACE)).times(3),
    );
    let (events, mut stream) = event_channel();
    let managed = managed(&cluster);
    tokio::select! {
        () = sleep(Duration::from_secs(3600)) => {}
        never = managed.keep_in_use(&events) => match never {},
    }
    drop(events);
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        seen.push(event);
    }
    let [Event::Warning { code, message, hint, .. }, Event::Log { line, .. }] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(*code, WarningCode::LeaseNotRenewed);
    assert!(message.contains("could not be marked as in use") && message.contains("forbidden"), "{message}");
    assert!(hint.as_ref().is_some_and(|hint| hint.contains("patch deployments")), "{hint:?}");
    assert!(line.contains("in use again"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_in_use_is_not_said_again() {
    let (fake, cluster) = site("4h");
    for _ in 0..20 {
        sleep(Duration::from_secs(60)).await;
        let seen = begin(&cluster, FOUR_HOURS).await.unwrap();
        assert_eq!(seen.pods.len(), 1);
    }
    assert_eq!((fake.count("get", "deployments"), fake.count("patch", "deployments")), (20, 0));
    sleep(hours(1)).await;
    assert_eq!(begin(&cluster, FOUR_HOURS).await.unwrap().pods.len(), 1);
    assert_eq!(fake.count("patch", "deployments"), 1);
    // An earlier version made it, or another project used it last.
    begin(&cluster, IdleAfter::Never).await.unwrap();
    assert_eq!(live(&fake, NAMESPACE)["metadata"]["annotations"][IDLE_AFTER], "never");
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_because_nobody_used_it_is_started_again_and_its_old_pods_are_not_relied_on() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    stop_idle(&cluster, NAMESPACE).await.unwrap();
    let seen = begin(&cluster, FOUR_HOURS).await.unwrap();
    assert!(!is_stopped(&seen) && seen.pods.is_empty());
    assert_eq!(replicas(&fake), 1);
    assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty(), "it is in use");
    // What somebody stops afterwards is another matter.
    scale(&fake, 0);
    let seen = begin(&cluster, FOUR_HOURS).await.unwrap();
    assert!(is_stopped(&seen) && replicas(&fake) == 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_one_that_the_user_may_not_start_again_is_told() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    stop_idle(&cluster, NAMESPACE).await.unwrap();
    fake.fault(
        Fault::refuse("patch", "deployments", Refusal::forbidden("patch", "deployments", NAMESPACE)).always(),
    );
    assert_eq!(begin(&cluster, FOUR_HOURS).await.unwrap_err().code(), Some(403));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_may_only_look_builds_all_the_same_and_stops_nothing() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    fake.fault(
        Fault::refuse("patch", "deployments", Refusal::forbidden("patch", "deployments", NAMESPACE)).always(),
    );
    assert_eq!(begin(&cluster, FOUR_HOURS).await.unwrap().pods.len(), 1);
    assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
    assert_eq!(replicas(&fake), 1);
}

/// As its controller does now and then.
#[tokio::test(start_paused = true)]
async fn a_change_of_its_status_is_no_use_of_it() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    fake.fault(Fault::refuse("patch", "deployments", Refusal::conflict()).times(2));
    assert_eq!(stop_in(&cluster, NAMESPACE).await.unwrap().len(), 1);
}

/// A build begins between the look of whoever sweeps and what they do.
#[tokio::test(start_paused = true)]
async fn a_build_that_begins_at_the_same_moment_wins_against_a_sweep() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    // Its word comes just before the sweeper's.
    fake.fault(Fault::meddle("patch", "deployments", |fake| {
        let now = fake.now().to_string();
        let last_used =
            move |it: &mut Value| it["metadata"]["annotations"]["garden-build/last-used"] = now.into();
        assert!(fake.alter("deployments", NAMESPACE, NAME, last_used));
    }));
    assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
    assert_eq!(replicas(&fake), 1);
}

/// A sweep comes between the look of a build and its word.
#[tokio::test(start_paused = true)]
async fn a_build_notices_a_sweep_that_comes_at_the_same_moment() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    let seen = managed(&cluster).look().await.unwrap();
    assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap().len(), 1);
    let seen = managed(&cluster).used_from_now_on(seen, FOUR_HOURS).await.unwrap();
    assert!(!is_stopped(&seen) && seen.pods.is_empty(), "its pod goes");
    assert_eq!(replicas(&fake), 1);

    // In another round it is somebody, who is not undone.
    sleep(hours(5)).await;
    let seen = managed(&cluster).look().await.unwrap();
    scale(&fake, 0);
    let seen = managed(&cluster).used_from_now_on(seen, FOUR_HOURS).await.unwrap();
    assert!(is_stopped(&seen) && seen.pods.is_empty() && replicas(&fake) == 0);

    // Or it is deleted.
    scale(&fake, 1);
    sleep(hours(5)).await;
    let seen = managed(&cluster).look().await.unwrap();
    assert!(fake.remove("deployments", NAMESPACE, NAME));
    let seen = managed(&cluster).used_from_now_on(seen, FOUR_HOURS).await.unwrap();
    assert!(seen.live.is_none() && seen.pods.is_empty());
}

/// All orders in which a build's look and word, and a sweeper's, can come.
#[tokio::test(start_paused = true)]
async fn in_whatever_order_a_build_and_a_sweep_come_the_build_has_a_daemon() {
    for delays in 0..16_u64 {
        let (fake, cluster) = site("4h");
        sleep(hours(5)).await;
        for (bit, verb, spared) in [(0, "get", 0), (1, "list", 0), (2, "patch", 0), (3, "patch", 1)] {
            let late = Duration::from_millis(100 * ((delays >> bit) & 1));
            fake.fault(Fault::delay(verb, "deployments", late).after(spared));
        }
        let (seen, stopped) = tokio::join!(begin(&cluster, FOUR_HOURS), stop_idle(&cluster, NAMESPACE));
        let (seen, stopped) = (seen.unwrap(), stopped.unwrap());
        assert!(!is_stopped(&seen) && replicas(&fake) == 1, "{delays:b}");
        assert_eq!(
            seen.pods.is_empty(),
            !stopped.is_empty(),
            "{delays:b}: the pods that were seen go with a stop"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn all_namespaces_are_looked_at_if_the_user_may_and_else_this_one() {
    let (fake, cluster) = site("4h");
    deployment(&fake, "elsewhere", "4h");
    sleep(hours(5)).await;
    assert_eq!(stop_in(&cluster, "elsewhere").await.unwrap(), ["Deployment elsewhere/garden-daemon"]);
    deployment(&fake, "elsewhere", "4h");
    sleep(hours(5)).await;
    let may_not = || Fault::refuse("list", "deployments", Refusal::forbidden("list", "deployments", ""));
    fake.fault(may_not());
    assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap(), ["Deployment builds/garden-daemon"]);
    assert_eq!(live(&fake, "elsewhere")["spec"]["replicas"], 1);
    fake.fault(may_not().times(2));
    assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty(), "nothing that one may not look at");
    assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap(), ["Deployment elsewhere/garden-daemon"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stopped_does_not_keep_the_rest() {
    let (fake, cluster) = site("4h");
    deployment(&fake, "elsewhere", "4h");
    sleep(hours(5)).await;
    fake.fault(Fault::refuse("patch", "deployments", Refusal::internal("etcdserver: request timed out")));
    assert_eq!(stop_idle(&cluster, NAMESPACE).await.unwrap_err().code(), Some(500));
    assert_eq!((replicas(&fake), &live(&fake, "elsewhere")["spec"]["replicas"]), (1, &json!(0)));
}

/// Waits for the start of a pod for which no node has room.
async fn unscheduled(fake: &FakeCluster, cluster: &Cluster) -> (Duration, Result<(), ClusterError>) {
    let pod = made(fake, cluster, "builder").await;
    pod.alter(|pod| {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient memory.",
        }]);
    });
    let started = Instant::now();
    let mut pod = BuildPod::watch(cluster, NAMESPACE, "builder", MAIN, &REMEDIES);
    let outcome = pod.started(|_| {}).await;
    (started.elapsed(), outcome)
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_tells_what_of_ours_takes_it() {
    let (fake, cluster) = site("4h");
    deployment(&fake, "elsewhere", "4h");
    let (took, outcome) = unscheduled(&fake, &cluster).await;
    let message = outcome.unwrap_err().to_string();
    assert_eq!(took.as_secs(), 12);
    assert!(message.starts_with(
        "no node can take Pod builds/builder: 0/1 nodes are available: 1 Insufficient memory; "
    ));
    for part in [
        "reserve 4 CPU and 8 GiB of memory",
        "Deployment builds/garden-daemon (2 CPU, 4 GiB)",
        "Deployment elsewhere/garden-daemon (2 CPU, 4 GiB)",
        "`sweep`",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!((replicas(&fake), fake.count("patch", "deployments")), (1, 0), "both are in use");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_tells_as_much_as_its_user_may_see() {
    let (fake, cluster) = site("4h");
    deployment(&fake, "elsewhere", "4h");
    let forbidden = |resource| Fault::refuse("list", resource, Refusal::forbidden("list", resource, ""));
    fake.fault(forbidden("deployments").times(2));
    // The build's own pod is watched, which lists it first.
    fake.fault(forbidden("pods").after(1));
    let message = unscheduled(&fake, &cluster).await.1.unwrap_err().to_string();
    assert!(message.contains("own in Namespace builds reserve 2 CPU and 4 GiB"), "{message}");
    assert!(!message.contains("elsewhere"), "{message}");

    let (fake, cluster) = site("4h");
    fake.fault(forbidden("deployments").always());
    fake.fault(forbidden("pods").after(1).times(2));
    let message = unscheduled(&fake, &cluster).await.1.unwrap_err().to_string();
    assert!(message.ends_with("0/1 nodes are available: 1 Insufficient memory."), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_gets_that_of_what_nobody_uses() {
    let (fake, cluster) = site("4h");
    deployment(&fake, "elsewhere", "4h");
    sleep(hours(5)).await;
    // The scheduler takes longer to notice than a pod without room is borne usually.
    let scheduler = fake.clone();
    tokio::spawn(async move {
        let stopped = || {
            let all = scheduler.objects("deployments");
            all.iter().all(|it| it["spec"]["replicas"] == 0).then_some(())
        };
        scheduler.until(stopped).await;
        sleep(Duration::from_secs(30)).await;
        scheduler.pod(NAMESPACE, "builder").unwrap().run();
    });
    let (took, outcome) = unscheduled(&fake, &cluster).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(took.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn room_that_was_made_and_not_enough_is_told() {
    let (fake, cluster) = site("4h");
    sleep(hours(5)).await;
    let (took, outcome) = unscheduled(&fake, &cluster).await;
    let message = outcome.unwrap_err().to_string();
    assert!(
        message.ends_with("Deployment builds/garden-daemon, which nobody used, stopped just now"),
        "{message}"
    );
    assert_eq!(took.as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_daemon_uses_it() {
    let (fake, cluster) = site("5m");
    let waiting = tokio::spawn({
        let managed = managed(&cluster);
        async move { managed.ready(&garden_build_core::event_channel().0).await }
    });
    for _ in 0..100 {
        sleep(Duration::from_secs(30)).await;
        assert!(stop_idle(&cluster, NAMESPACE).await.unwrap().is_empty());
    }
    waiting.abort();
    assert_eq!(live(&fake, NAMESPACE)["spec"]["replicas"], 1);
    let typed: Result<Deployment, _> = serde_json::from_value(live(&fake, NAMESPACE));
    assert!(typed.is_ok(), "what is written is a Deployment");
}
