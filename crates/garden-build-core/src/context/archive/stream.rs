use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Error, ErrorKind};

/// What is collected before it is handed on.
const CHUNK: usize = 128 * 1024;

/// How many chunks may wait for the consumer, so that the writer works while one is being sent.
const CHUNKS_IN_FLIGHT: usize = 4;

/// Runs `write` on a blocking thread, and hands out what it writes.
///
/// The thread waits when the consumer is slow: at most four chunks of 128 KiB wait in between. If
/// the stream is dropped, the next write fails with [`io::ErrorKind::BrokenPipe`].
///
/// # Panics
/// If called outside of a tokio runtime.
pub fn byte_stream<F>(write: F) -> ByteStream
where
    F: FnOnce(&mut ChunkWriter) -> Result<(), Error> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let task = spawn_blocking(move || {
        let mut writer = ChunkWriter { sender, chunk: BytesMut::new() };
        write(&mut writer)?;
        writer.flush().map_err(|error| {
            Error::new(ErrorKind::Cancelled, "nobody took the rest of the stream").with_source(error)
        })
    });
    ByteStream { receiver, task: Some(task) }
}

/// Takes what the writer of a [`byte_stream`] writes.
#[derive(Debug)]
pub struct ChunkWriter {
    sender: mpsc::Sender<Bytes>,
    chunk: BytesMut,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        let chunk = self.chunk.split().freeze();
        self.sender.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk.reserve(CHUNK);
        }
        let length = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..length]);
        if self.chunk.len() == CHUNK {
            self.send()?;
        }
        Ok(length)
    }

    /// Hands on what has been written, though it does not fill a chunk.
    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.send() }
    }
}

/// What the writer of a [`byte_stream`] writes, in chunks of at most 128 KiB.
#[derive(Debug)]
pub struct ByteStream {
    receiver: mpsc::Receiver<Bytes>,
    /// The writer, until it has ended and its result was handed out.
    task: Option<JoinHandle<Result<(), Error>>>,
}

impl ByteStream {
    /// Waits for the next chunk; `None` at the end. If the writer fails or panics, its error is the
    /// last item, after everything that it handed on before.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|task| Pin::new(&mut *self).poll_next(task)).await
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if let Some(chunk) = ready!(self.receiver.poll_recv(context)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(task).poll(context));
        self.task = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(Error::new(
                ErrorKind::Unexpected,
                format!("the thread that writes the stream ended early: {error}"),
            ))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc as std_mpsc;
    use std::time::Duration;

    use super::*;

    fn failed(_: io::Error) -> Error {
        Error::new(ErrorKind::Cancelled, "cut off")
    }

    #[tokio::test]
    async fn hands_out_everything_in_order_and_in_chunks() {
        let expected: Vec<u8> = (0..700_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let written = expected.clone();
        let mut stream = byte_stream(move |writer| {
            written.chunks(999).try_for_each(|piece| writer.write_all(piece)).map_err(failed)
        });
        let mut received = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("chunk");
            assert!(chunk.len() <= CHUNK);
            received.extend_from_slice(&chunk);
        }
        assert!(received == expected);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn an_error_is_the_last_item_after_what_was_written() {
        let mut stream = byte_stream(|writer| {
            writer.write_all(b"some").and_then(|()| writer.flush()).map_err(failed)?;
            Err(Error::new(ErrorKind::Context, "`a` changed"))
        });
        assert_eq!(stream.next().await.expect("item").expect("chunk"), "some");
        assert_eq!(stream.next().await.expect("item").expect_err("error").message(), "`a` changed");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let mut stream = byte_stream(|_| panic!("defect"));
        let error = stream.next().await.expect("item").expect_err("panic");
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(error.message().contains("defect"), "{error}");
    }

    #[tokio::test]
    async fn a_slow_consumer_stops_the_writer() {
        let written = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&written);
        let mut stream = byte_stream(move |writer| {
            (0..100)
                .try_for_each(|_| {
                    writer.write_all(&vec![0; CHUNK])?;
                    counter.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
                .map_err(failed)
        });
        stream.next().await.expect("item").expect("chunk");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(written.load(Ordering::SeqCst) <= CHUNKS_IN_FLIGHT + 1);
    }

    #[tokio::test]
    async fn the_writer_ends_when_the_consumer_is_gone() {
        let (report, ended) = std_mpsc::channel();
        let stream = byte_stream(move |writer| {
            let error = loop {
                if let Err(error) = writer.write_all(&vec![0; CHUNK]) {
                    break error;
                }
            };
            report.send(error.kind()).expect("test waits");
            Err(failed(error))
        });
        drop(stream);
        let kind = tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(5)));
        assert_eq!(kind.await.expect("no panic"), Ok(io::ErrorKind::BrokenPipe));
    }
}
