use std::sync::Arc;

use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth as AuthService;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

/// Knows the credentials of registries.
pub trait RegistryLogins: Send + Sync + 'static {
    /// Returns what to log in to the registry at `host` (`host[:port]`) with, `None` for nothing.
    ///
    /// Asked each time that the daemon needs it, also at the end of a long build when it pushes, so
    /// that credentials may be short-lived. `Err` says why it cannot be found out, and fails the build.
    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<Login>, String>>;
}

/// Credentials for a registry.
#[derive(Clone, Debug)]
pub enum Login {
    /// A user's password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that the registry's token server exchanges for access tokens.
    IdentityToken(SecretString),
}

/// Answers the daemon's questions about credentials. What is handed out is kept by the daemon in
/// memory only.
///
/// The daemon could have us fetch the access tokens, and never see a password. That is declined:
/// a registry in the cluster is often not to be reached from here.
/// Source: `BuildKit`, `util/resolver/authorizer.go`.
#[derive(Clone)]
pub(super) struct Auth(Option<Arc<dyn RegistryLogins>>);

impl Auth {
    pub(super) fn new(logins: Option<Arc<dyn RegistryLogins>>) -> Self {
        Self(logins)
    }
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = &request.get_ref().host;
        let login = match &self.0 {
            Some(logins) => logins.login(host).await.map_err(Status::failed_precondition)?,
            None => None,
        };
        Ok(Response::new(match login {
            Some(Login::Password { username, password }) => {
                CredentialsResponse { username, secret: password.expose_secret().to_owned() }
            }
            Some(Login::IdentityToken(token)) => {
                CredentialsResponse { username: String::new(), secret: token.expose_secret().to_owned() }
            }
            None => CredentialsResponse::default(),
        }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the daemon fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the daemon fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the daemon fetches tokens itself"))
    }
}
