//! A web service that builds images for its clients and shows them what happens, while it happens.
//!
//! ```sh
//! cargo run --example service -- [ENVIRONMENT]
//!
//! curl -H 'Content-Type: application/json' -d '{"directory": "app", "name": "app"}' http://127.0.0.1:8080/builds
//! curl -N http://127.0.0.1:8080/builds/1/events   # Server-Sent Events: each is an `Event` as JSON
//! curl http://127.0.0.1:8080/builds/1             # 202 while it runs, then the image or the error as JSON
//! curl -X DELETE http://127.0.0.1:8080/builds/1   # cancels it; answers when it has cleaned up
//! ```
//!
//! Run it in the root of the repository. It builds directories in `examples`, for ENVIRONMENT of `examples/app/project.garden.yml`: `testbed`
//! (the default) or `dev`, whose registry you set to yours first. `ADDRESS` is where it listens, `127.0.0.1:8080` by default.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "only libraries must not print")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{self, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use futures::{Stream, StreamExt as _, future, stream};
use garden_build::{BuildRequest, Builder, BuiltImage, Detached, Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

/// How many builds are kept, so that clients can ask for their results. The oldest results make room for new builds.
const MOST_KEPT: usize = 100;

/// How many builds run at a time. Others wait for their turn.
const MOST_AT_A_TIME: usize = 4;

/// How long builds may take to clean up when the service ends. Kubernetes kills it after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = std::env::args().nth(1).unwrap_or_else(|| "testbed".to_owned());
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let provider = garden_build::config::load("examples/app/project.garden.yml")?.provider(&environment)?;
    let builder = Builder::options(provider).most_builds(MOST_AT_A_TIME).connect()?;

    // By which Kubernetes ends a pod.
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes(builder.clone(), Path::new("examples").canonicalize()?))
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            // All builds end, and the events of those who follow them end, too. A build that somebody asks for now ends as cancelled.
            if let Err(error) = builder.shutdown(PATIENCE).await {
                eprintln!("{error}");
            }
        })
        .await?;
    Ok(())
}

/// Returns the service, which builds directories in `root`.
pub(crate) fn routes(builder: Builder, root: PathBuf) -> Router {
    Router::new()
        .route("/builds", routing::post(build))
        .route("/builds/{id}", routing::get(result).delete(cancel))
        .route("/builds/{id}/events", routing::get(events))
        .with_state(Service { builder, root, builds: Arc::default() })
}

#[derive(Clone)]
struct Service {
    builder: Builder,
    root: PathBuf,
    /// Detached, so that no client that goes away takes a build with it.
    builds: Arc<Mutex<BTreeMap<u64, Detached<BuiltImage>>>>,
}

/// What clients may choose. More of a [`BuildRequest`] would let them name files and sockets of this machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    directory: String,
}

async fn build(
    State(service): State<Service>,
    Json(wanted): Json<Wanted>,
) -> Result<impl IntoResponse, Failure> {
    let directory = service.directory(&wanted.directory)?;
    let id = service.begin(BuildRequest::new(wanted.name, directory).shown_as(wanted.directory))?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/builds/{id}"))], Json(serde_json::json!({ "id": id }))))
}

async fn events(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u64>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, axum::Error>>>, Failure> {
    // Whoever comes late, or comes again, sees all steps so far. Nobody waits for a slow client: it misses lines and is told how many.
    let events = service.find(id)?.attach().map(|event| sse::Event::default().json_data(event));
    // A browser would connect again when the events end, unless it hears that this is the end. It hears of no event without data.
    let end = stream::once(future::ready(Ok(sse::Event::default().event("end").data("{}"))));
    Ok(Sse::new(events.chain(end)).keep_alive(KeepAlive::default()))
}

async fn result(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u64>,
) -> Result<Response, Failure> {
    let build = service.find(id)?;
    if !build.is_finished() {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    Ok(Json(build.attach().await?).into_response())
}

async fn cancel(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u64>,
) -> Result<StatusCode, Failure> {
    // Its result is now that it was cancelled, unless it ended before.
    let _ = service.find(id)?.attach().cancel().await;
    Ok(StatusCode::NO_CONTENT)
}

impl Service {
    fn begin(&self, request: BuildRequest) -> Result<u64, Failure> {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        let id = builds.last_key_value().map_or(1, |(id, _)| id + 1);
        if builds.len() >= MOST_KEPT {
            let oldest = builds.iter().find(|(_, build)| build.is_finished()).map(|(id, _)| *id);
            builds.remove(&oldest.ok_or(Failure::Status(StatusCode::TOO_MANY_REQUESTS))?);
        }
        builds.insert(id, self.builder.build(request).detach());
        Ok(id)
    }

    fn find(&self, id: u64) -> Result<Detached<BuiltImage>, Failure> {
        let builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.get(&id).cloned().ok_or(Failure::Status(StatusCode::NOT_FOUND))
    }

    /// Returns the directory that a client means, if it is one in `root`.
    fn directory(&self, name: &str) -> Result<PathBuf> {
        let found = self.root.join(name).canonicalize().ok();
        let no_such = || Error::new(ErrorKind::Context, format!("there is no directory `{name}`"));
        found.filter(|path| path.starts_with(&self.root)).ok_or_else(no_such)
    }
}

/// What a client is answered instead.
enum Failure {
    Status(StatusCode),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Status(status) => status.into_response(),
            Self::Error(error) => {
                let status = StatusCode::from_u16(error.kind().http_status());
                (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(error)).into_response()
            }
        }
    }
}
