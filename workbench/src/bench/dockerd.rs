//! A Docker daemon for one side, with its state in memory: on a disk, a bench would measure the disk.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use garden_build::docker::DockerDaemon;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::registry::directory_in_memory;

const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(100);

/// A daemon that knows nothing at first, and runs for as long as this lives.
#[derive(Debug)]
pub(super) struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    /// Starts `program`, which takes `registry` for one without TLS, and waits until it answers. containerd and runc are among
    /// `programs`.
    pub(super) fn start(program: &Path, programs: &Path, registry: &str, runtime: &Runtime) -> Result<Self> {
        let directory = directory_in_memory()?;
        let below = |name: &str| directory.path().join(name);
        let log = File::create(below("log"))?;
        let beside = program.parent().context("the daemon's program is in no directory")?.to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let process = Command::new(program)
            .env(
                "PATH",
                env::join_paths([beside, programs.to_owned()].into_iter().chain(env::split_paths(&path)))?,
            )
            // No step of what is built needs a network.
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"])
            .arg(format!("--insecure-registry={registry}"))
            .arg(format!("--host={}", host(&below("socket"))))
            .arg("--data-root")
            .arg(below("data"))
            .arg("--exec-root")
            .arg(below("run"))
            .arg("--pidfile")
            .arg(below("pid"))
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the bench, which then stops this one, after the build.
            .process_group(0)
            .spawn()
            .context("starting a Docker daemon")?;
        let mut daemon = Self { process, directory };
        daemon.wait(runtime)?;
        Ok(daemon)
    }

    fn wait(&mut self, runtime: &Runtime) -> Result<()> {
        let started = Instant::now();
        while let Err(error) = runtime.block_on(async { DockerDaemon::at(&self.host())?.platform().await }) {
            let ended = self.process.try_wait()?.is_some();
            if ended || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.path().join("log"))?;
                bail!("a Docker daemon, which only root can start, does not answer: {error}\n{log}");
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// The value of `DOCKER_HOST` by which it is reached.
    pub(super) fn host(&self) -> String {
        host(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

fn host(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It stops its containerd and takes down its mounts, which it would not do if it was killed.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}
