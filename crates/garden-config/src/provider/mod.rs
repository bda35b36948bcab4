//! The provider: how and where images are built.

pub(crate) mod base_registries;
pub(crate) mod build_mode;
pub(crate) mod cache;
pub(crate) mod cluster_buildkit;
pub(crate) mod cluster_docker;
pub(crate) mod document;
pub(crate) mod idle_after;
pub(crate) mod in_cluster_registry;
pub(crate) mod kaniko;
pub(crate) mod names;
pub(crate) mod proxies;
pub(crate) mod registry;
pub(crate) mod resources;
pub(crate) mod storage;
pub(crate) mod telemetry;
pub(crate) mod toleration;

use std::collections::BTreeMap;
use std::path::PathBuf;

use garden_build_core::ImageReference;
use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::{Issue, item_issues};
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::document::write;
use crate::generation::Generation;
use crate::provider::document::ProviderDocument;
use crate::provider::names::{namespace_issue, no_effect};
use crate::{
    BuildMode, ConfigError, DeploymentRegistry, IdleAfter, InClusterRegistryOptions, KanikoOptions,
    Namespace, Notice, NoticeKind, ProviderResources, ProviderStorage, ProxyOptions, SecretRef,
    TelemetryOptions, Toleration,
};

/// How and where images are built for one environment of a project.
///
/// Comes from a project file through [`Project::provider`](crate::Project::provider), or from Rust:
///
/// ```
/// use garden_config::{BuildMode, DeploymentRegistry, KanikoNamespace, KanikoOptions, ProviderConfig};
///
/// let mut kaniko = KanikoOptions::default();
/// kaniko.namespace = KanikoNamespace::Project;
///
/// let mut provider = ProviderConfig::kubernetes("my-project");
/// provider.build_mode = BuildMode::Kaniko(kaniko);
/// provider.deployment_registry = Some(DeploymentRegistry::new("registry.example/my-team")?);
/// provider.check()?;
/// assert_eq!(provider.namespace.name, "my-project-default");
/// # Ok::<(), garden_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// Which of the two providers it is.
    pub kind: ProviderKind,
    /// The name of the project that it belongs to.
    pub project_name: String,
    /// The context of the kubeconfig to use. Default: the kubeconfig's current one.
    pub context: Option<String>,
    /// The kubeconfig file. Default: what `kubectl` would use.
    pub kubeconfig: Option<PathBuf>,
    /// The project's namespace. Default: the names of the project and of the environment's
    /// namespace, joined by `-`.
    pub namespace: Namespace,
    /// How images are built.
    pub build_mode: BuildMode,
    /// Where images are pushed to. Default: the registry within the cluster; see
    /// [`ProviderConfig::in_cluster_registry_namespace`].
    pub deployment_registry: Option<DeploymentRegistry>,
    /// How the registry within the cluster runs.
    pub in_cluster_registry: InClusterRegistryOptions,
    /// The Secrets with the credentials for registries; later ones win. Those with a user and a password for the registry of an image
    /// that pods are made of for building, such as the builder's own, are copied to where the pods are. Default: none.
    pub image_pull_secrets: Vec<SecretRef>,
    /// The registries for which the Secrets in [`image_pull_secrets`](Self::image_pull_secrets) may have credential helpers of this machine
    /// run (`credHelpers`, `credsStore`): `host` or `host:port`, perhaps with wildcards. Default: none.
    ///
    /// A helper hands out the logins of whoever runs the build. So no project file can set this, and neither who writes the Secrets nor who
    /// writes a Dockerfile decides about it: it is for the program that builds. What helpers say is given to builders. The
    /// helpers that the `docker` command's own configuration names do not depend on it.
    pub credential_helpers_for: Vec<String>,
    /// The Secrets that are copied to the namespaces where images run. Builders do not use them.
    /// Default: none.
    pub copy_secrets: Vec<SecretRef>,
    /// What builders, and the services in the cluster, may use and are sure to get.
    pub resources: ProviderResources,
    /// The volumes of the services in the cluster.
    pub storage: ProviderStorage,
    /// The proxies of what builds in the cluster. Default: none.
    pub proxies: ProxyOptions,
    /// Where builders in the cluster send their spans. Default: nowhere.
    pub telemetry: TelemetryOptions,
    /// For how long kaniko's context service, or the `BuildKit` daemon of a namespace, may be unused before it is stopped. The
    /// next build starts it again. An extension: Garden has no such field. Default: four hours.
    pub idle_after: IdleAfter,
    /// Whether `NetworkPolicies` say who may connect to the pods of what is installed in the cluster: the registry and its proxies, the Docker
    /// daemon, kaniko's context service and the `BuildKit` daemon of a namespace. An extension: Garden has no such field. Default: no.
    pub network_policies: bool,
    /// The namespace of the services in the cluster, and of kaniko's pods unless `kaniko.namespace` says otherwise. Default:
    /// `garden-system`.
    pub garden_system_namespace: String,
    /// Taints that what makes the registry within the cluster reachable on the nodes tolerates. Default: none.
    pub registry_proxy_tolerations: Vec<Toleration>,
    /// Labels that a node must have to run the services in the cluster. Default: none.
    pub system_node_selector: BTreeMap<String, String>,
    /// The registry that the images of the daemons and of the registry within the cluster come from, unless they are
    /// set: a host, perhaps with port and path. Default: `docker.io`.
    pub util_image_registry_domain: String,
    /// Whether connecting to the cluster runs no program and reads no file but the kubeconfig: a kubeconfig that names a
    /// credential plugin is refused then, and one of the project's that names other files. Default: no; a provider of a
    /// [confined](crate::Project::confined) project is.
    pub confined: bool,
    /// What the author of the project file should know.
    pub notices: Vec<Notice>,
}

