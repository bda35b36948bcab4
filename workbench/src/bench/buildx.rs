//! The peer: `docker buildx` with its kubernetes driver.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;
use tempfile::TempDir;

use super::cluster::{CPU_LIMIT, Cluster, MEMORY_LIMIT_GIB, STATE_SIZE};
use super::contest::{Built, ContextClock, Request};
use super::process::{self, Reports};
use crate::testbed;

/// A builder instance of buildx.
#[derive(Debug)]
pub(super) struct Buildx {
    program: PathBuf,
    /// Its files, so that those of the user are neither used nor changed.
    configuration: TempDir,
    kubeconfig: PathBuf,
    registry: String,
    pub(super) namespace: String,
}

/// Takes a line of `--progress=rawjson`; others say nothing.
pub(super) fn read_progress(line: &str, clock: &mut ContextClock) {
    let Ok(status) = serde_json::from_str::<Status>(line) else { return };
    for vertex in status.vertexes {
        if let Some(started) = &vertex.started {
            clock.started(&vertex.name, started);
        }
        if vertex.completed.is_some() {
            clock.completed(&vertex.name);
        }
    }
}

/// Such a line: what the daemon reports.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    vertexes: Vec<Vertex>,
}

#[derive(Debug, Deserialize)]
struct Vertex {
    name: String,
    started: Option<String>,
    completed: Option<String>,
}

impl Buildx {
    pub(super) fn new(cluster: &Cluster, kubeconfig: PathBuf, namespace: String) -> Result<Self> {
        Ok(Self {
            program: testbed::peer("buildx")?,
            configuration: TempDir::new()?,
            kubeconfig,
            registry: cluster.variable("GARDEN_TEST_REGISTRY")?,
            namespace,
        })
    }

    /// Returns what a reader should know it by.
    pub(super) fn describe(&self) -> Result<String> {
        let printed = self.run(&["version"])?;
        let version = printed.split_whitespace().nth(1).unwrap_or_default();
        Ok(format!("docker buildx {}, kubernetes driver", version.trim_start_matches('v')))
    }

    /// Starts its daemon, of the same image and with the same resources as ours.
    pub(super) fn start(&self, cluster: &Cluster) -> Result<()> {
        let daemon = self.configuration.path().join("buildkitd.toml");
        fs::write(&daemon, format!("[registry.\"{}\"]\nhttp = true\n", self.registry))?;
        let driver_options = [
            format!("namespace={}", self.namespace),
            format!("image={}", cluster.variable("GARDEN_TEST_BUILDKIT_IMAGE")?),
            format!("buildkit-root-volume-memory={STATE_SIZE}"),
            "requests.cpu=50m".to_owned(),
            "requests.memory=64Mi".to_owned(),
            format!("limits.cpu={CPU_LIMIT}"),
            format!("limits.memory={MEMORY_LIMIT_GIB}Gi"),
        ];
        let daemon = daemon.to_string_lossy();
        let mut arguments = vec!["create", "--driver", "kubernetes", "--name", &self.namespace];
        arguments.extend(["--bootstrap", "--buildkitd-config", &daemon]);
        arguments.extend(driver_options.iter().flat_map(|option| ["--driver-opt", option]));
        self.run(&arguments).map(drop)
    }

    /// Removes the instance and its daemon.
    pub(super) fn remove(&self) -> Result<()> {
        self.run(&["rm", "--force", &self.namespace]).map(drop)
    }

    pub(super) fn build(&self, request: &Request) -> Result<Built> {
        let repository = format!("{}/{}/{}", self.registry, self.namespace, request.repository);
        let mut command = self.command();
        command
            .args(["build", "--builder", &self.namespace, "--progress", "rawjson"])
            // Ours makes none.
            .arg("--provenance=false")
            .arg(format!("--output=type=image,push=true,name={repository}:{}", request.tag));
        if request.registry_cache {
            let cache = format!("type=registry,ref={repository}:_buildcache");
            command.arg(format!("--cache-from={cache}"));
            // As ours writes it.
            command.arg(format!("--cache-to={cache},mode=max,ignore-error=true"));
        }
        command.arg(&request.directory);
        let mut clock = ContextClock::default();
        let needed =
            process::run(&mut command, b"", Reports::OnErrors, |line| read_progress(line, &mut clock))?;
        Ok(Built::by_peer(needed, clock.seconds()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("BUILDX_CONFIG", self.configuration.path())
            .env("DOCKER_CONFIG", self.configuration.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.command().args(arguments))
    }
}
