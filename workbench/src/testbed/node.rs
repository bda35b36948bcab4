//! The node: one process that owns all others of the testbed.
//!
//! `up` starts it as the first process of new PID, network and mount namespaces. When
//! it dies, however it dies, the kernel kills everything inside and drops the mounts,
//! interfaces and packet filter rules. So `down` is a kill, and a crash leaves no mess.
//!
//! Why: docs/decisions/78-the-testbed-is-one-process-tree.md

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::components::{CGROUP, Component, Starts};
use super::docker;
use super::network;
use super::state::State;

/// Directories that CNI's libraries, the kubelet and Docker insist on, covered by ones of the state.
const COVERED: &[(&str, &str)] = &[
    ("/var/lib/cni", "var-lib-cni"),
    ("/var/lib/kubelet", "var-lib-kubelet"),
    (docker::CONFIGURATION, docker::CONFIGURATION_COVER),
];
const DIRECTORIES_OF_PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The running node, as seen by the `up` that started it.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
}

impl Node {
    /// Starts the node and lays its network cable.
    pub(super) fn start(state: &State, components: &[Component]) -> Result<Self> {
        state.write("components.json", &serde_json::to_string_pretty(components)?)?;
        fs::create_dir_all(state.logs())?;
        for (directory, _) in COVERED {
            fs::create_dir_all(directory)?;
        }
        let log = File::create(state.path("logs/node.log"))?;
        // A session of its own keeps Ctrl-C and a closing terminal away from the node.
        let child = Command::new("setsid")
            .args(["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--propagation", "private"])
            .arg(std::env::current_exe()?)
            .args(arguments(state))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the node with unshare")?;
        let mut node = Self { child };
        node.wait_for_namespace()?;
        network::connect(node.child.id())?;
        Ok(node)
    }

    /// Fails once the node has died, so that nobody waits for what cannot come.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(died(status)),
            None => Ok(()),
        }
    }

    /// `unshare` has made its namespaces once its network is no longer ours.
    fn wait_for_namespace(&mut self) -> Result<()> {
        let ours = fs::read_link("/proc/self/ns/net")?;
        let theirs = format!("/proc/{}/ns/net", self.child.id());
        loop {
            self.check_alive()?;
            if fs::read_link(&theirs).is_ok_and(|namespace| namespace != ours) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn died(status: ExitStatus) -> anyhow::Error {
    anyhow::anyhow!("the node's supervisor ended ({status}); see logs/node.log")
}

/// The command line by which the node's processes are recognised.
fn arguments(state: &State) -> [String; 4] {
    [
        "testbed".to_owned(),
        "node".to_owned(),
        "--state".to_owned(),
        state.root().to_string_lossy().into_owned(),
    ]
}

/// Process ids of this state's node and of the `unshare` that holds it. They are found by
/// their exact arguments: a pid file could be missing after a crash, or name a stranger.
pub(super) fn processes(state: &State) -> Vec<i32> {
    let [.., directory] = arguments(state);
    all_nodes().into_iter().filter(|(_, state)| *state == directory).map(|(pid, _)| pid).collect()
}

/// The state directory of another testbed that runs. Both would want the same addresses.
pub(super) fn other_testbed(state: &State) -> Option<String> {
    let [.., directory] = arguments(state);
    all_nodes().into_iter().map(|(_, state)| state).find(|state| *state != directory)
}

/// Every node process on this machine, with its state directory.
fn all_nodes() -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&str> = line.split_terminator('\0').collect();
            match words.as_slice() {
                [.., _program, "testbed", "node", "--state", state] => Some((pid, (*state).to_owned())),
                _ => None,
            }
        })
        .collect()
}

