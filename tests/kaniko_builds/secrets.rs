//! When Secrets are read, and which of their readings count.

use std::sync::Arc;

use garden_build::{ErrorKind, Outcome};
use garden_build_testing::kubernetes::Request;
use k8s_openapi::ByteString;
use serde_json::json;
use tokio::sync::Notify;

use super::{Site, succeed};

/// Encodes as Secrets and headers do.
pub(crate) fn base64(text: &str) -> String {
    json!(ByteString(text.as_bytes().to_vec())).as_str().unwrap().to_owned()
}

impl Site {
    /// Gives the registry a password, and those `secrets`.
    pub(crate) fn set_password(&self, password: &'static str, secrets: &[&str]) {
        self.registry.set_password(password);
        let login = json!({ "auths": { &self.host: { "username": "user", "password": password } } });
        for secret in secrets {
            self.fake.put(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "namespace": "default" },
                "data": { ".dockerconfigjson": base64(&login.to_string()) },
            }));
        }
    }

    /// Names the Secrets that were read, in alphabetical order.
    fn secrets_read(&self) -> Vec<String> {
        let requests = self.fake.requests();
        let reads = requests.iter().filter(|it| it.verb() == "get" && it.resource() == "secrets");
        let mut names: Vec<String> = reads.filter_map(Request::name).collect();
        names.sort();
        names
    }
}

/// Holds tokio's paused clock until it is dropped: it moves on only while nobody works, and this does.
fn hold_clock() -> std::sync::mpsc::Sender<()> {
    let (held, until_dropped) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || until_dropped.recv());
    held
}

#[tokio::test(start_paused = true)]
async fn a_build_reads_each_secret_once() {
    let _clock = hold_clock();
    let site = Site::with_secrets(&["one", "two"], async |pod, registry| succeed(&pod, &registry)).await;
    site.set_password("first", &["one", "two"]);
    site.build().await.0.unwrap();
    assert_eq!(site.secrets_read(), ["one", "two"], "look-up, builder and confirmation share a reading");
    site.fake.forget_requests();
    assert_eq!(site.build().await.0.unwrap().outcome, Outcome::AlreadyExists);
    assert_eq!(site.secrets_read(), ["one", "two"], "the next build reads them again");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_renewed_while_the_image_is_built_counts_when_it_is_confirmed() {
    let _clock = hold_clock();
    let renewed = Arc::new(Notify::new());
    let waits = Arc::clone(&renewed);
    let site = Site::with_secrets(&["one"], move |pod, registry| {
        let renewed = Arc::clone(&waits);
        async move {
            renewed.notified().await;
            succeed(&pod, &registry);
        }
    })
    .await;
    site.set_password("first", &["one"]);
    let build = site.builder.build(site.request());
    site.fake.until(|| (site.fake.count("get", "pods/attach") == 1).then_some(())).await;
    site.set_password("second", &["one"]);
    renewed.notify_one();
    assert!(matches!(build.await.unwrap().outcome, Outcome::Built { .. }));
    assert_eq!(site.secrets_read(), ["one", "one"], "once when it began, and once when it was refused");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_wrong_is_read_again_but_not_shown_again() {
    let _clock = hold_clock();
    let site = Site::with_secrets(&["one"], async |pod, registry| succeed(&pod, &registry)).await;
    site.set_password("wrong", &["one"]);
    site.registry.set_password("right");
    assert_eq!(site.build().await.0.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!((site.registry.questions(), site.secrets_read().len()), (2, 2));
    site.set_password("right", &["one"]);
    site.build().await.0.unwrap();
}
