use std::io;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::client::answer;
use crate::stdin::Socket;
use crate::{Cluster, ClusterError};

/// Channels of the port-forward protocol for its first port. The first message on each carries the
/// port's number in two bytes and no data.
/// Source: Kubernetes, `k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go`.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Bytes on their way in each direction.
const WINDOW: usize = 64 * 1024;

/// Opens a connection to `port` of a pod, through the API server.
///
/// Reading and writing are pumped by tasks of their own, so that neither direction waits for the
/// other. They end when the returned stream is dropped or the far side closes.
///
/// # Errors
/// If the API server refuses or cannot be reached.
pub(crate) async fn port_forward(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Result<DuplexStream, ClusterError> {
    let action = || format!("forward port {port} of Pod {namespace}/{pod}");
    let path = Pod::url_path(&(), Some(namespace));
    let request = kube::core::Request::new(path)
        .portforward(pod, &[port])
        .map_err(|error| ClusterError::of(action(), kube::Error::BuildRequest(error)))?;
    let connection = answer(&action(), cluster.client().connect(request)).await?;
    let (sink, stream) = connection.into_stream().split();
    let (near, far) = duplex(WINDOW);
    let (from_caller, to_caller) = split(far);
    let receiving = tokio::spawn(receive(stream, to_caller)).abort_handle();
    tokio::spawn(send(from_caller, sink, receiving));
    Ok(near)
}

/// Ends when the caller drops its end, and ends the other direction with it.
async fn send(
    mut from_caller: ReadHalf<DuplexStream>,
    mut sink: SplitSink<Socket, Message>,
    receiving: AbortHandle,
) {
    let mut buffer = vec![0; WINDOW];
    buffer[0] = DATA;
    while let Ok(length @ 1..) = from_caller.read(&mut buffer[1..]).await {
        if sink.send(Message::Binary(Bytes::copy_from_slice(&buffer[..=length]))).await.is_err() {
            break;
        }
    }
    // The protocol has no half-close: what the far side still had to say is lost, as with kubectl.
    let _closing_anyway = sink.close().await;
    receiving.abort();
}

async fn receive(mut stream: SplitStream<Socket>, mut to_caller: WriteHalf<DuplexStream>) {
    let mut announced = [false; 2];
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(message) = message else { continue };
        let Some((&channel, data)) = message.split_first() else { continue };
        let Some(announced) = announced.get_mut(usize::from(channel)) else { continue };
        if !std::mem::replace(announced, true) {
            continue;
        }
        if channel == ERROR {
            tracing::debug!(error = %String::from_utf8_lossy(data), "port-forward failed");
            break;
        }
        if to_caller.write_all(data).await.is_err() {
            break;
        }
    }
    let _caller_may_be_gone: io::Result<()> = to_caller.shutdown().await;
}
