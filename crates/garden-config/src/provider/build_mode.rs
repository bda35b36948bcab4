use crate::document::decode::Fields;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::generation::Generation;
use crate::provider::document::ModeName;
use crate::provider::names::no_effect;
use crate::{
    ClusterBuildkitOptions, ClusterDockerOptions, ContextDelivery, KanikoNamespace, KanikoOptions,
    NoticeKind, Position,
};

/// How images are built, with the options of each way: the provider's field `buildMode`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BuildMode {
    /// `local-docker`: by the Docker daemon of this machine.
    #[default]
    LocalDocker,
    /// `cluster-docker`: by a Docker daemon in the cluster that everyone shares.
    ClusterDocker(ClusterDockerOptions),
    /// `cluster-buildkit`: by a `BuildKit` daemon in the project's namespace.
    ClusterBuildkit(ClusterBuildkitOptions),
    /// `kaniko`: by a kaniko pod for each build.
    Kaniko(KanikoOptions),
}

impl BuildMode {
    /// Returns the mode's name in a project file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::LocalDocker => "local-docker",
            Self::ClusterDocker(_) => "cluster-docker",
            Self::ClusterBuildkit(_) => "cluster-buildkit",
            Self::Kaniko(_) => "kaniko",
        }
    }

    /// Whether contexts go through kaniko's context service.
    pub(crate) fn syncs(&self) -> bool {
        matches!(self, Self::Kaniko(options) if options.context_delivery == ContextDelivery::Sync)
    }

    /// Whether it builds with a service or daemon that is stopped when nobody uses it.
    pub(crate) fn idles(&self) -> bool {
        self.syncs() || matches!(self, Self::ClusterBuildkit(_))
    }
}

/// Reads the field `buildMode`, and the options of all modes: wrong ones are reported even while another
/// mode is chosen.
pub(crate) fn read(
    fields: &Fields<'_>,
    generation: Generation,
    system_namespace: &str,
    problems: &Problems,
) -> BuildMode {
    let kaniko_namespace = match generation {
        Generation::V0 => KanikoNamespace::Named(system_namespace.to_owned()),
        Generation::V1 | Generation::V2 => KanikoNamespace::Project,
    };
    let kaniko_node = fields.node("kaniko");
    let defaults = KanikoOptions { namespace: kaniko_namespace.clone(), ..KanikoOptions::default() };
    let kaniko = kaniko_node.map_or(defaults, |node| KanikoOptions::read(node, kaniko_namespace, problems));
    let buildkit = fields
        .node("clusterBuildkit")
        .map_or_else(ClusterBuildkitOptions::default, |node| ClusterBuildkitOptions::read(node, problems));
    let docker = fields
        .node("clusterDocker")
        .map_or_else(ClusterDockerOptions::default, |node| ClusterDockerOptions::read(node, problems));
    let mode = fields.choice("buildMode", &MODES).unwrap_or(ModeName::LocalDocker);
    notice(mode, fields, kaniko_node, generation, system_namespace, problems);
    match mode {
        ModeName::LocalDocker => BuildMode::LocalDocker,
        ModeName::ClusterDocker => BuildMode::ClusterDocker(docker),
        ModeName::ClusterBuildkit => BuildMode::ClusterBuildkit(buildkit),
        ModeName::Kaniko => BuildMode::Kaniko(kaniko),
    }
}

const MODES: [(&str, ModeName); 4] = [
    ("local-docker", ModeName::LocalDocker),
    ("kaniko", ModeName::Kaniko),
    ("cluster-buildkit", ModeName::ClusterBuildkit),
    ("cluster-docker", ModeName::ClusterDocker),
];

/// Describes what is deprecated, without effect, or better done otherwise.
fn notice(
    mode: ModeName,
    fields: &Fields<'_>,
    kaniko: Option<&Node>,
    generation: Generation,
    system_namespace: &str,
    problems: &Problems,
) {
    if mode == ModeName::ClusterDocker {
        let message = "the build mode `cluster-docker` is deprecated";
        let hint = "use `kaniko` or `cluster-buildkit`";
        problems.notice(
            NoticeKind::Deprecated,
            "buildMode",
            value_position(fields, "buildMode"),
            message,
            hint,
        );
    } else if fields.node("clusterDocker").is_some() {
        let message =
            "`clusterDocker` belongs to the build mode `cluster-docker`, which is deprecated and not chosen";
        problems.notice(
            NoticeKind::Deprecated,
            "clusterDocker",
            fields.key_position("clusterDocker"),
            message,
            "leave it out",
        );
    }
    if let Some(kaniko) = kaniko.and_then(|node| Fields::open(node, "`kaniko`", problems))
        && kaniko.node("util").is_some()
        && kaniko.text("contextDelivery") == Some("stdin")
    {
        let message = "`kaniko.util` has no effect: it is for `contextDelivery: sync`";
        no_effect("kaniko.util", &kaniko, message, problems);
    }
    // The guide keeps a default that it advises against.
    let is_set = kaniko.and_then(Node::as_mapping).is_some_and(|it| it.get("namespace").is_some());
    if mode == ModeName::Kaniko && generation == Generation::V0 && !is_set {
        let position = kaniko.map_or_else(|| value_position(fields, "buildMode"), |node| node.position);
        let message = format!(
            "`kaniko.namespace` is not set, so builder pods run in `{system_namespace}`, which all projects share"
        );
        let hint = "set `kaniko.namespace: null` to run them in the project's namespace";
        problems.notice(NoticeKind::Advice, "kaniko.namespace", position, message, hint);
    }
}

fn value_position(fields: &Fields<'_>, name: &'static str) -> Position {
    fields.node(name).map_or(fields.position(), |node| node.position)
}
