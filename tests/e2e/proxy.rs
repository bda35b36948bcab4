//! A TCP proxy in front of the API server that cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Returns a client whose connections are cut once this many bytes were sent on one of them.
pub(crate) async fn client_cut_after(bytes: u64) -> (Client, Arc<AtomicU64>) {
    let mut config = Config::infer().await.unwrap();
    let server = config.cluster_url.clone();
    let address = format!("{}:{}", server.host().unwrap(), server.port_u16().unwrap_or(443));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let cuts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&cuts);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(forward(near, address.clone(), bytes, Arc::clone(&counted)));
        }
    });
    config.cluster_url = format!("https://{proxy}").parse().unwrap();
    config.tls_server_name = Some(server.host().unwrap().to_owned());
    (Client::try_from(config).unwrap(), cuts)
}

async fn forward(near: TcpStream, address: String, limit: u64, cuts: Arc<AtomicU64>) {
    let far = TcpStream::connect(address).await.unwrap();
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let upstream = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut sent = 0;
        while let Ok(length @ 1..) = near_read.read(&mut buffer).await {
            sent += length as u64;
            if sent > limit {
                cuts.fetch_add(1, Ordering::SeqCst);
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
    }
}