/// The two providers that build for Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProviderKind {
    /// `kubernetes`: a remote cluster.
    Kubernetes,
    /// `local-kubernetes`: a cluster on the developer's machine.
    LocalKubernetes,
}

impl ProviderKind {
    /// Returns the provider's name in a project file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::LocalKubernetes => "local-kubernetes",
        }
    }
}

impl ProviderConfig {
    /// The registry that images of the services in the cluster come from, unless another is set.
    pub const UTIL_IMAGE_REGISTRY_DOMAIN: &str = "docker.io";

    /// The registry within the cluster, as the names of its images have it: every node reaches it there.
    pub const IN_CLUSTER_REGISTRY: &str = "127.0.0.1:5000";

    /// Returns the defaults of the provider `kubernetes` for a project.
    pub fn kubernetes(project_name: &str) -> Self {
        Self::new(ProviderKind::Kubernetes, project_name, Namespace::new(format!("{project_name}-default")))
    }

    /// Returns the defaults of the provider `local-kubernetes` for a project.
    pub fn local_kubernetes(project_name: &str) -> Self {
        let namespace = Namespace::new(format!("{project_name}-default"));
        Self::new(ProviderKind::LocalKubernetes, project_name, namespace)
    }

    /// Returns the path that images have in the registry within the cluster, if they are pushed there: the namespace
    /// of `deploymentRegistry`, or else the project's name; `None` if they go elsewhere.
    ///
    /// As in Garden, that registry is used if `deploymentRegistry` is not set or names `127.0.0.1:5000`, unless images
    /// are built by this machine's Docker daemon.
    ///
    /// ```
    /// use garden_config::{BuildMode, KanikoOptions, ProviderConfig};
    ///
    /// let mut provider = ProviderConfig::kubernetes("shop");
    /// assert_eq!(provider.in_cluster_registry_namespace(), None);
    /// provider.build_mode = BuildMode::Kaniko(KanikoOptions::default());
    /// assert_eq!(provider.in_cluster_registry_namespace(), Some("shop"));
    /// ```
    pub fn in_cluster_registry_namespace(&self) -> Option<&str> {
        if self.build_mode == BuildMode::LocalDocker {
            return None;
        }
        match &self.deployment_registry {
            None => Some(&self.project_name),
            Some(registry) if registry.host() == Self::IN_CLUSTER_REGISTRY => {
                Some(registry.namespace.as_deref().unwrap_or(&self.project_name))
            }
            Some(_) => None,
        }
    }

