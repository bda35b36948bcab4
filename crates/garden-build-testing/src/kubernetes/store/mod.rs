//! The objects, and what happened to them.

mod apply;
mod remove;
mod write;

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::Value;

use super::kind::Kind;
use super::refusal::Refusal;

pub(crate) use remove::Deletion;
pub(crate) use write::{Change, Write};

/// So many changes are kept for watches; a client that knows less has to list again.
const HISTORY: usize = 10_000;

/// Where an object is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) plural: &'static str,
    /// Empty for kinds that are in no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        Self { plural: kind.plural, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Clone, Debug)]
struct Stored {
    object: Value,
    /// What each field manager applied last.
    applied: BTreeMap<String, Value>,
}

/// A change, as watches report it.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Value>,
    /// What it became; for a deletion, what it was at last.
    pub(crate) after: Value,
    pub(crate) is_deleted: bool,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Stored>,
    /// The latest resource version.
    version: u64,
    /// Versions before this one have no history.
    oldest: u64,
    history: VecDeque<Happened>,
    /// Where something was created, as often as it was.
    created: Vec<Key>,
    names: u64,
}

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|stored| &stored.object)
    }

    /// Returns the objects of a kind, in the order of their names; of all namespaces if none is given.
    pub(crate) fn list(&self, plural: &str, namespace: Option<&str>) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.plural == plural && namespace.is_none_or(|it| it == key.namespace))
            .map(|(key, stored)| (key, &stored.object))
    }

    /// Returns what was there at a `version`.
    ///
    /// # Errors
    /// If that is not known any more, or not yet.
    pub(crate) fn at(&self, version: u64) -> Result<Self, Refusal> {
        if version > self.version {
            return Err(Refusal::bad_request(format!("too large resource version: {version}")));
        }
        let later: Vec<Happened> = self.since(version)?.cloned().collect();
        let mut then = self.clone();
        for Happened { key, before, .. } in later.into_iter().rev() {
            match before {
                Some(object) => then.objects.insert(key, Stored { object, applied: BTreeMap::new() }),
                None => then.objects.remove(&key),
            };
        }
        then.version = version;
        Ok(then)
    }

    pub(crate) fn created(&self) -> &[Key] {
        &self.created
    }

    /// Returns what happened after `version`.
    ///
    /// # Errors
    /// If that is not known any more.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Happened>, Refusal> {
        if version < self.oldest {
            return Err(Refusal::expired(version, self.oldest));
        }
        Ok(self.history.iter().filter(move |it| it.version > version))
    }

    /// Forgets all that happened, so that nobody can go on from what they know.
    pub(crate) fn compact(&mut self) {
        self.version += 1;
        self.oldest = self.version;
        self.history.clear();
    }

    fn happened(&mut self, key: &Key, before: Option<Value>, after: Value, is_deleted: bool) {
        if self.history.len() == HISTORY
            && let Some(forgotten) = self.history.pop_front()
        {
            self.oldest = forgotten.version;
        }
        self.history.push_back(Happened {
            version: self.version,
            key: key.clone(),
            before,
            after,
            is_deleted,
        });
    }

    /// Puts `object` in place of what is there, with a new resource version.
    fn put(&mut self, key: &Key, mut object: Value, applied: BTreeMap<String, Value>) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let before = self.objects.insert(key.clone(), Stored { object: object.clone(), applied });
        if before.is_none() {
            self.created.push(key.clone());
        }
        self.happened(key, before.map(|stored| stored.object), object.clone(), false);
        object
    }

    /// Returns an identifier as the server makes them, which no other object has.
    fn uid(&mut self) -> String {
        self.names += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.names)
    }

    fn generated_name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{:05x}", self.names)
    }

    fn stamp(now: Timestamp) -> Value {
        super::clock::seconds(now).into()
    }
}
