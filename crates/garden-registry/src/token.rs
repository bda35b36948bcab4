//! Bearer tokens: where to get them, and how long they last.
//!
//! Source: distribution project, "Token Authentication Specification" (GET) and "Docker
//! Registry v2 authentication using `OAuth2`" (POST).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::challenge::Challenge;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::login::Login;
use crate::origin::Origin;
use crate::server_message::ServerMessage;
use crate::transport::{Call, Operation};

/// Source: Token Authentication Specification, "Token Response Fields", `expires_in`.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// How long before its end a token is no longer used, so that it does not end on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// No token is nearly that large.
const LARGEST_ANSWER: usize = 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Names us to token servers. Source: the same, for `OAuth2`, `client_id`.
const CLIENT_ID: &str = "garden-build";

/// A token server, as a registry's challenge names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenServer {
    realm: Uri,
    service: Option<String>,
}

/// What a token server answered.
pub(crate) enum Issued {
    Token(Token),
    /// It does not accept the credentials, or wants some.
    Refused {
        status: StatusCode,
        reason: Option<String>,
    },
}

/// A token, and until when it may be used.
#[derive(Clone)]
pub(crate) struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Token {
    /// Returns the token itself, and how long it lasts from now on.
    pub(crate) fn into_parts(self) -> (SecretString, Duration) {
        let text = self.header.to_str().unwrap_or_default();
        let token = text.strip_prefix("Bearer ").unwrap_or_default();
        (SecretString::from(token), self.until.saturating_duration_since(Instant::now()))
    }
}

impl TokenServer {
    /// Reads a Bearer challenge of the registry itself.
    ///
    /// A realm without TLS is accepted only from a registry that is itself declared to do without,
    /// because the registry's credentials go there.
    pub(crate) fn from_challenge(challenge: &Challenge, endpoint: &Endpoint) -> Result<Self, RegistryError> {
        let refused = |reason: &str| RegistryError::Authentication {
            registry: endpoint.name.clone(),
            reason: reason.to_owned(),
        };
        let realm =
            challenge.parameter("realm").ok_or_else(|| refused("its Bearer challenge has no realm"))?;
        let realm: Uri = realm.parse().map_err(|_| refused("the realm of its Bearer challenge is no URL"))?;
        let origin = Origin::of(&realm)
            .ok_or_else(|| refused("the realm of its Bearer challenge is not an http or https URL"))?;
        if endpoint.origin.is_encrypted() && !origin.is_encrypted() {
            return Err(refused(&format!(
                "it wants us to authenticate at {origin}, which is without TLS, though the registry has it"
            )));
        }
        Ok(Self { realm, service: challenge.parameter("service").map(str::to_owned) })
    }

    /// Gets a token for `scopes`.
    pub(crate) async fn issue(
        &self,
        scopes: &[String],
        login: Option<&Login>,
        operation: &Operation<'_>,
    ) -> Result<Issued, RegistryError> {
        let endpoint = operation.endpoint;
        let asked = Instant::now();
        let call = match login {
            Some(Login::IdentityToken { token, .. }) => self.post(scopes, token),
            _ => self.get(scopes, login, endpoint)?,
        };
        let mut answer = operation.send(call).await?;
        // Servers of before OAuth2 know only GET; go-containerregistry falls back in the same way.
        let is_post = matches!(login, Some(Login::IdentityToken { .. }));
        if is_post && matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            answer = operation.send(self.get(scopes, login, endpoint)?).await?;
        }
        read(answer, asked, login, endpoint).await
    }

    fn get(
        &self,
        scopes: &[String],
        login: Option<&Login>,
        endpoint: &Endpoint,
    ) -> Result<Call, RegistryError> {
        let mut query = Serializer::new(String::new());
        self.service.iter().for_each(|service| {
            query.append_pair("service", service);
        });
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        if login.is_some() {
            // As docker/cli: without it, Docker Hub does not count who pulls.
            query.append_pair("client_id", CLIENT_ID);
        }
        let separator = if self.realm.query().is_some() { '&' } else { '?' };
        let uri = format!("{}{separator}{}", self.realm, query.finish());
        let uri = uri.parse().map_err(|_| RegistryError::Authentication {
            registry: endpoint.name.clone(),
            reason: "realm and service of its Bearer challenge form no URL".to_owned(),
        })?;
        let mut call = Call::new(Method::GET, uri).header(ACCEPT, JSON);
        call.authorization = login.and_then(Login::basic).and_then(|(name, secret)| basic(name, secret));
        Ok(call)
    }

    fn post(&self, scopes: &[String], refresh_token: &SecretString) -> Call {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        // Source: the same, for `OAuth2`, `scope`: one field, separated by spaces.
        form.append_pair("scope", &scopes.join(" "));
        form.append_pair("refresh_token", refresh_token.expose_secret());
        let mut call = Call::new(Method::POST, self.realm.clone())
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        call.body = Bytes::from(form.finish());
        call
    }
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