    /// Checks what is checked when a project file is read.
    ///
    /// # Errors
    /// If a value breaks a rule of Kubernetes or of image names. All broken rules are named.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |issues: Vec<Issue>, parent: String| {
            issues.into_iter().map(move |issue| issue.within(&parent)).collect::<Vec<_>>()
        };
        let mut issues = within(self.namespace.issues(), "namespace".to_owned());
        issues.extend(namespace_issue("gardenSystemNamespace", &self.garden_system_namespace));
        issues.extend(domain_issue(&self.util_image_registry_domain));
        match &self.build_mode {
            BuildMode::Kaniko(options) => issues.extend(within(options.issues(), "kaniko".to_owned())),
            BuildMode::ClusterBuildkit(options) => {
                issues.extend(within(options.issues(), "clusterBuildkit".to_owned()));
            }
            BuildMode::ClusterDocker(options) => {
                issues.extend(within(options.issues(), "clusterDocker".to_owned()));
            }
            BuildMode::LocalDocker => {}
        }
        if let Some(registry) = &self.deployment_registry {
            issues.extend(within(registry.issues(), "deploymentRegistry".to_owned()));
        }
        issues.extend(within(self.in_cluster_registry.issues(), "inClusterRegistry".to_owned()));
        issues.extend(item_issues("imagePullSecrets", &self.image_pull_secrets, SecretRef::issues));
        issues.extend(item_issues("copySecrets", &self.copy_secrets, SecretRef::issues));
        issues.extend(within(self.resources.issues(), "resources".to_owned()));
        issues.extend(within(self.storage.issues(), "storage".to_owned()));
        issues.extend(within(self.proxies.issues(), "proxies".to_owned()));
        issues.extend(within(self.telemetry.issues(), "telemetry".to_owned()));
        issues.extend(self.idle_after.issue());
        let tolerations = &self.registry_proxy_tolerations;
        issues.extend(item_issues("registryProxyTolerations", tolerations, Toleration::issues));
        ConfigError::check(issues)
    }

    /// Writes a project file with this provider for every environment. Reading it back gives an equal
    /// provider, but for [`credential_helpers_for`](Self::credential_helpers_for), which no file can set. What looks like a template is written so that it stays the text that it is.
    ///
    /// ```
    /// use garden_config::ProviderConfig;
    ///
    /// let provider = ProviderConfig::kubernetes("shop");
    /// let text = provider.to_yaml("shop")?;
    /// assert_eq!(garden_config::parse(&text, "project.garden.yml")?.provider("dev")?, provider);
    /// # Ok::<(), garden_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// If the provider breaks a rule, see [`ProviderConfig::check`], the address of a proxy has a user name or a password, which are
    /// not written into files, or a path in it is not UTF-8.
    pub fn to_yaml(&self, project_name: &str) -> Result<String, ConfigError> {
        self.check()?;
        if let Some(field) = self.proxies.field_with_credentials() {
            return Err(ConfigError::unwritable(format_args!(
                "`proxies.{field}` has a user name or a password; write it as a template, such as `${{local.env.HTTPS_PROXY}}`, into the file yourself",
            )));
        }
        let project = ProjectDocument {
            kind: "Project",
            name: project_name.to_owned(),
            providers: vec![ProviderDocument::from(self)],
        };
        write::document(&project)
    }

    fn new(kind: ProviderKind, project_name: &str, namespace: Namespace) -> Self {
        Self {
            kind,
            project_name: project_name.to_owned(),
            context: None,
            kubeconfig: None,
            namespace,
            build_mode: BuildMode::default(),
            deployment_registry: None,
            in_cluster_registry: InClusterRegistryOptions::default(),
            image_pull_secrets: Vec::new(),
            credential_helpers_for: Vec::new(),
            copy_secrets: Vec::new(),
            resources: ProviderResources::default(),
            storage: ProviderStorage::default(),
            proxies: ProxyOptions::default(),
            telemetry: TelemetryOptions::default(),
            idle_after: IdleAfter::default(),
            network_policies: false,
            garden_system_namespace: KanikoOptions::SYSTEM_NAMESPACE.to_owned(),
            registry_proxy_tolerations: Vec::new(),
            system_node_selector: BTreeMap::new(),
            util_image_registry_domain: Self::UTIL_IMAGE_REGISTRY_DOMAIN.to_owned(),
            confined: false,
            notices: Vec::new(),
        }
    }

    /// Reads a provider of the project `project_name` from its place in a project file. `default_namespace` is asked for the name
    /// of the namespace only if the provider does not set it; it reports what prevents it.
    pub(crate) fn read(
        node: &Node,
        kind: ProviderKind,
        project_name: &str,
        generation: Generation,
        default_namespace: impl FnOnce() -> String,
        problems: &Problems,
    ) -> Option<Self> {
        let what = format!("a {} provider", kind.as_str());
        let fields = Fields::open(node, &what, problems)?;
        fields.set_aside(&Self::SET_ASIDE);
        let namespace = match fields.node("namespace") {
            Some(node) => Namespace::read(node, default_namespace, problems),
            None => Namespace::new(default_namespace()),
        };
        let mut provider = Self::new(kind, project_name, namespace);
        provider.context = fields.text("context").map(str::to_owned);
        provider.kubeconfig =
            fields.text("kubeconfig").and_then(|path| problems.path(path, fields.key_position("kubeconfig")));
        provider.confined = problems.source().boundary().is_some();
        if let Some(namespace) = fields.text("gardenSystemNamespace") {
            namespace.clone_into(&mut provider.garden_system_namespace);
            fields.check(namespace_issue("gardenSystemNamespace", namespace));
        }
        provider.build_mode =
            build_mode::read(&fields, generation, &provider.garden_system_namespace, problems);
        provider.deployment_registry = fields
            .node("deploymentRegistry")
            .and_then(|node| DeploymentRegistry::read(node, "`deploymentRegistry`", problems));
        if let Some(node) = fields.node("inClusterRegistry") {
            provider.in_cluster_registry = InClusterRegistryOptions::read(node, problems);
        }
        provider.image_pull_secrets = SecretRef::read_all(&fields, "imagePullSecrets", problems);
        provider.copy_secrets = SecretRef::read_all(&fields, "copySecrets", problems);
        if let Some(node) = fields.node("resources") {
            provider.resources = ProviderResources::read(node, provider.build_mode.syncs(), problems);
        }
        if let Some(node) = fields.node("storage") {
            provider.storage = ProviderStorage::read(node, provider.build_mode.syncs(), problems);
        }
        if let Some(node) = fields.node("proxies") {
            let position = fields.key_position("proxies");
            problems.hide(position);
            provider.proxies = ProxyOptions::read(node, problems);
            if provider.build_mode == BuildMode::LocalDocker {
                let message = "`proxies` has no effect: this machine's Docker daemon builds";
                let hint = "set `proxies` in the configuration of Docker: in daemon.json for the daemon, in ~/.docker/config.json for RUN steps";
                problems.notice(NoticeKind::NoEffect, "proxies", position, message, hint);
            }
        }
        if let Some(node) = fields.node("telemetry") {
            // Where it is refused, it may have a password.
            let position = fields.key_position("telemetry");
            problems.hide(position);
            provider.telemetry = TelemetryOptions::read(node, problems);
            if matches!(provider.build_mode, BuildMode::LocalDocker | BuildMode::ClusterDocker(_)) {
                let message = "`telemetry` has no effect: a Docker daemon builds";
                let hint = "set `OTEL_EXPORTER_OTLP_ENDPOINT` in the environment of the daemon";
                problems.notice(NoticeKind::NoEffect, "telemetry", position, message, hint);
            }
        }
        provider.idle_after = IdleAfter::read(&fields, provider.build_mode.idles(), problems);
        provider.network_policies = fields.flag("networkPolicies").unwrap_or(false);
        if provider.network_policies && provider.build_mode == BuildMode::LocalDocker {
            let message = "`networkPolicies` has no effect: nothing is installed in the cluster, as this machine's Docker daemon builds";
            no_effect("networkPolicies", &fields, message, problems);
        }
        provider.registry_proxy_tolerations =
            Toleration::read_all(&fields, "registryProxyTolerations", problems);
        provider.system_node_selector = fields.text_map("systemNodeSelector");
        if let Some(domain) = fields.text("utilImageRegistryDomain") {
            let domain = domain.trim_end_matches('/');
            domain.clone_into(&mut provider.util_image_registry_domain);
            fields.check(domain_issue(domain));
        }
        fields.finish();
        Some(provider)
    }

    /// Fields of the two providers that concern deploying, or are read elsewhere.
    pub(crate) const SET_ASIDE: [&str; 19] = [
        "certManager",
        "defaultHostname",
        "dependencies",
        "deploymentStrategy",
        "devMode",
        "environments",
        "forceSsl",
        "ingressClass",
        "ingressHttpPort",
        "ingressHttpsPort",
        "jib",
        "kubectlPath",
        "localMode",
        "localVolumes",
        "name",
        "preInit",
        "setupIngressController",
        "sync",
        "tlsCertificates",
    ];
}

/// Explains why `domain` cannot be the start of an image's name.
fn domain_issue(domain: &str) -> Option<Issue> {
    let host = domain.split('/').next().unwrap_or_default();
    let image = format!("{domain}/namespace/image:tag").parse::<ImageReference>().ok();
    image.is_none_or(|image| image.registry() != host).then(|| {
        let message = format!("`{domain}` cannot be a registry");
        Issue::new("utilImageRegistryDomain", message, "write `host` or `host:port`, perhaps with a path")
    })
}

/// A project file with nothing but a provider.
#[derive(Debug, Serialize)]
struct ProjectDocument {
    kind: &'static str,
    name: String,
    providers: Vec<ProviderDocument>,
}
