//! What is built in Rust and written as YAML loads back as the same.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use garden_config::{
    BuildConfig, BuildMode, CacheLayer, CacheMode, ClusterBuildkitOptions, ClusterDockerOptions,
    ContextDelivery, DeploymentRegistry, IdleAfter, KanikoNamespace, KanikoOptions, KanikoUtil, Locals,
    Namespace, PersistentStorage, ProviderConfig, ProxyOptions, RegistryCache, ResourceAmounts, Resources,
    SecretRef, TaintEffect, Toleration, TolerationOperator,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Any text, often one that YAML or a template would take for something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        prop::sample::select(vec![
            "true",
            "null",
            "~",
            "1.10",
            "0x1F",
            "1e3",
            "yes",
            "- a",
            "a: b",
            "a #b",
            "${var.x}",
            "$${x}",
            "$",
            "...",
            "---",
            "'",
            "\"",
            "\\n",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%",
            "@",
            "`",
            " a",
            "a ",
            "a\nb\n",
            "\n",
            "\t",
            "\u{feff}a",
            "é",
            "<<",
            "=",
            ".nan",
            "2024-01-01",
            "012",
            "",
        ])
        .prop_map(str::to_owned),
    ]
    // Which no YAML can hold.
    .prop_map(|text| text.replace(['\u{0}', '\u{fffe}', '\u{ffff}'], ""))
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[a-z./-]{1,10}", text(), 0..3)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,10}[a-z0-9])?"
}

fn toleration() -> impl Strategy<Value = Toleration> {
    let effects = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
    let effect = option::of(prop::sample::select(effects.to_vec()));
    (name(), effect, option::of(text()), any::<i64>()).prop_map(|(key, effect, value, seconds)| {
        let mut toleration = Toleration::exists(key);
        toleration.effect = effect;
        if value.is_some() {
            toleration.operator = TolerationOperator::Equal;
            toleration.value = value;
        }
        toleration.toleration_seconds = (effect == Some(TaintEffect::NoExecute)).then_some(seconds);
        toleration
    })
}

fn registry() -> impl Strategy<Value = DeploymentRegistry> {
    let host = "[a-z]{1,8}\\.[a-z]{2,5}(:[1-9][0-9]{0,3})?";
    (host, option::of("[a-z]{1,8}(/[a-z]{1,8})?"), any::<bool>()).prop_map(|(host, namespace, insecure)| {
        let mut registry = DeploymentRegistry::new(&host).expect("a host");
        registry.namespace = namespace;
        registry.insecure = insecure;
        registry
    })
}

fn amounts(least: u32, most: u32) -> impl Strategy<Value = ResourceAmounts> {
    (least..most, least..most, option::of(least..most)).prop_map(|(cpu, memory, disk)| {
        let mut amounts = ResourceAmounts::new(cpu, memory);
        amounts.ephemeral_storage = disk;
        amounts
    })
}

fn resources() -> impl Strategy<Value = Resources> {
    (amounts(1000, u32::MAX), amounts(1, 1000)).prop_map(|(limits, requests)| {
        let mut resources = Resources::builder();
        (resources.limits, resources.requests) = (limits, requests);
        resources
    })
}

fn storage() -> impl Strategy<Value = PersistentStorage> {
    (1u32.., option::of(name())).prop_map(|(size, class)| {
        let mut storage = PersistentStorage::default();
        (storage.size, storage.storage_class) = (size, class);
        storage
    })
}

fn kaniko() -> impl Strategy<Value = KanikoOptions> {
    let util = option::of((texts(), vec(toleration(), 0..2), texts()));
    let delivery = prop::sample::select(vec![ContextDelivery::Sync, ContextDelivery::Stdin]);
    let how = (vec(text(), 0..3), delivery);
    (how, option::of(name()), texts(), vec(toleration(), 0..3), texts(), texts(), util).prop_map(
        |((flags, delivery), namespace, selector, tolerations, annotations, account, util)| {
            let mut options = KanikoOptions::default();
            options.extra_flags = flags;
            options.context_delivery = delivery;
            options.namespace = namespace.map_or(KanikoNamespace::Project, KanikoNamespace::Named);
            options.node_selector = selector;
            options.tolerations = tolerations;
            options.annotations = annotations;
            options.service_account_annotations = account;
            options.util = util.map(|(selector, tolerations, annotations)| {
                let mut util = KanikoUtil::default();
                (util.node_selector, util.tolerations, util.annotations) =
                    (selector, tolerations, annotations);
                util
            });
            options
        },
    )
}

