//! The Go programs: built once from their pinned modules, then found in a cache.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::progress::step;
use super::state::State;

/// One `go.mod` below `testbed/tools`: the graphs of the tools disagree with each other.
struct Tool {
    name: &'static str,
    packages: &'static [&'static str],
    build_tags: &'static str,
    linker_flags: &'static str,
    /// Roughly, on two cores; said before a build so that nobody thinks it hangs.
    first_build_minutes: u32,
}

/// What a testbed is made of.
const TOOLS: &[Tool] = &[
    Tool {
        name: "kubernetes",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
        ],
        build_tags: "",
        // Without the stamp, the node reports v0.0.0-master.
        linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4",
        first_build_minutes: 8,
    },
    Tool {
        name: "coredns",
        packages: &["github.com/coredns/coredns"],
        build_tags: "",
        linker_flags: "-s -w",
        first_build_minutes: 2,
    },
    Tool {
        name: "kaniko",
        packages: &["github.com/GoogleContainerTools/kaniko/cmd/executor"],
        build_tags: "",
        linker_flags: "-s -w",
        first_build_minutes: 2,
    },
    Tool {
        name: "buildkit",
        packages: &["github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl"],
        // As its Dockerfile: the daemon says who it is, and has its seccomp profile.
        build_tags: "osusergo netgo static_build seccomp",
        linker_flags: "-s -w -X github.com/moby/buildkit/version.Version=v0.26.3 \
                       -X github.com/moby/buildkit/version.Revision=c70e8e666f8f6ee3c0d83b20c338be5aedeaa97a",
        first_build_minutes: 2,
    },
    Tool {
        name: "docker",
        packages: &["github.com/docker/docker/cmd/dockerd", "github.com/docker/docker/cmd/docker-proxy"],
        build_tags: "osusergo netgo static_build",
        linker_flags: "-s -w -X github.com/docker/docker/dockerversion.Version=28.5.2 \
                       -X github.com/docker/docker/dockerversion.GitCommit=89c5e8f",
        first_build_minutes: 2,
    },
    Tool {
        name: "docker-cli",
        packages: &["github.com/docker/cli/cmd/docker"],
        build_tags: "osusergo netgo",
        linker_flags: "-s -w -X github.com/docker/cli/cli/version.Version=28.5.2",
        first_build_minutes: 1,
    },
];

/// What benchmarks compare with, or need besides. No testbed needs them, so none waits for them.
const PEERS: &[Tool] = &[
    Tool {
        name: "buildx",
        packages: &["github.com/docker/buildx/cmd/buildx"],
        build_tags: "",
        linker_flags: "-s -w -X github.com/docker/buildx/version.Version=v0.30.1",
        first_build_minutes: 2,
    },
    Tool {
        name: "crane",
        packages: &["github.com/google/go-containerregistry/cmd/crane"],
        build_tags: "",
        linker_flags: "-s -w -X github.com/google/go-containerregistry/cmd/crane/cmd.Version=v0.21.6",
        first_build_minutes: 1,
    },
    Tool {
        name: "distribution",
        packages: &["github.com/distribution/distribution/v3/cmd/registry"],
        build_tags: "",
        linker_flags: "-s -w",
        first_build_minutes: 2,
    },
];

/// Where each built program lies, and what they were all built from.
#[derive(Debug)]
pub(super) struct Programs {
    paths: BTreeMap<String, PathBuf>,
    /// Changes exactly when one of the pins changes.
    pub(super) fingerprint: String,
}

impl Programs {
    pub(super) fn path(&self, program: &str) -> Result<PathBuf> {
        self.paths.get(program).cloned().with_context(|| format!("no tool builds {program}"))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.values().map(PathBuf::as_path)
    }
}

/// Builds what the cache lacks of the testbed's programs. Takes minutes the first time, nothing later.
pub(super) fn build() -> Result<Programs> {
    build_all(TOOLS)
}

/// Does the same with the programs of [`PEERS`].
pub(super) fn build_peers() -> Result<Programs> {
    build_all(PEERS)
}

/// Does the same with one of them.
pub(super) fn build_peer(program: &str) -> Result<Programs> {
    build_all(PEERS.iter().filter(|tool| tool.packages.iter().any(|package| name(package) == program)))
}

