//! Gives a registry blobs.
//!
//! Source: OCI distribution specification, sections "Pushing a blob in chunks" and "Mounting a blob from
//! another repository". Content goes in one PATCH, as `docker push` does it, which every registry understands;
//! when that breaks, or is too much for something in between, it goes on in chunks.

use garden_build_core::Digest;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::RegistryClient;
use super::ask::{Asked, Refused};
use super::blobs::{BlobSource, MOST_FAILURES, delay};
use super::part::{Part, Sent};
use crate::answer::Answer;
use crate::authenticate::{Access, Action};
use crate::endpoint::Origin;
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use crate::transport::{Call, Operation, Patience, StreamedBody, is_passing};

/// How much is sent at once after a whole blob was too much, in bytes. More than any registry's least chunk.
const CHUNK: u64 = 16 * 1024 * 1024;

/// How often an upload is begun. Distribution forgets one of which a part broke.
const TRIES: u32 = 5;

/// How a blob came into a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// Its content was sent.
    Sent,
}

impl RegistryClient {
    /// Makes sure that `repository` has a blob: asks whether it has, then whether it can be taken `from` another
    /// repository of this registry, and sends the content of `source` otherwise.
    ///
    /// # Errors
    /// If the registry does not take it, or the source fails or has other content than `blob` says. Nothing is left
    /// at the registry then that is kept.
    pub async fn upload_blob(
        &self,
        repository: &str,
        blob: &Descriptor,
        from: Option<&str>,
        source: &dyn BlobSource,
        sent: &Sent,
    ) -> Result<Uploaded, RegistryError> {
        let repository = self.repository(repository)?;
        let from = from.map(|from| self.repository(from)).transpose()?;
        let access = Access { repository: &repository, action: Action::Push };
        if self.has(&access, blob.digest).await? {
            return Ok(Uploaded::Existed);
        }
        let mut tries = 1;
        loop {
            let Some(mut session) = self.start_upload(&access, blob.digest, from.as_deref()).await? else {
                return Ok(Uploaded::Mounted);
            };
            match session.send(blob, source, sent).await {
                Ok(()) => return Ok(Uploaded::Sent),
                Err(Broken::Lost(_)) if tries < TRIES => tries += 1,
                Err(Broken::Lost(error)) => return Err(error),
                Err(Broken::Failed(error)) => {
                    session.cancel().await;
                    return Err(error);
                }
            }
        }
    }

    /// Begins an upload; `None` if the blob could be mounted instead.
    async fn start_upload<'a>(
        &'a self,
        access: &'a Access<'a>,
        digest: Digest,
        from: Option<&str>,
    ) -> Result<Option<Session<'a>>, RegistryError> {
        let start =
            |query: &str| self.0.endpoint.of_repository(access.repository, &format!("blobs/uploads/{query}"));
        let operation = self.begin(Patience::Transfer);
        let mut begun = None;
        if let Some(from) = from {
            let uri = start(&format!("?mount={digest}&from={from}"))?;
            let also_from = Access { action: Action::PushFrom(from), ..*access };
            match self.ask(empty(Method::POST, uri.clone()), &also_from, &operation).await {
                Ok(asked) if asked.status() == StatusCode::CREATED => return Ok(None),
                // Registries that cannot mount, or not from there, differ in how they say so; one with tokens says
                // that the token is not enough.
                Ok(asked) if asked.status().is_client_error() => {}
                Err(RegistryError::Unauthorized(_) | RegistryError::Forbidden(_)) => {}
                asked => begun = Some((asked?, uri)),
            }
        }
        let (asked, uri) = if let Some(begun) = begun {
            begun
        } else {
            let uri = start("")?;
            (self.ask(empty(Method::POST, uri.clone()), access, &operation).await?, uri)
        };
        if asked.status() != StatusCode::ACCEPTED {
            return Err(self.explain(asked, access).await?.error);
        }
        let location = self.upload_location(&asked.answer, &uri)?;
        Ok(Some(Session { client: self, access, operation, location, offset: 0 }))
    }

    /// Returns where an upload goes on.
    ///
    /// A registry behind a proxy that speaks TLS for it may not know that, and name itself without TLS: it is still
    /// asked with TLS. To anybody else without TLS nothing is sent.
    fn upload_location(&self, answer: &Answer, asked: &Uri) -> Result<Uri, RegistryError> {
        let refused = |reason: &str| RegistryError::Redirect {
            server: answer.server.clone(),
            reason: reason.to_owned(),
        };
        let location = answer.location(asked).map_err(refused)?;
        let endpoint = &self.0.endpoint.origin;
        match Origin::of(&location) {
            Some(origin) if endpoint.is_encrypted() && !origin.is_encrypted() => {
                let own = location.path_and_query().filter(|_| origin.has_host_of(endpoint));
                let own = own.and_then(|path| format!("{endpoint}{path}").parse().ok());
                own.ok_or_else(|| refused("it leads from TLS to plain HTTP"))
            }
            _ => Ok(location),
        }
    }
}

