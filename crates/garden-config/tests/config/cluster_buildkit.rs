//! The field `clusterBuildkit`: what it gives, what it gives when left out, and what is said when it is wrong.

use crate::support::{HEAD, indented, refused, valid};
use garden_config::{
    BuildMode, CacheLayer, CacheMode, ClusterBuildkitOptions, DeploymentRegistry, PersistentStorage,
    ProviderConfig, RegistryCache, Toleration,
};

fn buildkit(fields: &str) -> ClusterBuildkitOptions {
    let fields = format!("buildMode: cluster-buildkit\nclusterBuildkit:\n{}", indented(fields, 2));
    let BuildMode::ClusterBuildkit(options) = valid(&fields).build_mode else { panic!("cluster-buildkit") };
    options
}

/// Checks one wrong field of `clusterBuildkit`; it starts on line 5 at column 23.
fn refused_field(field: &str, expected: &str) {
    refused(&[(&format!("clusterBuildkit: {{{field}}}"), expected)]);
}

#[test]
fn nothing_set_gives_the_defaults() {
    let defaults = ClusterBuildkitOptions::default();
    assert_eq!(buildkit("rootless: false"), defaults);
    assert_eq!(buildkit("cache: null"), defaults);
    assert!(!defaults.listen);
    assert_eq!(defaults.compression_level, 1);
    let layer = RegistryCache::default();
    assert_eq!((layer.mode, layer.tag.as_str(), layer.export), (CacheMode::Auto, "_buildcache", true));
    assert_eq!(layer.registry, None);
    assert_eq!(defaults.cache, [CacheLayer::Registry(layer)]);
    assert_eq!(valid("buildMode: cluster-buildkit").notices, []);
}

#[test]
fn every_option() {
    let options = buildkit(
        "rootless: true\nnodeSelector: {pool: builds}\nannotations: {a: b}\ntolerations:\n- {key: k, value: v}\n\
         storage: {size: 51200, storageClass: fast-ssd}\n\
         registries:\n- {hostname: mirror.example, port: 5000, insecure: true}\n\
         registryMirrors: {docker.io: 'mirror.example:5000/hub'}\nlisten: true\ncompressionLevel: 6",
    );
    assert_eq!(options.compression_level, 6);
    assert!(options.rootless && options.listen);
    assert_eq!(options.node_selector["pool"], "builds");
    assert_eq!(options.annotations["a"], "b");
    assert_eq!(options.tolerations, [Toleration::equal("k", "v")]);
    let storage = options.storage.expect("set");
    assert_eq!(storage.size_quantity(), "50Gi");
    assert_eq!(storage.storage_class.as_deref(), Some("fast-ssd"));
    let mut registry = DeploymentRegistry::new("mirror.example:5000").expect("valid");
    registry.insecure = true;
    assert_eq!(options.registries, [registry]);
    assert_eq!(options.registry_mirrors["docker.io"], "mirror.example:5000/hub");
    assert_eq!(buildkit("storage: {}").storage, Some(PersistentStorage::default()));
}

#[test]
fn users_of_the_node() {
    let options = buildkit("hostUsers: false\nbuildsTrustEachOther: true");
    assert!(!options.host_users && options.builds_trust_each_other);
    let defaults = ClusterBuildkitOptions::default();
    assert!(defaults.host_users && !defaults.builds_trust_each_other);
    assert!(buildkit("rootless: true\nbuildsTrustEachOther: true").rootless);
    refused_field(
        "rootless: true, hostUsers: false",
        "5:50: `hostUsers: false` and `rootless: true` exclude each other | leave out `rootless`: a daemon without `hostUsers` is \
         nobody on its node, and keeps builds apart",
    );
}

#[test]
fn image() {
    assert_eq!(buildkit("rootless: false").image(), "docker.io/moby/buildkit:v0.26.3");
    assert_eq!(buildkit("rootless: true").image(), "docker.io/moby/buildkit:v0.26.3-rootless");
    assert_eq!(buildkit("rootless: true\nimage: a.b/c:1").image(), "a.b/c:1");
    refused_field(
        "image: BuildKit",
        "5:30: `BuildKit` is not an image reference: invalid reference format | write it like \
         `docker.io/moby/buildkit:v0.26.3`",
    );
}

#[test]
fn compression_level() {
    refused_field("compressionLevel: 10", "5:41: `compressionLevel` must be a whole number from 0 to 9");
    refused_field("compressionLevel: best", "5:41: `compressionLevel` must be a whole number from 0 to 9");
}

