//! A cluster whose pods build nothing, and say that they have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use garden_build_core::context::Context;
use garden_build_core::{
    Backend as _, BuildControl, BuildJob, BuildRequest, Caches, CancellationToken, ErrorKind, Event, Pushed,
    Result, Witness, event_channel,
};
use garden_build_testing::kubernetes::{End, FakeCluster, FakePod, Fault};
use garden_cluster::{BuilderProxies, Cluster, PushTarget, RegistryCredentials};
use garden_config::{
    ContextDelivery, DeploymentRegistry, IdleAfter, KanikoOptions, Namespace, Resources, SecretRef,
};
use garden_kaniko::KanikoBackend;
use garden_kaniko::spec::{CONTAINER, Settings};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

pub(crate) const NAMESPACE: &str = "builds";
pub(crate) const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// Where a test builds.
pub(crate) struct Site {
    pub(crate) fake: FakeCluster,
    pub(crate) backend: KanikoBackend,
    pub(crate) cancel: CancellationToken,
    pub(crate) job: BuildJob,
    /// What the executor has read of its stdin.
    pub(crate) stdin: Arc<Mutex<Vec<u8>>>,
    /// Who is asked whether the image has arrived.
    pub(crate) witness: Option<Arc<dyn Witness>>,
    /// Where it keeps what it learns.
    pub(crate) caches: Caches,
    directory: TempDir,
}

/// What a build came to.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) outcome: Result<Pushed>,
    pub(crate) events: Vec<Event>,
}

impl Seen {
    /// The lines of the builder and of its steps.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::Log { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.events.iter().filter_map(line).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let message = |event: &Event| match event {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.events.iter().filter_map(message).collect()
    }
}

pub(crate) fn settings(delivery: ContextDelivery) -> Settings {
    let mut options = KanikoOptions::default();
    options.context_delivery = delivery;
    let registry = DeploymentRegistry::new("registry.example:5000").unwrap();
    let mut target = PushTarget::with_two_names(registry.clone(), registry);
    // So that a build has a Secret.
    target.certificate_authority = Some("a certificate".to_owned());
    Settings {
        options,
        resources: Resources::builder(),
        service_resources: Resources::util(),
        service_storage: None,
        idle_after: IdleAfter::default(),
        target,
        namespace: Namespace::new(NAMESPACE),
        has_credentials: false,
        proxies: BuilderProxies::default(),
        traces_url: None,
        network_policies: false,
    }
}

fn backend(fake: &FakeCluster, settings: Settings, secrets: Vec<SecretRef>) -> KanikoBackend {
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", secrets);
    KanikoBackend::new(cluster, settings, credentials)
}

