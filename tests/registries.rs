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
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Builder, Capabilities, Digest, Outcome, Pushed,
    Result,
};
use http::{Request, Response};
use serde_json::json;

mod support;

use support::registry::{Authority, Registry};

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

/// Has images made for the base images of a registry, which are lists of two platforms each.
fn base_image(registry: &Registry, repository: &str) {
    let config = json!({ "config": {} }).to_string().into_bytes();
    let image = |architecture: &str| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config),
                "size": config.len(),
            },
            "layers": [], "annotations": { "architecture": architecture, "repository": repository },
        });
        let manifest = manifest.to_string().into_bytes();
        registry.put(&format!("{repository}/manifests/{}", Digest::of(&manifest)), &manifest);
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(&manifest),
            "size": manifest.len(), "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image("amd64"), image("arm64")],
    });
    let index = index.to_string().into_bytes();
    registry.put(&format!("{repository}/blobs/{}", Digest::of(&config)), &config);
    registry.put(&format!("{repository}/manifests/{}", Digest::of(&index)), &index);
    registry.put(&format!("{repository}/manifests/1"), &index);
}

/// A backend that pushes nothing: the registry has every image once it was asked for in vain.
#[derive(Debug)]
struct Pushes;

const IMAGE: &[u8] = b"an image";

impl Backend for Pushes {
    fn name(&self) -> &'static str {
        "pushes"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().pulling_base_images(true)
    }

    fn build<'a>(&'a self, _: &'a BuildJob, _: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(async { Ok(Pushed::new(Digest::of(IMAGE), 0, 1)) })
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

#[tokio::test]
async fn a_build_has_one_connection_and_one_token_for_each_purpose_and_reads_each_secret_once() {
    const NAME: &str = "a_build_has_one_connection_and_one_token_for_each_purpose_and_reads_each_secret_once";
    if std::env::var_os(PART).is_some() {
        let (deployment, base) = (variable(DEPLOYMENT), variable(BASES));
        let reads = Arc::default();
        let client = cluster(&[deployment.clone(), base.clone()], &reads);
        let builder = Builder::options(provider(&deployment))
            .client(client)
            .backend(Arc::new(Pushes))
            .connect()
            .unwrap();
        let directory = project(&[format!("{base}/base/one:1"), format!("{base}/base/two:1")], "read");
        let image = builder.build(BuildRequest::new("api", directory.path())).await.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }), "{:?}", image.outcome);
        println!("secrets read: {}", reads.lock().unwrap().len());
        return;
    }
    let home = tempfile::TempDir::new().unwrap();
    let authority = Authority::new();
    std::fs::write(home.path().join("ca.pem"), &authority.pem).unwrap();
    let (deployment, bases) = (Registry::start(&authority), Registry::start(&authority));
    deployment.has_after_asked("api/manifests/", IMAGE);
    base_image(&bases, "base/one");
    base_image(&bases, "base/two");
    let names = [(DEPLOYMENT, deployment.name.as_str()), (BASES, bases.name.as_str())];
    let said = in_a_process(NAME, "build", home.path(), &names);
    for (what, registry) in [("deployment", &deployment), ("bases", &bases)] {
        let seen = registry.seen();
        println!(
            "{what}: {} connections, {} at once, {} tokens, {} requests",
            seen.connections,
            seen.most_at_once,
            seen.tokens.len(),
            seen.requests.len()
        );
    }
    println!("{said}");
    assert!(said.contains("secrets read: 2\n"), "{said}");
    for registry in [&deployment, &bases] {
        let seen = registry.seen();
        assert_eq!(seen.most_at_once, 1, "{seen:#?}");
        let scopes: BTreeSet<&String> = seen.tokens.iter().collect();
        assert_eq!(scopes.len(), seen.tokens.len(), "{seen:#?}");
    }
}

#[tokio::test]
async fn five_processes_pull_the_manifests_of_a_base_image_as_often_as_one() {
    const NAME: &str = "five_processes_pull_the_manifests_of_a_base_image_as_often_as_one";
    if let Ok(part) = std::env::var(PART) {
        let (deployment, base) = (variable(DEPLOYMENT), variable(BASES));
        let client = cluster(&[], &Arc::default());
        let builder = Builder::options(provider(&deployment))
            .client(client)
            .backend(Arc::new(Pushes))
            .connect()
            .unwrap();
        let directory = project(&[format!("{base}/base/one:1")], &part);
        let request = || BuildRequest::new("api", directory.path());
        let status = builder.status(request()).await.unwrap();
        let read = builder.plan(request()).await.unwrap();
        assert_eq!(status.reference, read.reference, "the image has the name of what is read");
        return;
    }
    let home = tempfile::TempDir::new().unwrap();
    let authority = Authority::new();
    std::fs::write(home.path().join("ca.pem"), &authority.pem).unwrap();
    let (deployment, bases) = (Registry::start(&authority), Registry::start(&authority));
    base_image(&bases, "base/one");
    let names = [(DEPLOYMENT, deployment.name.as_str()), (BASES, bases.name.as_str())];
    let mut pulls = Vec::new();
    for process in 1..=5 {
        in_a_process(NAME, &format!("change {process}"), home.path(), &names);
        pulls.push(bases.seen().pulls());
    }
    println!("manifests read by GET after each process: {pulls:?}");
    assert_eq!(pulls, [3; 5], "{:#?}", bases.seen());
}
