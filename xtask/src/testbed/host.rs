//! What the machine must have: root, Debian, Go, and a few Debian packages.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::progress::step;
use super::state::State;
use super::tools::cache_directory;

const PACKAGES: &[&str] = &[
    "ca-certificates",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "etcd-server",
    "iproute2",
    "iptables",
    "rootlesskit",
    "runc",
    "uidmap",
    "util-linux",
];

/// Packages that bring a system service; the testbed runs its own copies instead.
const SERVICES: &[(&str, &str)] =
    &[("containerd", "containerd"), ("docker-registry", "docker-registry"), ("etcd-server", "etcd")];

const POLICY: &str = "#!/bin/sh\n# Made by `cargo xtask testbed`; may be removed.\nexit 101\n";

/// Kernel settings of the whole machine that the kubelet overwrites.
const KERNEL_SETTINGS: &[&str] = &[
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Says everything that is missing in one message, before anything is touched.
pub(super) fn check_prerequisites() -> Result<()> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root, to create network namespaces and mounts: run it as root: sudo -E env \"PATH=$PATH\" cargo xtask …");
    }
    if !on_path("apt-get") || !on_path("dpkg-query") {
        missing.push("Debian or a derivative (apt-get, dpkg), where containerd, runc and etcd come from");
    }
    if !go_is_recent() {
        missing.push("Go 1.24 or later on the PATH, to build Kubernetes from its pinned modules");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the testbed cannot run here. Missing:\n  - {}\nOr set KUBECONFIG to use a cluster that you already have.",
        missing.join("\n  - ")
    )
}

/// Asked outside of any module: an old Go could not even read ours.
fn go_is_recent() -> bool {
    let version = Command::new("go").args(["env", "GOVERSION"]).current_dir("/").output();
    let Ok(version) = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
        return false;
    };
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 24)
}

/// Installs the Debian packages that a testbed needs.
pub(super) fn install_packages() -> Result<()> {
    install(PACKAGES)
}

/// Installs those of the Debian packages that are not there yet, without starting their services.
pub(super) fn install(packages: &[&'static str]) -> Result<()> {
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

/// A program out of a Debian package that is unpacked into the cache, not installed:
/// `busybox` and `busybox-static` exclude each other, and a machine may need the other one.
pub(super) fn unpacked_program(package: &str, program: &str) -> Result<PathBuf> {
    let directory = cache_directory()?.join("debian").join(package);
    if !directory.is_dir() {
        step(&format!("fetching the Debian package {package}"), || unpack_package(package, &directory))?;
    }
    Ok(directory.join(program))
}

fn unpack_package(package: &str, directory: &Path) -> Result<()> {
    let parent = directory.parent().context("the cache directory has no parent")?;
    fs::create_dir_all(parent)?;
    let download = tempfile::Builder::new().prefix(".fetching-").tempdir_in(parent)?;
    let fetch = || {
        run(Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(download.path()))
    };
    if fetch().is_err() {
        run(Command::new("apt-get").args(["-q", "update"]))?;
        fetch()?;
    }
    let archive = fs::read_dir(download.path())?.next().context("apt-get download left no file")??.path();
    let content = download.path().join("content");
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&content))?;
    Ok(fs::rename(content, directory)?)
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|query| query.stdout == b"installed")
}

fn apt_get(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        // Debian's containerd excludes Docker's own: never remove what the machine has.
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

/// Notes the machine's kernel settings, so that [`restore_kernel_settings`] can undo
/// what the kubelet does to them. A note from a crashed run is older, hence truer: kept.
pub(super) fn remember_kernel_settings(state: &State) -> Result<()> {
    let mut settings = String::new();
    for name in KERNEL_SETTINGS {
        if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
            writeln!(settings, "{name}={}", value.trim())?;
        }
    }
    if !state.path("kernel-settings").exists() {
        state.write("kernel-settings", &settings)?;
    }
    Ok(())
}

pub(super) fn restore_kernel_settings(state: &State) {
    let Ok(settings) = fs::read_to_string(state.path("kernel-settings")) else { return };
    for (name, value) in settings.lines().filter_map(|line| line.split_once('=')) {
        if let Err(error) = fs::write(Path::new("/proc/sys").join(name), value) {
            println!("  note: could not set {name} back to {value}: {error}");
        }
    }
}

/// Runs a command to its end; on failure the error carries what it said.
pub(super) fn run(command: &mut Command) -> Result<()> {
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

pub(super) fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

pub(super) fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|program| program.is_file())
}
