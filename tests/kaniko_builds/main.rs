//! The whole story of builds with kaniko, with a cluster and a registry in this process: look the image up, create the
//! pod, bring it the context, read its log and its digest, and see that the registry has the image.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::{Arc, Mutex};

use garden_build::config::{
    BuildMode, ContextDelivery, DeploymentRegistry, KanikoOptions, ProviderConfig, SecretRef,
};
use garden_build::{BuildRequest, Builder, BuiltImage, ErrorKind, Event, Outcome, Result, StepKind};
use garden_build_testing::kubernetes::{End, FakeCluster, FakePod, Fault, Gate};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

#[path = "../../examples/otel/collector.rs"]
mod collector;
#[path = "../../examples/otel/export.rs"]
mod export;
mod passing_troubles;
mod registry;
mod secrets;
mod traces;

use registry::{Registry, digest};

const EXECUTOR: &str = "kaniko";

struct Site {
    fake: FakeCluster,
    registry: Registry,
    /// The registry's `host:port`.
    host: String,
    provider: ProviderConfig,
    builder: Builder,
    directory: TempDir,
}

impl Site {
    /// An executor that reads its context, and then does what `script` says.
    async fn new<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(FakePod, Registry) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with_secrets(&[], script).await
    }

    /// The same, for a registry whose logins are in `secrets`.
    async fn with_secrets<F: Future<Output = ()> + Send + 'static>(
        secrets: &[&str],
        script: impl Fn(FakePod, Registry) -> F + Send + Sync + 'static,
    ) -> Self {
        let (fake, registry) = (FakeCluster::new(), Registry::start().await);
        fake.on_pod(async |pod| pod.run());
        let (script, pushed_to) = (Arc::new(script), registry.clone());
        fake.on_attach(move |mut process| {
            let (script, registry) = (Arc::clone(&script), pushed_to.clone());
            async move {
                let mut context = Vec::new();
                process.stdin.read_to_end(&mut context).await.unwrap();
                // gzip's magic number.
                assert_eq!(context[..2], [0x1f, 0x8b]);
                script(process.pod.clone(), registry).await;
                End::Exit(0)
            }
        });
        let mut provider = ProviderConfig::kubernetes("demo");
        let mut kaniko = KanikoOptions::default();
        kaniko.context_delivery = ContextDelivery::Stdin;
        provider.build_mode = BuildMode::Kaniko(kaniko);
        let host = registry.host();
        let mut deployment = DeploymentRegistry::new(&host).unwrap();
        deployment.insecure = true;
        provider.image_pull_secrets = secrets.iter().copied().map(SecretRef::new).collect();
        provider.deployment_registry = Some(deployment);
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
        let builder = Builder::options(provider.clone()).client(fake.client()).connect().unwrap();
        Self { fake, registry, host, provider, builder, directory }
    }

    fn dockerfile(&self, text: &str) {
        std::fs::write(self.directory.path().join("Dockerfile"), text).unwrap();
    }

    async fn build(&self) -> (Result<BuiltImage>, Vec<Event>) {
        let mut build = self.builder.build(self.request());
        let mut events = Vec::new();
        while let Some(event) = build.next_event().await {
            events.push(event);
        }
        (build.await, events)
    }

    fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }

    /// The pods that are there, and how many there have been.
    fn pods(&self) -> (usize, usize) {
        (self.fake.names("pods").len(), self.fake.created("pods").len())
    }
}

fn succeed(pod: &FakePod, registry: &Registry) {
    registry.push();
    pod.exit(EXECUTOR, 0, &digest());
}

fn warnings(events: &[Event]) -> Vec<&str> {
    let messages = events.iter().filter_map(|event| match event {
        Event::Warning { message, .. } => Some(message.as_str()),
        _ => None,
    });
    messages.collect()
}

