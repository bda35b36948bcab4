use garden_cluster::pod_of;
use k8s_openapi::api::core::v1::PodSpec;

use super::*;

pub(crate) fn settings() -> Settings {
    Settings {
        namespace: Namespace::new("my-project"),
        options: DaemonOptions { image: "example/buildkit:1".to_owned(), ..DaemonOptions::default() },
        resources: Resources::builder(),
        idle_after: IdleAfter::default(),
        registries: Vec::new(),
        pull_secrets: BTreeSet::new(),
        certificates: None,
        proxies: BuilderProxies::default(),
        proxy_secret: None,
        traces_url: None,
        network_policies: false,
    }
}

/// The proxies of a network, one of which asks for a password.
fn proxies() -> BuilderProxies {
    let mut options = garden_config::ProxyOptions::default();
    options.http_proxy = Some("http://proxy.example:3128".into());
    options.https_proxy = Some("http://who:s3cret@proxy.example:3129".into());
    options.no_proxy = Some("registry.example".to_owned());
    BuilderProxies::new(&options)
}

fn configuration(settings: &Settings) -> String {
    let deployment = deployment(settings);
    let annotations = deployment.metadata.annotations.expect("annotations");
    annotations[CONFIGURATION].clone()
}

fn rootless_with_every_option() -> Settings {
    let mut settings = settings();
    settings.options.rootless = true;
    settings.options.node_selector.insert("pool".to_owned(), "build".to_owned());
    settings.options.annotations.insert("team".to_owned(), "web".to_owned());
    settings.options.tolerations.push(Toleration::equal("dedicated", "ci"));
    settings.options.service_account_annotations.insert("role".to_owned(), "builder".to_owned());
    settings.options.storage = Some(Storage { size: 20_480, storage_class: Some("fast".to_owned()) });
    settings.registries.push(RegistryAccess {
        host: "registry.example:5000".to_owned(),
        insecure: false,
        certificate_authority: Some("a certificate".to_owned()),
        mirror: None,
    });
    settings.pull_secrets = ["second", "first"].map(str::to_owned).into();
    settings
}

#[test]
fn the_plainest_deployment() {
    insta::assert_yaml_snapshot!(deployment(&settings()));
}

#[test]
fn a_deployment_that_listens() {
    let mut settings = settings();
    settings.options.listen = true;
    settings.certificates = Some("a-fingerprint".to_owned());
    insta::assert_yaml_snapshot!(deployment(&settings));
}

#[test]
fn a_daemon_behind_proxies_has_their_passwords_from_the_secret_alone() {
    let mut settings = settings();
    settings.proxies = proxies();
    settings.proxy_secret = Some("a-mark".to_owned());
    let deployment = deployment(&settings);
    assert!(
        !format!("{} {settings:?}", serde_json::to_string(&deployment).expect("serialises"))
            .contains("s3cret")
    );
    let shown = serde_json::to_value(&deployment).expect("serialises");
    insta::assert_yaml_snapshot!(shown["spec"]["template"]["spec"]["containers"][0]["env"]);
    assert_eq!(shown["spec"]["template"]["metadata"]["annotations"][PROXIES], "a-mark");
}

