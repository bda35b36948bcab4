use std::collections::BTreeSet;

use super::*;

fn policy(allowed: AllowedPeers) -> NetworkPolicy {
    let metadata = ObjectMeta {
        name: Some("garden-service".to_owned()),
        namespace: Some("tools".to_owned()),
        labels: Some(service_labels("garden-service")),
        ..ObjectMeta::default()
    };
    network_policy("garden-service", metadata, allowed)
}

#[test]
fn nobody_is_let_in() {
    insta::assert_yaml_snapshot!(policy(AllowedPeers::Nobody));
}

#[test]
fn the_pods_of_builds_in_its_namespace_are_let_in() {
    insta::assert_yaml_snapshot!(policy(AllowedPeers::PodsOfBuilds));
}

#[test]
fn our_pods_in_all_namespaces_are_let_in() {
    insta::assert_yaml_snapshot!(policy(AllowedPeers::OurPods));
}

#[test]
fn whoever_reaches_the_port_is_let_in() {
    insta::assert_yaml_snapshot!(policy(AllowedPeers::Port(1234)));
}

#[test]
fn other_peers_are_another_configuration() {
    let all = [
        AllowedPeers::Nobody,
        AllowedPeers::PodsOfBuilds,
        AllowedPeers::OurPods,
        AllowedPeers::Port(1),
        AllowedPeers::Port(2),
    ];
    let marks: BTreeSet<_> = all.map(|allowed| configuration(&policy(allowed).metadata).to_owned()).into();
    assert_eq!(marks.len(), all.len(), "{marks:?}");
}
