//! Decides how a request says to a registry who is asking.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::SecretString;

use crate::challenge::{Challenge, challenges};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::{Refusal, RegistryError};
use crate::login::Login;
use crate::lookup::Found;
use crate::token::{DEFAULT_LIFETIME, Issued, Token, TokenCache, TokenServer, basic, bearer};
use crate::transport::Operation;

/// How a registry wants us to authenticate, learned from its first refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scheme {
    Basic,
    Bearer,
}

/// What an operation needs to be allowed to do.
///
/// Source: distribution project, "Token Scope Documentation".
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    /// The repository, or [`CATALOG`].
    pub(crate) repository: &'a str,
    pub(crate) action: Action<'a>,
}

/// Stands where a repository would, when the registry is asked which ones it has. No repository is called so.
pub(crate) const CATALOG: &str = "_catalog";

#[derive(Clone, Copy)]
pub(crate) enum Action<'a> {
    Pull,
    Push,
    /// To push, and to take blobs from another repository.
    PushFrom(&'a str),
    ListRepositories,
}

impl Access<'_> {
    fn scopes(&self) -> Vec<String> {
        let Self { repository, action } = self;
        match action {
            Action::Pull => vec![format!("repository:{repository}:pull")],
            Action::Push => vec![format!("repository:{repository}:pull,push")],
            Action::PushFrom(other) => {
                vec![format!("repository:{repository}:pull,push"), format!("repository:{other}:pull")]
            }
            Action::ListRepositories => vec!["registry:catalog:*".to_owned()],
        }
    }
}

