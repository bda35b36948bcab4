//! Reads blobs: configurations and layers.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use garden_build_core::{Digest, Sha256};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};

use super::RegistryClient;
use super::ask::Refused;
use crate::answer::Answer;
use crate::authenticate::{Access, Action};
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use crate::transport::{Call, Patience};

/// How often a transfer is taken up again without having got on in between.
pub(super) const MOST_FAILURES: u32 = 5;

/// The content of a blob, in pieces. An error is its last item.
pub type BlobStream = BoxStream<'static, Result<Bytes, RegistryError>>;

/// Where a blob can be read: from its start, or from its middle when a transfer is taken up again.
pub trait BlobSource: Send + Sync {
    /// Reads the content from `offset`, in bytes, to its end.
    fn read_from(&self, offset: u64) -> BlobStream;
}

impl BlobSource for Bytes {
    fn read_from(&self, offset: u64) -> BlobStream {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        stream::iter([Ok(self.slice(start..))]).boxed()
    }
}

/// A blob of a repository, not read yet. Made by [`RegistryClient::blob`].
///
/// What is read has the right size, or ends with an error; read from its start, it also has the right digest. A cut
/// connection is taken up again where it broke.
#[derive(Clone, Debug)]
pub struct RemoteBlob {
    client: RegistryClient,
    repository: String,
    descriptor: Descriptor,
}

impl RegistryClient {
    /// Names a blob of `repository`. Nothing is asked yet.
    ///
    /// # Errors
    /// If `repository` cannot be a repository's name.
    pub fn blob(&self, repository: &str, descriptor: &Descriptor) -> Result<RemoteBlob, RegistryError> {
        let repository = self.repository(repository)?;
        Ok(RemoteBlob { client: self.clone(), repository, descriptor: descriptor.clone() })
    }

    /// Returns whether the repository has the blob.
    ///
    /// # Errors
    /// If the registry does not answer the question.
    pub async fn has_blob(&self, repository: &str, digest: Digest) -> Result<bool, RegistryError> {
        let repository = self.repository(repository)?;
        let access = Access { repository: &repository, action: Action::Pull };
        self.has(&access, digest).await
    }

    pub(super) async fn has(&self, access: &Access<'_>, digest: Digest) -> Result<bool, RegistryError> {
        let uri = self.0.endpoint.of_repository(access.repository, &format!("blobs/{digest}"))?;
        let asked = self.ask(Call::new(Method::HEAD, uri), access, &self.begin(Patience::Transfer)).await?;
        match asked.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.explain(asked, access).await?.error),
        }
    }
}

impl RemoteBlob {
    /// Reads the whole blob into memory, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// If it is larger, cannot be read, or is not what its descriptor says.
    pub async fn bytes(&self, limit: u64) -> Result<Bytes, RegistryError> {
        let size = usize::try_from(self.descriptor.size).ok().filter(|_| self.descriptor.size <= limit);
        let Some(size) = size else {
            let server = self.client.server();
            return Err(RegistryError::TooLarge {
                server,
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            });
        };
        let mut content = Vec::with_capacity(size);
        let mut pieces = self.read_from(0);
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece?);
        }
        Ok(content.into())
    }
}

impl BlobSource for RemoteBlob {
    fn read_from(&self, offset: u64) -> BlobStream {
        let reader = Reader {
            blob: self.clone(),
            position: offset,
            hasher: (offset == 0).then(Sha256::new),
            answer: None,
            surplus: 0,
            failures: 0,
        };
        stream::try_unfold(reader, Reader::next).boxed()
    }
}

