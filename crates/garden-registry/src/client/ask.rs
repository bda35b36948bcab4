//! One question to the registry: authenticated if need be, and explained if it is refused.

use http::{HeaderValue, StatusCode};
use secrecy::ExposeSecret as _;

use crate::RegistryClient;
use crate::answer::Answer;
use crate::authenticate::Access;
use crate::error::RegistryError;
use crate::origin::Origin;
use crate::server_message::ServerMessage;
use crate::transport::{Call, Operation, Patience};

/// The largest explanation of an error that is read, in bytes.
const LARGEST_EXPLANATION: usize = 64 * 1024;

/// An answer, and what was shown to get it.
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) presented: Option<HeaderValue>,
}

impl Asked {
    pub(super) fn status(&self) -> StatusCode {
        self.answer.status
    }
}

/// What the registry did not do, and why.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) said: ServerMessage,
    pub(super) error: RegistryError,
}

impl RegistryClient {
    pub(super) fn begin(&self, patience: Patience) -> Operation<'_> {
        self.0.transport.begin(&self.0.endpoint, patience, self.0.timeout)
    }

    /// Puts what is known of us into `call`. Who is not the registry learns nothing.
    pub(super) fn present(&self, call: &mut Call, access: &Access<'_>) {
        let endpoint = &self.0.endpoint;
        let is_registry = Origin::of(&call.uri).as_ref() == Some(&endpoint.origin);
        call.authorization =
            if is_registry { self.0.authenticator.remembered(endpoint, access) } else { None };
    }

    /// Sends `call`, and authenticates if the registry asks for it.
    pub(super) async fn ask(
        &self,
        mut call: Call,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<Asked, RegistryError> {
        self.present(&mut call, access);
        let answer = operation.send(call.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(Asked { answer, presented: call.authorization });
        }
        let header = self.authenticate(&answer, call.authorization.as_ref(), access, operation).await?;
        if call.authorization.as_ref() == Some(&header) {
            // It was just refused. Asking again only brings the user closer to being locked out.
            return Ok(Asked { answer, presented: Some(header) });
        }
        call.authorization = Some(header);
        Ok(Asked { answer: operation.send(call.clone()).await?, presented: call.authorization })
    }

    /// Returns what the registry wants to see after it has answered 401 to what was `presented`.
    pub(super) async fn authenticate(
        &self,
        answer: &Answer,
        presented: Option<&HeaderValue>,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        if answer.origin != self.0.endpoint.origin {
            return Err(answer.wants_credentials());
        }
        self.0.authenticator.answer(&answer.headers, presented, access, operation).await
    }

    /// Reads why the registry refuses. A token that it refuses is not presented again.
    pub(super) async fn explain(&self, asked: Asked, access: &Access<'_>) -> Result<Refused, RegistryError> {
        let (endpoint, authenticator) = (&self.0.endpoint, &self.0.authenticator);
        let Asked { answer, presented } = asked;
        let (status, server) = (answer.status, answer.server.clone());
        let is_registry = answer.origin == endpoint.origin;
        if is_registry
            && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && let Some(refused) = &presented
        {
            authenticator.forget(refused);
        }
        let elsewhere = answer.wants_credentials();
        let body = match answer.body(LARGEST_EXPLANATION).await {
            // Whoever explains at such length explains nothing.
            Err(RegistryError::TooLarge { .. }) => bytes::Bytes::new(),
            read => read?,
        };
        let shown = presented.as_ref().and_then(|header| header.to_str().ok()?.split_once(' '));
        let shown = shown.map_or("", |(_, shown)| shown);
        let secret = authenticator.secret(endpoint, access);
        let said = ServerMessage::read(&body, &[shown, secret.expose_secret()]);
        let error = match status {
            // Who is not the registry has not seen our credentials, so they are not to blame.
            StatusCode::UNAUTHORIZED if !is_registry => elsewhere,
            StatusCode::UNAUTHORIZED => {
                authenticator.refused(endpoint, access, presented.as_ref(), said.text())
            }
            // A page was not written by the registry, which has not judged our credentials then.
            StatusCode::FORBIDDEN if is_registry && !said.is_page() => {
                authenticator.forbidden(endpoint, access, said.text())
            }
            _ => RegistryError::Unexpected {
                server,
                repository: access.repository.to_owned(),
                status,
                reason: said.text().unwrap_or_else(|| "it does not say why".to_owned()),
            },
        };
        Ok(Refused { status, said, error })
    }
}

impl Answer {
    fn wants_credentials(&self) -> RegistryError {
        let reason = "it redirects to a server that is not the registry and asks for credentials".to_owned();
        RegistryError::Redirect { server: self.server.clone(), reason }
    }

    /// States that this answer makes no sense, because of `reason`.
    pub(super) fn unexpected(&self, access: &Access<'_>, reason: impl Into<String>) -> RegistryError {
        RegistryError::Unexpected {
            server: self.server.clone(),
            repository: access.repository.to_owned(),
            status: self.status,
            reason: reason.into(),
        }
    }
}
