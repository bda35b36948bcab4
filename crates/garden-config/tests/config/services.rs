//! The provider's fields that concern what runs in the cluster besides builders: what they give, what they give when
//! left out, and what is said when they are wrong.

use std::collections::BTreeMap;

use garden_config::{
    BuildMode, ClusterBuildkitOptions, ContextDelivery, IdleAfter, InClusterRegistryOptions, KanikoNamespace,
    KanikoOptions, NoticeKind, PersistentStorage, ProviderConfig, ProviderResources, ProviderStorage,
    ProxyOptions, ProxyUrl, Resources, SecretRef, Toleration,
};

use crate::support::{HEAD, indented, project, refused, valid};

#[test]
fn nothing_set_gives_the_defaults() {
    let provider = valid("");
    assert_eq!(provider.copy_secrets, []);
    assert_eq!(provider.resources, ProviderResources::default());
    assert_eq!(provider.storage, ProviderStorage::default());
    assert_eq!(provider.idle_after, IdleAfter::Seconds(4 * 3600));
    assert_eq!(provider.garden_system_namespace, "garden-system");
    assert_eq!(
        (provider.registry_proxy_tolerations, provider.system_node_selector),
        (vec![], BTreeMap::new())
    );
    assert_eq!(provider.util_image_registry_domain, "docker.io");
    assert_eq!(provider.in_cluster_registry, InClusterRegistryOptions::default());
    assert_eq!(provider.proxies, ProxyOptions::default());

    let defaults = ProviderResources::default();
    let amounts = |it: &Resources| [it.limits.cpu, it.limits.memory, it.requests.cpu, it.requests.memory];
    assert_eq!(amounts(&defaults.builder), [4000, 8192, 100, 512]);
    assert_eq!(amounts(&defaults.registry), [2000, 4096, 200, 512]);
    assert_eq!(amounts(&defaults.util), [256, 512, 10, 32]);
    assert_eq!(amounts(&defaults.sync), [500, 512, 100, 90]);
    let storage = ProviderStorage::default();
    assert_eq!((storage.builder.size, storage.registry.size), (20_480, 20_480));
    assert_eq!(storage.registry.storage_class, None);
}

#[test]
fn proxies_of_builders() {
    let mode = "buildMode: kaniko\nproxies:";
    let provider = valid(&format!(
        "{mode}\n  httpProxy: ' http://p:3128'\n  httpsProxy: http://who:s3cret@p:3129\n  noProxy: ' .corp.example, 10.0.0.0/8'"
    ));
    let proxies = &provider.proxies;
    assert_eq!(proxies.http_proxy.as_ref().map(ProxyUrl::expose), Some("http://p:3128"));
    assert_eq!(proxies.https_proxy.as_ref().map(ProxyUrl::expose), Some("http://who:s3cret@p:3129"));
    assert_eq!(proxies.no_proxy.as_deref(), Some(".corp.example, 10.0.0.0/8"));
    assert!(!format!("{provider:?}").contains("s3cret"), "{provider:?}");
    // A template resolves to this where the network has no proxy.
    let empty =
        format!("{mode} {{httpProxy: '${{local.env.NO_SUCH || \"\"}}', httpsProxy: null, noProxy: ''}}");
    assert_eq!(valid(&empty).proxies, ProxyOptions::default());
    refused(&[
        ("proxies: on", "5:14: `proxies` must be a mapping, not text"),
        (
            "proxies: {httpProxy: ftp://who:s3cret@p}",
            "5:26: `httpProxy` is not the address of a proxy | write `http://host:port`; `https://` and `socks5://` are possible as well",
        ),
        (
            "proxies: {httpsProxy: http://p, noProxy: a.example b.example}",
            "5:46: `a.example b.example` in `noProxy` is not a host | separate hosts by commas",
        ),
        ("proxies: {noProxy: [a]}", "5:24: `noProxy` must be text, not a list"),
    ]);
}

