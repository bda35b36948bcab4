use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::kind;
use super::super::pod::FakePod;
use super::super::store::Key;
use super::{FakeCluster, kind_of};

/// What it has stored. Objects are named by the plural of their kind, such as `pods`; the namespace of a kind that
/// is in none is empty.
impl FakeCluster {
    /// Creates a namespace, unless there is one, with the service account that every namespace gets.
    pub fn namespace(&self, name: &str) {
        self.change(|state| {
            let now = state.clock.now();
            state.store.make_namespace(name, now);
        });
    }

    /// Puts an object there, whatever is in its place, with its status, and returns it as it is stored.
    ///
    /// # Panics
    /// If its `apiVersion` and `kind` are not served here.
    #[track_caller]
    pub fn put(&self, object: Value) -> Value {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let Some(kind) = kind::of_object(text("apiVersion"), text("kind")) else {
            panic!("the fake cluster does not serve {} {}", object["apiVersion"], object["kind"]);
        };
        self.change(|state| {
            let now = state.clock.now();
            state.store.set(kind, object, now)
        })
    }

    /// Returns an object.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key::new(kind_of(plural), namespace, name);
        self.with_store(|store| store.get(&key).cloned())
    }

    /// Returns all objects of a kind.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        let kind = kind_of(plural);
        self.with_store(|store| store.list(kind.plural, None).map(|(_, object)| object.clone()).collect())
    }

    /// Returns the names of all objects of a kind.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn names(&self, plural: &str) -> Vec<String> {
        let kind = kind_of(plural);
        self.with_store(|store| store.list(kind.plural, None).map(|(key, _)| key.name.clone()).collect())
    }

    /// Returns the names of all objects of a kind that were ever created, a name as often as it was.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn created(&self, plural: &str) -> Vec<String> {
        let kind = kind_of(plural);
        let is_one = |key: &&Key| key.plural == kind.plural;
        self.with_store(|store| store.created().iter().filter(is_one).map(|key| key.name.clone()).collect())
    }

    /// Changes an object in any way, its status among them. Returns whether there is one.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn alter(&self, plural: &str, namespace: &str, name: &str, alter: impl FnOnce(&mut Value)) -> bool {
        let key = Key::new(kind_of(plural), namespace, name);
        self.change(|state| state.store.alter(&key, alter).is_some())
    }

    /// Removes an object at once, with what it owns. Returns whether there was one.
    ///
    /// # Panics
    /// If there is no such kind.
    #[track_caller]
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let key = Key::new(kind_of(plural), namespace, name);
        self.change(|state| {
            let now = state.clock.now();
            state.store.remove(&key, now).is_some()
        })
    }

    /// Returns a pod, to say what becomes of it.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<FakePod> {
        let pod = self.object("pods", namespace, name)?;
        Some(FakePod::new(self.clone(), namespace, name, pod["metadata"]["uid"].as_str().unwrap_or_default()))
    }

    /// Waits until `condition` is met, which is asked after each change and each request, and returns what it returned.
    pub async fn until<T>(&self, condition: impl Fn() -> Option<T>) -> T {
        let mut bell = self.bell();
        loop {
            if let Some(met) = condition() {
                return met;
            }
            // The sender is in `self`, so this does not fail.
            let _ = bell.changed().await;
        }
    }

    /// Returns the server's time. It goes with tokio's clock.
    pub fn now(&self) -> Timestamp {
        self.state().clock.now()
    }

    /// Puts the server's clock forward.
    pub fn put_clock_forward(&self, by: Duration) {
        self.change(|state| state.clock.put_forward(by));
    }
}
