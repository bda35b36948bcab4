//! The cluster and registries under test, and what tests do with them.
//!
//! Begin with [`in_project`]: a namespace, an open registry and a context directory of the test's own. What a [`Project`] can do is in
//! the rooms by what it is done to: `project` (settings, files), `secrets`, `private_images`, `pods`, `volume`. `events` follows builds,
//! `leftovers` says what they leave, `registry` asks a registry without any code of ours, `clients` and `proxy` are other ways to the
//! cluster, `builder_proxy` is what builders have before them, and `webhook` is what a cluster adds to pods.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

pub(crate) mod builder_proxy;
pub(crate) mod buildkit_daemon;
mod clients;
pub(crate) mod collector;
pub(crate) mod credential_helper;
pub(crate) mod docker_daemon;
mod events;
mod idle;
pub(crate) mod installing;
mod leftovers;
mod noise;
pub(crate) mod own_process;
mod pods;
pub(crate) mod private_images;
mod project;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod registry_front;
mod secrets;
mod turn;
mod volume;
mod webhook;

pub(crate) use clients::{
    Account, client_of_account, client_with_role, client_with_the_documented_role, recording_client,
};
pub(crate) use events::{
    build_with_events, follow, follow_until, follow_while_it_runs, log_lines, printed, sent, sent_to_service,
    shown, steps, warnings,
};
pub(crate) use leftovers::{assert_not_running, everything_in_namespace};
pub(crate) use noise::{noise, noise_of};
pub(crate) use pods::{gone, running};
pub(crate) use project::{Project, in_project};
pub(crate) use turn::in_turn;

/// What is promised within seconds, on a machine that does other things as well. Without what a test is about, it takes minutes, or never
/// comes.
pub(crate) const WITHIN_SECONDS: Duration = Duration::from_secs(90);

/// How long a test waits for what is certain to come: on a busy machine, it comes late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// This machine's address, as the cluster sees it.
pub(crate) fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(variable("GARDEN_TEST_REGISTRY")).unwrap();
    socket.local_addr().unwrap().ip()
}

/// Reads a variable that `cargo xtask testbed env` prints.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test`, or `eval \"$(cargo xtask testbed env)\"` first")
    })
}
