//! What a build asks of us while it runs: files, credentials, secrets, SSH agents.
//!
//! The roles are reversed here: within a stream of the connection to the daemon, the daemon is the
//! gRPC client and we serve. Source: `BuildKit`, `session/`.
//!
//! Why: docs/decisions/38-the-daemon-calls-us.md

mod auth;
mod health;
mod secrets;
mod services;
mod ssh;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use garden_build_core::with_causes;
use http::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use secrecy::SecretSlice;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

pub use auth::{AccessToken, Login, RegistryLogins, WantedToken};

use self::health::Health;
use self::services::Services;
use super::connection::{Connection, LARGEST_MESSAGE};
use super::file_sync::Journal;
use super::message::Packer;
use super::tunnel::{self, Tunnel};
use super::{ClientError, Source};

/// Bytes of one response that wait here for a slow connection; see
/// [`SEND_BUFFER`](super::connection) for why there are few.
const SEND_BUFFER: usize = 128 << 10;

/// What is served to one build.
///
/// Nothing of it is stored by the daemon beyond the build, except synced files, which it keeps to be
/// sent only the changes next time.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Session {
    /// Identifies the synced directories among those of other workspaces and users. The daemon keeps a
    /// copy of each directory under this key and compares the next sync with it: the key has to
    /// stay the same for one workspace and must not be shared with another one.
    pub shared_key: String,
    /// The directories that the build may read, by name. The Dockerfile frontend asks for `context` and
    /// `dockerfile`.
    pub directories: BTreeMap<String, Arc<dyn Source>>,
    /// Who knows the credentials of registries.
    pub logins: Option<Arc<dyn RegistryLogins>>,
    /// The secrets that `RUN --mount=type=secret` may ask for, by id. At most 500 KiB each.
    pub secrets: BTreeMap<String, SecretSlice<u8>>,
    /// The sockets of the SSH agents that `RUN --mount=type=ssh` may use, by id. The usual id is `default`.
    pub ssh_agents: BTreeMap<String, PathBuf>,
    /// Notes what is synced.
    pub journal: Journal,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("shared_key", &self.shared_key)
            .field("directories", &self.directories.keys())
            .field("secrets", &self.secrets.keys())
            .field("ssh_agents", &self.ssh_agents)
            .finish_non_exhaustive()
    }
}

/// A session that the daemon knows. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct OpenSession {
    /// How a build names it.
    pub(super) id: String,
    serving: AbortOnDropHandle<Result<(), hyper::Error>>,
    health: Health,
}

impl Session {
    /// Announces the session to the daemon, and serves it until it is dropped. What it sends is compressed if `compress` says so
    /// and the daemon can read it.
    pub(super) async fn open(
        self,
        connection: &Connection,
        compress: bool,
    ) -> Result<OpenSession, ClientError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut headers = HeaderMap::new();
        headers.insert("x-docker-expose-session-uuid", ascii(&id));
        headers.insert("x-docker-expose-session-sharedkey", ascii(&self.shared_key));
        for method in services::METHODS {
            headers.append("x-docker-expose-session-grpc-method", HeaderValue::from_static(method));
        }
        let tunnel = super::answered(async {
            if compress {
                match tunnel(connection, headers.clone(), Packer::compressing()).await {
                    Err(status) if status.code() == tonic::Code::Unimplemented => {}
                    opened => return opened,
                }
            }
            tunnel(connection, headers, Packer::default()).await
        });
        let tunnel = TokioIo::new(tunnel.await?);
        let health = Health::new();
        let services = Services::new(self, health.clone());
        let serving = http2::Builder::new(TokioExecutor::new())
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(LARGEST_MESSAGE).unwrap_or(u32::MAX))
            .serve_connection(tunnel, services);
        Ok(OpenSession {
            id,
            serving: AbortOnDropHandle::new(tokio::spawn(serving.in_current_span())),
            health,
        })
    }
}

impl OpenSession {
    /// Waits until the session has ended, or is dead, and returns how.
    pub(super) async fn ended(&mut self) -> String {
        tokio::select! {
            served = &mut self.serving => match served {
                Ok(Ok(())) => "the daemon closed it".to_owned(),
                Ok(Err(error)) => with_causes(&error),
                Err(error) => error.to_string(),
            },
            silence = self.health.silence() => silence,
        }
    }
}

async fn tunnel(
    connection: &Connection,
    headers: HeaderMap,
    packer: Packer,
) -> Result<Tunnel, tonic::Status> {
    let (sender, messages) = tunnel::outgoing();
    let incoming = connection.session(headers, packer.compresses(), messages).await?;
    Ok(Tunnel::new(incoming, sender, packer))
}

/// Header values are visible ASCII; a shared key that is not is a defect of the caller that must not
/// make all keys the same.
fn ascii(value: &str) -> HeaderValue {
    let encoded: String = value.chars().flat_map(char::escape_default).collect();
    encoded.parse().unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}
