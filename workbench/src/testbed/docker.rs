//! The Docker daemons on the node: the current one, and Debian's as an old one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::machine::{run, unpacked_program};
use xtask::part::Part;
use xtask::programs::Programs;

use super::components::{CGROUP, Component, Starts, component};
use super::registries;
use super::state::State;

/// Where daemons look for the authority of a registry, below a directory of its name.
pub(super) const CONFIGURATION: &str = "/etc/docker";
/// The part of the state that covers [`CONFIGURATION`] inside the node.
pub(super) const CONFIGURATION_COVER: &str = "etc-docker";

/// A Docker daemon on the node. It shares containerd with the kubelet, in a namespace of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Daemon {
    name: &'static str,
    part: Part,
    bridge: &'static str,
    /// The bridge's own address, with the length of its network's prefix.
    bridge_address: &'static str,
}

/// The newest release that is pinned.
pub(super) const CURRENT: Daemon = Daemon {
    name: "docker",
    part: Part::LocalDocker,
    bridge: "docker-current",
    bridge_address: "172.30.0.1/24",
};
/// Debian's, which many machines still have.
pub(super) const OLD: Daemon = Daemon {
    name: "docker-old",
    part: Part::OldDocker,
    bridge: "docker-old",
    bridge_address: "172.30.1.1/24",
};
const ALL: [Daemon; 2] = [CURRENT, OLD];

impl Daemon {
    /// Its data root and its socket are below this.
    fn directory(self, state: &State) -> PathBuf {
        state.path(self.name)
    }

    fn socket(self, state: &State) -> PathBuf {
        self.directory(state).join("docker.sock")
    }

    /// The value of `DOCKER_HOST` by which any program on this machine reaches it.
    pub(super) fn host(self, state: &State) -> String {
        format!("unix://{}", self.socket(state).display())
    }

    /// Takes only RAM, and so is gone with the node.
    fn run_directory(self) -> PathBuf {
        Path::new("/run").join(self.name)
    }

    fn component(self, state: &State, program: PathBuf) -> Component {
        let shown = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut options = vec![
            ("host", self.host(state)),
            ("data-root", shown(self.directory(state).join("data"))),
            ("exec-root", shown(self.run_directory())),
            ("pidfile", shown(self.run_directory().join("docker.pid"))),
            ("containerd", shown(state.containerd_socket())),
            ("containerd-namespace", self.name.to_owned()),
            ("containerd-plugins-namespace", format!("{}-plugins", self.name)),
            ("cgroup-parent", format!("/{CGROUP}/{}", self.name)),
            ("bridge", self.bridge.to_owned()),
            // The packet filter is kube-proxy's and CNI's. Docker's rules would have forwarding
            // stop between pods.
            ("iptables", "false".to_owned()),
            ("ip6tables", "false".to_owned()),
            ("ip-masq", "false".to_owned()),
            ("userland-proxy", "false".to_owned()),
            // The socket belongs to root alone, whether or not the machine has a group "docker".
            ("group", "root".to_owned()),
        ];
        // There is no Docker Hub here, but one registry has the base images.
        options.push(("registry-mirror", registries::docker_hub_mirror()));
        // Before Docker 24, BuildKit needs the scheme, which newer daemons and the classic builder drop: moby's
        // `Daemon.RegistryHosts` parses each of these as a URL, which a mere host with a port is not.
        let insecure = registries::plain_http_hosts().map(|host| format!("http://{host}"));
        options.extend(insecure.map(|host| ("insecure-registry", host)));
        component(self.name, program, Starts::WhenExists(state.containerd_socket()), &options)
    }

    fn answers(self, state: &State) -> Result<()> {
        let socket = self.socket(state);
        let ask = || -> Result<String> {
            let mut stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer =
            ask().with_context(|| format!("{} does not answer at {}", self.name, socket.display()))?;
        ensure!(answer.contains(" 200 OK"), "{} is not ready: {answer}", self.name);
        Ok(())
    }
}

/// Tells the daemons whom to trust; the registries' certificates have to be there already.
pub(super) fn write_configuration(state: &State) -> Result<()> {
    let authority = fs::read_to_string(state.registry_ca()).context("reading the registries' authority")?;
    for host in registries::tls_hosts() {
        state.write(&format!("{CONFIGURATION_COVER}/certs.d/{host}/ca.crt"), &authority)?;
    }
    ALL.into_iter().try_for_each(|daemon| Ok(fs::create_dir_all(daemon.directory(state))?))
}

pub(super) fn components(state: &State, programs: &Programs, parts: &[Part]) -> Result<Vec<Component>> {
    let mut components = Vec::new();
    if parts.contains(&CURRENT.part) {
        components.push(CURRENT.component(state, programs.path("dockerd")?));
    }
    if parts.contains(&OLD.part) {
        components.push(OLD.component(state, old_program()?));
    }
    Ok(components)
}

/// Debian's daemon, which is not installed, as it would bring a service.
pub(super) fn old_program() -> Result<PathBuf> {
    unpacked_program("docker.io", "usr/sbin/dockerd")
}

/// Makes the bridges, inside the node. A daemon would make only one, of a name that it chooses.
pub(super) fn make_bridges() -> Result<()> {
    for daemon in ALL {
        let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments));
        ip(&["link", "add", daemon.bridge, "type", "bridge"])?;
        ip(&["address", "add", daemon.bridge_address, "dev", daemon.bridge])?;
        ip(&["link", "set", daemon.bridge, "up"])?;
    }
    Ok(())
}

/// Asks those daemons that are among `parts`.
pub(super) fn all_answer(state: &State, parts: &[Part]) -> Result<()> {
    ALL.into_iter().filter(|daemon| parts.contains(&daemon.part)).try_for_each(|daemon| daemon.answers(state))
}