fn cache_layer() -> impl Strategy<Value = CacheLayer> {
    let modes = vec![CacheMode::Auto, CacheMode::Min, CacheMode::Max, CacheMode::Inline];
    ("[a-z_][a-z0-9._-]{0,20}", prop::sample::select(modes), option::of(registry()), any::<bool>()).prop_map(
        |(tag, mode, registry, export)| {
            let mut layer = RegistryCache::tagged(tag);
            (layer.mode, layer.registry, layer.export) = (mode, registry, export);
            layer.into()
        },
    )
}

/// An entry of `registries`, which says how a host is reached and nothing else.
fn base_registry() -> impl Strategy<Value = Option<DeploymentRegistry>> {
    option::of(registry().prop_map(|mut registry| {
        (registry.namespace, registry.insecure) = (None, true);
        registry
    }))
}

fn buildkit() -> impl Strategy<Value = ClusterBuildkitOptions> {
    let mirrors = btree_map("[a-z]{1,8}\\.[a-z]{2,3}", "[a-z]{1,8}\\.[a-z]{2,3}(/[a-z]{1,5})?", 0..2);
    let base = base_registry();
    let flags = (any::<bool>(), any::<bool>(), option::of(Just("a.b/c:1".to_owned())));
    (
        flags,
        vec(cache_layer(), 0..3),
        vec(toleration(), 0..2),
        texts(),
        texts(),
        option::of(storage()),
        base,
        mirrors,
    )
        .prop_map(
            |(
                (rootless, listen, image),
                cache,
                tolerations,
                annotations,
                account,
                storage,
                base,
                mirrors,
            )| {
                let mut options = ClusterBuildkitOptions::default();
                (options.rootless, options.listen, options.image) = (rootless, listen, image);
                (options.cache, options.tolerations) = (cache, tolerations);
                (options.annotations, options.service_account_annotations) = (annotations.clone(), account);
                (options.node_selector, options.storage) = (annotations, storage);
                (options.registries, options.registry_mirrors) = (base.into_iter().collect(), mirrors);
                options
            },
        )
}

fn build_mode() -> impl Strategy<Value = BuildMode> {
    prop_oneof![
        Just(BuildMode::LocalDocker),
        kaniko().prop_map(BuildMode::Kaniko),
        buildkit().prop_map(BuildMode::ClusterBuildkit),
        (any::<bool>(), any::<bool>(), base_registry()).prop_map(|(enabled, has_image, base)| {
            let mut options = ClusterDockerOptions::default();
            options.enable_buildkit = enabled;
            options.image = has_image.then(|| "registry.example/docker:dind".to_owned());
            options.registries = base.into_iter().collect();
            BuildMode::ClusterDocker(options)
        }),
    ]
}

fn proxies() -> impl Strategy<Value = ProxyOptions> {
    let url = || option::of("(http|https|socks5)://[a-z]{1,8}(:[1-9][0-9]{0,3})?");
    let no_proxy = option::of("[a-z0-9.*/]{1,10}(, ?[a-z0-9.]{1,5})?");
    (url(), url(), no_proxy).prop_map(|(http, https, no)| {
        let mut proxies = ProxyOptions::default();
        (proxies.http_proxy, proxies.https_proxy) = (http.map(Into::into), https.map(Into::into));
        proxies.no_proxy = no;
        proxies
    })
}

fn provider() -> impl Strategy<Value = ProviderConfig> {
    let secrets = || {
        vec((name(), name()).prop_map(|(name, namespace)| SecretRef::new(name).in_namespace(namespace)), 0..3)
    };
    let connection = (option::of(text()), option::of("[a-z/]{1,10}"), any::<bool>());
    let namespace = (name(), texts(), texts());
    let idle_after =
        prop_oneof![Just(IdleAfter::Never), (IdleAfter::LEAST_SECONDS..).prop_map(IdleAfter::Seconds),];
    let cluster = (storage(), storage(), name(), vec(toleration(), 0..2), texts(), (idle_after, proxies()));
    let all_resources = (resources(), resources(), resources(), resources());
    (
        connection,
        namespace,
        build_mode(),
        option::of(registry()),
        (secrets(), secrets()),
        all_resources,
        cluster,
    )
        .prop_map(|(connection, namespace, build_mode, registry, secrets, resources, cluster)| {
            let (context, kubeconfig, local) = connection;
            let mut provider = if local {
                ProviderConfig::local_kubernetes("shop")
            } else {
                ProviderConfig::kubernetes("shop")
            };
            (provider.context, provider.kubeconfig) = (context, kubeconfig.map(Into::into));
            provider.namespace = Namespace::new(namespace.0);
            (provider.namespace.annotations, provider.namespace.labels) = (namespace.1, namespace.2);
            (provider.build_mode, provider.deployment_registry) = (build_mode, registry);
            (provider.image_pull_secrets, provider.copy_secrets) = secrets;
            (provider.resources.builder, provider.resources.registry) = (resources.0, resources.1);
            (provider.resources.util, provider.resources.sync) = (resources.2, resources.3);
            (provider.storage.builder, provider.storage.registry) = (cluster.0.clone(), cluster.1);
            provider.storage.sync = local.then_some(cluster.0);
            provider.in_cluster_registry.image = local.then(|| "registry.example/registry:3".to_owned());
            provider.garden_system_namespace = cluster.2;
            (provider.idle_after, provider.proxies) = cluster.5;
            provider.network_policies = local;
            (provider.registry_proxy_tolerations, provider.system_node_selector) = (cluster.3, cluster.4);
            "mirror.example:5000/hub".clone_into(&mut provider.util_image_registry_domain);
            provider
        })
}

