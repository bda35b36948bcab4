//! From a request to the image's name, and whether the image exists.
//!
//! Why: docs/decisions/16-what-the-dockerfile-reads-makes-the-version.md

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::time::Duration;

use futures::future::maybe_done;
use garden_build_core::context::{Cancelled, Context, DigestCache, Extent, Reader, Tree};
use garden_build_core::{
    BuildRequest, Caveat, Error, ErrorKind, EventSink, ImageReference, LogSource, NamedContext, Result, Step,
    StepKind, Version, WarningCode,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Inner, left_out, suspicions};
use crate::base_images::Doubt;
use crate::target::Known;

/// How long the registries of base images may take before it is looked whether the answer matters.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Which of its two names an image gets that has to be built.
enum Choice {
    /// That of what the Dockerfile shows to be read: no base image reads more.
    AsRead,
    /// That of the whole context; and what is known of the image of that name.
    Whole(Prepared, Known),
    /// That of the whole context. As the registry could not be asked for the other, it is not asked for this one.
    WholeUnasked(Prepared),
}

/// A request whose context was read, and so has a version and a name.
pub(super) struct Prepared {
    pub(super) request: BuildRequest,
    pub(super) context: Context,
    pub(super) named_contexts: BTreeMap<String, Tree>,
    pub(super) version: Version,
    pub(super) reference: ImageReference,
    /// What the backend thinks of it, which counts if it is built.
    judgement: Result<Vec<Caveat>>,
}

impl Prepared {
    /// Returns once what to say if it is built.
    ///
    /// # Errors
    /// If the backend would build another image.
    pub(super) fn take_caveats(&mut self) -> Result<Vec<Caveat>> {
        let mut caveats = mem::replace(&mut self.judgement, Ok(Vec::new()))?;
        caveats.extend(left_out::caveat(self.context.tree(), &self.named_contexts));
        caveats.extend(suspicions::caveats(&self.context, &self.named_contexts));
        Ok(caveats)
    }

    /// Reports in `step` why the whole directory counts, if it does and nobody has asked for it.
    fn explain(&self, step: &Step) {
        if let Extent::Whole(Some(reason)) = self.context.extent() {
            step.log(LogSource::Builder, format!("the whole directory counts: {reason}"));
        }
    }
}

impl Inner {
    /// Names the image by its content, and looks whether it exists.
    ///
    /// The content is what the Dockerfile shows to be read. Base images may have triggers that read more. An image
    /// of that name which exists was built when they had none; before one is built they are looked at, and if it is
    /// not certain, the image gets the name of the whole context. An image which has that name is the right one in any
    /// case, so nobody waits for the registry of a base image that cannot be reached, only to hear that there is nothing
    /// to do.
    ///
    /// With `replaces`, an image that exists does not count.
    pub(super) async fn find(
        &self,
        request: BuildRequest,
        replaces: bool,
        events: &EventSink,
        cancel: &CancellationToken,
    ) -> Result<(Prepared, Known)> {
        let name = format!("read the build context {}", request.shown_directory().display());
        let step = events.step(StepKind::Scan, name);
        let prepared = self.prepare(request, step.events(), cancel).await;
        if let Ok(prepared) = &prepared {
            prepared.explain(&step);
        }
        let prepared = step.end(prepared)?;
        events.image_named(&prepared.reference);
        let known = self.look_for(&prepared, replaces, events).await?;
        if matches!(known, Known::Exists(_)) {
            return Ok((prepared, known));
        }
        let (whole, known) = match Box::pin(self.choose(&prepared, &known, replaces, events, cancel)).await? {
            Choice::AsRead => return Ok((prepared, known)),
            Choice::Whole(whole, known) => (whole, known),
            Choice::WholeUnasked(whole) => (whole, known),
        };
        events.image_named(&whole.reference);
        Ok((whole, known))
    }

