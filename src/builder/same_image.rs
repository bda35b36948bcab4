//! One build for one image: who asks for an image that is being built by this builder already waits for that build, and sees its events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::{BuildControl, BuildJob, BuildSecret, ErrorKind, ImageReference, Result};

use super::confirm::Confirmed;
use crate::{Detached, Operation, Outcome};

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
    /// The builds that have succeeded since the first of `asking` began, the oldest first. With nobody who asks, they are forgotten: keys have secrets.
    ended: Vec<(Moment, Key, Built)>,
    /// Those who have asked the registry for their image, or are about to, and do not know yet what will become of it.
    asking: Vec<Moment>,
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
struct Moment(u64);

/// Somebody who asks the registry for an image, and may have it built. A build that ends meanwhile is remembered.
#[derive(Debug)]
pub(super) struct Asking {
    images: SameImages,
    since: Moment,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.images.state();
        if let Some(position) = state.asking.iter().position(|since| *since == self.since) {
            state.asking.swap_remove(position);
        }
        match state.asking.iter().min().copied() {
            Some(first) => state.ended.retain(|(moment, ..)| *moment > first),
            None => state.ended.clear(),
        }
    }
}

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
    /// Begins to ask.
    pub(super) fn ask(&self) -> Asking {
        let mut state = self.state();
        let since = Moment(state.clock);
        state.asking.push(since);
        Asking { images: self.clone(), since }
    }

    /// Finds the build for `key`: one that has ended since somebody began `asking`, or one that runs; else has `begin` begin one.
    pub(super) fn join(
        &self,
        key: Key,
        asking: &Asking,
        begin: impl FnOnce(Ending) -> Operation<Built>,
    ) -> Joined {
        let mut state = self.state();
        if key.takes_what_exists()
            && let Some((_, _, built)) =
                state.ended.iter().rfind(|(moment, ended, _)| *moment > asking.since && *ended == key)
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
        let (Ok(built), false) = (outcome, state.asking.is_empty()) else { return };
        state.clock += 1;
        let moment = Moment(state.clock);
        state.ended.push((moment, entry.key, built.clone()));
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

#[cfg(test)]
mod tests {
    use garden_build_core::context::Context;
    use garden_build_core::{BuildRequest, Digest};

    use super::*;
    use crate::running::start;

    fn key(secret: &str) -> Key {
        let directory = tempfile::TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").expect("written");
        let request = BuildRequest::new("api", directory.path()).secret("token", secret);
        let context = Context::scan(&request, &|| false).expect("a context");
        let destination = "registry.example/api:v-1".parse().expect("a reference");
        Key::of(&BuildJob::new("0123456789", request, context, destination))
    }

    async fn build(images: &SameImages, key: Key, asking: &Asking) -> bool {
        let joined = images.join(key, asking, |ending| {
            start("build", |_, _| async move {
                let confirmed = Confirmed::by_registry(Digest::of(b"an image"));
                let built = Ok((confirmed, Outcome::AlreadyExists));
                ending.with(&built);
                built
            })
        });
        match joined {
            Joined::Ended(_) => false,
            Joined::Running(mut waiting) => (&mut waiting.build).await.is_ok(),
        }
    }

    #[tokio::test]
    async fn a_build_that_ends_while_somebody_asks_is_not_repeated_and_then_forgotten() {
        let images = SameImages::default();
        let (first, second) = (images.ask(), images.ask());
        assert!(build(&images, key("s3cret"), &first).await);
        drop(first);
        assert!(!build(&images, key("s3cret"), &second).await, "it has ended since the second asked");
        assert!(build(&images, key("another"), &second).await, "another secret is another build");
        drop(second);
        let state = images.state();
        assert!(state.ended.is_empty() && state.running.is_empty() && state.asking.is_empty(), "{state:?}");
    }
}