#[test]
fn a_daemon_that_sends_its_spans_elsewhere_is_another_configuration() {
    let mut settings = settings();
    let without = configuration(&settings);
    settings.traces_url = Some("http://collector.svc:4318/v1/traces".to_owned());
    assert_ne!(without, configuration(&settings));
    let shown = serde_json::to_value(deployment(&settings)).expect("serialises");
    let expected = serde_json::json!([
        { "name": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "value": "http://collector.svc:4318/v1/traces" },
        { "name": "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "value": "http/protobuf" },
    ]);
    assert_eq!(shown["spec"]["template"]["spec"]["containers"][0]["env"], expected);
}

#[test]
fn another_identity_is_another_configuration() {
    let mut settings = settings();
    let without = configuration(&settings);
    settings.options.service_account_annotations.insert("role".to_owned(), "one".to_owned());
    let one = configuration(&settings);
    settings.options.service_account_annotations.insert("role".to_owned(), "other".to_owned());
    assert!(without != one && one != configuration(&settings));
    let account = service_account(&settings).expect("an account");
    assert_eq!(account.metadata.annotations.expect("annotations")["role"], "other");
}

#[test]
fn another_time_without_use_is_on_the_deployment_and_no_other_configuration() {
    let mut other = settings();
    other.idle_after = IdleAfter::Never;
    let [plain, other] = [settings(), other].map(|settings| deployment(&settings));
    assert_eq!(plain.spec, other.spec);
    let annotation = |deployment: &Deployment, name: &str| {
        deployment.metadata.annotations.as_ref().expect("annotations")[name].clone()
    };
    assert_eq!(annotation(&plain, CONFIGURATION), annotation(&other, CONFIGURATION));
    assert_eq!(annotation(&plain, IDLE_AFTER), "4h");
    assert_eq!(annotation(&other, IDLE_AFTER), "never");
}

#[test]
fn the_daemon_gets_no_client_s_certificate() {
    let mut settings = settings();
    settings.options.listen = true;
    let text = serde_json::to_string(&deployment(&settings)).expect("serialises");
    assert!(text.contains(SERVER_KEY));
    assert!(!text.contains(CLIENT_KEY) && !text.contains(CLIENT_CERTIFICATE));
}

#[test]
fn root_in_a_user_namespace_of_its_own_is_nobody_on_the_node() {
    let mut settings = settings();
    let plain = deployment(&settings);
    settings.options.user_namespace = true;
    let pod = |deployment: &Deployment| pod_of(deployment).expect("a pod").clone();
    let own = deployment(&settings);
    assert_eq!(pod(&own).host_users, Some(false));
    assert_eq!(PodSpec { host_users: None, ..pod(&own) }, pod(&plain), "all else is the same");
    // Each step has a process table of its own, as with a privileged daemon.
    let arguments = pod(&own).containers.remove(0).args.expect("arguments");
    assert!(arguments.iter().all(|argument| !argument.contains("sandbox")), "{arguments:?}");
}

#[test]
fn every_option_is_in_the_rootless_deployment() {
    insta::assert_yaml_snapshot!(deployment(&rootless_with_every_option()));
}

#[test]
fn the_configuration_and_the_claim_of_every_option() {
    let settings = rootless_with_every_option();
    let mut owner = deployment(&settings);
    owner.metadata.uid = Some("the-uid".to_owned());
    insta::assert_yaml_snapshot!((config_map(&settings, Some(&owner)), claim(&settings)));
}

#[test]
fn the_pod_mounts_the_very_configuration_that_is_created() {
    let settings = rootless_with_every_option();
    let pod = pod::pod(&settings);
    let mounted = pod.volumes.into_iter().flatten().find_map(|volume| volume.config_map).expect("a volume");
    assert_eq!(Some(mounted.name), config_map(&settings, None).metadata.name);
}

#[test]
fn whatever_changes_the_pod_changes_the_configuration() {
    let changes: [fn(&mut Settings); 12] = [
        |settings| settings.options.image = "example/buildkit:2".to_owned(),
        |settings| settings.options.rootless = true,
        |settings| settings.options.user_namespace = true,
        |settings| settings.options.storage = Some(Storage { size: 1024, storage_class: None }),
        |settings| settings.resources.limits.cpu = 1000,
        |settings| settings.options.listen = true,
        |settings| settings.certificates = Some("others".to_owned()),
        |settings| settings.proxies = proxies(),
        |settings| settings.proxy_secret = Some("others".to_owned()),
        |settings| drop(settings.options.annotations.insert("a".to_owned(), "b".to_owned())),
        |settings| settings.pull_secrets.extend(["regcred".to_owned()]),
        |settings| {
            settings.registries.push(RegistryAccess {
                host: "registry.example".to_owned(),
                insecure: true,
                certificate_authority: None,
                mirror: None,
            });
        },
    ];
    let mut configurations: Vec<String> = changes
        .iter()
        .map(|change| {
            let mut settings = settings();
            change(&mut settings);
            configuration(&settings)
        })
        .collect();
    configurations.push(configuration(&settings()));
    configurations.sort();
    configurations.dedup();
    assert_eq!(configurations.len(), changes.len() + 1);
}

#[test]
fn the_user_s_annotations_cannot_hide_the_configuration() {
    let mut settings = settings();
    settings.options.annotations.insert(CONFIGURATION.to_owned(), "mine".to_owned());
    let deployment = serde_json::to_value(deployment(&settings)).expect("serialises");
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations[CONFIGURATION], configuration(&settings));
    assert_ne!(configuration(&settings), "mine");
}

#[test]
fn older_servers_are_told_of_the_profile_in_their_own_way() {
    let mut rootless = rootless_with_every_option();
    rootless.options.rootless = true;
    let mut older = deployment(&rootless);
    for_older_servers(&mut older);
    let text = serde_json::to_string(&older).expect("serialises");
    assert!(!text.contains("appArmorProfile"));
    assert!(text.contains(r#""container.apparmor.security.beta.kubernetes.io/buildkitd":"unconfined""#));

    let rootful = deployment(&settings());
    let mut older = rootful.clone();
    for_older_servers(&mut older);
    assert_eq!(older, rootful);
}

#[test]
fn the_daemon_carries_no_mark_of_a_build() {
    assert!(service_labels(NAME).keys().all(|label| !label.starts_with("garden-build/")));
}
