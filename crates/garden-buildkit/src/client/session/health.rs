use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::Health as HealthService;
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use futures::stream::Empty;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

/// How long a living daemon may not ask. It asks every five seconds, and waits half a minute for an
/// answer.
const LONGEST_SILENCE: Duration = Duration::from_secs(90);

/// Answers the daemon's health checks, without which it ends a session after seconds. That they come
/// is also how we know that it lives: a connection that is dead without having been closed looks like a long
/// step.
///
/// Source: `BuildKit`, `monitorHealth` in `session/grpc.go`.
#[derive(Clone, Debug)]
pub(super) struct Health {
    last_check: Arc<Mutex<Instant>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { last_check: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Completes when the daemon has been silent for too long, and says so.
    pub(super) async fn silence(&self) -> String {
        loop {
            let end = self.last_check() + LONGEST_SILENCE;
            if end <= Instant::now() {
                return format!("the daemon was silent for {} s", LONGEST_SILENCE.as_secs());
            }
            tokio::time::sleep_until(end).await;
        }
    }

    fn last_check(&self) -> Instant {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl HealthService for Health {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only Check is served"))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only Check is served"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_asks_is_alive_and_one_that_stops_asking_is_not() {
        let health = Health::new();
        let silence = health.silence();
        tokio::pin!(silence);
        for _ in 0..10 {
            tokio::select! {
                reason = &mut silence => panic!("{reason}"),
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
            health.check(Request::new(HealthCheckRequest::default())).await.expect("healthy");
        }
        let asked_last = Instant::now();
        assert_eq!(silence.await, "the daemon was silent for 90 s");
        assert_eq!(asked_last.elapsed(), LONGEST_SILENCE);
    }
}
