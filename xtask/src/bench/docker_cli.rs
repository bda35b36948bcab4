//! The peer: `docker build` and `docker push`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::buildx;
use super::contest::{Built, ContextClock, Request};
use super::process::{self, Reports};

/// The command, in an environment in which it finds its plug-in and its daemon.
#[derive(Debug)]
pub(super) struct DockerCli {
    pub(super) program: PathBuf,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// Registry and namespace, before the name of each repository.
    pub(super) prefix: String,
    pub(super) is_classic: bool,
}

impl DockerCli {
    /// Builds and pushes: two processes, as with any script.
    pub(super) fn build(&self, request: &Request) -> Result<Built> {
        let image = format!("{}/{}:{}", self.prefix, request.repository, request.tag);
        let mut command = self.command();
        command.args(["build", "--tag", &image]);
        if !self.is_classic {
            // Ours makes no provenance.
            command.args(["--progress", "rawjson", "--provenance=false"]);
        }
        command.arg(&request.directory);
        let mut clock = ContextClock::default();
        let built = process::run(&mut command, b"", Reports::OnErrors, |line| {
            buildx::read_progress(line, &mut clock);
        })?;
        let pushed = process::run(self.command().args(["push", &image]), b"", Reports::OnErrors, |_| ())?;
        Ok(Built {
            needed: built.and_then(pushed),
            in_process: None,
            context: clock.seconds(),
            asked_for_context: None,
        })
    }

    /// Returns what the command prints.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output().context("starting docker")?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("docker {} failed: {}", arguments.join(" "), errors.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
