//! `cargo xtask test`: every check and every test, the end-to-end ones included.

mod binaries;
mod decisions;
mod dependencies;
mod end_to_end;
mod examples;
mod features;
mod frontend;
mod guides;
mod lints;
mod page_links;
mod pages;
mod phases;
mod public_api;
mod public_types;
mod run;
mod scripts;
mod semver;
mod spelling;

use std::process::Command;
use std::thread;

use anyhow::{Result, anyhow, bail};
use xtask::cargo::{command, succeed};
use xtask::part::Part;

use crate::{book, schema, testbed};
use phases::Phases;
pub(crate) use scripts::files;

pub(crate) use public_api::{check as check_public_api, write as write_public_api};
pub(crate) use semver::check as check_semver;

pub(crate) fn run() -> Result<()> {
    testbed::check()?;
    let mut phases = Phases::default();
    let result = thread::scope(|scope| {
        // On a new machine this takes longer than all before the end-to-end tests.
        let cluster = scope.spawn(|| testbed::prepare(&Part::ALL));
        let checked = before_the_cluster(&mut phases);
        // Says why first, as what follows from it would hide it.
        let prepared = cluster.join().map_err(|_| anyhow!("preparing the testbed panicked"))?;
        checked.and(prepared)?;
        phases.run("unit and integration tests, and those of the documentation", below_the_cluster)?;
        end_to_end::run(&mut phases)
    });
    phases.print();
    result?;
    println!("\nall checks and tests passed");
    Ok(())
}

/// What needs neither a cluster nor other programs.
fn before_the_cluster(phases: &mut Phases) -> Result<()> {
    phases.run("formatting", lints::formatting)?;
    phases.run("compiling tests and examples", binaries::compile)?;
    phases.run("lints", lints::clippy)?;
    phases.run("check of each choice of features", features::check_each)?;
    phases.run("documentation", lints::documentation)?;
    phases.run("types of other crates", public_types::check)?;
    phases.run("what is public", public_api::compare)?;
    phases.run("dependencies", dependencies::check)?;
    phases.run("spelling", spelling::check)?;
    phases.run("JSON Schema", schema::check)?;
    phases.run("tests that pages name", pages::check)?;
    phases.run("decisions", decisions::check)?;
    phases.run("book and links", book::check)?;
    phases.run("links of pages", page_links::check)?;
    phases.run("scripts and Go programs", scripts::check)?;
    phases.run("fuzzing for seconds", fuzz)
}

/// In a process of its own: on Linux, the largest memory of a process counts as that of the programs which it starts, and this one has read
/// rustdoc's JSON. The targets have a limit of memory.
fn fuzz() -> Result<()> {
    succeed(&mut command(["xtask", "fuzz", "--short"]), "fuzzing")
}

/// What needs no cluster. The tests of the documentation wait for rustc, and most of the registries' tests wait for a clock.
fn below_the_cluster() -> Result<()> {
    thread::scope(|scope| {
        let documentation = scope.spawn(tests_of_the_documentation);
        let others = binaries::unit_and_integration_tests();
        others.and(documentation.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn tests_of_the_documentation() -> Result<()> {
    let ended = run::run_to_end(&mut command(["test", "--workspace", "--doc", "--quiet"]), false)?;
    match &ended.hung {
        Some(hung) => {
            bail!("{}the documentation's tests were killed while these ran: {hung}", ended.not_shown())
        }
        None if !ended.success => bail!("{}the documentation's tests failed", ended.not_shown()),
        None => {
            println!("{:>6.1} s  the documentation's tests", ended.took.as_secs_f64());
            Ok(())
        }
    }
}

/// Runs a command and returns what it prints.
pub(crate) fn output_of(command: &mut Command, what: &str) -> Result<String> {
    let output = command.output().map_err(|error| anyhow!("running {what}: {error}"))?;
    if !output.status.success() {
        return Err(anyhow!("{what} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8(output.stdout)?)
}
