use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::answer::{Response, Ways};
use super::fault::{Effect, Fault, busy};
use super::login::Logins;
use super::request::Request;
use super::store::Store;

/// How many connections there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Connections {
    /// How many were opened, those that are closed by now included.
    pub opened: usize,
    /// How many are open.
    pub open: usize,
    /// How many were open at the same time at most.
    pub most_at_once: usize,
}

/// What is known to all that serve one registry.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) logins: Logins,
    pub(crate) ways: Ways,
    /// With its scheme.
    pub(crate) url: String,
    /// Where blobs are read, if not here.
    pub(crate) storage_url: Option<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) limit: Option<RateLimit>,
    pub(crate) requests: Vec<Request>,
    /// How many requests were forgotten before the first of `requests`.
    forgotten: usize,
    pub(crate) connections: Connections,
}

/// So many requests in so much time, beginning with the first.
#[derive(Debug)]
pub(crate) struct RateLimit {
    most: usize,
    window: Duration,
    since: Option<Instant>,
    count: usize,
}

impl RateLimit {
    pub(crate) fn new(most: usize, window: Duration) -> Self {
        Self { most, window, since: None, count: 0 }
    }

    /// Counts a request. Returns how long to wait if it is one too many.
    fn count(&mut self, now: Instant) -> Option<Duration> {
        let end = self.since.map(|since| since + self.window).filter(|end| *end > now);
        let Some(end) = end else {
            (self.since, self.count) = (Some(now), 1);
            return (self.most == 0).then_some(self.window);
        };
        self.count += 1;
        (self.count > self.most).then(|| end - now)
    }
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics must not take others along.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection that is open as long as what this returns.
    pub(crate) fn count_connection(self: &Arc<Self>) -> Counted {
        let connections = &mut self.lock().connections;
        connections.opened += 1;
        connections.open += 1;
        connections.most_at_once = connections.most_at_once.max(connections.open);
        Counted(Arc::clone(self))
    }
}

pub(crate) struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().connections.open -= 1;
    }
}

impl State {
    pub(crate) fn new(logins: Logins, ways: Ways, url: String, storage_url: Option<String>) -> Self {
        Self {
            store: Store::default(),
            logins,
            ways,
            url,
            storage_url,
            faults: Vec::new(),
            limit: None,
            requests: Vec::new(),
            forgotten: 0,
            connections: Connections::default(),
        }
    }

    /// Returns what goes wrong with `request`, which counts.
    pub(crate) fn strike(&mut self, request: &Request) -> Option<Effect> {
        let mut faults = self.faults.iter_mut().rev();
        faults.find_map(|fault| fault.strikes(request).then(|| fault.effect.clone()))
    }

    /// Keeps a request, and returns its number.
    pub(crate) fn note(&mut self, request: &Request) -> usize {
        self.requests.push(request.clone());
        self.forgotten + self.requests.len() - 1
    }

    pub(crate) fn note_status(&mut self, number: usize, status: StatusCode) {
        let request = number.checked_sub(self.forgotten).and_then(|index| self.requests.get_mut(index));
        if let Some(request) = request {
            request.status = Some(status.as_u16());
        }
    }

    pub(crate) fn forget_requests(&mut self) {
        self.forgotten += self.requests.len();
        self.requests.clear();
    }

    /// Counts a request, and refuses it if there were too many.
    pub(crate) fn too_soon(&mut self) -> Option<Response> {
        self.limit.as_mut()?.count(Instant::now()).map(busy)
    }
}
