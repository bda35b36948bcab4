use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth as AuthService;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures::future::BoxFuture;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

/// Knows the credentials of registries.
pub trait RegistryLogins: Send + Sync + 'static {
    /// Returns whether the build has to do with the registry at `host` (`host[:port]`). It is the daemon that names the host, and it may
    /// name any. For a registry that the build does not concern, it gets no answer, and the other methods are not called.
    fn concern(&self, host: &str) -> bool;

    /// Returns what to log in to the registry at `host` (`host[:port]`) with, `None` for nothing.
    ///
    /// Asked each time that the daemon needs it, also at the end of a long build when it pushes, so
    /// that credentials may be short-lived. `Err` says why it cannot be found out, and fails the build.
    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<Login>, String>>;

    /// Returns whether [`token`](Self::token) gets the access tokens for `host`. If not, the daemon gets them
    /// itself with what [`login`](Self::login) returns, keeps that until the build ends, and uses it for all
    /// repositories of the registry.
    fn fetches_tokens<'a>(&'a self, host: &'a str) -> BoxFuture<'a, bool>;

    /// Gets an access token. `Err` says why there is none, and fails the build.
    fn token<'a>(&'a self, wanted: &'a WantedToken) -> BoxFuture<'a, Result<AccessToken, String>>;
}

/// An access token that a registry asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedToken {
    /// The registry. Its token server, it has to be asked for: what the daemon says of that is not passed on, as the password goes there.
    pub host: String,
    /// What is to be done with it: `repository:team/api:pull,push`.
    pub scopes: Vec<String>,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// How long it may be used.
    pub lifetime: Duration,
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
/// The daemon can have us fetch the access tokens, and never see a password. That is declined where there
/// is no need: this machine often cannot reach a registry in the cluster.
/// Source: `BuildKit`, `util/resolver/authorizer.go`.
#[derive(Clone)]
pub(super) struct Auth {
    logins: Option<Arc<dyn RegistryLogins>>,
    /// By this the daemon knows the session again that tokens belong to. No other has it, so no other build
    /// is given them.
    key: Arc<OnceLock<KeyPair>>,
}

impl Auth {
    pub(super) fn new(logins: Option<Arc<dyn RegistryLogins>>) -> Self {
        Self { logins, key: Arc::default() }
    }

    /// Returns who knows the logins of the registry at `host`, if the build has to do with that.
    fn logins_of(&self, host: &str) -> Option<&dyn RegistryLogins> {
        let logins = self.logins.as_deref()?;
        let concern = logins.concern(host);
        if !concern {
            tracing::debug!(host, "the daemon asks for the login of a registry that the build does not name");
        }
        concern.then_some(logins)
    }

    fn key(&self) -> Result<&KeyPair, Status> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let made =
            KeyPair::generate_for(&PKCS_ED25519).map_err(|error| Status::internal(error.to_string()))?;
        Ok(self.key.get_or_init(|| made))
    }
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = &request.get_ref().host;
        let login = match self.logins_of(host) {
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
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let FetchTokenRequest { host, scopes, .. } = request.into_inner();
        let logins = self.logins_of(&host).ok_or_else(declined)?;
        let wanted = WantedToken { host, scopes };
        let AccessToken { token, lifetime } =
            logins.token(&wanted).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(FetchTokenResponse {
            token: token.expose_secret().to_owned(),
            // The daemon takes 0 for its default of a minute.
            expires_in: i64::try_from(lifetime.as_secs().max(1)).unwrap_or(i64::MAX),
            issued_at: 0,
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let logins = self.logins_of(&request.get_ref().host).ok_or_else(declined)?;
        if !logins.fetches_tokens(&request.get_ref().host).await {
            return Err(declined());
        }
        Ok(Response::new(GetTokenAuthorityResponse { public_key: self.key()?.der_bytes().to_vec() }))
    }

    /// Proves that the session has the key. Source: Go, `golang.org/x/crypto/nacl/sign`: the signature, then
    /// what was signed.
    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let VerifyTokenAuthorityRequest { host, payload, .. } = request.get_ref();
        self.logins_of(host).ok_or_else(declined)?;
        let mut signed = self.key()?.sign(payload).map_err(|error| Status::internal(error.to_string()))?;
        signed.extend_from_slice(payload);
        Ok(Response::new(VerifyTokenAuthorityResponse { signed }))
    }
}

