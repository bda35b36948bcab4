//! The peer: `docker build` and `docker push`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

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
        Ok(Built::by_peer(built.and_then(pushed), clock.seconds()))
    }

    /// Returns what the command prints.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
