use garden_config::RegistryCache;

use super::*;

fn registry(host: &str) -> DeploymentRegistry {
    let mut registry = DeploymentRegistry::new(host).expect(host);
    registry.namespace = Some("namespace".to_owned());
    registry
}

fn layer(tag: &str, mode: CacheMode, export: bool) -> CacheLayer {
    let mut layer = RegistryCache::tagged(tag);
    layer.mode = mode;
    layer.export = export;
    layer.into()
}

fn in_registry(layer: CacheLayer, registry: DeploymentRegistry) -> CacheLayer {
    let CacheLayer::Registry(mut layer) = layer else { panic!("{layer:?} is in no registry") };
    layer.registry = Some(registry);
    layer.into()
}

/// Writes entries as `buildctl` takes them; attributes are in the order of the alphabet.
fn written(entries: &[CacheEntry]) -> Vec<String> {
    let written = |entry: &CacheEntry| {
        let attributes = entry.attributes.iter().map(|(name, value)| format!(",{name}={value}"));
        format!("type={}{}", entry.kind.as_str(), attributes.collect::<String>())
    };
    entries.iter().map(written).collect()
}

fn names(plan: &CachePlan) -> Vec<String> {
    plan.extra_names.iter().map(ToString::to_string).collect()
}

fn planned(layers: &[CacheLayer], deployment: &DeploymentRegistry) -> CachePlan {
    plan(layers, "name", deployment, 1).expect("layers that go together")
}

fn refused(layers: &[CacheLayer], deployment: &DeploymentRegistry) -> (String, String) {
    let error = plan(layers, "name", deployment, 1).expect_err("layers that do not go together");
    (error.to_string(), error.hint())
}

/// The hosts of Garden's own tests, and those that its lists miss, with the default layer.
#[test]
fn auto_is_what_suits_the_registry() {
    const MAX: &str = "compression-level=1,ignore-error=true,mode=max";
    const ELASTIC: &str =
        "compression-level=1,ignore-error=true,image-manifest=true,mode=max,oci-mediatypes=true";
    for (host, expected) in [
        ("gcr.io", None),
        ("eu.gcr.io", None),
        ("EU.GCR.io", None),
        ("docker.io", Some(MAX)),
        ("pkg.dev", Some(MAX)),
        ("x.y.pkg.dev", Some(MAX)),
        ("ghcr.io", Some(MAX)),
        ("GHCR.io", Some(MAX)),
        ("azurecr.io", Some(MAX)),
        ("x.y.azurecr.io", Some(MAX)),
        ("127.0.0.1:5000", Some(MAX)),
        // Garden: inline, as these are not in its list. The guide: max for all but two.
        ("127.0.0.1", Some(MAX)),
        ("registry.example", Some(MAX)),
        ("quay.io", Some(MAX)),
        ("not-gcr.io", Some(MAX)),
        ("gcr.io.example", Some(MAX)),
        // The guide and Garden 0.12: inline. Garden 0.14: max as one manifest, as here.
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(ELASTIC)),
        ("123456789012.DKR.ecr.eu-west-1.amazonaws.com", Some(ELASTIC)),
        // Garden: inline in every version.
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", Some(ELASTIC)),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(ELASTIC)),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", Some(ELASTIC)),
        ("public.ecr.aws", Some(ELASTIC)),
        ("dkr.ecr.example", Some(MAX)),
    ] {
        let plan = planned(&[CacheLayer::default()], &registry(host));
        let reference = format!("{host}/namespace/name:_buildcache");
        assert_eq!(written(&plan.imports), [format!("type=registry,ref={reference}")]);
        match expected {
            None => {
                assert_eq!(written(&plan.exports), ["type=inline"], "{host}");
                assert_eq!(names(&plan), [reference]);
            }
            Some(attributes) => {
                assert_eq!(attributes_but_reference(&plan.exports, &reference), attributes, "{host}");
                assert_eq!(names(&plan), [""; 0]);
            }
        }
    }
}

