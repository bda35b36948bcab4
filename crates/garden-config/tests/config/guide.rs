//! The guide's own examples, byte for byte: one test for each.

use garden_config::{
    BuildMode, CacheLayer, CacheMode, ClusterBuildkitOptions, ClusterDockerOptions, DeploymentRegistry,
    KanikoNamespace, KanikoOptions, NoticeKind, ProviderConfig, ProviderKind, ProviderResources,
    RegistryCache, SecretRef, TaintEffect, Toleration,
};

use crate::support::{brief, follows_the_schema, indented, project, valid};

fn provider(text: &str) -> ProviderConfig {
    let project = project(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.name(), "my-project");
    let provider = project.provider("dev").unwrap_or_else(|error| panic!("{error}"));
    follows_the_schema(text, |document| document["kind"] == "Project");
    provider
}

fn registry(host: &str, namespace: &str) -> DeploymentRegistry {
    let mut registry = DeploymentRegistry::new(host).expect("valid");
    registry.namespace = Some(namespace.to_owned());
    registry
}

/// Section "tl;dr".
const FIRST: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    # Use the kaniko build mode
    buildMode: kaniko
    kaniko:
      namespace: null  # <--- use the project namespace for builds
    # Recommended: Configure a remote registry
    deploymentRegistry:
      hostname: my-private-registry.com      # <--- the hostname of your registry
      namespace: my-project                  # <--- the namespace to use within your registry
    imagePullSecrets:
      - name: my-deployment-registry-secret  # <--- the name and namespace of a valid Kubernetes imagePullSecret
        namespace: default
";

#[test]
fn the_first_example_loads_with_every_value() {
    let provider = provider(FIRST);
    assert_eq!(provider.kind, ProviderKind::Kubernetes);
    assert_eq!(provider.context, None);
    assert_eq!(provider.kubeconfig, None);
    assert_eq!(provider.namespace.name, "my-project-default");
    assert!(provider.namespace.annotations.is_empty() && provider.namespace.labels.is_empty());
    let mut kaniko = KanikoOptions::default();
    kaniko.namespace = KanikoNamespace::Project;
    assert_eq!(provider.build_mode, BuildMode::Kaniko(kaniko));
    assert_eq!(provider.deployment_registry, Some(registry("my-private-registry.com", "my-project")));
    let registry = provider.deployment_registry.expect("set");
    assert_eq!(
        (registry.host(), registry.repository("api")),
        ("my-private-registry.com".into(), "my-project/api".into())
    );
    assert!(!registry.insecure);
    assert_eq!(
        provider.image_pull_secrets,
        [SecretRef::new("my-deployment-registry-secret").in_namespace("default")]
    );
    assert_eq!(provider.resources, ProviderResources::default());
    assert_eq!(provider.notices, []);
}

#[test]
fn the_first_example_loads_from_a_file_and_from_its_directory() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("garden.yml");
    std::fs::write(&file, FIRST).expect("write");
    for path in [file.as_path(), directory.path()] {
        let project = garden_config::load(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            project.provider("dev").map(|provider| provider.namespace.name),
            Ok("my-project-default".into())
        );
    }
}

/// Section "kaniko", and again in section "cluster-buildkit": the lines of a flow mapping without its braces.
const TOLERATION: &str = "\
key: \"garden-build\",
operator: \"Equal\",
value: \"true\",
effect: \"NoSchedule\"
";

fn garden_build_toleration() -> Toleration {
    let mut toleration = Toleration::equal("garden-build", "true");
    toleration.effect = Some(TaintEffect::NoSchedule);
    toleration
}

// That pods always have it is tested where their specifications are made.
#[test]
fn the_toleration_of_kaniko_pods_can_be_written() {
    let fields =
        format!("buildMode: kaniko\nkaniko:\n  tolerations:\n  - {{\n{}\n    }}", indented(TOLERATION, 4));
    let BuildMode::Kaniko(kaniko) = valid(&fields).build_mode else { panic!("kaniko") };
    assert_eq!(kaniko.tolerations, [garden_build_toleration()]);
}

