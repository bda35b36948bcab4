//! The cluster and registries under test, and a project of its own for each test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, DeploymentRegistry, KanikoNamespace, KanikoOptions, ProviderConfig,
    SecretRef,
};
use garden_build::{BuildRequest, Builder, BuiltImage, Error, Event, Outcome};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use tempfile::TempDir;
use tower::util::MapRequestLayer;

/// Reads a variable that `cargo xtask testbed env` prints.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test`, or `eval \"$(cargo xtask testbed env)\"` first")
    })
}

/// Chooses what we make but the context service, which stays.
const BUILDERS: &str = "app.kubernetes.io/managed-by=garden-build,app!=garden-util";

/// A project with a namespace, an open registry and a context directory of its own.
pub(crate) struct Project {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) provider: ProviderConfig,
    pub(crate) directory: TempDir,
}

/// Runs a test in a project of its own, whose namespace is deleted afterwards.
pub(crate) async fn in_project(name: &str, test: impl AsyncFnOnce(&mut Project)) {
    let mut project = Project::new(name).await;
    test(&mut project).await;
    let namespaces: Api<Namespace> = Api::all(project.client.clone());
    namespaces.delete(&project.namespace, &DeleteParams::default()).await.unwrap();
}

impl Project {
    async fn new(name: &str) -> Self {
        let suffix = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000_000;
        let project = Self::in_namespace(format!("e2e-{name}-{suffix}")).await;
        project.create_namespace().await;
        project
    }

    /// A project in a namespace that exists.
    pub(crate) async fn in_namespace(namespace: String) -> Self {
        // Names the variable that is missing, before anything is tried.
        let _kubeconfig = variable("KUBECONFIG");
        let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
        let mut kaniko = KanikoOptions::default();
        kaniko.image = variable("GARDEN_TEST_KANIKO_DEBUG_IMAGE");
        kaniko.namespace = KanikoNamespace::Project;
        let mut provider = ProviderConfig::kubernetes("e2e");
        provider.namespace.name.clone_from(&namespace);
        provider.build_mode = BuildMode::Kaniko(kaniko);
        provider.resources.builder.requests.cpu = 50;
        provider.resources.builder.requests.memory = 64;
        let mut project = Self { namespace, client, provider, directory: TempDir::new().unwrap() };
        project.use_registry(&variable("GARDEN_TEST_REGISTRY"));
        project.registry().insecure = true;
        project
    }

