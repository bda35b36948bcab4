//! One build on a daemon, wherever it runs.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{self, Either};
use garden_build_core::{BuildControl, BuildJob, Error, EventSink, TraceContext, WarningCode};
use tokio::sync::Notify;

use crate::client::file_sync::{Journal, SyncError};
use crate::client::{Client, ClientError, DockerfileBuild, RegistryLogins, Session, Solved};
use crate::failure::{self, Advice};
use crate::progress::Progress;
use crate::request;

/// A build on a daemon: serves it what it asks for, and turns its reports into events.
#[derive(Debug)]
pub struct Run {
    session: Session,
    journal: Journal,
    progress: Progress,
    events: EventSink,
    advice: Advice,
    trace_context: Option<TraceContext>,
}

impl Run {
    /// Prepares to build `job`, with the credentials of `logins`, and to report to the events of `cx`.
    pub fn new(job: &BuildJob, logins: Arc<dyn RegistryLogins>, cx: &BuildControl, advice: Advice) -> Self {
        let journal = Journal::default();
        let session = request::session(job, logins, journal.clone());
        let progress = Progress::new(cx.events.clone(), journal.clone());
        Self {
            session,
            journal,
            progress,
            events: cx.events.clone(),
            advice,
            trace_context: cx.trace_context.clone(),
        }
    }

    /// Builds on the daemon that `client` is connected to. Dropping the future cancels the build there.
    ///
    /// # Errors
    /// Those of [`Client::build`]; [`explain`](Self::explain) says what they mean.
    pub async fn build(&mut self, client: &Client, wanted: DockerfileBuild) -> Result<Solved, ClientError> {
        let session = std::mem::take(&mut self.session);
        let (progress, reports) = (&mut self.progress, Notify::new());
        let client = match &self.trace_context {
            Some(context) => client.clone().traced(context),
            None => client.clone(),
        };
        let image = wanted.image.names().first().cloned();
        let building = client.build(wanted, session, |update| {
            reports.notify_one();
            progress.update(update);
        });
        let looking = async {
            // A build is known to the daemon when it reports.
            reports.notified().await;
            tell_of_others(&client, image.as_deref(), &self.events).await;
        };
        // In a box, as a whole build is a large future.
        let built = alongside(Box::pin(building), looking).await;
        self.finish();
        built
    }

    /// Ends all steps, as the build has ended.
    pub(crate) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Returns what went wrong on this side. We report it to the daemon, and it comes back in the daemon's words.
    pub fn failed_here(&self) -> Option<Error> {
        self.journal.take_failure().filter(SyncError::began_here).map(Error::from)
    }

    /// Describes what happened, and what to do.
    pub fn explain(&self, error: ClientError) -> Error {
        failure::explain(error, &self.progress, self.advice)
    }

    /// Returns how many steps of the Dockerfile came from a cache, and how many were run.
    pub fn counts(&self) -> (usize, usize) {
        self.progress.counts()
    }
}

/// States that another client's build gives its image the name `image`, too. Both builds say so, as neither knows who pushes last.
async fn tell_of_others(client: &Client, image: Option<&str>, events: &EventSink) {
    let Some(image) = image else { return };
    match client.running_builds_of(image).await {
        Ok(0 | 1) => {}
        Ok(_) => {
            let message = format!(
                "another build on this BuildKit daemon makes {image} at the same time: the tag will stand for what is pushed last"
            );
            events.warn(WarningCode::AnotherBuildRuns, message, None);
        }
        Err(error) => tracing::debug!(%error, "the daemon does not say which builds run"),
    }
}

/// Waits for `main`, and polls `aside` for as long as neither has ended.
async fn alongside<T>(main: impl Future<Output = T>, aside: impl Future<Output = ()>) -> T {
    match future::select(pin!(main), pin!(aside)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), main)) => main.await,
    }
}
