use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::Ssh;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

/// Names the agent in the metadata of a call. Source: `BuildKit`, `session/sshforward/ssh.go`.
const ID: &str = "buildkit.ssh.id";
const DEFAULT_ID: &str = "default";

/// Forwards RUN steps that mount an SSH agent to the agents of this machine. Keys never leave it.
#[derive(Clone, Debug)]
pub(super) struct SshAgents(Arc<BTreeMap<String, PathBuf>>);

impl SshAgents {
    pub(super) fn new(agents: BTreeMap<String, PathBuf>) -> Self {
        Self(Arc::new(agents))
    }

    fn socket(&self, id: &str) -> Result<&Path, Status> {
        let id = if id.is_empty() { DEFAULT_ID } else { id };
        let socket =
            self.0.get(id).ok_or_else(|| Status::not_found(format!("no SSH agent {id} is forwarded")))?;
        Ok(socket)
    }
}

#[tonic::async_trait]
impl Ssh for SshAgents {
    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.get_ref().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(ID).and_then(|id| id.to_str().ok()).unwrap_or(DEFAULT_ID);
        let agent = connect(self.socket(id)?).await?;
        let (from_agent, to_agent) = tokio::io::split(agent);
        tokio::spawn(pass_on(request.into_inner(), to_agent).in_current_span());
        let messages = ReaderStream::new(from_agent).map(|read| match read {
            Ok(data) => Ok(BytesMessage { data: data.into() }),
            Err(error) => Err(Status::unavailable(format!("the SSH agent hung up: {error}"))),
        });
        Ok(Response::new(messages.boxed()))
    }
}

/// Ends when the RUN step, or the build, does.
async fn pass_on(
    mut messages: Streaming<BytesMessage>,
    mut to_agent: WriteHalf<impl tokio::io::AsyncWrite + Unpin>,
) {
    while let Some(Ok(message)) = messages.next().await {
        if to_agent.write_all(&message.data).await.is_err() {
            return;
        }
    }
    let _agent_may_be_gone = to_agent.shutdown().await;
}

#[cfg(unix)]
async fn connect(socket: &Path) -> Result<tokio::net::UnixStream, Status> {
    tokio::net::UnixStream::connect(socket).await.map_err(|error| {
        Status::unavailable(format!("the SSH agent at {} cannot be reached: {error}", socket.display()))
    })
}

#[cfg(not(unix))]
async fn connect(_: &Path) -> Result<tokio::io::DuplexStream, Status> {
    Err(Status::unimplemented("SSH agents can be forwarded from Unix systems only"))
}
