//! The Secret with the addresses of proxies that have passwords.

use garden_build_testing::kubernetes::{FakeCluster, Fault, Gate};
use garden_cluster::{BuilderProxies, Cluster};
use garden_config::ProxyOptions;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{NAMESPACE, fake};

const NAME: &str = "the-proxies";

fn proxies(http: &str, https: &str) -> BuilderProxies {
    let mut options = ProxyOptions::default();
    options.http_proxy = Some(http.into());
    options.https_proxy = Some(https.into());
    BuilderProxies::new(&options)
}

fn metadata() -> ObjectMeta {
    let (name, namespace) = (Some(NAME.to_owned()), Some(NAMESPACE.to_owned()));
    ObjectMeta { name, namespace, ..ObjectMeta::default() }
}

/// As a client does that looks and then writes.
async fn keep(cluster: &Cluster, proxies: &BuilderProxies) -> Option<String> {
    let existing = cluster.get::<Secret>(NAMESPACE, NAME).await.unwrap();
    proxies.keep_in_secret(cluster, metadata(), existing).await.unwrap()
}

fn keys(fake: &FakeCluster) -> Vec<String> {
    let secret = fake.object("secrets", NAMESPACE, NAME).expect("a Secret");
    secret["data"].as_object().expect("data").keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn the_mark_changes_with_the_addresses_and_tells_nothing_of_them() {
    let (fake, cluster) = fake();
    let one = proxies("http://who:one@p:1", "http://p:2");
    let first = keep(&cluster, &one).await.expect("a mark");
    assert_eq!(keys(&fake), ["HTTP_PROXY", "salt"]);
    fake.forget_requests();
    assert_eq!(keep(&cluster, &one).await.as_ref(), Some(&first));
    assert_eq!(fake.writes(), [""; 0], "nothing has changed");

    let other = proxies("http://p:1", "http://who:two@p:2");
    let second = keep(&cluster, &other).await.expect("a mark");
    assert_ne!(first, second);
    assert_eq!(keys(&fake), ["HTTPS_PROXY", "salt"], "the password that is not needed any more is gone");
    assert_eq!(
        keep(&cluster, &one).await.as_ref(),
        Some(&first),
        "the same addresses have the same mark again"
    );

    // The same password in another cluster has another mark, so nobody can try passwords on it.
    let (_other, elsewhere) = crate::fake();
    assert_ne!(keep(&elsewhere, &one).await, Some(first));
}

#[tokio::test(start_paused = true)]
async fn addresses_without_passwords_need_no_secret() {
    let (fake, cluster) = fake();
    let none = proxies("http://p:1", "http://p:2");
    assert_eq!(none.keep_in_secret(&cluster, metadata(), None).await.unwrap(), None);
    assert_eq!(fake.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_clients_that_come_first_agree_on_the_mark() {
    let (fake, cluster) = fake();
    let same = proxies("http://who:one@p:1", "http://p:2");
    let gate = Gate::new();
    fake.fault(Fault::hold("create", "secrets", &gate));
    let (slow, quick) = tokio::join!(keep(&cluster, &same), async {
        gate.arrived().await;
        let quick = keep(&cluster, &same).await;
        gate.open();
        quick
    });
    assert!(slow.is_some() && slow == quick, "{slow:?} {quick:?}");
}
