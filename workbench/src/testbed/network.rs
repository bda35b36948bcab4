//! The testbed's addresses, and the cable between its network namespace and the machine.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::machine::run;

/// The address of node, API server, registries and DNS. Besides it, the machine reaches only pods.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(10, 243, 0, 2);
pub(super) const NODE_NAME: &str = "garden-testbed";
pub(super) const API_SERVER: SocketAddrV4 = SocketAddrV4::new(NODE, 6443);
pub(super) const POD_NETWORK: &str = "10.244.0.0/16";
pub(super) const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// First address of the service network; the API server takes it for itself.
pub(super) const SERVICE_API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

const HOST_INTERFACE: &str = "gbtestbed0";
const HOST_ADDRESS: &str = "10.243.0.1/24";
const NODE_INTERFACE: &str = "eth0";

/// Lays the cable from the machine into the network namespace of a process.
pub(super) fn connect(process: u32) -> Result<()> {
    let namespace = process.to_string();
    ip(&[
        "link",
        "add",
        HOST_INTERFACE,
        "type",
        "veth",
        "peer",
        "name",
        NODE_INTERFACE,
        "netns",
        &namespace,
    ])?;
    ip(&["address", "add", HOST_ADDRESS, "dev", HOST_INTERFACE])?;
    ip(&["link", "set", HOST_INTERFACE, "up"])?;
    // Programs in a cluster connect to pods directly, and tests on the machine stand in for them. The
    // route goes with the interface.
    ip(&["route", "add", POD_NETWORK, "via", &NODE.to_string(), "dev", HOST_INTERFACE])
}

/// The kernel removes the cable with the namespace, but not at once.
pub(super) fn disconnect() {
    // Fails when it is gone already, which is the usual case.
    let _ = ip(&["link", "delete", HOST_INTERFACE]);
}

/// The node's half, done inside the namespace. There is no default route on purpose:
/// nothing of a test reaches beyond this machine.
pub(super) fn configure_node() -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    while ip(&["link", "show", NODE_INTERFACE]).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    ip(&["address", "add", &format!("{NODE}/24"), "dev", NODE_INTERFACE])?;
    ip(&["link", "set", NODE_INTERFACE, "up"])?;
    // The kernel looks for a route before it rewrites a Service's address to a pod's, and
    // finds none without this. It makes Services reachable from the node itself.
    ip(&["route", "add", SERVICE_NETWORK, "dev", NODE_INTERFACE])?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("enabling forwarding between pods")
}

/// Whether something accepts connections there.
pub(super) fn listens(address: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}