#[test]
fn this_machines_docker_daemon_has_proxies_of_its_own() {
    let provider = valid("proxies: {httpProxy: http://p:1}");
    let [notice] = &provider.notices[..] else { panic!("{:?}", provider.notices) };
    assert_eq!((notice.kind, notice.field.as_str()), (NoticeKind::NoEffect, "proxies"));
    assert!(notice.hint.as_ref().is_some_and(|hint| hint.contains("~/.docker/config.json")), "{notice}");
}

#[test]
fn builders_in_the_cluster_send_their_spans_to_a_collector() {
    let endpoint = "telemetry: {endpoint: http://collector.svc:4318}";
    let provider = valid(&format!("buildMode: kaniko\n{endpoint}"));
    assert_eq!(provider.telemetry.endpoint.as_deref(), Some("http://collector.svc:4318"));
    assert!(!provider.notices.iter().any(|notice| notice.field == "telemetry"), "{:?}", provider.notices);
    let provider = valid(endpoint);
    let [notice] = &provider.notices[..] else { panic!("{:?}", provider.notices) };
    assert_eq!((notice.kind, notice.field.as_str()), (NoticeKind::NoEffect, "telemetry"));
    refused(&[
        ("telemetry: http://collector", "5:16: `telemetry` must be a mapping, not text"),
        (
            "telemetry: {endpoint: collector:4318}",
            "5:27: `endpoint` is not the address of a collector | write `http://host:4318` or `https://host`, without user name, password, `?` and `#`",
        ),
    ]);
}

#[test]
fn no_error_shows_the_password_of_a_proxy() {
    for proxies in [
        "proxies: http://who:s3cret@p",
        "proxies: [http://who:s3cret@p]",
        "proxies: {httpProxy: ftp://who:s3cret@p}",
        "proxies:\n  httpProxy: >\n    http://who:\n    s3cret@p\n  noProxy: a b",
        "proxies: {httpProxy: 'http://who:s3cret@${var.none}'}",
        "proxies: {http: http://who:s3cret@p}",
    ] {
        let text = format!("{HEAD}{}\n    buildmode: x\n", indented(proxies, 4));
        let error = project(&text).and_then(|it| it.provider("dev")).expect_err(proxies);
        // What is kept for renderers is the file without these lines.
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("buildmode") && !shown.contains("s3cret"), "{proxies}\n{shown}");
    }
    let elsewhere =
        "variables:\n  network: &p\n    httpProxy: ftp://who:s3cret@p\n    noProxy: a b\nproviders:\n";
    let text = format!("{}    proxies: *p\n", HEAD.replace("providers:\n", elsewhere));
    let error = project(&text).and_then(|it| it.provider("dev")).expect_err("behind an alias");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("noProxy: a b") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn secrets_to_copy() {
    let secrets = valid("copySecrets: [{name: a}, null, {name: b, namespace: c}]").copy_secrets;
    assert_eq!(secrets, [SecretRef::new("a"), SecretRef::new("b").in_namespace("c")]);
    refused(&[
        ("copySecrets: [a]", "5:19: each of `copySecrets` must be a mapping, not text"),
        ("copySecrets: [{namespace: a}]", "5:19: each of `copySecrets` needs the field `name`"),
        (
            "copySecrets: [{name: a, namespace: B}]",
            "5:40: `B` cannot be the name of a namespace | use at most 63 lower-case letters, digits and `-`, with a letter or \
             digit at both ends",
        ),
    ]);
}

