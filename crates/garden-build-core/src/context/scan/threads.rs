//! Work for as many threads as there are processors.

use std::cmp::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::ContextError;

/// More threads than this do not help: the disk is the limit.
const MAX_THREADS: usize = 16;

/// Has several threads do `work`, and returns what each has returned.
pub(super) fn all<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let mut results = vec![work()];
        for worker in workers {
            results.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

/// Jobs that make more jobs, the latest of which is done first.
#[derive(Debug)]
pub(super) struct Stack<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<J> {
    jobs: Vec<J>,
    /// Jobs that are being done, and may make more.
    running: usize,
}

impl<J> Stack<J> {
    pub(super) fn new(first: J) -> Self {
        Self { state: Mutex::new(State { jobs: vec![first], running: 0 }), changed: Condvar::new() }
    }

    /// Does jobs until there are none and no thread can make more. What `work` returns is done later.
    pub(super) fn work_off(&self, mut work: impl FnMut(J) -> Vec<J>) {
        while let Some(job) = self.take() {
            let mut running = Running { stack: self, made: Vec::new() };
            running.made = work(job);
        }
    }

    fn take(&self) -> Option<J> {
        let is_waiting = |state: &mut State<J>| state.jobs.is_empty() && state.running > 0;
        let state = self.changed.wait_while(lock(&self.state), is_waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop()?;
        state.running += 1;
        Some(job)
    }
}

/// A job that is being done. If it panics, the other threads must not wait for it.
struct Running<'s, J> {
    stack: &'s Stack<J>,
    made: Vec<J>,
}

impl<J> Drop for Running<'_, J> {
    fn drop(&mut self) {
        let mut state = lock(&self.stack.state);
        state.running -= 1;
        state.jobs.append(&mut self.made);
        if state.jobs.len() > 1 || state.running == 0 || thread::panicking() {
            self.stack.changed.notify_all();
        }
    }
}

/// What failed first in the order of the walk, whichever thread met it.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<(Vec<u8>, ContextError)>>);

impl Failure {
    pub(super) fn record(&self, path: &[u8], error: ContextError) {
        let mut first = lock(&self.0);
        if first.as_ref().is_none_or(|(known, _)| order(path, known).is_lt()) {
            *first = Some((path.to_vec(), error));
        }
    }

    /// Ends all work, because nobody wants the result.
    pub(super) fn cancel(&self) {
        self.record(b"", ContextError::Cancelled);
    }

    /// Whether something has failed before `path`, so that it does not matter what is there.
    pub(super) fn is_before(&self, path: &[u8]) -> bool {
        lock(&self.0).as_ref().is_some_and(|(known, _)| order(known, path).is_le())
    }

    pub(super) fn result(self) -> Result<(), ContextError> {
        let first = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// The order of a walk: a directory, what is in it, what comes after it.
pub(super) fn order(one: &[u8], other: &[u8]) -> Ordering {
    let names = |path| <[u8]>::split(path, |byte| *byte == b'/');
    names(one).cmp(names(other))
}

/// A thread that panics ends the whole scan, so nobody sees what it has left.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{self, AtomicUsize};

    use super::*;

    #[test]
    fn all_jobs_are_done_once_whoever_makes_them() {
        let done = AtomicUsize::new(0);
        let stack = Stack::new(12_u32);
        all(|| {
            stack.work_off(|depth| {
                done.fetch_add(1, atomic::Ordering::Relaxed);
                if depth == 0 { Vec::new() } else { vec![depth - 1; 2] }
            });
        });
        assert_eq!(done.into_inner(), (1 << 13) - 1);
    }

    #[test]
    fn a_panic_ends_the_work_of_all() {
        let stack = Stack::new(0);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            all(|| stack.work_off(|_| panic!("defect")));
        }));
        assert!(result.is_err());
    }

    #[test]
    fn the_first_failure_in_order_counts_and_a_cancellation_before_all() {
        let failure = Failure::default();
        for path in ["b", "a/c", "a-b", "a/b", "a/d"] {
            failure.record(path.as_bytes(), ContextError::Changed(path.into()));
        }
        assert!(failure.is_before(b"a/c") && !failure.is_before(b"a") && !failure.is_before(b"a/a/z"));
        failure.cancel();
        assert!(failure.is_before(b"a"));
        assert!(matches!(failure.result(), Err(ContextError::Cancelled)));
    }
}
