use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_build_testing::kubernetes::{End, FakeCluster, Fault, Gate, Refusal};
use garden_cluster::{Cluster, ClusterError, PodStream};
use garden_config::{Namespace, ProviderConfig};
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{MAIN, NAMESPACE, REMEDIES, fake, made, pod};

fn unavailable() -> Refusal {
    Refusal::new(503, "ServiceUnavailable", "apiserver is shutting down")
}

#[tokio::test(start_paused = true)]
async fn an_apply_whose_answer_is_lost_is_repeated_and_makes_nothing_twice() {
    let (fake, cluster) = fake();
    fake.fault(Fault::lose_answer("patch", "pods").times(2));
    cluster.apply(&pod("a")).await.unwrap();
    assert_eq!((fake.count("patch", "pods"), fake.names("pods")), (3, vec!["a".to_owned()]));

    fake.fault(Fault::cut("patch", "pods").always());
    let lost = cluster.apply(&pod("b")).await.unwrap_err();
    assert!(matches!(lost, ClusterError::Unreachable { .. }), "{lost:?}");
    assert_eq!((fake.count("patch", "pods"), fake.names("pods")), (6, vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_an_api_server_cannot_answer_for_a_moment_is_asked_again() {
    let (fake, cluster) = fake();
    made(&fake, &cluster, "a").await.run();
    fake.on_exec(async |_| End::Exit(0));
    let refusals = [
        unavailable(),
        Refusal::internal("error dialing backend: connection refused"),
        Refusal::new(502, "BadGateway", "no upstream"),
        Refusal::too_many_requests(Duration::from_secs(1)),
    ];
    for refusal in refusals {
        for (verb, resource) in
            [("get", "secrets"), ("list", "secrets"), ("get", "pods/exec"), ("get", "pods/portforward")]
        {
            fake.forget_requests();
            fake.fault(Fault::refuse(verb, resource, refusal.clone()));
            match resource {
                "pods/exec" => {
                    drop(PodStream::exec(&cluster, NAMESPACE, "a", MAIN, &["true"]).await.unwrap());
                }
                "pods/portforward" => {
                    drop(PodStream::port_forward(&cluster, NAMESPACE, "a", 80).await.unwrap());
                }
                _ if verb == "list" => drop(cluster.list::<Secret>(NAMESPACE, "").await.unwrap()),
                _ => drop(cluster.get::<Secret>(NAMESPACE, "a").await.unwrap()),
            }
            assert_eq!(fake.count(verb, resource), 2, "{verb} {resource} {refusal:?}");
        }
    }
}

#[tokio::test]
async fn what_is_there_is_not_created_again_and_stays_as_it_is() {
    let (fake, cluster) = fake();
    let mine = made(&fake, &cluster, "a").await;
    assert!(cluster.create(&pod("a")).await.unwrap().is_none());
    assert!(mine.object().is_some());
    fake.fault(Fault::refuse("create", "pods", unavailable()));
    assert_eq!(cluster.create(&pod("b")).await.unwrap_err().code(), Some(503));
}

#[tokio::test]
async fn what_is_not_there_is_no_failure_to_read() {
    let (fake, cluster) = fake();
    assert!(cluster.get::<Secret>(NAMESPACE, "a").await.unwrap().is_none());
    fake.fault(Fault::refuse("get", "secrets", Refusal::forbidden("get", "secrets", NAMESPACE)));
    let error = garden_build_core::Error::from(cluster.get::<Secret>(NAMESPACE, "a").await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("read Secret builds/a"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_tried_three_times_unless_it_is_refused() {
    let (fake, cluster) = fake();
    cluster.delete::<Pod>(NAMESPACE, "gone").await.unwrap();
    assert_eq!(fake.count("delete", "pods"), 1);

    for (faults, tries, is_gone) in [
        (vec![Fault::refuse("delete", "pods", unavailable()).times(2)], 3, true),
        (vec![Fault::refuse("delete", "pods", unavailable()).always()], 3, false),
        (
            vec![Fault::refuse("delete", "pods", Refusal::forbidden("delete", "pods", NAMESPACE)).times(1)],
            1,
            false,
        ),
        // The first took effect, so the second finds nothing.
        (vec![Fault::lose_answer("delete", "pods")], 2, true),
        (vec![Fault::cut("delete", "pods")], 2, true),
    ] {
        let (fake, cluster) = crate::fake();
        made(&fake, &cluster, "a").await.run();
        let shown = format!("{faults:?}");
        for fault in faults {
            fake.fault(fault);
        }
        let deleted = cluster.delete::<Pod>(NAMESPACE, "a").await;
        assert_eq!((deleted.is_ok(), fake.names("pods").is_empty()), (is_gone, is_gone), "{shown}");
        assert_eq!(fake.count("delete", "pods"), tries, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (fake, cluster) = fake();
    fake.fault(Fault::silent("get", "pods"));
    let started = Instant::now();
    let error = cluster.get::<Pod>(NAMESPACE, "a").await.unwrap_err();
    assert!(matches!(error, ClusterError::NoAnswer { .. }), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(garden_build_core::Error::from(error).is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_told_of_within_15_seconds_and_when_it_is_back() {
    let (fake, cluster) = fake();
    let (events, mut told) = garden_build_core::event_channel();
    tokio::spawn(async move { cluster.report_silence(&events).await });
    // A server that refuses is there.
    fake.fault(Fault::refuse("*", "*", Refusal::internal("busy")).times(9));
    let quiet = timeout(Duration::from_secs(60), told.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let since = Instant::now();
    fake.fault(Fault::silent("*", "*").times(2));
    let event = told.next().await.unwrap().to_string();
    assert!(event.contains("API server has not answered for 8 s"), "{event}");
    assert!(since.elapsed() <= Duration::from_secs(15), "{:?}", since.elapsed());
    // Said once.
    let event = told.next().await.unwrap().to_string();
    assert!(event.contains("answers again"), "{event}");
}

#[tokio::test]
async fn a_server_that_asks_to_come_again_later_is_asked_again() {
    let fake = FakeCluster::new();
    let url = fake.listen().await.unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, FakeCluster::kubeconfig(&url)).unwrap();
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.kubeconfig = Some(path);
    let cluster = Cluster::of(&provider);
    fake.fault(Fault::refuse("get", "secrets", Refusal::too_many_requests(Duration::ZERO)).times(2));
    assert!(cluster.get::<Secret>("default", "a").await.unwrap().is_none());
    assert_eq!(fake.count("get", "secrets"), 3);
    provider.context = Some("another".to_owned());
    let cluster = Cluster::of(&provider);
    let error = cluster.get::<Secret>("default", "a").await.unwrap_err();
    assert!(matches!(error, ClusterError::Kubeconfig { .. }), "{error:?}");
    assert!(error.to_string().contains("no context called `another`; there are: `"), "{error}");
}

#[tokio::test]
async fn an_api_server_that_is_not_there_is_named_with_the_reason() {
    // A port that was free a moment ago: nobody listens.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, FakeCluster::kubeconfig(&format!("http://user:s3cret@{address}/path"))).unwrap();
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.kubeconfig = Some(path);
    let cluster = Cluster::of(&provider);
    let error = garden_build_core::Error::from(cluster.get::<Secret>("default", "a").await.unwrap_err());
    let expected = format!(
        "the cluster's API server at http://{address} could not be reached to read Secret default/a: "
    );
    assert!(error.message().starts_with(&expected), "{error}");
    assert!(error.message().contains("Connection refused"), "{error}");
    let shown = format!("{error:?}");
    assert!(!shown.contains("s3cret") && shown.matches("Connection refused").count() == 1, "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_made_only_where_there_is_none() {
    let may_not = |verb| Fault::refuse(verb, "namespaces", Refusal::forbidden(verb, "namespaces", "new"));
    let taken = || Fault::meddle("create", "namespaces", |fake| fake.namespace("new"));
    for (name, faults, writes, code) in [
        (NAMESPACE, vec![], 0, None),
        ("new", vec![], 1, None),
        // One who may not look was given one.
        ("new", vec![may_not("get")], 0, None),
        ("new", vec![may_not("create")], 1, Some(403)),
        // Somebody else was quicker.
        ("new", vec![taken()], 1, None),
        ("new", vec![Fault::refuse("get", "namespaces", unavailable()).always()], 0, Some(503)),
    ] {
        let (fake, cluster) = fake();
        let shown = format!("{name} {faults:?}");
        for fault in faults {
            fake.fault(fault);
        }
        let mut wanted = Namespace::new(name);
        wanted.labels.insert("team".to_owned(), "web".to_owned());
        let made = cluster.ensure_namespace(&wanted).await;
        assert_eq!(made.err().and_then(|error| error.code()), code, "{shown}");
        assert_eq!(fake.writes().len(), writes, "{shown}");
    }
    let (fake, cluster) = fake();
    let mut wanted = Namespace::new("new");
    wanted.labels.insert("team".to_owned(), "web".to_owned());
    cluster.ensure_namespace(&wanted).await.unwrap();
    assert_eq!(fake.object("namespaces", "", "new").unwrap()["metadata"]["labels"], json!({ "team": "web" }));
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_service_account_of_a_new_namespace_and_for_nothing_else() {
    let message = "pods \"a\" is forbidden: error looking up service account builds/default: serviceaccount \"default\" not found";
    let too_early = || Refusal::new(403, "Forbidden", message);
    let (fake, cluster) = fake();
    fake.fault(Fault::refuse("patch", "pods", too_early()).times(3));
    cluster.apply_pod(&pod("a"), &REMEDIES).await.unwrap();
    assert_eq!((fake.names("pods").len(), fake.count("patch", "pods")), (1, 4));

    fake.fault(Fault::refuse("patch", "pods", too_early()).always());
    let started = Instant::now();
    assert_eq!(cluster.apply_pod(&pod("b"), &REMEDIES).await.unwrap_err().code(), Some(403));
    assert_eq!(started.elapsed().as_secs(), 15);

    fake.fault(Fault::refuse("patch", "pods", Refusal::forbidden("patch", "pods", NAMESPACE)));
    let started = Instant::now();
    assert_eq!(cluster.apply_pod(&pod("c"), &REMEDIES).await.unwrap_err().code(), Some(403));
    assert!(started.elapsed().is_zero());
}

#[tokio::test]
async fn the_time_is_the_servers() {
    let (fake, cluster) = fake();
    fake.put_clock_forward(Duration::from_secs(5 * 3600));
    let before = fake.now().as_second();
    let told = cluster.server_time().await.unwrap().as_second();
    assert!((before..=fake.now().as_second()).contains(&told), "{before} {told}");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_stops_no_other() {
    let (fake, cluster) = fake();
    let gate = Gate::new();
    fake.fault(Fault::hold("patch", "pods", &gate));
    let applying = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.apply(&pod("late")).await }
    });
    gate.arrived().await;
    applying.abort();
    cluster.apply(&pod("next")).await.unwrap();
    gate.open();
    // What the server had begun it carries out: so creating is never interrupted by those who clean up.
    fake.until(|| (fake.names("pods") == ["late", "next"]).then_some(())).await;
}
