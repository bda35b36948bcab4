//! A test that runs itself again in a process of its own: to be killed, to be measured, or to have other variables.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

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

/// The most memory that this process has had at a time, but for the pages of its own program: a debug build of all end-to-end tests has more
/// of those than the client may need memory.
pub(crate) struct PeakMemory(Arc<AtomicU64>);

impl PeakMemory {
    /// Looks every 50 ms from now on, as long as the value lives.
    pub(crate) fn measure() -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let seen = Arc::downgrade(&peak);
        thread::spawn(move || {
            while let Some(peak) = seen.upgrade() {
                peak.fetch_max(resident_kib(), Ordering::Relaxed);
                drop(peak);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self(peak)
    }

    pub(crate) fn kib(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The memory that this process has right now, without the pages of its own program.
///
/// Source: Linux, `Documentation/filesystems/proc.rst`, `/proc/PID/smaps`: the line of a mapping ends with its file, those after it begin with
/// a name.
fn resident_kib() -> u64 {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut of_program, mut sum) = (false, 0);
    for line in maps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
            sum += if of_program { 0 } else { size };
        } else if line.starts_with(|first| matches!(first, '0'..='9' | 'a'..='f')) {
            of_program = line.ends_with(program);
        }
    }
    sum
}
