//! A real one-node Kubernetes on this machine; `testbed/README.md` says what runs in it.

mod archive;
mod certificates;
mod components;
mod docker;
mod docker_image;
mod entries;
mod environment;
mod images;
mod kernel;
mod network;
mod node;
mod pins;
mod ready;
mod registries;
mod state;
mod storage;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use garden_test_programs::cache_directory;
use xtask::part::Part;
use xtask::programs::{self, Programs};
use xtask::progress::step;
use xtask::{machine, prepare};

pub(crate) use environment::Environment;
use node::Node;
use pins::Pins;
use ready::{Cluster, wait_until};
use state::State;

/// Long enough for a machine that also compiles; a healthy start takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// What `cargo xtask testbed` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the testbed; does nothing when it runs already.
    Up,
    /// Stop the testbed and remove everything but its logs and the cache.
    Down,
    /// Say whether the testbed runs, and where its files are.
    Status,
    /// Print shell commands that point tests at the testbed: eval "$(cargo xtask testbed env)"
    Env,
    /// Build the programs that benchmarks compare with, and print their paths.
    Peers,
    /// The node's first process; `up` starts it.
    #[command(hide = true)]
    Node {
        /// The testbed's state directory.
        #[arg(long)]
        state: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up => {
            let environment = up(&Part::ALL)?;
            if environment.owned {
                println!("point this shell at it: eval \"$(cargo xtask testbed env)\"");
            }
            Ok(())
        }
        Command::Down => down(),
        Command::Status => status(),
        Command::Env => environment::print(),
        Command::Peers => {
            let state = State::from_environment()?;
            let _lock = state.lock()?;
            for path in programs::build_peers()?.paths() {
                println!("{}", path.display());
            }
            Ok(())
        }
        Command::Node { state } => node::supervise(state),
    }
}

/// Fails at once where [`up`] could not succeed, or its cluster could not be tested against.
pub(crate) fn check() -> Result<()> {
    let Some(environment) = environment::of_foreign_cluster(&State::from_environment()?) else {
        return machine::check_prerequisites();
    };
    let missing: Vec<&str> = environment::VARIABLES
        .into_iter()
        .filter(|name| !environment.variables.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        bail!(
            "KUBECONFIG names a cluster of yours, but the tests do not know its registries; CONTRIBUTING.md says \
             what to set:\n  {}\nOr unset KUBECONFIG to test on a cluster made here.",
            missing.join("\n  ")
        );
    }
    Ok(())
}

/// Installs and builds what a testbed with `parts` needs, unless the user has a cluster.
pub(crate) fn prepare(parts: &[Part]) -> Result<()> {
    if environment::of_foreign_cluster(&State::from_environment()?).is_some() {
        return Ok(());
    }
    prepare::prepare(parts, || Ok(()))
}

/// Names the testbed's image of a BuildKit daemon.
pub(crate) fn buildkit_image(rootless: bool) -> &'static str {
    if rootless { images::BUILDKIT_ROOTLESS } else { images::BUILDKIT }
}

/// Names the testbed's image of a registry.
pub(crate) fn registry_image() -> &'static str {
    images::REGISTRY
}

/// Names the testbed's image of a Docker daemon.
pub(crate) fn docker_image() -> &'static str {
    docker_image::NAME
}

/// Makes sure that a cluster runs: the user's own if `KUBECONFIG` names one, a testbed with
/// `parts` otherwise. Blocks, so it cannot be called from asynchronous code.
///
/// A testbed that runs and lacks a part is replaced by one that has it besides its own.
pub(crate) fn up(parts: &[Part]) -> Result<Environment> {
    let state = State::from_environment()?;
    if let Some(environment) = environment::of_foreign_cluster(&state) {
        let version = Cluster::of_environment()
            .and_then(|cluster| cluster.version())
            .context("KUBECONFIG is set, but its cluster does not answer; unset it to use the testbed")?;
        println!("using the cluster of KUBECONFIG (Kubernetes {version}); the testbed is not needed");
        return Ok(environment);
    }
    machine::check_prerequisites()?;
    let _lock = state.lock()?;
    let start = Instant::now();
    // What takes a moment to fail comes before what takes minutes to succeed.
    refuse_beside_another(&state)?;
    let mut parts = parts.to_vec();
    if !node::processes(&state).is_empty() {
        parts.extend(Pins::of_running(&state).map(|pins| pins.parts()).unwrap_or_default());
    }
    parts.sort();
    parts.dedup();
    prepare::prepare(&parts, || Ok(()))?;
    let programs = programs::build(&parts)?;
    let pins = Pins::new(&programs, &parts);
    if is_healthy(&state, &pins) {
        println!("the testbed is running");
        return environment::of_testbed(&state);
    }
    if !node::processes(&state).is_empty() {
        let why = Pins::of_running(&state).map_or_else(
            |_| "it never got ready".to_owned(),
            |running| running.missing(&pins).unwrap_or_else(|| "it does not answer".to_owned()),
        );
        println!("replacing the testbed that runs, with all that is in it: {why}");
    }
    clear(&state)?;
    state.claim()?;
    start_node(&state, &programs, &parts)?;
    pins.note(&state)?;
    println!("the testbed is ready after {:.1} s", start.elapsed().as_secs_f64());
    environment::of_testbed(&state)
}

