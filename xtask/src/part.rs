//! What a testbed consists of, besides the cluster itself.
//!
//! Why: docs/decisions/81-a-demo-needs-what-its-mode-needs.md

use garden_test_programs::{Module, Program};

use crate::programs;

/// A part of a testbed that not everybody needs: each costs minutes on a machine that has not built it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The images of the kaniko executor.
    Kaniko,
    /// The images of a `BuildKit` daemon, with and without privileges.
    Buildkit,
    /// The image of a Docker daemon.
    ClusterDocker,
    /// A Docker daemon on the node, as on a developer's machine.
    LocalDocker,
    /// Debian's Docker daemon on the node, which is old.
    OldDocker,
    /// The `docker` command.
    DockerCommand,
}

impl Part {
    /// What tests need.
    pub const ALL: [Self; 6] = [
        Self::Kaniko,
        Self::Buildkit,
        Self::ClusterDocker,
        Self::LocalDocker,
        Self::OldDocker,
        Self::DockerCommand,
    ];

    /// What the part is called in the note of what a running testbed consists of.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kaniko => "kaniko",
            Self::Buildkit => "buildkit",
            Self::ClusterDocker => "cluster-docker",
            Self::LocalDocker => "local-docker",
            Self::OldDocker => "old-docker",
            Self::DockerCommand => "docker-command",
        }
    }

    /// The Go programs that it is made of.
    pub fn modules(self) -> &'static [Module] {
        match self {
            Self::Kaniko => &[programs::KANIKO],
            Self::Buildkit => &[programs::BUILDKIT],
            Self::ClusterDocker => &[programs::DOCKER, programs::DOCKER_CLI],
            Self::LocalDocker => &[programs::DOCKER],
            Self::OldDocker => &[],
            Self::DockerCommand => &[programs::DOCKER_CLI],
        }
    }

    /// The Debian packages that are installed for it.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Buildkit => &["rootlesskit", "uidmap"],
            _ => &[],
        }
    }

    /// The Debian packages that are unpacked for it, and not installed.
    pub fn unpacked(self) -> &'static [&'static str] {
        match self {
            Self::ClusterDocker => &["tini"],
            Self::OldDocker => &["docker.io"],
            _ => &[],
        }
    }
}

/// Programs that tests start themselves, and the Debian packages that bring them where they are missing: package, and the
/// program's path in it.
pub const PROGRAMS_OF_TESTS: [(Program, &str, &str); 4] = [
    (Program::Busybox, "busybox-static", "bin/busybox"),
    (Program::DockerRegistry, "docker-registry", "usr/bin/docker-registry"),
    (Program::Tinyproxy, "tinyproxy-bin", "usr/bin/tinyproxy"),
    (Program::Microsocks, "microsocks", "usr/bin/microsocks"),
];