#[tokio::test]
async fn what_the_executor_passes_over_is_refused_before_a_pod_starts_and_what_may_matter_is_a_warning() {
    let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
    site.dockerfile("FROM scratch\nCOPY --parents a/b /\n");
    let (refused, _) = site.build().await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("Dockerfile, line 2: kaniko does not know `COPY --parents`"), "{error}");
    // The image might have been there already.
    assert_eq!((site.pods(), site.registry.questions()), ((0, 0), 1));
    assert_eq!(site.fake.writes(), [""; 0]);

    site.dockerfile("FROM scratch\nRUN --network=none true\n");
    let (built, events) = site.build().await;
    assert!(matches!(built.unwrap().outcome, Outcome::Built { .. }));
    let said = warnings(&events);
    assert!(said.len() == 1 && said[0].contains("line 2: kaniko does not know `RUN --network`"), "{said:?}");
    // Nothing is built now, so there is nothing to be warned of.
    let (found, events) = site.build().await;
    assert_eq!(found.unwrap().outcome, Outcome::AlreadyExists);
    assert_eq!(warnings(&events), [""; 0]);
}

#[tokio::test]
async fn an_image_is_looked_up_built_and_confirmed_and_then_it_exists() {
    let site = Site::new(async |pod, registry| {
        pod.say(EXECUTOR, "INFO[0001] Pushing image");
        succeed(&pod, &registry);
    })
    .await;
    let (built, events) = site.build().await;
    let built = built.unwrap();
    assert!(matches!(built.outcome, Outcome::Built { .. }), "{built:?}");
    assert_eq!(built.digest.to_string(), digest());
    assert!(
        events.iter().any(|event| matches!(event, Event::Log { line, .. } if line.contains("Pushing image")))
    );
    assert_eq!(warnings(&events), [""; 0]);
    let why = "the whole directory counts: Dockerfile: all of it is read";
    assert!(events.iter().any(|event| matches!(event, Event::Log { line, .. } if line == why)), "{events:?}");
    assert_eq!(
        (site.pods(), site.registry.questions()),
        ((0, 1), 3),
        "one before, one when its pod is there, one after"
    );
    let named = |event: &Event| matches!(event, Event::ImageNamed { image, .. } if *image == built.reference);
    assert_eq!(events.iter().filter(|event| named(event)).count(), 1, "{events:?}");
    let created = site.fake.created("pods");
    let begun =
        |event: &Event| matches!(event, Event::BuildStarted { id, .. } if created[0].ends_with(id.as_str()));
    assert_eq!(events.iter().filter(|event| begun(event)).count(), 1, "{created:?} {events:?}");
    let kinds = events.iter().filter_map(|event| match event {
        Event::StepFinished { kind, error: None, .. } => Some(kind.clone()),
        _ => None,
    });
    let expected = [
        StepKind::Scan,
        StepKind::LookUp,
        StepKind::Prepare,
        StepKind::Wait,
        StepKind::Upload,
        StepKind::CleanUp,
        StepKind::Confirm,
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);

    site.fake.forget_requests();
    let (again, events) = site.build().await;
    assert_eq!(again.unwrap().outcome, Outcome::AlreadyExists);
    assert!(events.iter().any(named), "the name is told all the same");
    assert!(!events.iter().any(|event| matches!(event, Event::BuildStarted { .. })), "{events:?}");
    assert_eq!(site.fake.requests().len(), 0, "the cluster has nothing to do with it");
}

#[tokio::test]
async fn a_builder_that_is_lost_again_and_again_is_begun_three_times_and_leaves_nothing() {
    let site = Site::new(async |pod, _| pod.vanish()).await;
    let (built, events) = site.build().await;
    assert_eq!(built.unwrap_err().kind(), ErrorKind::BuilderLost);
    assert_eq!(site.pods(), (0, 3));
    let tries = events
        .iter()
        .filter(|it| matches!(it, Event::Warning { message, .. } if message.contains("building again")));
    assert_eq!(tries.count(), 2);

    let left = Arc::new(Mutex::new(2));
    let site = Site::new(move |pod, registry| {
        let left = Arc::clone(&left);
        async move {
            let is_lost = {
                let mut left = left.lock().unwrap();
                *left -= 1;
                *left >= 0
            };
            if is_lost { pod.evict("low on disk") } else { succeed(&pod, &registry) }
        }
    })
    .await;
    assert!(site.build().await.0.is_ok());
    assert_eq!(site.pods(), (0, 3));
}

