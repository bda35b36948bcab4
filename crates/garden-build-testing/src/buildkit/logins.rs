use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, FetchTokenRequest, GetTokenAuthorityRequest,
};
use tonic::Code;

use super::record::{LoginRecord, TokenRecord};
use super::session::{Channel, origin};
use super::{BuildFailure, FakeBuild};

/// A login that the client gave.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Login {
    /// The user; empty if the secret is an identity token.
    pub username: String,
    /// The password or the identity token.
    pub secret: String,
}

/// What it asks the client for, to log in to registries. Source: `BuildKit`, `util/resolver/authorizer.go`.
impl FakeBuild {
    /// Asks for the login of the registry at `host` (`host[:port]`). `None` if the client has none for it.
    ///
    /// # Errors
    /// If the client refuses, or cannot be asked.
    pub async fn login(&self, host: &str) -> Result<Option<Login>, BuildFailure> {
        let request = CredentialsRequest { host: host.to_owned() };
        let answer =
            self.auth().credentials(request).await.map_err(|status| BuildFailure::of_call(&status))?;
        let answer = answer.into_inner();
        let login = Login { username: answer.username, secret: answer.secret };
        let login = Some(login).filter(|login| !login.username.is_empty() || !login.secret.is_empty());
        let record = LoginRecord { host: host.to_owned(), login: login.clone() };
        self.note(|build| build.logins.push(record));
        Ok(login)
    }

    /// Has the client fetch an access token for the registry at `host`, for scopes such as `repository:team/api:pull,push`. `None` if the
    /// client leaves that to the daemon, which then asks for the [`login`](Self::login).
    ///
    /// # Errors
    /// If the client gets no token, or cannot be asked.
    pub async fn token(&self, host: &str, scopes: &[&str]) -> Result<Option<String>, BuildFailure> {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let mut client = self.auth();
        let authority = GetTokenAuthorityRequest { host: host.to_owned(), salt: b"salt".to_vec() };
        let token = match client.get_token_authority(authority).await {
            Ok(_) => {
                let request = FetchTokenRequest {
                    client_id: "buildkit-client".to_owned(),
                    host: host.to_owned(),
                    service: host.to_owned(),
                    scopes: scopes.clone(),
                    ..FetchTokenRequest::default()
                };
                let answer = client.fetch_token(request).await;
                Some(answer.map_err(|status| BuildFailure::of_call(&status))?.into_inner().token)
            }
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(BuildFailure::of_call(&status)),
        };
        let record = TokenRecord { host: host.to_owned(), scopes, token: token.clone() };
        self.note(|build| build.tokens.push(record));
        Ok(token)
    }

    fn auth(&self) -> AuthClient<Channel> {
        AuthClient::with_origin(self.channel.clone(), origin())
    }
}
