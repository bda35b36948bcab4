//! The guide's own examples, byte for byte.

use std::path::Path;

use garden_config::{
    BuildMode, DeploymentRegistry, KanikoNamespace, KanikoOptions, ProviderConfig, ProviderKind, Resources,
    SecretRef,
};

/// The first example of the guide, section "tl;dr".
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

/// The example of section "Local Docker": an indented ellipsis, and a provider within an environment.
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

/// The example of section "Configuring a deployment registry".
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

/// The example of section "Using in-cluster building with Google Artifact Registry".
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

fn provider(text: &str) -> ProviderConfig {
    let project = garden_config::parse(text, "project.garden.yml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.name(), "my-project");
    project.provider("dev").unwrap_or_else(|error| panic!("{error}"))
}

fn registry(host: &str, namespace: &str) -> DeploymentRegistry {
    let mut registry = DeploymentRegistry::new(host).expect("valid");
    registry.namespace = Some(namespace.to_owned());
    registry
}

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
    assert_eq!(provider.builder_resources, Resources::builder());
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

#[test]
fn a_provider_within_an_environment_loads() {
    let project =
        garden_config::parse(LOCAL_DOCKER, Path::new("garden.yml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.environments().collect::<Vec<_>>(), ["dev"]);
    let provider = provider(LOCAL_DOCKER);
    assert_eq!(provider.context.as_deref(), Some("my-dev-context"));
    assert_eq!(provider.build_mode, BuildMode::LocalDocker);
    assert_eq!(provider.deployment_registry, Some(registry("my.registry.io", "my-project-id")));
    assert_eq!(provider.image_pull_secrets, [SecretRef::new("my-registry-secret")]);
}

#[test]
fn ellipses_at_both_depths_in_one_example_load() {
    let provider = provider(DEPLOYMENT_REGISTRY);
    assert_eq!(provider.deployment_registry, Some(registry("my-private-registry.com", "my-project")));
    assert_eq!(provider.image_pull_secrets, [SecretRef::new("my-deployment-registry-secret")]);
}

#[test]
fn a_template_is_named_with_its_place() {
    let project = garden_config::parse(ARTIFACT_REGISTRY, "project.garden.yml")
        .unwrap_or_else(|error| panic!("{error}"));
    let error = project.provider("dev").expect_err("a template");
    assert_eq!(
        error.to_string(),
        "project.garden.yml:9:18: `namespace` holds a template\n  help: templates are not resolved yet: write the value itself"
    );
}
