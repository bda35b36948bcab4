//! Settings of the machine's kernel that the kubelet overwrites, and that are set back afterwards.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::state::State;

/// Kernel settings of the whole machine that the kubelet overwrites.
const KERNEL_SETTINGS: &[&str] = &[
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Notes the machine's kernel settings, so that [`restore`] can undo
/// what the kubelet does to them. A note from a crashed run is older, hence truer: kept.
pub(super) fn remember(state: &State) -> Result<()> {
    let mut settings = String::new();
    for name in KERNEL_SETTINGS {
        if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
            writeln!(settings, "{name}={}", value.trim())?;
        }
    }
    if !state.path("kernel-settings").exists() {
        state.write("kernel-settings", &settings)?;
    }
    Ok(())
}

pub(super) fn restore(state: &State) {
    let Ok(settings) = fs::read_to_string(state.path("kernel-settings")) else { return };
    for (name, value) in settings.lines().filter_map(|line| line.split_once('=')) {
        if let Err(error) = fs::write(Path::new("/proc/sys").join(name), value) {
            println!("  note: could not set {name} back to {value}: {error}");
        }
    }
}
