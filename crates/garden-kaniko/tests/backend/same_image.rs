//! Two clients, which know nothing of each other, build the same image at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use garden_build_core::{BoxFuture, Digest, ErrorKind, Event, StepKind, WarningCode, Witness};
use garden_build_testing::kubernetes::{End, FakeCluster, FakePod, Fault, Refusal};
use garden_config::ContextDelivery;
use garden_kaniko::spec::CONTAINER;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep};

use crate::site::{NAMESPACE, Seen, Site, TIME_LIMIT};

/// How long each executor takes.
const BUILD: Duration = Duration::from_secs(100);

/// A registry with the one tag that all push to. Each executor pushes another image.
#[derive(Debug, Default)]
struct Registry {
    has: Mutex<Option<Digest>>,
    pushes: AtomicUsize,
}

impl Registry {
    fn push(&self) -> Digest {
        let number = self.pushes.fetch_add(1, Ordering::SeqCst);
        let image = Digest::of(&number.to_be_bytes());
        *self.has.lock().unwrap() = Some(image);
        image
    }

    fn pushes(&self) -> usize {
        self.pushes.load(Ordering::SeqCst)
    }
}

impl Witness for Registry {
    fn sees(&self, pushed: Digest) -> BoxFuture<'_, bool> {
        Box::pin(async move { *self.has.lock().unwrap() == Some(pushed) })
    }

    fn finds(&self) -> BoxFuture<'_, Option<Digest>> {
        Box::pin(async { *self.has.lock().unwrap() })
    }
}

/// A cluster and a registry that several clients use.
struct Shared {
    fake: FakeCluster,
    registry: Arc<Registry>,
}

impl Shared {
    /// The first so many executors fail.
    fn failing(failures: usize) -> Self {
        let (fake, registry) = (FakeCluster::new(), Arc::<Registry>::default());
        fake.on_pod(async |pod| pod.run());
        let (shared, begun) = (Arc::clone(&registry), Arc::new(AtomicUsize::new(0)));
        fake.on_attach(move |mut process| {
            let (registry, begun) = (Arc::clone(&shared), Arc::clone(&begun));
            async move {
                let mut context = Vec::new();
                if process.stdin.read_to_end(&mut context).await.is_err() {
                    return End::Cut;
                }
                let number = begun.fetch_add(1, Ordering::SeqCst);
                sleep(BUILD).await;
                let pod: FakePod = process.pod.clone();
                if pod.object().is_none() {
                    return End::Cut;
                }
                if number < failures {
                    pod.exit(CONTAINER, 1, "");
                } else {
                    pod.exit(CONTAINER, 0, &registry.push().to_string());
                }
                End::Exit(0)
            }
        });
        Self { fake, registry }
    }

    fn new() -> Self {
        Self::failing(0)
    }

    /// A client whose build has this identifier.
    fn client(&self, id: &str) -> Site {
        let mut site = Site::new(self.fake.clone(), id, ContextDelivery::Stdin);
        site.witness = Some(Arc::clone(&self.registry) as _);
        site
    }

    /// A pod that says it builds the same, runs for ever, and has a lease of this length.
    fn strange_pod(&self, lease: Duration) {
        let (label, value) = garden_cluster::destination_label(&self.client("").job.push_to);
        let ends = self.fake.now().checked_add(lease).unwrap();
        self.fake.namespace(NAMESPACE);
        self.fake.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "strange", "namespace": NAMESPACE,
                "labels": { "app.kubernetes.io/managed-by": "garden-build", "garden-build/build": "1", label: value },
                "annotations": { "garden-build/lease-expires": ends.to_string() },
            },
            "spec": { "activeDeadlineSeconds": i32::MAX, "containers": [{ "name": CONTAINER }] },
            "status": {
                "phase": "Running",
                "containerStatuses": [{
                    "name": CONTAINER, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": { "running": {} },
                }],
            },
        }));
    }
}

fn image(seen: &Seen) -> Digest {
    seen.outcome.as_ref().unwrap().digest
}

/// Whether a build has waited for another one.
fn has_joined(seen: &Seen) -> bool {
    seen.events.iter().any(|event| matches!(event, Event::StepFinished { kind: StepKind::Join, .. }))
}

/// The pods that a build was told of because they push to its tag as well.
fn told(seen: &Seen) -> Vec<&str> {
    let message = |event| match event {
        &Event::Warning { code: WarningCode::AnotherBuildRuns, ref message, .. } => Some(message.as_str()),
        _ => None,
    };
    seen.events.iter().filter_map(message).collect()
}

