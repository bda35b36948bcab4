use super::*;

pub(in crate::service) fn settings() -> ServiceSettings {
    ServiceSettings {
        namespace: Namespace::new("my-project"),
        image: "example/kaniko:1-debug".to_owned(),
        resources: Resources::util(),
        node_selector: BTreeMap::new(),
        tolerations: Vec::new(),
        annotations: BTreeMap::new(),
        storage: None,
        idle_after: IdleAfter::default(),
        network_policies: false,
    }
}

/// The Deployment whose nodes pull with the Secrets of these names.
fn pulling_with(settings: &ServiceSettings, names: &[&str]) -> Deployment {
    deployment(settings, &names.iter().map(|&name| name.to_owned()).collect())
}

/// The scripts have tests of their own.
fn without_scripts(deployment: &Deployment) -> serde_json::Value {
    let mut value = serde_json::to_value(deployment).expect("serialises");
    let container = &mut value["spec"]["template"]["spec"]["containers"][0];
    (container["command"][2], container["args"][1]) = ("serve.sh".into(), "answer.sh".into());
    for metadata in ["/metadata", "/spec/template/metadata"] {
        let annotation = format!("{metadata}/annotations/garden-build~1configuration");
        *value.pointer_mut(&annotation).expect("a configuration") = "16 digits".into();
    }
    value
}

#[test]
fn the_plainest_service() {
    insta::assert_yaml_snapshot!(without_scripts(&pulling_with(&settings(), &[])));
    assert_eq!(claim(&settings()), None);
}

#[test]
fn every_option_is_in_the_service() {
    let mut settings = settings();
    settings.resources.limits.cpu = 2000;
    settings.node_selector.insert("pool".to_owned(), "build".to_owned());
    settings.tolerations.push(Toleration::equal("dedicated", "ci"));
    settings.annotations.insert("team".to_owned(), "web".to_owned());
    settings.annotations.insert(PROTOCOL.to_owned(), "99".to_owned());
    let mut storage = PersistentStorage::default();
    (storage.size, storage.storage_class) = (5120, Some("fast".to_owned()));
    settings.storage = Some(storage);
    insta::assert_yaml_snapshot!(without_scripts(&pulling_with(&settings, &["regcred"])));
    insta::assert_yaml_snapshot!(claim(&settings).expect("a claim"));
}

/// What a `ResourceQuota` of it wants each container to say. Source: Kubernetes 1.34, `pkg/quota/v1/evaluator/core/pods.go`.
#[test]
fn a_namespace_with_any_usual_quota_takes_the_service() {
    let deployment = serde_json::to_value(pulling_with(&settings(), &[])).expect("serialises");
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().expect("containers");
    for container in containers {
        for amount in ["/limits/cpu", "/limits/memory", "/requests/cpu", "/requests/memory"] {
            assert!(container["resources"].pointer(amount).is_some(), "{amount}: {container}");
        }
    }
}

#[test]
fn another_configuration_shows_and_the_same_does_not() {
    let configuration = |settings: &ServiceSettings, names: &[&str]| {
        pulling_with(settings, names).metadata.annotations.expect("annotations")[CONFIGURATION].clone()
    };
    let mut other = settings();
    assert_eq!(configuration(&settings(), &[]), configuration(&other, &[]));
    assert_eq!(configuration(&settings(), &[]), configuration(&settings(), &["somebody-s"]));
    // It is kept for another time, and stays as it is.
    other.idle_after = IdleAfter::Never;
    assert_eq!(configuration(&settings(), &[]), configuration(&other, &[]));
    assert_eq!(pulling_with(&settings(), &[]).spec, pulling_with(&other, &[]).spec);
    other.image = "example/kaniko:2-debug".to_owned();
    assert_ne!(configuration(&settings(), &[]), configuration(&other, &[]));
}

#[test]
fn contexts_take_most_of_the_room_that_there_is() {
    let mut settings = settings();
    assert_eq!(space(&settings), 10_240);
    settings.resources.limits.ephemeral_storage = Some(1000);
    assert_eq!(space(&settings), 800);
    settings.storage = Some(PersistentStorage::default());
    assert_eq!(space(&settings), 16_384);
}
