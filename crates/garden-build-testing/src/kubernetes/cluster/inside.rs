use jiff::Timestamp;
use tokio::sync::watch::Receiver;

use super::super::fault::Effect;
use super::super::log::{Log, LogName};
use super::super::program::{Kubelet, Listener, Program};
use super::super::refusal::Refusal;
use super::super::request::Request;
use super::super::store::{Key, Store};
use super::super::watch::Disruption;
use super::{FakeCluster, kind_of};

/// What the server, and what it runs, need of it.
impl FakeCluster {
    /// Returns what rings after the next change, and later ones.
    pub(crate) fn bell(&self) -> Receiver<()> {
        self.inner.bell.subscribe()
    }

    pub(crate) fn with_store<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.state().store)
    }

    pub(crate) fn change_store<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        self.change(|state| {
            let now = state.clock.now();
            change(&mut state.store, now)
        })
    }

    /// Does so with a copy, and leaves the store as it is.
    pub(crate) fn try_on_store<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let mut state = self.state();
        let now = state.clock.now();
        change(&mut state.store.clone(), now)
    }

    /// Rings only if the store has a new version then.
    pub(crate) fn change_store_if<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let mut state = self.state();
        let (before, now) = (state.store.version(), state.clock.now());
        let changed = change(&mut state.store, now);
        if state.store.version() != before {
            self.inner.bell.send_replace(());
        }
        changed
    }

    pub(crate) fn with_log<T>(&self, name: &LogName, look: impl FnOnce(&mut Log) -> T) -> T {
        look(self.state().logs.entry(name.clone()).or_default())
    }

    pub(crate) fn print(&self, name: &LogName, stamp: Option<Timestamp>, line: &str) {
        self.change(|state| {
            let stamp = stamp.unwrap_or_else(|| state.clock.now());
            state.logs.entry(name.clone()).or_default().lines.push((stamp, line.to_owned()));
        });
    }

    pub(crate) fn complete_log(&self, name: &LogName) {
        self.change(|state| state.logs.entry(name.clone()).or_default().is_complete = true);
    }

    /// Returns the name of a pod's container, or of its only one, if it has started.
    pub(crate) fn container_that_started(
        &self,
        namespace: &str,
        name: &str,
        container: Option<&str>,
    ) -> Result<String, Refusal> {
        let kind = kind_of("pods");
        let pod = self.with_store(|store| store.get(&Key::new(kind, namespace, name)).cloned());
        let pod = pod.ok_or_else(|| Refusal::not_found(kind, name))?;
        let first = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
        let container = container.unwrap_or(first);
        let statuses = pod["status"]["containerStatuses"].as_array();
        let status = statuses.and_then(|all| all.iter().find(|status| status["name"] == container));
        let state = status.map(|status| &status["state"]);
        match state {
            Some(state) if !state["running"].is_null() || !state["terminated"].is_null() => {
                Ok(container.to_owned())
            }
            _ => Err(Refusal::bad_request(format!(
                "container \"{container}\" in pod \"{name}\" is waiting to start: ContainerCreating"
            ))),
        }
    }

    pub(crate) fn record(&self, request: &Request) -> Option<Effect> {
        self.change(|state| {
            state.requests.push(request.clone());
            state
                .faults
                .iter_mut()
                .rev()
                .find_map(|fault| fault.strikes(request).then(|| fault.effect.clone()))
        })
    }

    pub(crate) fn disruption(&self) -> (u64, Disruption) {
        self.state().disruption
    }

    pub(crate) fn stream_cuts(&self) -> u64 {
        self.state().stream_cuts
    }

    pub(crate) fn has_old_streams(&self) -> bool {
        self.state().has_old_streams
    }

    pub(crate) fn kubelet(&self) -> Option<Kubelet> {
        self.state().kubelet.clone()
    }

    pub(crate) fn program(&self, subresource: &str) -> Option<Program> {
        let state = self.state();
        if subresource == "attach" { state.attach.clone() } else { state.exec.clone() }
    }

    pub(crate) fn listener(&self) -> Option<Listener> {
        self.state().listener.clone()
    }
}