fn build() -> impl Strategy<Value = BuildConfig> {
    let globs = || vec("[a-z*]{1,5}(/[a-z?]{1,5})?(\\.\\{a,b\\})?", 0..3);
    let names = (name(), option::of("[a-z]{1,5}(/[a-z]{1,5})?"), option::of(Just("a.b/c:1".to_owned())));
    let files = ("[a-z]{0,5}", "[A-Za-z]{1,8}(/[a-z]{1,4})?", option::of(globs()), globs());
    (names, files, option::of(text()), texts(), vec(text(), 0..3), vec(text(), 0..2), 1u32..).prop_map(
        |(names, files, target, arguments, flags, platforms, seconds)| {
            let mut build = BuildConfig::new(names.0, files.0);
            (build.image, build.publish_id) = (names.1, names.2);
            (build.dockerfile, build.include, build.exclude) = (files.1.into(), files.2, files.3);
            build.target = target;
            // What is empty is the Dockerfile's default, and so is the same as nothing.
            build.build_args = arguments.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            (build.extra_flags, build.platforms) = (flags, platforms);
            build.timeout = Duration::from_secs(seconds.into());
            build
        },
    )
}

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft7::new(&garden_config::schema()).expect("a schema"));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_provider_loads_back_as_it_was_written(provider in provider()) {
        let written = provider.to_yaml("shop").expect("valid");
        let project = garden_config::parse(&written, "garden.yml").expect("a project").with_locals(Locals::none());
        let mut loaded = project.provider("dev").unwrap_or_else(|error| panic!("{error}\n{written}"));
        loaded.notices.clear();
        prop_assert_eq!(loaded, provider, "{}", written);
    }

    #[test]
    fn what_is_written_follows_the_schema(provider in provider()) {
        let written = provider.to_yaml("shop").expect("valid");
        let document: serde_json::Value = serde_saphyr::from_str(&written).expect("YAML");
        let refused = SCHEMA.validate(&document).err().map(|error| error.to_string());
        prop_assert_eq!(refused, None, "{}", written);
    }

    #[test]
    fn a_build_loads_back_as_it_was_written(build in build()) {
        let written = build.to_yaml().expect("valid");
        let text = format!("kind: Project\nname: shop\nenvironments: [dev]\n---\n{written}");
        let project = garden_config::parse(&text, "garden.yml").expect("a project").with_locals(Locals::none());
        let mut loaded = project.build(&build.name).unwrap_or_else(|error| panic!("{error}\n{written}"));
        loaded.ignore_files = None;
        prop_assert_eq!(loaded, build, "{}", written);
        let document: serde_json::Value = serde_saphyr::from_str(&written).expect("YAML");
        let refused = SCHEMA.validate(&document).err().map(|error| error.to_string());
        prop_assert_eq!(refused, None, "{}", written);
    }
}

#[test]
fn the_password_of_a_proxy_is_not_written() {
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.proxies.https_proxy = Some("http://who:s3cret@p:3128".into());
    let error = provider.to_yaml("shop").expect_err("a password").to_string();
    assert!(error.contains("`proxies.httpsProxy`") && error.contains("${local.env.HTTPS_PROXY}"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn secrets_are_not_written() {
    let mut build = BuildConfig::new("api", ".");
    build.secrets.insert("token".to_owned(), garden_build_core::BuildSecret::new("s3cret"));
    let error = build.to_yaml().expect_err("secrets").to_string();
    assert!(error.contains("it has secrets") && !error.contains("s3cret"), "{error}");
}
