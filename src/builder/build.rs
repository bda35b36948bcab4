//! The story of one build.

use std::sync::Arc;
use std::time::{Duration, Instant};

use garden_build_core::{
    BuildControl, BuildJob, BuildRequest, Caveat, Error, ErrorKind, EventSink, LONGEST_ARGUMENT, Result,
    WarningCode, WarningData,
};
use garden_cluster::build_id;
use garden_config::{Notice, NoticeKind};

use super::Inner;
use super::confirm::{Before, Confirmed};
use super::find::Prepared;
use super::same_image::{Asking, Built, Joined, Key};
use crate::running::start;
use crate::target::Known;
use crate::{BuiltImage, Outcome};

/// How often a build is begun whose builder gets lost.
const TRIES: usize = 3;

impl Inner {
    pub(super) fn job(&self, prepared: Prepared) -> Result<BuildJob> {
        let push_to = self.target.reached(&prepared.reference)?;
        let mut job = BuildJob::new(build_id(), prepared.request, prepared.context, prepared.reference);
        job.named_contexts = prepared.named_contexts;
        job.push_to = push_to;
        Ok(job)
    }

    pub(super) async fn build(
        self: Arc<Self>,
        request: BuildRequest,
        cx: &BuildControl,
    ) -> Result<BuiltImage> {
        let started = Instant::now();
        self.target.registries.begin();
        for notice in &self.notices {
            warn_of(notice, &cx.events);
        }
        if self.installs {
            cx.until_stopped(self.services.unless_installed(&cx.events, &cx.cancel)).await?;
        }
        let (replaces, asking) = (request.replaces(), self.same_images.ask());
        let (mut prepared, known) =
            cx.until_stopped(Box::pin(self.find(request, replaces, &cx.events, &cx.cancel))).await?;
        let (reference, image, outcome) = match known {
            Known::Exists(digest) => {
                (prepared.reference, Confirmed::by_registry(digest), Outcome::AlreadyExists)
            }
            Known::Missing | Known::Unknown(_) => {
                for Caveat { code, message, hint, data, .. } in prepared.take_caveats()? {
                    cx.events.warn_with(code, message, hint, data);
                }
                warn_of_oversized_arguments(&prepared.request, &cx.events);
                let job = self.job(prepared)?;
                let before = match known {
                    // Not looked for, as it does not count.
                    Known::Missing if replaces => Before::NotAsked,
                    Known::Missing => Before::Missing,
                    _ => Before::CannotBeAsked,
                };
                let reference = job.destination.clone();
                let (image, outcome) = self.build_once_for_all(job, before, &asking, cx).await?;
                (reference, image, outcome)
            }
        };
        let Confirmed { digest, by_registry } = image;
        Ok(BuiltImage {
            reference,
            digest,
            confirmed_by_registry: by_registry,
            outcome,
            duration: started.elapsed(),
        })
    }

    /// Has the image built by one build of this builder, whoever asks for it meanwhile.
    async fn build_once_for_all(
        self: Arc<Self>,
        job: BuildJob,
        before: Before,
        asking: &Asking,
        cx: &BuildControl,
    ) -> Result<Built> {
        let (inner, images, key) = (Arc::clone(&self), self.same_images.clone(), Key::of(&job));
        let reference = job.destination.clone();
        let outer = cx.trace_context.clone();
        let joined = images.join(key, asking, move |ending| {
            start(format!("build {reference}"), |events, cancel| {
                async move {
                    // From this operation's own span, if the caller can tell.
                    let trace = inner.trace.current().or(outer);
                    // The time limit is that of each who waits.
                    events.build_started(&job);
                    let cx = BuildControl::new(events, cancel, Duration::MAX)
                        .with_caches(inner.caches.clone())
                        .with_trace_context(trace);
                    let turn = inner.limits.turn_to_build(&cx.events);
                    let built = match cx.until_stopped(async { Ok(turn.await) }).await {
                        // In a box, as a whole build is a large future.
                        Ok(_turn) => Box::pin(inner.build_missing(&job, before, &cx)).await,
                        Err(error) => Err(error),
                    };
                    ending.with(&built);
                    built
                }
            })
        });
        match joined {
            Joined::Ended(built) => Ok(built),
            Joined::Running(waiting) => {
                if waiting.is_joined {
                    cx.events.log("another build of this builder builds the same image already, so this one waits for it");
                }
                waiting.follow(cx).await
            }
        }
    }

