//! A client of a `BuildKit` daemon, over any stream of bytes.
//!
//! [`Client::connect`] takes a connection: an exec stream, a TCP connection, a Unix socket. On it,
//! [`Client::build`] runs a [`DockerfileBuild`] and meanwhile serves the daemon a [`Session`] with what it asks
//! for: files, of which only changed ones are sent, credentials, secrets, and SSH agents. One connection serves
//! one build at a time, so that builds do not suffer from each other's end.
//!
//! Nothing here knows Kubernetes, or the rest of this crate. The protocol has no specification; its
//! source is `BuildKit` itself, at version 0.26.

mod connection;
mod dockerfile_build;
mod error;
pub mod file_sync;
mod message;
mod session;
mod solve;
mod status;
mod tls;
mod tunnel;

use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use garden_build_core::TraceContext;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use dockerfile_build::COMPRESSION_LEVEL;
pub use dockerfile_build::{CONTEXT, CacheEntry, DOCKERFILE, DockerfileBuild, ImageExport, NamedContext};
pub use error::{ClientError, Failure, SourceLines};
pub use file_sync::Source;
pub use session::{AccessToken, Login, RegistryLogins, Session, WantedToken};
pub use solve::{ImageDescriptor, Solved};
#[cfg(any(test, fuzzing))]
pub(crate) use status::updates;
pub use status::{Counter, StepState, Update};
pub use tls::TlsIdentity;

use connection::Connection;

/// A connection to a `BuildKit` daemon.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
    version: String,
    compress: bool,
}

impl Client {
    /// Connects to the daemon at the other end of `stream`, and waits for its first answer.
    ///
    /// # Errors
    /// If no daemon answers there.
    pub async fn connect(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, ClientError> {
        let connection = Connection::open(stream).await?;
        let asked = answered(async {
            match connection.control().info(proto::InfoRequest {}).await {
                // Daemons before 0.12 do not say, as those in Docker up to version 23.
                Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
                answer => answer.map(|answer| answer.into_inner().buildkit_version),
            }
        });
        let version = asked.await?.map(|version| version.version).unwrap_or_default();
        Ok(Self { connection, version, compress: false })
    }

    /// Has builds send the daemon what it asks for compressed, as far as that makes it smaller and the daemon can read it: for
    /// connections that carry less than some 100 MB a second, or only at the cost of much work elsewhere.
    pub fn compressing(self) -> Self {
        Self { compress: true, ..self }
    }

    /// Has the daemon's own spans belong to `context`: each further call carries it. Where the daemon sends its spans is its own configuration; what belongs to a build
    /// is in its record of that build as well, if `context` is sampled.
    #[must_use]
    pub fn traced(self, context: &TraceContext) -> Self {
        Self { connection: self.connection.traced(context), ..self }
    }

    /// Returns the daemon's version, such as `v0.26.3`; empty for one before 0.12.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Builds, and reports to `on_update` what happens. However long it takes: there is no time limit.
    ///
    /// Dropping the future cancels the build in the daemon.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the build failed; the other kinds if its end is not known.
    pub async fn build(
        &self,
        build: DockerfileBuild,
        session: Session,
        on_update: impl FnMut(Update),
    ) -> Result<Solved, ClientError> {
        solve::solve(&self.connection, self.compress, build, session, on_update).await
    }

    /// Returns the references of the builds that are running on the daemon, whosever they are.
    ///
    /// # Errors
    /// If the daemon cannot be asked.
    pub async fn running_builds(&self) -> Result<Vec<String>, ClientError> {
        answered(async { self.running().await?.map_ok(|build| build.r#ref).try_collect().await }).await
    }

    /// Returns how many of the builds that are running on the daemon, whosever they are, give their image the name `name`. A build that has
    /// reported anything is one of them.
    ///
    /// # Errors
    /// If the daemon cannot be asked, for example because it is older than `BuildKit` 0.12.
    pub async fn running_builds_of(&self, name: &str) -> Result<usize, ClientError> {
        answered(async {
            let count = |count, build: proto::BuildHistoryRecord| async move {
                let mut exporters = build.exporters.iter();
                let has_name = |names: &String| names.split(',').any(|other| other == name);
                Ok(count + usize::from(exporters.any(|to| to.attrs.get("name").is_some_and(has_name))))
            };
            self.running().await?.try_fold(0, count).await
        })
        .await
    }

    /// Source: `BuildKit`, `solver/llbsolver/history.go` and, for when a build is listed, `solver/llbsolver/solver.go` (`Solve`).
    async fn running(
        &self,
    ) -> Result<impl Stream<Item = Result<proto::BuildHistoryRecord, tonic::Status>>, tonic::Status> {
        let request =
            proto::BuildHistoryRequest { active_only: true, early_exit: true, ..Default::default() };
        let events = self.connection.control().listen_build_history(request).await?.into_inner();
        Ok(events.take(MOST_BUILDS).try_filter_map(|event| std::future::ready(Ok(event.record))))
    }
}

/// How many builds of a daemon a message names. It says how many there are.
const MOST_BUILDS: usize = 10_000;

/// How long a daemon may take to answer what needs no work. A build has no limit.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the answer to a call that needs no work: a daemon that hangs takes calls and never answers.
async fn answered<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, ClientError> {
    let Ok(answer) = tokio::time::timeout(ANSWER_PATIENCE, call).await else {
        let reason = format!("it did not answer within {} s", ANSWER_PATIENCE.as_secs());
        return Err(ClientError::Lost { reason });
    };
    answer.map_err(|status| ClientError::from_status(&status))
}