/// Why an upload did not come to its end.
enum Broken {
    /// The registry knows nothing of it any more, or has something else than was sent: begin anew.
    Lost(RegistryError),
    Failed(RegistryError),
}

impl From<RegistryError> for Broken {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

/// An upload that has begun.
struct Session<'a> {
    client: &'a RegistryClient,
    access: &'a Access<'a>,
    operation: Operation<'a>,
    location: Uri,
    /// How much the registry has, in bytes.
    offset: u64,
}

/// What became of a PATCH.
enum Patched {
    Accepted,
    /// Too much at once, for the registry or something before it.
    TooLarge(RegistryError),
    /// It may go on from where the registry says.
    Interrupted(RegistryError),
}

impl Session<'_> {
    async fn send(&mut self, blob: &Descriptor, source: &dyn BlobSource, sent: &Sent) -> Result<(), Broken> {
        let mut chunk = u64::MAX;
        let mut failures = 0;
        while self.offset < blob.size {
            let before = self.offset;
            let end = before.saturating_add(chunk).min(blob.size);
            match self.patch(end, blob, source, sent).await? {
                Patched::Accepted => {}
                Patched::TooLarge(_) if chunk > CHUNK => {
                    chunk = CHUNK;
                    continue;
                }
                Patched::TooLarge(error) => return Err(Broken::Failed(error)),
                Patched::Interrupted(error) => {
                    chunk = CHUNK;
                    if failures == MOST_FAILURES {
                        return Err(Broken::Failed(error));
                    }
                    tokio::time::sleep(delay(failures)).await;
                    if !self.ask_offset(blob).await? {
                        return Err(Broken::Lost(error));
                    }
                }
            }
            failures = if self.offset > before { 0 } else { failures + 1 };
        }
        self.commit(blob).await
    }

    /// Sends what lies between the registry's offset and `end`.
    async fn patch(
        &mut self,
        end: u64,
        blob: &Descriptor,
        source: &dyn BlobSource,
        sent: &Sent,
    ) -> Result<Patched, Broken> {
        let start = self.offset;
        let mut call = Call::new(Method::PATCH, self.location.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .header(CONTENT_LENGTH, HeaderValue::from(end - start));
        // Docker sends whole blobs without; some registries take the header for a sign of chunks only.
        if (start, end) != (0, blob.size)
            && let Ok(range) = HeaderValue::from_str(&format!("{start}-{}", end - 1))
        {
            call = call.header(CONTENT_RANGE, range);
        }
        self.client.present(&mut call, self.access);

        let (part, body) = Part::new(start..end, blob, source, sent);
        let answer = match self.send_watched(&call, body, &part).await {
            Ok(answer) => answer,
            Err(error) => {
                // That the connection broke may be because the source did.
                return match part.take_failure() {
                    Some(failure) => Err(Broken::Failed(failure)),
                    None => Ok(Patched::Interrupted(error)),
                };
            }
        };
        if let Some(failure) = part.take_failure() {
            return Err(Broken::Failed(failure));
        }
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {
                self.location = self.client.upload_location(&answer, &call.uri).unwrap_or(call.uri);
                // Of one byte, distribution says the same as of none.
                let accepted = offset(&answer.headers).filter(|offset| (*offset, end) != (0, 1));
                self.offset = accepted.unwrap_or(end).min(blob.size);
                Ok(Patched::Accepted)
            }
            StatusCode::UNAUTHORIZED => {
                self.client.authenticate(&answer, self.access, &self.operation).await?;
                Ok(Patched::Interrupted(self.refusal(answer, &call).await?))
            }
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Patched::TooLarge(self.refusal(answer, &call).await?)),
            status if is_passing(status) || status == StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(Patched::Interrupted(self.refusal(answer, &call).await?))
            }
            StatusCode::NOT_FOUND => Err(Broken::Lost(self.refusal(answer, &call).await?)),
            _ => Err(Broken::Failed(self.refusal(answer, &call).await?)),
        }
    }

    async fn refusal(&self, answer: Answer, call: &Call) -> Result<RegistryError, RegistryError> {
        let asked = Asked { answer, presented: call.authorization.clone() };
        Ok(self.client.explain(asked, self.access).await?.error)
    }

    /// Sends a part, and gives up when nothing of it has left for as long as an answer may take.
    async fn send_watched(
        &self,
        call: &Call,
        body: StreamedBody,
        part: &Part,
    ) -> Result<Answer, RegistryError> {
        let allowed = self.client.0.transport.timeout;
        let mut sending = std::pin::pin!(self.operation.send_streamed(call, body));
        loop {
            let before = part.position();
            match tokio::time::timeout(allowed, &mut sending).await {
                Ok(answer) => return answer,
                Err(_) if part.position() != before || part.waits_for_source() => {}
                Err(_) => {
                    let server = format!("registry {}", self.client.registry());
                    return Err(RegistryError::Timeout { server, after: allowed });
                }
            }
        }
    }

    /// Asks how much the registry has; `false` if it knows nothing of the upload.
    async fn ask_offset(&mut self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let call = Call::new(Method::GET, self.location.clone());
        let asked = self.client.ask(call, self.access, &self.operation).await?;
        match asked.status() {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                if let Ok(location) = self.client.upload_location(&asked.answer, &self.location) {
                    self.location = location;
                }
                self.offset = offset(&asked.answer.headers).unwrap_or(0).min(blob.size);
                Ok(true)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.client.explain(asked, self.access).await?.error)
            }
            _ => Ok(false),
        }
    }

    /// Ends the upload: what was sent becomes the blob.
    async fn commit(&self, blob: &Descriptor) -> Result<(), Broken> {
        let separator = if self.location.query().is_some() { '&' } else { '?' };
        let uri: Uri =
            format!("{}{separator}digest={}", self.location, blob.digest).parse().map_err(|_| {
                let reason = "the URL of an upload cannot take a digest".to_owned();
                RegistryError::Redirect { server: format!("registry {}", self.client.registry()), reason }
            })?;
        let asked = self.client.ask(empty(Method::PUT, uri), self.access, &self.operation).await?;
        if asked.status().is_success() {
            return Ok(());
        }
        let Refused { status, error, .. } = self.client.explain(asked, self.access).await?;
        match status {
            // It may be that an answer was lost, and this was asked again.
            StatusCode::NOT_FOUND if self.client.has(self.access, blob.digest).await? => Ok(()),
            // 400: the digest of what arrived is another. The source is right, as it was checked on its way.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Broken::Lost(error))
            }
            _ => Err(Broken::Failed(error)),
        }
    }

    /// Tells the registry to forget the upload. It does so by itself, some day.
    async fn cancel(&self) {
        let call = empty(Method::DELETE, self.location.clone());
        let operation = self.client.begin(Patience::Question);
        if let Err(error) = self.client.ask(call, self.access, &operation).await {
            tracing::debug!(%error, "could not cancel an upload");
        }
    }
}

/// Some registries insist on a length where there is no body.
fn empty(method: Method, uri: Uri) -> Call {
    Call::new(method, uri).header(CONTENT_LENGTH, HeaderValue::from_static("0"))
}

/// Reads how much of an upload is there: `Range: 0-9`, also written `bytes=0-9`, for ten bytes.
///
/// Of an upload without content, distribution says `0-0`, which would be one byte.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes=").unwrap_or(range.trim());
    match range.split_once('-')?.1.parse().ok()? {
        0 => Some(0),
        last => Some(last + 1),
    }
}
