use garden_build_core::event_channel;
use garden_build_testing::kubernetes::FakeCluster;
use garden_cluster::{BuilderProxies, Cluster, RegistryCredentials};
use garden_config::{ProxyOptions, SecretRef};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::cluster::spec::tests::{settings, with_every_option};

/// A cluster with Secrets in the namespace `ops`.
fn cluster() -> FakeCluster {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.on_pod(async |pod| pod.run());
    fake.namespace("ops");
    login(&fake, "push", "registry.example", "one");
    // Where the images of the daemon and of the registry come from.
    login(&fake, "hub", "mirror.example/hub/library", "one");
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

/// The daemon in the namespace `tools`, of a project with these `imagePullSecrets`.
fn daemon(fake: &FakeCluster, names: &[&str]) -> ClusterDaemon {
    let cluster = Cluster::new(fake.client());
    let secrets = names.iter().map(|name| SecretRef::new(*name).in_namespace("ops")).collect();
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", secrets);
    ClusterDaemon::new(cluster, with_every_option(), credentials)
}

#[tokio::test(start_paused = true)]
async fn nodes_get_what_the_images_need_and_another_project_takes_nothing_away() {
    let fake = cluster();
    let (events, _stream) = event_channel();
    daemon(&fake, &["push", "hub"]).apply(&events).await.expect("installed");
    let deployment = || fake.object("deployments", "tools", ClusterDaemon::NAME).expect("a Deployment");
    let named = deployment()["spec"]["template"]["spec"]["imagePullSecrets"].clone();
    assert_eq!(named, json!([{ "name": "hub" }]));
    let copied = || fake.object("secrets", "tools", "hub").expect("a copy")["data"].clone();
    assert_eq!(copied(), data("mirror.example/hub/library", "one"));
    assert_eq!(fake.object("secrets", "tools", "push"), None);
    let ready = daemon(&fake, &[]);
    ready.ready(&events).await.expect("it serves");

    // Nor is the daemon replaced.
    let before = deployment()["spec"].clone();
    login(&fake, "hub", "mirror.example/hub/library", "two");
    for names in [&["push"][..], &[], &["hub", "push"]] {
        daemon(&fake, names).apply(&events).await.expect("installed");
        assert_eq!(deployment()["spec"], before, "{names:?}");
    }
    assert_eq!(copied(), data("mirror.example/hub/library", "two"));
    assert_eq!(fake.created("pods").len(), 1);

    // Builds, whose users have no rights to Secrets here, ask for none.
    fake.forget_requests();
    ready.running(&events).await.expect("it takes builds");
    assert_eq!(fake.count("get", "secrets"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_password_of_a_proxy_is_in_a_secret_and_another_one_replaces_the_daemon() {
    let fake = FakeCluster::new();
    fake.run_deployments();
    fake.on_pod(async |pod| {
        pod.run();
        pod.deleted().await;
        pod.vanish();
    });
    let cluster = Cluster::new(fake.client());
    let (events, _heard) = event_channel();
    let install = async |password: &str| {
        let mut options = ProxyOptions::default();
        options.https_proxy = Some(format!("http://who:{password}@proxy.example:3128").into());
        let settings = ClusterDaemonSettings { proxies: BuilderProxies::new(&options), ..settings() };
        let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
        let daemon = ClusterDaemon::new(cluster.clone(), settings, credentials);
        daemon.apply(&events).await.expect("installed");
        daemon.ready(&events).await.expect("it serves");
        daemon.running(&events).await.expect("it takes builds").name
    };
    let first = Box::pin(install("s3cret-1")).await;
    let namespace = settings().namespace.name;
    let pod = fake.object("pods", &namespace, &first).expect("the daemon's pod");
    let env = pod["spec"]["containers"][0]["env"].as_array().expect("variables");
    let source = |name: &str| {
        let variable = env.iter().find(|it| it["name"] == name).expect("set");
        variable["valueFrom"]["secretKeyRef"].clone()
    };
    let secret = fake.object("secrets", &namespace, spec::PROXY_SECRET).expect("a Secret");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        assert_eq!(source(name)["name"], spec::PROXY_SECRET);
        assert!(secret["data"][source(name)["key"].as_str().expect("a key")].is_string(), "{secret}");
    }
    assert_eq!(Box::pin(install("s3cret-1")).await, first);
    assert_ne!(Box::pin(install("s3cret-2")).await, first);
    for plural in ["deployments", "pods", "configmaps"] {
        let shown = format!("{:?}", fake.objects(plural));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_policy_lets_nobody_in_and_goes_when_it_is_not_wanted_any_more() {
    let fake = cluster();
    let (events, _heard) = event_channel();
    let install = async |network_policies| {
        let cluster = Cluster::new(fake.client());
        let settings = ClusterDaemonSettings { network_policies, ..settings() };
        let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
        ClusterDaemon::new(cluster, settings, credentials).apply(&events).await
    };
    let (policies, namespace, name) = ("networkpolicies", settings().namespace.name, ClusterDaemon::NAME);
    Box::pin(install(false)).await.expect("installed");
    assert_eq!(fake.names(policies), Vec::<String>::new());
    Box::pin(install(true)).await.expect("installed");
    let policy = fake.object(policies, &namespace, name).expect("a policy");
    let daemon = fake.object("deployments", &namespace, name).expect("a Deployment");
    assert_eq!(policy["metadata"]["labels"], daemon["metadata"]["labels"]);
    let pods = &daemon["spec"]["template"]["metadata"]["labels"];
    let expected = json!({
        "podSelector": { "matchLabels": pods }, "policyTypes": ["Ingress"], "ingress": [],
    });
    assert_eq!(policy["spec"], expected);
    // Builds, whose users have no rights to policies here, ask for none.
    fake.forget_requests();
    Box::pin(find_daemon(&fake)).await;
    assert!(fake.requests().iter().all(|request| request.resource() != policies));
    Box::pin(install(false)).await.expect("installed");
    assert_eq!(fake.names(policies), Vec::<String>::new());

    let mut foreign = policy;
    foreign["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    fake.put(foreign.clone());
    fake.forget_requests();
    let error = Box::pin(install(true)).await.expect_err("it is not ours");
    assert!(error.to_string().contains("NetworkPolicy"), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

/// Finds the daemon, as a build does.
async fn find_daemon(fake: &FakeCluster) {
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    let settings = ClusterDaemonSettings { network_policies: true, ..settings() };
    let daemon = ClusterDaemon::new(cluster, settings, credentials);
    daemon.running(&event_channel().0).await.expect("it takes builds");
}
