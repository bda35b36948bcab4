//! Every process of the node: its configuration and its command line.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use xtask::programs::Programs;

use super::network::{API_SERVER, NODE, NODE_NAME, POD_NETWORK, SERVICE_NETWORK};
use super::state::{State, fill};

/// Cgroup of all pods, below the root of every hierarchy.
pub(super) const CGROUP: &str = "garden-testbed";

const CNI: &str = include_str!("../../../testbed/config/cni.conflist");
const CONTAINERD: &str = include_str!("../../../testbed/config/containerd.toml");
const COREFILE: &str = include_str!("../../../testbed/config/Corefile");
const KUBELET: &str = include_str!("../../../testbed/config/kubelet.yaml");
const KUBE_PROXY: &str = include_str!("../../../testbed/config/kube-proxy.yaml");

const ETCD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2379);

/// A process that the node keeps running; its log is `logs/<name>.log`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) starts: Starts,
}

/// What a component needs before starting it makes sense. Without this, early starts
/// fail and wait out a back-off, which costs seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Starts {
    AtOnce,
    WhenExists(PathBuf),
    WhenListening(SocketAddr),
    WhenListeningAndExists(SocketAddr, PathBuf),
}

/// Writes the configuration files that [`all`] refers to.
pub(super) fn write_configuration(state: &State) -> Result<()> {
    let root = state.root().to_string_lossy();
    let config = state.path("config");
    let pki = state.path("pki");
    let node = NODE.to_string();
    let values = [
        ("state", root.as_ref()),
        ("config", &config.to_string_lossy()),
        ("pki", &pki.to_string_lossy()),
        ("node", &node),
        ("node_name", NODE_NAME),
        ("pod_network", POD_NETWORK),
        ("cgroup", &format!("/{CGROUP}")),
    ];
    state.write("cni/testbed.conflist", &fill(CNI, &values))?;
    state.write("config/containerd.toml", &fill(CONTAINERD, &values))?;
    state.write("config/Corefile", &fill(COREFILE, &values))?;
    state.write("config/kubelet.yaml", &fill(KUBELET, &values))?;
    state.write("config/kube-proxy.yaml", &fill(KUBE_PROXY, &values))?;
    state.write("config/resolv.conf", &format!("nameserver {NODE}\noptions ndots:1\n"))?;
    Ok(())
}

/// The components of Kubernetes that are one program, which looks at the name by which it was started.
const OF_ONE_PROGRAM: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// What containerd, and Docker after it, look for by these names.
const OF_CONTAINERS: [&str; 4] = ["containerd", "containerd-shim-runc-v2", "ctr", "runc"];

/// Gives the program of Kubernetes its names, which processes are then called by, and puts what runs containers
/// beside them. The node looks for programs here first: its machine may have others of the same names.
fn name_programs(state: &State, programs: &Programs) -> Result<()> {
    let directory = state.programs();
    fs::create_dir_all(&directory)?;
    let kubernetes = programs.path("kubernetes")?;
    for name in OF_ONE_PROGRAM {
        symlink(&kubernetes, directory.join(name))?;
    }
    for name in OF_CONTAINERS {
        symlink(programs.path(name)?, directory.join(name))?;
    }
    Ok(())
}

