//! What the machine must have: root, Debian, Go, and a few Debian packages.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use garden_test_programs::{Go, cache_directory, find_on_path};

use crate::part::{PROGRAMS_OF_TESTS, Part};
use crate::progress::step;

const PACKAGES: &[&str] = &[
    "ca-certificates",
    "conntrack",
    "containernetworking-plugins",
    "docker-registry",
    "etcd-server",
    "iproute2",
    "iptables",
    "libseccomp-dev",
    "pkg-config",
    "util-linux",
];

/// Packages of which only a file or two are read.
const UNPACKED: &[&str] = &["busybox-static"];

/// Packages that bring a system service; the testbed runs its own copies instead.
const SERVICES: &[(&str, &str)] = &[("docker-registry", "docker-registry"), ("etcd-server", "etcd")];

const POLICY: &str = "#!/bin/sh\n# Made by `cargo xtask testbed`; may be removed.\nexit 101\n";

/// Says everything that is missing in one message, before anything is touched.
///
/// # Errors
///
/// Fails if anything is.
pub fn check_prerequisites() -> Result<()> {
    let mut missing = Vec::new();
    if !is_root() {
        missing.push("root, to create network namespaces and mounts: run it as root: sudo -E env \"PATH=$PATH\" cargo xtask …");
    }
    if !on_path("apt-get") || !on_path("dpkg-query") {
        missing.push("Debian or a derivative (apt-get, dpkg), where etcd and the CNI plugins come from");
    }
    let go = format!("Go {} or later on the PATH, to build Kubernetes from its pinned modules", Go::OLDEST);
    if !Go::is_recent() {
        missing.push(&go);
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the testbed cannot run here. Missing:\n  - {}\nOr set KUBECONFIG to use a cluster that you already have.",
        missing.join("\n  - ")
    )
}

/// A process's own directory belongs to its effective user.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Installs the Debian packages that a testbed with `parts` needs, and unpacks those that it only reads.
///
/// # Errors
///
/// Fails if `apt-get` does.
pub fn install_packages(parts: &[Part]) -> Result<()> {
    let of_parts = parts.iter().flat_map(|part| part.packages());
    install(&PACKAGES.iter().chain(of_parts).copied().collect::<Vec<_>>())?;
    let of_parts = parts.iter().flat_map(|part| part.unpacked());
    UNPACKED.iter().chain(of_parts).try_for_each(|package| unpacked(package).map(drop))
}

/// Returns the directories of programs that tests start and this machine lacks.
///
/// # Errors
///
/// Fails if one of them cannot be fetched.
pub fn directories_of_tests_programs() -> Result<Vec<PathBuf>> {
    let missing = PROGRAMS_OF_TESTS.into_iter().filter(|(program, ..)| !on_path(program.name()));
    missing
        .map(|(_, package, program)| {
            let program = unpacked_program(package, program)?;
            program.parent().map(Path::to_owned).context("a program without a directory")
        })
        .collect()
}

/// Installs those of the Debian packages that are not there yet, without starting their services.
///
/// # Errors
///
/// Fails if `apt-get` does.
pub fn install(packages: &[&'static str]) -> Result<()> {
    // One at a time: the file that holds services back is there for all.
    let _lock = lock()?;
    let missing: Vec<&str> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    step(&format!("installing Debian packages: {}", missing.join(" ")), || {
        let _no_services = ServicesHeldBack::hold()?;
        if apt_get(&missing).is_err() {
            // The usual cause is a package list that is absent or older than the archive.
            run(Command::new("apt-get").args(["-q", "update"]))?;
            apt_get(&missing)?;
        }
        for (package, service) in SERVICES {
            if missing.contains(package) && on_path("systemctl") {
                // Best effort: where no init system runs there is nothing to disable.
                let _ = run(Command::new("systemctl").args(["disable", service]));
            }
        }
        Ok(())
    })
}

/// Returns where a program out of a Debian package lies that is unpacked into the cache, not installed:
/// `busybox` and `busybox-static` exclude each other, and a machine may need the other one.
///
/// # Errors
///
/// Fails if the package cannot be fetched.
pub fn unpacked_program(package: &str, program: &str) -> Result<PathBuf> {
    Ok(unpacked(package)?.join(program))
}

fn unpacked(package: &str) -> Result<PathBuf> {
    let directory = cache_directory()?.join("debian").join(package);
    if !directory.is_dir() {
        let _lock = lock()?;
        // Another process may have been faster.
        if !directory.is_dir() {
            step(&format!("fetching the Debian package {package}"), || unpack_package(package, &directory))?;
        }
    }
    Ok(directory)
}

/// Keeps other processes from installing packages until the file is closed.
fn lock() -> Result<File> {
    let directory = cache_directory()?;
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let lock = File::create(directory.join(".lock-packages")).context("opening the lock of packages")?;
    lock.lock().context("waiting for another installation")?;
    Ok(lock)
}

fn unpack_package(package: &str, directory: &Path) -> Result<()> {
    let parent = directory.parent().context("the cache directory has no parent")?;
    fs::create_dir_all(parent)?;
    // The lock makes this directory ours. One that was killed may have left it.
    let download = parent.join(format!(".fetching-{package}"));
    if download.exists() {
        fs::remove_dir_all(&download)?;
    }
    fs::create_dir(&download)?;
    let fetch = || {
        run(Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&download))
    };
    if fetch().is_err() {
        run(Command::new("apt-get").args(["-q", "update"]))?;
        fetch()?;
    }
    let archive = fs::read_dir(&download)?.next().context("apt-get download left no file")??.path();
    let content = download.join("content");
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&content))?;
    fs::rename(content, directory)?;
    Ok(fs::remove_dir_all(download)?)
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|query| query.stdout == b"installed")
}

fn apt_get(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        // Packages of Debian exclude those of others: never remove what the machine has.
        .args(["-q", "install", "-y", "--no-install-recommends", "--no-remove"])
        .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Debian's maintainer scripts ask this file before they start a service. One that
/// the machine already has belongs to its owner: it is neither replaced nor removed.
struct ServicesHeldBack {
    created: Option<PathBuf>,
}

impl ServicesHeldBack {
    fn hold() -> Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        // Ours can be there still, if an earlier run was killed.
        if fs::read_to_string(policy).is_ok_and(|text| text != POLICY) {
            return Ok(Self { created: None });
        }
        fs::write(policy, POLICY)?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self { created: Some(policy.to_owned()) })
    }
}

impl Drop for ServicesHeldBack {
    fn drop(&mut self) {
        if let Some(policy) = &self.created {
            let _ = fs::remove_file(policy);
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// Fails if the command does, with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", shown(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{} failed ({}):\n{}", shown(command), output.status, String::from_utf8_lossy(&said).trim_end())
}

/// Program and sub-command only: arguments can hold a password.
fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let argument = command.get_args().next().unwrap_or_default().to_string_lossy();
    format!("`{program} {argument} …`")
}

/// Whether the `PATH` has a program.
pub fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}
