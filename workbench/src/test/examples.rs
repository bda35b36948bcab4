//! The examples, as the programs that they are, against the testbed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use xtask::cargo::{command, succeed};

use super::{binaries, frontend, guides};
use crate::testbed::{self, Environment};

/// Runs all of them. They name the testbed's registry; another cluster has its own.
pub(super) fn run(environment: &Environment) -> Result<()> {
    if !environment.owned {
        return Ok(());
    }
    let registry = environment.variables.get("GARDEN_TEST_REGISTRY").map_or("", String::as_str);
    let published = format!("{registry}/published/app");
    let runs: [(&str, &[&str]); 8] = [
        ("plan", &[]),
        ("quickstart", &[]),
        ("otel", &[]),
        ("harness", &[]),
        ("harness", &["testbed"]),
        ("cluster_init", &[testbed::registry_image()]),
        ("cleanup", &[]),
        ("publish", &[&published, "1.0-${module.hash}"]),
    ];
    for (name, arguments) in runs {
        println!("--- example {name} {}", arguments.join(" "));
        let mut example = binaries::example(name)?.command();
        succeed(example.args(arguments).envs(&environment.variables), &format!("the example {name}"))?;
    }
    println!("--- example service");
    let mut example = binaries::example("service")?.command();
    example.envs(&environment.variables);
    service(example).context("the example service")?;
    frontend::run(environment).context("the example frontend")?;
    testcontainers(environment).context("the example testcontainers")?;
    guides::run(environment).context("the programs of the guides")
}

/// Compiles and runs the example that is a workspace of its own, on the testbed's Docker daemon.
fn testcontainers(environment: &Environment) -> Result<()> {
    const MANIFEST: [&str; 2] = ["--manifest-path", "examples/testcontainers/Cargo.toml"];
    println!("--- example testcontainers");
    let mut formatting = command(["fmt", "--check"]);
    succeed(formatting.args(MANIFEST), "formatting")?;
    let variable = |name: &str| {
        environment.variables.get(name).with_context(|| format!("the testbed does not say {name}"))
    };
    let mut test = command(["test", "--locked"]);
    test.args(MANIFEST)
        .env("DOCKER_HOST", variable("GARDEN_TEST_DOCKER_HOST")?)
        .env("REGISTRY", variable("GARDEN_TEST_REGISTRY")?)
        .env("BASE_IMAGE", variable("GARDEN_TEST_BASE_IMAGE")?);
    succeed(&mut test, "its test")
}

/// Builds an image, follows a second build and cancels it, and ends the service while a third one runs.
fn service(command: Command) -> Result<()> {
    let service = Service::start(command)?;
    service.build("built")?;
    let events = service.ask("GET", "/builds/1/events", "", "200 OK")?;
    ensure!(events.contains("\"event\":\"stepFinished\"") && events.contains("event: end"), "{events}");
    let image = service.ask("GET", "/builds/1", "", "200 OK")?;
    ensure!(image.contains("\"digest\":\"sha256:"), "{image}");
    service.build("cancelled")?;
    service.ask("DELETE", "/builds/2", "", "204 No Content")?;
    service.ask("GET", "/builds/2", "", "409 Conflict")?;
    service.build("ended")?;
    service.stop()
}

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(mut command: Command) -> Result<Self> {
        command.env("ADDRESS", "127.0.0.1:0").stdout(Stdio::piped());
        let mut service = Self { child: command.spawn()?, address: String::new() };
        let output = service.child.stdout.take().context("it has no output")?;
        let line = BufReader::new(output).lines().next().context("it ended at once")??;
        line.strip_prefix("listening on http://")
            .context("it does not listen")?
            .clone_into(&mut service.address);
        Ok(service)
    }

    /// Builds an image that no build before has built.
    fn build(&self, name: &str) -> Result<()> {
        let wanted = json!({ "directory": "app", "name": unique(name) });
        self.ask("POST", "/builds", &wanted.to_string(), "202 Accepted").map(drop)
    }

    /// Returns the whole answer, which has to have this status.
    fn ask(&self, method: &str, path: &str, body: &str, status: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path}: {answer}");
        Ok(answer)
    }

    /// Ends it as Kubernetes ends a pod.
    fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("it has no process")?;
        kill_process(id, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a name that no earlier run had.
pub(super) fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}", now.as_nanos())
}
