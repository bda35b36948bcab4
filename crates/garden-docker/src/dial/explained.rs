use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ReachError;

/// Knows what it means if a connection that could be opened cannot be used.
pub(super) trait Explain<S>: Send + Unpin + 'static {
    /// Explains the first bytes that come from the daemon, if they are no answer. They stay in `stream`.
    fn poll_first_words(&self, stream: &S, cx: &mut Context<'_>) -> Poll<Option<ReachError>>;

    /// Explains why a read or write failed. `heard` tells whether anything had come from the daemon.
    fn failure(&self, error: &io::Error, heard: bool) -> Option<ReachError>;
}

/// A connection whose failures say why the daemon is not reached, where they can.
pub(super) struct Explained<S, E> {
    stream: S,
    explain: E,
    heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, E: Explain<S>> Explained<S, E> {
    pub(super) fn new(stream: S, explain: E) -> Self {
        Self { stream, explain, heard: false }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        match self.explain.failure(&error, self.heard) {
            Some(reason) => io::Error::new(error.kind(), reason),
            None => error,
        }
    }

    /// Explains why a write failed. What the daemon said before it hung up says more than that it did.
    fn explain_write(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let hung_up = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if hung_up && !self.heard {
            let mut last_words = [0; 1024];
            let mut buffer = ReadBuf::new(&mut last_words);
            if let Poll::Ready(Err(said)) = Pin::new(&mut *self).poll_read(cx, &mut buffer) {
                return said;
            }
        }
        self.explain(error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, E: Explain<S>> AsyncRead for Explained<S, E> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.heard
            && let Some(reason) = ready!(this.explain.poll_first_words(&this.stream, cx))
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer)).map_err(|error| this.explain(error))?;
        this.heard |= buffer.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, E: Explain<S>> AsyncWrite for Explained<S, E> {
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
