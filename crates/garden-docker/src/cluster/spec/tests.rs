use std::collections::BTreeSet;

use garden_cluster::{MANAGED_BY_LABEL, MANAGER, PushTarget, RegistryAccess};
use garden_config::{BuildMode, ClusterDockerOptions, DeploymentRegistry, ProviderConfig};

use super::*;

fn access(host: &str, insecure: bool, authority: Option<&str>) -> RegistryAccess {
    RegistryAccess {
        host: host.to_owned(),
        insecure,
        certificate_authority: authority.map(str::to_owned),
        mirror: None,
    }
}

fn read(provider: &ProviderConfig) -> ClusterDaemonSettings {
    let registry = DeploymentRegistry::new("registry.example/team").expect("a registry");
    let target = PushTarget::read("deploymentRegistry", &registry).expect("no certificate");
    ClusterDaemonSettings::new(provider, &ClusterDockerOptions::default(), &target).expect("settings")
}

/// Of a project that pushes to a registry with ordinary TLS.
pub(in crate::cluster) fn settings() -> ClusterDaemonSettings {
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.build_mode = BuildMode::ClusterDocker(ClusterDockerOptions::default());
    provider.deployment_registry =
        Some(DeploymentRegistry::new("registry.example/team").expect("a registry"));
    read(&provider)
}

pub(in crate::cluster) fn with_every_option() -> ClusterDaemonSettings {
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.build_mode = BuildMode::ClusterDocker(ClusterDockerOptions::default());
    "tools".clone_into(&mut provider.garden_system_namespace);
    "mirror.example/hub".clone_into(&mut provider.util_image_registry_domain);
    provider.storage.builder.storage_class = Some("fast".to_owned());
    provider.storage.builder.size = 40_960;
    provider.resources.builder.limits.ephemeral_storage = Some(1024);
    provider.system_node_selector.insert("pool".to_owned(), "system".to_owned());
    let mut settings = read(&provider);
    settings.pull_secrets = ["second", "first"].map(str::to_owned).into();
    settings.registries = vec![
        access("old.example:5000", true, None),
        access("private.example:8443", false, Some("a certificate")),
    ];
    settings
}

#[test]
fn the_plainest_objects() {
    let settings = settings();
    assert!(!settings.forwards);
    insta::assert_yaml_snapshot!("deployment", deployment(&settings));
    insta::assert_yaml_snapshot!("config_map", config_map(&settings));
    insta::assert_yaml_snapshot!("claim", claim(&settings));
}

#[test]
fn every_option_is_in_the_objects() {
    let settings = with_every_option();
    assert!(settings.forwards, "there is no other registry");
    insta::assert_yaml_snapshot!("deployment_with_every_option", deployment(&settings));
    insta::assert_yaml_snapshot!("config_map_with_every_option", config_map(&settings));
    insta::assert_yaml_snapshot!("claim_with_every_option", claim(&settings));
}

#[test]
fn all_objects_are_in_the_namespace_and_ours() {
    let settings = with_every_option();
    for metadata in
        [config_map(&settings).metadata, claim(&settings).metadata, deployment(&settings).metadata]
    {
        assert_eq!(metadata.namespace.as_deref(), Some("tools"));
        let labels = metadata.labels.expect("labels");
        assert_eq!(labels[MANAGED_BY_LABEL], MANAGER);
        assert!(labels.keys().all(|label| !label.starts_with("garden-build/")), "it belongs to no build");
    }
}

#[test]
fn the_daemon_listens_on_its_socket_only() {
    for settings in [settings(), with_every_option()] {
        let pod = pod(&settings);
        let daemon = &pod.containers[0];
        assert_eq!(daemon.ports, None);
        let arguments = daemon.args.as_deref().expect("arguments");
        assert_eq!(arguments, ["dockerd", "--host=unix:///var/run/docker.sock"]);
        // Nor does its configuration say so, where the daemon looks for it as well.
        let hosts =
            serde_json::from_str::<serde_json::Value>(&configuration::files(&settings)["daemon.json"]);
        assert_eq!(hosts.expect("JSON").get("hosts"), None);
    }
}

#[test]
fn a_daemon_behind_proxies_has_their_passwords_from_the_secret_alone() {
    let mut options = garden_config::ProxyOptions::default();
    options.http_proxy = Some("http://proxy.example:3128".into());
    options.https_proxy = Some("http://who:s3cret@proxy.example:3129".into());
    let mut settings = settings();
    settings.proxies = garden_cluster::BuilderProxies::new(&options);
    settings.proxy_secret = Some("a-mark".to_owned());
    let shown = serde_json::to_value(deployment(&settings)).expect("serialises");
    assert!(!format!("{shown} {settings:?}").contains("s3cret"), "{shown} {settings:?}");
    let template = &shown["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"][PROXIES], "a-mark");
    insta::assert_yaml_snapshot!("env_with_proxies", template["spec"]["containers"][0]["env"]);
}

#[test]
fn another_configuration_is_another_pod() {
    let settings = settings();
    let read = |settings: &ClusterDaemonSettings| {
        let value = serde_json::to_value(deployment(settings)).expect("serialises");
        value["spec"]["template"]["metadata"]["annotations"][CONFIGURATION].as_str().expect("text").to_owned()
    };
    let mut larger = settings.clone();
    larger.storage.size *= 2;
    let mut with_registry = settings.clone();
    with_registry.registries = vec![access("a.example", true, None)];
    let mut with_authority = settings.clone();
    with_authority.registries = vec![access("a.example", false, Some("ca"))];
    let all = [&settings, &larger, &with_registry, &with_authority];
    assert_eq!(all.map(read).into_iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn what_another_project_has_told_the_daemon_stays_and_ones_own_registries_count() {
    let live = with_every_option();
    let mut mine = settings();
    mine.registries =
        vec![access("old.example:5000", false, Some("now with TLS")), access("a.example", true, None)];
    configuration::keep_others(&mut mine, &configuration::files(&live));
    assert_eq!(
        mine.registries,
        [
            access("a.example", true, None),
            access("old.example:5000", false, Some("now with TLS")),
            access("private.example:8443", false, Some("a certificate")),
        ]
    );
    // Somebody who changes what we have written loses no more than the record of it.
    let mut unreadable = settings();
    let broken = BTreeMap::from([("registries.json".to_owned(), "[".to_owned())]);
    configuration::keep_others(&mut unreadable, &broken);
    assert_eq!(unreadable.registries, []);
}

#[test]
fn whether_a_pod_forwards_to_the_registry_is_seen() {
    assert!(forwards(&deployment(&with_every_option())));
    assert!(!forwards(&deployment(&settings())));
}
