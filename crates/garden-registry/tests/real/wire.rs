//! The wire between client and registry: it counts what passes, and can be cut anywhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Counts bytes in both directions.
#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
}

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    counters: Arc<Counters>,
}

impl Wire {
    /// Starts to pass on what arrives to `registry` and back. `length` says after how many bytes, of both directions
    /// together, the connection of this number is cut; `None` for never.
    pub(crate) async fn start(
        registry: SocketAddr,
        length: impl Fn(usize) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let counters = Arc::new(Counters::default());
        let counting = Arc::clone(&counters);
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let left = Arc::new(AtomicU64::new(length(number).unwrap_or(u64::MAX)));
                tokio::spawn(connect(client, registry, left, Arc::clone(&counting)));
            }
        });
        Self { address, counters }
    }

    /// How many bytes went to the registry.
    pub(crate) fn sent(&self) -> u64 {
        self.counters.sent.load(Ordering::Relaxed)
    }

    /// How many bytes came from the registry.
    pub(crate) fn received(&self) -> u64 {
        self.counters.received.load(Ordering::Relaxed)
    }
}

async fn connect(client: TcpStream, registry: SocketAddr, left: Arc<AtomicU64>, counters: Arc<Counters>) {
    let Ok(registry) = TcpStream::connect(registry).await else { return };
    let ((from_client, to_client), (from_registry, to_registry)) =
        (client.into_split(), registry.into_split());
    // When one direction has ended, for whatever reason, both connections are dropped.
    tokio::select! {
        () = pass(from_client, to_registry, &left, &counters.sent) => {}
        () = pass(from_registry, to_client, &left, &counters.received) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    left: &AtomicU64,
    passed: &AtomicU64,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let allowed = left.load(Ordering::Relaxed).min(read as u64);
        left.fetch_sub(allowed, Ordering::Relaxed);
        passed.fetch_add(allowed, Ordering::Relaxed);
        let allowed = usize::try_from(allowed).expect("no more than was read");
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < read {
            return;
        }
    }
}