    /// Builds, and begins again when the builder was lost: with its pod or its node. Begins again as well, however often,
    /// if the registry in the cluster was stopped while the build pushed to it, as it is for each collection. A
    /// build that failed is not repeated.
    async fn build_missing(
        &self,
        job: &BuildJob,
        mut before: Before,
        cx: &BuildControl,
    ) -> Result<(Confirmed, Outcome)> {
        let mut attempt = 1;
        let mut run = cx.until_stopped(self.target.server_run()).await?;
        loop {
            let error = match self.build_once(job, before, cx).await {
                Ok(built) => return Ok(built),
                Err(error) => error,
            };
            // It may have pushed something.
            before = before.again();
            // A builder that was evicted for a limit of its own would be once more.
            let lost = match error.kind() {
                ErrorKind::BuilderLost => true,
                ErrorKind::Evicted => error.is_retryable(),
                _ => false,
            };
            let pushed_meanwhile = error.kind() == ErrorKind::PushFailed;
            // Registries with immutable tags refuse a version that somebody else has pushed
            // meanwhile, and a builder may be lost after it has pushed. It is the same version, so
            // both are success; unless the image was there before and was to be replaced.
            let may_exist = (lost || pushed_meanwhile) && !job.request.replaces();
            if may_exist
                && let Ok(Known::Exists(digest)) = self.target.look_up(&job.destination, &cx.events).await
            {
                return Ok((Confirmed::by_registry(digest), Outcome::AlreadyExists));
            }
            if cx.cancel.is_cancelled() {
                return Err(error);
            }
            if may_be_the_registry_s(&error)
                && let Some(next) =
                    cx.until_stopped(self.target.stopped_since(run.as_ref(), &cx.events)).await?
            {
                let message = format!(
                    "the registry was stopped during the build, so it begins again, with what was cached: {}",
                    error.message()
                );
                cx.events.warn(WarningCode::RegistryStopped, message, None);
                run = Some(next);
                continue;
            }
            if !lost || attempt == TRIES {
                return Err(error);
            }
            attempt += 1;
            let message = format!("{}; building again, try {attempt} of {TRIES}", error.message());
            let again = WarningData::Try { number: attempt, most: TRIES };
            cx.events.warn_with(WarningCode::BuilderLost, message, None, again);
        }
    }
}

/// Describes what the author of the configuration should know.
fn warn_of(notice: &Notice, events: &EventSink) {
    let data = WarningData::Field {
        field: notice.field.clone(),
        file: notice.file.as_ref().map(|file| file.display().to_string()),
        line: notice.position.map(|position| position.line),
        column: notice.position.map(|position| position.column),
    };
    events.warn_with(code_of(notice.kind), notice.message.clone(), notice.hint.clone(), data);
}

/// What a notice of the configuration is to the reader of events.
fn code_of(kind: NoticeKind) -> WarningCode {
    match kind {
        NoticeKind::Deprecated => WarningCode::DeprecatedField,
        NoticeKind::NoEffect => WarningCode::FieldWithoutEffect,
        NoticeKind::Advice => WarningCode::BetterSetting,
        NoticeKind::PassedOver => WarningCode::DocumentPassedOver,
        _ => WarningCode::Other,
    }
}

/// A RUN that is given one fails before its command begins, and only its shell says why.
fn warn_of_oversized_arguments(request: &BuildRequest, events: &EventSink) {
    for name in request.oversized_build_args() {
        let message = format!(
            "`buildArgs.{name}` is longer than the {LONGEST_ARGUMENT} bytes that Linux gives to a program, so no RUN can start in a stage \
             that declares it"
        );
        let hint =
            "put it into a file of the build context, which the Dockerfile copies, or into several arguments";
        let data = WarningData::BuildArgument { name: name.to_owned() };
        events.warn_with(WarningCode::OversizedArgument, message, Some(hint.to_owned()), data);
    }
}

/// Whether a build may fail in this way because its registry did not answer, or had lost a part of an image. Base images may come from there, too.
fn may_be_the_registry_s(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PushFailed | ErrorKind::Unreachable | ErrorKind::NotFound)
}
