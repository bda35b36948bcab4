//! A clock that other work on the machine does not make run faster.

use std::fs;
use std::time::Duration;

/// Returns for how long the calling thread has had a processor. Zero where the system does not say.
///
/// What bounds the work of a test by a clock on the wall fails on a busy machine.
pub fn cpu_time() -> Duration {
    // The first number is in nanoseconds. Source: the kernel's `Documentation/scheduler/sched-stats.rst`.
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_work_counts() {
        let begun = cpu_time();
        std::thread::sleep(Duration::from_millis(300));
        let slept = cpu_time().saturating_sub(begun);
        let begun = cpu_time();
        let mut sum = 0_u64;
        while cpu_time().saturating_sub(begun) < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(slept < Duration::from_millis(100), "{slept:?}");
    }
}