#[tokio::test(start_paused = true)]
async fn whenever_the_second_begins_both_get_the_image_that_was_pushed_once() {
    let alone = Shared::new();
    alone.client("1").build().await.outcome.unwrap();
    let is_exact = |it: &&garden_build_testing::kubernetes::Request| {
        it.parameter("resourceVersionMatch") == Some("Exact")
    };
    let requests = alone.fake.requests();
    assert_eq!(requests.iter().filter(is_exact).count(), 1, "one request more for each build");

    let mut joined = 0;
    for request in 0..requests.len() {
        let shared = Shared::new();
        let (first, second) = (shared.client("2"), shared.client("1"));
        let begins = Arc::new(tokio::sync::Notify::new());
        let begin = Arc::clone(&begins);
        shared.fake.fault(Fault::meddle("*", "*", move |_| begin.notify_one()).after(request));
        let (one, other) = tokio::join!(first.build(), async {
            begins.notified().await;
            second.build().await
        });
        assert_eq!((image(&one), shared.registry.pushes()), (image(&other), 1), "at {request}");
        let of_others = [&one, &other].map(|seen| seen.outcome.as_ref().unwrap().is_of_another_build);
        assert_eq!(of_others.iter().filter(|it| **it).count(), 1, "at {request}");
        assert_eq!((told(&one), told(&other)), (Vec::new(), Vec::new()), "at {request}");
        assert_eq!((first.left(), second.left()), (Vec::new(), Vec::new()), "at {request}");
        joined += usize::from(has_joined(&one)) + usize::from(has_joined(&other));
    }
    assert!(joined > 5, "{joined}");
}

#[tokio::test(start_paused = true)]
async fn of_many_that_begin_at_once_one_builds() {
    let shared = Shared::new();
    let clients: Vec<Site> = (0..6).map(|number| shared.client(&format!("{number}"))).collect();
    let seen = futures::future::join_all(clients.iter().map(Site::build)).await;
    let images: std::collections::BTreeSet<_> = seen.iter().map(image).collect();
    assert_eq!((images.len(), shared.registry.pushes()), (1, 1));
    assert_eq!(shared.fake.names("pods"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn if_the_first_fails_the_second_builds() {
    let shared = Shared::failing(1);
    let (first, second) = (shared.client("1"), shared.client("2"));
    let (one, other) = tokio::join!(first.build(), second.build());
    let outcomes = [&one, &other].map(|seen| seen.outcome.is_ok());
    assert_eq!((outcomes.iter().filter(|it| **it).count(), shared.registry.pushes()), (1, 1));
    assert!(has_joined(&one) || has_joined(&other));
    assert_eq!(shared.fake.names("pods"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_forced_build_does_not_wait_and_is_told() {
    let shared = Shared::new();
    let (first, second) = (shared.client("1"), shared.client("2"));
    let second = second.building("FROM scratch\n", |request| request.force(true));
    let (one, other) = tokio::join!(first.build(), async {
        sleep(BUILD / 2).await;
        second.build().await
    });
    assert_ne!(image(&one), image(&other));
    assert_eq!((told(&one).len(), shared.registry.pushes()), (0, 2));
    let told = told(&other);
    assert!(told.len() == 1 && told[0].contains("Pod builds/kaniko-api-1 "), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_cannot_ask_the_registry_does_not_wait_and_is_told() {
    let shared = Shared::new();
    let (first, mut second) = (shared.client("1"), shared.client("2"));
    second.witness = None;
    let (_, other) = tokio::join!(first.build(), async {
        sleep(BUILD / 2).await;
        second.build().await
    });
    assert_eq!((told(&other).len(), has_joined(&other), shared.registry.pushes()), (1, false, 2));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_ends_is_waited_for_half_of_the_time_limit() {
    let shared = Shared::new();
    shared.strange_pod(Duration::from_secs(3599));
    let started = Instant::now();
    let seen = shared.client("1").build().await;
    assert_eq!((image(&seen), shared.registry.pushes()), (Digest::of(&0_usize.to_be_bytes()), 1));
    let waited = started.elapsed().saturating_sub(BUILD);
    assert!((TIME_LIMIT / 10..TIME_LIMIT * 6 / 10).contains(&waited), "{waited:?}");
    let told = told(&seen);
    assert!(told.len() == 1 && told[0].contains("Pod builds/strange"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_client_is_dead_is_swept_and_not_waited_for_any_longer() {
    let shared = Shared::new();
    shared.strange_pod(Duration::from_secs(50));
    let started = Instant::now();
    let seen = shared.client("1").build().await;
    assert_eq!((image(&seen), told(&seen)), (Digest::of(&0_usize.to_be_bytes()), Vec::new()));
    assert!(has_joined(&seen));
    assert!(started.elapsed() < BUILD + Duration::from_secs(120), "{:?}", started.elapsed());
    assert_eq!(shared.fake.names("pods"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_list_pods_builds() {
    let shared = Shared::new();
    shared.strange_pod(Duration::from_secs(3599));
    shared.fake.fault(Fault::refuse("list", "pods", Refusal::forbidden("list", "pods", NAMESPACE)));
    let seen = shared.client("1").build().await;
    assert!(seen.outcome.is_ok() && !has_joined(&seen), "{:?}", seen.outcome);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_waits_can_be_cancelled() {
    let shared = Shared::new();
    shared.strange_pod(Duration::from_secs(3599));
    let client = shared.client("1");
    let cancelling = async {
        sleep(Duration::from_secs(60)).await;
        client.cancel.cancel();
        Instant::now()
    };
    let (seen, since) = tokio::join!(client.build(), cancelling);
    assert_eq!(seen.outcome.as_ref().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(since.elapsed() <= Duration::from_secs(5) && has_joined(&seen), "{:?}", since.elapsed());
    assert_eq!(client.left(), Vec::<String>::new());
}