impl Site {
    /// A cluster in which all pods run, and an executor that reads its stdin to the end and then does what `script`
    /// says.
    pub(crate) fn stdin<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(FakePod) -> F + Send + Sync + 'static,
    ) -> Self {
        let site = Self::new(FakeCluster::new(), "0123456789", ContextDelivery::Stdin);
        site.fake.on_pod(async |pod| pod.run());
        let (stdin, script) = (Arc::clone(&site.stdin), Arc::new(script));
        site.fake.on_attach(move |mut process| {
            let (stdin, script) = (Arc::clone(&stdin), Arc::clone(&script));
            async move {
                let mut read = Vec::new();
                if process.stdin.read_to_end(&mut read).await.is_err() {
                    return End::Cut;
                }
                *stdin.lock().unwrap() = read;
                script(process.pod.clone()).await;
                End::Exit(0)
            }
        });
        site
    }

    /// The same build, of another Dockerfile and with what `change` says of the request.
    pub(crate) fn building(
        mut self,
        dockerfile: &str,
        change: impl FnOnce(BuildRequest) -> BuildRequest,
    ) -> Self {
        std::fs::write(self.directory.path().join("Dockerfile"), dockerfile).unwrap();
        let request = change(BuildRequest::new("api", self.directory.path()));
        let context = Context::scan(&request, &|| false).unwrap();
        self.job = BuildJob::new(self.job.id.clone(), request, context, self.job.destination.clone());
        self
    }

    /// A build with this identifier.
    pub(crate) fn new(fake: FakeCluster, id: &str, delivery: ContextDelivery) -> Self {
        Self::with_settings(fake, id, settings(delivery))
    }

    /// The same, with other settings than the usual ones.
    pub(crate) fn with_settings(fake: FakeCluster, id: &str, settings: Settings) -> Self {
        Self::with_secrets(fake, id, settings, Vec::new())
    }

    /// The same, with what these Secrets have.
    pub(crate) fn with_secrets(
        fake: FakeCluster,
        id: &str,
        settings: Settings,
        secrets: Vec<SecretRef>,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
        std::fs::write(directory.path().join("file"), "its content").unwrap();
        let request = BuildRequest::new("api", directory.path());
        let context = Context::scan(&request, &|| false).unwrap();
        let destination = "registry.example:5000/team/api:v-1".parse().unwrap();
        Self {
            backend: backend(&fake, settings, secrets),
            fake,
            cancel: CancellationToken::new(),
            job: BuildJob::new(id, request, context, destination),
            stdin: Arc::default(),
            witness: None,
            caches: Caches::none(),
            directory,
        }
    }

    /// The same build, with other settings.
    pub(crate) fn with(mut self, settings: Settings) -> Self {
        self.backend = backend(&self.fake, settings, Vec::new());
        self
    }

    pub(crate) async fn build(&self) -> Seen {
        let (events, mut heard) = event_channel();
        let mut cx =
            BuildControl::new(events, self.cancel.clone(), TIME_LIMIT).with_caches(self.caches.clone());
        if let Some(witness) = &self.witness {
            cx = cx.with_witness(Arc::clone(witness));
        }
        let building = async {
            let outcome = self.backend.build(&self.job, &cx).await;
            drop(cx);
            outcome
        };
        let listening = async {
            let mut all = Vec::new();
            while let Some(event) = heard.next().await {
                all.push(event);
            }
            all
        };
        let (outcome, events) = tokio::join!(building, listening);
        Seen { outcome, events }
    }

    /// Has the build cancelled just before its request number `request` is carried out. Returns what then tells whether that came too late, as
    /// the executor had ended already.
    pub(crate) fn cancel_at(&self, request: usize) -> Arc<AtomicBool> {
        let too_late = Arc::new(AtomicBool::new(false));
        let (cancel, noted, id) = (self.cancel.clone(), Arc::clone(&too_late), self.job.id.clone());
        let meddle = move |fake: &FakeCluster| {
            let was_made = fake.created("pods").iter().any(|name| name.ends_with(&id));
            let runs = fake.objects("pods").iter().any(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                name.ends_with(&id) && pod["status"]["phase"] != "Succeeded"
            });
            noted.store(was_made && !runs, Ordering::SeqCst);
            cancel.cancel();
        };
        self.fake.fault(Fault::meddle("*", "*", meddle).after(request));
        too_late
    }

    /// What is in the cluster of a build: its pods and their secrets.
    pub(crate) fn left(&self) -> Vec<String> {
        let of_builds = |name: &String| name.ends_with(&self.job.id);
        [self.fake.names("pods"), self.fake.names("secrets")].concat().into_iter().filter(of_builds).collect()
    }

    /// How many different pods have been created for the build.
    pub(crate) fn pods_made(&self) -> usize {
        self.fake.created("pods").iter().filter(|name| name.ends_with(&self.job.id)).count()
    }
}

/// Makes sure that a build which was cancelled at a request says so, unless it was over, as `too_late` tells. Returns whether it was cancelled.
#[track_caller]
pub(crate) fn is_cancelled(outcome: &Result<Pushed>, too_late: &AtomicBool, request: usize) -> bool {
    match outcome {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "at {request}: {error}"),
        Ok(_) => assert!(too_late.load(Ordering::SeqCst), "at {request}: not cancelled"),
    }
    outcome.is_err()
}

/// The executor has succeeded.
pub(crate) fn succeed(pod: &FakePod) {
    pod.exit(CONTAINER, 0, DIGEST);
}
