//! Installing the registry within the cluster, and waiting until it serves.

use std::time::Duration;

use garden_build_core::{Error, ErrorKind, Remedy, event_channel};
use garden_build_testing::kubernetes::{Connection, FakeCluster};
use garden_cluster::{
    Cluster, InClusterRegistry, MANAGED_BY_LABEL, RegistryCredentials, RegistryRemedies, RegistrySettings,
    RegistryWords, service_labels,
};
use garden_config::{ProviderConfig, SecretRef};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::{NAMESPACE, fake};

const NAME: &str = InClusterRegistry::NAME;
const PROXY: &str = InClusterRegistry::PROXY;

/// Each says which it is.
pub(crate) const WORDS: RegistryWords = RegistryWords::new(&RegistryRemedies {
    memory: Remedy::new("more memory"),
    evicted: Remedy::new("a larger node"),
    scheduling: Remedy::new("fewer demands on nodes"),
    image: Remedy::new("another image"),
    start: Remedy::new("a better command"),
    quota: Remedy::new("a smaller registry"),
    limit_range: Remedy::new("other resources"),
    disk_limit: Remedy::new("more disk"),
    storage_class: "an.option.storageClass",
    keeps_size: Remedy::new("set the option to its size"),
    volume_quota: Remedy::new("a smaller volume"),
    taints: Remedy::new("more tolerations"),
    foreign: Remedy::new("another namespace"),
    password_wanted: Remedy::new("say that there is a password"),
    password_missing: Remedy::new("install it with a password"),
});

/// A cluster with a node, whose pods run as soon as they are made, and a registry that is not installed.
fn site() -> (FakeCluster, InClusterRegistry) {
    let (fake, _) = fake();
    fake.run_deployments();
    fake.on_pod(async |pod| pod.run());
    fake.on_connection(serve);
    let registry = registry(&fake, &[]);
    (fake, registry)
}

/// A registry whose image is private, of a project whose `imagePullSecrets` are these of the namespace `ops`.
fn registry(fake: &FakeCluster, names: &[&str]) -> InClusterRegistry {
    let mut provider = ProviderConfig::kubernetes("demo");
    NAMESPACE.clone_into(&mut provider.garden_system_namespace);
    provider.in_cluster_registry.image = Some("private.example/registry:2".to_owned());
    let cluster = Cluster::new(fake.client());
    let secrets = names.iter().map(|name| SecretRef::new(*name).in_namespace("ops")).collect();
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", secrets);
    InClusterRegistry::new(cluster, RegistrySettings::new(&provider), credentials, &WORDS)
}

/// Puts a Secret with a password for `registry` into the namespace `ops`. Returns its data.
fn login(fake: &FakeCluster, name: &str, registry: &str, password: &str) -> Value {
    let configuration = json!({ "auths": { registry: { "username": "user", "password": password } } });
    let data = json!({ ".dockerconfigjson": ByteString(configuration.to_string().into_bytes()) });
    fake.namespace("ops");
    fake.put(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "ops" },
        "type": "kubernetes.io/dockerconfigjson", "data": data,
    }));
    data
}

/// The registry's server, which answers each question in the same way.
async fn serve(connection: Connection) {
    answer(connection, "accepted").await;
}

/// A server that says this of pushes.
async fn answer(connection: Connection, pushes: &str) {
    let mut stream = connection.stream;
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => asked.push(byte),
            Err(_) => return,
        }
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ngarden-registry-run: pod-1-1\r\ngarden-registry-pushes: {pushes}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    // It is the client that goes.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// What the controllers do for the Service: it leads to the registry's pod.
fn connect_service(fake: &FakeCluster) {
    let pods = fake.names("pods");
    let pod = pods.iter().find(|name| name.starts_with(NAME)).unwrap();
    fake.put(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": NAME } },
        "ports": [{ "name": "registry", "port": InClusterRegistry::PORT }],
        "endpoints": [{
            "addresses": ["10.0.0.1"], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": pod },
        }],
    }));
}

/// What the controllers do for the `DaemonSet`: its pod runs on the node.
fn run_proxy(fake: &FakeCluster) {
    fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "proxy", "namespace": NAMESPACE, "labels": service_labels(PROXY) },
        "spec": { "containers": [{ "name": "proxy", "image": "example/registry" }] },
    }));
    fake.pod(NAMESPACE, "proxy").unwrap().run();
    let status = json!({
        "observedGeneration": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1,
        "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1,
    });
    assert!(fake.alter("daemonsets", NAMESPACE, PROXY, |it| it["status"] = status));
}

