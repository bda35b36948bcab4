//! Whatever goes wrong, and whenever: nothing is left, and nothing is made twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use garden_build_core::{Backend as _, ErrorKind, Event, StepKind, WarningCode};
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
use garden_config::ContextDelivery;
use garden_kaniko::spec::CONTAINER;
use tokio::time::{Instant, sleep};

use crate::site::{NAMESPACE, Site, is_cancelled, succeed};

fn site() -> Site {
    Site::stdin(async |pod: FakePod| {
        pod.say(CONTAINER, "building");
        sleep(Duration::from_secs(20)).await;
        succeed(&pod);
    })
}

/// Whether an event says that everything was removed.
fn is_removed(event: &Event) -> bool {
    matches!(event, Event::StepFinished { kind: StepKind::CleanUp, error: None, .. })
}

/// How many requests an undisturbed build makes.
async fn requests() -> usize {
    let site = site();
    site.build().await.outcome.unwrap();
    site.fake.requests().len()
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_cancelled_at_any_of_its_requests_removes_all() {
    let mut cancelled = 0;
    for request in 0..requests().await {
        let site = site();
        let too_late = site.cancel_at(request);
        let seen = site.build().await;
        cancelled += usize::from(is_cancelled(&seen.outcome, &too_late, request));
        if site.pods_made() > 0 {
            assert!(seen.events.iter().any(is_removed), "at {request}: the clean-up is told");
        }
        assert_eq!(site.left(), Vec::<String>::new(), "at {request} of {:?}", words(&site));
        assert!(site.pods_made() <= 1, "at {request}");
    }
    assert!(cancelled > 10, "{cancelled}");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_does_not_wait_for_a_silent_api_server_and_names_what_may_be_left() {
    let mut named = 0;
    for request in 0..requests().await {
        let site = site();
        let (cancel, since) = (site.cancel.clone(), Arc::new(OnceLock::new()));
        let noted = Arc::clone(&since);
        let meddle = move |fake: &FakeCluster| {
            fake.fault(Fault::silent("*", "*").always());
            let _first = noted.set(Instant::now());
            cancel.cancel();
        };
        site.fake.fault(Fault::meddle("*", "*", meddle).after(request));
        let seen = site.build().await;
        let took = since.get().unwrap().elapsed();
        assert!(took <= Duration::from_secs(5), "at {request}: {took:?}");
        let Err(error) = &seen.outcome else { continue };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "at {request}: {error}");
        if site.pods_made() == 0 {
            continue;
        }
        for left in ["Pod builds/kaniko-api-0123456789", "Secret builds/garden-docker-auth-0123456789"] {
            assert!(error.message().contains(left), "at {request}: {error}");
            assert!(seen.warnings().iter().any(|warning| warning.contains(left)), "at {request}");
        }
        named += 1;
    }
    assert!(named > 5, "{named}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_leaves_nothing_and_makes_nothing_twice() {
    let faults: [fn() -> Fault; 5] = [
        || Fault::lose_answer("*", "*"),
        || Fault::cut("*", "*"),
        || Fault::silent("*", "*"),
        || Fault::delay("*", "*", Duration::from_secs(29)),
        || Fault::refuse("*", "*", Refusal::internal("etcdserver: request timed out")),
    ];
    let requests = requests().await;
    for fault in faults {
        for request in 0..requests {
            let site = site();
            site.fake.fault(fault().after(request));
            let seen = site.build().await;
            if let Err(error) = &seen.outcome {
                assert_eq!(error.kind(), ErrorKind::Unreachable, "{:?} at {request}: {error}", fault());
            }
            assert_eq!(site.left(), Vec::<String>::new(), "{:?} at {request} of {:?}", fault(), words(&site));
            assert!(site.pods_made() <= 1, "{:?} at {request}", fault());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_dropped_anywhere_is_swept_by_the_next() {
    for request in 0..requests().await {
        let site = site();
        let reached = Arc::new(tokio::sync::Notify::new());
        let (reach, count) = (Arc::clone(&reached), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let meddle = move |_: &_| {
            if counted.fetch_add(1, Ordering::SeqCst) == request {
                reach.notify_one();
            }
        };
        site.fake.fault(Fault::meddle("*", "*", meddle).always());
        tokio::select! {
            biased;
            () = reached.notified() => {}
            _ = site.build() => {}
        }
        // What was on its way arrives, and the lease ends.
        sleep(Duration::from_secs(61)).await;
        site.backend.sweep().await.unwrap();
        assert_eq!(site.left(), Vec::<String>::new(), "at {request} of {:?}", words(&site));
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_is_not_swept_however_long_it_takes() {
    let site = Site::stdin(async |pod: FakePod| {
        sleep(Duration::from_secs(3000)).await;
        succeed(&pod);
    });
    let sweeping = async {
        loop {
            sleep(Duration::from_secs(7)).await;
            assert_eq!(site.backend.sweep().await.unwrap().removed, Vec::<String>::new());
        }
    };
    tokio::select! {
        seen = site.build() => assert!(seen.outcome.is_ok()),
        () = sweeping => {}
    }
    assert_eq!(site.left(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_build_removes_what_others_left() {
    let dead = site();
    tokio::select! {
        biased;
        () = dead.fake.until(|| (dead.left().len() == 2).then_some(())) => {}
        _ = dead.build() => {}
    }
    sleep(Duration::from_secs(100)).await;
    assert_eq!(dead.left().len(), 2);
    let next = Site::new(dead.fake.clone(), "9876543210", ContextDelivery::Stdin);
    next.build().await.outcome.unwrap();
    assert_eq!((dead.left(), next.left()), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_slept_learns_why_its_pod_is_gone() {
    let awake = Site::stdin(async |pod: FakePod| {
        sleep(Duration::from_secs(30)).await;
        pod.vanish();
    });
    let error = awake.build().await.outcome.unwrap_err();
    assert!(error.message().contains("deleted") && !error.message().contains("lease"), "{error}");

    let asleep = Site::stdin(async |pod: FakePod| {
        // The client's clock stands still, and that of the cluster does not.
        pod.cluster().put_clock_forward(Duration::from_secs(3600));
        let next = Site::new(pod.cluster().clone(), "9876543210", ContextDelivery::Stdin);
        assert_eq!(next.backend.sweep().await.unwrap().removed.len(), 1);
    });
    let error = asleep.build().await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BuilderLost, "{error}");
    assert!(error.message().contains("its lease had ended") && error.is_retryable(), "{error}");
    assert_eq!(asleep.left(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_is_told_once_and_so_is_that_it_is_again() {
    let site = Site::stdin(async |pod: FakePod| {
        // The pod is there: what follows are renewals.
        let forbidden = Refusal::forbidden("patch", "pods", NAMESPACE);
        pod.cluster().fault(Fault::refuse("patch", "pods", forbidden).times(3));
        sleep(Duration::from_secs(300)).await;
        succeed(&pod);
    });
    let seen = site.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    let of_lease =
        |event: &&Event| matches!(event, Event::Warning { code: WarningCode::LeaseNotRenewed, .. });
    let warnings: Vec<_> = seen.events.iter().filter(of_lease).map(ToString::to_string).collect();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    for part in [
        "Pod builds/kaniko-api-0123456789",
        "forbidden",
        "before 20",
        "take this client for dead",
        "patch pods",
    ] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    let again = seen.log().iter().filter(|line| line.contains("is renewed again")).count();
    assert_eq!(again, 1, "{:?}", seen.log());
}

#[tokio::test(start_paused = true)]
async fn a_secret_has_an_owner_from_its_first_moment() {
    let site = site();
    site.build().await.outcome.unwrap();
    let requests = site.fake.requests();
    let written =
        |it: &&garden_build_testing::kubernetes::Request| it.verb() == "patch" && it.resource() == "secrets";
    let secrets: Vec<_> = requests.iter().filter(written).map(|it| it.json().unwrap()).collect();
    assert!(secrets.iter().all(|it| it["metadata"]["ownerReferences"][0]["kind"] == "Pod"), "{secrets:?}");
    assert_eq!((secrets.len(), site.fake.count("list", "secrets")), (1, 0));
}

fn words(site: &Site) -> Vec<String> {
    site.fake.requests().iter().map(garden_build_testing::kubernetes::Request::words).collect()
}
