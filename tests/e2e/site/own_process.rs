//! A test that runs itself again in a process of its own: to be killed, to be measured, or to have other variables.

use std::process::Command;

/// Returns a command that runs the test `$test` of the module that this is in, and nothing else. What it finds in its environment
/// tells the test that it is there.
macro_rules! in_own_process {
    ($test:ident) => {{
        // A name that no test has would run none, which passes.
        let _exists: fn() = $test;
        $crate::site::own_process::command(module_path!(), stringify!($test))
    }};
}
pub(crate) use in_own_process;

pub(crate) fn command(module: &str, test: &str) -> Command {
    let (_crate, module) = module.split_once("::").expect("tests are in modules");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::{test}"), "--exact", "--nocapture"]);
    command
}
