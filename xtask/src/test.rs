//! `cargo xtask test`: every check and every test, the end-to-end ones included.

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{conformance, schema, testbed};

/// Builds at once in the end-to-end tests. They wait for the cluster most of the time.
const END_TO_END_THREADS: &str = "--test-threads=4";

/// What the core crate must never link, so that it stays quick to build and free of networks.
const NOT_IN_CORE: [&str; 4] = ["kube", "hyper", "tonic", "reqwest"];

pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    testbed::check()?;
    cargo("formatting", &["fmt", "--all", "--check"])?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // Cargo leaves targets that need a cluster out of --all-targets.
    cargo("lints of the end-to-end tests", &["clippy", "--test", "e2e", "--", "-D", "warnings"])?;
    documentation()?;
    dependency_rules()?;
    announce("JSON Schema");
    schema::check()?;
    unit_tests()?;
    end_to_end()?;
    println!("\nall checks and tests passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn unit_tests() -> Result<()> {
    let what = "unit and integration tests";
    announce(what);
    let mut command = command(&["test", "--workspace"]);
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = testbed::program_directories()?.into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(directories)?);
    succeed(&mut command, what)
}

fn documentation() -> Result<()> {
    announce("documentation");
    let mut command = command(&["doc", "--workspace", "--no-deps"]);
    succeed(command.env("RUSTDOCFLAGS", "-D warnings"), "documentation")
}

/// Checks what the design says of the dependency graph and the compiler cannot.
fn dependency_rules() -> Result<()> {
    announce("dependency rules");
    let core = dependencies(&["--package", "garden-build-core"])?;
    for forbidden in NOT_IN_CORE {
        if core.iter().any(|name| name == forbidden) {
            bail!("garden-build-core must not link {forbidden}: see ARCHITECTURE.md");
        }
    }
    // Two providers of cryptography in one graph make rustls refuse to choose, at run time.
    if dependencies(&["--workspace"])?.iter().any(|name| name == "ring") {
        bail!("the graph links ring besides aws-lc-rs: switch off the feature that brings it");
    }
    Ok(())
}

fn dependencies(selection: &[&str]) -> Result<Vec<String>> {
    let mut command = command(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{lib}"]);
    let output = command.args(selection).output().context("running cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn end_to_end() -> Result<()> {
    announce("end-to-end tests");
    conformance::forget()?;
    let was_running = testbed::is_running();
    let environment = testbed::up()?;
    let published =
        environment.variables.get("GARDEN_TEST_REGISTRY").map(|host| format!("{host}/published/app"));
    let published = published.unwrap_or_default();
    let tested = [
        vec!["test", "--test", "e2e", "--", END_TO_END_THREADS],
        vec!["run", "--quiet", "--example", "plan"],
        vec!["run", "--quiet", "--example", "quickstart"],
        vec!["run", "--quiet", "--example", "cluster_init", "--", testbed::registry_image()],
        vec!["run", "--quiet", "--example", "cleanup"],
        vec!["run", "--quiet", "--example", "publish", "--", &published, "1.0-${module.hash}"],
    ]
    .iter()
    // The examples name the testbed's registry; another cluster has its own.
    .take(if environment.owned { usize::MAX } else { 1 })
    .try_for_each(|arguments| {
        succeed(command(arguments).envs(&environment.variables), &format!("cargo {}", arguments.join(" ")))
    });
    // A testbed that an earlier, killed run of CI left behind is nobody's.
    let keep = was_running && env::var_os("CI").is_none();
    let stopped = if environment.owned && !keep { testbed::down() } else { Ok(()) };
    tested.and(stopped)?;
    announce("what the README says of each build mode");
    conformance::check()
}

fn cargo(what: &str, arguments: &[&str]) -> Result<()> {
    announce(what);
    succeed(&mut command(arguments), what)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("running {what}"))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

fn announce(what: &str) {
    println!("\n=== {what}");
}