#[tokio::test]
async fn a_builder_that_is_lost_after_its_push_is_not_begun_again() {
    let site = Site::new(async |pod, registry: Registry| {
        registry.push();
        pod.vanish();
    })
    .await;
    assert_eq!(site.build().await.0.unwrap().outcome, Outcome::AlreadyExists);
    assert_eq!(site.pods(), (0, 1));
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_have_was_not_pushed() {
    let site = Site::new(async |pod, _| pod.exit(EXECUTOR, 0, &digest())).await;
    assert_eq!(site.build().await.0.unwrap_err().kind(), ErrorKind::PushFailed);
    assert_eq!(site.pods(), (0, 1));
}

#[tokio::test]
async fn an_image_that_another_client_builds_already_is_waited_for() {
    let may_push = Arc::new(tokio::sync::Semaphore::new(0));
    let wait = Arc::clone(&may_push);
    let site = Site::new(move |pod, registry| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            succeed(&pod, &registry);
        }
    })
    .await;
    let first = site.builder.build(site.request());
    site.fake.until(|| (site.fake.count("get", "pods/attach") == 1).then_some(())).await;
    let another = Builder::options(site.provider.clone()).client(site.fake.client()).connect().unwrap();
    let mut second = another.build(site.request());
    while let Some(event) = second.next_event().await {
        if matches!(event, Event::StepStarted { kind: StepKind::Join, .. }) {
            break;
        }
    }
    may_push.add_permits(2);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(matches!(first.outcome, Outcome::Built { .. }), "{first:?}");
    assert_eq!((second.outcome, second.confirmed_by_registry), (Outcome::AlreadyExists, true));
    assert_eq!((first.digest, site.fake.count("get", "pods/attach")), (second.digest, 1));
}

/// Nodes may be let through by their addresses.
#[tokio::test]
async fn a_page_in_place_of_the_registry_leaves_the_answer_to_the_builder() {
    let site = Site::new(async |pod, _| pod.exit(EXECUTOR, 0, &digest())).await;
    site.registry.block();
    let (built, events) = site.build().await;
    assert!(matches!(built.unwrap().outcome, Outcome::Built { .. }));
    let said = warnings(&events);
    for expected in ["could not be found out from here", "is the builder's word only"] {
        assert!(said.iter().any(|it| it.contains(expected)), "{expected}: {said:?}");
    }
}

#[tokio::test]
async fn a_cancelled_build_removes_all_even_what_is_being_created() {
    // While it builds.
    let site = Site::new(async |_, _| std::future::pending().await).await;
    let build = site.builder.build(site.request());
    site.fake.until(|| (site.fake.count("get", "pods/attach") == 1).then_some(())).await;
    assert_eq!(build.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(site.pods(), (0, 1));

    // While its pod is created: the server carries that out whatever the client does.
    for is_dropped in [false, true] {
        let site = Site::new(async |pod, registry| succeed(&pod, &registry)).await;
        let gate = Gate::new();
        site.fake.fault(Fault::hold("patch", "pods", &gate));
        let build = site.builder.build(site.request());
        gate.arrived().await;
        if is_dropped {
            drop(build);
            gate.open();
        } else {
            let cancelling = tokio::spawn(build.cancel());
            tokio::task::yield_now().await;
            gate.open();
            assert_eq!(cancelling.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        }
        site.fake.until(|| (site.pods() == (0, 1)).then_some(())).await;
        site.fake.until(|| site.fake.names("secrets").is_empty().then_some(())).await;
    }
}
