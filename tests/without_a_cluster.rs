//! What the facade answers without asking anyone: the cluster here fails the test if it is asked.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::Arc;

use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, ClusterDockerOptions, DeploymentRegistry, KanikoOptions,
    PersistentStorage, ProviderConfig, ProviderKind, SecretRef,
};
use garden_build::docker::DockerDaemon;
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Builder, Capabilities, CleanUpOptions,
    ErrorKind, ImageFlag, PlannedObject, Pushed, Result, SweepReport,
};
use garden_build_testing::registry::Registry;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;

fn nobody() -> Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        Err::<Response<Body>, _>(format!("asked the cluster for {}", request.uri()))
    });
    Client::new(service, "default")
}

fn provider() -> ProviderConfig {
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    provider.deployment_registry = Some(DeploymentRegistry::new("registry.example/team").unwrap());
    provider
}

fn context() -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    directory
}

#[tokio::test]
async fn a_plan_of_both_docker_modes_shows_what_the_daemon_is_asked_for() {
    let directory = context();
    let plan = async |mode: BuildMode, daemon: DockerDaemon| {
        let mut provider = provider();
        provider.build_mode = mode;
        let builder = Builder::options(provider).client(nobody()).docker(daemon).connect().unwrap();
        builder.plan(BuildRequest::new("api", directory.path()).target("app")).await.unwrap()
    };
    let daemon = || DockerDaemon::at("tcp://127.0.0.1:1").unwrap();
    let mut buildkit = ClusterDockerOptions::default();
    buildkit.enable_buildkit = true;
    for (mode, daemon) in [(BuildMode::LocalDocker, daemon()), (BuildMode::ClusterDocker(buildkit), daemon())]
    {
        let plan = plan(mode, daemon).await;
        let build = &plan.objects[0].object;
        assert_eq!(build["image"]["docker"]["names"][0], plan.reference.to_string());
        assert_eq!(build["target"], "app");
    }
    for (mode, daemon) in [
        (BuildMode::LocalDocker, daemon().without_buildkit()),
        (BuildMode::ClusterDocker(ClusterDockerOptions::default()), daemon()),
    ] {
        let plan = plan(mode, daemon).await;
        let build = &plan.objects[0].object;
        assert_eq!((&build["t"], &build["target"]), (&plan.reference.to_string().into(), &"app".into()));
    }
}

#[tokio::test]
async fn only_a_local_cluster_gets_images_from_a_local_daemon_without_a_registry() {
    let mut provider = provider();
    provider.build_mode = BuildMode::LocalDocker;
    provider.deployment_registry = None;
    let error = Builder::options(provider.clone()).client(nobody()).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("deploymentRegistry"), "{error}");
    provider.kind = ProviderKind::LocalKubernetes;
    let directory = context();
    let builder = Builder::options(provider).client(nobody()).connect().unwrap();
    let plan = builder.plan(BuildRequest::new("api", directory.path())).await.unwrap();
    assert!(plan.reference.to_string().starts_with("docker.io/library/api:v-"), "{}", plan.reference);
}

#[tokio::test]
async fn without_a_registry_images_go_to_the_one_in_the_cluster() {
    let mut provider = provider();
    provider.deployment_registry = None;
    let plan = |provider| async {
        let builder = Builder::options(provider).client(nobody()).connect().unwrap();
        let directory = tempfile::TempDir::new().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        builder.plan(BuildRequest::new("api", directory.path())).await.unwrap()
    };
    let name = format!("127.0.0.1:5000/{}/api:v-", provider.project_name);
    let planned = plan(provider.clone()).await;
    assert!(planned.reference.to_string().starts_with(&name), "{}", planned.reference);

    // Nobody but this machine's daemon builds in this mode, and it does not reach that registry.
    provider.build_mode = BuildMode::LocalDocker;
    let error = Builder::options(provider).client(nobody()).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("deploymentRegistry"), "{error}");
}

#[tokio::test]
async fn options_set_in_rust_are_checked_like_those_of_a_file() {
    let mut provider = provider();
    provider.namespace.name = "Not_A_Namespace".to_owned();
    let error = Builder::options(provider).client(nobody()).connect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("Not_A_Namespace"), "{error}");
}