/// The daemon then fetches tokens itself.
fn declined() -> Status {
    Status::unimplemented("the daemon fetches tokens itself")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::alg_id;
    use tonic::Code;

    use super::*;

    /// Fetches tokens for one host.
    struct Fetching(&'static str);

    impl RegistryLogins for Fetching {
        fn concern(&self, host: &str) -> bool {
            [self.0, "s.example"].contains(&host)
        }

        fn login<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Login>, String>> {
            Box::pin(async {
                Ok(Some(Login::Password { username: "user".to_owned(), password: "s3cret".into() }))
            })
        }

        fn fetches_tokens<'a>(&'a self, host: &'a str) -> BoxFuture<'a, bool> {
            Box::pin(async move { host == self.0 })
        }

        fn token<'a>(&'a self, wanted: &'a WantedToken) -> BoxFuture<'a, Result<AccessToken, String>> {
            let token = wanted.scopes.join(" ").into();
            Box::pin(async { Ok(AccessToken { token, lifetime: Duration::from_millis(10) }) })
        }
    }

    fn is_signed(public_key: &[u8], signed: &[u8]) -> bool {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut algorithms = provider.signature_verification_algorithms.all.iter();
        let ed25519 = algorithms.find(|algorithm| algorithm.public_key_alg_id() == alg_id::ED25519);
        let (signature, payload) = signed.split_at(64);
        ed25519.expect("the algorithm").verify_signature(public_key, payload, signature).is_ok()
    }

    #[tokio::test]
    async fn a_session_proves_that_tokens_are_its_own() {
        let auth = || Auth::new(Some(Arc::new(Fetching("r.example"))));
        let (ours, other) = (auth(), auth());
        let authority =
            |host: &str| Request::new(GetTokenAuthorityRequest { host: host.to_owned(), salt: vec![] });
        let declined = ours.get_token_authority(authority("s.example")).await.expect_err("declined");
        assert_eq!(declined.code(), Code::Unimplemented);

        let key =
            ours.get_token_authority(authority("r.example")).await.expect("a key").into_inner().public_key;
        assert_eq!(key.len(), 32);
        let verify = || {
            let payload = b"something random".to_vec();
            let host = "r.example".to_owned();
            Request::new(VerifyTokenAuthorityRequest { host, payload, salt: Vec::new() })
        };
        let signed = ours.verify_token_authority(verify()).await.expect("a signature").into_inner().signed;
        assert!(is_signed(&key, &signed) && signed.ends_with(b"something random"));
        let signed = other.verify_token_authority(verify()).await.expect("a signature").into_inner().signed;
        assert!(!is_signed(&key, &signed), "another session is another authority");
    }

    #[tokio::test]
    async fn of_a_registry_that_the_build_does_not_name_nothing_is_told() {
        let auth = Auth::new(Some(Arc::new(Fetching("r.example"))));
        let credentials = async |host: &str| {
            let request = Request::new(CredentialsRequest { host: host.to_owned() });
            auth.credentials(request).await.expect("an answer").into_inner()
        };
        assert_eq!(credentials("r.example").await.secret, "s3cret");
        let other = "other.example".to_owned();
        assert_eq!(credentials(&other).await, CredentialsResponse::default());
        let declined = |status: Status| assert_eq!(status.code(), Code::Unimplemented);
        let authority = GetTokenAuthorityRequest { host: other.clone(), salt: Vec::new() };
        declined(auth.get_token_authority(Request::new(authority)).await.expect_err("declined"));
        let verify = VerifyTokenAuthorityRequest { host: other.clone(), payload: vec![1], salt: Vec::new() };
        declined(auth.verify_token_authority(Request::new(verify)).await.expect_err("declined"));
        let token = FetchTokenRequest {
            host: other,
            realm: "http://r.example/".to_owned(),
            ..FetchTokenRequest::default()
        };
        declined(auth.fetch_token(Request::new(token)).await.expect_err("declined"));
    }

    #[tokio::test]
    async fn a_token_is_fetched_for_its_scopes_and_lasts_a_second_at_least() {
        let auth = Auth::new(Some(Arc::new(Fetching("r.example"))));
        let scopes = vec!["repository:a:pull".to_owned(), "repository:b:push".to_owned()];
        let request =
            FetchTokenRequest { host: "r.example".to_owned(), scopes, ..FetchTokenRequest::default() };
        let token = auth.fetch_token(Request::new(request)).await.expect("a token").into_inner();
        assert_eq!((token.token.as_str(), token.expires_in), ("repository:a:pull repository:b:push", 1));
    }
}
