//! What a server answered, and how long its body may take.

use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::endpoint::join;
use crate::error::RegistryError;
use crate::origin::Origin;
use crate::server::Server;

/// Stands for a time whose end the clock cannot represent.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Who answered, after redirects.
    pub(crate) origin: Origin,
    /// Who answered, for messages.
    pub(crate) server: Server,
    pub(crate) body: Incoming,
    pub(crate) deadline: Deadline,
}

/// Until when something has to have happened.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) allowed: Duration,
}

impl Answer {
    /// Reads the body, if it has at most `limit` bytes.
    pub(crate) async fn body(self, limit: usize) -> Result<Bytes, RegistryError> {
        let Self { body, deadline, server, .. } = self;
        match timeout_at(deadline.at, Limited::new(body, limit).collect()).await {
            Err(_) => Err(deadline.missed(server)),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(RegistryError::TooLarge { server, limit })
            }
            Ok(Err(source)) => Err(RegistryError::Unreachable { server, source }),
        }
    }

    /// Reads the next piece of the body, which has to come within the time that the client allows an answer;
    /// `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let deadline = Deadline::after(self.deadline.allowed);
            match timeout_at(deadline.at, self.body.frame()).await {
                Err(_) => return Err(deadline.missed(self.server.clone())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let (server, source) = (self.server.clone(), error.into());
                    return Err(RegistryError::Unreachable { server, source });
                }
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => return Ok(Some(piece)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// Returns where the answer leads, which may be relative to `asked`; else what is wrong.
    pub(crate) fn location(&self, asked: &Uri) -> Result<Uri, &'static str> {
        let location = self.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| join(asked, location));
        let target = target.ok_or("its `Location` is missing or no URL")?;
        match Origin::of(&target) {
            Some(_) => Ok(target),
            None => Err("its `Location` is not an http or https URL, or has user information"),
        }
    }

    /// Returns whether the answer is to be found elsewhere.
    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308)
    }
}

impl Deadline {
    pub(crate) fn after(allowed: Duration) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(allowed).unwrap_or(now + FOR_EVER), allowed }
    }

    pub(crate) fn missed(self, server: Server) -> RegistryError {
        RegistryError::Timeout { server, after: self.allowed }
    }
}