#[tokio::test(start_paused = true)]
async fn a_registry_is_installed_and_serves_when_each_node_reaches_it() {
    let (fake, registry) = site();
    let events = event_channel().0;
    assert!(!registry.is_installed().await.unwrap());
    registry.apply(&events).await.unwrap();
    for plural in ["secrets", "configmaps", "persistentvolumeclaims", "services", "deployments"] {
        assert_eq!(fake.names(plural), [NAME], "{plural}");
    }
    assert_eq!(fake.names("daemonsets"), [PROXY]);

    let waiting = tokio::spawn({
        let registry = registry.clone();
        async move { registry.ready(&event_channel().0).await }
    });
    sleep(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished(), "no node can pull from it yet");
    connect_service(&fake);
    run_proxy(&fake);
    assert!(waiting.await.unwrap().unwrap().takes_pushes);
    assert!(registry.is_installed().await.unwrap());

    // Whoever installs it again changes nothing of it.
    let objects = ["secrets", "deployments", "daemonsets"].map(|plural| fake.objects(plural));
    registry.apply(&events).await.unwrap();
    registry.ready(&events).await.unwrap();
    assert_eq!(["secrets", "deployments", "daemonsets"].map(|plural| fake.objects(plural)), objects);
    assert_eq!(fake.created("pods").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_get_what_the_image_needs_and_another_project_takes_nothing_away() {
    let (fake, without) = site();
    let events = event_channel().0;
    login(&fake, "push", "r.example", "one");
    let expired = login(&fake, "pull", "private.example", "one");
    registry(&fake, &["push", "pull"]).apply(&events).await.unwrap();
    let specs = || {
        let spec = |plural: &str, name: &str| fake.object(plural, NAMESPACE, name).unwrap()["spec"].clone();
        [spec("deployments", NAME), spec("daemonsets", PROXY)]
    };
    let before = specs();
    for spec in &before {
        assert_eq!(spec["template"]["spec"]["imagePullSecrets"], json!([{ "name": "pull" }]));
    }
    let copied = || fake.object("secrets", NAMESPACE, "pull").unwrap()["data"].clone();
    assert_eq!((copied(), fake.object("secrets", NAMESPACE, "push")), (expired, None));
    without.apply(&events).await.unwrap();
    assert_eq!(specs(), before);

    // Pods that their nodes could not pull it for with what has expired make way, and those that run do not.
    let stuck = |name: &str, app: &str| {
        fake.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": service_labels(app) },
            "spec": { "containers": [{ "name": "main", "image": "private.example/registry:2" }] },
        }));
        fake.pod(NAMESPACE, name).unwrap().wait("main", "ImagePullBackOff", "401 Unauthorized");
    };
    run_proxy(&fake);
    stuck("stuck-proxy", PROXY);
    stuck("stuck-registry", NAME);
    let renewed = login(&fake, "pull", "private.example", "two");
    registry(&fake, &["pull"]).apply(&events).await.unwrap();
    assert_eq!((copied(), specs()), (renewed, before));
    let pods = fake.names("pods");
    assert!(!pods.iter().any(|name| name.starts_with("stuck-")), "{pods:?}");
    assert!(pods.iter().any(|name| name == "proxy"), "{pods:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_of_another_program_is_left_as_it_is() {
    let (fake, registry) = site();
    fake.put(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": PROXY, "namespace": NAMESPACE, "labels": { MANAGED_BY_LABEL: "Helm" } },
    }));
    let error = Error::from(registry.apply(&event_channel().0).await.unwrap_err());
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("another namespace")));
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_another_program_replaces_is_not_waited_for() {
    let (fake, registry) = site();
    registry.apply(&event_channel().0).await.unwrap();
    let waiting = tokio::spawn(async move { registry.ready(&event_channel().0).await });
    // It waits for its proxies.
    sleep(Duration::from_secs(5)).await;
    let started = Instant::now();
    let foreign = |it: &mut Value| it["metadata"]["labels"][MANAGED_BY_LABEL] = "Helm".into();
    assert!(fake.alter("daemonsets", NAMESPACE, PROXY, foreign));
    let error = Error::from(waiting.await.unwrap().unwrap_err());
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("another namespace")));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// The same registry, as projects know it that say that its pushes need a password.
fn with_password(fake: &FakeCluster) -> InClusterRegistry {
    let mut provider = ProviderConfig::kubernetes("demo");
    NAMESPACE.clone_into(&mut provider.garden_system_namespace);
    provider.in_cluster_registry.password_for_pushes = true;
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    InClusterRegistry::new(cluster, RegistrySettings::new(&provider), credentials, &WORDS)
}

