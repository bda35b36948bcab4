//! A slow way to the API server, as from a desk in another city: 50 Mbit/s in each direction, 40 ms there and back.
//!
//! A proxy in the way of TCP connections holds back what passes. All connections share the link, as they would share a line. It knows
//! nothing of packets: none is lost, and connections are at full speed from their beginning.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const BYTES_PER_SECOND: f64 = 50e6 / 8.0;

/// How long a byte takes that finds the link idle: half of the time there and back.
const LATENCY: Duration = Duration::from_millis(20);

/// What leaves at a time. On such a link, this takes 2.6 ms.
const PIECE: usize = 16 << 10;

/// How far ahead of the link pieces are taken: a timer of a millisecond must not leave it idle.
const AHEAD: Duration = Duration::from_millis(10);

/// Pieces on their way. More than [`LATENCY`] allows, so that the rate alone counts.
const ON_THE_WAY: usize = 64;

/// Leads to the API server for as long as this lives.
#[derive(Debug)]
pub(super) struct SlowLink {
    kubeconfig: PathBuf,
    before: Vec<u8>,
    _runtime: Runtime,
}

/// One direction of the link.
#[derive(Debug, Default)]
struct Direction {
    free_at: Mutex<Option<Instant>>,
}

impl SlowLink {
    /// Has everyone who reads `kubeconfig` take this way. It begins at the address by which this machine reaches the `registry`, and
    /// not at loopback, where we know that nothing is slow.
    pub(super) fn lead(kubeconfig: &Path, registry: &str) -> Result<Self> {
        let before = fs::read(kubeconfig)?;
        let mut leading = Kubeconfig::read_from(kubeconfig)?;
        let cluster = leading.clusters.first_mut().and_then(|named| named.cluster.as_mut());
        let cluster = cluster.context("the kubeconfig has no cluster")?;
        let server = cluster.server.as_mut().context("no server is named")?;
        let target = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let name = target.rsplit_once(':').map_or(target.as_str(), |(host, _)| host);
        cluster.tls_server_name.get_or_insert_with(|| name.to_owned());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((own_address(registry)?, 0)))?;
        let address: SocketAddr = listener.local_addr()?;
        *server = format!("https://{address}");
        runtime.spawn(accept(listener, target));
        fs::write(kubeconfig, serde_saphyr::to_string(&leading)?)?;
        Ok(Self { kubeconfig: kubeconfig.to_owned(), before, _runtime: runtime })
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        let _ = fs::write(&self.kubeconfig, &self.before);
    }
}

/// Returns this machine's address on the way to `target`, which is sent nothing.
fn own_address(target: &str) -> Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

async fn accept(listener: TcpListener, target: String) {
    let (there, back) = (Arc::new(Direction::default()), Arc::new(Direction::default()));
    while let Ok((client, _)) = listener.accept().await {
        let (target, there, back) = (target.clone(), Arc::clone(&there), Arc::clone(&back));
        tokio::spawn(async move {
            // TCP's own greeting has been answered here, where it takes no time.
            tokio::time::sleep(2 * LATENCY).await;
            let server = TcpStream::connect(target).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(pass(&there, from_client, to_server), pass(&back, from_server, to_client));
            io::Result::Ok(())
        });
    }
}

/// Passes on what is read, until its end or an error, which both close the other side.
async fn pass(
    direction: &Direction,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let arriving = tokio::spawn(async move {
        while let Some((arrives, piece)) = on_the_way.recv().await {
            sleep_until(arrives).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    });
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        match from.read_buf(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                let left = direction.send(length, Instant::now());
                sleep_until(left - AHEAD).await;
                if sender.send((left + LATENCY, piece)).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(sender);
    let _ = arriving.await;
}

impl Direction {
    /// Returns when so many bytes have left that are there `now`, behind those that are leaving.
    fn send(&self, length: usize, now: Instant) -> Instant {
        #[allow(clippy::cast_precision_loss)]
        let takes = Duration::from_secs_f64(length as f64 / BYTES_PER_SECOND);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let left = free_at.map_or(now, |free_at| free_at.max(now)) + takes;
        *free_at = Some(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_link_carries_its_rate_and_no_more_and_takes_its_time() {
        let (mut client, from) = tokio::io::duplex(1 << 20);
        let (to, mut server) = tokio::io::duplex(1 << 20);
        let direction = Direction::default();
        let passing = async move { pass(&direction, from, to).await };
        let started = Instant::now();
        let sending = async {
            client.write_all(&vec![1; 625_000]).await.expect("sent");
            drop(client);
        };
        let receiving = async {
            let mut received = Vec::new();
            let mut first = None;
            while server.read_buf(&mut received).await.expect("received") > 0 {
                first.get_or_insert_with(|| started.elapsed());
            }
            (received.len(), first.expect("something"), started.elapsed())
        };
        let ((), (), (length, first, all)) = tokio::join!(passing, sending, receiving);
        assert_eq!(length, 625_000);
        assert!(first >= LATENCY && first < 2 * LATENCY, "{first:?}");
        assert!(all >= Duration::from_millis(120) && all < Duration::from_millis(130), "{all:?}");
    }

    #[test]
    fn connections_share_the_link() {
        let direction = Direction::default();
        let now = Instant::now();
        assert_eq!(direction.send(62_500, now), now + Duration::from_millis(10));
        assert_eq!(direction.send(62_500, now), now + Duration::from_millis(20));
        let later = now + Duration::from_millis(50);
        assert_eq!(direction.send(62_500, later), later + Duration::from_millis(10));
    }
}
