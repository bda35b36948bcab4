use std::path::{Path, PathBuf};

use crate::cluster_buildkit::ClusterBuildkitOptions;
use crate::decode::Fields;
use crate::kaniko::KanikoOptions;
use crate::node::Node;
use crate::problem::{Issue, Problems};
use crate::{ConfigError, DeploymentRegistry, Namespace, Notice, Resources, SecretRef};

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
    /// The context of the kubeconfig to use. Default: the kubeconfig's current one.
    pub context: Option<String>,
    /// The kubeconfig file. Default: what `kubectl` would use.
    pub kubeconfig: Option<PathBuf>,
    /// The project's namespace. Default: the names of the project and of the environment's
    /// namespace, joined by `-`.
    pub namespace: Namespace,
    /// How images are built.
    pub build_mode: BuildMode,
    /// Where images are pushed to. Default: the registry within the cluster.
    pub deployment_registry: Option<DeploymentRegistry>,
    /// The Secrets with the credentials for registries; later ones win. Default: none.
    pub image_pull_secrets: Vec<SecretRef>,
    /// What each builder may use and is sure to get. Default: [`Resources::builder`].
    pub builder_resources: Resources,
    /// What the author of the project file should know.
    pub notices: Vec<Notice>,
}

/// The two providers that build for Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderKind {
    /// `kubernetes`: a remote cluster.
    Kubernetes,
    /// `local-kubernetes`: a cluster on the developer's machine.
    LocalKubernetes,
}

/// How images are built, with the options of each way: the provider's field `buildMode`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BuildMode {
    /// `local-docker`: by the Docker daemon of this machine.
    #[default]
    LocalDocker,
    /// `cluster-docker`: by a Docker daemon in the cluster that everyone shares.
    ClusterDocker,
    /// `cluster-buildkit`: by a `BuildKit` daemon in the project's namespace.
    ClusterBuildkit(ClusterBuildkitOptions),
    /// `kaniko`: by a kaniko pod for each build.
    Kaniko(KanikoOptions),
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

impl BuildMode {
    /// Returns the mode's name in a project file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::LocalDocker => "local-docker",
            Self::ClusterDocker => "cluster-docker",
            Self::ClusterBuildkit(_) => "cluster-buildkit",
            Self::Kaniko(_) => "kaniko",
        }
    }
}

impl ProviderConfig {
    /// Returns the defaults of the provider `kubernetes` for a project.
    pub fn kubernetes(project_name: &str) -> Self {
        Self::new(ProviderKind::Kubernetes, Namespace::new(format!("{project_name}-default")))
    }

    /// Returns the defaults of the provider `local-kubernetes` for a project.
    pub fn local_kubernetes(project_name: &str) -> Self {
        Self::new(ProviderKind::LocalKubernetes, Namespace::new(format!("{project_name}-default")))
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
        match &self.build_mode {
            BuildMode::Kaniko(options) => issues.extend(within(options.issues(), "kaniko".to_owned())),
            BuildMode::ClusterBuildkit(options) => {
                issues.extend(within(options.issues(), "clusterBuildkit".to_owned()));
            }
            BuildMode::LocalDocker | BuildMode::ClusterDocker => {}
        }
        if let Some(registry) = &self.deployment_registry {
            issues.extend(within(registry.issues(), "deploymentRegistry".to_owned()));
        }
        for (index, secret) in self.image_pull_secrets.iter().enumerate() {
            issues.extend(within(secret.issues(), format!("imagePullSecrets[{index}]")));
        }
        issues.extend(within(self.builder_resources.issues(), "resources.builder".to_owned()));
        ConfigError::check(issues)
    }

    fn new(kind: ProviderKind, namespace: Namespace) -> Self {
        Self {
            kind,
            context: None,
            kubeconfig: None,
            namespace,
            build_mode: BuildMode::default(),
            deployment_registry: None,
            image_pull_secrets: Vec::new(),
            builder_resources: Resources::builder(),
            notices: Vec::new(),
        }
    }

