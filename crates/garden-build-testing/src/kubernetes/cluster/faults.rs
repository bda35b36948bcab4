use super::super::fault::Fault;
use super::super::request::Request;
use super::super::watch::Disruption;
use super::FakeCluster;

/// What goes wrong in it, and what it was asked.
impl FakeCluster {
    /// Has something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Ends all watches, as the server does from time to time.
    pub fn end_watches(&self) {
        self.disrupt(Disruption::Ended);
    }

    /// Breaks the connections of all watches.
    pub fn cut_watches(&self) {
        self.disrupt(Disruption::Cut);
    }

    /// Forgets what happened, and ends all watches with `410 Gone`: who wants to know has to list again.
    pub fn expire_watches(&self) {
        self.change(|state| state.store.compact());
        self.disrupt(Disruption::Expired);
    }

    /// Tells all watches that ask for it how far they are.
    pub fn send_bookmarks(&self) {
        self.disrupt(Disruption::Bookmark);
    }

    /// Breaks the connections of all streams to pods: exec, attach, port-forward.
    pub fn cut_streams(&self) {
        self.change(|state| state.stream_cuts += 1);
    }

    /// Ends all streams of a container's log, though the container goes on: with an end as of a log (`clean`), or with a break.
    pub fn cut_log(&self, namespace: &str, pod: &str, container: &str, clean: bool) {
        self.change(|state| {
            let name = (namespace.to_owned(), pod.to_owned(), container.to_owned());
            let log = state.logs.entry(name).or_default();
            log.cuts += 1;
            log.is_clean_cut = clean;
        });
    }

    /// Speaks only the older protocol of streams, which cannot close a command's input alone, as servers before 1.30.
    pub fn speak_old_streams(&self) {
        self.state().has_old_streams = true;
    }

    /// Returns the requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns [`Request::words`] of all requests that changed something or were meant to.
    pub fn writes(&self) -> Vec<String> {
        let is_read = |request: &Request| matches!(request.verb(), "get" | "list" | "watch");
        self.state().requests.iter().filter(|request| !is_read(request)).map(Request::words).collect()
    }

    /// Counts the requests of this verb for this resource.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        let state = self.state();
        state.requests.iter().filter(|it| it.verb() == verb && it.resource() == resource).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    fn disrupt(&self, how: Disruption) {
        self.change(|state| state.disruption = (state.disruption.0 + 1, how));
    }
}
