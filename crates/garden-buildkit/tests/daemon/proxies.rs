//! A daemon whose proxy wants a password.

use garden_build_core::event_channel;
use garden_build_testing::kubernetes::FakeCluster;
use garden_buildkit::daemon::ensure;
use garden_buildkit::spec::{NAME, Settings};
use garden_cluster::{BuilderProxies, Cluster};
use garden_config::ProxyOptions;

use crate::{NAMESPACE, no_credentials, settings};

const SECRET: &str = "garden-buildkit-proxies";

fn with_password(password: &str) -> Settings {
    let mut options = ProxyOptions::default();
    options.http_proxy = Some("http://proxy.example:3128".into());
    options.https_proxy = Some(format!("http://who:{password}@proxy.example:3128").into());
    Settings { proxies: BuilderProxies::new(&options), ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_is_replaced_when_the_password_of_its_proxy_changes_and_stays_when_not() {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.on_pod(async |pod| pod.run());
    let cluster = Cluster::new(fake.client());
    let (events, _heard) = event_channel();
    let daemon = async |password: &str| {
        ensure(&cluster, &with_password(password), &no_credentials(&cluster), &events).await.unwrap().pod.name
    };

    let first = daemon("s3cret-1").await;
    let pod = fake.object("pods", NAMESPACE, &first).unwrap();
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = |name: &str| env.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(variable("http_proxy")["value"], "http://proxy.example:3128");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        assert_eq!(variable(name)["valueFrom"]["secretKeyRef"]["name"], SECRET);
    }
    let secret = fake.object("secrets", NAMESPACE, SECRET).unwrap();
    assert!(secret["data"]["HTTPS_PROXY"].is_string() && secret["data"]["HTTP_PROXY"].is_null(), "{secret}");
    // It goes with the daemon.
    let deployment = fake.object("deployments", NAMESPACE, NAME).unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], deployment["metadata"]["uid"]);

    fake.forget_requests();
    assert_eq!(daemon("s3cret-1").await, first);
    assert_eq!(fake.writes(), [""; 0], "nothing has changed");

    assert_ne!(daemon("s3cret-2").await, first);
    assert_ne!(
        fake.object("secrets", NAMESPACE, SECRET).unwrap()["data"]["HTTPS_PROXY"],
        secret["data"]["HTTPS_PROXY"]
    );
    for plural in ["deployments", "replicasets", "pods", "configmaps"] {
        let shown = format!("{:?}", fake.objects(plural));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
