//! What of a build's end is known from the registry, and what from its builder alone.

use std::sync::Arc;

use garden_build_core::{
    BoxFuture, BuildControl, BuildJob, Digest, Error, ErrorKind, EventSink, ImageReference, Pushed, Result,
    StepKind, WarningCode, Witness,
};

use super::Inner;
use crate::Outcome;
use crate::target::{Known, Target};

/// What is known, before a build, of the tag that it pushes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    Missing,
    NotAsked,
    /// The registry does not answer from here.
    CannotBeAsked,
}

impl Before {
    /// What is known of it when the build begins again.
    pub(super) fn again(self) -> Self {
        if self == Self::CannotBeAsked { self } else { Self::NotAsked }
    }
}

/// The image that was built, and whose word that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    pub(super) digest: Digest,
    /// Whether the registry, or whatever else images go to, was asked.
    pub(super) by_registry: bool,
}

impl Confirmed {
    pub(super) fn by_registry(digest: Digest) -> Self {
        Self { digest, by_registry: true }
    }
}

/// Asks the registry, while a build is about to end, whether its image is there.
#[derive(Debug)]
struct Arrival {
    target: Target,
    reference: ImageReference,
    /// What the tag stood for before. That it does so still proves nothing: whoever runs in the builder can read it, too.
    before: Option<Digest>,
    events: EventSink,
}

impl Witness for Arrival {
    fn sees(&self, pushed: Digest) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if self.before == Some(pushed) {
                return false;
            }
            let confirmed = self.target.confirm(&self.reference, pushed, |_| {}, &self.events).await;
            matches!(confirmed, Ok(Known::Exists(digest)) if digest == pushed)
        })
    }

    fn finds(&self) -> BoxFuture<'_, Option<Digest>> {
        Box::pin(async move {
            match self.target.look_up(&self.reference, &self.events).await {
                Ok(Known::Exists(digest)) => Some(digest),
                _ => None,
            }
        })
    }
}

impl Inner {
    pub(super) async fn build_once(
        &self,
        job: &BuildJob,
        before: Before,
        cx: &BuildControl,
    ) -> Result<(Confirmed, Outcome)> {
        let witness = cx.until_stopped(async { Ok(self.witness(job, before, cx).await) }).await?;
        let with_witness = witness.map(|witness| cx.clone().with_witness(witness));
        let pushed = self.backend.build(job, with_witness.as_ref().unwrap_or(cx)).await?;
        if pushed.is_of_another_build {
            return Ok((Confirmed::by_registry(pushed.digest), Outcome::AlreadyExists));
        }
        let outcome = Outcome::Built { steps_cached: pushed.steps_cached, steps_run: pushed.steps_run };
        let confirmed = cx.until_stopped(self.confirm(&job.destination, pushed, &cx.events)).await?;
        Ok((confirmed, outcome))
    }

    /// Returns what the backend may ask, if the registry answers.
    async fn witness(&self, job: &BuildJob, before: Before, cx: &BuildControl) -> Option<Arc<dyn Witness>> {
        let before = match before {
            Before::Missing => None,
            Before::NotAsked => match self.target.look_up(&job.destination, &cx.events).await {
                Ok(Known::Exists(digest)) => Some(digest),
                Ok(Known::Missing) => None,
                Ok(Known::Unknown(_)) | Err(_) => return None,
            },
            Before::CannotBeAsked => return None,
        };
        let (target, reference, events) = (self.target.clone(), job.destination.clone(), cx.events.clone());
        Some(Arc::new(Arrival { target, reference, before, events }))
    }

    /// Makes sure that the tag stands for what is returned.
    async fn confirm(
        &self,
        reference: &ImageReference,
        pushed: Pushed,
        events: &EventSink,
    ) -> Result<Confirmed> {
        let step = events.step(StepKind::Confirm, format!("confirm {reference}"));
        let pushed = match pushed {
            Pushed { digest, is_witnessed: true, .. } => {
                step.done();
                return Ok(Confirmed::by_registry(digest));
            }
            Pushed { digest, .. } => digest,
        };
        let log = |line| step.events().log(line);
        let known = self.target.confirm(reference, pushed, log, events).await;
        match step.end(known)? {
            Known::Exists(digest) if digest == pushed => Ok(Confirmed::by_registry(digest)),
            Known::Exists(digest) => {
                events.warn(
                    WarningCode::PushedByAnotherBuild,
                    format!("{reference} was pushed by another build at the same time; it now points to the image of that build"),
                    None,
                );
                Ok(Confirmed::by_registry(digest))
            }
            Known::Missing => Err(Error::new(
                ErrorKind::PushFailed,
                format!("the builder pushed {pushed}, but the registry does not have {reference}"),
            )
            .with_hint(
                "check that `deploymentRegistry` names the same registry from here and from the cluster",
            )),
            Known::Unknown(error) => {
                let message = format!(
                    "that {reference} stands for {pushed} is the builder's word only: {}",
                    error.message()
                );
                events.warn(WarningCode::PushUnconfirmed, message, error.hint().map(str::to_owned));
                Ok(Confirmed { digest: pushed, by_registry: false })
            }
        }
    }
}
