//! A part of a blob on its way to a registry.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use garden_build_core::Digest;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::blobs::{BlobSource, BlobStream};
use crate::error::{BoxError, RegistryError};
use crate::manifest::Descriptor;
use crate::transport::StreamedBody;

/// Receives how many bytes of a blob have been sent. The number may fall when some were lost.
#[derive(Clone)]
pub struct Sent(Arc<dyn Fn(u64) + Send + Sync>);

impl Sent {
    /// Calls `told` with the number of bytes. Called often, and between two pieces: it must not take long.
    pub fn new(told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Drops all numbers.
    pub fn untold() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent")
    }
}

/// What is known of a part while its body is being sent, and after.
pub(super) struct Part {
    position: Arc<AtomicU64>,
    waits_for_source: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<RegistryError>>>,
}

impl Part {
    /// Sends what lies in `range` of `blob`.
    ///
    /// The last piece of a blob leaves only after the source has come to its end: it is there that a source tells
    /// whether its content was right, and what is short of its length is never taken for a blob.
    pub(super) fn new(
        range: Range<u64>,
        blob: &Descriptor,
        source: &dyn BlobSource,
        sent: &Sent,
    ) -> (Self, StreamedBody) {
        let part = Self {
            position: Arc::new(AtomicU64::new(range.start)),
            waits_for_source: Arc::default(),
            failure: Arc::default(),
        };
        let (position, failure, sent) = (Arc::clone(&part.position), Arc::clone(&part.failure), sent.clone());
        let pieces = Pieces {
            source: source.read_from(range.start),
            waits: Arc::clone(&part.waits_for_source),
            held: None,
            received: range.start,
            end: range.end,
            is_last: range.end == blob.size,
            digest: blob.digest,
        };
        let frames = stream::unfold(pieces, Pieces::next).map(move |piece| match piece {
            Ok(piece) => {
                let now = position.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
                (sent.0)(now);
                Ok(Frame::data(piece))
            }
            Err(error) => {
                let message = error.to_string();
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(BoxError::from(message))
            }
        });
        (part, StreamBody::new(frames).boxed_unsync())
    }

    /// Returns how far the blob has left.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Returns whether it is the source that keeps everybody waiting. It ends by itself when it waits in vain.
    pub(super) fn waits_for_source(&self) -> bool {
        self.waits_for_source.load(Ordering::Relaxed)
    }

    /// Returns what the source failed with, if it did.
    pub(super) fn take_failure(&self) -> Option<RegistryError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The pieces of a part, of which one is always held back.
struct Pieces {
    source: BlobStream,
    waits: Arc<AtomicBool>,
    held: Option<Bytes>,
    received: u64,
    end: u64,
    /// Whether the part reaches to the blob's end.
    is_last: bool,
    digest: Digest,
}

impl Pieces {
    async fn next(mut self) -> Option<(Result<Bytes, RegistryError>, Self)> {
        while self.received < self.end || self.is_last {
            self.waits.store(true, Ordering::Relaxed);
            let next = self.source.next().await;
            self.waits.store(false, Ordering::Relaxed);
            match next {
                Some(Ok(mut piece)) => {
                    let wanted = usize::try_from(self.end - self.received).unwrap_or(usize::MAX);
                    piece.truncate(wanted);
                    self.received += piece.len() as u64;
                    if !piece.is_empty()
                        && let Some(held) = self.held.replace(piece)
                    {
                        return Some((Ok(held), self));
                    }
                }
                Some(Err(error)) => return Some((Err(error), self)),
                None if self.received < self.end => return Some((Err(self.too_short()), self)),
                None => break,
            }
        }
        let held = self.held.take()?;
        // Nothing is left to be asked for.
        (self.is_last, self.received) = (false, self.end);
        Some((Ok(held), self))
    }

    fn too_short(&self) -> RegistryError {
        RegistryError::Malformed {
            what: format!("the content for blob {}", self.digest),
            reason: format!("it ends after {} bytes, before it should", self.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(range: Range<u64>, source: &dyn BlobSource) -> (Part, Result<Bytes, String>) {
        let blob = Descriptor::new("application/octet-stream", Digest::of(b"0123456789"), 10);
        let (part, body) = Part::new(range, &blob, source, &Sent::untold());
        let collected = body.collect().await.map(http_body_util::Collected::to_bytes);
        (part, collected.map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn a_part_has_what_its_range_says() {
        let source = Bytes::from_static(b"0123456789");
        for (range, expected) in [(0..10, "0123456789"), (0..4, "0123"), (4..8, "4567"), (8..10, "89")] {
            let (part, sent) = body(range.clone(), &source).await;
            assert_eq!(sent.expect("no failure"), expected);
            assert_eq!(part.position(), range.end);
        }
    }

    /// Gives all content, and says only then that it was wrong.
    struct Wrong;

    impl BlobSource for Wrong {
        fn read_from(&self, _: u64) -> BlobStream {
            let error = RegistryError::InvalidCaCertificates { reason: "wrong".to_owned() };
            stream::iter([Ok(Bytes::from_static(b"01234")), Ok(Bytes::from_static(b"56789")), Err(error)])
                .boxed()
        }
    }

    #[tokio::test]
    async fn the_last_piece_stays_when_the_source_is_wrong() {
        let (part, sent) = body(0..10, &Wrong).await;
        assert!(sent.expect_err("a failure").contains("wrong"));
        assert_eq!(part.position(), 5);
        assert!(part.take_failure().is_some());
    }

    #[tokio::test]
    async fn a_source_that_ends_too_early_is_not_a_connection_that_breaks() {
        let (part, sent) = body(0..10, &Bytes::from_static(b"012345678")).await;
        assert!(sent.expect_err("a failure").contains("ends after 9 bytes"));
        assert!(part.take_failure().is_some());
    }
}
