//! The scripts as they run in the registry's pod, with a program in the registry's place that records its arguments.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::in_cluster_registry::RegistrySettings;

/// How long anything may take on a busy machine.
const HANGS: Duration = Duration::from_secs(60);

const REGISTRY: &str = "#!/bin/sh
echo \"$1 ${2##*/}\" >>\"${0%/*}/../log\"
[ \"$1\" = serve ] || exit 0
trap 'exit 0' TERM
while :; do sleep 0.05; done
";

/// What a manifest is called here.
const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const PUSHED: u64 = 1_000;

/// The registry's container.
struct Container {
    directory: TempDir,
    supervisor: Child,
}

impl Container {
    fn start() -> Self {
        Self::start_in(TempDir::new().expect("a directory"))
    }

    fn start_in(directory: TempDir) -> Self {
        let root = directory.path();
        for name in ["configuration", "state", "storage", "bin"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        let settings = RegistrySettings::new(&garden_config::ProviderConfig::kubernetes("shop"));
        for (name, text) in spec::config_map(&settings).data.expect("files") {
            fs::write(root.join("configuration").join(name), adapted(&text, root)).expect("written");
        }
        let registry = root.join("bin/registry");
        fs::write(&registry, REGISTRY).expect("written");
        fs::set_permissions(registry, fs::Permissions::from_mode(0o755)).expect("executable");
        let path = format!("{}:{}", root.join("bin").display(), std::env::var("PATH").expect("a path"));
        let mut supervisor = Command::new("sh");
        supervisor.arg(root.join("configuration/supervise.sh")).env("PATH", path).process_group(0);
        let supervisor = supervisor.spawn().expect("a shell");
        let container = Self { directory, supervisor };
        container.until(|container| container.log().ends_with("serve config.yml\n"));
        container
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root().join("log")).unwrap_or_default()
    }

    /// Runs a script as the container would, and returns what it prints.
    fn run(&self, script: &str, input: &str) -> String {
        let script = script.replace("kill -USR1 1", &format!("kill -USR1 {}", self.supervisor.id()));
        let mut command = Command::new("sh");
        command.arg("-c").arg(adapted(&script, self.root())).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn().expect("a shell");
        // A script that has no use for its input may have ended before it was written.
        let written = running.stdin.take().expect("piped").write_all(input.as_bytes());
        if let Err(error) = written {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        }
        let output = running.wait_with_output().expect("an end");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Asks for a collection with this list, and waits for its end.
    fn collect(&self, name: &str, list: &str) {
        let before = self.run(&request(name, list), list).trim().parse().expect("a number");
        self.until(|container| outcome(&container.run(&look(), ""), before) != Outcome::Pending);
        self.until(|container| container.log().ends_with("serve config.yml\n"));
    }

    fn until(&self, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < HANGS, "it did not come about:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends all of its processes, as the end of a container does, and returns what is left of it.
    fn kill(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.directory, TempDir::new().expect("a directory"))
    }

    fn end(&mut self) {
        let group = format!("-{}", self.supervisor.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.supervisor.wait();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.end();
    }
}

/// Other directories than those of the container.
fn adapted(script: &str, root: &Path) -> String {
    let within = |name: &str| root.join(name).display().to_string();
    script
        .replace("/etc/garden-registry", &within("configuration"))
        .replace(spec::STATE_DIRECTORY, &within("state"))
        .replace(InClusterRegistry::STORAGE, &within("storage"))
}

fn manifest(root: &Path) -> std::path::PathBuf {
    root.join("storage/docker/registry/v2/repositories/team/api/_manifests/revisions/sha256").join(HEX)
}

fn push(root: &Path) {
    fs::create_dir_all(manifest(root)).expect("directories");
    fs::create_dir_all(root.join("storage/docker/registry/v2/blobs")).expect("directories");
    let link = File::create(manifest(root).join("link")).expect("written");
    link.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(PUSHED)).expect("a time");
}

fn list() -> String {
    format!("{}\nteam/api {HEX} {PUSHED}\n", PUSHED + 1)
}

#[test]
fn a_list_is_carried_out_while_nobody_pushes_and_once() {
    let container = Container::start();
    push(container.root());
    // Nobody waits for the end: whoever asked is gone.
    container.run(&request("a", &list()), &list());
    container.until(|container| container.log().lines().count() == 4);
    let log = "serve config.yml\nserve read-only.yml\ngarbage-collect config.yml\nserve config.yml\n";
    assert_eq!(container.log(), log);
    assert!(!manifest(container.root()).exists());
    assert_eq!(container.run(&report("a"), ""), "1 deleted\n= end\n");
    assert_eq!(container.run(&report("a"), ""), "");

    push(container.root());
    container.collect("b", "");
    assert!(manifest(container.root()).exists());
    container.collect("c", &list());
    assert!(!manifest(container.root()).exists());
}

#[test]
fn a_list_that_breaks_off_is_not_carried_out() {
    let container = Container::start();
    push(container.root());
    let list = list();
    assert_eq!(container.run(&request("a", &list), &list[..list.len() - 1]), "");
    container.collect("b", "");
    assert!(manifest(container.root()).exists());
}

#[test]
fn a_list_that_was_begun_when_the_container_died_is_not_begun_again() {
    let directory = Container::start().kill();
    push(directory.path());
    fs::write(directory.path().join("state/deletions/a.begun"), list()).expect("written");
    fs::write(directory.path().join("log"), "").expect("written");
    let container = Container::start_in(directory);
    container.collect("b", "");
    assert!(manifest(container.root()).exists());
    assert_eq!(fs::read_dir(container.root().join("state/deletions")).expect("there").count(), 0);
}

#[test]
fn what_dead_clients_have_left_goes() {
    let container = Container::start();
    let deletions = container.root().join("state/deletions");
    for (name, age) in [("new.done", 60), ("old.done", 4_000), ("old.part", 4_000)] {
        let file = File::create(deletions.join(name)).expect("written");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("a time");
    }
    container.collect("a", "");
    let left = fs::read_dir(deletions).expect("there").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["new.done"]);
}

#[test]
fn a_registry_of_an_older_version_is_told_and_asked_for_nothing() {
    let container = Container::start();
    fs::remove_dir(container.root().join("state/deletions")).expect("empty");
    assert_eq!(container.run(&request("a", &list()), &list()).trim(), OUTDATED);
    assert!(!container.root().join("state/requested").exists());
}

#[test]
fn a_result_counts_if_its_collection_began_after_the_request() {
    assert_eq!(outcome("", 0), Outcome::Pending);
    assert_eq!(outcome("3 0\nold", 3), Outcome::Pending);
    assert_eq!(outcome("3 interrupted\n", 3), Outcome::Pending);
    assert_eq!(outcome("4 0\na\nb\n", 3), Outcome::Succeeded("a\nb\n".to_owned()));
    assert_eq!(outcome("4 1\nno space left\n", 3), Outcome::Failed("no space left\n".to_owned()));
    assert_eq!(outcome("5 interrupted\n", 3), Outcome::Interrupted);
}
