//! Docker daemons: those of the testbed, and a test's own.

use std::fs;
use std::ops::Not as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use garden_build::Builder;
use garden_build::config::BuildMode;
use garden_build::docker::DockerDaemon;
use tempfile::TempDir;

use crate::site::PATIENCE;
use crate::site::{Project, variable};

/// The testbed's daemon.
pub(crate) fn shared() -> DockerDaemon {
    DockerDaemon::at(&variable("GARDEN_TEST_DOCKER_HOST")).unwrap()
}

/// The testbed's daemon of years ago.
pub(crate) fn old() -> DockerDaemon {
    DockerDaemon::at(&variable("GARDEN_TEST_DOCKER_HOST_OLD")).unwrap()
}

impl Project {
    /// A builder of the mode local-docker, on `daemon`.
    pub(crate) fn builder_on(&mut self, daemon: &DockerDaemon) -> Builder {
        self.provider.build_mode = BuildMode::LocalDocker;
        Builder::options(self.provider.clone())
            .client(self.client.clone())
            .docker(daemon.clone())
            .connect()
            .unwrap()
    }
}

/// A Docker daemon of the test's own.
pub(crate) struct Daemon {
    process: Child,
    directory: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Daemon {
    /// Starts one, and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&variable("GARDEN_TEST_DOCKERD"), TempDir::new().unwrap(), &[]).await
    }

    /// Starts `program` with further arguments, and its data in `directory`.
    pub(crate) async fn start_with(program: &str, directory: TempDir, arguments: &[&str]) -> Self {
        let program = PathBuf::from(program);
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = spawn(&program, directory.path(), &arguments);
        let daemon = Self { process, directory, program, arguments };
        daemon.wait().await;
        daemon
    }

    async fn wait(&self) {
        let started = Instant::now();
        loop {
            // Anew each time: a client remembers what the daemon is.
            let Err(error) = self.client().platform().await else { return };
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "{error}\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn client(&self) -> DockerDaemon {
        DockerDaemon::at(&format!("unix://{}", self.path("socket").display())).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Kills the daemon.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after it was killed.
    pub(crate) async fn start_again(&mut self) {
        let _ = fs::remove_file(self.path("pid"));
        self.process = spawn(&self.program, self.directory.path(), &self.arguments);
        self.wait().await;
    }
}

fn spawn(program: &Path, directory: &Path, arguments: &[String]) -> Child {
    let path = |name: &str| directory.join(name);
    let log = fs::OpenOptions::new().create(true).append(true).open(path("log")).unwrap();
    // It finds its proxy beside itself, and containerd and runc where the testbed has them.
    let beside = program.parent().unwrap().display();
    let others = variable("GARDEN_TEST_CONTAINERD_PROGRAMS");
    let programs = format!("{beside}:{others}:{}", std::env::var("PATH").unwrap_or_default());
    let has_root = arguments.iter().any(|argument| argument.starts_with("--data-root"));
    Command::new(program)
        .env("PATH", programs)
        .args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--userland-proxy=false",
            "--storage-driver=vfs",
        ])
        .arg(format!("--insecure-registry={}", variable("GARDEN_TEST_REGISTRY")))
        .arg(format!("--insecure-registry={}", variable("GARDEN_TEST_REGISTRY_BASIC")))
        .arg(format!("--host=unix://{}", path("socket").display()))
        .args(has_root.not().then(|| format!("--data-root={}", path("data").display())))
        .arg("--exec-root")
        .arg(path("exec"))
        .arg("--pidfile")
        .arg(path("pid"))
        .args(arguments)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("a Docker daemon")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It stops its own containerd, which a SIGKILL would leave behind.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