struct Reader {
    blob: RemoteBlob,
    position: u64,
    /// The digest of what was read, if that began at the start.
    hasher: Option<Sha256>,
    answer: Option<Answer>,
    /// How much of the answer comes before our position, in bytes.
    surplus: u64,
    failures: u32,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, RegistryError> {
        let size = self.blob.descriptor.size;
        while self.position < size {
            let mut answer = match self.answer.take() {
                Some(answer) => answer,
                None => self.open().await?,
            };
            let failure = match answer.piece().await {
                Ok(Some(piece)) => {
                    self.answer = Some(answer);
                    let piece = self.without_surplus(piece);
                    if piece.is_empty() {
                        continue;
                    }
                    self.take(&piece)?;
                    return Ok(Some((piece, self)));
                }
                Ok(None) => self.wrong(format!("it ends after {} of {size} bytes", self.position)),
                Err(error) => error,
            };
            self.failures += 1;
            if self.failures > MOST_FAILURES {
                return Err(failure);
            }
            tokio::time::sleep(delay(self.failures)).await;
        }
        self.finish().await.map(|()| None)
    }

    async fn open(&mut self) -> Result<Answer, RegistryError> {
        let (answer, starts_at) = self.blob.open(self.position).await?;
        self.surplus = self.position - starts_at;
        Ok(answer)
    }

    fn take(&mut self, piece: &Bytes) -> Result<(), RegistryError> {
        self.position += piece.len() as u64;
        if self.position > self.blob.descriptor.size {
            return Err(self.wrong(format!("it goes on after {} bytes", self.blob.descriptor.size)));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        self.failures = 0;
        Ok(())
    }

    fn without_surplus(&mut self, mut piece: Bytes) -> Bytes {
        let dropped = usize::try_from(self.surplus).unwrap_or(usize::MAX).min(piece.len());
        self.surplus -= dropped as u64;
        piece.split_off(dropped)
    }

    /// Reads the end of the answer, without which the connection could not be used again, and checks.
    async fn finish(&mut self) -> Result<(), RegistryError> {
        if let Some(mut answer) = self.answer.take()
            && let Ok(Some(_)) = answer.piece().await
        {
            return Err(self.wrong(format!("it goes on after {} bytes", self.position)));
        }
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let digest = hasher.digest();
        if digest == self.blob.descriptor.digest {
            return Ok(());
        }
        Err(self.wrong(format!("its digest is {digest}")))
    }

    fn wrong(&self, reason: String) -> RegistryError {
        RegistryError::WrongContent {
            server: self.blob.client.server(),
            repository: self.blob.repository.clone(),
            digest: self.blob.descriptor.digest,
            reason,
        }
    }
}

impl RemoteBlob {
    /// Asks for the content from `offset`, and returns where the answer begins.
    async fn open(&self, offset: u64) -> Result<(Answer, u64), RegistryError> {
        let Self { client, repository, descriptor } = self;
        let access = Access { repository, action: Action::Pull };
        let uri = client.0.endpoint.of_repository(repository, &format!("blobs/{}", descriptor.digest))?;
        let mut call = Call::new(Method::GET, uri);
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            call = call.header(RANGE, range);
        }
        let asked = client.ask(call, &access, &client.begin(Patience::Transfer)).await?;
        match asked.status() {
            StatusCode::OK => Ok((asked.answer, 0)),
            StatusCode::PARTIAL_CONTENT => match start_of_range(&asked.answer) {
                Some(start) if start <= offset => Ok((asked.answer, start)),
                _ => Err(asked
                    .answer
                    .unexpected(&access, "it sends another part of a blob than was asked for")),
            },
            _ => {
                let Refused { status, error, .. } = client.explain(asked, &access).await?;
                if status != StatusCode::NOT_FOUND {
                    return Err(error);
                }
                Err(RegistryError::Missing {
                    registry: client.registry().to_owned(),
                    repository: repository.clone(),
                    what: format!("blob {}", descriptor.digest),
                })
            }
        }
    }
}

/// How long to wait before a transfer is taken up again.
pub(super) fn delay(failures: u32) -> Duration {
    Duration::from_millis(100) * 4_u32.saturating_pow(failures.min(3))
}

/// Source: RFC 9110, section 14.4: `bytes 5-9/10`.
fn start_of_range(answer: &Answer) -> Option<u64> {
    let range = answer.headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
