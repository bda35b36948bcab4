//! The options of `cargo xtask demo`, and which parts of a testbed they need.

use clap::{Args, ValueEnum};

use crate::part::Part;

/// How the demo builds, and where its image goes on a cluster of your own.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Options {
    /// The build mode.
    #[arg(long, value_enum, default_value_t = Mode::Kaniko)]
    pub mode: Mode,
    /// With cluster-buildkit: a daemon without privileges.
    #[arg(long)]
    pub rootless: bool,
    /// Build all that `examples/project` says instead: two environments, three modes.
    #[arg(long, conflicts_with_all = ["mode", "rootless"])]
    pub project: bool,
    /// Install a registry in the cluster, and push to that.
    #[arg(long, conflicts_with_all = ["registry", "project"])]
    pub in_cluster_registry: bool,
    /// The registry to push to, and the path below it.
    #[arg(long, value_name = "HOST[:PORT]/NAMESPACE")]
    pub registry: Option<String>,
    /// The registry speaks plain HTTP.
    #[arg(long, requires = "registry")]
    pub insecure: bool,
    /// An imagePullSecret that may push there.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pull_secret: Option<String>,
}

/// A build mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Pods of the kaniko executor.
    Kaniko,
    /// A `BuildKit` daemon in the cluster.
    ClusterBuildkit,
    /// A Docker daemon in the cluster.
    ClusterDocker,
    /// The Docker daemon of this machine.
    LocalDocker,
}

impl Options {
    /// What a testbed needs to have for the demo.
    pub fn parts(&self) -> &'static [Part] {
        if self.project {
            return &[Part::Kaniko, Part::Buildkit];
        }
        match self.mode {
            Mode::Kaniko => &[Part::Kaniko],
            Mode::ClusterBuildkit => &[Part::Buildkit],
            Mode::ClusterDocker => &[Part::ClusterDocker],
            Mode::LocalDocker => &[Part::LocalDocker],
        }
    }
}