/// What builds push with under this name.
async fn pushes_with(fake: &FakeCluster, registry: &InClusterRegistry, name: &str) -> Result<bool, Error> {
    let none = RegistryCredentials::of_secrets(Cluster::new(fake.client()), "imagePullSecrets", Vec::new());
    let names = vec![registry.host(), "127.0.0.1:5000".to_owned()];
    let credentials = none.and_registry_in_cluster(registry.clone(), names).read().await?;
    Ok(credentials.have_password(name, "team/api"))
}

#[tokio::test(start_paused = true)]
async fn a_password_is_made_once_and_builds_find_it() {
    let (fake, without) = site();
    let (registry, events) = (with_password(&fake), event_channel().0);
    let error = pushes_with(&fake, &registry, "127.0.0.1:5000").await.unwrap_err();
    assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("install it with a password")));

    registry.apply(&events).await.unwrap();
    let secret = || fake.object("secrets", NAMESPACE, InClusterRegistry::LOGIN).unwrap();
    let deployment = || fake.object("deployments", NAMESPACE, NAME).unwrap();
    let (first, installed) = (secret(), deployment());
    assert_eq!(first["type"], "kubernetes.io/basic-auth");
    registry.apply(&events).await.unwrap();
    assert_eq!((secret(), deployment()), (first.clone(), installed.clone()));
    for name in [registry.host().as_str(), "127.0.0.1:5000"] {
        assert!(pushes_with(&fake, &registry, name).await.unwrap(), "{name}");
    }
    for name in [without.host().as_str(), "r.example"] {
        assert!(!pushes_with(&fake, &registry, name).await.unwrap(), "{name}");
    }
    assert!(!pushes_with(&fake, &without, &without.host()).await.unwrap(), "nobody has asked for one");

    // For another password, one deletes the Secret.
    assert!(fake.remove("secrets", NAMESPACE, InClusterRegistry::LOGIN));
    registry.apply(&events).await.unwrap();
    assert_ne!(secret()["data"], first["data"]);
    assert_ne!(deployment()["spec"], installed["spec"], "the registry begins anew with it");

    // A project that knows nothing of it takes it away from nobody. Whoever deletes the Secret does.
    let (installed, writes) = (deployment(), fake.writes().len());
    let error = Error::from(without.apply(&events).await.unwrap_err());
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Config, Some("say that there is a password")));
    assert_eq!((deployment(), fake.writes().len()), (installed, writes));
    assert!(fake.remove("secrets", NAMESPACE, InClusterRegistry::LOGIN));
    without.apply(&events).await.unwrap();
    assert_eq!(deployment()["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_password_that_somebody_has_broken_is_not_put_to_use() {
    let (fake, _) = site();
    let (registry, events) = (with_password(&fake), event_channel().0);
    registry.apply(&events).await.unwrap();
    let whole = fake.object("secrets", NAMESPACE, InClusterRegistry::LOGIN).unwrap()["data"].clone();
    let text = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    for (key, value) in [
        ("password", text("another")),
        ("password", json!(ByteString(vec![0xff]))),
        ("username", text("")),
        ("htpasswd", text("")),
        ("htpasswd", text("garden-build:no hash")),
        // It would take hours to find out whether it fits.
        ("htpasswd", text("garden-build:$2b$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcdefghi")),
        ("htpasswd", Value::Null),
    ] {
        let data = |it: &mut Value| {
            it["data"].clone_from(&whole);
            it["data"][key].clone_from(&value);
        };
        assert!(fake.alter("secrets", NAMESPACE, InClusterRegistry::LOGIN, data));
        let writes = fake.writes().len();
        let error = Error::from(registry.apply(&events).await.unwrap_err());
        assert!(error.message().contains(InClusterRegistry::LOGIN), "{key}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("delete this Secret")), "{key}: {error:?}");
        assert_eq!(fake.writes().len(), writes, "{key}: nothing is changed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_for_pulls_that_does_not_start_is_named() {
    let (fake, _) = site();
    let registry = with_password(&fake);
    registry.apply(&event_channel().0).await.unwrap();
    connect_service(&fake);
    run_proxy(&fake);
    let name = fake.names("pods").into_iter().find(|name| name.starts_with(NAME)).unwrap();
    let pod = fake.pod(NAMESPACE, &name).unwrap();
    pod.wait("reader", "CrashLoopBackOff", "back-off 40s restarting failed container");
    pod.alter(|pod| {
        pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
        let containers = pod["status"]["containerStatuses"].as_array_mut().unwrap();
        let reader = containers.iter_mut().find(|it| it["name"] == "reader").unwrap();
        reader["lastState"] = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    });
    let error = Error::from(registry.ready(&event_channel().0).await.unwrap_err());
    assert_eq!(error.hint(), Some("a better command"), "{error:?}");
}
