//! The service `moby.buildkit.v1.Control`, on one connection.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::Control;
use bollard_buildkit_proto::moby::buildkit::v1::types::BuildkitVersion;
use futures::stream::{self, BoxStream, Empty};
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::record::{BuildRecord, BuildState, Call};
use super::session::{self, Messages, Session};
use super::step::{Reporter, Reports};
use super::{BuildFailure, FakeBuild, FakeBuildkit};

/// How long a build waits for its session. Source: `BuildKit`, `session/manager.go`.
const SESSION_PATIENCE: Duration = Duration::from_secs(5);

type Answer<T> = Result<Response<T>, Status>;

/// What a connection's calls are answered with.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) daemon: FakeBuildkit,
    pub(super) connection: CancellationToken,
}

impl Service {
    fn note<T>(&self, method: &'static str, call: &Request<T>) {
        let call = Call::new(method, &call.metadata().clone().into_headers());
        self.daemon.change(|state| state.calls.push(call));
    }

    async fn session_called(&self, id: &str) -> Result<Session, Status> {
        let found = self.daemon.until(|| self.daemon.state().sessions.get(id).cloned());
        tokio::time::timeout(SESSION_PATIENCE, found)
            .await
            .map_err(|_| Status::unknown(format!("no active session for {id}: context deadline exceeded")))
    }
}

#[tonic::async_trait]
impl Control for Service {
    type PruneStream = Empty<Result<proto::UsageRecord, Status>>;
    type StatusStream = BoxStream<'static, Result<proto::StatusResponse, Status>>;
    type SessionStream = Messages;
    type ListenBuildHistoryStream = BoxStream<'static, Result<proto::BuildHistoryEvent, Status>>;

    async fn session(&self, call: Request<Streaming<proto::BytesMessage>>) -> Answer<Messages> {
        self.note("Session", &call);
        let (metadata, _, messages) = call.into_parts();
        session::open(&self.daemon, &metadata.into_headers(), messages).await.map(Response::new)
    }

    async fn solve(&self, call: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        self.note("Solve", &call);
        let request = call.into_inner();
        let session = self.session_called(&request.session).await?;
        let record = BuildRecord::new(request, session.shared_key);
        let reports = Arc::<Reports>::default();
        let (script, running) = self.daemon.change(|state| {
            state.reports.insert(record.reference.clone(), Arc::clone(&reports));
            state.builds.push(record);
            let running = Running { daemon: self.daemon.clone(), number: state.builds.len() - 1 };
            (Arc::clone(&state.script), running)
        });
        let build = FakeBuild {
            daemon: self.daemon.clone(),
            number: running.number,
            channel: session.channel,
            reporter: Reporter::new(reports),
            connection: self.connection.clone(),
        };
        let outcome =
            AssertUnwindSafe(async move { script(build).await }).catch_unwind().await.unwrap_or_else(|_| {
                let message = "the script of the fake BuildKit daemon panicked; the test's output says why";
                Err(BuildFailure::new(message))
            });
        running.end(if outcome.is_ok() { BuildState::Succeeded } else { BuildState::Failed });
        outcome.map(|made| Response::new(made.into_response())).map_err(BuildFailure::into_status)
    }

    /// A client may ask before it is known which build it means.
    async fn status(&self, call: Request<proto::StatusRequest>) -> Answer<Self::StatusStream> {
        self.note("Status", &call);
        let reference = call.into_inner().r#ref;
        let daemon = self.daemon.clone();
        let reports = stream::once(async move {
            let reports = daemon.until(|| daemon.state().reports.get(&reference).cloned()).await;
            stream::unfold((reports, 0), |(reports, number)| async move {
                let report = reports.next(number).await?;
                Some((Ok(report), (reports, number + 1)))
            })
        });
        Ok(Response::new(reports.flatten().boxed()))
    }

    async fn info(&self, call: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        self.note("Info", &call);
        let version = self.daemon.state().version.clone();
        let version = BuildkitVersion { version, ..BuildkitVersion::default() };
        Ok(Response::new(proto::InfoResponse { buildkit_version: Some(version) }))
    }

    /// Tells of the builds that run. What it has forgotten, and what comes later, it is not asked for.
    async fn listen_build_history(
        &self,
        call: Request<proto::BuildHistoryRequest>,
    ) -> Answer<Self::ListenBuildHistoryStream> {
        self.note("ListenBuildHistory", &call);
        let asked = call.into_inner();
        if !(asked.active_only && asked.early_exit) {
            return Err(Status::unimplemented("the fake BuildKit daemon lists only builds that run"));
        }
        let running = {
            let state = self.daemon.state();
            let others = state.others.iter().enumerate().map(|(number, names)| {
                let names = names.join(",");
                (format!("other-{number}"), names)
            });
            let own = state.builds.iter().filter(|build| build.state == BuildState::Running);
            let own = own.map(|build| (build.reference.clone(), build.image_names().join(",")));
            others.chain(own).collect::<Vec<_>>()
        };
        let running = running.into_iter().map(|(reference, names)| {
            let exporter =
                proto::Exporter { r#type: "image".to_owned(), attrs: [("name".to_owned(), names)].into() };
            let record = proto::BuildHistoryRecord {
                r#ref: reference,
                exporters: vec![exporter],
                ..proto::BuildHistoryRecord::default()
            };
            Ok(proto::BuildHistoryEvent { record: Some(record), ..Default::default() })
        });
        Ok(Response::new(stream::iter(running).boxed()))
    }

    async fn disk_usage(&self, _: Request<proto::DiskUsageRequest>) -> Answer<proto::DiskUsageResponse> {
        Err(not_served("DiskUsage"))
    }

    async fn prune(&self, _: Request<proto::PruneRequest>) -> Answer<Self::PruneStream> {
        Err(not_served("Prune"))
    }

    async fn list_workers(
        &self,
        _: Request<proto::ListWorkersRequest>,
    ) -> Answer<proto::ListWorkersResponse> {
        Err(not_served("ListWorkers"))
    }

    async fn update_build_history(
        &self,
        _: Request<proto::UpdateBuildHistoryRequest>,
    ) -> Answer<proto::UpdateBuildHistoryResponse> {
        Err(not_served("UpdateBuildHistory"))
    }
}

fn not_served(method: &str) -> Status {
    Status::unimplemented(format!("the fake BuildKit daemon does not serve {method}"))
}

/// A build whose call is dropped is cancelled.
struct Running {
    daemon: FakeBuildkit,
    number: usize,
}

impl Running {
    fn end(&self, end: BuildState) {
        self.daemon.change(|state| {
            if let Some(build) = state.builds.get_mut(self.number)
                && build.state == BuildState::Running
            {
                build.state = end;
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(BuildState::Cancelled);
    }
}
