//! How many tests use the cluster at a time.

use tokio::sync::Semaphore;
use tokio::task_local;

/// Tests that have a turn at the same time. They wait for the cluster most of the time: all of its programs and pods take about a
/// second of one processor for each test.
const AT_ONCE: usize = 10;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

task_local! {
    /// Set in a test that has a turn.
    static TURN: ();
}

/// Runs a test when it is its turn. The harness has a thread for many more tests than there are turns, so that those that wait for
/// something else than the cluster, as for a registry that one test uses at a time, keep nobody from going on.
pub(crate) async fn in_turn<T>(test: impl Future<Output = T>) -> T {
    // A project within a project: the test would wait for itself.
    if TURN.try_with(|()| ()).is_ok() {
        return test.await;
    }
    let _turn = TURNS.acquire().await.expect("nobody closes it");
    TURN.scope((), test).await
}
