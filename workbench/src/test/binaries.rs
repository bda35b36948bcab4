//! Compiles everything that is run, once, and runs the test programs side by side.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use xtask::machine;

use super::run::{Ended, run_to_end};

/// Test programs that run at once. Many of their tests wait, for a registry or for a clock.
const AT_ONCE: usize = 3;

/// The tests of real registries, of which many wait for what a client waits for: as many threads as processors would idle.
const REAL_REGISTRIES: (&str, &str) = ("garden-registry real", "--test-threads=8");

/// A program that cargo has made.
#[derive(Debug)]
pub(super) struct Binary {
    /// The package and the target.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The package's directory, in which cargo runs its tests.
    directory: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Test,
    EndToEnd,
    Example,
    Program,
}

/// A line that cargo prints about what it has made.
#[derive(Debug, Deserialize)]
struct Artifact {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Compiles all tests and examples, the end-to-end tests too.
pub(super) fn compile() -> Result<()> {
    all().map(drop)
}

/// Runs all tests but the end-to-end ones.
pub(super) fn unit_and_integration_tests() -> Result<()> {
    let path = path_of_tests()?;
    let mut binaries = all()?;
    binaries.retain(|binary| binary.kind == Kind::Test);
    // Those of the real registries take longest, and are to be among the first.
    binaries.sort_by_key(|binary| binary.name != REAL_REGISTRIES.0);
    let queue = Mutex::new(VecDeque::from(binaries));
    let failures = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().map_err(|_| anyhow!("a test's thread panicked"))?.pop_front();
            let Some(binary) = next else { return Ok(()) };
            let mut command = binary.command();
            if binary.name == REAL_REGISTRIES.0 {
                command.arg(REAL_REGISTRIES.1);
            }
            // Here no test may be left out for want of a program.
            command.env("PATH", &path).env("GARDEN_TEST_LEAVE_OUT", "nothing");
            if let Err(error) = report(&binary, &run_to_end(&mut command, false)?) {
                println!("{error:#}");
                failures.lock().map_err(|_| anyhow!("a test's thread panicked"))?.push(binary.name);
            }
        }
    };
    thread::scope(|scope| {
        let workers = [(); AT_ONCE].map(|()| scope.spawn(work));
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let failures = failures.into_inner().map_err(|_| anyhow!("a test's thread panicked"))?;
    if !failures.is_empty() {
        bail!("tests failed: {}", failures.join(", "));
    }
    Ok(())
}

/// Returns a `PATH` with all programs that tests start.
pub(super) fn path_of_tests() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = machine::directories_of_tests_programs()?.into_iter().chain(env::split_paths(&path));
    Ok(env::join_paths(directories)?)
}

/// Returns the program of the end-to-end tests.
pub(super) fn end_to_end() -> Result<Binary> {
    let found = all()?.into_iter().find(|binary| binary.kind == Kind::EndToEnd);
    found.context("cargo has made no program of the end-to-end tests")
}

/// Returns the program of an example.
pub(super) fn example(name: &str) -> Result<Binary> {
    find(Kind::Example, name)
}

/// Returns the program of a package that has tests of it: cargo makes it for them.
pub(super) fn program(name: &str) -> Result<Binary> {
    find(Kind::Program, name)
}

fn find(kind: Kind, name: &str) -> Result<Binary> {
    let is_it =
        |binary: &Binary| binary.kind == kind && binary.path.file_stem().is_some_and(|stem| stem == name);
    all()?.into_iter().find(is_it).with_context(|| format!("cargo has made no program {name}"))
}

impl Binary {
    /// As cargo runs it. Without backtraces: those of async tests name the runtime, and what says why is lost among them.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.directory).env("CARGO_MANIFEST_DIR", &self.directory);
        command.env("RUST_BACKTRACE", "0");
        command
    }
}

/// Says how the tests of a program have ended. If they failed, the error has what the failed ones have printed.
pub(super) fn report(binary: &Binary, ended: &Ended) -> Result<()> {
    if let Some(hung) = &ended.hung {
        bail!(
            "{}{} was killed: it said nothing for {} s, while these ran: {hung}",
            ended.not_shown(),
            binary.name,
            super::run::PATIENCE.as_secs()
        );
    }
    if !ended.success {
        bail!("{}{}{} FAILED", ended.not_shown(), ended.failures(), binary.name);
    }
    println!("{:>6.1} s  {}: {}", ended.took.as_secs_f64(), binary.name, ended.result());
    Ok(())
}

/// Compiles what has changed, and returns all programs of tests and examples.
fn all() -> Result<Vec<Binary>> {
    let mut binaries = compiled(&["test", "--workspace", "--no-run"])?;
    // Cargo leaves what needs a cluster out, unless it is asked for by name.
    binaries.extend(compiled(&["test", "--workspace", "--no-run", "--test", "e2e"])?);
    Ok(binaries)
}

fn compiled(arguments: &[&str]) -> Result<Vec<Binary>> {
    let mut command = xtask::cargo::command(arguments.iter().copied());
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo test --no-run")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let lines = String::from_utf8(output.stdout)?;
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    Ok(artifacts.filter_map(binary).collect())
}

fn binary(artifact: Artifact) -> Option<Binary> {
    let (path, manifest, target) = (artifact.executable?, artifact.manifest_path?, artifact.target?);
    if artifact.reason != "compiler-artifact" {
        return None;
    }
    let directory = manifest.parent()?.to_owned();
    let of_kind = |kind: &str| target.kind.iter().any(|own| own == kind);
    let is_test = path.parent().and_then(Path::file_name).is_some_and(|name| name == "deps");
    let kind = match (target.name.as_str(), is_test) {
        ("e2e", true) => Kind::EndToEnd,
        // Cargo makes programs for the tests to start, besides.
        _ if of_kind("bin") && !is_test => Kind::Program,
        _ if of_kind("example") => Kind::Example,
        _ => Kind::Test,
    };
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let package = if target.kind == ["lib"] { package } else { format!("{package} {}", target.name) };
    Some(Binary { name: package, path, directory, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Binary> {
        binary(serde_json::from_str(line).expect("JSON"))
    }

    #[test]
    fn programs_are_told_apart_by_what_cargo_says_of_them() {
        let artifact = |name: &str, kind: &str, executable: &str| {
            of(&format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/garden-registry/Cargo.toml",
                "target":{{"name":"{name}","kind":["{kind}"]}},"executable":{executable}}}"#
            ))
        };
        let real = artifact("real", "test", r#""/t/debug/deps/real-1f""#).expect("a test");
        assert_eq!((real.name.as_str(), real.kind), ("garden-registry real", Kind::Test));
        assert_eq!(real.directory, Path::new("/w/crates/garden-registry"));
        let unit = artifact("garden_registry", "lib", r#""/t/debug/deps/garden_registry-1f""#);
        assert_eq!(unit.expect("tests").name, "garden-registry");
        assert_eq!(artifact("e2e", "test", r#""/t/debug/deps/e2e-1f""#).expect("tests").kind, Kind::EndToEnd);
        let plan = artifact("plan", "example", r#""/t/debug/examples/plan""#);
        assert_eq!(plan.expect("an example").kind, Kind::Example);
        let program = artifact("xtask", "bin", r#""/t/debug/xtask""#);
        assert_eq!(program.expect("a program").kind, Kind::Program);
        assert!(artifact("garden_registry", "lib", "null").is_none());
    }
}