/// Kills the node and waits until nothing of it is left on the machine.
pub(super) fn stop(state: &State) -> Result<()> {
    let processes = processes(state);
    for pid in processes.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // Either one takes the other with it, so the second may be gone already.
        let _ = kill_process(pid, Signal::KILL);
    }
    // The first process of a PID namespace ends only after all others in it have.
    let deadline = Instant::now() + Duration::from_secs(30);
    while processes.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() > deadline {
            bail!("the node's processes {processes:?} do not end although they were killed");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    network::disconnect();
    remove_cgroups()?;
    for (directory, _) in COVERED {
        // Only when empty: with contents it belongs to somebody else.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

/// A zombie counts as dead: it holds nothing but its number.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

/// What the first process inside the namespaces does: never returns while all is well.
pub(super) fn supervise(root: &Path) -> Result<()> {
    let state = State::at(root)?;
    if std::process::id() != 1 {
        bail!("`testbed node` is started by `testbed up` only");
    }
    prepare_mounts(&state)?;
    create_cgroups()?;
    network::configure_node()?;
    docker::make_bridges()?;

    let components: Vec<Component> = serde_json::from_slice(&fs::read(state.path("components.json"))?)?;
    let mut running: Vec<Running> = components.into_iter().map(Running::new).collect();
    loop {
        // Containers' orphans end up here as well; whoever they were, they must be reaped.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(ended) = running.iter_mut().find(|component| component.pid == Some(pid)) {
                println!("{} ended ({status:?}), starting it again", ended.component.name);
                ended.pid = None;
                ended.not_before = Instant::now() + RESTART_PAUSE;
            }
        }
        for component in running.iter_mut().filter(|component| component.is_due()) {
            component.start(&state)?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Running {
    component: Component,
    pid: Option<Pid>,
    not_before: Instant,
}

impl Running {
    fn new(component: Component) -> Self {
        Self { component, pid: None, not_before: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.pid.is_none()
            && Instant::now() >= self.not_before
            && match &self.component.starts {
                Starts::AtOnce => true,
                Starts::WhenExists(path) => path.exists(),
                Starts::WhenListening(address) => network::listens(*address),
                Starts::WhenListeningAndExists(address, path) => path.exists() && network::listens(*address),
            }
    }

    fn start(&mut self, state: &State) -> Result<()> {
        let log = state.logs().join(format!("{}.log", self.component.name));
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new(&self.component.program)
            .args(&self.component.arguments)
            // A proxy or a KUBECONFIG of the caller must not leak into the cluster.
            .env_clear()
            .env("PATH", format!("{}:{DIRECTORIES_OF_PROGRAMS}", state.programs().display()))
            .env("HOME", "/root")
            // Memory costs little here, and processors are what tests wait for: Go collects garbage a third as often.
            .env("GOGC", "300")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", self.component.program.display()))?;
        println!("started {}", self.component.name);
        self.pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(())
    }
}

/// Covers every directory outside the state that a component writes to.
fn prepare_mounts(state: &State) -> Result<()> {
    // The kubelet's mounts must reach containers that ask for them; none reaches the
    // machine, because this mount namespace was made private before.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    let resolver = fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| PathBuf::from("/etc/resolv.conf"));
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None::<&std::ffi::CStr>)
        .context("mounting /run")?;
    for (target, name) in [("/var/log", "var-log")].iter().chain(COVERED) {
        let source = state.path(name);
        fs::create_dir_all(&source)?;
        mount_bind(&source, *target).with_context(|| format!("covering {target}"))?;
    }
    // With the cluster's DNS, containerd can pull from registries that are Services.
    if !resolver.exists() {
        if let Some(parent) = resolver.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(&resolver)?;
    }
    mount_bind(state.path("config/resolv.conf"), &resolver).context("covering /etc/resolv.conf")
}

/// All cgroup hierarchies: one per controller in version 1, a single one in version 2.
fn cgroup_hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}

fn create_cgroups() -> Result<()> {
    enable_controllers()?;
    for hierarchy in cgroup_hierarchies() {
        let cgroup = hierarchy.join(CGROUP);
        fs::create_dir_all(&cgroup).with_context(|| format!("creating {}", cgroup.display()))?;
    }
    Ok(())
}

/// In version 2, a cgroup has only the controllers that its parent passes on, and the kubelet
/// refuses to start without these.
fn enable_controllers() -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let Ok(offered) = fs::read_to_string(root.join("cgroup.controllers")) else { return Ok(()) };
    for controller in ["cpu", "cpuset", "hugetlb", "memory", "pids"] {
        if offered.split_whitespace().any(|name| name == controller) {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("enabling the cgroup controller {controller}"))?;
        }
    }
    Ok(())
}

fn remove_cgroups() -> Result<()> {
    for hierarchy in cgroup_hierarchies() {
        remove_cgroup(&hierarchy.join(CGROUP))?;
    }
    Ok(())
}

/// Children first. A cgroup stays busy for a moment after its last process has died.
fn remove_cgroup(cgroup: &Path) -> Result<()> {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("removing cgroup {}", cgroup.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
}
