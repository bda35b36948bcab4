//! What a build asks of registries and of Secrets, counted on the wire: in processes of their own, which have a cache directory and
//! certificate authorities of their own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code may fail loudly, and shows what it has counted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use garden_build::config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig, SecretRef};
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::{BuildRequest, Builder, Capabilities, Outcome};
use garden_build_testing::Authority;
use garden_build_testing::backend::{Script, ScriptedBackend};
use garden_build_testing::registry::{self, Fault, Image, Registry};
use http::{Request, Response};
use serde_json::json;

/// Says in a process of its own which part it has.
const PART: &str = "GARDEN_TEST_PART";

/// The registries' names, for such a process.
const DEPLOYMENT: &str = "GARDEN_TEST_DEPLOYMENT";
const BASES: &str = "GARDEN_TEST_BASES";

/// Runs the test `name` of this program in a process of its own, as `part`, and returns what it wrote.
fn in_a_process(name: &str, part: &str, home: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(PART, part);
    command.env("XDG_CACHE_HOME", home.join("cache")).env("SSL_CERT_FILE", home.join("ca.pem"));
    command.env_remove("SSL_CERT_DIR").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Starts a registry with TLS and tokens from which everybody may pull.
async fn registry(authority: &Authority) -> Registry {
    Registry::builder().tls_of(authority).login("user", "password").tokens().public().start().await
}

/// Puts a base image into a registry: a list of two platforms.
fn base_image(registry: &Registry, repository: &str) {
    let image = Image::new().label("repository", repository);
    let images = ["linux/amd64", "linux/arm64"].map(|platform| image.clone().platform(platform));
    registry.push_index(&format!("{repository}:1"), &images);
}

/// A backend that pushes nothing, as the registry is in another process: that has the image once it was asked for it in vain.
async fn pushes() -> Arc<ScriptedBackend> {
    let backend = ScriptedBackend::new(&Registry::start().await);
    backend.otherwise(Script::succeed().image(Image::new()));
    Arc::new(backend.with_capabilities(Capabilities::default().pulling_base_images(true)))
}

/// Puts the image into the registry that somebody has looked for in vain, as if it had been pushed since.
fn push_what_was_missed(registry: &Registry, request: &registry::Request) {
    let was_missed =
        |earlier: &registry::Request| earlier.path == request.path && earlier.status == Some(404);
    if registry.requests().iter().any(was_missed)
        && let Some((_, tag)) = request.path.rsplit_once('/')
    {
        registry.push_image(&format!("api:{tag}"), &Image::new());
    }
}

/// A cluster that has Secrets with a login for every registry, and counts who reads them.
fn cluster(registries: &[String], reads: &Arc<Mutex<Vec<String>>>) -> Client {
    let login = json!({ "username": "user", "password": "password" });
    let logins: BTreeMap<_, _> = registries.iter().map(|name| (name.clone(), login.clone())).collect();
    let config = json!({ "auths": logins }).to_string();
    let reads = Arc::clone(reads);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (config, reads) = (config.clone(), Arc::clone(&reads));
        async move {
            let path = request.uri().path().to_owned();
            reads.lock().unwrap().push(path.clone());
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": path.rsplit('/').next(), "namespace": "default", "resourceVersion": "1" },
                "data": { ".dockerconfigjson": k8s_openapi::ByteString(config.into_bytes()) },
            });
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(secret.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

fn provider(deployment: &str) -> ProviderConfig {
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    provider.deployment_registry = Some(DeploymentRegistry::new(deployment).unwrap());
    provider.image_pull_secrets = vec![SecretRef::new("one"), SecretRef::new("two")];
    provider
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn project(bases: &[String], content: &str) -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().unwrap();
    let stages = bases.iter().enumerate().map(|(index, base)| format!("FROM {base} AS s{index}\n"));
    let copies = (0..bases.len() - 1).map(|index| format!("COPY --from=s{index} /x /x{index}\n"));
    let dockerfile = stages.chain(copies).collect::<String>() + "COPY read /\n";
    for (name, content) in [("Dockerfile", dockerfile.as_str()), ("read", content), ("unread", "unread")] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

// The threads of the registry go on while this one waits for a process.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_has_one_connection_and_one_token_for_each_purpose_and_reads_each_secret_once() {
    const NAME: &str = "a_build_has_one_connection_and_one_token_for_each_purpose_and_reads_each_secret_once";
    if std::env::var_os(PART).is_some() {
        let (deployment, base) = (variable(DEPLOYMENT), variable(BASES));
        let reads = Arc::default();
        let client = cluster(&[deployment.clone(), base.clone()], &reads);
        let builder =
            Builder::options(provider(&deployment)).client(client).backend(pushes().await).connect().unwrap();
        let directory = project(&[format!("{base}/base/one:1"), format!("{base}/base/two:1")], "read");
        let image = builder.build(BuildRequest::new("api", directory.path())).await.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }), "{:?}", image.outcome);
        println!("secrets read: {}", reads.lock().unwrap().len());
        return;
    }
    let home = tempfile::TempDir::new().unwrap();
    let authority = Authority::new();
    std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
    let (deployment, bases) = (registry(&authority).await, registry(&authority).await);
    deployment.fault(Fault::meddle("HEAD", "/v2/api/manifests/*", push_what_was_missed).always());
    base_image(&bases, "base/one");
    base_image(&bases, "base/two");
    let hosts = [&deployment, &bases].map(Registry::host);
    let names = [(DEPLOYMENT, hosts[0].as_str()), (BASES, hosts[1].as_str())];
    let said = in_a_process(NAME, "build", home.path(), &names);
    for (what, registry) in [("deployment", &deployment), ("bases", &bases)] {
        let connections = registry.connections();
        println!(
            "{what}: {} connections, {} at once, {} tokens, {} requests",
            connections.opened,
            connections.most_at_once,
            registry.count("*", "/token"),
            registry.requests().len()
        );
    }
    println!("{said}");
    assert!(said.contains("secrets read: 2\n"), "{said}");
    for registry in [&deployment, &bases] {
        let seen = registry.requests();
        assert_eq!(registry.connections().most_at_once, 1, "{seen:#?}");
        let tokens = seen.iter().filter(|request| request.path == "/token");
        let scopes: BTreeSet<_> = tokens.map(|request| request.parameter("scope")).collect();
        assert_eq!(scopes.len(), registry.count("*", "/token"), "{seen:#?}");
    }
}