#[test]
fn resources_of_each_container() {
    let resources = valid(
        "resources: {registry: {limits: {memory: 1024}}, util: {requests: {cpu: 10}}, sync: {limits: {cpu: 600}}}",
    );
    assert_eq!(resources.resources.registry.limits.memory, 1024);
    assert_eq!(resources.resources.registry.limits.cpu, 2000);
    assert_eq!(resources.resources.util.requests.cpu, 10);
    assert_eq!(resources.resources.sync.limits.cpu, 600);
    refused(&[
        ("resources: {registry: 4}", "5:27: `resources.registry` must be a mapping, not a number"),
        (
            "resources: {util: {limit: {}}}",
            "5:24: `limit` is not a field of `resources.util` | did you mean `limits`?",
        ),
        (
            "resources: {sync: {limits: {memory: 10}}}",
            "5:23: the request of 90 MiB exceeds the limit of 10 MiB | lower `requests.memory` or raise `limits.memory`",
        ),
    ]);
}

#[test]
fn volumes() {
    let storage = valid("storage: {builder: {size: 100}, registry: {storageClass: fast}}").storage;
    let mut builder = PersistentStorage::default();
    builder.size = 100;
    assert_eq!(storage.builder, builder);
    assert_eq!((storage.registry.size, storage.registry.storage_class.as_deref()), (20_480, Some("fast")));
    assert_eq!(valid("storage: {builder: null}").storage, ProviderStorage::default());
    refused(&[
        ("storage: 10", "5:14: `storage` must be a mapping, not a number"),
        ("storage: {builder: 10}", "5:24: `storage.builder` must be a mapping, not a number"),
        ("storage: {registry: {size: 0}}", "5:32: `size` must be a whole number of at least 1"),
        (
            "storage: {regsitry: {}}",
            "5:15: `regsitry` is not a field of `storage` | did you mean `registry`?",
        ),
        ("storage: {sync: {size: x}}", "5:28: `size` must be a whole number of at least 1"),
        (
            "storage: {nfs: {class: x}}",
            "5:21: `class` is not a field of `storage.nfs` | the only one is `storageClass`",
        ),
        (
            "storage: {registry: {storageClass: A}}",
            "5:40: `A` cannot be the name of a storage class | use at most 253 lower-case letters, digits, `-` and `.`",
        ),
    ]);
}

#[test]
fn how_long_a_service_may_be_unused() {
    let mode = "buildMode: cluster-buildkit\nidleAfter:";
    let read = |time: &str| {
        let provider = valid(&format!("{mode} {time}"));
        assert_eq!(provider.notices, [], "{time}");
        provider.idle_after
    };
    assert_eq!(read("90m"), IdleAfter::Seconds(5400));
    assert_eq!(read("'5m'"), IdleAfter::Seconds(300));
    assert_eq!(read("never"), IdleAfter::Never);
    assert_eq!(read("null"), IdleAfter::default());
    let hint = "write a time with its unit, such as `30m`, `4h` or `7d`, or `never`";
    for (time, problem) in [
        ("soon", "`idleAfter` cannot be `soon`"),
        ("3600", "`idleAfter` cannot be `3600`"),
        ("1h30m", "`idleAfter` cannot be `1h30m`"),
        ("299s", "`idleAfter` must be at least 5m"),
    ] {
        refused(&[(&format!("{mode} {time}"), &format!("6:16: {problem} | {hint}"))]);
    }
    refused(&[(&format!("{mode} [4h]"), "6:16: `idleAfter` must be text, not a list")]);
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.idle_after = IdleAfter::Seconds(10);
    let error = provider.check().expect_err("too short");
    assert!(error.to_string().starts_with("`idleAfter`: "), "{error}");
}

#[test]
fn what_can_be_unused_is_named_where_there_is_nothing_of_it() {
    for (mode, notices) in [
        ("buildMode: kaniko\nkaniko: {namespace: null}", 0),
        ("buildMode: kaniko\nkaniko: {namespace: null, contextDelivery: stdin}", 1),
        ("buildMode: cluster-buildkit", 0),
        ("buildMode: local-docker", 1),
    ] {
        let notices_of = valid(&format!("{mode}\nidleAfter: 4h")).notices;
        assert_eq!(notices_of.len(), notices, "{mode}: {notices_of:?}");
        assert!(notices_of.iter().all(|notice| notice.field == "idleAfter"), "{notices_of:?}");
    }
}

