use garden_build::BuiltImage;
use garden_build::config::{CacheLayer, CacheMode, DeploymentRegistry, RegistryCache};

use crate::site::{Project, build_with_events, in_project, registry, shown, steps, variable, warnings};

/// A stage whose result is needed anew when `version` has changed. It is in no layer of the image alone.
fn app(project: &Project, version: u32) {
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    project.file(
        "Dockerfile",
        format!(
            "FROM {base} AS tools\nRUN echo tool > /tool\nFROM {base}\nRUN echo early > /early\n\
             COPY version /version\nCOPY --from=tools /tool /tool\n"
        ),
    );
    project.file("version", version.to_string());
}

/// Builds a version of the app with what caches in registries have: the daemon has none of its own.
async fn build_with_registry_caches(project: &Project, version: u32) -> BuiltImage {
    project.forget_local_cache().await;
    app(project, version);
    let (image, events) = build_with_events(&project.builder(), project.request()).await;
    image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)))
}

async fn tagged(project: &Project, tag: &str) -> Option<String> {
    let repository = format!("{}/api", project.namespace);
    registry::digest(&variable("GARDEN_TEST_REGISTRY"), &repository, tag).await
}

async fn tags(project: &Project) -> Vec<String> {
    let mut tags =
        registry::tags(&variable("GARDEN_TEST_REGISTRY"), &format!("{}/api", project.namespace)).await;
    tags.sort();
    tags
}

