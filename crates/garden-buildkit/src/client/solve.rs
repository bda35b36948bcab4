//! One build, from its request to its result.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::connection::Connection;
use super::status::{Update, updates};
use super::{ClientError, DockerfileBuild, Session};

/// How long the status stream may be silent after the build has ended before its end is taken to have
/// been seen. The daemon itself ends the stream sooner, unless the build ended before it began.
const LAST_REPORT_PATIENCE: Duration = Duration::from_secs(3);

/// How long the status stream may go on in all after the build has ended. What comes then is left over; a daemon that always has
/// something else to say does not keep the build from its end.
const LAST_REPORTS_PATIENCE: Duration = Duration::from_secs(15);

/// How long the call that runs a build may go on once its session is gone.
const AFTER_SESSION_PATIENCE: Duration = Duration::from_secs(2);

/// What a build has made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Solved {
    /// The image that was exported.
    pub image: Option<ImageDescriptor>,
}

/// The manifest, or index, of an image.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageDescriptor {
    /// Its digest, such as `sha256:…`.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Runs `build` and reports to `on_update`, until everything was reported.
pub(super) async fn solve(
    connection: &Connection,
    compress: bool,
    build: DockerfileBuild,
    session: Session,
    mut on_update: impl FnMut(Update),
) -> Result<Solved, ClientError> {
    let mut session = session.open(connection, compress).await?;
    let control = connection.control();
    let reference = uuid::Uuid::new_v4().simple().to_string();
    let request = build.into_request(reference.clone(), session.id.clone());
    let mut solving = control.clone();
    let solving = solving.solve(request);
    // The daemon waits for the build to begin, so the stream may be asked for first.
    let mut watching = control;
    let watching = async {
        let request = proto::StatusRequest { r#ref: reference };
        match watching.status(request).await {
            Ok(response) => Some(response.into_inner()),
            Err(status) => {
                tracing::debug!(%status, "the daemon does not report on the build");
                None
            }
        }
    };
    tokio::pin!(solving, watching);
    let mut statuses: Option<Streaming<_>> = None;
    let mut asked = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut solving => break outcome,
            stream = &mut watching, if !asked => (statuses, asked) = (stream, true),
            status = next(&mut statuses) => updates(status).for_each(&mut on_update),
            reason = session.ended() => match timeout(AFTER_SESSION_PATIENCE, &mut solving).await {
                Ok(outcome) => break outcome,
                Err(_) => return Err(ClientError::Lost { reason: format!("the build's session ended: {reason}") }),
            },
        }
    };
    let outcome = outcome.map_err(|status| ClientError::from_status(&status));
    if let Err(lost @ ClientError::Lost { .. }) = outcome {
        return Err(lost);
    }
    drop(session);
    if !asked {
        // Some daemons answer only with their first report.
        statuses = timeout(LAST_REPORT_PATIENCE, &mut watching).await.unwrap_or_default();
    }
    let until = Instant::now() + LAST_REPORTS_PATIENCE;
    while let Some(statuses) = &mut statuses {
        // Not a time limit around the loop: that is not looked at as long as there is always something to read.
        if Instant::now() >= until {
            tracing::debug!("the daemon goes on reporting on a build that has ended");
            break;
        }
        match timeout(LAST_REPORT_PATIENCE, statuses.next()).await {
            Ok(Some(Ok(status))) => updates(status).for_each(&mut on_update),
            _ => break,
        }
    }
    Ok(solved(&outcome?.into_inner()))
}

/// Waits for the next report; for ever, when there are no more.
async fn next(statuses: &mut Option<Streaming<proto::StatusResponse>>) -> proto::StatusResponse {
    if let Some(stream) = statuses {
        match stream.next().await {
            Some(Ok(status)) => return status,
            Some(Err(status)) => tracing::debug!(%status, "the daemon's reports on the build broke off"),
            None => {}
        }
        *statuses = None;
    }
    std::future::pending().await
}

/// Source: `BuildKit`, `exporter/containerimage/exptypes/types.go`.
fn solved(response: &proto::SolveResponse) -> Solved {
    let descriptor = response.exporter_response.get("containerimage.descriptor");
    let descriptor = descriptor.and_then(|text| STANDARD.decode(text).ok());
    Solved { image: descriptor.and_then(|json| serde_json::from_slice(&json).ok()) }
}
