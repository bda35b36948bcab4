//! What tests find a cluster, its registries, daemons and images by.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use anyhow::{Result, bail};
use xtask::part::Part;

use super::docker::{self, CURRENT, OLD};
use super::pins::Pins;
use super::registries::{BASIC, IN_CLUSTER, OPEN, TLS, TLS_BASIC};
use super::state::State;
use super::{docker_image, images, is_running, network};

/// A cluster to test against.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `KUBECONFIG` and the `GARDEN_TEST_*` variables that tests read.
    pub(crate) variables: BTreeMap<String, String>,
    /// False when it is the user's own cluster, named by `KUBECONFIG`.
    pub(crate) owned: bool,
}

/// What tests read besides `KUBECONFIG`, on any cluster.
pub(super) const VARIABLES: [&str; 22] = [
    "GARDEN_TEST_REGISTRY",
    "GARDEN_TEST_REGISTRY_BASIC",
    "GARDEN_TEST_REGISTRY_BASIC_USERNAME",
    "GARDEN_TEST_REGISTRY_BASIC_PASSWORD",
    "GARDEN_TEST_REGISTRY_TLS",
    "GARDEN_TEST_REGISTRY_TLS_CA",
    "GARDEN_TEST_REGISTRY_TLS_BASIC",
    "GARDEN_TEST_REGISTRY_TLS_BASIC_USERNAME",
    "GARDEN_TEST_REGISTRY_TLS_BASIC_PASSWORD",
    "GARDEN_TEST_REGISTRY_CLUSTER",
    "GARDEN_TEST_KANIKO_IMAGE",
    "GARDEN_TEST_KANIKO_DEBUG_IMAGE",
    "GARDEN_TEST_BUILDKIT_IMAGE",
    "GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE",
    "GARDEN_TEST_REGISTRY_IMAGE",
    "GARDEN_TEST_BASE_IMAGE",
    "GARDEN_TEST_DOCKERD",
    "GARDEN_TEST_DOCKERD_OLD",
    "GARDEN_TEST_DOCKER_CLI",
    "GARDEN_TEST_DOCKER_HOST",
    "GARDEN_TEST_DOCKER_HOST_OLD",
    "GARDEN_TEST_DOCKER_IMAGE",
];

/// The environment of a testbed that runs. What belongs to parts that it lacks is absent.
pub(super) fn of_testbed(state: &State) -> Result<Environment> {
    let pins = Pins::of_running(state)?;
    let has = |part| pins.parts().contains(&part);
    let program = |name: &str| anyhow::Ok(pins.program(name)?.to_string_lossy().into_owned());
    let values = [
        Some(OPEN.address().to_string()),
        Some(BASIC.address().to_string()),
        Some(BASIC.username.unwrap_or_default().to_owned()),
        Some(BASIC.password(state)?),
        Some(TLS.address().to_string()),
        Some(state.registry_ca().to_string_lossy().into_owned()),
        Some(TLS_BASIC.address().to_string()),
        Some(TLS_BASIC.username.unwrap_or_default().to_owned()),
        Some(TLS_BASIC.password(state)?),
        Some(IN_CLUSTER.to_owned()),
        has(Part::Kaniko).then(|| images::KANIKO.to_owned()),
        has(Part::Kaniko).then(|| images::KANIKO_DEBUG.to_owned()),
        has(Part::Buildkit).then(|| images::BUILDKIT.to_owned()),
        has(Part::Buildkit).then(|| images::BUILDKIT_ROOTLESS.to_owned()),
        Some(images::REGISTRY.to_owned()),
        Some(OPEN.base_image()),
        has(Part::LocalDocker).then(|| program("dockerd")).transpose()?,
        if has(Part::OldDocker) { Some(docker::old_program()?.to_string_lossy().into_owned()) } else { None },
        has(Part::DockerCommand).then(|| program("docker")).transpose()?,
        has(Part::LocalDocker).then(|| CURRENT.host(state)),
        has(Part::OldDocker).then(|| OLD.host(state)),
        has(Part::ClusterDocker).then(|| docker_image::NAME.to_owned()),
    ];
    let present =
        VARIABLES.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut variables: BTreeMap<_, _> = present.collect();
    variables.insert("KUBECONFIG".to_owned(), state.kubeconfig().to_string_lossy().into_owned());
    variables.insert("GARDEN_TEST_NODE".to_owned(), network::NODE_NAME.to_owned());
    let containerd = state.containerd_socket().to_string_lossy().into_owned();
    variables.insert("GARDEN_TEST_CONTAINERD".to_owned(), containerd);
    let programs = state.programs().to_string_lossy().into_owned();
    variables.insert("GARDEN_TEST_CONTAINERD_PROGRAMS".to_owned(), programs);
    Ok(Environment { variables, owned: true })
}

/// The user's own cluster, with the test variables that the user has set for it.
pub(super) fn of_foreign_cluster(state: &State) -> Option<Environment> {
    let kubeconfig = env::var("KUBECONFIG").ok().filter(|value| !value.is_empty())?;
    if Path::new(&kubeconfig) == state.kubeconfig() {
        return None;
    }
    let mut variables: BTreeMap<_, _> =
        env::vars().filter(|(name, _)| name.starts_with("GARDEN_TEST_")).collect();
    variables.insert("KUBECONFIG".to_owned(), kubeconfig);
    Some(Environment { variables, owned: false })
}

/// Prints shell commands that set the variables.
pub(super) fn print() -> Result<()> {
    let state = State::from_environment()?;
    let environment = match of_foreign_cluster(&state) {
        Some(environment) => environment,
        None if is_running() => of_testbed(&state)?,
        None => bail!("the testbed is not running: start it with `cargo xtask testbed up`"),
    };
    for (name, value) in environment.variables {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
    Ok(())
}
