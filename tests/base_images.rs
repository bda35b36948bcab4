//! What a registry of base images that is slow, or never answers, does to a question for an image.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use garden_build::config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig, SecretRef};
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::{BuildRequest, Builder, BuilderOptions, Caches, Digest, Status};
use garden_build_testing::kubernetes::{FakeCluster, Fault};
use http::{Request, Response};
use k8s_openapi::ByteString;
use serde_json::json;
use tokio::time::timeout;

/// Longer than anybody should have to wait, and shorter than the patience with a registry that counts.
const BOUND: Duration = Duration::from_secs(20);

/// Longer than the question for a base image is waited for before it is looked whether its answer matters.
const SLOW: Duration = Duration::from_millis(500);

/// What a registry has, by the path below `/v2/`.
type Content = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A project that builds for a registry here, and a file that the Dockerfile reads beside one that it does not.
struct Site {
    directory: tempfile::TempDir,
    options: BuilderOptions,
    builder: Builder,
    registry: String,
    content: Content,
}

impl Site {
    fn new(base: impl FnOnce(&str) -> String) -> Self {
        Self::with_flags(|_| Vec::new(), base)
    }

    /// Of builds whose executor has these flags.
    fn with_flags(flags: impl FnOnce(&str) -> Vec<String>, base: impl FnOnce(&str) -> String) -> Self {
        let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
        Self::of(Client::new(nobody, "default"), Vec::new(), flags, base)
    }

    /// Of builds in a cluster that has the credentials of registries in these Secrets.
    fn of(
        cluster: Client,
        secrets: Vec<SecretRef>,
        flags: impl FnOnce(&str) -> Vec<String>,
        base: impl FnOnce(&str) -> String,
    ) -> Self {
        let content = Content::default();
        let registry = serve(&content);
        let mut provider = ProviderConfig::kubernetes("demo");
        let mut options = KanikoOptions::default();
        options.extra_flags = flags(&registry);
        provider.build_mode = BuildMode::Kaniko(options);
        let mut deployment = DeploymentRegistry::new(&registry).unwrap();
        deployment.insecure = true;
        provider.deployment_registry = Some(deployment);
        provider.image_pull_secrets = secrets;
        let options = Builder::options(provider).client(cluster).caches(Caches::none());
        let builder = options.clone().connect().unwrap();
        let directory = tempfile::TempDir::new().unwrap();
        let dockerfile = format!("FROM {}\nCOPY read /\n", base(&registry));
        for (name, content) in [("Dockerfile", dockerfile.as_str()), ("read", "read"), ("unread", "unread")] {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        Self { directory, options, builder, registry, content }
    }

    fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }

    async fn status(&self) -> Status {
        timeout(BOUND, self.builder.status(self.request())).await.expect("in time").unwrap()
    }

    /// The path of the image's manifest in the registry, with the whole context or with what is read.
    async fn manifest(&self, whole: bool) -> String {
        let plan = self.builder.plan(self.request().whole_context(whole)).await.unwrap();
        format!("{}/manifests/{}", plan.reference.repository(), plan.reference.tag().unwrap())
    }

    fn put(&self, path: String, bytes: Vec<u8>) {
        self.content.lock().unwrap().insert(path, bytes);
    }
}

/// Serves manifests and blobs; those of `base` slowly, and those of `private` to nobody. Returns its `host:port`.
fn serve(content: &Content) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let content = Arc::clone(content);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let content = Arc::clone(&content);
            thread::spawn(move || answer(stream.unwrap(), &content));
        }
    });
    address
}

fn answer(mut stream: TcpStream, content: &Content) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let request = lines.next().unwrap();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap().trim_start_matches("/v2/");
    if path.starts_with("private/") {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
        return stream.write_all(head.as_bytes()).unwrap();
    }
    if path.starts_with("base/") {
        thread::sleep(SLOW);
    }
    let (status, bytes) = match content.lock().unwrap().get(path) {
        Some(bytes) => ("200 OK", bytes.clone()),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
         Docker-Content-Digest: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        Digest::of(&bytes),
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    if request.starts_with("GET ") {
        stream.write_all(&bytes).unwrap();
    }
}

/// Somebody who accepts connections and never says anything. Returns its `host:port`.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