    async fn create_namespace(&self) {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": self.namespace } })).unwrap();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// Pushes to the registry at `host`, below a namespace that no other test uses.
    pub(crate) fn use_registry(&mut self, host: &str) {
        let mut registry = DeploymentRegistry::new(host).unwrap();
        registry.namespace = Some(self.namespace.clone());
        self.provider.deployment_registry = Some(registry);
    }

    pub(crate) fn registry(&mut self) -> &mut DeploymentRegistry {
        self.provider.deployment_registry.as_mut().unwrap()
    }

    pub(crate) fn kaniko(&mut self) -> &mut KanikoOptions {
        match &mut self.provider.build_mode {
            BuildMode::Kaniko(options) => options,
            other => panic!("not kaniko: {other:?}"),
        }
    }

    /// Switches to cluster-buildkit, without registry caches, and returns its options.
    pub(crate) fn buildkit(&mut self) -> &mut ClusterBuildkitOptions {
        if !matches!(self.provider.build_mode, BuildMode::ClusterBuildkit(_)) {
            let mut options = ClusterBuildkitOptions::default();
            options.image = Some(variable("GARDEN_TEST_BUILDKIT_IMAGE"));
            options.cache = Vec::new();
            self.provider.build_mode = BuildMode::ClusterBuildkit(options);
        }
        match &mut self.provider.build_mode {
            BuildMode::ClusterBuildkit(options) => options,
            other => panic!("not cluster-buildkit: {other:?}"),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::with_client(self.provider.clone(), self.client.clone()).unwrap()
    }

    pub(crate) fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }

    pub(crate) fn file(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Writes a Dockerfile on top of the testbed's busybox.
    pub(crate) fn dockerfile(&self, instructions: &str) {
        self.file("Dockerfile", format!("FROM {}\n{instructions}", variable("GARDEN_TEST_BASE_IMAGE")));
    }

    /// A command that lasts, and that no other test runs: it is known again among all processes.
    pub(crate) fn long_sleep(&self) -> String {
        let number = self.namespace.rsplit('-').next().unwrap_or_default();
        format!("sleep 1{number}")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits for pods whose names start with `prefix`, and returns the service accounts that they run as.
    pub(crate) async fn service_accounts_of_pods(&self, prefix: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let pods = self.pods().list(&ListParams::default()).await.unwrap();
            let pods = pods.items.into_iter().filter(|pod| pod.name_any().starts_with(prefix));
            let accounts: Vec<String> = pods.filter_map(|pod| pod.spec?.service_account_name).collect();
            if !accounts.is_empty() || Instant::now() > deadline {
                return accounts;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the builder's pod satisfies `condition`, and returns it.
    pub(crate) async fn builder_pod(&self, condition: impl Fn(&Pod) -> bool) -> Pod {
        let ours = ListParams::default().labels(BUILDERS);
        let started = Instant::now();
        loop {
            let pods = self.pods().list(&ours).await.unwrap();
            if let Some(pod) = pods.items.into_iter().find(|pod| condition(pod)) {
                return pod;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no such builder pod appeared");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What is in the namespace that we created for builds: pods and secrets, by name.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let ours = ListParams::default().labels(BUILDERS);
        let pods = self.pods().list(&ours).await.unwrap();
        let secrets = self.secrets().list(&ours).await.unwrap();
        let pods = pods.items.iter().map(|pod| format!("Pod {}", pod.name_any()));
        pods.chain(secrets.items.iter().map(|secret| format!("Secret {}", secret.name_any()))).collect()
    }

    /// Asserts that nothing of ours is in the namespace, `within` seconds from now at the latest.
    pub(crate) async fn assert_nothing_left(&self, within: Duration) {
        let started = Instant::now();
        loop {
            let leftovers = self.leftovers().await;
            if leftovers.is_empty() {
                return;
            }
            assert!(started.elapsed() < within, "left behind after {within:?}: {leftovers:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn create_registry_secret(
        &self,
        name: &str,
        host: &str,
        username: &str,
        password: &str,
    ) {
        let config = json!({ "auths": { host: { "username": username, "password": password } } });
        self.create_docker_config_secret(name, &config).await;
    }

    /// Creates a secret for registries with this Docker configuration.
    pub(crate) async fn create_docker_config_secret(&self, name: &str, config: &serde_json::Value) {
        let secret = Secret {
            metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            data: Some(BTreeMap::from([(
                ".dockerconfigjson".to_owned(),
                ByteString(config.to_string().into_bytes()),
            )])),
            ..Secret::default()
        };
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    /// Has the daemon forget its local cache, as if it had just been created.
    pub(crate) async fn forget_local_cache(&self) {
        let daemon = self.builder_pod(running).await.name_any();
        let command = ["buildctl", "prune", "--all"];
        let mut pruning = self.pods().exec(&daemon, command, &AttachParams::default()).await.unwrap();
        let status = pruning.take_status().unwrap().await.expect("how it ended");
        assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
    }

    /// Replaces what is in a secret for registries.
    pub(crate) async fn replace_registry_secret(
        &self,
        name: &str,
        host: &str,
        username: &str,
        password: &str,
    ) {
        self.secrets().delete(name, &DeleteParams::default()).await.unwrap();
        self.create_registry_secret(name, host, username, password).await;
    }

    /// Uses the secret `name` of the project's namespace as one of the `imagePullSecrets`.
    pub(crate) fn use_pull_secret(&mut self, name: &str) {
        let secret = SecretRef::new(name).in_namespace(&self.namespace);
        self.provider.image_pull_secrets.push(secret);
    }

    /// Runs `image` as a pod with `command` (its own if empty), and returns what it printed.
    pub(crate) async fn run(&self, image: &str, command: &[&str], pull_secret: Option<&str>) -> String {
        let name = format!("run-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000_000);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "imagePullSecrets": pull_secret.map(|name| vec![json!({ "name": name })]),
                "containers": [{
                    "name": "main",
                    "image": image,
                    "command": if command.is_empty() { json!(null) } else { json!(command) },
                }],
            },
        }))
        .unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
        let started = Instant::now();
        loop {
            let pod = self.pods().get(&name).await.unwrap();
            let status = pod.status.unwrap_or_default();
            match status.phase.as_deref() {
                Some("Succeeded") => break,
                Some("Failed") => panic!("{image} failed: {status:?}"),
                _ => assert!(started.elapsed() < Duration::from_secs(60), "{image} does not run: {status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.pods().logs(&name, &LogParams::default()).await.unwrap()
    }
}

/// Builds and returns the result with every event, as text and as data.
pub(crate) async fn build_with_events(
    builder: &Builder,
    request: BuildRequest,
) -> (Result<BuiltImage, Error>, Vec<Event>) {
    let mut build = builder.start(request).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = build.next_event().await {
        events.push(event);
    }
    (build.await, events)
}

/// Makes sure that no process of this machine, in whatever namespace, runs `command`, `within` this time at the latest. Docker
/// itself does not say which builds it has.
pub(crate) async fn assert_not_running(command: &str, within: Duration) {
    let started = Instant::now();
    let runs = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        commands.any(|words| String::from_utf8_lossy(&words).replace('\0', " ").trim() == command)
    };
    while runs() {
        assert!(started.elapsed() < within, "`{command}` still runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a pod runs.
pub(crate) fn running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

pub(crate) fn shown(events: &[Event]) -> String {
    events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// How much of the context a `BuildKit` daemon was sent in a build: files, bytes, and entries of the list.
pub(crate) fn sent(events: &[Event]) -> [u64; 3] {
    let numbers = events.iter().find_map(|event| match event {
        Event::Log { line, .. } => {
            let numbers = line.strip_prefix("sent ")?;
            numbers
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<_>>()
                .try_into()
                .ok()
        }
        _ => None,
    });
    numbers.unwrap_or_else(|| panic!("nothing is told of the context:\n{}", shown(events)))
}

/// How many bytes kaniko's context service was sent in a build.
pub(crate) fn sent_to_service(events: &[Event]) -> u64 {
    let sent = events.iter().filter_map(|event| match event {
        Event::Log { line, .. } => line.strip_prefix("sent ")?.strip_suffix(" bytes")?.parse::<u64>().ok(),
        _ => None,
    });
    sent.sum()
}

/// How many steps came from a cache, and how many were run.
pub(crate) fn steps(image: &BuiltImage) -> (usize, usize) {
    match image.outcome {
        Outcome::Built { steps_cached, steps_run, .. } => (steps_cached, steps_run),
        ref other => panic!("not built: {other:?}"),
    }
}

/// The messages of all warnings.
pub(crate) fn warnings(events: &[Event]) -> Vec<&str> {
    let mut messages = Vec::new();
    for event in events {
        if let Event::Warning { message, .. } = event {
            messages.push(message.as_str());
        }
    }
    messages
}

/// Everything in the project's namespace but the Secrets called `own`, and what the daemon logged, as one text.
pub(crate) async fn everything_in_namespace(project: &Project, own: &[&str]) -> String {
    let (client, namespace) = (&project.client, project.namespace.as_str());
    let mut found = vec![
        all::<ConfigMap>(client, namespace).await,
        all::<Deployment>(client, namespace).await,
        all::<ReplicaSet>(client, namespace).await,
        all::<Pod>(client, namespace).await,
        all::<k8s_openapi::api::core::v1::Event>(client, namespace).await,
    ];
    let secrets = project.secrets().list(&ListParams::default()).await.unwrap();
    let secrets = secrets.items.into_iter().filter(|secret| !own.contains(&secret.name_any().as_str()));
    found.push(serde_json::to_string(&secrets.collect::<Vec<_>>()).unwrap());
    let daemon = project.builder_pod(running).await.name_any();
    found.push(project.pods().logs(&daemon, &LogParams::default()).await.unwrap());
    found.join("\n")
}

async fn all<K>(client: &Client, namespace: &str) -> String
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    let objects = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap();
    serde_json::to_string(&objects.items).unwrap()
}

/// A client that notes the method and path of every call.
pub(crate) async fn recording_client() -> (Client, Arc<Mutex<Vec<String>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let layer = MapRequestLayer::new(move |request: http::Request<Body>| {
        noted.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        request
    });
    let config = Config::infer().await.unwrap();
    (ClientBuilder::try_from(config).unwrap().with_layer(&layer).build(), calls)
}
