//! One build on a daemon, wherever it runs.

use std::sync::Arc;

use garden_build_core::{BuildControl, BuildJob, Error, TraceContext};

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
    advice: Advice,
    trace_context: Option<TraceContext>,
}

impl Run {
    /// Prepares to build `job`, with the credentials of `logins`, and to report to the events of `cx`.
    pub fn new(job: &BuildJob, logins: Arc<dyn RegistryLogins>, cx: &BuildControl, advice: Advice) -> Self {
        let journal = Journal::default();
        let session = request::session(job, logins, journal.clone());
        let progress = Progress::new(cx.events.clone(), journal.clone());
        Self { session, journal, progress, advice, trace_context: cx.trace_context.clone() }
    }

    /// Builds on the daemon that `client` is connected to. Dropping the future cancels the build there.
    ///
    /// # Errors
    /// As [`Client::build`]; [`explain`](Self::explain) says what it means.
    pub async fn build(&mut self, client: &Client, wanted: DockerfileBuild) -> Result<Solved, ClientError> {
        let session = std::mem::take(&mut self.session);
        let progress = &mut self.progress;
        let client = match &self.trace_context {
            Some(context) => client.clone().traced(context),
            None => client.clone(),
        };
        let built = client.build(wanted, session, |update| progress.update(update)).await;
        self.finish();
        built
    }

    /// Ends all steps, as the build has ended.
    pub(crate) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Returns what went wrong on this side: it is told to the daemon, and comes back in its words.
    pub fn failed_here(&self) -> Option<Error> {
        self.journal.take_failure().filter(SyncError::began_here).map(Error::from)
    }

    /// Says what happened, and what to do.
    pub fn explain(&self, error: ClientError) -> Error {
        failure::explain(error, &self.progress, self.advice)
    }

    /// Returns how many steps of the Dockerfile came from a cache, and how many were run.
    pub fn counts(&self) -> (usize, usize) {
        self.progress.counts()
    }
}
