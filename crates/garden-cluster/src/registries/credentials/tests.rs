use std::collections::BTreeMap;
use std::sync::Mutex;

use garden_registry::HelperProblem;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::*;

/// A cluster whose Secrets are registry credentials, with who reads them counted.
#[derive(Clone, Default)]
struct Secrets(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By name: the `.dockerconfigjson`.
    configurations: BTreeMap<&'static str, String>,
    reads: usize,
}

impl Secrets {
    fn put(&self, name: &'static str, configuration: &str) {
        self.0.lock().expect("no panic").configurations.insert(name, configuration.to_owned());
    }

    fn login(&self, name: &'static str, password: &str) {
        self.put(name, &login(password));
    }

    fn reads(&self) -> usize {
        self.0.lock().expect("no panic").reads
    }

    fn credentials(&self, names: &[&str]) -> RegistryCredentials {
        let secrets = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let secrets = secrets.clone();
            async move {
                // Time for others to ask as well.
                tokio::task::yield_now().await;
                Ok::<_, std::convert::Infallible>(secrets.answer(request.uri().path()))
            }
        });
        let cluster = Cluster::new(Client::new(service, "default"));
        let secrets = names.iter().map(|name| SecretRef::new(*name)).collect();
        RegistryCredentials::of_secrets(cluster, "an option", secrets)
    }

    fn answer(&self, path: &str) -> Response<Body> {
        let mut state = self.0.lock().expect("no panic");
        state.reads += 1;
        let name = path.rsplit('/').next().unwrap_or_default();
        let configuration = state.configurations.get(name).expect("a Secret that exists");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "default" },
            "data": { ".dockerconfigjson": k8s_openapi::ByteString(configuration.clone().into_bytes()) },
        });
        Response::new(Body::from(secret.to_string().into_bytes()))
    }
}

fn login(password: &str) -> String {
    json!({ "auths": { "r.example": { "username": "u", "password": password } } }).to_string()
}

/// Whether this is what a Secret has that was made by [`Secrets::login`].
async fn are_of(credentials: &RegistryCredentials, name: &str, password: &str) -> bool {
    let origin = format!("Secret default/{name}");
    let expected = Credentials::from_docker_config_json(login(password).as_bytes(), &origin).expect("valid");
    *credentials.read().await.expect("readable") == expected
}

