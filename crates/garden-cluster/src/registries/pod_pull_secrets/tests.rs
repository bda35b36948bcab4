use garden_build_core::{ErrorKind, Event, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal, Request};
use garden_config::SecretRef;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::diagnosis::Diagnosis;

const IMAGE: &str = "private.example/tools/builder:1";
const CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";

/// A cluster with Secrets, whose pods are in the namespace `apps`.
struct Site {
    fake: FakeCluster,
    credentials: RegistryCredentials,
}

impl Site {
    fn new(secrets: &[(&str, &str)]) -> Self {
        let fake = FakeCluster::new();
        for namespace in ["ops", "dev", "apps"] {
            fake.namespace(namespace);
        }
        let secrets = secrets.iter().map(|(namespace, name)| SecretRef::new(*name).in_namespace(*namespace));
        let cluster = Cluster::new(fake.client());
        let credentials = RegistryCredentials::of_secrets(cluster, "an.option", secrets.collect());
        Self { fake, credentials }
    }

    /// Puts a Secret there that is not ours, with this Docker configuration.
    fn put(&self, namespace: &str, name: &str, kind: &str, configuration: &Value) {
        self.fake.put(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace },
            "type": kind,
            "data": { ".dockerconfigjson": ByteString(configuration.to_string().into_bytes()) },
        }));
    }

    /// Puts one there with a password for `registry`.
    fn login(&self, namespace: &str, name: &str, registry: &str, password: &str) {
        self.put(namespace, name, CONFIG_JSON, &login(registry, password));
    }

    async fn bring(&self) -> PodPullSecrets {
        self.credentials.bring_to("apps", &[IMAGE]).await
    }

    /// What was asked of the Secrets since the last time, in alphabetical order.
    fn asked(&self) -> Vec<String> {
        let requests = self.fake.requests();
        self.fake.forget_requests();
        let mut asked: Vec<String> = requests.iter().map(Request::words).collect();
        asked.sort();
        asked
    }
}

fn login(registry: &str, password: &str) -> Value {
    json!({ "auths": { registry: { "username": "user", "password": password } } })
}

fn names(brought: &PodPullSecrets) -> Vec<String> {
    brought.names_beside(None).into_iter().collect()
}

/// What is warned of, with the hint.
async fn warning(brought: &PodPullSecrets) -> Option<(String, Option<String>)> {
    let (events, mut heard) = event_channel();
    brought.warn(&events);
    drop(events);
    match heard.next().await? {
        Event::Warning { message, hint, .. } => Some((message, hint)),
        other => panic!("no warning: {other:?}"),
    }
}

#[tokio::test]
async fn only_what_the_image_s_registry_needs_is_copied_and_each_secret_is_read_once() {
    let site = Site::new(&[("ops", "pull"), ("ops", "other"), ("apps", "own"), ("ops", "helper")]);
    site.login("ops", "pull", "private.example", "one");
    site.login("ops", "other", "r.example", "one");
    site.login("apps", "own", "*.example", "one");
    // Nodes run no helpers.
    site.put("ops", "helper", CONFIG_JSON, &json!({ "credHelpers": { "private.example": "ecr-login" } }));
    let brought = site.bring().await;
    assert_eq!(names(&brought), ["own", "pull"]);
    assert!(brought.have_changed());
    assert_eq!(warning(&brought).await, None);
    assert_eq!(
        site.asked(),
        [
            "create secrets apps/pull",
            "get secrets apps/own",
            "get secrets apps/pull",
            "get secrets ops/helper",
            "get secrets ops/other",
            "get secrets ops/pull",
        ]
    );
    let copy = site.fake.object("secrets", "apps", "pull").expect("a copy");
    assert_eq!(copy["metadata"]["annotations"]["garden-build/copied-from"], "ops/pull");
    assert_eq!(copy["data"], site.fake.object("secrets", "ops", "pull").expect("a Secret")["data"]);

    // The same build asks no more than whether the copy is as it should be.
    assert!(!site.bring().await.have_changed());
    assert_eq!(site.asked(), ["get secrets apps/pull"]);
    // Another build begins, and one Secret was renewed.
    site.login("ops", "pull", "private.example", "two");
    site.credentials.expire();
    assert!(site.bring().await.have_changed());
    assert_eq!(site.fake.writes(), ["update secrets apps/pull"]);
}

#[tokio::test]
async fn nothing_is_asked_or_named_for_a_public_image() {
    let site = Site::new(&[("ops", "push")]);
    site.login("ops", "push", "r.example", "one");
    site.credentials.read().await.expect("readable");
    site.fake.forget_requests();
    for image in ["docker.io/moby/buildkit:v0.26.3", "busybox", "no image's name"] {
        let brought = site.credentials.bring_to("apps", &[image]).await;
        assert_eq!(names(&brought), <[&str; 0]>::default(), "{image}");
        assert!(!brought.have_changed() && warning(&brought).await.is_none());
    }
    assert_eq!(site.asked(), <[&str; 0]>::default());
}

