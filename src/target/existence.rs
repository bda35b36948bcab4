//! Whether images are where they go.
//!
//! The same question is asked for two purposes. Before a build ([`Target::look_up`]), an answer only saves work: it is not waited for, and
//! without one the image is built. After a push ([`Target::confirm`]), the answer is what the build returns: it is asked for as long as
//! a registry may take to show everywhere what it has taken.
//!
//! Why: docs/decisions/73-an-unreachable-registry-stops-no-build.md

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use garden_build_core::{Digest, Error, ErrorKind, EventSink, ImageReference, Result};
use garden_cluster::{ClusterError, ServerRun};
use garden_registry::{Identity, Location, Refusal, RegistryError, Resolution};
use tokio::time::{Instant, sleep};

use super::{Place, Target};

/// How long a registry may take until each of its servers shows what it has taken. Registries with several servers, a cache in front of them or
/// a storage of their own for tags take seconds.
const CONSISTENT: Duration = Duration::from_secs(15);

/// The longest time between two questions.
const LONGEST_DELAY: Duration = Duration::from_secs(4);

/// What the registry answered, or why it did not.
type Answer = std::result::Result<Resolution, RegistryError>;

/// What this machine can tell about an image.
#[derive(Debug)]
pub(crate) enum Known {
    Exists(Digest),
    Missing,
    /// This machine cannot ask, but the builder in the cluster may be able to.
    Unknown(Error),
}

impl Target {
    /// Asks which digest the image's tag stands for in the registry; without one, which image the daemon and the nodes have.
    pub(crate) async fn look_up(&self, reference: &ImageReference, events: &EventSink) -> Result<Known> {
        if let Place::Nodes(nodes) = &self.place {
            return Ok(nodes.find(reference).await?.map_or(Known::Missing, Known::Exists));
        }
        let answer = self.ask(reference, events).await?;
        self.known(answer)
    }

    /// Asks whether the image's tag stands for what was `pushed`, again and again until it does or [`CONSISTENT`] is over, and returns the
    /// last answer. `on_wait` is called once with the reason why it is asked again.
    pub(crate) async fn confirm(
        &self,
        reference: &ImageReference,
        pushed: Digest,
        on_wait: impl Fn(String),
        events: &EventSink,
    ) -> Result<Known> {
        if matches!(self.place, Place::Nodes(_)) {
            return self.look_up(reference, events).await;
        }
        let until = Instant::now() + CONSISTENT;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(LONGEST_DELAY)
            .without_max_times()
            .build();
        let mut told = false;
        loop {
            let answer = self.ask(reference, events).await?;
            let planned = delays.next().unwrap_or(LONGEST_DELAY);
            let wait =
                wait_for_better(&answer, pushed, planned).filter(|wait| Instant::now() + *wait <= until);
            let Some(wait) = wait else { return self.known(answer) };
            if !told {
                let why = match &answer {
                    Err(error) => error.to_string(),
                    Ok(_) => "it does not show yet what was pushed".to_owned(),
                };
                on_wait(format!("the registry is asked again: {why}"));
                told = true;
            }
            sleep(wait).await;
        }
    }

    /// Asks the registry. The one in the cluster is waited for if it does not answer: it may only be starting again, and else says why it
    /// is not there.
    ///
    /// # Errors
    /// If it could not be asked at all.
    async fn ask(&self, reference: &ImageReference, events: &EventSink) -> Result<Answer> {
        let answer = self.resolve(reference).await?;
        let (Some(in_cluster), Err(error)) = (self.in_cluster(), &answer) else { return Ok(answer) };
        if !may_pass(error) {
            return Ok(answer);
        }
        match Box::pin(in_cluster.takes_pushes(events)).await.map_err(Error::from) {
            Ok(_) => self.resolve(reference).await,
            // This machine may not look at the cluster, so it does not know more than the answer says.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(answer),
            Err(error) => Err(error),
        }
    }

    /// Explains what an answer means.
    fn known(&self, answer: Answer) -> Result<Known> {
        match answer {
            Ok(Resolution::Exists(digest)) => Ok(Known::Exists(digest)),
            Ok(Resolution::Missing) => Ok(Known::Missing),
            Err(error) if only_the_builder_may_know(&error) => {
                Ok(Known::Unknown(error.explain(self.registry()?.remedies)))
            }
            Err(error) => Err(error.explain(self.registry()?.remedies)),
        }
    }

