use std::sync::Arc;

use tokio::sync::Semaphore;

/// Keeps what arrives at it (requests, builds) until a test lets it go. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }
}

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until something has arrived, the next one with each call.
    pub async fn arrived(&self) {
        if let Ok(permit) = self.arrived.acquire().await {
            permit.forget();
        }
    }

    /// Lets one go: the one that has waited longest or, if there is none, the next to arrive.
    pub fn let_one_go(&self) {
        if !self.open.is_closed() {
            self.open.add_permits(1);
        }
    }

    /// Lets all go, and those that arrive later as well.
    pub fn open(&self) {
        self.open.close();
    }

    /// Arrives, and waits until it may go: what a script of a test calls.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        // Closed means open.
        if let Ok(permit) = self.open.acquire().await {
            permit.forget();
        }
    }
}
