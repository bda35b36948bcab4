use garden_build_core::BuildRequest;
use garden_build_core::context::Context;
use garden_config::{DeploymentRegistry, Toleration};
use k8s_openapi::jiff::Timestamp;

use super::*;

/// Of builds that are sent their context.
fn settings() -> Settings {
    let mut options = KanikoOptions::default();
    options.context_delivery = ContextDelivery::Stdin;
    let mut registry = DeploymentRegistry::new("registry.example:5000").expect("valid");
    registry.namespace = Some("team".to_owned());
    Settings {
        options,
        resources: Resources::builder(),
        service_resources: Resources::util(),
        service_storage: None,
        idle_after: IdleAfter::default(),
        target: PushTarget::read("deploymentRegistry", &registry).expect("no certificate"),
        namespace: Namespace::new("my-project"),
        has_credentials: false,
        proxies: BuilderProxies::default(),
        traces_url: None,
        network_policies: false,
    }
}

/// The proxies of a network, one of which asks for a password.
fn proxies() -> BuilderProxies {
    let mut options = garden_config::ProxyOptions::default();
    options.http_proxy = Some("http://proxy.example:3128".into());
    options.https_proxy = Some("http://who:s3cret@proxy.example:3129".into());
    options.no_proxy = Some("registry.example".to_owned());
    BuilderProxies::new(&options)
}

fn job(request: impl FnOnce(BuildRequest) -> BuildRequest) -> BuildJob {
    job_of("FROM scratch\n", request)
}

fn job_of(dockerfile: &str, request: impl FnOnce(BuildRequest) -> BuildRequest) -> BuildJob {
    let directory = tempfile::TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).expect("writable");
    let request = request(BuildRequest::new("web/API_server", directory.path()));
    let context = Context::scan(&request, &|| false).expect("a context");
    let destination = "registry.example:5000/team/api:v-1".parse().expect("valid");
    BuildJob::new("0123456789", request, context, destination)
}

fn ownership() -> Ownership {
    Ownership { build: "0123456789".to_owned(), lease_expires: Timestamp::UNIX_EPOCH }
}

fn arguments_of(settings: &Settings, job: &BuildJob) -> Vec<String> {
    arguments(settings, job).expect("valid flags")
}

#[test]
fn a_registry_with_two_names_is_pushed_to_by_the_one_that_pods_reach() {
    let mut settings = settings();
    let called = |host: &str| {
        let mut registry = DeploymentRegistry::new(host).expect("valid");
        registry.insecure = true;
        registry
    };
    settings.target = PushTarget::with_two_names(called("127.0.0.1:5000"), called("registry.tools.svc:5000"));
    let mut job = job(|request| request);
    job.destination = "127.0.0.1:5000/team/api:v-1".parse().expect("valid");
    job.push_to = job.destination.in_registry("registry.tools.svc:5000").expect("valid");
    let arguments = arguments_of(&settings, &job);
    for expected in [
        "--destination=registry.tools.svc:5000/team/api:v-1",
        "--insecure-registry=registry.tools.svc:5000",
        "--registry-map=127.0.0.1:5000=registry.tools.svc:5000",
        "--cache-repo=registry.tools.svc:5000/team/api/cache",
    ] {
        assert!(arguments.iter().any(|argument| argument == expected), "{expected} in {arguments:?}");
    }
}

#[test]
fn the_executor_is_told_of_the_platform_what_the_dockerfile_asks_for() {
    let build_args = |dockerfile: &str, request: fn(BuildRequest) -> BuildRequest| {
        let arguments = arguments_of(&settings(), &job_of(dockerfile, request));
        arguments.into_iter().filter(|argument| argument.starts_with("--build-arg=")).collect::<Vec<_>>()
    };
    let dockerfile =
        "FROM base-${TARGETOS}\nARG TARGETARCH\nARG TARGETVARIANT\nARG TARGETPLATFORM=x\nARG BUILDARCH\n";
    assert_eq!(build_args(dockerfile, |request| request), [""; 0]);
    assert_eq!(
        build_args(dockerfile, |request| request.platform("linux/arm/v7")),
        ["--build-arg=TARGETARCH=arm", "--build-arg=TARGETOS=linux", "--build-arg=TARGETVARIANT=v7"]
    );
    assert_eq!(
        build_args(dockerfile, |request| request.platform("linux/arm64").build_arg("TARGETARCH", "mine")),
        ["--build-arg=TARGETARCH=mine", "--build-arg=TARGETOS=linux", "--build-arg=TARGETVARIANT="]
    );
    assert_eq!(build_args("FROM scratch\n", |request| request.platform("linux/arm64")), [""; 0]);
}