#[tokio::test]
async fn each_secret_is_read_once_however_many_ask() {
    let secrets = Secrets::default();
    secrets.login("one", "a");
    secrets.login("two", "b");
    let credentials = secrets.credentials(&["one", "two"]);
    let ask = || async { credentials.clone().read().await.expect("readable") };
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &third));
    assert!(are_of(&credentials, "two", "b").await, "of two for one registry, the later one counts");
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test]
async fn a_changed_secret_counts_for_what_begins_after_it() {
    let secrets = Secrets::default();
    secrets.login("one", "old");
    let credentials = secrets.credentials(&["one"]);
    let before = credentials.read().await.expect("readable");
    secrets.login("one", "new");
    assert!(are_of(&credentials, "one", "old").await, "what has begun goes on with what was read");
    credentials.expire();
    assert!(are_of(&credentials, "one", "new").await);
    assert!(!Arc::ptr_eq(&before, &credentials.read().await.expect("readable")));
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test]
async fn unchanged_credentials_stay_the_very_same() {
    let secrets = Secrets::default();
    secrets.login("one", "a");
    let credentials = secrets.credentials(&["one"]);
    let before = credentials.read().await.expect("readable");
    credentials.expire();
    assert!(Arc::ptr_eq(&before, &credentials.read().await.expect("readable")));
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test]
async fn what_a_helper_answers_may_change_behind_an_unchanged_secret() {
    let secrets = Secrets::default();
    secrets.put("one", r#"{"credHelpers":{"r.example":"ecr-login"}}"#);
    let credentials = secrets.credentials(&["one"]);
    let before = credentials.read().await.expect("readable");
    assert!(Arc::ptr_eq(&before, &credentials.read().await.expect("readable")));
    credentials.expire();
    assert!(!Arc::ptr_eq(&before, &credentials.read().await.expect("readable")));
}

#[tokio::test]
async fn what_was_being_read_when_something_begins_does_not_count_for_it() {
    let secrets = Secrets::default();
    secrets.login("one", "old");
    let credentials = secrets.credentials(&["one"]);
    let reading = credentials.read();
    let beginning = async {
        // The first one waits for the cluster's answer now.
        credentials.expire();
        secrets.login("one", "new");
        assert!(are_of(&credentials, "one", "new").await);
    };
    let (_, ()) = tokio::join!(reading, beginning);
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_renewed_while_steps_run_counts_for_the_daemon_s_push() {
    let secrets = Secrets::default();
    secrets.login("one", "expired");
    let credentials = secrets.credentials(&["one"]);
    let for_builder = async || credentials.read_for_builder().await.expect("readable");
    let pulled = for_builder().await;
    assert!(Arc::ptr_eq(&pulled, &for_builder().await), "one reading for the questions of one moment");
    assert_eq!(secrets.reads(), 1);
    secrets.login("one", "renewed");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(!Arc::ptr_eq(&pulled, &for_builder().await));
    assert!(are_of(&credentials, "one", "renewed").await, "for all who ask from now on");
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_renewed_during_a_long_build_counts_at_its_end() {
    let secrets = Secrets::default();
    secrets.login("one", "old");
    let credentials = secrets.credentials(&["one"]);
    assert!(are_of(&credentials, "one", "old").await);
    secrets.login("one", "new");
    tokio::time::advance(COUNTS).await;
    assert!(are_of(&credentials, "one", "new").await);
    assert_eq!(secrets.reads(), 2);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let secrets = Secrets::default();
    secrets.put("one", "not JSON");
    let credentials = secrets.credentials(&["one"]);
    let error = credentials.read().await.expect_err("no configuration");
    assert!(error.message().contains("default/one"), "{error}");
    secrets.login("one", "a");
    assert!(are_of(&credentials, "one", "a").await);
}

#[tokio::test]
async fn nothing_that_was_read_is_shown() {
    let secrets = Secrets::default();
    secrets.login("one", "s3cret");
    let credentials = secrets.credentials(&["one"]);
    credentials.read().await.expect("readable");
    for shown in [format!("{credentials:?}"), format!("{:?}", credentials.and_docker_command())] {
        assert!(shown.contains("one") && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn a_secret_has_helpers_run_here_only_for_registries_that_the_caller_allows() {
    let secrets = Secrets::default();
    secrets.put("one", r#"{"credsStore":"desktop"}"#);
    let problem = async |credentials: &RegistryCredentials, registry: &str| {
        let read = Credentials::clone(&*credentials.read().await.expect("readable"));
        // No helper is installed there, so whether one is looked for shows.
        let nowhere: [&str; 0] = [];
        let found = read.with_helpers(CredentialHelpers::in_directories(nowhere)).login(registry, "a").await;
        found.unanswered.into_iter().next().expect("a helper").1
    };
    let credentials = secrets.credentials(&["one"]);
    assert_eq!(problem(&credentials, "r.example").await, HelperProblem::NotAllowed);
    let allowed = AllowedHelpers::for_registries(["r.example"], "an option").expect("a host");
    let credentials = credentials.allowing_helpers(allowed);
    assert_eq!(problem(&credentials, "r.example").await, HelperProblem::NotInstalled);
    assert_eq!(problem(&credentials, "evil.example").await, HelperProblem::NotAllowed);
    // The content of Secrets is read as carefully as the `docker` command's configuration.
    let as_command = credentials.and_docker_command();
    assert_eq!(problem(&as_command, "evil.example").await, HelperProblem::NotAllowed);
}