    /// Reads a provider from its place in a project file. `default_namespace` is asked for the name
    /// of the namespace only if the provider does not set it; it reports what prevents it.
    pub(crate) fn read(
        node: &Node,
        kind: ProviderKind,
        directory: &Path,
        default_namespace: impl FnOnce() -> String,
        problems: &Problems,
    ) -> Option<Self> {
        let what = format!("a {} provider", kind.as_str());
        let fields = Fields::open(node, &what, problems)?;
        fields.set_aside(&SET_ASIDE);
        let namespace = match fields.node("namespace") {
            Some(node) => Namespace::read(node, default_namespace, problems),
            None => Namespace::new(default_namespace()),
        };
        let mut provider = Self::new(kind, namespace);
        provider.context = fields.text("context").map(str::to_owned);
        provider.kubeconfig = fields.text("kubeconfig").map(|path| directory.join(path));
        provider.build_mode = read_build_mode(&fields, directory, &mut provider.notices, problems);
        provider.deployment_registry = fields
            .node("deploymentRegistry")
            .and_then(|node| DeploymentRegistry::read(node, "`deploymentRegistry`", directory, problems));
        let secrets = fields.list("imagePullSecrets").into_iter();
        provider.image_pull_secrets = secrets.filter_map(|item| SecretRef::read(item, problems)).collect();
        if let Some(node) = fields.node("resources") {
            provider.builder_resources = read_resources(node, problems);
        }
        fields.finish();
        Some(provider)
    }
}

/// Fields of the two providers that concern deploying, or build modes whose options are not read.
const SET_ASIDE: [&str; 24] = [
    "certManager",
    "clusterDocker",
    "copySecrets",
    "defaultHostname",
    "dependencies",
    "deploymentStrategy",
    "devMode",
    "environments",
    "forceSsl",
    "gardenSystemNamespace",
    "ingressClass",
    "ingressHttpPort",
    "ingressHttpsPort",
    "jib",
    "kubectlPath",
    "name",
    "preInit",
    "registryProxyTolerations",
    "setupIngressController",
    "storage",
    "sync",
    "systemNodeSelector",
    "tlsCertificates",
    "utilImageRegistryDomain",
];

fn read_build_mode(
    fields: &Fields<'_>,
    directory: &Path,
    notices: &mut Vec<Notice>,
    problems: &Problems,
) -> BuildMode {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        LocalDocker,
        ClusterDocker,
        ClusterBuildkit,
        Kaniko,
    }
    const MODES: [(&str, Mode); 4] = [
        ("local-docker", Mode::LocalDocker),
        ("kaniko", Mode::Kaniko),
        ("cluster-buildkit", Mode::ClusterBuildkit),
        ("cluster-docker", Mode::ClusterDocker),
    ];
    let mode = fields.choice("buildMode", &MODES).unwrap_or(Mode::LocalDocker);
    // Wrong options are reported even while another mode is chosen.
    let node = fields.node("kaniko");
    let options = node.map_or_else(KanikoOptions::default, |node| KanikoOptions::read(node, problems));
    let buildkit = fields.node("clusterBuildkit").map_or_else(ClusterBuildkitOptions::default, |node| {
        ClusterBuildkitOptions::read(node, directory, problems)
    });
    match mode {
        Mode::LocalDocker => BuildMode::LocalDocker,
        Mode::ClusterDocker => BuildMode::ClusterDocker,
        Mode::ClusterBuildkit => BuildMode::ClusterBuildkit(buildkit),
        Mode::Kaniko => {
            let namespace_is_set =
                node.and_then(Node::as_mapping).is_some_and(|it| it.get("namespace").is_some());
            if !namespace_is_set {
                notices.push(shared_namespace_notice(fields, node, problems));
            }
            BuildMode::Kaniko(options)
        }
    }
}

/// The guide keeps a default that it advises against.
fn shared_namespace_notice(fields: &Fields<'_>, kaniko: Option<&Node>, problems: &Problems) -> Notice {
    let place = kaniko.or_else(|| fields.node("buildMode"));
    Notice {
        file: Some(problems.file().to_owned()),
        position: Some(place.map_or(fields.position(), |node| node.position)),
        message: format!(
            "`kaniko.namespace` is not set, so builder pods run in `{}`, which all projects share",
            KanikoOptions::SYSTEM_NAMESPACE
        ),
        hint: Some("set `kaniko.namespace: null` to run them in the project's namespace".to_owned()),
    }
}

fn read_resources(node: &Node, problems: &Problems) -> Resources {
    let defaults = Resources::builder();
    let Some(fields) = Fields::open(node, "`resources`", problems) else { return defaults };
    fields.set_aside(&["registry", "sync", "util"]);
    let resources = match fields.node("builder") {
        Some(node) => Resources::read(node, defaults, problems),
        None => defaults,
    };
    fields.finish();
    resources
}
