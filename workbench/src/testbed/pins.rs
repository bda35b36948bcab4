//! What a running testbed was made of. `up` notes it when the testbed is complete.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use garden_test_programs::cache_directory;
use xtask::part::Part;
use xtask::programs::Programs;

use super::state::State;

/// Before the name of a part. Every other line is the directory of a module's programs.
const PART: &str = "part ";

/// A line for each Go module, with its pin, and one for each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pins(String);

impl Pins {
    pub(super) fn new(programs: &Programs, parts: &[Part]) -> Self {
        let mut text = programs.fingerprint.clone();
        for part in parts {
            text.extend([PART, part.name(), "\n"]);
        }
        Self(text)
    }

    /// Those of the testbed that runs, or last was complete.
    pub(super) fn of_running(state: &State) -> Result<Self> {
        let text =
            fs::read_to_string(state.ready_marker()).context("reading what the testbed was made of")?;
        Ok(Self(text))
    }

    pub(super) fn note(&self, state: &State) -> Result<()> {
        state.write("ready", &self.0).map(drop)
    }

    /// Whether a testbed of these pins serves whoever wants `wanted`.
    pub(super) fn include(&self, wanted: &Self) -> bool {
        self.missing(wanted).is_none()
    }

    /// Says what a testbed of these pins lacks of what `wanted` has.
    pub(super) fn missing(&self, wanted: &Self) -> Option<String> {
        let missing = wanted.0.lines().filter(|line| !self.0.lines().any(|own| own == *line));
        let missing: Vec<_> = missing.map(|line| line.trim_start_matches(PART)).collect();
        (!missing.is_empty()).then(|| format!("it lacks {}", missing.join(", ")))
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        let noted: Vec<_> = self.0.lines().filter_map(|line| line.strip_prefix(PART)).collect();
        // A note without parts is of a testbed from before there were parts.
        Part::ALL.into_iter().filter(|part| noted.is_empty() || noted.contains(&part.name())).collect()
    }

    /// Returns where a program lies that the testbed was made of. This source may have other pins.
    pub(super) fn program(&self, name: &str) -> Result<PathBuf> {
        let bin = cache_directory()?.join("bin");
        let path = self.0.lines().map(|line| bin.join(line).join(name)).find(|path| path.exists());
        path.with_context(|| format!("{name} is not in {}: run `cargo xtask testbed up`", bin.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(fingerprint: &str, parts: &[Part]) -> Pins {
        let mut programs = Programs::default();
        fingerprint.clone_into(&mut programs.fingerprint);
        Pins::new(&programs, parts)
    }

    #[test]
    fn a_testbed_serves_whoever_needs_less_of_the_same_pins() {
        let running = pins("kubernetes-1\nkaniko-1\nbuildkit-1\n", &[Part::Kaniko, Part::Buildkit]);
        assert!(running.include(&pins("kubernetes-1\nkaniko-1\n", &[Part::Kaniko])));
        assert!(!running.include(&pins("kubernetes-1\nkaniko-2\n", &[Part::Kaniko])));
        let other = pins("kubernetes-2\n", &[Part::OldDocker]);
        assert_eq!(running.missing(&other).as_deref(), Some("it lacks kubernetes-2, old-docker"));
        assert_eq!(running.parts(), [Part::Kaniko, Part::Buildkit]);
    }
}