#[test]
fn network_policies_are_for_what_is_installed_in_the_cluster() {
    assert!(!valid("buildMode: cluster-buildkit").network_policies);
    for (mode, notices) in [
        ("buildMode: kaniko\nkaniko: {namespace: null}", 0),
        ("buildMode: cluster-buildkit", 0),
        ("buildMode: local-docker", 1),
    ] {
        let provider = valid(&format!("{mode}\nnetworkPolicies: true"));
        assert!(provider.network_policies, "{mode}");
        let notices_of = provider.notices;
        assert_eq!(notices_of.len(), notices, "{mode}: {notices_of:?}");
        assert!(notices_of.iter().all(|notice| notice.field == "networkPolicies"), "{notices_of:?}");
        assert_eq!(valid(&format!("{mode}\nnetworkPolicies: false")).notices, [], "{mode}");
    }
    refused(&[("networkPolicies: [a]", "5:22: `networkPolicies` must be `true` or `false`, not a list")]);
}

#[test]
fn the_context_service_s_settings_have_an_effect_where_there_is_one() {
    let settings = "resources: {util: {limits: {cpu: 1000}}}\nstorage: {sync: {size: 1024}}";
    let kaniko = "buildMode: kaniko\nkaniko: {namespace: null, util: {annotations: {a: b}}}";
    let provider = valid(&format!("{kaniko}\n{settings}"));
    assert_eq!(provider.notices, []);
    assert_eq!(provider.storage.sync.map(|it| it.size), Some(1024));
    let fields = |provider: ProviderConfig| -> Vec<String> {
        provider.notices.into_iter().map(|notice| notice.field).collect()
    };
    assert_eq!(fields(valid(settings)), ["resources.util", "storage.sync"]);
    let stdin = "buildMode: kaniko\nkaniko: {namespace: null, contextDelivery: stdin, util: {}}";
    assert_eq!(
        fields(valid(&format!("{stdin}\n{settings}"))),
        ["kaniko.util", "resources.util", "storage.sync"]
    );
}

#[test]
fn scheduling_of_services() {
    let provider =
        valid("registryProxyTolerations: [{operator: Exists}]\nsystemNodeSelector: {pool: system}");
    assert_eq!(provider.registry_proxy_tolerations.len(), 1);
    assert_eq!(provider.system_node_selector["pool"], "system");
    refused(&[
        (
            "registryProxyTolerations: [{value: a}]",
            "5:32: a toleration without a `key` must have `operator: Exists` | set `key`, or `operator: Exists` to tolerate every \
             taint",
        ),
        ("systemNodeSelector: [a]", "5:25: `systemNodeSelector` must be a mapping, not a list"),
        ("systemNodeSelector: {a: 1}", "5:29: `a` must be text, not a number | write it in quotes: `\"1\"`"),
    ]);
}

#[test]
fn the_registry_within_the_cluster() {
    let options = valid("inClusterRegistry: {image: mirror.example/registry:3}").in_cluster_registry;
    assert_eq!(options.image_from("docker.io"), "mirror.example/registry:3");
    assert!(!options.password_for_pushes);
    assert_eq!(valid("inClusterRegistry: {}").in_cluster_registry, InClusterRegistryOptions::default());
    assert!(valid("inClusterRegistry: {passwordForPushes: true}").in_cluster_registry.password_for_pushes);
    refused(&[
        ("inClusterRegistry: on", "5:24: `inClusterRegistry` must be a mapping, not text"),
        (
            "inClusterRegistry: {images: a}",
            "5:25: `images` is not a field of `inClusterRegistry` | did you mean `image`?",
        ),
        (
            "inClusterRegistry: {image: A}",
            "5:32: `A` is not an image reference: invalid reference format | write it like \
             `docker.io/library/registry:2.8.3`",
        ),
    ]);
}

