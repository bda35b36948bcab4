//! What a registry of base images that is slow, or never answers, does to a question for an image.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::time::Duration;

use futures::FutureExt as _;
use garden_build::config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig, SecretRef};
use garden_build::kube::Client;
use garden_build::kube::client::Body;
use garden_build::{BuildRequest, Builder, BuilderOptions, Caches, Status};
use garden_build_testing::kubernetes::{FakeCluster, Fault as ClusterFault};
use garden_build_testing::registry::{Fault, Image, Registry};
use http::{Request, Response};
use k8s_openapi::ByteString;
use serde_json::json;
use tokio::time::timeout;

/// Longer than anybody should have to wait, and shorter than the patience with a registry that counts.
const BOUND: Duration = Duration::from_secs(20);

/// Longer than the question for a base image is waited for before it is looked whether its answer matters.
const SLOW: Duration = Duration::from_millis(500);

/// A project that builds for a registry here, and a file that the Dockerfile reads beside one that it does not.
struct Site {
    directory: tempfile::TempDir,
    options: BuilderOptions,
    builder: Builder,
    registry: Registry,
}

impl Site {
    async fn new(base: impl FnOnce(&str) -> String) -> Self {
        Self::with_flags(|_| Vec::new(), base).await
    }

    /// Of builds whose executor has these flags.
    async fn with_flags(flags: impl FnOnce(&str) -> Vec<String>, base: impl FnOnce(&str) -> String) -> Self {
        let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
        Self::of(Client::new(nobody, "default"), Vec::new(), flags, base).await
    }

    /// Of builds in a cluster that has the credentials of registries in these Secrets.
    async fn of(
        cluster: Client,
        secrets: Vec<SecretRef>,
        flags: impl FnOnce(&str) -> Vec<String>,
        base: impl FnOnce(&str) -> String,
    ) -> Self {
        let registry = Registry::start().await;
        registry.fault(Fault::delay("*", "/v2/base/*", SLOW).always());
        let mut provider = ProviderConfig::kubernetes("demo");
        let mut options = KanikoOptions::default();
        options.extra_flags = flags(&registry.host());
        provider.build_mode = BuildMode::Kaniko(options);
        let mut deployment = DeploymentRegistry::new(&registry.host()).unwrap();
        deployment.insecure = true;
        provider.deployment_registry = Some(deployment);
        provider.image_pull_secrets = secrets;
        let options = Builder::options(provider).client(cluster).caches(Caches::none());
        let builder = options.clone().connect().unwrap();
        let directory = tempfile::TempDir::new().unwrap();
        let dockerfile = format!("FROM {}\nCOPY read /\n", base(&registry.host()));
        for (name, content) in [("Dockerfile", dockerfile.as_str()), ("read", "read"), ("unread", "unread")] {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        Self { directory, options, builder, registry }
    }

    fn request(&self) -> BuildRequest {
        BuildRequest::new("api", self.directory.path())
    }

    async fn status(&self) -> Status {
        timeout(BOUND, self.builder.status(self.request())).await.expect("in time").unwrap()
    }

    /// The image's name in the registry, with the whole context or with what is read.
    async fn image(&self, whole: bool) -> String {
        let plan = self.builder.plan(self.request().whole_context(whole)).await.unwrap();
        format!("{}:{}", plan.reference.repository(), plan.reference.tag().unwrap())
    }
}

/// A registry that accepts connections and never says anything.
async fn silent() -> Registry {
    let registry = Registry::start().await;
    registry.fault(Fault::silent("*", "*").always());
    registry
}

#[tokio::test]
async fn nobody_waits_for_a_base_image_s_registry_when_there_is_nothing_to_do() {
    let silent = silent().await;
    let site = Site::new(|_| silent.reference("base:1").to_string()).await;
    let whole = site.image(true).await;
    assert_ne!(whole, site.image(false).await, "what is not read counts only in the whole context");
    let digest = site.registry.push_image(&whole, &Image::new());
    let status = site.status().await;
    assert_eq!(status.existing, Some(digest));
    assert!(whole.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

#[tokio::test]
async fn what_is_learned_is_kept_where_the_builder_s_caches_are() {
    let home = tempfile::TempDir::new().unwrap();
    let mut site = Site::new(|registry| format!("{registry}/other:1")).await;
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
    let silent = silent().await;
    let site = Site::new(|_| silent.reference("base:1").to_string()).await;
    let status = site.status().await;
    assert_eq!(status.existing, None);
    assert!(site.image(true).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

#[tokio::test]
async fn whoever_is_refused_a_base_image_is_told_what_to_do() {
    let private = Registry::builder().login("user", "password").start().await;
    let site = Site::with_flags(
        |_| vec![format!("--insecure-registry={}", private.host())],
        |_| private.reference("private/tools:1").to_string(),
    )
    .await;
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
    let site = Site::new(|registry| format!("{registry}/base:1")).await;
    put_base_image(&site, "base");
    let status = site.status().await;
    assert_eq!((status.existing, status.reference.registry()), (None, site.registry.host().as_str()));
    assert!(site.image(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
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
    let site = Site::new(|registry| format!("{registry}/base:1")).await;
    put_base_image(&site, "base");
    let manifest = site.image(false).await;
    put_unreadable(&site);
    let status = site.status().await;
    assert!(manifest.ends_with(status.reference.tag().unwrap()), "{}", status.reference);

    let silent = silent().await;
    let site = Site::new(|_| silent.reference("base:1").to_string()).await;
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
    let site =
        Site::of(fake.client(), secrets, |_| Vec::new(), |registry| format!("{registry}/base:1")).await;
    put_base_image(&site, "base");
    // Something else begins while they are read for the look-up, so they are read again for the base image. Meanwhile, the image with the
    // whole context is looked up, with the same credentials.
    let (builder, request) = (site.builder.clone(), site.request());
    let begin = move |_: &FakeCluster| drop(builder.status(request.clone()).now_or_never());
    fake.fault(ClusterFault::meddle("get", "secrets", begin));
    fake.fault(ClusterFault::delay("get", "secrets", SLOW).after(1));
    let status = site.status().await;
    assert!(site.image(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
    assert_eq!(fake.count("get", "secrets"), 2);
}

#[tokio::test]
async fn a_mirror_is_asked_before_a_registry_that_cannot_be_reached() {
    let flags = |mirror: &str| {
        let map = format!("--registry-map=nowhere.invalid={mirror}/cache");
        vec![map, format!("--insecure-registry={mirror}")]
    };
    let site = Site::with_flags(flags, |_| "nowhere.invalid/team/tools:1".to_owned()).await;
    put_base_image(&site, "cache/team/tools");
    let status = site.status().await;
    assert!(site.image(false).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);

    // What the mirror does not have is asked of the registry, which is not there.
    let site = Site::with_flags(flags, |_| "nowhere.invalid/team/tools:1".to_owned()).await;
    let status = site.status().await;
    assert!(site.image(true).await.ends_with(status.reference.tag().unwrap()), "{}", status.reference);
}

/// Gives the registry an image without triggers.
fn put_base_image(site: &Site, repository: &str) {
    let image = Image::new().with_config(|config| config["config"]["OnBuild"] = json!(null));
    site.registry.push_image(&format!("{repository}:1"), &image);
}