    /// Asks the registry. If it refuses credentials that may be a minute old, and there are others by now, it is asked once more with
    /// those: a Secret that was renewed while the image was built counts when the image is confirmed.
    ///
    /// # Errors
    /// If it could not be asked at all. What it answered, or why it did not, is in the result.
    async fn resolve(&self, reference: &ImageReference) -> Result<Answer> {
        let credentials = self.registries.credentials();
        let before = credentials.read().await?;
        let Location { registry, image } = self.locate(reference).await?;
        let answer = registry.resolve(&image).await;
        if !matches!(&answer, Err(RegistryError::Unauthorized(refusal)) if refuses_login(refusal)) {
            return Ok(answer);
        }
        self.registries.begin();
        // Equal ones are as wrong as before, and whoever shows them again and again may be locked out.
        if *credentials.read().await? == *before {
            return Ok(answer);
        }
        let Location { registry, image } = self.locate(reference).await?;
        Ok(registry.resolve(&image).await)
    }

    /// Returns which run of the registry's server serves now; `None` for a registry outside of the cluster, and for
    /// one that does not answer.
    ///
    /// # Errors
    /// If it would refuse every push, because it wants a password of which the configuration says nothing.
    pub(crate) async fn server_run(&self) -> Result<Option<ServerRun>> {
        let Some(registry) = self.in_cluster() else { return Ok(None) };
        match registry.server().await {
            Err(error @ ClusterError::Pod(_)) => Err(error.into()),
            answer => Ok(answer.ok()),
        }
    }

    /// Waits until the registry in the cluster takes pushes, and returns the run of its server if that is not the run
    /// `before`: then what was pushed to that may not have arrived, or have been collected before it was complete. A machine
    /// that may not ask gets `None`, too.
    ///
    /// # Errors
    /// If the registry does not take pushes again.
    pub(crate) async fn stopped_since(
        &self,
        before: Option<&ServerRun>,
        events: &EventSink,
    ) -> Result<Option<ServerRun>> {
        let Some(registry) = self.in_cluster() else { return Ok(None) };
        match Box::pin(registry.takes_pushes(events)).await.map_err(Error::from) {
            Ok(now) => Ok(Some(now).filter(|now| Some(now) != before)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the failure concerns only this machine or this question. Clouds give their own
/// nodes and pods access that needs no secret, private networks may be closed to us, some
/// registries deny what does not exist yet, proxies show their page to whom they do not know, and a registry that is busy now may take
/// the image when it is built. Credentials that are wrong, and TLS that does not fit, will not do for the builder either.
fn only_the_builder_may_know(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unauthorized(refusal) => !refuses_login(refusal),
        RegistryError::Forbidden(_) => true,
        error if may_pass(error) => true,
        // Whoever answered is not the registry.
        RegistryError::Unexpected { status, .. } => status.as_u16() == 403,
        _ => false,
    }
}

/// Whether the registry did not answer, or was too busy to.
fn may_pass(error: &RegistryError) -> bool {
    use RegistryError::{Busy, Timeout, Unreachable};
    matches!(error, Unreachable { .. } | Timeout { .. } | Busy { .. })
}

/// Returns how long to wait for a better answer to whether the tag stands for what was `pushed`: as `planned`, or as long as the registry wants;
/// `None` if this answer is as good as any later one. Who does not reach the registry has tried more than once already, and may never reach it.
fn wait_for_better(answer: &Answer, pushed: Digest, planned: Duration) -> Option<Duration> {
    match answer {
        Ok(Resolution::Exists(digest)) if *digest == pushed => None,
        // What stood there before may be shown for a while.
        Ok(_) => Some(planned),
        Err(RegistryError::Busy { retry_after, .. }) => Some(retry_after.unwrap_or_default().max(planned)),
        Err(_) => None,
    }
}

/// Whether it is credentials that were refused, and not the lack of them.
fn refuses_login(refusal: &Refusal) -> bool {
    matches!(refusal.identity, Identity::Credentials { .. } | Identity::HelperLogin { .. })
}
