//! Feeding a container: all of a stream into its standard input.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use garden_build_core::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::api::ClusterError;
use crate::pod::PodStream;

/// How long the far side may take nothing before the stream counts as dead.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// Proxies between here and the node drop connections that look idle.
const PING_EVERY: Duration = Duration::from_secs(30);

/// For a stream that was opened with [`attach`](Self::attach).
impl PodStream {
    /// Sends all of `chunks`, then closes the input where the protocol can do that. Holds one chunk at a time, and
    /// calls `on_sent` after each of them. Returns the stream, still open.
    ///
    /// That everything was sent says nothing about what arrived; only the container can confirm that. So keep the
    /// connection open, with [`hold`](Self::hold), until it has.
    ///
    /// # Errors
    /// [`ClusterError::StreamCut`] if the far side closed, took nothing for two minutes, or reported an error.
    /// Errors of `chunks` are passed on.
    pub async fn feed(
        self,
        mut chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin,
        mut on_sent: impl FnMut(),
    ) -> Result<Self, Error> {
        let target = self.target().to_owned();
        let (mut output, mut input) = tokio::io::split(self);
        let sending = async {
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                patiently(&target, input.write_all(&chunk)).await?;
                on_sent();
            }
            patiently(&target, input.shutdown()).await?;
            Ok::<(), Error>(())
        };
        tokio::select! {
            // A far side that reports an error is more telling than the broken pipe that follows.
            biased;
            error = ended(&mut output) => return Err(cut(&target, error).into()),
            sent = sending => sent?,
        }
        Ok(output.unsplit(input))
    }

    /// Keeps the connection open and alive for as long as the future is polled.
    pub async fn hold(mut self) -> Infallible {
        // A connection that ends now does no harm: if the container had not read everything, it fails by itself.
        loop {
            tokio::select! {
                error = ended(&mut self) => {
                    tracing::trace!(%error, "the stream into a container ended");
                    break;
                }
                () = sleep(PING_EVERY) => if let Err(error) = self.ping().await {
                    tracing::trace!(%error, "the stream into a container broke");
                    break;
                },
            }
        }
        std::future::pending().await
    }
}

/// Reads, and so answers pings, until the stream ends; returns how it ended.
async fn ended(output: &mut (impl AsyncRead + Unpin)) -> io::Error {
    let mut nothing = [0; 64];
    loop {
        match output.read(&mut nothing).await {
            Ok(0) => return io::Error::other("the container has ended"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn patiently<T>(target: &str, writing: impl Future<Output = io::Result<T>>) -> Result<T, ClusterError> {
    let stalled = |_| {
        let reason = format!("the far side took nothing for {} s", STALLED_AFTER.as_secs());
        ClusterError::StreamCut { target: target.to_owned(), reason }
    };
    timeout(STALLED_AFTER, writing).await.map_err(stalled)?.map_err(|error| cut(target, error))
}

/// Takes out of an error of a stream what is known of it.
fn cut(target: &str, error: io::Error) -> ClusterError {
    match error.downcast() {
        Ok(error) => error,
        Err(error) => ClusterError::StreamCut { target: target.to_owned(), reason: error.to_string() },
    }
}
