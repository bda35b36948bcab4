//! The `NetworkPolicy` of the daemon's pods.

use garden_build_core::event_channel;
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use garden_buildkit::spec::{NAME, PORT, Settings};
use garden_buildkit::{BuildkitBackend, daemon};
use garden_cluster::{Cluster, ClusterError, PushTarget};
use garden_config::{ClusterBuildkitOptions, DeploymentRegistry, Namespace, Resources};
use serde_json::{Value, json};

use crate::life::cluster;
use crate::{NAMESPACE, no_credentials, settings};

const POLICIES: &str = "networkpolicies";

/// Makes sure of the daemon, as a build does.
async fn ensured(cluster: &Cluster, settings: &Settings) -> Result<String, ClusterError> {
    let events = event_channel().0;
    let daemon = Box::pin(daemon::ensure(cluster, settings, &no_credentials(cluster), &events)).await?;
    Ok(daemon.pod.name)
}

fn with_policy() -> Settings {
    Settings { network_policies: true, ..settings() }
}

fn policy(fake: &FakeCluster) -> Value {
    fake.object(POLICIES, NAMESPACE, NAME).unwrap()
}

/// Does what `Builder::init` does.
async fn settle(cluster: &Cluster, network_policies: bool) -> garden_build_core::Result<()> {
    let registry = DeploymentRegistry::new("registry.example").unwrap();
    let target = PushTarget::with_two_names(registry.clone(), registry);
    let (options, namespace) = (ClusterBuildkitOptions::default(), Namespace::new(NAMESPACE));
    let settings =
        garden_buildkit::Settings::new(&options, namespace, Resources::builder(), &target).unwrap();
    let settings = settings.network_policies(network_policies);
    let backend = BuildkitBackend::new(cluster.clone(), settings, no_credentials(cluster));
    backend.settle_network_policy(&event_channel().0).await
}

#[tokio::test(start_paused = true)]
async fn a_build_makes_it_before_the_daemon_and_nobody_is_let_in() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &with_policy()).await.unwrap();
    let daemon = fake.object("deployments", NAMESPACE, NAME).unwrap();
    let pods = &daemon["spec"]["template"]["metadata"]["labels"];
    let expected = json!({
        "podSelector": { "matchLabels": pods }, "policyTypes": ["Ingress"], "ingress": [],
    });
    assert_eq!(policy(&fake)["spec"], expected);
    let writes = fake.writes();
    let place = |what: &str| writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(place(POLICIES) < place("deployments"), "{writes:?}");
    // The next build only looks.
    fake.forget_requests();
    ensured(&cluster, &with_policy()).await.unwrap();
    assert_eq!((fake.count("get", POLICIES), fake.writes()), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_running_daemon_gets_it_and_stays() {
    let (fake, cluster) = cluster();
    let before = ensured(&cluster, &settings()).await.unwrap();
    assert!(fake.requests().iter().all(|request| request.resource() != POLICIES));
    assert_eq!(ensured(&cluster, &with_policy()).await.unwrap(), before);
    assert_eq!(fake.names(POLICIES), [NAME]);
    // Who wants none leaves it to those who do.
    assert_eq!(ensured(&cluster, &settings()).await.unwrap(), before);
    assert_eq!(fake.names(POLICIES), [NAME]);
}

#[tokio::test(start_paused = true)]
async fn the_port_of_a_daemon_that_listens_stays_open() {
    let (fake, cluster) = cluster();
    ensured(&cluster, &with_policy()).await.unwrap();
    let mut listening = with_policy();
    listening.options.listen = true;
    ensured(&cluster, &listening).await.unwrap();
    let ports = json!([{ "port": PORT, "protocol": "TCP" }]);
    assert_eq!(policy(&fake)["spec"]["ingress"], json!([{ "ports": ports }]));
    ensured(&cluster, &with_policy()).await.unwrap();
    assert_eq!(policy(&fake)["spec"]["ingress"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn one_of_another_program_is_neither_changed_nor_removed() {
    let (fake, cluster) = cluster();
    settle(&cluster, true).await.unwrap();
    let mut foreign = policy(&fake);
    foreign["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    fake.put(foreign);
    fake.forget_requests();
    let error = ensured(&cluster, &with_policy()).await.unwrap_err();
    assert!(error.to_string().starts_with("NetworkPolicy shop/garden-buildkit was made by another program"));
    settle(&cluster, true).await.unwrap_err();
    settle(&cluster, false).await.unwrap();
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn init_makes_it_and_removes_it_and_a_missing_right_is_named() {
    let (fake, cluster) = cluster();
    // In a namespace that is not there yet.
    settle(&cluster, false).await.unwrap();
    assert_eq!(fake.writes(), Vec::<String>::new());
    settle(&cluster, true).await.unwrap();
    assert_eq!((fake.names(POLICIES), fake.names("deployments")), (vec![NAME.to_owned()], Vec::new()));
    settle(&cluster, false).await.unwrap();
    assert_eq!(fake.names(POLICIES), Vec::<String>::new());

    let refusal = Refusal::forbidden("get", POLICIES, NAMESPACE);
    fake.fault(Fault::refuse("get", POLICIES, refusal).always());
    settle(&cluster, false).await.unwrap();
    let error = settle(&cluster, true).await.unwrap_err();
    assert_eq!(
        error.hint(),
        Some("ask for a role that may read NetworkPolicy shop/garden-buildkit"),
        "{error:?}"
    );
}
