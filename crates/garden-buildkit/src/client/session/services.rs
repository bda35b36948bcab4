use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use futures::future::{BoxFuture, Either};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tower::Service as _;

use super::Session;
use super::auth::Auth;
use super::health::Health;
use super::secrets::Secrets;
use super::ssh::SshAgents;
use crate::client::file_sync::protocol::FileSyncService;

/// The methods that our session offers to the daemon. It consults the list for file syncs only.
pub(super) const METHODS: [&str; 9] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
];

/// Everything that a session serves. The service's name in the path chooses.
#[derive(Clone)]
pub(super) struct Services {
    health: HealthServer<Health>,
    file_sync: FileSyncService,
    auth: AuthServer<Auth>,
    secrets: SecretsServer<Secrets>,
    ssh: SshServer<SshAgents>,
}

impl Services {
    pub(super) fn new(session: Session, health: Health) -> Self {
        Self {
            health: HealthServer::new(health),
            file_sync: FileSyncService::new(session.directories, session.journal),
            auth: AuthServer::new(Auth::new(session.logins)),
            secrets: SecretsServer::new(Secrets::new(Arc::new(session.secrets))),
            ssh: SshServer::new(SshAgents::new(session.ssh_agents)),
        }
    }
}

type Answer = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Answer>, Ready<Answer>>;

    /// The generated services are always ready, so they are called without being asked.
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        Either::Left(match service {
            "grpc.health.v1.Health" => self.health.clone().call(request),
            "moby.filesync.v1.FileSync" => self.file_sync.clone().call(request),
            "moby.filesync.v1.Auth" => self.auth.clone().call(request),
            "moby.buildkit.secrets.v1.Secrets" => self.secrets.clone().call(request),
            "moby.sshforward.v1.SSH" => self.ssh.clone().call(request),
            _ => return Either::Right(std::future::ready(Ok(unimplemented(service)))),
        })
    }
}

fn unimplemented(service: &str) -> Response<Body> {
    tonic::Status::unimplemented(format!("this client does not serve {service}")).into_http()
}
