//! The end-to-end tests and the examples, on the testbed or on the user's own cluster.

use std::env;
use std::thread;

use anyhow::{Result, anyhow, bail};
use xtask::part::Part;

use super::phases::Phases;
use super::run::run_to_end;
use super::{binaries, examples};
use crate::testbed::Environment;
use crate::{conformance, testbed};

/// More than the tests that use the cluster at once: those that wait for their turn (`tests/e2e/site/turn.rs`) hold a thread, too.
const THREADS: &str = "--test-threads=48";

pub(super) fn run(phases: &mut Phases) -> Result<()> {
    conformance::forget()?;
    let was_running = testbed::is_running();
    let environment = phases.run("testbed", || testbed::up(&Part::ALL))?;
    let tested = phases.run("end-to-end tests", || tests(&environment));
    let tested = tested.and_then(|()| phases.run("examples", || examples::run(&environment)));
    // A testbed that an earlier, killed run of CI left behind is nobody's.
    let keep = was_running && env::var_os("CI").is_none();
    let stopped = if environment.owned && !keep { testbed::down() } else { Ok(()) };
    tested.and(stopped)?;
    phases.run("what docs/conformance.md says of each build mode", conformance::check)
}

/// What begins at once, in a process of its own: the tests of what a cluster has once only, which run one after another, and
/// those that take minutes. libtest would come to them last, and nothing else would be left to do meanwhile.
const LONGEST: [&str; 5] = [
    "in_cluster_registry::",
    "kaniko::context_service::killed::",
    "kaniko::delivery::a_context_of_2_gb_streams_in_less_than_64_mb",
    "kaniko::sweep::",
    "pruning::",
];

fn tests(environment: &Environment) -> Result<()> {
    let (binary, path) = (binaries::end_to_end()?, binaries::path_of_tests()?);
    let run = |arguments: &[&str]| {
        let mut command = binary.command();
        // Here no test may be left out for want of a program.
        command.env("PATH", &path).env("GARDEN_TEST_LEAVE_OUT", "nothing");
        let ended = run_to_end(command.arg(THREADS).args(arguments).envs(&environment.variables), true)?;
        binaries::report(&binary, &ended)
    };
    thread::scope(|scope| {
        let longest = scope.spawn(|| run(&LONGEST));
        let others = run(&LONGEST.map(|test| ["--skip", test]).concat());
        let longest = longest.join().map_err(|_| anyhow!("the tests' thread panicked"))?;
        match (others, longest) {
            (Err(others), Err(longest)) => bail!("{others:#}\n{longest:#}"),
            (others, longest) => others.and(longest),
        }
    })
}