#[test]
fn the_executor_and_its_steps_get_proxies_and_the_password_is_in_the_secret_alone() {
    let mut settings = settings();
    settings.proxies = proxies();
    assert!(settings.needs_secret());
    let job = job(|request| request.build_arg("http_proxy", "http://mine:1"));
    let pod = pod(&settings, &job, &ownership(), None).expect("a pod");
    let shown = serde_json::to_string(&pod).expect("serialises");
    assert!(!format!("{shown} {settings:?}").contains("s3cret"), "{shown} {settings:?}");
    let container = &pod.spec.expect("a spec").containers[0];
    insta::assert_yaml_snapshot!(container.env);
    let arguments = container.args.as_deref().expect("arguments");
    let proxies: Vec<_> = arguments.iter().filter(|it| it.to_lowercase().contains("_proxy")).collect();
    let expected = [
        "--build-arg=http_proxy=http://mine:1",
        "--build-arg=HTTPS_PROXY",
        "--build-arg=NO_PROXY",
        "--build-arg=https_proxy",
        "--build-arg=no_proxy",
    ];
    assert_eq!(proxies, expected, "the request's own is stronger");

    let secret = secret(&settings, &job, &ownership(), None, None).expect("a secret");
    let data = secret.data.expect("data");
    assert_eq!(data["HTTPS_PROXY"].0, b"http://who:s3cret@proxy.example:3129");
    assert!(!data.contains_key("HTTP_PROXY"), "it has no password");
}

#[test]
fn the_plainest_pod() {
    let mut settings = settings();
    settings.options.image = "example/kaniko:1".to_owned();
    insta::assert_yaml_snapshot!(pod(&settings, &job(|request| request), &ownership(), None).expect("a pod"));
}

#[test]
fn every_option_of_the_guide_is_in_the_pod() {
    let mut settings = settings();
    settings.options.image = "example/kaniko:1".to_owned();
    settings.options.node_selector.insert("pool".to_owned(), "build".to_owned());
    settings.options.annotations.insert("team".to_owned(), "web".to_owned());
    settings.options.service_account_annotations.insert("role".to_owned(), "builder".to_owned());
    settings.options.tolerations.push(Toleration::equal("dedicated", "ci"));
    settings.options.extra_flags =
        vec!["--cache-repo=registry.example/cache".to_owned(), "--use-new-run".to_owned()];
    settings.resources.limits.ephemeral_storage = Some(2048);
    settings.target.reached.insecure = true;
    settings.target.certificate_authority = Some("a certificate".to_owned());
    settings.has_credentials = true;
    let job = job(|request| {
        request.target("app").build_arg("A", "1 2").platform("linux/arm64").extra_flag("--cache=false")
    });
    insta::assert_yaml_snapshot!(pod(&settings, &job, &ownership(), None).expect("a pod"));
}

/// Of builds that fetch their context.
fn syncing() -> Settings {
    let mut settings = settings();
    settings.options = KanikoOptions::default();
    settings
}

#[test]
fn a_pod_that_fetches_its_context_has_the_key_to_it_in_its_secret_alone() {
    let mut settings = syncing();
    settings.options.image = "example/kaniko:1-debug".to_owned();
    let (job, key) = (job(|request| request), Key::random());
    let pod = pod(&settings, &job, &ownership(), Some("10.0.0.1")).expect("a pod");
    let mut shown = serde_json::to_value(&pod).expect("serialises");
    let script = &mut shown["spec"]["containers"][0]["command"][2];
    assert_eq!(script.as_str(), Some(BUILD));
    *script = "build.sh".into();
    insta::assert_yaml_snapshot!(shown);
    let secret = secret(&settings, &job, &ownership(), None, Some(&key)).expect("a secret");
    let data = secret.data.expect("data");
    assert_eq!(data[CONTEXT_KEY].0, format!("{}\n", key.text().expose_secret()).into_bytes());
}

#[test]
fn the_service_goes_where_builders_go_unless_told_otherwise() {
    let mut settings = syncing();
    settings.options.node_selector.insert("pool".to_owned(), "build".to_owned());
    let selector = |settings: &Settings| settings.service().expect("a service").node_selector;
    assert_eq!(selector(&settings), settings.options.node_selector);
    settings.options.util = Some(garden_config::KanikoUtil::default());
    assert!(selector(&settings).is_empty());
    settings.options.context_delivery = ContextDelivery::Stdin;
    assert!(settings.service().is_none());
}

#[test]
fn the_garden_build_toleration_is_always_there() {
    let pod = pod(&settings(), &job(|request| request), &ownership(), None).expect("a pod");
    let tolerations = pod.spec.and_then(|spec| spec.tolerations).expect("tolerations");
    let builder = tolerations.last().expect("one at least");
    assert_eq!(
        (
            builder.key.as_deref(),
            builder.operator.as_deref(),
            builder.value.as_deref(),
            builder.effect.as_deref()
        ),
        (Some("garden-build"), Some("Equal"), Some("true"), Some("NoSchedule"))
    );
}

#[test]
fn the_user_s_annotations_cannot_hide_the_lease() {
    let mut settings = settings();
    settings.options.annotations.insert("garden-build/lease-expires".to_owned(), "never".to_owned());
    let pod = pod(&settings, &job(|request| request), &ownership(), None).expect("a pod");
    let annotations = pod.metadata.annotations.expect("annotations");
    assert_eq!(annotations.get("garden-build/lease-expires"), ownership().annotations().values().next());
}