#[test]
fn cache_layers() {
    assert_eq!(buildkit("cache: []").cache, []);
    for mode in [CacheMode::Auto, CacheMode::Min, CacheMode::Max, CacheMode::Inline] {
        let options = buildkit(&format!("cache: [{{type: registry, mode: {}}}]", mode.as_str()));
        let mut expected = RegistryCache::default();
        expected.mode = mode;
        assert_eq!(options.cache, [expected.into()]);
    }

    refused_field("cache: _buildcache", "5:30: `cache` must be a list, not text");
    refused_field(
        "cache: '${var.cache}'",
        "5:33: `var.cache` is not set | set it in `variables`, or from outside, as a variable of the project",
    );
    refused_field("cache: [_buildcache]", "5:31: a cache layer must be a mapping, not text");
    refused_field(
        "cache: [{tag: a}]",
        "5:31: a cache layer needs the field `type` | write `type: registry`, the one type there is",
    );
    refused_field(
        "cache: [{type: registri}]",
        "5:38: `type` cannot be `registri` | did you mean `registry`?",
    );
    refused_field("cache: [{type: local}]", "5:38: `type` cannot be `local` | the only one is `registry`");
    refused_field(
        "cache: [{type: registry, mode: maximum}]",
        "5:54: `mode` cannot be `maximum` | use one of `auto`, `min`, `max`, `inline`",
    );
    refused_field(
        "cache: [{type: registry, tags: a}]",
        "5:48: `tags` is not a field of a cache layer | did you mean `tag`?",
    );
    refused_field(
        "cache: [{type: registry, export: 'no'}]",
        "5:56: `export` must be `true` or `false`, not text",
    );
}

#[test]
fn cache_tags() {
    let long = "x".repeat(128);
    for tag in ["a", "_", "_build.cache-1", "V1", &long] {
        let options = buildkit(&format!("cache: [{{type: registry, tag: {tag}}}]"));
        assert_eq!(options.cache, [CacheLayer::tagged(tag)]);
    }
    let longer = "x".repeat(129);
    for tag in ["", "-a", ".a", "a/b", "a:b", "a b", "ä", &longer] {
        refused_field(
            &format!("cache: [{{type: registry, tag: '{tag}'}}]"),
            &format!(
                "5:53: `{tag}` cannot be the tag of an image | use at most 128 letters, digits, `_`, `.` and `-`, with a \
                 letter, digit or `_` first"
            ),
        );
    }
    refused_field(
        "cache: [{type: registry, tag: 1}]",
        "5:53: `tag` must be text, not a number | write it in quotes: `\"1\"`",
    );
}

#[test]
fn cache_registries() {
    let options = buildkit(
        "cache: [{type: registry, registry: {hostname: a.b/cache, port: 5000, namespace: team, insecure: true}}]",
    );
    let registry = options.cache[0].registry().expect("set");
    assert_eq!(
        (registry.host().as_str(), registry.repository("api").as_str()),
        ("a.b:5000", "cache/team/api")
    );
    assert!(registry.insecure);
    let refused = |registry: &str, expected: &str| {
        refused_field(&format!("cache: [{{type: registry, registry: {registry}}}]"), expected);
    };
    refused("a.b", "5:58: `registry` must be a mapping, not text");
    refused("{namespace: a}", "5:58: `registry` needs the field `hostname`");
    refused("{hostname: 'https://a.b'}", "5:69: `hostname` must not start with `https://` | write `a.b`");
    refused(
        "{hostname: hub.docker.com}",
        "5:58: Docker Hub takes images only within a namespace | set `namespace` to your user or organisation at Docker Hub",
    );
    refused(
        "{hostname: a.b, insecured: true}",
        "5:74: `insecured` is not a field of `registry` | did you mean `insecure`?",
    );
}

#[test]
fn listening() {
    refused_field("listen: 1234", "5:31: `listen` must be `true` or `false`, not a number");
}

#[test]
fn storage() {
    refused_field("storage: 20480", "5:32: `storage` must be a mapping, not a number");
    refused_field("storage: {size: 0}", "5:39: `size` must be a whole number of at least 1");
    refused_field("storage: {size: 20Gi}", "5:39: `size` must be a whole number of at least 1");
    refused_field(
        "storage: {storageclass: a}",
        "5:33: `storageclass` is not a field of `storage` | did you mean `storageClass`?",
    );
    refused_field(
        "storage: {storageClass: Fast}",
        "5:47: `Fast` cannot be the name of a storage class | use at most 253 lower-case letters, digits, `-` and `.`",
    );
}

