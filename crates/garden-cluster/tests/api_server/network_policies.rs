//! The `NetworkPolicies` of the registry within the cluster, where the provider wants them and where it does not.

use garden_build_core::{Error, ErrorKind, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use garden_cluster::{
    Cluster, ClusterError, InClusterRegistry, MANAGED_BY_LABEL, RegistryCredentials, RegistrySettings,
};
use garden_config::ProviderConfig;
use serde_json::{Value, json};

use crate::in_cluster_registry::WORDS;
use crate::{NAMESPACE, fake};

const NAME: &str = InClusterRegistry::NAME;
const PROXY: &str = InClusterRegistry::PROXY;
const POLICIES: &str = "networkpolicies";

fn site() -> FakeCluster {
    let (fake, _) = fake();
    fake.run_deployments();
    fake.on_pod(async |pod| pod.run());
    fake
}

/// Installs the registry, with policies or without. Returns what is said meanwhile.
async fn install(fake: &FakeCluster, network_policies: bool) -> (Result<(), ClusterError>, Vec<String>) {
    let mut provider = ProviderConfig::kubernetes("demo");
    NAMESPACE.clone_into(&mut provider.garden_system_namespace);
    provider.network_policies = network_policies;
    let cluster = Cluster::new(fake.client());
    let credentials = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
    let registry = InClusterRegistry::new(cluster, RegistrySettings::new(&provider), credentials, &WORDS);
    let (events, mut stream) = event_channel();
    let installed = Box::pin(registry.apply(&events)).await;
    drop(events);
    let mut said = Vec::new();
    while let Some(event) = stream.next().await {
        said.push(event.to_string());
    }
    (installed, said)
}

fn policy(fake: &FakeCluster, name: &str) -> Value {
    fake.object(POLICIES, NAMESPACE, name).unwrap()
}

fn foreign(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { MANAGED_BY_LABEL: "Helm" } },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    })
}

#[tokio::test(start_paused = true)]
async fn the_registry_lets_our_pods_in_and_its_proxies_nobody() {
    let fake = site();
    install(&fake, true).await.0.unwrap();
    assert_eq!(fake.names(POLICIES), [NAME, PROXY]);
    for (policy_of, plural) in [(NAME, "deployments"), (PROXY, "daemonsets")] {
        let owner = fake.object(plural, NAMESPACE, policy_of).unwrap();
        let policy = policy(&fake, policy_of);
        assert_eq!(policy["metadata"]["labels"], owner["metadata"]["labels"]);
        let pods = &owner["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&policy["spec"]["podSelector"], &json!({ "matchLabels": pods }));
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
    }
    let from = json!([{
        "podSelector": { "matchLabels": { MANAGED_BY_LABEL: "garden-build" } }, "namespaceSelector": {},
    }]);
    assert_eq!(policy(&fake, NAME)["spec"]["ingress"], json!([{ "from": from }]));
    assert_eq!(policy(&fake, PROXY)["spec"]["ingress"], json!([]));
    // They hand on what the nodes pull, so the registry has to let them in.
    let proxy = fake.object("daemonsets", NAMESPACE, PROXY).unwrap();
    assert_eq!(proxy["spec"]["template"]["metadata"]["labels"][MANAGED_BY_LABEL], "garden-build");

    // Before there are pods.
    let writes = fake.writes();
    let place = |what: &str| writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(place(POLICIES) < place("deployments"), "{writes:?}");

    // What somebody has changed by hand is put right.
    let before = policy(&fake, NAME)["spec"].clone();
    fake.alter(POLICIES, NAMESPACE, NAME, |it| it["spec"]["ingress"] = json!([{}]));
    install(&fake, true).await.0.unwrap();
    assert_eq!(policy(&fake, NAME)["spec"], before);
}

#[tokio::test(start_paused = true)]
async fn policies_that_are_not_wanted_any_more_are_removed_and_that_is_told() {
    let fake = site();
    install(&fake, false).await.0.unwrap();
    assert_eq!((fake.names(POLICIES), fake.count("delete", POLICIES)), (Vec::new(), 0));
    install(&fake, true).await.0.unwrap();
    let (removed, said) = install(&fake, false).await;
    removed.unwrap();
    assert_eq!(fake.names(POLICIES), Vec::<String>::new());
    for name in [NAME, PROXY] {
        let told = format!("NetworkPolicy {NAMESPACE}/{name} is removed");
        assert!(said.iter().any(|line| line.contains(&told)), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_another_program_is_neither_changed_nor_removed() {
    let fake = site();
    fake.put(foreign(NAME));
    let (installed, _) = install(&fake, false).await;
    installed.unwrap();
    fake.put(foreign(PROXY));
    let before = fake.objects(POLICIES);
    fake.forget_requests();
    let error = Error::from(install(&fake, true).await.0.expect_err("it is not ours"));
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("another namespace")));
    assert!(error.message().contains(&format!("NetworkPolicy {NAMESPACE}/")), "{error}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert_eq!(fake.objects(POLICIES), before);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_rights_to_policies_installs_without_and_hears_which_are_missing_with() {
    let fake = site();
    let refuse = |verb| {
        for name in [NAME, PROXY] {
            let refusal = Refusal::forbidden(verb, POLICIES, NAMESPACE);
            fake.fault(Fault::refuse(verb, POLICIES, refusal).named(name));
        }
    };
    refuse("get");
    let (installed, said) = install(&fake, false).await;
    installed.unwrap();
    assert!(!said.iter().any(|line| line.contains("NetworkPolicy")), "{said:?}");

    for (verb, action) in [("get", "read"), ("patch", "create")] {
        refuse(verb);
        let error = Error::from(install(&fake, true).await.0.expect_err("a right is missing"));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let expected = format!("ask for a role that may {action} NetworkPolicy {NAMESPACE}/garden-");
        assert!(error.hint().is_some_and(|hint| hint.starts_with(&expected)), "{error:?}");
    }

    // A refusal may be left, for a request that nobody waited for.
    let _ = install(&fake, true).await;
    install(&fake, true).await.0.unwrap();
    refuse("delete");
    let (installed, said) = install(&fake, false).await;
    installed.unwrap();
    assert_eq!(fake.names(POLICIES), [NAME, PROXY]);
    for name in [NAME, PROXY] {
        let told = format!("NetworkPolicy {NAMESPACE}/{name} stays, though `networkPolicies` is not set");
        assert!(said.iter().any(|line| line.contains(&told)), "{said:?}");
    }
}
