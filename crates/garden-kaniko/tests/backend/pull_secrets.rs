//! With which Secrets nodes pull the executor's own image, for builds and for the context service.

use garden_build_core::{Backend as _, ErrorKind};
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal, Request};
use garden_config::{ContextDelivery, SecretRef};
use garden_kaniko::spec::Settings;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::service::{SERVICE, Turn, cluster};
use crate::site::{NAMESPACE, Site, settings, succeed};

/// What a runtime says of an image that it is not let have. Source: containerd 1.7.
const UNAUTHORIZED: &str = "failed to pull and unpack image: failed to resolve reference: pull access denied, repository does not exist or \
                            may require authorization: authorization failed: no basic auth credentials";

/// Puts a Secret with a password for `registry` into the namespace `ops`.
fn login(fake: &FakeCluster, name: &str, registry: &str, password: &str) {
    let configuration = json!({ "auths": { registry: { "username": "user", "password": password } } });
    fake.namespace("ops");
    fake.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "ops" },
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": ByteString(configuration.to_string().into_bytes()) },
    }));
}

/// A cluster with a context service, to whose pods this happens, and with two Secrets: one to push with, and one that the image needs.
fn private(of_service: impl Fn(FakePod) + Send + Sync + 'static) -> FakeCluster {
    let fake = cluster(Turn::None, of_service);
    login(&fake, "push", "registry.example:5000", "one");
    login(&fake, "pull", "ghcr.io", "one");
    fake
}

/// A build there.
fn build_in(fake: &FakeCluster, id: &str) -> Site {
    let secrets = ["push", "pull"].map(|name| SecretRef::new(name).in_namespace("ops"));
    pulling_with(fake.clone(), id, ContextDelivery::Sync, secrets.to_vec())
}

/// The same, with these Secrets.
fn pulling_with(fake: FakeCluster, id: &str, delivery: ContextDelivery, secrets: Vec<SecretRef>) -> Site {
    Site::with_secrets(fake, id, Settings { has_credentials: true, ..settings(delivery) }, secrets)
}

/// What nodes have of the Secret that the image needs.
fn copied(fake: &FakeCluster) -> Option<Value> {
    fake.object("secrets", NAMESPACE, "pull").map(|copy| copy["data"].clone())
}

fn source(fake: &FakeCluster) -> Option<Value> {
    fake.object("secrets", "ops", "pull").map(|secret| secret["data"].clone())
}

