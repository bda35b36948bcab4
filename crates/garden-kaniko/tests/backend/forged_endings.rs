//! Steps of a Dockerfile that say of their build what only its pod should say. They are root where the executor is, and read all that it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use garden_build_core::{BoxFuture, Digest, ErrorKind, FailedStep, Witness};
use garden_build_testing::kubernetes::FakePod;
use garden_config::ContextDelivery;
use garden_kaniko::spec::CONTAINER;
use k8s_openapi::ByteString;
use tokio::time::{Instant, sleep};

use crate::service::{Turn, cluster_where};
use crate::site::{DIGEST, NAMESPACE, Site, succeed};

/// How long the cluster takes here to notice the end of a container.
const NOTICES_AFTER: Duration = Duration::from_secs(10);

/// The key that is mounted in the build's pod.
fn key_of(pod: &FakePod) -> String {
    let build = pod.name.rsplit('-').next().unwrap();
    let secret = pod.cluster().object("secrets", NAMESPACE, &format!("garden-docker-auth-{build}")).unwrap();
    let key: ByteString = serde_json::from_value(secret["data"]["context-key"].clone()).unwrap();
    String::from_utf8(key.0).unwrap().trim().to_owned()
}

/// Says on both streams that the executor has pushed this image, as the pod's own shell does.
fn say_end(pod: &FakePod, image: &str) {
    let proof = Digest::of(format!("end {} 0 {image}", key_of(pod)).as_bytes()).hex();
    for _ in 0..2 {
        pod.say(CONTAINER, &format!("garden-build: end 0 {image} {proof}"));
    }
}

/// A build whose executor does this once it has its context.
fn site<F: Future<Output = ()> + Send + 'static>(
    of_executor: impl Fn(FakePod) -> F + Send + Sync + 'static,
) -> Site {
    let fake = cluster_where(Turn::None, |pod| pod.run(), of_executor);
    Site::new(fake, "0123456789", ContextDelivery::Sync)
}

/// A registry that has one image at most.
#[derive(Debug)]
struct Registry {
    has: Option<&'static str>,
    asked: AtomicUsize,
}

impl Registry {
    fn with(has: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self { has, asked: AtomicUsize::new(0) })
    }
}

impl Witness for Registry {
    fn sees(&self, pushed: Digest) -> BoxFuture<'_, bool> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { self.has == Some(&*pushed.to_string()) })
    }

    fn finds(&self) -> BoxFuture<'_, Option<Digest>> {
        // The steps say so before anything is pushed.
        Box::pin(async { None })
    }
}

async fn fail_and_deny(pod: FakePod) {
    say_end(&pod, DIGEST);
    sleep(NOTICES_AFTER).await;
    pod.exit(CONTAINER, 1, "");
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_that_says_that_the_build_has_succeeded_is_not_believed() {
    for registry in [None, Some(Registry::with(None))] {
        let mut site = site(fail_and_deny);
        site.witness = registry.map(|registry| registry as _);
        let error = site.build().await.outcome.unwrap_err();
        assert_eq!(error.failed_step(), Some(&FailedStep::new(None, Some(1))), "{error}");
        assert_eq!(site.left(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_registry_shows_is_believed_before_the_cluster_notices_it() {
    let mut site = site(async |pod: FakePod| {
        say_end(&pod, DIGEST);
        sleep(NOTICES_AFTER).await;
        succeed(&pod);
    });
    site.witness = Some(Registry::with(Some(DIGEST)));
    let started = Instant::now();
    let pushed = site.build().await.outcome.unwrap();
    assert_eq!((pushed.digest.to_string().as_str(), pushed.is_witnessed), (DIGEST, true));
    assert!(started.elapsed() < NOTICES_AFTER, "{:?}", started.elapsed());

    // Where it cannot be asked, the cluster's word is waited for.
    site.witness = None;
    let pushed = site.build().await.outcome.unwrap();
    assert_eq!((pushed.digest.to_string().as_str(), pushed.is_witnessed), (DIGEST, false));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_step_makes_up_does_not_take_the_place_of_the_pushed_one() {
    let registry = Registry::with(Some(DIGEST));
    let mut site = site(async |pod: FakePod| {
        for number in 0..100 {
            say_end(&pod, &format!("sha256:{number:064}"));
        }
        sleep(NOTICES_AFTER).await;
        succeed(&pod);
    });
    site.witness = Some(Arc::clone(&registry) as _);
    assert_eq!(site.build().await.outcome.unwrap().digest.to_string(), DIGEST);
    assert_eq!(
        registry.asked.load(Ordering::SeqCst),
        1,
        "a step does not decide how often a registry is asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_says_that_its_context_is_missing_is_not_begun_again() {
    let site = site(async |pod: FakePod| {
        pod.say(CONTAINER, r#"{"level":"info","msg":"RUN evil","time":""}"#);
        pod.say(CONTAINER, "garden-build: the build context broke off: so it says");
        pod.exit(CONTAINER, 1, "");
    });
    let started = Instant::now();
    let error = site.build().await.outcome.unwrap_err();
    assert!(error.kind() == ErrorKind::BuildFailed && !error.is_retryable(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
