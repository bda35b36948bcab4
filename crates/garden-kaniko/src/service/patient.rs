use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};

/// An output whose far side has to take something now and then: a connection that fell silent looks like one that is slow.
#[derive(Debug)]
pub(crate) struct Patient<W> {
    output: W,
    patience: Duration,
    /// While something waits to be taken.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<W> Patient<W> {
    /// Fails with [`TimedOut`](io::ErrorKind::TimedOut) if nothing is taken for so long.
    pub(crate) fn new(output: W, patience: Duration) -> Self {
        Self { output, patience, waiting: None }
    }

    fn judge<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        if waiting.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // Whoever goes on all the same begins anew.
        waiting.as_mut().reset(Instant::now() + patience);
        let reason = format!("the far side took nothing for {} s", patience.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Patient<W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.output).poll_write(context, bytes);
        this.judge(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.output).poll_flush(context);
        this.judge(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.output).poll_shutdown(context);
        this.judge(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(120);
    const ALMOST: Duration = Duration::from_secs(119);

    #[tokio::test(start_paused = true)]
    async fn a_far_side_that_takes_nothing_is_noticed_in_time() {
        let (near, _far) = duplex(64);
        let mut near = Patient::new(near, PATIENCE);
        let started = Instant::now();
        let error = near.write_all(&[0; 65]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
        assert_eq!(error.to_string(), "the far side took nothing for 120 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_side_that_is_slow_is_waited_for() {
        let (near, mut far) = duplex(64);
        let mut near = Patient::new(near, PATIENCE);
        let reading = async {
            for _ in 0..20 {
                sleep(ALMOST).await;
                far.read_exact(&mut [0; 64]).await.expect("read");
            }
        };
        let (written, ()) = tokio::join!(near.write_all(&[0; 20 * 64]), reading);
        written.expect("all is taken, in the end");
    }
}
