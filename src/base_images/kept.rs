//! Keeps what is known of base images from one build to the next: in memory, and in a file of this user's.
//!
//! What is in the file decides about names of images, so it counts only if nobody else can have written it, and if it is whole.
//! What is damaged, too large, or another user's is as good as nothing: everything in it can be asked for again.
//!
//! Why: docs/decisions/68-facts-of-base-images-are-on-disk.md

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use garden_build_core::{Digest, read_private_file, write_private_file};
use serde::{Deserialize, Serialize};

use super::facts::Fact;

const FILE: &str = "facts";

/// The file begins with this and the digest of the rest. Whoever changes what the rest means changes the number.
const HEADER: &str = "garden-build base images 1 ";

/// The most that the file may have, in bytes. A list of images has some 2 KiB.
const LARGEST_FILE: usize = 1024 * 1024;

/// How many manifests are known at most. What was found out longest ago goes first.
const MOST: usize = 2000;

/// When something is found out again. Tags move on, and nothing in use is older for long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[derive(Debug, Default)]
pub(crate) struct KeptFacts {
    directory: Option<PathBuf>,
    known: Arc<Mutex<Known>>,
    /// Held while the file is read, added to and written. Of two that did so at once, the one would undo what the other has added.
    saving: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    facts: Facts,
    has_news: bool,
}

/// What is known, by the digests of manifests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Facts(BTreeMap<Digest, Found>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Found {
    fact: Fact,
    /// When it was found out: seconds since 1970.
    at: u64,
}

impl KeptFacts {
    /// Keeps facts in `directory`; if there is none, in memory only.
    pub(crate) fn in_directory(directory: Option<PathBuf>) -> Self {
        Self { directory, known: Arc::default(), saving: Arc::default() }
    }

    /// Returns what is known of a manifest, by this process or by another one.
    pub(super) async fn get(&self, digest: Digest) -> Option<Fact> {
        let in_memory = |known: &Arc<Mutex<Known>>| lock(known).facts.get(digest);
        if let Some(fact) = in_memory(&self.known) {
            return Some(fact);
        }
        let (directory, known) = (self.directory.clone()?, Arc::clone(&self.known));
        let reading = move || {
            let from_file = Facts::read(&directory);
            lock(&known).facts.add(from_file);
        };
        tokio::task::spawn_blocking(reading).await.ok()?;
        in_memory(&self.known)
    }

    /// Keeps what was found out of a manifest; in the file, from the next [`save`](Self::save) on.
    pub(super) fn put(&self, digest: Digest, fact: Fact) {
        let mut known = lock(&self.known);
        known.facts.0.insert(digest, Found { fact, at: now() });
        known.facts.tidy(now());
        known.has_news = true;
    }

    /// Writes what is new to the file, beside what other processes have written meanwhile. What cannot be written is tried again by
    /// the next one who saves.
    pub(super) async fn save(&self) {
        let Some(directory) = self.directory.clone() else { return };
        let (known, saving) = (Arc::clone(&self.known), Arc::clone(&self.saving));
        // The lock is taken by the thread that writes: that one goes on if whoever waits for it is dropped.
        let writing = move || {
            let _saving = lock(&saving);
            let mut facts = {
                let mut known = lock(&known);
                if !std::mem::take(&mut known.has_news) {
                    return;
                }
                known.facts.clone()
            };
            facts.add(Facts::read(&directory));
            if write_private_file(&directory, FILE, facts.render().as_bytes()).is_err() {
                lock(&known).has_news = true;
            }
        };
        let _ = tokio::task::spawn_blocking(writing).await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Facts {
    fn get(&self, digest: Digest) -> Option<Fact> {
        self.0.get(&digest).map(|found| found.fact.clone())
    }

    /// Adds what is not known yet.
    fn add(&mut self, others: Self) {
        for (digest, found) in others.0 {
            self.0.entry(digest).or_insert(found);
        }
        self.tidy(now());
    }

    /// Drops what is too old or too much.
    fn tidy(&mut self, now: u64) {
        // What seems to be from the future was found by a clock that went wrong.
        self.0.retain(|_, found| found.at <= now && now - found.at < FORGOTTEN_AFTER.as_secs());
        let surplus = self.0.len().saturating_sub(MOST);
        for digest in self.oldest_first().into_iter().take(surplus) {
            self.0.remove(&digest);
        }
    }

    fn oldest_first(&self) -> Vec<Digest> {
        let mut digests: Vec<_> = self.0.iter().map(|(digest, found)| (found.at, *digest)).collect();
        digests.sort_unstable();
        digests.into_iter().map(|(_, digest)| digest).collect()
    }

    fn read(directory: &Path) -> Self {
        let read = || {
            let bytes = read_private_file(directory, FILE, LARGEST_FILE as u64)?;
            Self::parse(std::str::from_utf8(&bytes).ok()?)
        };
        read().unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let (digest, facts) = text.strip_prefix(HEADER)?.split_once('\n')?;
        let is_whole = digest.parse().is_ok_and(|digest: Digest| digest == Digest::of(facts.as_bytes()));
        if is_whole { serde_json::from_str(facts).ok() } else { None }
    }

    /// Writes as much as there is room for, the newest first.
    fn render(&self) -> String {
        let mut room = LARGEST_FILE - HEADER.len() - 128;
        let mut entries = Vec::new();
        for digest in self.oldest_first().into_iter().rev() {
            let entry = format!("\"{digest}\":{}", serde_json::json!(self.0[&digest]));
            let Some(left) = room.checked_sub(entry.len() + 1) else { break };
            room = left;
            entries.push(entry);
        }
        let facts = format!("{{{}}}", entries.join(","));
        format!("{HEADER}{}\n{facts}", Digest::of(facts.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
