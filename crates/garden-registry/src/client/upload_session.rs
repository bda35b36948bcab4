//! An upload under way.
//!
//! Source: OCI distribution specification, section "Pushing a blob in chunks". Content goes in one PATCH, as
//! `docker push` does it, which every registry understands; when that breaks, or is too much for something in
//! between, it goes on in chunks.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::RegistryClient;
use super::ask::{Asked, Refused};
use super::blobs::{BlobSource, MOST_FAILURES, delay};
use super::part::{Part, Sent};
use crate::answer::Answer;
use crate::authenticate::Access;
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use crate::transport::{Call, Operation, Patience, StreamedBody, is_passing};

/// How much is sent at once after a whole blob was too much, in bytes. More than any registry's least chunk.
const CHUNK: u64 = 16 * 1024 * 1024;

/// Why an upload did not come to its end.
pub(super) enum Broken {
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
pub(super) struct Session<'a> {
    pub(super) client: &'a RegistryClient,
    pub(super) access: &'a Access<'a>,
    pub(super) operation: Operation<'a>,
    pub(super) location: Uri,
    /// How much the registry has, in bytes.
    pub(super) offset: u64,
}

/// What an upload has cost so far. A registry decides how much of each part it has taken, so it could have parts sent for ever.
struct Effort {
    /// The most that the registry has had, in bytes.
    highest: u64,
    /// How many parts in a row brought nothing new.
    failures: u32,
    /// How many more parts are sent: twice as many as a blob takes that is sent in chunks, and some for a beginning that breaks.
    parts_left: u64,
}

impl Effort {
    fn for_blob(blob: &Descriptor) -> Self {
        Self {
            highest: 0,
            failures: 0,
            parts_left: blob.size.div_ceil(CHUNK).saturating_mul(2).saturating_add(16),
        }
    }

    /// A part was sent, after which the registry has `offset` bytes.
    fn part_ended(&mut self, offset: u64) {
        self.parts_left = self.parts_left.saturating_sub(1);
        self.failures = if offset > self.highest { 0 } else { self.failures + 1 };
        self.highest = self.highest.max(offset);
    }

    fn is_exhausted(&self) -> bool {
        self.failures > MOST_FAILURES || self.parts_left == 0
    }
}

/// What became of a PATCH.
enum Patched {
    Accepted(StatusCode),
    /// Too much at once, for the registry or something before it.
    TooLarge(RegistryError),
    /// It may go on from where the registry says.
    Interrupted(RegistryError),
}

impl Session<'_> {
    pub(super) async fn send(
        &mut self,
        blob: &Descriptor,
        source: &dyn BlobSource,
        sent: &Sent,
    ) -> Result<(), Broken> {
        let mut chunk = u64::MAX;
        let mut effort = Effort::for_blob(blob);
        while self.offset < blob.size {
            let end = self.offset.saturating_add(chunk).min(blob.size);
            let failure = match self.patch(end, blob, source, sent).await? {
                Patched::Accepted(status) => self.takes_no_more(status),
                Patched::TooLarge(_) if chunk > CHUNK => {
                    chunk = CHUNK;
                    continue;
                }
                Patched::TooLarge(error) => return Err(Broken::Failed(error)),
                Patched::Interrupted(error) => {
                    chunk = CHUNK;
                    if effort.failures == MOST_FAILURES {
                        return Err(Broken::Failed(error));
                    }
                    tokio::time::sleep(delay(effort.failures)).await;
                    if !self.ask_offset(blob).await? {
                        return Err(Broken::Lost(error));
                    }
                    error
                }
            };
            if self.offset < end {
                chunk = CHUNK;
            }
            effort.part_ended(self.offset);
            if effort.is_exhausted() {
                return Err(Broken::Failed(failure));
            }
        }
        self.commit(blob).await
    }

    /// States that the registry takes what it is given, and has no more of the blob in the end.
    fn takes_no_more(&self, status: StatusCode) -> RegistryError {
        RegistryError::Unexpected {
            server: self.client.server(),
            repository: self.access.repository.to_owned(),
            status,
            reason: format!(
                "it takes parts of a blob, but says that it has no more than {} bytes of it",
                self.offset
            ),
        }
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
                // For one byte, distribution answers the same as for none.
                let accepted = offset(&answer.headers).filter(|offset| (*offset, end) != (0, 1));
                self.offset = accepted.unwrap_or(end).min(end);
                Ok(Patched::Accepted(answer.status))
            }
            StatusCode::UNAUTHORIZED => {
                let presented = call.authorization.as_ref();
                self.client.authenticate(&answer, presented, self.access, &self.operation).await?;
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
        let allowed = self.client.0.timeout;
        let mut sending = std::pin::pin!(self.operation.send_streamed(call, body));
        loop {
            let before = part.position();
            match tokio::time::timeout(allowed, &mut sending).await {
                Ok(answer) => return answer,
                Err(_) if part.position() != before || part.waits_for_source() => {}
                Err(_) => {
                    let server = self.client.server();
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
                let reason = "a digest cannot be added to the URL of the upload".to_owned();
                RegistryError::Redirect { server: self.client.server(), reason }
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

    /// Makes the registry forget the upload at once. Otherwise it does so by itself, some day.
    pub(super) async fn cancel(&self) {
        let call = empty(Method::DELETE, self.location.clone());
        let operation = self.client.begin(Patience::Question);
        if let Err(error) = self.client.ask(call, self.access, &operation).await {
            tracing::debug!(%error, "could not cancel an upload");
        }
    }
}

/// Some registries insist on a length where there is no body.
pub(super) fn empty(method: Method, uri: Uri) -> Call {
    Call::new(method, uri).header(CONTENT_LENGTH, HeaderValue::from_static("0"))
}

/// Reads how much of an upload is there: `Range: 0-9`, also written `bytes=0-9`, for ten bytes.
///
/// For an upload without content, distribution answers `0-0`, which would be one byte.
pub(super) fn offset(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes=").unwrap_or(range.trim());
    match range.split_once('-')?.1.parse::<u64>().ok()? {
        0 => Some(0),
        last => Some(last.saturating_add(1)),
    }
}