// The threads of the registry go on while this one waits for a process.
#[tokio::test(flavor = "multi_thread")]
async fn five_processes_pull_the_manifests_of_a_base_image_as_often_as_one() {
    const NAME: &str = "five_processes_pull_the_manifests_of_a_base_image_as_often_as_one";
    if let Ok(part) = std::env::var(PART) {
        let (deployment, base) = (variable(DEPLOYMENT), variable(BASES));
        let client = cluster(&[], &Arc::default());
        let builder =
            Builder::options(provider(&deployment)).client(client).backend(pushes().await).connect().unwrap();
        let directory = project(&[format!("{base}/base/one:1")], &part);
        let request = || BuildRequest::new("api", directory.path());
        let status = builder.status(request()).await.unwrap();
        let read = builder.plan(request()).await.unwrap();
        assert_eq!(status.reference, read.reference, "the image has the name of what is read");
        return;
    }
    let home = tempfile::TempDir::new().unwrap();
    let authority = Authority::new();
    std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
    let (deployment, bases) = (registry(&authority).await, registry(&authority).await);
    base_image(&bases, "base/one");
    let hosts = [&deployment, &bases].map(Registry::host);
    let names = [(DEPLOYMENT, hosts[0].as_str()), (BASES, hosts[1].as_str())];
    let mut pulls = Vec::new();
    for process in 1..=5 {
        in_a_process(NAME, &format!("change {process}"), home.path(), &names);
        // A HEAD is not counted by Docker Hub.
        pulls.push(bases.count("GET", "/v2/*/manifests/*"));
    }
    println!("manifests read by GET after each process: {pulls:?}");
    assert_eq!(pulls, [3; 5], "{:#?}", bases.requests());
}
