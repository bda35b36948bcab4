//! One build for one image: who asks for an image that is being built by this builder already waits for that build, and sees its events.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::{BuildControl, BuildJob, BuildSecret, ErrorKind, ImageReference, Result};

use super::confirm::Confirmed;
use crate::{Detached, Operation, Outcome};

/// How many builds are remembered that have ended, for those who asked the registry before they did.
const MOST_ENDED: usize = 100;

/// What a build has made.
pub(super) type Built = (Confirmed, Outcome);

/// What two builds have in common that are one: the name of the image, in which the version of all its inputs is, and what is not part of the
/// version but may make a difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    destination: ImageReference,
    secrets: BTreeMap<String, BuildSecret>,
    ssh_agents: BTreeMap<String, PathBuf>,
    extra_flags: Vec<String>,
    force: bool,
    no_cache: bool,
}

impl Key {
    pub(super) fn of(job: &BuildJob) -> Self {
        let request = &job.request;
        Self {
            destination: job.destination.clone(),
            secrets: request.secrets.clone(),
            ssh_agents: request.ssh_agents.clone(),
            extra_flags: request.extra_flags.clone(),
            force: request.force,
            no_cache: request.no_cache,
        }
    }

    /// Whether an image that exists already will do.
    fn takes_what_exists(&self) -> bool {
        !self.force && !self.no_cache
    }
}

/// The builds that run, and those that have just ended. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct SameImages(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: Vec<Entry>,
    /// The last builds that have succeeded, the oldest first.
    ended: VecDeque<(Moment, Key, Built)>,
    /// Counts the beginnings and the ends of builds.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    key: Key,
    build: Detached<Built>,
    /// How many wait for it.
    waiting: usize,
}

/// When something began or ended, compared with other builds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u64);

/// What became of who asked for an image.
#[derive(Debug)]
pub(super) enum Joined {
    /// A build of it has ended meanwhile.
    Ended(Built),
    /// A build of it runs.
    Running(Waiting),
}

/// Somebody who waits for a build. When nobody does any more, the build is cancelled.
#[derive(Debug)]
pub(super) struct Waiting {
    images: SameImages,
    number: u64,
    build: Operation<Built>,
    /// Whether another one has begun the build.
    pub(super) is_joined: bool,
    has_left: bool,
}

impl SameImages {
    /// Returns what time it is: a build that ends later has ended since.
    pub(super) fn now(&self) -> Moment {
        Moment(self.state().clock)
    }

    /// Finds the build for `key`: one that has ended `since`, or one that runs; else has `begin` begin one.
    pub(super) fn join(
        &self,
        key: Key,
        since: Moment,
        begin: impl FnOnce(Ending) -> Operation<Built>,
    ) -> Joined {
        let mut state = self.state();
        if key.takes_what_exists()
            && let Some((_, _, built)) =
                state.ended.iter().rfind(|(moment, ended, _)| *moment > since && *ended == key)
        {
            return Joined::Ended(built.clone());
        }
        if let Some(entry) = state.running.iter_mut().find(|entry| entry.key == key) {
            entry.waiting += 1;
            let (number, build) = (entry.number, entry.build.attach());
            return Joined::Running(Waiting {
                images: self.clone(),
                number,
                build,
                is_joined: true,
                has_left: false,
            });
        }
        state.clock += 1;
        let number = state.clock;
        let build = begin(Ending { images: self.clone(), number }).detach();
        let attached = build.attach();
        state.running.push(Entry { number, key, build, waiting: 1 });
        Joined::Running(Waiting {
            images: self.clone(),
            number,
            build: attached,
            is_joined: false,
            has_left: false,
        })
    }

    /// Takes note that one no longer waits for a build. Returns whether nobody does now; then the build is cancelled.
    fn leave(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(position) = state.running.iter().position(|entry| entry.number == number) else {
            return false;
        };
        state.running[position].waiting -= 1;
        if state.running[position].waiting > 0 {
            return false;
        }
        let entry = state.running.swap_remove(position);
        entry.build.cancellation().cancel();
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every method leaves the lists consistent, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Belongs to a build that runs. Dropped, it takes the build from the list.
#[derive(Debug)]
pub(super) struct Ending {
    images: SameImages,
    number: u64,
}

impl Ending {
    /// Takes note of the build's end.
    pub(super) fn with(self, outcome: &Result<Built>) {
        let mut state = self.images.state();
        let Some(position) = state.running.iter().position(|entry| entry.number == self.number) else {
            return;
        };
        let entry = state.running.swap_remove(position);
        let Ok(built) = outcome else { return };
        state.clock += 1;
        let moment = Moment(state.clock);
        state.ended.push_back((moment, entry.key, built.clone()));
        if state.ended.len() > MOST_ENDED {
            state.ended.pop_front();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.images.state().running.retain(|entry| entry.number != self.number);
    }
}

impl Waiting {
    /// Waits for the build, and passes on what it reports, until `cx` says to stop. Then the build goes on for others who wait for it; if there are
    /// none, this waits until it has cleaned up.
    pub(super) async fn follow(mut self, cx: &BuildControl) -> Result<Built> {
        let mut relay = cx.events.relay();
        let why = loop {
            tokio::select! {
                biased;
                error = cx.stopped() => break error,
                event = self.build.next_event() => match event {
                    Some(event) => relay.pass_on(event),
                    None => return (&mut self.build).await,
                },
            }
        };
        if !self.leave() {
            return Err(why);
        }
        while let Some(event) = self.build.next_event().await {
            relay.pass_on(event);
        }
        match (&mut self.build).await {
            Ok(built) if why.kind() == ErrorKind::Cancelled => Ok(built),
            // The build's own word has what could not be removed.
            Err(error) if why.kind() == error.kind() => Err(error),
            _ => Err(why),
        }
    }
}

impl Waiting {
    fn leave(&mut self) -> bool {
        !std::mem::replace(&mut self.has_left, true) && self.images.leave(self.number)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}
