//! Which tests a machine can run.
//!
//! A plain `cargo test` runs on a machine with nothing but Rust: a test that needs more says so, and is left out. Where
//! nothing may be left out, it fails.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

use crate::Go;

/// A program that tests start and that Rust does not bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Builds the programs that tests compare with.
    Go,
    /// Runs the scripts that run in pods.
    Busybox,
    /// Debian's registry, version 2.8.
    DockerRegistry,
    /// Debian's small proxy that speaks HTTP.
    Tinyproxy,
    /// Debian's small proxy that speaks SOCKS.
    Microsocks,
}

impl Program {
    /// What the program is called on the `PATH`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Busybox => "busybox",
            Self::DockerRegistry => "docker-registry",
            Self::Tinyproxy => "tinyproxy",
            Self::Microsocks => "microsocks",
        }
    }

    /// Describes what is missing, if this program is.
    fn missing(self) -> Option<String> {
        match self {
            // The modules below `testbed/tools` say in their `go.mod` that they need it.
            Self::Go => (!Go::is_recent()).then(|| format!("Go {} or later", Go::OLDEST)),
            other => find_on_path(other.name()).is_none().then(|| other.name().to_owned()),
        }
    }
}

/// Stands first in a test that needs programs: ends the test, as one that passes, where one of them is missing.
///
/// ```no_run
/// #[test]
/// fn the_script_stops() {
///     garden_test_programs::needs!(Go, Busybox);
///     // …
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! needs {
    ($($program:ident),+) => {
        if $crate::lacks(&[$($crate::Program::$program),+]) {
            return;
        }
    };
}

/// Whether the calling test is to be left out, because the `PATH` lacks one of `programs`. Says so if it is.
///
/// # Panics
///
/// Panics instead where nothing may be left out: if `CI` is set, or `GARDEN_TEST_LEAVE_OUT` is `nothing`, as
/// `cargo xtask test` sets it.
pub fn lacks(programs: &[Program]) -> bool {
    let missing: Vec<_> = programs.iter().filter_map(|program| program.missing()).collect();
    if missing.is_empty() {
        return false;
    }
    let missing = missing.join(" and ");
    let ci = env::var("CI").ok();
    let asked = env::var("GARDEN_TEST_LEAVE_OUT").ok();
    assert!(may_leave_out(ci.as_deref(), asked.as_deref()), "this test needs {missing} on the PATH");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the macros, whose output libtest shows of tests that fail only. A test does not fail for want of a listener.
    let _ = writeln!(std::io::stderr(), "left out: {test}: needs {missing} on the PATH");
    true
}

/// `ci` and `asked` are the values of `CI` and `GARDEN_TEST_LEAVE_OUT`.
fn may_leave_out(ci: Option<&str>, asked: Option<&str>) -> bool {
    matches!(ci, None | Some("" | "0" | "false")) && asked != Some("nothing")
}

/// Finds a program on the `PATH`.
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuous_integration_leaves_out_nothing() {
        assert!(may_leave_out(None, None));
        assert!(may_leave_out(Some("false"), None));
        assert!(!may_leave_out(Some("true"), None));
        assert!(!may_leave_out(Some("1"), None));
        assert!(!may_leave_out(None, Some("nothing")));
    }

    #[test]
    fn a_program_that_no_machine_has_is_not_found() {
        assert_eq!(find_on_path("garden-build-has-no-such-program"), None);
        assert!(find_on_path("sh").is_some());
    }
}