#[tokio::test]
async fn of_several_images_each_gets_what_it_needs() {
    let site = Site::new(&[("ops", "hub"), ("ops", "tools"), ("ops", "unused")]);
    site.login("ops", "hub", "https://index.docker.io/v1/", "one");
    site.login("ops", "tools", "private.example/tools", "one");
    site.login("ops", "unused", "private.example/others", "one");
    let brought = site.credentials.bring_to("apps", &["docker:28-dind", IMAGE]).await;
    assert_eq!(names(&brought), ["hub", "tools"]);
}

#[tokio::test]
async fn a_copy_that_may_not_be_made_is_warned_of_and_explains_why_the_image_cannot_be_pulled() {
    let site = Site::new(&[("ops", "pull")]);
    site.login("ops", "pull", "private.example", "s3cret");
    site.fake.fault(Fault::refuse("create", "secrets", Refusal::forbidden("create", "secrets", "apps")));
    let brought = site.bring().await;
    // The same pod for everybody, whatever their rights are.
    assert_eq!(names(&brought), ["pull"]);
    let (message, hint) = warning(&brought).await.expect("a warning");
    for part in [IMAGE, "Namespace apps", "refused to create Secret apps/pull", "cannot create resource"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let hint = hint.expect("a hint");
    for part in ["ask for a role that may create Secret apps/pull", "in Namespace apps", "`an.option`"] {
        assert!(hint.contains(part), "{part}: {hint}");
    }
    assert!(!format!("{brought:?}").contains("s3cret"));

    let unpulled = Diagnosis::other(ErrorKind::ImagePull, "Pod a/b cannot pull it: 401", "check the image");
    let error = brought.explain(ClusterError::Pod(unpulled.clone().because(Cause::ImagePull)));
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::ImagePull);
    assert!(error.message().starts_with("Pod a/b cannot pull it: 401; a Secret with which"), "{error}");
    assert_eq!(error.hint(), Some(hint.as_str()));
    // It is not the cause of other troubles.
    let error = Error::from(brought.explain(ClusterError::Pod(unpulled)));
    assert_eq!((error.message(), error.hint()), ("Pod a/b cannot pull it: 401", Some("check the image")));
}

#[tokio::test]
async fn a_secret_of_somebody_else_keeps_its_name_and_content() {
    let site = Site::new(&[("ops", "pull"), ("dev", "pull"), ("dev", "typeless")]);
    for (namespace, name) in [("ops", "pull"), ("dev", "pull"), ("apps", "pull")] {
        site.login(namespace, name, "private.example", namespace);
    }
    site.put("dev", "typeless", "Opaque", &login("private.example", "one"));
    let before = site.fake.object("secrets", "apps", "pull");
    let brought = site.bring().await;
    // What somebody else has put there may have the password as well.
    assert_eq!(names(&brought), ["pull"]);
    let (message, _) = warning(&brought).await.expect("a warning");
    for part in [
        "Secret apps/pull was not copied by garden-build",
        "Secret dev/pull is not copied to apps, as Secret ops/pull has the same name",
        "Secret dev/typeless is of the type `Opaque`",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(site.fake.object("secrets", "apps", "pull"), before);
    assert_eq!(site.fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn secrets_that_cannot_be_read_are_warned_of() {
    let site = Site::new(&[("ops", "missing")]);
    let brought = site.bring().await;
    assert_eq!(names(&brought), <[&str; 0]>::default());
    let (message, _) = warning(&brought).await.expect("a warning");
    assert!(message.contains("Secret ops/missing does not exist"), "{message}");
}

#[tokio::test]
async fn what_others_name_for_the_same_image_stays() {
    let site = Site::new(&[("ops", "pull")]);
    site.login("ops", "pull", "private.example", "one");
    let brought = site.bring().await;
    let live = |image: &str, names: &[&str]| -> PodSpec {
        let secrets: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        let pod = json!({ "containers": [{ "name": "a", "image": image }], "imagePullSecrets": secrets });
        serde_json::from_value(pod).expect("a pod")
    };
    let beside = |live: &PodSpec| brought.names_beside(Some(live)).into_iter().collect::<Vec<_>>();
    assert_eq!(beside(&live(IMAGE, &["theirs", "also"])), ["also", "pull", "theirs"]);
    assert_eq!(beside(&live("private.example/tools/builder:2", &["theirs"])), ["pull"]);
    assert!(brought.are_named_by(&live(IMAGE, &["theirs", "pull"])));
    assert!(!brought.are_named_by(&live(IMAGE, &["theirs"])));
}