/// The Secrets that the builder's pod names, as it was created.
fn named_by_executor(fake: &FakeCluster) -> Value {
    let requests = fake.requests();
    let created = requests.iter().find(|it| it.verb() == "patch" && it.resource() == "pods").unwrap();
    created.json().unwrap()["spec"]["imagePullSecrets"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_service_and_the_executor_name_what_the_image_s_registry_needs() {
    let fake = private(|pod| pod.run());
    let site = build_in(&fake, "0123456789");
    let seen = site.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    assert_eq!(seen.warnings(), Vec::<String>::new());
    let deployment = fake.object("deployments", NAMESPACE, "garden-util").unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(copied(&fake), source(&fake));
    assert_eq!(fake.object("secrets", NAMESPACE, "push"), None, "nodes need none to pull");
    assert_eq!(named_by_executor(&fake), json!([{ "name": "garden-docker-auth-0123456789" }]));
    let requests = fake.requests();
    let reads = requests.iter().filter(|it| it.verb() == "get" && it.namespace() == Some("ops"));
    let mut reads: Vec<String> = reads.map(Request::words).collect();
    reads.sort();
    assert_eq!(reads, ["get secrets ops/pull", "get secrets ops/push"], "each is read once");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_renewed_is_copied_by_the_next_build_and_the_service_stays() {
    let fake = private(|pod| pod.run());
    build_in(&fake, "0123456789").build().await.outcome.unwrap();
    let deployment = fake.object("deployments", NAMESPACE, "garden-util");
    login(&fake, "pull", "ghcr.io", "two");
    fake.forget_requests();
    let seen = build_in(&fake, "9876543210").build().await;
    assert_eq!(
        (seen.outcome.is_ok(), seen.log().iter().any(|line| line.contains("settings"))),
        (true, false)
    );
    assert_eq!(copied(&fake), source(&fake));
    assert_eq!(fake.count("update", "secrets"), 1);
    assert_eq!(fake.object("deployments", NAMESPACE, "garden-util"), deployment);

    // What is up to date is only looked at, and outlives builds and sweeps.
    fake.forget_requests();
    let site = build_in(&fake, "1111111111");
    site.build().await.outcome.unwrap();
    assert_eq!(site.backend.sweep().await.unwrap().removed, Vec::<String>::new());
    assert_eq!((fake.count("update", "secrets"), fake.count("create", "secrets")), (0, 0));
    assert_eq!(copied(&fake), source(&fake));
}

/// Says whether nodes have the password `two`, without which they do not get the image.
fn runs_if_let_in(pod: &FakePod) {
    let expected = json!({ "auths": { "ghcr.io": { "username": "user", "password": "two" } } });
    let expected = json!({ ".dockerconfigjson": ByteString(expected.to_string().into_bytes()) });
    if copied(pod.cluster()) == Some(expected) {
        pod.run();
    } else {
        pod.wait(SERVICE, "ErrImagePull", UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_could_not_be_pulled_before_its_secret_was_renewed_is_started_at_once() {
    let fake = private(|pod| runs_if_let_in(&pod));
    let error = build_in(&fake, "0123456789").build().await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImagePull, "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("`kaniko.image`") && hint.contains("`imagePullSecrets`"), "{hint}");

    login(&fake, "pull", "ghcr.io", "two");
    let seen = build_in(&fake, "9876543210").build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    let log = seen.log();
    assert!(
        log.iter().any(|line| line.contains("could not pull its image before, and is replaced")),
        "{log:?}"
    );
    assert_eq!(fake.created("deployments").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_may_not_be_ended_is_left_to_its_node_and_that_is_said() {
    let fake = private(|pod| runs_if_let_in(&pod));
    build_in(&fake, "0123456789").build().await.outcome.unwrap_err();
    login(&fake, "pull", "ghcr.io", "two");
    fake.fault(Fault::refuse("delete", "pods", Refusal::forbidden("delete", "pods", NAMESPACE)));
    let seen = build_in(&fake, "9876543210").build().await;
    assert_eq!(seen.outcome.as_ref().unwrap_err().kind(), ErrorKind::ImagePull);
    let warnings = seen.warnings();
    assert!(
        matches!(&warnings[..], [one] if one.contains("cannot be ended for another one")),
        "{warnings:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_copy_the_secret_is_warned_and_told_so_if_the_image_cannot_be_pulled() {
    let forbid = |fake: &FakeCluster| {
        let refusal = Refusal::forbidden("create", "secrets", NAMESPACE);
        // The build's own Secret is applied.
        fake.fault(Fault::refuse("create", "secrets", refusal).always());
    };
    // The image may be on the node already.
    let fake = private(|pod| pod.run());
    forbid(&fake);
    let seen = build_in(&fake, "0123456789").build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    let warnings = seen.warnings();
    assert!(
        matches!(&warnings[..], [one] if one.contains("refused to create Secret builds/pull")),
        "{warnings:?}"
    );
    // It runs now, so nobody is warned any more.
    let seen = build_in(&fake, "9876543210").build().await;
    assert_eq!((seen.outcome.is_ok(), seen.warnings()), (true, Vec::new()));

    let fake = private(|pod| runs_if_let_in(&pod));
    forbid(&fake);
    let error = build_in(&fake, "0123456789").build().await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImagePull, "{error}");
    assert!(error.message().contains("refused to create Secret builds/pull"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("ask for a role that may create Secret builds/pull"), "{hint}");
    assert!(hint.contains("Namespace builds") && hint.contains("`imagePullSecrets`"), "{hint}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_another_client_made_without_the_secret_gets_it_if_it_cannot_start() {
    let fake = private(|pod| {
        let named =
            pod.object().unwrap_or_default()["spec"]["imagePullSecrets"] == json!([{ "name": "pull" }]);
        if named { pod.run() } else { pod.wait(SERVICE, "ErrImagePull", UNAUTHORIZED) }
    });
    let without = Site::new(fake.clone(), "0123456789", ContextDelivery::Sync);
    assert_eq!(without.build().await.outcome.unwrap_err().kind(), ErrorKind::ImagePull);
    let seen = build_in(&fake, "9876543210").build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    // And who has none uses it as it is.
    let seen = Site::new(fake.clone(), "1111111111", ContextDelivery::Sync).build().await;
    assert!(seen.outcome.is_ok() && !seen.log().iter().any(|line| line.contains("settings")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_secret_has_no_password_for_the_image_has_those_of_its_service_account() {
    for (names, named) in [
        (&["push"][..], Value::Null),
        (&["push", "pull"][..], json!([{ "name": "garden-docker-auth-0123456789" }])),
    ] {
        let site = Site::stdin(async |pod: FakePod| succeed(&pod));
        login(&site.fake, "push", "registry.example:5000", "one");
        login(&site.fake, "pull", "*.io", "one");
        let secrets = names.iter().map(|name| SecretRef::new(*name).in_namespace("ops")).collect();
        let site = pulling_with(site.fake, "0123456789", ContextDelivery::Stdin, secrets);
        site.build().await.outcome.unwrap();
        assert_eq!(named_by_executor(&site.fake), named, "{names:?}");
        // What a node has to have nothing of, a build without a service copies nowhere.
        assert_eq!(copied(&site.fake), None);
    }
}

/// The registries in a Docker configuration of the build's Secret, as it was created.
fn registries_in(fake: &FakeCluster, key: &str) -> Vec<String> {
    let requests = fake.requests();
    let created = requests.iter().find(|it| it.verb() == "patch" && it.resource() == "secrets").unwrap();
    let data: ByteString = serde_json::from_value(created.json().unwrap()["data"][key].clone()).unwrap();
    let config: Value = serde_json::from_slice(&data.0).unwrap();
    config["auths"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn steps_see_the_logins_that_their_build_needs_and_no_others() {
    let site = Site::stdin(async |pod: FakePod| succeed(&pod));
    let hosts = [
        "registry.example:5000",
        "ghcr.io",
        "base.example",
        "copied.example",
        "mounted.example",
        "cache.example",
        "mirror.example",
        "production.example",
    ];
    let names: Vec<SecretRef> =
        (0..hosts.len()).map(|it| SecretRef::new(format!("s{it}")).in_namespace("ops")).collect();
    for (host, secret) in hosts.iter().zip(&names) {
        login(&site.fake, &secret.name, host, "one");
    }
    let dockerfile = "FROM base.example/a\nCOPY --from=copied.example/b /b /\n\
                      RUN --mount=from=mounted.example/c,target=/c true\nFROM busybox\n";
    let site = pulling_with(site.fake, "0123456789", ContextDelivery::Stdin, names).building(
        dockerfile,
        |request| {
            request
                .extra_flag("--cache-repo=cache.example/layers")
                .extra_flag("--registry-mirror=mirror.example")
        },
    );
    site.build().await.outcome.unwrap();
    assert_eq!(
        registries_in(&site.fake, "config.json"),
        [
            "base.example",
            "cache.example",
            "copied.example",
            "mirror.example",
            "mounted.example",
            "registry.example:5000"
        ]
    );
    assert_eq!(registries_in(&site.fake, ".dockerconfigjson"), ["ghcr.io"], "the node's");
}