/// The Kubernetes node, in the order in which it starts.
pub(super) fn all(state: &State, programs: &Programs) -> Result<Vec<Component>> {
    let pki = |file: &str| shown(&state.path("pki").join(file));
    let config = |file: &str| shown(&state.path("config").join(file));
    let after_api = Starts::WhenListening(API_SERVER.into());
    name_programs(state, programs).context("naming the programs of the node")?;
    let program = |name: &str| state.programs().join(name);

    Ok(vec![
        etcd(state),
        component(
            "containerd",
            program("containerd"),
            Starts::AtOnce,
            &[("config", config("containerd.toml"))],
        ),
        component(
            "kube-apiserver",
            program("kube-apiserver"),
            Starts::WhenListening(ETCD.into()),
            &[
                ("advertise-address", NODE.to_string()),
                ("allow-privileged", "true".to_owned()),
                ("authorization-mode", "Node,RBAC".to_owned()),
                ("bind-address", NODE.to_string()),
                ("cert-dir", shown(&state.path("pki"))),
                ("client-ca-file", pki("ca.crt")),
                ("enable-admission-plugins", "NodeRestriction".to_owned()),
                ("etcd-servers", format!("http://{ETCD}")),
                ("kubelet-certificate-authority", pki("ca.crt")),
                ("kubelet-client-certificate", pki("admin.crt")),
                ("kubelet-client-key", pki("admin.key")),
                // The node's name resolves nowhere; exec, logs and port-forward go by address.
                ("kubelet-preferred-address-types", "InternalIP".to_owned()),
                ("secure-port", API_SERVER.port().to_string()),
                ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
                ("service-account-key-file", pki("service-account.pub")),
                ("service-account-signing-key-file", pki("service-account.key")),
                ("service-cluster-ip-range", SERVICE_NETWORK.to_owned()),
                ("tls-cert-file", pki("apiserver.crt")),
                ("tls-private-key-file", pki("apiserver.key")),
            ],
        ),
        component(
            "kube-controller-manager",
            program("kube-controller-manager"),
            after_api.clone(),
            &[
                ("bind-address", "127.0.0.1".to_owned()),
                ("cluster-signing-cert-file", pki("ca.crt")),
                ("cluster-signing-key-file", pki("ca.key")),
                // It creates this directory, by default outside the state.
                ("flex-volume-plugin-dir", shown(&state.path("kubelet/volume-plugins"))),
                ("kubeconfig", config("controller-manager.kubeconfig")),
                ("leader-elect", "false".to_owned()),
                ("root-ca-file", pki("ca.crt")),
                ("service-account-private-key-file", pki("service-account.key")),
                ("use-service-account-credentials", "true".to_owned()),
            ],
        ),
        component(
            "kube-scheduler",
            program("kube-scheduler"),
            after_api.clone(),
            &[
                ("bind-address", "127.0.0.1".to_owned()),
                ("kubeconfig", config("scheduler.kubeconfig")),
                ("leader-elect", "false".to_owned()),
            ],
        ),
        component(
            "kubelet",
            program("kubelet"),
            Starts::WhenListeningAndExists(API_SERVER.into(), state.containerd_socket()),
            &[
                ("cert-dir", shown(&state.path("pki"))),
                ("config", config("kubelet.yaml")),
                ("hostname-override", NODE_NAME.to_owned()),
                ("kubeconfig", config("kubelet.kubeconfig")),
                ("node-ip", NODE.to_string()),
                ("root-dir", shown(&state.path("kubelet"))),
            ],
        ),
        component(
            "kube-proxy",
            program("kube-proxy"),
            after_api.clone(),
            &[("config", config("kube-proxy.yaml"))],
        ),
        // Unlike all others, CoreDNS knows no double dash.
        Component {
            name: "coredns".to_owned(),
            program: programs.path("coredns")?,
            arguments: vec!["-conf".to_owned(), config("Corefile")],
            starts: after_api,
        },
    ])
}

/// Where all that the API server knows is kept.
fn etcd(state: &State) -> Component {
    component(
        "etcd",
        "/usr/bin/etcd".into(),
        Starts::AtOnce,
        &[
            ("data-dir", shown(&state.path("etcd"))),
            ("listen-client-urls", format!("http://{ETCD}")),
            ("advertise-client-urls", format!("http://{ETCD}")),
            ("listen-peer-urls", "http://127.0.0.1:2380".to_owned()),
            // Nobody needs this data after a power cut.
            ("unsafe-no-fsync", "true".to_owned()),
        ],
    )
}

/// A component whose arguments are all `--option=value`.
pub(super) fn component(
    name: &str,
    program: PathBuf,
    starts: Starts,
    options: &[(&str, String)],
) -> Component {
    let arguments = options.iter().map(|(option, value)| format!("--{option}={value}")).collect();
    Component { name: name.to_owned(), program, arguments, starts }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
