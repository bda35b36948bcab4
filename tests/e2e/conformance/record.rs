//! What a test saw, for the table in `docs/conformance.md`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::{CASES, Mode};

/// How a mode behaves in a case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Seen {
    /// As the case says.
    Works,
    /// In another way, which this says.
    Differs(&'static str),
    /// It does without it, which this says.
    Lacks(&'static str),
    /// It cannot do it, and refuses with this message before a builder is given anything: what a request asks for, before anybody is asked
    /// anything; what a Dockerfile uses, once that is read.
    Refused(String),
}

/// Removes what an earlier run saw.
pub(super) fn forget(mode: Mode, case: &str) {
    // Usually there is nothing.
    let _missing = fs::remove_file(file(mode, case));
}

/// Writes what this run has seen. The position of a column or row goes with its title.
pub(super) fn write(mode: Mode, case: &str, seen: &Seen) {
    let column = Mode::ALL.iter().position(|other| *other == mode).expect("every mode is in the list");
    let row = CASES.iter().position(|(name, _)| *name == case).expect("every case is in the list");
    let record = json!({
        "column": { "position": column, "title": mode.title() },
        "row": { "position": row, "title": CASES[row].1 },
        "seen": seen,
    });
    let file = file(mode, case);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, serde_json::to_vec_pretty(&record).unwrap()).unwrap();
}

/// Where `cargo xtask conformance` looks: below Cargo's target directory.
fn file(mode: Mode, case: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    directory.join(mode.name()).join(format!("{case}.json"))
}