#[tokio::test]
async fn nobody_waits_for_a_base_image_s_registry_when_there_is_nothing_to_do() {
    let site = Site::new(|_| format!("{}/base:1", silent()));
    let whole = site.manifest(true).await;
    assert_ne!(whole, site.manifest(false).await, "what is not read counts only in the whole context");
    site.put(whole.clone(), b"an image".to_vec());
    let status = site.status().await;
    assert_eq!(status.existing, Some(Digest::of(b"an image")));
    assert!(whole.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

#[tokio::test]
async fn what_is_learned_is_kept_where_the_builder_s_caches_are() {
    let home = tempfile::TempDir::new().unwrap();
    let mut site = Site::new(|registry| format!("{registry}/other:1"));
    site.builder = site.options.clone().caches(Caches::in_directory(home.path())).connect().unwrap();
    put_base_image(&site, "other");
    site.status().await;
    for cache in ["digests", "base-images"] {
        let files = std::fs::read_dir(home.path().join(cache)).map(Iterator::count);
        assert_eq!(files.unwrap(), 1, "{cache}");
    }
}

#[tokio::test]
async fn a_base_image_s_registry_that_never_answers_is_soon_given_up() {
    let site = Site::new(|_| format!("{}/base:1", silent()));
    let status = site.status().await;
    assert_eq!(status.existing, None);
    assert!(site.manifest(true).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

#[tokio::test]
async fn whoever_is_refused_a_base_image_is_told_what_to_do() {
    let private = serve(&Content::default());
    let site = Site::with_flags(
        |_| vec![format!("--insecure-registry={private}")],
        |_| format!("{private}/private/tools:1"),
    );
    let mut build = site.builder.build(site.request());
    let mut said = Vec::new();
    while let Some(event) = build.next_event().await {
        said.push(event.to_string());
    }
    assert!(build.await.is_err(), "there is no cluster");
    let said = said.join("\n");
    assert!(said.contains("refuses access to repository `private/tools`"), "{said}");
    assert!(said.contains("add a Secret") && said.contains("`imagePullSecrets`"), "{said}");
}

#[tokio::test]
async fn a_base_image_s_registry_that_answers_late_is_heard() {
    let site = Site::new(|registry| format!("{registry}/base:1"));
    put_base_image(&site, "base");
    let status = site.status().await;
    assert_eq!((status.existing, status.reference.registry()), (None, site.registry.as_str()));
    assert!(site.manifest(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

/// Puts something beside what is read that nobody can read: paths that are longer than the system takes.
#[cfg(unix)]
fn put_unreadable(site: &Site) {
    let below =
        |name: &str| (0..10).fold(site.directory.path().join(name), |path, _| path.join("n".repeat(250)));
    let (one, other) = (below("one"), below("other"));
    for directory in [&one, &other] {
        std::fs::create_dir_all(directory).unwrap();
    }
    std::fs::rename(site.directory.path().join("other"), one.join("other")).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_read_matters_only_if_a_base_image_may_read_it() {
    let site = Site::new(|registry| format!("{registry}/base:1"));
    put_base_image(&site, "base");
    let manifest = site.manifest(false).await;
    put_unreadable(&site);
    let status = site.status().await;
    assert!(manifest.ends_with(status.reference.tag().unwrap()), "{}", status.reference);

    let site = Site::new(|_| format!("{}/base:1", silent()));
    put_unreadable(&site);
    let refused = timeout(BOUND, site.builder.status(site.request())).await.expect("in time");
    let error = refused.expect_err("the base image may read everything");
    assert!(error.message().starts_with("`one/nnn"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("as the last line to .dockerignore")), "{error:?}");
}

#[tokio::test]
async fn credentials_that_are_read_late_for_the_base_image_hold_up_nobody() {
    let fake = FakeCluster::new();
    fake.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "logins", "namespace": "default" },
        "data": { ".dockerconfigjson": ByteString(br#"{"auths":{}}"#.to_vec()) },
    }));
    let secrets = vec![SecretRef::new("logins")];
    let site = Site::of(fake.client(), secrets, |_| Vec::new(), |registry| format!("{registry}/base:1"));
    put_base_image(&site, "base");
    // Something else begins while they are read for the look-up, so they are read again for the base image. Meanwhile, the image with the
    // whole context is looked up, with the same credentials.
    let (builder, request) = (site.builder.clone(), site.request());
    let begin = move |_: &FakeCluster| drop(builder.status(request.clone()).now_or_never());
    fake.fault(Fault::meddle("get", "secrets", begin));
    fake.fault(Fault::delay("get", "secrets", SLOW).after(1));
    let status = site.status().await;
    assert!(site.manifest(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
    assert_eq!(fake.count("get", "secrets"), 2);
}

#[tokio::test]
async fn a_mirror_is_asked_before_a_registry_that_cannot_be_reached() {
    let flags = |mirror: &str| {
        let map = format!("--registry-map=nowhere.invalid={mirror}/cache");
        vec![map, format!("--insecure-registry={mirror}")]
    };
    let site = Site::with_flags(flags, |_| "nowhere.invalid/team/tools:1".to_owned());
    put_base_image(&site, "cache/team/tools");
    let status = site.status().await;
    assert!(site.manifest(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);

    // What the mirror does not have is asked of the registry, which is not there.
    let site = Site::with_flags(flags, |_| "nowhere.invalid/team/tools:1".to_owned());
    let status = site.status().await;
    assert!(site.manifest(true).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

/// Gives the registry an image without triggers.
fn put_base_image(site: &Site, repository: &str) {
    let config = json!({ "config": { "OnBuild": null } }).to_string().into_bytes();
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config), "size": config.len(),
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor, "layers": [],
    });
    let manifest = manifest.to_string().into_bytes();
    site.put(format!("{repository}/blobs/{}", Digest::of(&config)), config);
    site.put(format!("{repository}/manifests/{}", Digest::of(&manifest)), manifest.clone());
    site.put(format!("{repository}/manifests/1"), manifest);
}