/// Returns where a program lies that a running testbed was made of, which may have other pins than
/// this source.
pub(super) fn running(state: &State, program: &str) -> Result<PathBuf> {
    let fingerprint = fs::read_to_string(state.ready_marker()).context("reading the testbed's pins")?;
    let bin = cache_directory()?.join("bin");
    let path = fingerprint.lines().map(|tool| bin.join(tool).join(program)).find(|path| path.exists());
    path.with_context(|| format!("{program} is not in {}: run `cargo xtask testbed up`", bin.display()))
}

fn build_all<'a>(tools: impl IntoIterator<Item = &'a Tool>) -> Result<Programs> {
    let go_version = go_version()?;
    remove_partial_builds()?;
    let mut programs = Programs { paths: BTreeMap::new(), fingerprint: String::new() };
    for tool in tools {
        let source = sources().join(tool.name);
        let key = cache_key(
            &fs::read(source.join("go.mod")).with_context(|| format!("reading the pin of {}", tool.name))?,
            &fs::read(source.join("go.sum"))?,
            format!("{} {} {}", tool.packages.join(" "), tool.linker_flags, tool.build_tags).trim_end(),
            &go_version,
        );
        let directory = cache_directory()?.join("bin").join(format!("{}-{key}", tool.name));
        if !directory.is_dir() {
            let what = format!(
                "building {} with {go_version} (about {} minutes the first time)",
                tool.name, tool.first_build_minutes
            );
            step(&what, || build_into(tool, &source, &directory))?;
        }
        for package in tool.packages {
            programs.paths.insert(name(package).to_owned(), directory.join(name(package)));
        }
        writeln!(programs.fingerprint, "{}-{key}", tool.name)?;
    }
    Ok(programs)
}

/// Returns what Go calls the program of a package.
fn name(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// What a build that was killed has left. Nobody else builds: the caller holds the lock.
fn remove_partial_builds() -> Result<()> {
    let Ok(entries) = fs::read_dir(cache_directory()?.join("bin")) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".building-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// What outlives a testbed: programs and image archives.
pub(super) fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("GARDEN_TESTBED_CACHE") {
        return Ok(std::path::absolute(PathBuf::from(directory))?);
    }
    let user_cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither GARDEN_TESTBED_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    Ok(user_cache.join("garden-build/testbed"))
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/tools")
}

/// The directory appears under its final name only when it is complete, so an
/// interrupted build is never mistaken for a finished one.
fn build_into(tool: &Tool, source: &Path, directory: &Path) -> Result<()> {
    let parent = directory.parent().context("the cache directory has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let partial = tempfile::Builder::new().prefix(".building-").tempdir_in(parent)?;
    let status = Command::new("go")
        .current_dir(source)
        .args(["build", "-trimpath", "-ldflags", tool.linker_flags, "-tags", tool.build_tags, "-o"])
        .arg(partial.path())
        .args(tool.packages)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly")
        .status()
        .context("starting go")?;
    if !status.success() {
        bail!("go build of {} failed ({status})", tool.name);
    }
    fs::rename(partial.keep(), directory)?;
    Ok(())
}

/// Asked inside a tool's directory, where a toolchain line of its go.mod would count.
fn go_version() -> Result<String> {
    let output =
        Command::new("go").args(["env", "GOVERSION"]).current_dir(sources().join("kubernetes")).output()?;
    if !output.status.success() {
        bail!("`go env GOVERSION` failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cache_key(go_mod: &[u8], go_sum: &[u8], flags: &str, go_version: &str) -> String {
    short_hash(&[go_mod, go_sum, flags.as_bytes(), go_version.as_bytes()])
}

/// Hashes parts framed by their lengths, so that moving a byte from one to the next shows.
pub(super) fn short_hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())[..16].to_owned()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_pin_changes_the_cache_key() {
        let key = cache_key(b"mod", b"sum", "flags", "go1");
        assert_eq!(key, cache_key(b"mod", b"sum", "flags", "go1"));
        for other in [
            cache_key(b"mod2", b"sum", "flags", "go1"),
            cache_key(b"mod", b"sum2", "flags", "go1"),
            cache_key(b"mod", b"sum", "flags2", "go1"),
            cache_key(b"mod", b"sum", "flags", "go2"),
            cache_key(b"mods", b"um", "flags", "go1"),
        ] {
            assert_ne!(key, other);
        }
    }
}