#[test]
fn registries_of_base_images() {
    let refused = |registry: &str, expected: &str| {
        refused_field(&format!("registries: [{registry}]"), expected);
    };
    refused(
        "{hostname: a.b}",
        "5:47: `a.b` in `registries` has neither `insecure: true` nor `caCertificate` | set one of the two, or leave the \
         entry out: it changes nothing",
    );
    let namespace = "`a.b` in `registries` has the namespace `team`, but it counts as a whole | write `hostname: a.b` \
                     without a namespace";
    refused("{hostname: a.b, insecure: true, namespace: team}", &format!("5:79: {namespace}"));
    refused("{hostname: a.b/team, insecure: true}", &format!("5:36: {namespace}"));
    refused("a.b", "5:36: each of `registries` must be a mapping, not text");
    refused("{insecure: true}", "5:36: each of `registries` needs the field `hostname`");
    refused(
        "{hostname: registry, insecure: true}",
        "5:47: `registry` in an image's name would mean a user at Docker Hub | write the full host name, or add the port",
    );
    refused(
        "{hostname: 'a.b:5000', insecure: true}, {hostname: a.b, port: 5000, insecure: true}",
        "5:35: `registries` has two entries for `a.b:5000` | keep one of the two",
    );
}

#[test]
fn mirrors() {
    refused_field(
        "registryMirrors: {docker.io: 'https://mirror.example'}",
        "5:40: `registryMirrors` has `https://mirror.example`, which is not the name of a registry | write the host only, \
         as in `docker.io: mirror.example:5000`",
    );
}

#[test]
fn certificates_are_found_beside_the_project_file() {
    let directory = tempfile::tempdir().expect("directory");
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(directory.path().join("ca.pem"), pem).expect("write");
    let fields = "buildMode: cluster-buildkit\nclusterBuildkit:\n  \
                  cache: [{type: registry, registry: {hostname: a.b, caCertificate: ca.pem}}]\n  \
                  registries: [{hostname: c.d, caCertificate: ca.pem}]";
    let text = format!("{HEAD}{}", indented(fields, 4));
    let project = garden_config::parse(&text, directory.path().join("garden.yml")).expect("valid");
    let provider = project.provider("dev").expect("valid");
    provider.check().expect("valid");
    let BuildMode::ClusterBuildkit(options) = provider.build_mode else { panic!("cluster-buildkit") };
    let expected = Some(directory.path().join("ca.pem"));
    assert_eq!(options.cache[0].registry().expect("set").ca_certificate, expected);
    assert_eq!(options.registries[0].ca_certificate, expected);

    refused_field(
        "registries: [{hostname: a.b, caCertificate: /nowhere/ca.pem}]",
        "5:67: `/nowhere/ca.pem` cannot be read: No such file or directory (os error 2) | give the path of a PEM file, \
         relative to the project file",
    );
}

#[test]
fn wrong_options_are_reported_while_another_mode_is_chosen() {
    refused(&[
        (
            "buildMode: kaniko\nkaniko: {namespace: null}\nclusterBuildkit: {rootles: true}",
            "7:23: `rootles` is not a field of `clusterBuildkit` | did you mean `rootless`?",
        ),
        ("clusterBuildkit: on", "5:22: `clusterBuildkit` must be a mapping, not text"),
        (
            "clusterBuildkit: ${var.a}",
            "5:24: `var.a` is not set | set it in `variables`, or from outside, as a variable of the project",
        ),
    ]);
}

#[test]
fn what_is_set_in_rust_is_checked_by_the_same_rules() {
    let mut options = ClusterBuildkitOptions::default();
    options.image = Some("BuildKit".to_owned());
    let mut layer = RegistryCache::tagged("a/b");
    layer.registry = Some(DeploymentRegistry::new("docker.io").expect("a host"));
    options.cache.push(layer.into());
    options.tolerations.push(Toleration::default());
    let mut storage = PersistentStorage::default();
    storage.size = 0;
    options.storage = Some(storage);
    options.registries.push(DeploymentRegistry::new("a.b").expect("valid"));
    let mut provider = ProviderConfig::kubernetes("shop");
    provider.build_mode = BuildMode::ClusterBuildkit(options);
    let error = provider.check().expect_err("wrong");
    let places: Vec<&str> =
        error.problems().iter().filter_map(|problem| problem.message.split('`').nth(1)).collect();
    assert_eq!(
        places,
        [
            "clusterBuildkit.image",
            "clusterBuildkit.cache[1].tag",
            "clusterBuildkit.cache[1].registry.namespace",
            "clusterBuildkit.tolerations[0].operator",
            "clusterBuildkit.storage.size",
            "clusterBuildkit.registries[0].hostname",
        ]
    );
}
