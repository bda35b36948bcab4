//! The connections over which the API server passes streams to and from pods.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::client::Connection;
use kube::core::Request;
use tokio_tungstenite::WebSocketStream;

use crate::api::{Cluster, ClusterError, ask};

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Channels of the remote command protocol: the first byte of every WebSocket message.
/// Source: Kubernetes, `k8s.io/apimachinery/pkg/util/remotecommand/constants.go`.
pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const STATUS: u8 = 3;
/// Version 5 only: closes the channel whose number follows.
pub(crate) const CLOSE: u8 = 255;

/// Opens the connection for what `request` makes of a request about pods of the namespace. One that is cut before it has begun, or
/// that the API server cannot pass on for now, is tried again: nothing has gone over it yet, and no command of ours does anything
/// that may not be done twice before it is spoken to.
pub(crate) async fn connect(
    cluster: &Cluster,
    namespace: &str,
    action: &str,
    request: impl FnOnce(Request) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Connection, ClusterError> {
    let request = request(Request::new(Pod::url_path(&(), Some(namespace))))
        .map_err(|error| ClusterError::of(action, kube::Error::BuildRequest(error)))?;
    ask(action, || cluster.client().connect(request.clone())).await
}
