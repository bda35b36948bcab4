//! The way to the daemon.
//!
//! Why: docs/decisions/37-messages-to-a-daemon-are-compressed-one-by-one.md
//! Why: docs/decisions/43-a-daemon-does-not-listen-unless-asked.md

use std::net::SocketAddr;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, EventSink, Remedy, WarningCode};
use garden_cluster::{Cluster, PodStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::client::{Client, ClientError, TlsIdentity};
use crate::daemon::Daemon;
use crate::spec::{self, PORT};

/// How long a daemon may take to accept a connection and to show its certificate. A packet filter
/// that drops everything looks like a daemon that takes for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a client reaches the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Route {
    /// By the command `buildctl dial-stdio` in the daemon's container, through the API server. Needs no
    /// daemon that listens.
    Exec,
    /// To the pod's address, over TLS: for programs that the cluster's network reaches.
    Direct,
    /// To the daemon's port through the API server, over TLS within that connection. Needs the right to
    /// `create` (older clusters: `get`) `pods/portforward`.
    PortForward,
}

impl Route {
    /// Chooses the way for a program that has not set one.
    pub(crate) fn usual(listens: bool, in_cluster: bool) -> Self {
        if listens && in_cluster { Self::Direct } else { Self::Exec }
    }
}

/// Why a daemon cannot be talked to.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// The connection or the daemon fails.
    Client(ClientError),
    /// The cluster or the settings do not allow it.
    Refused(Error),
}

/// Connects to `daemon`, on the `wanted` way only if there is one.
pub(crate) async fn connect(
    cluster: &Cluster,
    settings: &spec::Settings,
    wanted: Option<Route>,
    daemon: &Daemon,
    events: &EventSink,
) -> Result<Client, Unreached> {
    let namespace = settings.namespace.name.as_str();
    let chosen = Route::usual(settings.options.listen, garden_cluster::in_cluster());
    match wanted.unwrap_or(chosen) {
        Route::Exec => exec(cluster, settings, daemon).await,
        Route::PortForward => {
            let identity = identity(daemon)?;
            let stream = PodStream::port_forward(cluster, namespace, &daemon.pod.name, PORT).await;
            let stream = stream.map_err(|error| Unreached::Refused(error.into()))?;
            let connected = over_tls(identity, async { Ok(stream) }).await;
            connected
                .map(through_the_api_server)
                .map_err(|error| Unreached::Refused(unserved(namespace, daemon, &error)))
        }
        Route::Direct => match (direct(daemon).await, wanted) {
            (Err(Unreached::Client(error)), None) => {
                let error = unserved(namespace, daemon, &error);
                let message = format!("the build goes through the API server: {}", error.message());
                events.warn(WarningCode::SlowerRoute, message, error.hint().map(str::to_owned));
                exec(cluster, settings, daemon).await
            }
            (Err(Unreached::Client(error)), Some(_)) => {
                Err(Unreached::Refused(unserved(namespace, daemon, &error)))
            }
            (outcome, _) => outcome,
        },
    }
}

/// States that the daemon's port is of no use to us.
fn unserved(namespace: &str, daemon: &Daemon, error: &ClientError) -> Error {
    let pod = &daemon.pod.name;
    let message = format!("port {PORT} of Pod {namespace}/{pod} does not serve this program: {error}");
    Error::new(ErrorKind::Rejected, message).with_hint(format!(
        "allow TCP connections from here to port {PORT} of pods with the label app={}, or set `clusterBuildkit.listen: false` \
         if they are in another cluster; certificates that have ended are made anew when Secret {namespace}/{} is deleted",
        spec::NAME,
        spec::TLS_SECRET
    ))
}

async fn exec(cluster: &Cluster, settings: &spec::Settings, daemon: &Daemon) -> Result<Client, Unreached> {
    let command = ["buildctl", "--addr", spec::address(settings.options.rootless), "dial-stdio"];
    let (namespace, pod) = (settings.namespace.name.as_str(), &daemon.pod);
    let stream = PodStream::exec(cluster, namespace, &pod.name, pod.container, &command).await;
    let stream = stream.map_err(|error| Unreached::Refused(error.into()))?;
    let connected = Client::connect(stream).await;
    connected.map(through_the_api_server).map_err(Unreached::Client)
}

/// Compresses: what passes through the API server costs it more than that, even if it is on this machine.
fn through_the_api_server(client: Client) -> Client {
    client.compressing()
}

/// Nothing is compressed between pods: there, the daemon would need more time to decompress than the network saves.
async fn direct(daemon: &Daemon) -> Result<Client, Unreached> {
    let identity = identity(daemon)?;
    let dialling = async {
        let address = daemon.pod.address.ok_or_else(|| lost("the cluster does not say the pod's address"))?;
        dial(SocketAddr::new(address, PORT)).await
    };
    over_tls(identity, dialling).await.map_err(Unreached::Client)
}

async fn dial(address: SocketAddr) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect(address).await.map_err(|error| lost(&format!("{address}: {error}")))?;
    // Small messages go back and forth all the time, such as the daemon's questions for files.
    stream.set_nodelay(true).map_err(|error| lost(&error.to_string()))?;
    Ok(stream)
}

async fn over_tls<S>(
    identity: &TlsIdentity,
    dialling: impl Future<Output = Result<S, ClientError>>,
) -> Result<Client, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let encrypting = async {
        let stream = dialling.await?;
        identity.encrypt(stream).await.map_err(|error| lost(&format!("TLS: {error}")))
    };
    let stream = tokio::time::timeout(PATIENCE, encrypting).await;
    let stream = stream.map_err(|_| lost(&format!("no answer within {} s", PATIENCE.as_secs())))??;
    Client::connect(stream).await
}

fn identity(daemon: &Daemon) -> Result<&TlsIdentity, Unreached> {
    daemon.identity.as_ref().ok_or_else(|| {
        let message = "the daemon does not listen, so there is only the way by a command in its pod";
        let error = Error::new(ErrorKind::Config, message);
        Unreached::Refused(error.with_hint(Remedy::set(
            &["clusterBuildkit.listen"],
            "set `clusterBuildkit.listen: true`, or take the way through the API server",
        )))
    })
}

fn lost(reason: &str) -> ClientError {
    ClientError::Lost { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Never gets as far as to be looked at.
    fn nobody() -> TlsIdentity {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        TlsIdentity {
            server_name: "localhost".to_owned(),
            certificate_authority: issued.cert.pem(),
            certificate: issued.cert.pem(),
            key: issued.signing_key.serialize_pem().into(),
        }
    }

    #[test]
    fn only_programs_in_the_cluster_connect_to_a_daemon_that_listens() {
        assert_eq!(Route::usual(true, true), Route::Direct);
        for (listens, in_cluster) in [(true, false), (false, true), (false, false)] {
            assert_eq!(Route::usual(listens, in_cluster), Route::Exec);
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let error = over_tls(&nobody(), dial(address)).await.expect_err("nobody is there");
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(1 << 16);
        let error = over_tls(&nobody(), async { Ok(ours) }).await.expect_err("no answer");
        assert!(error.to_string().contains("no answer within 5 s"), "{error}");
    }
}