#[test]
fn the_toleration_of_buildkit_deployments_can_be_written() {
    let toleration = indented(TOLERATION, 4);
    let fields = format!(
        "buildMode: cluster-buildkit\nclusterBuildkit:\n  tolerations:\n  - {{\n{toleration}\n    }}"
    );
    assert_eq!(buildkit(&fields).tolerations, [garden_build_toleration()]);
}

fn buildkit(fields: &str) -> ClusterBuildkitOptions {
    let BuildMode::ClusterBuildkit(options) = valid(fields).build_mode else { panic!("cluster-buildkit") };
    options
}

/// The example's fields, in a provider with the build mode that the section is about.
fn buildkit_example(example: &str) -> ClusterBuildkitOptions {
    buildkit(&format!("buildMode: cluster-buildkit\n{example}"))
}

/// Section "cluster-buildkit".
const ROOTLESS: &str = "\
clusterBuildkit:
  rootless: true
";

#[test]
fn rootless_mode_is_switched_on() {
    let mut expected = ClusterBuildkitOptions::default();
    expected.rootless = true;
    assert_eq!(buildkit_example(ROOTLESS), expected);
}

/// Section "Caching".
const BRANCH_CACHE: &str = "\
clusterBuildkit:
  cache:
      - type: registry
        tag: _buildcache-${slice(kebabCase(git.branch), \"0\", \"30\")}
      - type: registry
        tag: _buildcache-main
        export: false
";

#[test]
fn a_feature_branch_has_a_cache_of_its_own_and_reads_that_of_main() {
    let mut main = RegistryCache::tagged("_buildcache-main");
    main.export = false;
    let branch = CacheLayer::tagged("_buildcache-feature-abc-123-fix");
    assert_eq!(buildkit_example(BRANCH_CACHE).cache, [branch, main.into()]);
}

/// Section "Multi-stage caching".
const OTHER_REGISTRY: &str = "\
clusterBuildkit:
  cache:
      - type: registry
        registry:
          hostname: hub.docker.com
          namespace: my-team-cache
";

#[test]
fn a_cache_has_a_registry_of_its_own() {
    let options = buildkit_example(OTHER_REGISTRY);
    let [CacheLayer::Registry(layer)] = options.cache.as_slice() else { panic!("one cache in a registry") };
    assert_eq!((layer.mode, layer.tag.as_str(), layer.export), (CacheMode::Auto, "_buildcache", true));
    // The registry whose web page the guide names.
    let registry = layer.registry.as_ref().expect("set");
    assert_eq!(
        (registry.host(), registry.repository("api")),
        ("docker.io".into(), "my-team-cache/api".into())
    );
}

/// Section "cluster-docker".
const CLUSTER_DOCKER: &str = "\
clusterDocker:
  enableBuildKit: true
";

#[test]
fn the_cluster_wide_docker_builds_with_buildkit_and_is_deprecated() {
    let provider = valid(&format!("buildMode: cluster-docker\n{CLUSTER_DOCKER}"));
    let mut expected = ClusterDockerOptions::default();
    expected.enable_buildkit = true;
    assert_eq!(provider.build_mode, BuildMode::ClusterDocker(expected));
    let [notice] = provider.notices.as_slice() else { panic!("one notice") };
    assert_eq!((notice.kind, notice.field.as_str()), (NoticeKind::Deprecated, "buildMode"));
}

/// Section "Local Docker": an indented ellipsis, and a provider within an environment.
const LOCAL_DOCKER: &str = "\
kind: Project
name: my-project
environments:
- name: dev
  providers:
  - name: kubernetes
    context: my-dev-context
    ...
    deploymentRegistry:
      # The hostname of the registry, e.g. gcr.io for GCR (Google Container Registry)
      hostname: my.registry.io
      # Namespace (aka project ID) to use in the registry for this project.
      # For GKE/GCR, use the project ID where your cluster is.
      namespace: my-project-id
    imagePullSecrets:
      # The name of the secret you stored using `kubectl create secret docker-registry`
    - name: my-registry-secret
      # Change this if you store the secret in another namespace.
      namespace: default
defaultEnvironment: dev
";

#[test]
fn a_provider_within_the_default_environment_loads() {
    let project = project(LOCAL_DOCKER).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.environments().collect::<Vec<_>>(), ["dev"]);
    assert_eq!(project.default_environment().expect("set").name(), "dev");
    let provider = provider(LOCAL_DOCKER);
    assert_eq!(provider.context.as_deref(), Some("my-dev-context"));
    assert_eq!(provider.build_mode, BuildMode::LocalDocker);
    assert_eq!(provider.deployment_registry, Some(registry("my.registry.io", "my-project-id")));
    assert_eq!(provider.image_pull_secrets, [SecretRef::new("my-registry-secret")]);
}

/// Section "Configuring a deployment registry".
const DEPLOYMENT_REGISTRY: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    ...
    deploymentRegistry:
      hostname: my-private-registry.com      # <--- the hostname of your registry
      namespace: my-project                  # <--- the namespace to use within your registry
    imagePullSecrets:
      - name: my-deployment-registry-secret  # <--- the name and namespace of a valid Kubernetes imagePullSecret
        namespace: default
";

#[test]
fn a_deployment_registry_and_its_secret_load() {
    let provider = provider(DEPLOYMENT_REGISTRY);
    assert_eq!(provider.deployment_registry, Some(registry("my-private-registry.com", "my-project")));
    assert_eq!(provider.image_pull_secrets, [SecretRef::new("my-deployment-registry-secret")]);
}

/// Section "Using in-cluster building with ECR".
const ECR: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    ...
    imagePullSecrets:
      - name: ecr-config
        namespace: default
";

#[test]
fn the_secret_for_ecr_loads() {
    assert_eq!(provider(ECR).image_pull_secrets, [SecretRef::new("ecr-config")]);
}

/// Section "Using in-cluster building with GCR".
const GCR: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    ...
    imagePullSecrets:
      - name: gcr-config
        namespace: default
";

#[test]
fn the_secret_for_gcr_loads() {
    assert_eq!(provider(GCR).image_pull_secrets, [SecretRef::new("gcr-config")]);
}

/// Section "Using in-cluster building with Google Artifact Registry".
const ARTIFACT_REGISTRY: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    ...
    deploymentRegistry:
      hostname: europe-central2-docker.pkg.dev      # <--- please replace with the hostname of your registry
      namespace: ${PROJECT_ID}/${REPOSITORY}        # <--- please replace with your GCP project and repository
    imagePullSecrets:
      - name: gar-config
        namespace: default
";

/// What the example asks to be replaced is named until it is.
#[test]
fn artifact_registry_loads_once_its_placeholders_are_replaced() {
    let refused = project(ARTIFACT_REGISTRY).expect("a project").provider("dev").expect_err("placeholders");
    assert_eq!(
        brief(&refused),
        "9:20: there is no `PROJECT_ID` | for an environment variable, write `local.env.PROJECT_ID`"
    );
    let text = ARTIFACT_REGISTRY.replace("${PROJECT_ID}", "my-id").replace("${REPOSITORY}", "images");
    let provider = provider(&text);
    assert_eq!(
        provider.deployment_registry,
        Some(registry("europe-central2-docker.pkg.dev", "my-id/images"))
    );
    assert_eq!(provider.image_pull_secrets, [SecretRef::new("gar-config")]);
}

/// Section "Pulling base images from private registries".
const PRIVATE_BASE_IMAGES: &str = "\
kind: Project
name: my-project
...
providers:
  - name: kubernetes
    ...
    imagePullSecrets:
      # The name of the registry auth secret you created.
    - name: my-registry-secret
      # Change this if you store the secret in another namespace.
      namespace: default
";

#[test]
fn the_secret_for_base_images_loads() {
    assert_eq!(provider(PRIVATE_BASE_IMAGES).image_pull_secrets, [SecretRef::new("my-registry-secret")]);
}
