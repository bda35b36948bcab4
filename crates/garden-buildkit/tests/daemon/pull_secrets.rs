//! With which Secrets nodes pull the daemon's image.

use garden_build_core::{Error, ErrorKind, Event, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault, Refusal};
use garden_buildkit::daemon::{self, Daemon};
use garden_buildkit::spec::{CONTAINER, DaemonOptions, NAME, Settings};
use garden_cluster::{Cluster, ClusterError, RegistryCredentials};
use garden_config::SecretRef;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{NAMESPACE, settings};

/// What a runtime says of an image that it is not let have. Source: containerd 1.7.
const UNAUTHORIZED: &str = "failed to pull and unpack image: failed to resolve reference: pull access denied, repository does not exist or \
                            may require authorization: authorization failed: no basic auth credentials";

/// A cluster in which this happens to the daemon's pods, and in whose namespace `ops` are Secrets with passwords for two registries.
fn private(of_daemon: impl Fn(&FakePod) + Send + Sync + 'static) -> FakeCluster {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.namespace("ops");
    login(&fake, "pull", "private.example", "one");
    login(&fake, "push", "r.example", "one");
    fake.on_pod(move |pod| {
        of_daemon(&pod);
        std::future::ready(())
    });
    fake
}

fn login(fake: &FakeCluster, name: &str, registry: &str, password: &str) {
    fake.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "ops" },
        "type": "kubernetes.io/dockerconfigjson", "data": data(registry, password),
    }));
}

fn data(registry: &str, password: &str) -> Value {
    let configuration = json!({ "auths": { registry: { "username": "user", "password": password } } });
    json!({ ".dockerconfigjson": ByteString(configuration.to_string().into_bytes()) })
}

/// Starts a pod whose node has the password `two`.
fn run_if_let_in(pod: &FakePod) {
    let copy = pod.cluster().object("secrets", NAMESPACE, "pull");
    if copy.is_some_and(|copy| copy["data"] == data("private.example", "two")) {
        pod.run();
    } else {
        pod.wait(CONTAINER, "ErrImagePull", UNAUTHORIZED);
    }
}

/// Makes sure of the daemon as a build does whose `imagePullSecrets` are these. Returns the warnings, too.
async fn ensure(fake: &FakeCluster, names: &[&str]) -> (Result<Daemon, ClusterError>, Vec<String>) {
    let cluster = Cluster::new(fake.client());
    let secrets = names.iter().map(|name| SecretRef::new(*name).in_namespace("ops")).collect();
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", secrets);
    let image = "private.example/tools/buildkit:1".to_owned();
    let options = DaemonOptions { image, ..DaemonOptions::default() };
    let settings = Settings { options, ..settings() };
    let (events, mut heard) = event_channel();
    let ensured = daemon::ensure(&cluster, &settings, &credentials, &events).await;
    drop(events);
    let mut warnings = Vec::new();
    while let Some(event) = heard.next().await {
        if let Event::Warning { message, .. } = event {
            warnings.push(message);
        }
    }
    (ensured, warnings)
}

/// The Secrets that the daemon's pods name.
fn named(fake: &FakeCluster) -> Value {
    let deployment = fake.object("deployments", NAMESPACE, NAME).unwrap();
    deployment["spec"]["template"]["spec"]["imagePullSecrets"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_daemon_names_what_its_registry_needs_and_whoever_needs_less_or_knows_more_uses_the_same_one() {
    let fake = private(FakePod::run);
    let (daemon, warnings) = ensure(&fake, &["push", "pull"]).await;
    let daemon = daemon.unwrap();
    assert_eq!((named(&fake), warnings), (json!([{ "name": "pull" }]), Vec::new()));
    let copy = fake.object("secrets", NAMESPACE, "pull").unwrap();
    assert_eq!(copy["data"], data("private.example", "one"));
    assert_eq!(fake.object("secrets", NAMESPACE, "push"), None);

    fake.forget_requests();
    for names in [&["pull", "push"][..], &["pull"], &["push"], &[]] {
        let (again, warnings) = ensure(&fake, names).await;
        assert_eq!((again.unwrap().pod, warnings), (daemon.pod.clone(), Vec::new()), "{names:?}");
    }
    assert_eq!(fake.writes(), Vec::<String>::new());

    // A Secret that was renewed is no other configuration.
    login(&fake, "pull", "private.example", "two");
    let (again, _) = ensure(&fake, &["push", "pull"]).await;
    assert_eq!(again.unwrap().pod, daemon.pod);
    assert_eq!(fake.writes(), ["update secrets shop/pull"]);
    assert_eq!(fake.object("secrets", NAMESPACE, "pull").unwrap()["data"], data("private.example", "two"));

    // One that is needed as well is, once.
    login(&fake, "more", "private.example/tools", "one");
    let (more, _) = ensure(&fake, &["more"]).await;
    let more = more.unwrap();
    assert_ne!(more.pod, daemon.pod);
    assert_eq!(named(&fake), json!([{ "name": "more" }, { "name": "pull" }]));
    let (again, warnings) = ensure(&fake, &["pull"]).await;
    assert_eq!((again.unwrap().pod, warnings), (more.pod, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_could_not_be_pulled_before_its_secret_was_renewed_is_started_at_once() {
    let fake = private(run_if_let_in);
    let (daemon, _) = ensure(&fake, &["pull"]).await;
    assert_eq!(Error::from(daemon.unwrap_err()).kind(), ErrorKind::ImagePull);
    login(&fake, "pull", "private.example", "two");
    let (daemon, warnings) = ensure(&fake, &["pull"]).await;
    assert!(daemon.is_ok(), "{daemon:?}");
    assert_eq!((warnings, fake.created("deployments").len()), (Vec::new(), 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_copy_the_secret_is_warned_and_told_so_if_the_image_cannot_be_pulled() {
    let fake = private(run_if_let_in);
    fake.fault(Fault::refuse("create", "secrets", Refusal::forbidden("create", "secrets", NAMESPACE)));
    let (daemon, warnings) = ensure(&fake, &["pull"]).await;
    let error = Error::from(daemon.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::ImagePull);
    assert!(error.message().contains("refused to create Secret shop/pull"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("ask for a role that may create Secret shop/pull"), "{hint}");
    assert!(matches!(&warnings[..], [one] if one.contains("Secret shop/pull")), "{warnings:?}");
}
