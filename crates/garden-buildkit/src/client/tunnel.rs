//! The byte pipe in which the daemon calls us.
//!
//! Why: docs/decisions/38-the-daemon-calls-us.md

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bytes::Bytes;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tonic::Streaming;

use super::message::Packer;

/// The most that goes into one message. Each message is copied whole a few times on its way.
const CHUNK: usize = 64 << 10;

/// Messages that wait for the connection.
const MESSAGES_IN_FLIGHT: usize = 2;

/// Our end of the pipe: what is written leaves as messages of `Control.Session`, what the daemon
/// sends in them is read. Where messages begin and end means nothing.
///
/// Source: `BuildKit`, `session/grpchijack`.
#[derive(Debug)]
pub(super) struct Tunnel {
    incoming: Streaming<BytesMessage>,
    unread: io::Cursor<Vec<u8>>,
    outgoing: PollSender<Bytes>,
    packer: Packer,
    /// Written, but not sent: many small writes become one message.
    unsent: Vec<u8>,
}

/// Returns where a tunnel sends to, and the messages that leave there.
pub(super) fn outgoing() -> (PollSender<Bytes>, impl Stream<Item = Bytes> + Send + 'static) {
    let (sender, mut receiver) = mpsc::channel(MESSAGES_IN_FLIGHT);
    (PollSender::new(sender), futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

impl Tunnel {
    pub(super) fn new(
        incoming: Streaming<BytesMessage>,
        outgoing: PollSender<Bytes>,
        packer: Packer,
    ) -> Self {
        Self { incoming, unread: io::Cursor::default(), outgoing, packer, unsent: Vec::new() }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.outgoing.poll_reserve(context)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let this = &mut *self;
        let message = this.packer.pack(&this.unsent);
        this.unsent.clear();
        Poll::Ready(this.outgoing.send_item(message).map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.position() == self.unread.get_ref().len() as u64 {
            match ready!(Pin::new(&mut self.incoming).poll_next(context)) {
                Some(Ok(message)) => self.unread = io::Cursor::new(message.data),
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status))),
                None => return Poll::Ready(Ok(())),
            }
        }
        Pin::new(&mut self.unread).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() >= CHUNK {
            ready!(self.poll_send(context))?;
        }
        if self.unsent.capacity() == 0 {
            self.unsent.reserve(CHUNK);
        }
        let mut written = 0;
        for slice in slices {
            let length = slice.len().min(CHUNK - self.unsent.len());
            self.unsent.extend_from_slice(&slice[..length]);
            written += length;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