#[tokio::test]
async fn what_the_mode_cannot_do_is_refused_before_anything_is_read() {
    let builder = Builder::options(provider()).client(nobody()).connect().unwrap();
    let request =
        BuildRequest::new("api", "/no/such/directory").platform("linux/amd64").platform("linux/arm64");
    let error = builder.build(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("platforms"), "{error}");
    let request = BuildRequest::new("api", "/no/such/directory").secret("token", "s3cret");
    let error = builder.build(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`secrets`: kaniko cannot"), "{error}");
    // Which modes can is for the facade to say; core knows of none.
    assert!(error.hint().is_some_and(|hint| hint.contains("`cluster-buildkit`")), "{error}");
}

#[tokio::test]
async fn who_asks_no_cluster_needs_no_kubeconfig() {
    let directory = context();
    let mut provider = provider();
    provider.kubeconfig = Some("/no/such/kubeconfig".into());
    let request = || BuildRequest::new("api", directory.path());
    let plan = Builder::options(provider.clone()).connect().unwrap().plan(request()).await.unwrap();
    assert!(!plan.objects.is_empty());

    // The registry has nothing.
    let registry = Registry::start().await;
    let mut deployment = DeploymentRegistry::new(&registry.host()).unwrap();
    deployment.insecure = true;
    provider.deployment_registry = Some(deployment);
    let builder = Builder::options(provider.clone()).connect().unwrap();
    assert_eq!(builder.status(request()).await.unwrap().existing, None);

    // A build in the cluster says what it lacks.
    let error = builder.build(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.message().contains("/no/such/kubeconfig"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("KUBECONFIG")), "{error}");

    // One with a Docker daemon gets as far as that.
    provider.build_mode = BuildMode::LocalDocker;
    let daemon = DockerDaemon::at("tcp://127.0.0.1:1").unwrap();
    let builder = Builder::options(provider).docker(daemon).connect().unwrap();
    let error = builder.build(request()).await.unwrap_err();
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn an_image_name_that_no_registry_takes_is_refused() {
    let directory = context();
    let builder = Builder::options(provider()).client(nobody()).connect().unwrap();
    let error = builder.plan(BuildRequest::new("API Server", directory.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("API Server"), "{error}");
}

#[tokio::test]
async fn a_plan_shows_every_object_and_asks_nobody() {
    let directory = context();
    let mut provider = provider();
    provider.image_pull_secrets.push(SecretRef::new("regcred"));
    // Where builders are, so that it need not be copied.
    provider.image_pull_secrets.push(SecretRef::new("own").in_namespace("garden-system"));
    let builder = Builder::options(provider).client(nobody()).connect().unwrap();
    let plan = builder.plan(BuildRequest::new("api", directory.path())).await.unwrap();

    let tag = plan.reference.tag().unwrap();
    assert!(tag.starts_with("v-"));
    assert_eq!(plan.reference.to_string(), format!("registry.example/team/api:{tag}"));
    let kinds: Vec<_> = plan.objects.iter().map(|planned| planned.object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "Secret", "Deployment", "Secret", "Pod"]);
    assert_is_copy_of_regcred(&plan.objects[1], "garden-system", KanikoOptions::DEFAULT_IMAGE);
    let named = &plan.objects[2].object["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(*named, serde_json::json!([{ "name": "own" }, { "name": "regcred" }]));
    let secret = plan.objects[3].object["stringData"].as_object().unwrap();
    assert_eq!(secret.keys().collect::<Vec<_>>(), [".dockerconfigjson", "config.json", "context-key"]);
    assert!(secret.values().all(|value| value == "<redacted>"), "{secret:?}");
    let arguments = plan.objects[4].object["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.iter().any(|argument| argument == &format!("--destination={}", plan.reference)));
}

/// Wherever a builder is, it may be behind another proxy, and passwords change.
#[tokio::test]
async fn proxies_do_not_change_an_images_name_and_a_plan_shows_no_password_of_theirs() {
    let directory = context();
    let mut buildkit = ClusterDockerOptions::default();
    buildkit.enable_buildkit = true;
    for (mode, secrets) in [
        (BuildMode::Kaniko(KanikoOptions::default()), 1),
        (BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default()), 1),
        (BuildMode::ClusterDocker(ClusterDockerOptions::default()), 0),
        (BuildMode::ClusterDocker(buildkit), 0),
    ] {
        let plan = async |proxy: Option<&str>| {
            let mut provider = provider();
            provider.build_mode = mode.clone();
            provider.proxies.https_proxy = proxy.map(Into::into);
            let builder = Builder::options(provider).client(nobody()).connect().unwrap();
            builder.plan(BuildRequest::new("api", directory.path())).await.unwrap()
        };
        let (without, with) = (plan(None).await, plan(Some("http://who:s3cret@proxy.example:3128")).await);
        assert_eq!(with.reference, without.reference, "{mode:?}");
        let shown = serde_json::to_string(&with).unwrap();
        assert!(shown.contains("HTTPS_PROXY") && shown.contains("169.254.0.0/16"), "{shown}");
        assert!(!format!("{shown} {with:?}").contains("s3cret"), "{shown}");
        let is_of_proxies = |secret: &serde_json::Value| secret["stringData"]["HTTPS_PROXY"] == "<redacted>";
        let found = with.objects.iter().filter(|planned| is_of_proxies(&planned.object)).count();
        assert_eq!(found, secrets, "{mode:?}: {shown}");
    }
}

/// What a plan shows of the Secret with which nodes may have to pull the builder's own image.
#[track_caller]
fn assert_is_copy_of_regcred(planned: &PlannedObject, namespace: &str, image: &str) {
    let expected = format!(
        "Secret {namespace}/regcred, a copy of Secret default/regcred, if that has a password for {image}"
    );
    assert_eq!(planned.description, expected);
    let copy = &planned.object;
    assert_eq!(copy["metadata"]["annotations"]["garden-build/copied-from"], "default/regcred");
    assert_eq!(copy["metadata"]["labels"]["app.kubernetes.io/managed-by"], "garden-build");
    assert_eq!(copy["stringData"], serde_json::json!({ ".dockerconfigjson": "<redacted>" }));
}

#[tokio::test]
async fn a_context_that_cannot_be_read_is_a_failure_of_the_build_not_of_the_cluster() {
    let builder = Builder::options(provider()).client(nobody()).connect().unwrap();
    let error = builder.build(BuildRequest::new("api", "/no/such/directory")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Context);
    assert!(error.message().contains("/no/such/directory"), "{error}");
}

#[tokio::test]
async fn flags_of_the_provider_count_for_the_version_if_they_can_change_the_image() {
    let directory = context();
    let reference = async |flags: &[&str]| {
        let mut provider = provider();
        let mut kaniko = KanikoOptions::default();
        kaniko.extra_flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        provider.build_mode = BuildMode::Kaniko(kaniko);
        let builder = Builder::options(provider).client(nobody()).connect().unwrap();
        builder.plan(BuildRequest::new("api", directory.path())).await.unwrap().reference
    };
    let plain = reference(&[]).await;
    assert_ne!(reference(&["--build-arg=A=1"]).await, plain);
    assert_ne!(reference(&["--build-arg=A=1"]).await, reference(&["--build-arg=A=2"]).await);
    assert_eq!(reference(&["--verbosity=debug", "--cache-repo=registry.example/cache"]).await, plain);
}

fn buildkit() -> ProviderConfig {
    let mut provider = provider();
    provider.build_mode = BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default());
    provider
}

#[tokio::test]
async fn a_plan_of_cluster_buildkit_shows_the_daemon_and_the_build_without_secrets() {
    let directory = context();
    let mut provider = buildkit();
    provider.image_pull_secrets.push(SecretRef::new("regcred"));
    let builder = Builder::options(provider).client(nobody()).connect().unwrap();
    let request = BuildRequest::new("api", directory.path())
        .build_arg("RELEASE", "2.1")
        .secret("token", "s3cr3t")
        .ssh_agent("default", "/no/such/agent");
    let plan = builder.plan(request).await.unwrap();

    let described: Vec<_> = plan.objects.iter().map(|planned| planned.description.as_str()).collect();
    let kinds: Vec<_> = described.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "Secret", "ConfigMap", "Deployment", "build"], "{described:?}");
    assert_is_copy_of_regcred(&plan.objects[1], "demo-default", ClusterBuildkitOptions::DEFAULT_IMAGE);
    let named = &plan.objects[3].object["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(*named, serde_json::json!([{ "name": "regcred" }]));
    let build = &plan.objects[4].object;
    assert_eq!(build["image"]["pushed"]["names"], serde_json::json!([plan.reference.to_string()]));
    assert_eq!(build["buildArgs"]["RELEASE"], "2.1");
    let cache = format!("{}:_buildcache", plan.reference.name());
    assert_eq!(build["cacheExports"][0]["attributes"]["ref"], cache.as_str());
    let shown = serde_json::to_string(&plan).unwrap();
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn a_plan_of_cluster_buildkit_shows_the_volume_that_is_asked_for() {
    let directory = context();
    let mut provider = buildkit();
    let BuildMode::ClusterBuildkit(options) = &mut provider.build_mode else { unreachable!() };
    options.storage = Some(PersistentStorage::default());
    let builder = Builder::options(provider).client(nobody()).connect().unwrap();
    let plan = builder.plan(BuildRequest::new("api", directory.path())).await.unwrap();
    let claim = &plan.objects[1].object;
    assert_eq!(claim["kind"], "PersistentVolumeClaim");
}

#[tokio::test]
async fn a_flag_that_cluster_buildkit_does_not_know_is_refused_by_name() {
    let directory = context();
    let builder = Builder::options(buildkit()).client(nobody()).connect().unwrap();
    let request = BuildRequest::new("api", directory.path()).extra_flag("--no-such-flag=1");
    let error = builder.build(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("--no-such-flag=1"), "{error}");
}

#[tokio::test]
async fn options_of_the_frontend_count_for_the_version() {
    let directory = context();
    let builder = Builder::options(buildkit()).client(nobody()).connect().unwrap();
    let reference = async |flag: Option<&str>| {
        let request = BuildRequest::new("api", directory.path());
        let request = flag.into_iter().fold(request, BuildRequest::extra_flag);
        builder.plan(request).await.unwrap().reference
    };
    let plain = reference(None).await;
    assert_ne!(reference(Some("--opt=hostname=a")).await, plain);
    assert_ne!(reference(Some("--opt=hostname=a")).await, reference(Some("--opt=hostname=b")).await);
}

#[tokio::test]
async fn a_registry_outside_of_the_cluster_is_left_to_its_own_retention_policy() {
    let builder = Builder::options(provider()).client(nobody()).connect().unwrap();
    let planned = builder.plan_clean_up(CleanUpOptions::new()).await.map(drop);
    let cleaned = builder.clean_up_registry(CleanUpOptions::new()).await.map(drop);
    for error in [planned.unwrap_err(), cleaned.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("registry.example"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("retention policy")), "{error}");
    }
}

/// A backend that this crate knows nothing of. Its flag `--polish` reads nothing, and `--graft` reads some directory. It
/// plans the paths that it is given.
#[derive(Debug)]
struct Foreign;

impl Backend for Foreign {
    fn name(&self) -> &'static str {
        "foreign"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().skipping_unused_stages(true)
    }

    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        let flags = request.extra_flags.iter().map(|flag| match flag.as_str() {
            "--polish" => ImageFlag::reading_no_more([flag]),
            _ => ImageFlag::new([flag]),
        });
        Ok(flags.collect())
    }

    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        let paths = job.context.manifest().entries().map(|entry| entry.path);
        Ok(vec![PlannedObject::of("context", &paths.collect::<Vec<_>>())?])
    }

    fn build<'a>(&'a self, _: &'a BuildJob, _: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        unreachable!("nothing is built")
    }

    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        unreachable!("nothing is built")
    }
}

#[tokio::test]
async fn what_the_flags_of_a_foreign_backend_read_is_for_it_to_say() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY read /\n").unwrap();
    std::fs::write(directory.path().join("read"), "").unwrap();
    std::fs::write(directory.path().join("unread"), "").unwrap();
    let builder = Builder::options(provider()).client(nobody()).backend(Arc::new(Foreign)).connect().unwrap();
    let paths = async |flags: &[&str]| {
        let request = BuildRequest::new("api", directory.path());
        let request = flags.iter().fold(request, |request, flag| request.extra_flag(*flag));
        builder.plan(request).await.unwrap().objects[0].object.clone()
    };
    assert_eq!(paths(&[]).await, serde_json::json!(["read"]));
    assert_eq!(paths(&["--polish"]).await, serde_json::json!(["read"]));
    assert_eq!(paths(&["--polish", "--graft"]).await, serde_json::json!(["Dockerfile", "read", "unread"]));
}