#[test]
fn a_time_limit_beyond_all_clocks_is_the_longest_that_kubernetes_takes() {
    let job = job(|request| request.timeout(std::time::Duration::MAX));
    let pod = pod(&settings(), &job, &ownership(), None).expect("a pod");
    assert_eq!(pod.spec.and_then(|spec| spec.active_deadline_seconds), Some(i64::from(i32::MAX)));
}

#[test]
fn names_are_valid_for_any_image_name() {
    let name = pod_name(&job(|request| request));
    assert_eq!(name, "kaniko-web-api-server-0123456789");
    let long = BuildRequest::new("x".repeat(200), ".");
    let mut job = job(|request| request);
    job.request = long;
    assert!(pod_name(&job).len() <= 63);
}

#[test]
fn a_build_without_credentials_and_authority_needs_no_secret() {
    assert_eq!(secret(&settings(), &job(|request| request), &ownership(), None, None), None);
}

#[test]
fn the_secret_can_serve_as_the_pod_s_own_pull_secret_and_dies_with_the_pod() {
    let job = job(|request| request);
    let mut settings = settings();
    settings.has_credentials = true;
    let logins = Logins { builder: "the build's".into(), node: Some("the node's".into()) };
    let mut secret = secret(&settings, &job, &ownership(), Some(&logins), None).expect("a secret");
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    let data = secret.data.as_ref().expect("data");
    assert_eq!(
        (&*data[".dockerconfigjson"].0, &*data["config.json"].0),
        (&b"the node's"[..], &b"the build's"[..])
    );
    let mut pod = pod(&settings, &job, &ownership(), None).expect("a pod");
    pod.metadata.uid = Some("the-uid".to_owned());
    own_secret(&mut secret, &pod);
    let owner = &secret.metadata.owner_references.expect("an owner")[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()),
        ("Pod", pod_name(&job).as_str(), "the-uid")
    );
}

#[test]
fn what_a_node_needs_is_not_mounted_where_steps_see_it() {
    let mut settings = syncing();
    settings.has_credentials = true;
    settings.proxies = proxies();
    let pod = pod(&settings, &job(|request| request), &ownership(), Some("10.0.0.1")).expect("a pod");
    let volumes = pod.spec.and_then(|spec| spec.volumes).expect("volumes");
    let keys = volumes.iter().filter_map(|volume| volume.secret.as_ref()?.items.clone()).flatten();
    let keys: Vec<String> = keys.map(|item| item.key).collect();
    assert_eq!(keys, ["config.json", "context-key", "HTTPS_PROXY"]);
}

#[test]
fn plain_http_concerns_the_deployment_registry_only() {
    let mut settings = settings();
    settings.target.reached.insecure = true;
    let arguments = arguments_of(&settings, &job(|request| request));
    assert!(arguments.contains(&"--insecure-registry=registry.example:5000".to_owned()));
    assert!(!arguments.iter().any(|argument| argument == "--insecure" || argument == "--insecure-pull"));
}

#[test]
fn a_cache_repository_of_the_user_s_leaves_the_cache_on() {
    let mut settings = settings();
    settings.options.extra_flags = vec!["--cache-repo".to_owned(), "registry.example/cache".to_owned()];
    let arguments = arguments_of(&settings, &job(|request| request));
    assert!(arguments.contains(&"--cache=true".to_owned()));
    assert!(!arguments.contains(&"--cache-repo=registry.example:5000/team/api/cache".to_owned()));
}

#[test]
fn labels_hosts_and_no_cache_reach_the_executor_and_no_cache_is_stronger_than_any_flag() {
    let mut settings = settings();
    settings.options.extra_flags.push("--cache=true".to_owned());
    let job = job(|request| {
        request
            .label("team", "web")
            .extra_host("db.local", "10.0.0.7")
            .no_cache(true)
            .extra_flag("--cache=true")
    });
    let arguments = arguments_of(&settings, &job);
    assert!(arguments.contains(&"--label=team=web".to_owned()), "{arguments:?}");
    let caches: Vec<_> = arguments.iter().filter(|argument| argument.starts_with("--cache=")).collect();
    assert_eq!(caches, ["--cache=false"]);
    let pod = pod(&settings, &job, &ownership(), None).expect("a pod");
    let aliases = pod.spec.and_then(|spec| spec.host_aliases).expect("aliases");
    assert_eq!(
        (aliases[0].ip.as_str(), aliases[0].hostnames.as_deref()),
        ("10.0.0.7", Some(&["db.local".to_owned()][..]))
    );
}

#[test]
fn what_linux_gives_to_no_program_is_refused_before_anything_starts() {
    let checked = |length: usize| {
        let job = job(|request| request.build_arg("MANIFEST", "x".repeat(length)));
        check_lengths(&job.request)
    };
    let flag = "--build-arg=MANIFEST=".len();
    assert!(checked(LONGEST_ARGUMENT - flag).is_ok());
    let error = garden_build_core::Error::from(checked(LONGEST_ARGUMENT - flag + 1).expect_err("too long"));
    assert!(error.message().starts_with("`buildArgs.MANIFEST`: "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("file of the build context")), "{error}");
}
