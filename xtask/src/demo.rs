//! The options of `cargo xtask demo`, and which parts of a testbed they need.

use anyhow::{Result, bail};
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
    /// Says which options do not go together, or are missing for a cluster of the user's own.
    ///
    /// # Errors
    ///
    /// Fails if there are such options.
    pub fn check(&self, own_cluster: bool) -> Result<()> {
        if self.rootless && self.mode != Mode::ClusterBuildkit {
            bail!("--rootless is for --mode cluster-buildkit");
        }
        if self.in_cluster_registry && self.mode == Mode::LocalDocker {
            bail!(
                "--in-cluster-registry is for modes that build in the cluster: a local daemon does not reach it"
            );
        }
        if self.pull_secret.as_ref().is_some_and(|secret| !secret.contains('/')) {
            bail!("--pull-secret is NAMESPACE/NAME");
        }
        if own_cluster && self.registry.is_none() && !self.in_cluster_registry {
            let installed = if self.project { "" } else { ", or one in the cluster: --in-cluster-registry" };
            bail!(
                "this cluster needs a registry to push to: --registry HOST[:PORT]/NAMESPACE [--insecure] \
                 [--pull-secret NAMESPACE/NAME]{installed}; or unset KUBECONFIG to use a cluster made here"
            );
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn check(line: &str, own_cluster: bool) -> Result<()> {
        let words = ["demo"].into_iter().chain(line.split_whitespace());
        Command::try_parse_from(words).expect("options").options.check(own_cluster)
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_before_anything_is_built() {
        for line in ["--rootless", "--mode local-docker --in-cluster-registry", "--pull-secret name"] {
            check(line, false).expect_err(line);
        }
        for line in ["", "--project", "--mode cluster-buildkit --rootless", "--in-cluster-registry"] {
            check(line, false).expect(line);
        }
        for line in ["", "--project", "--mode local-docker"] {
            let error = check(line, true).expect_err(line);
            assert!(error.to_string().contains("--registry"), "{error}");
        }
        for line in ["--in-cluster-registry", "--registry host/path", "--project --registry host/path"] {
            check(line, true).expect(line);
        }
    }
}