/// Returns where a program lies that a benchmark needs, and builds it if the cache lacks it.
pub(crate) fn peer(program: &str) -> Result<PathBuf> {
    let state = State::from_environment()?;
    let _lock = state.lock()?;
    programs::build_peer(program)?.path(program)
}

/// Makes sure that a program is on the PATH that a Debian package of the same name brings.
pub(crate) fn install_peer(package: &'static str) -> Result<()> {
    if machine::on_path(package) {
        return Ok(());
    }
    let state = State::from_environment()?;
    let _lock = state.lock()?;
    machine::install(&[package])
        .with_context(|| format!("{package} is not on the PATH, and installing it needs root and Debian"))
}

/// Stops the testbed and removes what it left, whether or not it was whole.
pub(crate) fn down() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can stop the testbed");
    }
    let state = State::from_environment()?;
    let _lock = state.lock()?;
    refuse_beside_another(&state)?;
    step("stopping the testbed", || clear(&state))?;
    println!("logs are kept in {}", state.logs().display());
    Ok(())
}

/// Whether a testbed that `up` finished runs and answers.
pub(crate) fn is_running() -> bool {
    State::from_environment()
        .is_ok_and(|state| Pins::of_running(&state).is_ok_and(|pins| is_healthy(&state, &pins)))
}

/// Clearing up takes away addresses and cgroups that another testbed would be using.
fn refuse_beside_another(state: &State) -> Result<()> {
    match node::other_testbed(state) {
        Some(other) => bail!(
            "a testbed runs already, with its state in {other}; \
             stop it first: GARDEN_TESTBED_STATE={other} cargo xtask testbed down"
        ),
        None => Ok(()),
    }
}

fn start_node(state: &State, programs: &Programs, parts: &[Part]) -> Result<()> {
    let _ = fs::remove_dir_all(state.logs());
    let images = images::all(programs, parts)?;
    step("writing certificates, configuration and images", || {
        certificates::write(state)?;
        components::write_configuration(state)?;
        registries::write_configuration(state)?;
        docker::write_configuration(state)?;
        images.iter().try_for_each(|image| image.archive().map(|_| ()))
    })?;
    kernel::remember(state)?;
    let mut components = registries::components(state);
    components.extend(components::all(state, programs)?);
    components.extend(docker::components(state, programs, parts)?);

    println!("logs: {}", state.logs().display());
    let mut node = step("starting the node", || Node::start(state, &components))?;
    step("importing images", || {
        let socket = state.containerd_socket();
        wait_until(
            PATIENCE,
            || node.check_alive(),
            || {
                ready::registries_listen()?;
                if socket.exists() { Ok(()) } else { bail!("containerd does not listen") }
            },
        )?;
        registries::import(state, &images)?;
        registries::push_base_images(state)
    })?;
    let cluster = Cluster::of_testbed(&state.kubeconfig())?;
    step("waiting for the API server", || {
        wait_until(PATIENCE, || node.check_alive(), || cluster.api_is_ready())
    })?;
    cluster.apply_manifests(&storage::prepare(state)?)?;
    step("waiting for the node, DNS, Docker and the registry in the cluster", || {
        wait_until(PATIENCE, || node.check_alive(), || is_complete(state, &cluster, parts))
    })
}

fn is_complete(state: &State, cluster: &Cluster, parts: &[Part]) -> Result<()> {
    cluster.node_is_ready()?;
    cluster.default_service_account_exists()?;
    ready::dns_answers()?;
    ready::registries_listen()?;
    docker::all_answer(state, parts)?;
    cluster.in_cluster_registry_is_available()
}

/// A testbed with at least these pins that is complete. After a crash half-way there is no note of its pins.
fn is_healthy(state: &State, wanted: &Pins) -> bool {
    let Ok(pins) = Pins::of_running(state) else { return false };
    pins.include(wanted)
        && !node::processes(state).is_empty()
        && Cluster::of_testbed(&state.kubeconfig()).is_ok_and(|cluster| {
            cluster.api_is_ready().is_ok() && is_complete(state, &cluster, &pins.parts()).is_ok()
        })
}

fn clear(state: &State) -> Result<()> {
    node::stop(state)?;
    kernel::restore(state);
    state.remove_all_but_logs()
}

fn status() -> Result<()> {
    let state = State::from_environment()?;
    let processes = node::processes(&state);
    let running = is_running();
    println!(
        "testbed:    {}",
        match (running, processes.is_empty()) {
            (true, _) => "running",
            (false, true) => "not running",
            (false, false) if !rustix::process::geteuid().is_root() => "started; only root can tell more",
            (false, false) => "started, but not healthy; `cargo xtask testbed up` repairs it",
        }
    );
    if !processes.is_empty() {
        println!("processes:  {processes:?} and everything below them");
        println!("kubeconfig: {}", state.kubeconfig().display());
    }
    println!("logs:       {}", state.logs().display());
    println!("state:      {}", state.root().display());
    println!("cache:      {}", cache_directory()?.display());
    Ok(())
}
