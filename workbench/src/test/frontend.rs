//! The front end, as the program that it is, against the testbed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use garden_build::{BuiltImage, ErrorKind, Event, Outcome, Published, Status};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::binaries::{self, Binary};
use super::examples::unique;
use crate::testbed::Environment;

/// A base image that the testbed's registry has.
const BASE: &str = "busybox:1.36";

struct Frontend<'a> {
    program: Binary,
    environment: &'a Environment,
}

pub(super) fn run(environment: &Environment) -> Result<()> {
    let frontend = Frontend { program: binaries::program("garden-build-frontend")?, environment };
    for project_environment in ["testbed", "testbed-buildkit"] {
        println!("--- example frontend with {project_environment}");
        frontend.builds(project_environment)?;
        frontend.fails(project_environment)?;
        frontend.is_cancelled(project_environment)?;
    }
    let registry = environment.variables.get("GARDEN_TEST_REGISTRY").map_or("", String::as_str);
    let name = format!("{registry}/published/frontend");
    let published: Published =
        frontend.result(&["publish", "app=examples/app", "--to", &name, "--tag", "1.0-${module.hash}"])?;
    ensure!(published.reference.tag().is_some_and(|tag| tag.starts_with("1.0-")), "{published:?}");
    let swept = frontend.command(&["sweep"]).output()?;
    ensure!(swept.status.success(), "{swept:?}");
    Ok(())
}

impl Frontend<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program.command();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
        command.current_dir(root).args(["--project", "examples/app"]).args(arguments);
        command.envs(&self.environment.variables);
        command
    }

    /// Returns what is the last line of its JSON.
    fn result<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let Output { status, stdout, stderr } = self.command(&[&["--json"], arguments].concat()).output()?;
        let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
        ensure!(status.success(), "{arguments:?}: {status}\n{stdout}{stderr}");
        let last = stdout.lines().last().context("it has printed nothing")?;
        let mut last: Value = serde_json::from_str(last)?;
        serde_json::from_value(last["result"].take()).with_context(|| format!("no result: {last}"))
    }

    /// The image is built once, and is there then.
    fn builds(&self, environment: &str) -> Result<()> {
        let release = format!("RELEASE={}", unique("frontend"));
        let verb = |verb| [verb, "frontend=examples/app", "--env", environment, "--build-arg", &release];
        let missing: Status = self.result(&verb("status"))?;
        ensure!(missing.existing.is_none(), "{missing:?}");
        let built: BuiltImage = self.result(&verb("build"))?;
        ensure!(matches!(built.outcome, Outcome::Built { .. }), "{built:?}");
        let unchanged: BuiltImage = self.result(&verb("build"))?;
        ensure!(
            unchanged.outcome == Outcome::AlreadyExists && unchanged.digest == built.digest,
            "{unchanged:?}"
        );
        let status: Status = self.result(&verb("status"))?;
        ensure!(status.existing == Some(built.digest), "{status:?}");
        Ok(())
    }

    /// A step that fails decides about the exit code, and what it has printed is there.
    fn fails(&self, environment: &str) -> Result<()> {
        let (_directory, image) = context("RUN echo it-$(echo gives)-up && exit 3")?;
        let output = self.command(&["build", &image, "--env", environment]).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(ErrorKind::BuildFailed.exit_code().into()), "{stderr}");
        ensure!(stderr.contains("error: ") && stderr.contains("it-gives-up"), "{stderr}");
        Ok(())
    }

    /// Ctrl-C in the middle of a step ends the program with its own code and leaves no pod of the build.
    fn is_cancelled(&self, environment: &str) -> Result<()> {
        let (_directory, image) = context("RUN echo now-$(echo it-sleeps) && sleep 600")?;
        let mut command = self.command(&["--json", "build", &image, "--env", environment]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let (mut build, mut while_it_ran) = (String::new(), None);
        for line in lines {
            match serde_json::from_str(&line?) {
                Ok(Event::BuildStarted { id, .. }) => build = id,
                Ok(Event::Log { line, .. }) if line.trim() == "now-it-sleeps" && while_it_ran.is_none() => {
                    while_it_ran = Some(self.pods_of(&build));
                    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process")?;
                    kill_process(id, Signal::INT)?;
                }
                _ => {}
            }
        }
        let status = child.wait()?;
        let pods = while_it_ran.with_context(|| format!("the step did not begin: {status}"))??;
        // A BuildKit daemon runs steps itself.
        ensure!(pods.is_empty() == (environment != "testbed"), "build {build} ran in {pods:?}");
        ensure!(status.code() == Some(ErrorKind::Cancelled.exit_code().into()), "{status}");
        let left = self.pods_of(&build)?;
        ensure!(left.is_empty(), "these pods are left: {left:?}");
        Ok(())
    }

    /// What is created for a build has its identifier in its name.
    fn pods_of(&self, build: &str) -> Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(&self.environment.variables["KUBECONFIG"])?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            let pods = Api::<Pod>::all(Client::try_from(config)?).list(&ListParams::default()).await?;
            let names = pods.items.into_iter().filter_map(|pod| pod.metadata.name);
            Ok(names.filter(|name| name.contains(build)).collect())
        })
    }
}

/// Makes a context whose Dockerfile has this step. Returns it with what names it on the command line.
fn context(step: &str) -> Result<(TempDir, String)> {
    let directory = TempDir::new()?;
    fs::write(directory.path().join("Dockerfile"), format!("FROM {BASE}\n{step}\n"))?;
    let image = format!("{}={}", unique("frontend"), directory.path().display());
    Ok((directory, image))
}
