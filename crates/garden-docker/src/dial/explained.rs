use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;
use crate::ReachError;

/// Knows what it means if a connection that could be opened cannot be used.
pub(super) trait Explain: Send + Unpin + 'static {
    /// Explains the first bytes from the daemon if they are not an HTTP answer.
    fn first_words(&self, words: &[u8]) -> Option<ReachError>;

    /// Explains why a read or write failed. `heard` tells whether anything had come from the daemon.
    fn failure(&self, error: &io::Error, heard: bool) -> Option<ReachError>;
}

/// A connection whose failures say why the daemon is not reached, where they can.
pub(super) struct Explained<S, E> {
    stream: S,
    explain: E,
    first: First,
}

/// The first bytes that come from the daemon.
enum First {
    /// None has come yet.
    Awaited,
    /// They have been looked at; those from this place on have not been handed on yet.
    Kept(Vec<u8>, usize),
    /// They have been handed on.
    Handed,
}

/// How many of the first bytes are looked at.
const FIRST: usize = 1024;

impl<S: Connection, E: Explain> Explained<S, E> {
    pub(super) fn new(stream: S, explain: E) -> Self {
        Self { stream, explain, first: First::Awaited }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let heard = !matches!(self.first, First::Awaited);
        match self.explain.failure(&error, heard) {
            Some(reason) => io::Error::new(error.kind(), reason),
            None => error,
        }
    }

    /// Explains why a write failed. What the daemon said before it hung up says more than that it did.
    fn explain_write(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let hung_up = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if hung_up && let Poll::Ready(Err(said)) = self.poll_first(cx) {
            return said;
        }
        self.explain(error)
    }

    /// Waits for the first bytes, and looks at them.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.first, First::Awaited) {
            return Poll::Ready(Ok(()));
        }
        let mut words = [0; FIRST];
        let mut buffer = ReadBuf::new(&mut words);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).map_err(|error| self.explain(error))?;
        let words = buffer.filled();
        if let Some(reason) = self.explain.first_words(words) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        // That the daemon has closed the connection without a word, the next read finds again.
        if !words.is_empty() {
            self.first = First::Kept(words.to_vec(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Connection, E: Explain> AsyncRead for Explained<S, E> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_first(cx))?;
        if let First::Kept(words, from) = &mut this.first {
            let handed = (words.len() - *from).min(buffer.remaining());
            buffer.put_slice(&words[*from..*from + handed]);
            *from += handed;
            if *from == words.len() {
                this.first = First::Handed;
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer).map_err(|error| this.explain(error))
    }
}

impl<S: Connection, E: Explain> AsyncWrite for Explained<S, E> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes));
        Poll::Ready(written.map_err(|error| this.explain_write(cx, error)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| this.explain_write(cx, error)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices));
        Poll::Ready(written.map_err(|error| this.explain_write(cx, error)))
    }
}
