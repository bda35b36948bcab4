//! The Go programs of a testbed and of the benches: built once from their pinned modules, then found in a cache.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use garden_test_programs::{DISTRIBUTION, Go, Module};

use crate::part::Part;

/// The components of a cluster, all in one program, and its DNS: see `testbed/tools/kubernetes`.
pub const KUBERNETES: Module = Module {
    name: "kubernetes",
    packages: &[".", "./coredns"],
    build_tags: "",
    // Without the stamp, the node reports v0.0.0-master.
    linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4",
    cgo: false,
};

/// What runs the containers of the node, and its command. Debian's is too old for user namespaces of pods.
pub const CONTAINERD: Module = Module {
    name: "containerd",
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
    build_tags: "",
    linker_flags: "-s -w -X github.com/containerd/containerd/v2/version.Version=v2.2.9",
    cgo: false,
};

/// What it starts each of them with. Debian's is too old in the same way.
pub const RUNC: Module = Module {
    name: "runc",
    packages: &["github.com/opencontainers/runc"],
    build_tags: "seccomp",
    linker_flags: "-s -w",
    // It enters namespaces before Go's own threads start, in C.
    cgo: true,
};

/// The kaniko executor.
pub const KANIKO: Module = Module {
    name: "kaniko",
    packages: &["github.com/GoogleContainerTools/kaniko/cmd/executor"],
    build_tags: "",
    linker_flags: "-s -w",
    cgo: false,
};

/// `BuildKit`'s daemon and its command.
pub const BUILDKIT: Module = Module {
    name: "buildkit",
    packages: &["github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl"],
    // As its Dockerfile: the daemon says who it is, and has its seccomp profile.
    build_tags: "osusergo netgo static_build seccomp",
    linker_flags: "-s -w -X github.com/moby/buildkit/version.Version=v0.26.3 \
                   -X github.com/moby/buildkit/version.Revision=c70e8e666f8f6ee3c0d83b20c338be5aedeaa97a",
    cgo: false,
};

/// The Docker daemon.
pub const DOCKER: Module = Module {
    name: "docker",
    packages: &["github.com/docker/docker/cmd/dockerd", "github.com/docker/docker/cmd/docker-proxy"],
    build_tags: "osusergo netgo static_build",
    linker_flags: "-s -w -X github.com/docker/docker/dockerversion.Version=28.5.2 \
                   -X github.com/docker/docker/dockerversion.GitCommit=89c5e8f",
    cgo: false,
};

/// The `docker` command.
pub const DOCKER_CLI: Module = Module {
    name: "docker-cli",
    packages: &["github.com/docker/cli/cmd/docker"],
    build_tags: "osusergo netgo",
    linker_flags: "-s -w -X github.com/docker/cli/cli/version.Version=28.5.2",
    cgo: false,
};

/// What benchmarks compare with, or need besides. No testbed needs them, so none waits for them.
const PEERS: [Module; 3] = [
    Module {
        name: "buildx",
        packages: &["github.com/docker/buildx/cmd/buildx"],
        build_tags: "",
        linker_flags: "-s -w -X github.com/docker/buildx/version.Version=v0.30.1",
        cgo: false,
    },
    Module {
        name: "crane",
        packages: &["github.com/google/go-containerregistry/cmd/crane"],
        build_tags: "",
        linker_flags: "-s -w -X github.com/google/go-containerregistry/cmd/crane/cmd.Version=v0.21.6",
        cgo: false,
    },
    DISTRIBUTION,
];

/// Roughly, on two cores that do nothing else; said before a build so that nobody thinks it hangs.
const FIRST_BUILD_MINUTES: [(&str, u32); 10] = [
    ("buildkit", 2),
    ("buildx", 2),
    ("containerd", 2),
    ("crane", 1),
    ("distribution", 2),
    ("docker", 2),
    ("docker-cli", 1),
    ("kaniko", 2),
    ("kubernetes", 7),
    ("runc", 1),
];

/// Where each built program lies, and what they were all built from.
#[derive(Debug, Default)]
pub struct Programs {
    paths: BTreeMap<String, PathBuf>,
    /// A line for each module, which changes exactly when its pin does.
    pub fingerprint: String,
}

impl Programs {
    /// Returns where a program lies.
    ///
    /// # Errors
    ///
    /// Fails if it is not one of these programs.
    pub fn path(&self, program: &str) -> Result<PathBuf> {
        self.paths.get(program).cloned().with_context(|| format!("no module builds {program}"))
    }

    /// Returns where all of them lie.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.values().map(PathBuf::as_path)
    }
}

/// The modules of a testbed with `parts`, each once, the one that takes longest first.
pub fn modules(parts: &[Part]) -> Vec<Module> {
    let mut modules = vec![KUBERNETES, CONTAINERD, RUNC];
    for module in parts.iter().flat_map(|part| part.modules()) {
        if !modules.iter().any(|known| known.name == module.name) {
            modules.push(*module);
        }
    }
    modules
}

/// Builds what the cache lacks of the programs of a testbed with `parts`. Takes minutes the first time, nothing later.
///
/// # Errors
///
/// Fails if a program cannot be built.
pub fn build(parts: &[Part]) -> Result<Programs> {
    build_all(&modules(parts))
}

/// Does the same with what benchmarks compare with.
///
/// # Errors
///
/// Fails if a program cannot be built.
pub fn build_peers() -> Result<Programs> {
    build_all(&PEERS)
}

/// Does the same with one of them.
///
/// # Errors
///
/// Fails if it cannot be built.
pub fn build_peer(program: &str) -> Result<Programs> {
    let of = PEERS.into_iter().filter(|module| module.programs().any(|name| name == program));
    build_all(&of.collect::<Vec<_>>())
}

fn build_all(modules: &[Module]) -> Result<Programs> {
    let mut programs = Programs::default();
    for module in modules {
        let directory = build_module(module)?;
        for program in module.programs() {
            programs.paths.insert(program.to_owned(), directory.join(program));
        }
        let line = directory.file_name().unwrap_or_default().to_string_lossy();
        writeln!(programs.fingerprint, "{line}")?;
    }
    Ok(programs)
}

/// Builds the programs of one module if the cache lacks them, and returns their directory.
///
/// # Errors
///
/// Fails if they cannot be built.
pub fn build_module(module: &Module) -> Result<PathBuf> {
    let mut started = None;
    let announce = || {
        let minutes = FIRST_BUILD_MINUTES.iter().find(|(name, _)| *name == module.name);
        let first_time = minutes.map_or_else(String::new, |(_, minutes)| {
            format!(" (about {minutes} {} the first time)", if *minutes == 1 { "minute" } else { "minutes" })
        });
        println!("building {}{first_time} …", module.name);
        started = Some(Instant::now());
    };
    let directory = Go::on_path()?.build_announced(module, announce);
    let directory = directory.with_context(|| format!("building {}", module.name))?;
    if let Some(started) = started {
        println!("  building {}: done in {:.1} s", module.name, started.elapsed().as_secs_f64());
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_builds_what_it_needs_and_no_more() {
        let names = |parts: &[Part]| modules(parts).iter().map(|module| module.name).collect::<Vec<_>>();
        assert_eq!(names(&[Part::Kaniko]), ["kubernetes", "containerd", "runc", "kaniko"]);
        assert_eq!(names(&[Part::LocalDocker]), ["kubernetes", "containerd", "runc", "docker"]);
        let all = ["kubernetes", "containerd", "runc", "kaniko", "buildkit", "docker", "docker-cli"];
        assert_eq!(names(&Part::ALL), all);
    }
}