#[tokio::test]
async fn a_fresh_namespace_uses_the_cache_in_the_registry() {
    in_project("bk-cache-first", async |first| {
        first.buildkit().cache = vec![CacheLayer::default()];
        app(first, 1);
        let (image, events) = build_with_events(&first.builder(), first.request()).await;
        assert_eq!(steps(&image.unwrap()), (0, 4));
        assert_eq!(warnings(&events), Vec::<&str>::new(), "that there is no cache yet is not worth one");
        assert!(!shown(&events).contains("FAILED"), "{}", shown(&events));
        assert!(tagged(first, "_buildcache").await.is_some());

        in_project("bk-cache-fresh", async |fresh| {
            fresh.buildkit().cache = vec![CacheLayer::default()];
            fresh.provider.deployment_registry.clone_from(&first.provider.deployment_registry);
            app(fresh, 2);
            let (image, events) = build_with_events(&fresh.builder(), fresh.request()).await;
            // Those of all stages that do not depend on the file that has changed.
            assert_eq!(steps(&image.unwrap()), (2, 2), "{}", shown(&events));
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_branch_reads_the_main_branch_s_cache_first_then_its_own_and_leaves_the_former_alone() {
    in_project("bk-branches", async |project| {
        project.buildkit().cache = vec![CacheLayer::tagged("_buildcache-main")];
        app(project, 1);
        project.builder().build(project.request()).await.unwrap();
        let main = tagged(project, "_buildcache-main").await.expect("a cache");

        let mut of_main = RegistryCache::tagged("_buildcache-main");
        of_main.export = false;
        project.buildkit().cache = vec![CacheLayer::tagged("_buildcache-branch"), of_main.into()];
        let first = build_with_registry_caches(project, 2).await;
        assert_eq!(steps(&first), (2, 2), "main has all but what the branch changed");
        assert!(tagged(project, "_buildcache-branch").await.is_some());
        assert_eq!(tagged(project, "_buildcache-main").await.as_ref(), Some(&main));

        // A new version by its label, with the files of the first build.
        project.forget_local_cache().await;
        let second = project.builder().build(project.request().label("second", "build")).await.unwrap();
        assert_eq!(steps(&second), (4, 0), "the branch's own cache has its version of the file");
        assert_eq!(tagged(project, "_buildcache-main").await, Some(main));
    })
    .await;
}

#[tokio::test]
async fn an_inline_cache_is_in_the_image_under_the_cache_s_tag_unless_it_is_not_exported() {
    in_project("bk-inline", async |project| {
        let mut layer = RegistryCache::tagged("_inline");
        layer.mode = CacheMode::Inline;
        project.buildkit().cache = vec![layer.clone().into()];
        app(project, 1);
        let first = project.builder().build(project.request()).await.unwrap();
        assert_eq!(tagged(project, "_inline").await, Some(first.digest.to_string()), "one image, two names");

        layer.export = false;
        project.buildkit().cache = vec![layer.into()];
        let second = build_with_registry_caches(project, 2).await;
        assert_eq!(steps(&second), (1, 3), "other stages are not in it");
        assert_eq!(tagged(project, "_inline").await, Some(first.digest.to_string()), "not overwritten");
    })
    .await;
}

/// The registry with TLS of a private authority and basic authentication.
fn cache_registry(project: &Project) -> DeploymentRegistry {
    let mut registry = DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY_TLS_BASIC")).unwrap();
    registry.namespace = Some(format!("{}-cache", project.namespace));
    registry.ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
    registry
}

async fn create_cache_credentials(project: &Project, password: &str) {
    let host = variable("GARDEN_TEST_REGISTRY_TLS_BASIC");
    let username = variable("GARDEN_TEST_REGISTRY_TLS_BASIC_USERNAME");
    project.create_registry_secret("cache", &host, &username, password).await;
}

#[tokio::test]
async fn a_cache_may_be_in_another_registry_with_credentials_and_an_authority_of_its_own() {
    in_project("bk-cache-elsewhere", async |project| {
        let mut layer = RegistryCache::default();
        layer.registry = Some(cache_registry(project));
        project.buildkit().cache = vec![layer.into()];
        create_cache_credentials(project, &variable("GARDEN_TEST_REGISTRY_TLS_BASIC_PASSWORD")).await;
        project.use_pull_secret("cache");
        app(project, 1);
        let first = project.builder().build(project.request()).await.unwrap();
        let second = build_with_registry_caches(project, 2).await;
        assert_eq!(steps(&second), (2, 2));
        let images = [first, second].map(|image| image.reference.tag().unwrap().to_owned());
        let mut images = Vec::from(images);
        images.sort();
        assert_eq!(tags(project).await, images, "no cache is in the deployment registry");
    })
    .await;
}

#[tokio::test]
async fn a_cache_whose_registry_refuses_the_credentials_costs_warnings_only() {
    in_project("bk-cache-refused", async |project| {
        let mut layer = RegistryCache::default();
        layer.registry = Some(cache_registry(project));
        project.buildkit().cache = vec![layer.into()];
        create_cache_credentials(project, "not-the-password").await;
        project.use_pull_secret("cache");
        app(project, 1);
        assert_build_warns_of_cache(project, &variable("GARDEN_TEST_REGISTRY_TLS_BASIC")).await;
    })
    .await;
}

#[tokio::test]
async fn a_cache_in_a_registry_that_is_not_there_costs_warnings_only() {
    in_project("bk-cache-nowhere", async |project| {
        let mut layer = RegistryCache::default();
        layer.registry = Some(DeploymentRegistry::new("10.243.0.2:5999").unwrap());
        project.buildkit().cache = vec![layer.into()];
        app(project, 1);
        assert_build_warns_of_cache(project, "10.243.0.2:5999").await;
    })
    .await;
}

async fn assert_build_warns_of_cache(project: &Project, host: &str) {
    let (image, events) = build_with_events(&project.builder(), project.request()).await;
    let shown = shown(&events);
    let image = image.unwrap_or_else(|error| panic!("{error:?}\n{shown}"));
    assert!(tagged(project, image.reference.tag().unwrap()).await.is_some(), "the image is pushed");
    let [read, written] = warnings(&events)[..] else { panic!("two warnings are expected:\n{shown}") };
    assert!(
        read.starts_with("the cache ") && read.contains("could not be read") && read.contains(host),
        "{read}"
    );
    assert!(written.starts_with("the cache could not be written") && written.contains(host), "{written}");
    assert!(!shown.contains("not-the-password"));
}

#[tokio::test]
async fn without_cache_layers_nothing_but_the_image_is_written() {
    in_project("bk-no-cache-layer", async |project| {
        project.buildkit().cache = Vec::new();
        app(project, 1);
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        assert_eq!(tags(project).await, [image.unwrap().reference.tag().unwrap()]);
        assert!(!shown(&events).contains("exporting cache"), "{}", shown(&events));
    })
    .await;
}