fn attributes_but_reference(exports: &[CacheEntry], reference: &str) -> String {
    let [export] = exports else { panic!("one export") };
    assert_eq!((export.kind, export.attributes["ref"].as_str()), (CacheKind::Registry, reference));
    let others = export.attributes.iter().filter(|(name, _)| **name != "ref");
    others.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[test]
fn a_mode_that_is_set_wins() {
    for (host, mode, exports, inline) in [
        ("gcr.io", CacheMode::Max, "max", false),
        ("gcr.io", CacheMode::Min, "min", false),
        ("ghcr.io", CacheMode::Min, "min", false),
        ("ghcr.io", CacheMode::Inline, "", true),
    ] {
        let plan = planned(&[layer("a", mode, true)], &registry(host));
        let [export] = plan.exports.as_slice() else { panic!("one export") };
        assert_eq!(export.attributes.get("mode").map_or("", String::as_str), exports, "{host} {mode:?}");
        assert_eq!(export.kind == CacheKind::Inline, inline);
        assert_eq!(plan.extra_names.len(), usize::from(inline));
    }
}

#[test]
fn no_layers_no_caches() {
    assert_eq!(planned(&[], &registry("gcr.io")), CachePlan::default());
}

#[test]
fn the_guides_branch_and_main() {
    let layers =
        [CacheLayer::tagged("_buildcache-branch"), layer("_buildcache-main", CacheMode::Auto, false)];
    let plan = planned(&layers, &registry("registry.example"));
    assert_eq!(
        written(&plan.imports),
        [
            "type=registry,ref=registry.example/namespace/name:_buildcache-branch",
            "type=registry,ref=registry.example/namespace/name:_buildcache-main",
        ]
    );
    assert_eq!(
        written(&plan.exports),
        [
            "type=registry,compression-level=1,ignore-error=true,mode=max,ref=registry.example/namespace/name:_buildcache-branch"
        ]
    );
    assert_eq!(names(&plan), [""; 0]);
}

/// Garden pushes the image of every branch as `_buildcache-main` here.
#[test]
fn an_inline_layer_that_is_only_read_is_not_written() {
    let layers =
        [CacheLayer::tagged("_buildcache-branch"), layer("_buildcache-main", CacheMode::Auto, false)];
    let plan = planned(&layers, &registry("gcr.io"));
    assert_eq!(plan.imports.len(), 2);
    assert_eq!(written(&plan.exports), ["type=inline"]);
    assert_eq!(names(&plan), ["gcr.io/namespace/name:_buildcache-branch"]);

    let read_only = planned(&layers[1..], &registry("gcr.io"));
    assert_eq!(read_only.imports.len(), 1);
    assert_eq!((read_only.exports, read_only.extra_names), (Vec::new(), Vec::new()));
}

#[test]
fn several_inline_layers_are_one_export_and_several_names() {
    let layers = [
        layer("a", CacheMode::Inline, true),
        layer("b", CacheMode::Max, true),
        in_registry(layer("c", CacheMode::Inline, true), registry("cache.example")),
    ];
    let plan = planned(&layers, &registry("registry.example"));
    assert_eq!(
        written(&plan.exports),
        [
            "type=inline",
            "type=registry,compression-level=1,ignore-error=true,mode=max,ref=registry.example/namespace/name:b"
        ]
    );
    assert_eq!(names(&plan), ["registry.example/namespace/name:a", "cache.example/namespace/name:c"]);
}

/// The guide's example of a cache beside ECR, and an image whose name has several parts.
#[test]
fn a_cache_in_another_registry_is_named_like_the_image() {
    let mut hub = DeploymentRegistry::new("hub.docker.com").expect("a host");
    hub.namespace = Some("my-team-cache".to_owned());
    let mut port = DeploymentRegistry::new("cache.example/root").expect("a host");
    port.port = Some(5000);
    let layers = [in_registry(CacheLayer::default(), hub), in_registry(CacheLayer::default(), port)];
    let deployment = registry("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    let plan = plan(&layers, "shop/api", &deployment, 1).expect("layers that go together");
    assert_eq!(
        written(&plan.exports),
        [
            "type=registry,compression-level=1,ignore-error=true,mode=max,ref=docker.io/my-team-cache/shop/api:_buildcache",
            "type=registry,compression-level=1,ignore-error=true,mode=max,ref=cache.example:5000/root/shop/api:_buildcache",
        ]
    );
}

#[test]
fn how_registries_are_reached_is_left_to_the_daemon_s_configuration() {
    let mut plain = registry("plain.example");
    plain.insecure = true;
    let caches = planned(&[layer("a", CacheMode::Max, true)], &plain);
    for entry in caches.imports.iter().chain(&caches.exports) {
        assert!(!entry.attributes.contains_key("registry.insecure"), "{entry:?}");
    }
}

#[test]
fn layers_of_the_same_cache_are_one() {
    let deployment = registry("registry.example");
    let same =
        [CacheLayer::default(), in_registry(layer("_buildcache", CacheMode::Max, true), deployment.clone())];
    assert_eq!(planned(&same, &deployment), planned(&same[..1], &deployment));

    // The guide's two layers on the main branch, in both orders.
    let (written, read) = (layer("main", CacheMode::Min, true), layer("main", CacheMode::Auto, false));
    let expected = planned(std::slice::from_ref(&written), &deployment);
    assert_eq!(planned(&[written.clone(), read.clone()], &deployment), expected);
    assert_eq!(planned(&[read, written], &deployment), expected);
}

#[test]
fn layers_of_the_same_cache_must_agree() {
    let deployment = registry("registry.example");
    let (message, hint) =
        refused(&[layer("a", CacheMode::Max, true), layer("a", CacheMode::Inline, true)], &deployment);
    assert_eq!(
        message,
        "`clusterBuildkit.cache[0]` and `clusterBuildkit.cache[1]` are both `registry.example/namespace/name:a`, but \
         with different values of `mode`"
    );
    assert_eq!(hint, "give one of the two another `tag`, or `cache[0]` and `cache[1]` the same `mode`");
}

#[test]
fn a_cache_that_cannot_be_named_is_named_by_its_place() {
    let layers = [CacheLayer::default(), CacheLayer::tagged("a/b")];
    let (message, _) = refused(&layers, &registry("registry.example"));
    assert!(
        message.starts_with("`clusterBuildkit.cache[1]`: `registry.example/namespace/name:a/b`"),
        "{message}"
    );
}
