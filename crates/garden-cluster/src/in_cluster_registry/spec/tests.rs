use garden_config::{Namespace, ProviderConfig, Toleration};

use super::*;
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};

fn settings() -> RegistrySettings {
    RegistrySettings::new(&ProviderConfig::kubernetes("shop"))
}

fn with_every_option() -> RegistrySettings {
    let mut provider = ProviderConfig::kubernetes("shop");
    "tools".clone_into(&mut provider.garden_system_namespace);
    "mirror.example/hub".clone_into(&mut provider.util_image_registry_domain);
    provider.storage.registry.storage_class = Some("fast".to_owned());
    provider.storage.registry.size = 1024;
    provider.system_node_selector.insert("pool".to_owned(), "system".to_owned());
    provider.registry_proxy_tolerations.push(Toleration::exists("dedicated"));
    let mut settings = RegistrySettings::new(&provider);
    settings.pull_secrets = ["second", "first"].map(str::to_owned).into();
    settings
}

#[test]
fn the_plainest_objects() {
    let settings = settings();
    insta::assert_yaml_snapshot!("deployment", deployment(&settings, None));
    insta::assert_yaml_snapshot!("daemon_set", daemon_set(&settings));
    insta::assert_yaml_snapshot!("claim", claim(&settings));
    insta::assert_yaml_snapshot!("service", service(&settings));
}

#[test]
fn every_option_is_in_the_objects() {
    let settings = with_every_option();
    insta::assert_yaml_snapshot!("deployment_with_every_option", deployment(&settings, None));
    insta::assert_yaml_snapshot!("daemon_set_with_every_option", daemon_set(&settings));
    insta::assert_yaml_snapshot!("claim_with_every_option", claim(&settings));
}

#[test]
fn a_registry_whose_pushes_need_a_password_serves_pulls_beside() {
    let settings = RegistrySettings { password_for_pushes: true, ..settings() };
    insta::assert_yaml_snapshot!("deployment_with_password", deployment(&settings, Some(b"user:hash")));
    insta::assert_yaml_snapshot!("service_with_password", service(&settings));
    let proxy = |settings| daemon_set(settings).spec;
    assert_eq!(proxy(&settings), proxy(&self::settings()), "nodes do not notice");
    let another = deployment(&settings, Some(b"user:other"));
    assert_ne!(
        another.spec,
        deployment(&settings, Some(b"user:hash")).spec,
        "its pod begins anew with another password"
    );
}

#[test]
fn all_objects_are_in_the_namespace_and_ours() {
    let mut settings = settings();
    settings.namespace = Namespace::new("tools");
    let all = [
        config_map(&settings).metadata,
        secret(&settings, "random".to_owned()).metadata,
        login(&settings, "user", &"password".to_owned().into(), "user:hash".to_owned()).metadata,
        claim(&settings).metadata,
        service(&settings).metadata,
        deployment(&settings, None).metadata,
        daemon_set(&settings).metadata,
    ];
    for metadata in all {
        assert_eq!(metadata.namespace.as_deref(), Some("tools"));
        assert_eq!(metadata.labels.expect("labels")[MANAGED_BY_LABEL], MANAGER);
    }
}