async fn read(
    answer: Answer,
    asked: Instant,
    login: Option<&Login>,
    endpoint: &Endpoint,
) -> Result<Issued, RegistryError> {
    let (status, server) = (answer.status, answer.server.clone());
    let failed = |reason: String| RegistryError::Authentication { registry: endpoint.name.clone(), reason };
    let body = answer.body(LARGEST_ANSWER).await?;
    if !status.is_success() {
        let packed = login.and_then(Login::basic).map(|(name, secret)| pack(name, secret));
        let secrets = [login.map_or("", Login::secret), packed.as_deref().unwrap_or_default()];
        let reason = ServerMessage::read(&body, &secrets).text();
        // RFC 6749, section 5.2, has 400 for a refresh token that is over.
        return match status.as_u16() {
            400 | 401 | 403 => Ok(Issued::Refused { status, reason }),
            _ => Err(failed(format!("{server} answered {status} when asked for a token"))),
        };
    }
    // What serde_json says may quote the token, so it is not passed on.
    let response: TokenResponse = serde_json::from_slice(&body)
        .map_err(|_| failed(format!("{server} did not answer with a token in JSON")))?;
    // A server that sets both may leave one of them empty.
    let mut tokens = [response.token, response.access_token].into_iter().flatten();
    let token = tokens.find(|token| !token.expose_secret().is_empty());
    let header = token.and_then(|token| bearer(&token));
    let header = header.ok_or_else(|| failed(format!("{server} answered without a token")))?;
    let lifetime =
        response.expires_in.filter(|seconds| *seconds > 0).map_or(DEFAULT_LIFETIME, Duration::from_secs);
    // A day is more than any build takes, and keeps a foolish server from overflowing the clock.
    let lifetime = lifetime.min(Duration::from_secs(24 * 60 * 60));
    Ok(Issued::Token(Token { header, until: asked + lifetime - MARGIN.min(lifetime / 2) }))
}

/// The tokens at hand, by their scopes.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<HashMap<String, Token>>);

impl TokenCache {
    /// Returns the header that presents the token for `scopes`, if there is one that lasts.
    pub(crate) fn header(&self, scopes: &str) -> Option<HeaderValue> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.until > Instant::now());
        tokens.get(scopes).map(|token| token.header.clone())
    }

    /// Keeps `token` for `scopes` and returns the header that presents it.
    pub(crate) fn keep(&self, scopes: &str, token: Token) -> HeaderValue {
        let header = token.header.clone();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(scopes.to_owned(), token);
        header
    }

    /// Forgets the token that `header` presents, if it is one of these.
    pub(crate) fn forget(&self, header: &HeaderValue) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.header != *header);
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

/// Returns the header of the Basic scheme (RFC 7617).
pub(crate) fn basic(username: &str, password: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", pack(username, password)))
}

/// Returns the header of the Bearer scheme (RFC 6750); `None` if `token` cannot stand in a header.
pub(crate) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose_secret()))
}

fn pack(username: &str, password: &SecretString) -> String {
    BASE64_STANDARD.encode(format!("{username}:{}", password.expose_secret()))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