/// Garden replaces what is set by the project's own path in its registry, if that is the registry that is named.
#[test]
fn images_go_to_the_registry_within_the_cluster_unless_another_is_named() {
    let path = |fields: &str| valid(fields).in_cluster_registry_namespace().map(str::to_owned);
    assert_eq!(path("buildMode: kaniko").as_deref(), Some("shop"));
    assert_eq!(path("buildMode: cluster-buildkit\ndeploymentRegistry: null").as_deref(), Some("shop"));
    let named = "buildMode: kaniko\ndeploymentRegistry:";
    assert_eq!(path(&format!("{named} {{hostname: 127.0.0.1:5000}}")).as_deref(), Some("shop"));
    let with_path = format!("{named} {{hostname: 127.0.0.1, port: 5000, namespace: team}}");
    assert_eq!(path(&with_path).as_deref(), Some("team"));
    assert_eq!(path(&format!("{named} {{hostname: 127.0.0.1:5001}}")), None);
    assert_eq!(path(&format!("{named} {{hostname: registry.example}}")), None);
    assert_eq!(path("buildMode: local-docker"), None);
}

#[test]
fn the_system_namespace_is_where_kaniko_pods_run_unless_told_otherwise() {
    let provider = valid("gardenSystemNamespace: tools\nbuildMode: kaniko");
    assert_eq!(provider.garden_system_namespace, "tools");
    let BuildMode::Kaniko(kaniko) = &provider.build_mode else { panic!("kaniko") };
    assert_eq!(kaniko.namespace, KanikoNamespace::Named("tools".to_owned()));
    assert!(provider.notices[0].message.contains("`tools`"));
    refused(&[(
        "gardenSystemNamespace: A",
        "5:28: `A` cannot be the name of a namespace | use at most 63 lower-case letters, digits and `-`, with a letter or digit at \
         both ends",
    )]);
}

/// As Garden 0.13 and later have it; the guide announces it.
#[test]
fn a_project_for_a_later_garden_builds_in_its_own_namespace() {
    let namespace = |version: &str| {
        let text = format!(
            "apiVersion: {version}\nkind: Project\nname: shop\nproviders: [{{name: kubernetes, buildMode: kaniko}}]\n"
        );
        let provider =
            project(&text).and_then(|it| it.provider("dev")).unwrap_or_else(|error| panic!("{error}"));
        let BuildMode::Kaniko(KanikoOptions { namespace, .. }) = provider.build_mode else {
            panic!("kaniko")
        };
        (namespace, provider.notices.len())
    };
    assert_eq!(namespace("garden.io/v0"), (KanikoNamespace::Named("garden-system".to_owned()), 1));
    assert_eq!(namespace("garden.io/v1"), (KanikoNamespace::Project, 0));
    assert_eq!(namespace("garden.io/v2"), (KanikoNamespace::Project, 0));
    let error = project("apiVersion: garden.io/v3\nkind: Project\nname: a\n").expect_err("unknown");
    assert_eq!(error.problems()[0].message, "`apiVersion` cannot be `garden.io/v3`");
}

#[test]
fn the_registry_of_the_daemons_image() {
    let provider = valid("utilImageRegistryDomain: mirror.example:5000/hub/");
    assert_eq!(provider.util_image_registry_domain, "mirror.example:5000/hub");
    let mut options = ClusterBuildkitOptions::default();
    assert_eq!(
        options.image_from("mirror.example:5000/hub"),
        "mirror.example:5000/hub/moby/buildkit:v0.26.3"
    );
    assert_eq!(options.image_from(ProviderConfig::UTIL_IMAGE_REGISTRY_DOMAIN), options.image());
    options.image = Some("docker.io/own/buildkit:1".to_owned());
    assert_eq!(options.image_from("mirror.example"), "docker.io/own/buildkit:1");
    for wrong in ["registry", "A B", "https://a.b"] {
        refused(&[(
            &format!("utilImageRegistryDomain: {wrong}"),
            &format!(
                "5:30: `{wrong}` cannot be a registry | write `host` or `host:port`, perhaps with a path"
            ),
        )]);
    }
}

