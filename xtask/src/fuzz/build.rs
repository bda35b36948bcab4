//! Compiles fuzz targets.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::directory;
use crate::cargo::{command, succeed};
use crate::machine;

/// What makes a crate count what it runs, as libFuzzer wants it. Source: the crate `cargo-fuzz`.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How well targets are compiled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Build {
    /// As tests are, so that dependencies are compiled already. Only the crates of this workspace guide the fuzzer.
    Quick,
    /// With optimisation, and dependencies guide the fuzzer as well. It takes minutes.
    Thorough,
}

/// Where compiled targets are.
pub(super) struct Built {
    directory: PathBuf,
}

impl Built {
    pub(super) fn program(&self, target: &str) -> PathBuf {
        self.directory.join(target)
    }
}

pub(super) fn build(targets: &[&str], how: Build) -> Result<Built> {
    // libFuzzer is C++.
    if !machine::on_path("c++") {
        machine::install(&["g++"])?;
    }
    let mut cargo = command(["build", "--features", "garden-build-fuzz/targets"]);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    let directory = match how {
        Build::Quick => {
            // See the top of `cargo`.
            cargo.args(["--workspace", "--test", "targets"]);
            cargo.env("RUSTC_WORKSPACE_WRAPPER", directory().join("instrument.sh"));
            cargo.env("GARDEN_FUZZ_FLAGS", FLAGS);
            env::current_exe()?.parent().context("this program is in no directory")?.to_owned()
        }
        Build::Thorough => {
            // With a target, flags are for what is fuzzed only, and not for build scripts.
            let target = host()?;
            let output = output_directory();
            cargo.args(["--package", "garden-build-fuzz", "--release", "--target", &target, "--target-dir"]);
            cargo.arg(&output);
            cargo.env("RUSTFLAGS", format!("{FLAGS} -Cdebug-assertions -Coverflow-checks"));
            output.join(target).join("release")
        }
    };
    succeed(&mut cargo, "compiling the fuzz targets")?;
    Ok(Built { directory })
}

/// Apart from everything else that is compiled.
fn output_directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    env::var_os("CARGO_TARGET_DIR").map_or(root, PathBuf::from).join("fuzz")
}

/// Returns the platform of this machine, as the compiler calls it.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("starting rustc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV names no host: {said}"),
    }
}