    /// Chooses the name of an image that has to be built: that of what was `prepared`, if it is certain that base images have
    /// no triggers that read more.
    async fn choose(
        &self,
        prepared: &Prepared,
        known: &Known,
        replaces: bool,
        events: &EventSink,
        cancel: &CancellationToken,
    ) -> Result<Choice> {
        let mut checking = pin!(maybe_done(self.check_base_images(prepared)));
        let _ = timeout(AT_ONCE, checking.as_mut()).await;
        let early = checking.as_mut().output_mut().map(|checked| checked.clone());
        let why = match &early {
            Some(Ok(())) => return Ok(Choice::AsRead),
            Some(Err(doubt)) => doubt.reason.as_str(),
            None => "whether base images have triggers (ONBUILD) is not known yet",
        };
        let whole = async {
            let step = events.step(StepKind::Scan, format!("read the whole build context: {why}"));
            if let Some(Err(doubt)) = &early {
                doubt.log_remedies(&step);
            }
            let read =
                self.prepare(prepared.request.clone().whole_context(true), step.events(), cancel).await;
            let whole = match (read, &early) {
                (Err(error), None) => {
                    let message =
                        format!("{}: this matters only if base images have triggers", error.message());
                    step.log(LogSource::Builder, message);
                    step.done();
                    return Err(error);
                }
                (read, _) => step.end(read)?,
            };
            if matches!(known, Known::Unknown(_)) {
                return Ok(Choice::WholeUnasked(whole));
            }
            let known = self.look_for(&whole, replaces, events).await?;
            Ok::<_, Error>(Choice::Whole(whole, known))
        };
        let mut whole = pin!(whole);
        // The check goes on meanwhile. If it were left alone, it might hold what the look-up waits for, such as the reading of the
        // credentials, or be the next in turn for it: then neither would ever go on.
        let whole = poll_fn(|task| {
            let _ = checking.as_mut().poll(task);
            whole.as_mut().poll(task)
        })
        .await;
        if early.is_some() || matches!(whole, Ok(Choice::Whole(_, Known::Exists(_)))) {
            // What the check has learned so far saves the next build's questions.
            self.base_images.save().await;
            return whole;
        }
        // It will be built, so the answer matters: with it, the image may get the better name after all.
        let step = events.step(StepKind::LookUp, "find out whether base images have triggers (ONBUILD)");
        checking.as_mut().await;
        let checked = checking.as_mut().take_output();
        if let Some(Err(doubt)) = &checked {
            step.log(LogSource::Builder, doubt.reason.as_str());
            doubt.log_remedies(&step);
        }
        step.done();
        // Then nobody reads the rest, whatever is wrong with it.
        if matches!(checked, Some(Ok(()))) { Ok(Choice::AsRead) } else { whole }
    }

    /// Makes sure that what was left out of the context is not read by triggers of base images; else tells why.
    async fn check_base_images(&self, prepared: &Prepared) -> std::result::Result<(), Doubt> {
        match prepared.context.extent() {
            Extent::Read { bases, .. } if !bases.is_empty() => {
                if !self.backend.capabilities().pulls_base_images {
                    return Err(format!(
                        "{} may come from the daemon, and have triggers (ONBUILD)",
                        bases.join(", ")
                    )
                    .into());
                }
                self.base_images.check(&self.target, &prepared.request, bases).await
            }
            _ => Ok(()),
        }
    }

    async fn look_for(&self, prepared: &Prepared, replaces: bool, events: &EventSink) -> Result<Known> {
        if replaces {
            return Ok(Known::Missing);
        }
        let step = events.step(StepKind::LookUp, format!("look for {}", prepared.reference));
        let known = self.target.look_up(&prepared.reference, events).await;
        match &known {
            Ok(Known::Exists(_)) => step.cached(),
            Ok(Known::Missing) => step.done(),
            Ok(Known::Unknown(error)) => {
                step.done();
                events.warn(
                    WarningCode::ImageLookUpFailed,
                    format!(
                        "whether the image exists could not be found out from here, so it is built: {}",
                        error.message()
                    ),
                    error.hint().map(str::to_owned),
                );
            }
            Err(error) => step.failed(error.message()),
        }
        known
    }

    pub(super) async fn prepare(
        &self,
        request: BuildRequest,
        events: &EventSink,
        cancel: &CancellationToken,
    ) -> Result<Prepared> {
        let image_flags = self.backend.image_flags(&request)?;
        // Also stops the scan's thread when this future is dropped.
        let stop = cancel.child_token();
        let _stop_with_us = stop.clone().drop_guard();
        let (scanned, flags, digests) = (request.clone(), image_flags.clone(), self.caches.digests());
        let stages = self.backend.capabilities().stages_built();
        let _turn = self.limits.turn_to_scan(events).await;
        let scan = move || scan(&scanned, &Reader::new(stages, &flags), &digests, &|| stop.is_cancelled());
        let here = tracing::Span::current();
        let scan = move || here.in_scope(scan);
        let (context, named_contexts) = tokio::task::spawn_blocking(scan).await.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "reading the build context broke off").with_source(error)
        })??;
        let judgement = self.backend.check(&request, &context);
        let version = Version::derive(&request, &image_flags, &context, &named_contexts);
        let reference = self.target.reference(&request.name, &version)?;
        Ok(Prepared { request, context, named_contexts, version, reference, judgement })
    }
}

/// Reads what the `reader` can read of the context, and those named contexts that are directories.
fn scan(
    request: &BuildRequest,
    reader: &Reader<'_>,
    digests: &DigestCache,
    cancelled: Cancelled<'_>,
) -> Result<(Context, BTreeMap<String, Tree>)> {
    let context = Context::scan_for(request, reader, digests, cancelled)?;
    let mut named = BTreeMap::new();
    for (name, named_context) in &request.contexts {
        if let NamedContext::Directory(directory) = named_context {
            named.insert(name.clone(), Tree::scan_with(request, directory, digests, cancelled)?);
        }
    }
    Ok((context, named))
}
