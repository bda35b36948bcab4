//! A TCP proxy in front of the API server that cuts connections, freezes them, and counts bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A client whose connections can be cut.
pub(crate) struct Proxied {
    pub(crate) client: Client,
    cuts: watch::Sender<u64>,
    is_frozen: watch::Sender<bool>,
    sent: Arc<AtomicU64>,
}

/// Returns a client whose connections are cut once `limit` bytes were sent on one of them.
pub(crate) async fn client_cut_after(limit: u64) -> Proxied {
    let mut config = Config::infer().await.unwrap();
    let server = config.cluster_url.clone();
    let address = format!("{}:{}", server.host().unwrap(), server.port_u16().unwrap_or(443));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.cluster_url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    config.tls_server_name = Some(server.host().unwrap().to_owned());
    let cuts = watch::Sender::new(0);
    let cutting = cuts.clone();
    let is_frozen = watch::Sender::new(false);
    let freezing = is_frozen.clone();
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (cuts, frozen, sent) = (cutting.clone(), freezing.subscribe(), Arc::clone(&counting));
            tokio::spawn(forward(near, address.clone(), limit, cuts, frozen, sent));
        }
    });
    Proxied { client: Client::try_from(config).unwrap(), cuts, is_frozen, sent }
}

impl Proxied {
    /// Cuts every connection that is open now.
    pub(crate) fn cut_all(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on, connections stay open, new ones as well, and nothing gets through them.
    pub(crate) fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }

    /// How many bytes were sent to the API server, all of TLS included.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How often connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        *self.cuts.borrow()
    }
}

async fn forward(
    near: TcpStream,
    address: String,
    limit: u64,
    cuts: watch::Sender<u64>,
    mut frozen: watch::Receiver<bool>,
    all_sent: Arc<AtomicU64>,
) {
    let mut cut = cuts.subscribe();
    let far = TcpStream::connect(address).await.unwrap();
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let upstream = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut sent = 0;
        while let Ok(length @ 1..) = near_read.read(&mut buffer).await {
            sent += length as u64;
            all_sent.fetch_add(length as u64, Ordering::Relaxed);
            if sent > limit {
                cuts.send_modify(|cuts| *cuts += 1);
                return;
            }
            if far_write.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upstream => {}
        _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
        _ = cut.changed() => {}
        () = async { drop(frozen.wait_for(|frozen| *frozen).await) } => drop(cut.changed().await),
    }
}