pub(crate) struct Authenticator {
    credentials: Credentials,
    scheme: Mutex<Option<Scheme>>,
    tokens: TokenCache,
    /// What credential helpers answered, by repository.
    asked: Mutex<HashMap<String, Found>>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let (scheme, tokens, asked) = Default::default();
        Self { credentials, scheme, tokens, asked }
    }

    /// Returns the header with which the registry will let us through, if that is known already.
    pub(crate) fn remembered(&self, endpoint: &Endpoint, access: &Access<'_>) -> Option<HeaderValue> {
        let scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match scheme? {
            Scheme::Basic => self.known(endpoint, access).login.as_ref().and_then(basic_header),
            Scheme::Bearer => self.tokens.header(&access.scopes().join(" ")),
        }
    }

    /// Forgets a token that the registry refused when `header` presented it. What it allows was decided when it was issued:
    /// the next one may allow more, if access was granted meanwhile.
    pub(crate) fn forget(&self, header: &HeaderValue) {
        self.tokens.forget(header);
    }

    /// Returns the header that answers the registry's 401 to `refused`, or why there is none. What was refused is forgotten,
    /// whatever comes of this.
    ///
    /// Bearer is preferred where both are offered, as it shows the password to the token server only.
    pub(crate) async fn answer(
        &self,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        let endpoint = operation.endpoint;
        if let Some(refused) = refused {
            self.forget(refused);
        }
        let offered = challenges(headers);
        let by_scheme = |scheme| offered.iter().find(|challenge: &&Challenge| challenge.scheme == scheme);
        let mut login = self.ask(endpoint, access).await;
        let (scheme, header) = if let Some(challenge) = by_scheme("bearer") {
            let mut issued = self.bearer(challenge, login.as_ref(), access, operation).await;
            if matches!(issued, Err(RegistryError::Unauthorized(_)))
                && let Some(renewed) = self.ask_again(endpoint, access, login.as_ref()).await
            {
                issued = self.bearer(challenge, Some(&renewed), access, operation).await;
            }
            (Scheme::Bearer, issued?)
        } else if by_scheme("basic").is_some() {
            if refused.is_some()
                && refused == login.as_ref().and_then(basic_header).as_ref()
                && let Some(renewed) = self.ask_again(endpoint, access, login.as_ref()).await
            {
                login = Some(renewed);
            }
            let header = login.as_ref().and_then(basic_header);
            (Scheme::Basic, header.ok_or_else(|| self.unauthorized(endpoint, access, None))?)
        } else {
            let schemes: Vec<_> = offered.iter().map(|challenge| challenge.scheme.as_str()).collect();
            let offer = if schemes.is_empty() { "nothing".to_owned() } else { schemes.join(", ") };
            return Err(RegistryError::Authentication {
                registry: endpoint.name.clone(),
                reason: format!("it answered 401 and offers {offer}, but neither Basic nor Bearer"),
            });
        };
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
        Ok(header)
    }

    async fn bearer(
        &self,
        challenge: &Challenge,
        login: Option<&Login>,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        let endpoint = operation.endpoint;
        if let Some(Login::RegistryToken { token }) = login {
            return bearer(token).ok_or_else(|| self.unauthorized(endpoint, access, None));
        }
        let server = TokenServer::from_challenge(challenge, endpoint)?;
        let ours = access.scopes();
        // The registry knows better under what name it keeps the repository, and some token servers
        // read the first scope only.
        let mut scopes: Vec<String> = Vec::new();
        scopes.extend(
            challenge.parameter("scope").into_iter().flat_map(str::split_whitespace).map(str::to_owned),
        );
        for scope in &ours {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        let token = self.issue(&server, &scopes, login, access, operation).await?;
        Ok(self.tokens.keep(&ours.join(" "), token))
    }

    /// Gets a token for somebody else, who knows what the registry asks for.
    pub(crate) async fn token(
        &self,
        server: &TokenServer,
        scopes: &[String],
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<(SecretString, Duration), RegistryError> {
        let login = self.ask(operation.endpoint, access).await;
        if let Some(Login::RegistryToken { token }) = login {
            return Ok((token, DEFAULT_LIFETIME));
        }
        let mut issued = self.issue(server, scopes, login.as_ref(), access, operation).await;
        if matches!(issued, Err(RegistryError::Unauthorized(_)))
            && let Some(renewed) = self.ask_again(operation.endpoint, access, login.as_ref()).await
        {
            issued = self.issue(server, scopes, Some(&renewed), access, operation).await;
        }
        Ok(issued?.into_parts())
    }

    async fn issue(
        &self,
        server: &TokenServer,
        scopes: &[String],
        login: Option<&Login>,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<Token, RegistryError> {
        let endpoint = operation.endpoint;
        match server.issue(scopes, login, operation).await? {
            Issued::Token(token) => Ok(token),
            Issued::Refused { status: StatusCode::FORBIDDEN, reason } => {
                Err(self.forbidden(endpoint, access, reason))
            }
            Issued::Refused { reason, .. } => Err(self.unauthorized(endpoint, access, reason)),
        }
    }

    /// Explains what a registry's 401 means after `presented` was shown to it.
    ///
    /// A token that its token server issued for our login proves the login right; what is missing is
    /// access. Docker Hub, for one, also answers so for a repository that does not exist yet.
    pub(crate) fn refused(
        &self,
        endpoint: &Endpoint,
        access: &Access<'_>,
        presented: Option<&HeaderValue>,
        reason: Option<String>,
    ) -> RegistryError {
        let token_was_issued = presented.is_some_and(|header| header.as_bytes().starts_with(b"Bearer "));
        match self.known(endpoint, access).login {
            Some(Login::RegistryToken { .. }) | None => self.unauthorized(endpoint, access, reason),
            Some(_) if token_was_issued => self.forbidden(endpoint, access, reason),
            Some(_) => self.unauthorized(endpoint, access, reason),
        }
    }

    pub(crate) fn unauthorized(
        &self,
        endpoint: &Endpoint,
        access: &Access<'_>,
        reason: Option<String>,
    ) -> RegistryError {
        RegistryError::Unauthorized(self.refusal(endpoint, access, reason))
    }

    pub(crate) fn forbidden(
        &self,
        endpoint: &Endpoint,
        access: &Access<'_>,
        reason: Option<String>,
    ) -> RegistryError {
        RegistryError::Forbidden(self.refusal(endpoint, access, reason))
    }

    /// Returns what no message may hold, where the server chooses the words.
    pub(crate) fn secret(&self, endpoint: &Endpoint, access: &Access<'_>) -> SecretString {
        let login = self.known(endpoint, access).login;
        SecretString::from(login.as_ref().map_or("", Login::secret))
    }

    fn refusal(&self, endpoint: &Endpoint, access: &Access<'_>, reason: Option<String>) -> Box<Refusal> {
        let identity = self.known(endpoint, access).identity;
        let (registry, repository) = (endpoint.name.clone(), access.repository.to_owned());
        Box::new(Refusal { registry, repository, identity, reason })
    }

    /// Returns what is known without asking a credential helper.
    fn known(&self, endpoint: &Endpoint, access: &Access<'_>) -> Found {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked
            .get(access.repository)
            .cloned()
            .unwrap_or_else(|| self.credentials.known(&endpoint.name, access.repository))
    }

    /// Returns what to log in with, from a credential helper if it is left to one.
    async fn ask(&self, endpoint: &Endpoint, access: &Access<'_>) -> Option<Login> {
        let found = self.credentials.login(&endpoint.name, access.repository).await;
        let login = found.login.clone();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(access.repository.to_owned(), found);
        login
    }

    /// Has the credential helper that `refused` came from asked anew: what it gave may have ended.
    /// `None` if there is no such helper, or it has nothing else to say.
    async fn ask_again(
        &self,
        endpoint: &Endpoint,
        access: &Access<'_>,
        refused: Option<&Login>,
    ) -> Option<Login> {
        let answered = self.known(endpoint, access).answered?;
        self.credentials.forget(&answered).await;
        let renewed = self.ask(endpoint, access).await?;
        (refused.map(Login::secret) != Some(renewed.secret())).then_some(renewed)
    }
}

fn basic_header(login: &Login) -> Option<HeaderValue> {
    login.basic().and_then(|(name, secret)| basic(name, secret))
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
