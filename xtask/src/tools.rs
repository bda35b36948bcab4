//! Programs of other projects that check ours, and that cargo compiles: each in one version, once for all clones of the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use garden_test_programs::cache_directory;

use crate::cargo::{command, succeed};
use crate::progress::step;

/// A program that is a package of crates.io.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// Those of its features that are compiled.
    features: &'static [&'static str],
    /// Roughly, on two cores that do nothing else.
    minutes: u32,
}

/// Says what a package may depend on, by the rules in `deny.toml`.
pub const CARGO_DENY: Tool =
    Tool { package: "cargo-deny", version: "0.20.2", program: "cargo-deny", features: &[], minutes: 1 };

/// Finds spelling mistakes. Without the table of what is spelt otherwise in which country, which takes a minute and 2 GB to compile.
pub const TYPOS: Tool =
    Tool { package: "typos-cli", version: "1.42.3", program: "typos", features: &["dict"], minutes: 1 };

/// Makes a book of Markdown pages. Without its server.
pub const MDBOOK: Tool =
    Tool { package: "mdbook", version: "0.5.4", program: "mdbook", features: &["search"], minutes: 1 };

/// Compares the public items of two versions of a crate.
pub const SEMVER_CHECKS: Tool = Tool {
    package: "cargo-semver-checks",
    version: "0.51.0",
    program: "cargo-semver-checks",
    features: &[],
    minutes: 4,
};

impl Tool {
    /// Returns where the program lies. If it has not been compiled yet, that is done first.
    ///
    /// # Errors
    ///
    /// Fails if it does not compile.
    pub fn path(&self) -> Result<PathBuf> {
        let name = format!("{}-{}", self.package, self.version);
        let kept = cache_directory()?.join("cargo");
        let directory = kept.join(&name);
        let program = directory.join("bin").join(self.program);
        if program.exists() {
            return Ok(program);
        }
        fs::create_dir_all(&kept).with_context(|| format!("creating {}", kept.display()))?;
        let lock = kept.join(format!(".lock-{}", self.package));
        let lock = File::create(&lock).with_context(|| format!("opening {}", lock.display()))?;
        lock.lock().context("waiting for another installation")?;
        // Another process may have been faster.
        if program.exists() {
            return Ok(program);
        }
        let unit = if self.minutes == 1 { "minute" } else { "minutes" };
        let what = format!("installing {name} (about {} {unit} the first time)", self.minutes);
        step(&what, || self.install(&directory))?;
        Ok(program)
    }

    /// Without optimisation, which takes longer than all that the program is used for.
    fn install(&self, directory: &Path) -> Result<()> {
        let target = directory.with_file_name(format!(".building-{}", self.package));
        let mut install =
            command(["install", "--locked", "--debug", "--quiet", "--no-track", "--no-default-features"]);
        install.arg("--features").arg(self.features.join(","));
        install.args(["--version", self.version, self.package, "--root"]).arg(directory);
        install.arg("--target-dir").arg(&target).env("CARGO_PROFILE_DEV_DEBUG", "0");
        // A compiler flag of ours is not meant for it.
        install.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        succeed(&mut install, &format!("cargo install {}", self.package))?;
        Ok(fs::remove_dir_all(target)?)
    }
}