#[test]
fn service_account_annotations_and_the_utility_pod_of_kaniko() {
    let provider = valid(
        "buildMode: kaniko\nkaniko:\n  namespace: null\n  serviceAccountAnnotations: {role: builder}\n  util:\n    nodeSelector: {a: b}\n    \
         tolerations: [{key: k, value: v}]\n    annotations: {c: d}",
    );
    let BuildMode::Kaniko(kaniko) = provider.build_mode else { panic!("kaniko") };
    assert_eq!(kaniko.service_account_annotations["role"], "builder");
    assert_eq!(kaniko.context_delivery, ContextDelivery::Sync);
    let util = kaniko.util.expect("set");
    assert_eq!((util.node_selector["a"].as_str(), util.annotations["c"].as_str()), ("b", "d"));
    assert_eq!(util.tolerations, [Toleration::equal("k", "v")]);
    refused(&[
        (
            "kaniko: {contextDelivery: stdn}",
            "5:31: `contextDelivery` cannot be `stdn` | did you mean `stdin`?",
        ),
        ("kaniko: {util: on}", "5:20: `kaniko.util` must be a mapping, not text"),
        (
            "kaniko: {util: {image: a}}",
            "5:21: `image` is not a field of `kaniko.util` | use one of `nodeSelector`, `tolerations`, \
          `annotations`",
        ),
        (
            "kaniko: {serviceAccountAnnotations: [a]}",
            "5:41: `serviceAccountAnnotations` must be a mapping, not a list",
        ),
        (
            "clusterBuildkit: {serviceAccountAnnotations: {a: 1}}",
            "5:54: `a` must be text, not a number | write it in quotes: \
          `\"1\"`",
        ),
    ]);
}

#[test]
fn cluster_docker() {
    let mode = valid("buildMode: cluster-docker\nclusterDocker: {enableBuildKit: 'true'}").build_mode;
    let BuildMode::ClusterDocker(options) = mode else { panic!("cluster-docker") };
    assert!(options.enable_buildkit);
    refused(&[
        ("clusterDocker: on", "5:20: `clusterDocker` must be a mapping, not text"),
        (
            "clusterDocker: {enableBuildkit: true}",
            "5:21: `enableBuildkit` is not a field of `clusterDocker` | did you mean \
          `enableBuildKit`?",
        ),
        (
            "clusterDocker: {enableBuildKit: 1}",
            "5:37: `enableBuildKit` must be `true` or `false`, not a number",
        ),
    ]);
}

/// What Garden does not know: the guide's own fields are above.
#[test]
fn the_image_and_the_registries_of_cluster_docker() {
    let mode = valid(
        "buildMode: cluster-docker\nclusterDocker:\n  image: mirror.example/docker:29-dind\n  registries:\n    \
         - {hostname: old.example, insecure: true}",
    )
    .build_mode;
    let BuildMode::ClusterDocker(options) = mode else { panic!("cluster-docker") };
    assert_eq!(options.image_from("other.example"), "mirror.example/docker:29-dind");
    assert_eq!(
        (options.registries[0].host().as_str(), options.registries[0].insecure),
        ("old.example", true)
    );
    refused(&[
        (
            "clusterDocker: {image: A}",
            "5:28: `A` is not an image reference: invalid reference format | write it like \
             `docker.io/library/docker:28.5.2-dind`",
        ),
        (
            "clusterDocker: {registries: [{hostname: a.example}]}",
            "5:45: `a.example` in `registries` has neither `insecure: true` nor `caCertificate` | set one of the two, or leave \
             the entry out: it changes nothing",
        ),
        (
            "clusterDocker: {registries: [{hostname: a.example, insecure: true}, {hostname: a.example, insecure: true}]}",
            "5:33: `registries` has two entries for `a.example` | keep one of the two",
        ),
    ]);
}
