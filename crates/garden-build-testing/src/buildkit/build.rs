use std::future::ready;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest};
use futures::StreamExt as _;
use garden_build_core::Sha256;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use super::daemon::LARGEST_MESSAGE;
use super::record::{BuildRecord, Export};
use super::session::{Channel, origin};
use super::step::Reporter;
use super::{BuildFailure, Built, FakeBuildkit, FakeStep};
use crate::registry::{Image, Registry};

/// Names the agent in the metadata of a call. Source: `BuildKit`, `session/sshforward/ssh.go`.
const AGENT: &str = "buildkit.ssh.id";

/// The buffer of a connection to an SSH agent.
const PIPE: usize = 16 << 10;

/// A build of a [`FakeBuildkit`], to which happens what a test says. Clones are the same build.
///
/// A call to the client that fails returns the failure that a real build would end with; a script passes it on with `?`.
#[derive(Clone, Debug)]
pub struct FakeBuild {
    pub(super) daemon: FakeBuildkit,
    /// Its place among the daemon's records.
    pub(super) number: usize,
    pub(super) channel: Channel,
    pub(super) reporter: Reporter,
    pub(super) connection: CancellationToken,
}

impl FakeBuild {
    /// Does what a daemon does that has little to do: fetches the Dockerfile, the context and the named contexts that are
    /// directories, asks for a login for each registry that the image goes to, and reports a step for each of these. Returns an
    /// image whose digest follows from what was fetched and from the request's attributes.
    ///
    /// # Errors
    /// If the client does not give it what it asks for.
    pub async fn run(&self) -> Result<Built, BuildFailure> {
        let record = self.record();
        let mut digest = Sha256::new();
        let local = record.attributes.iter().filter(|(name, _)| name.starts_with("context:"));
        let local = local.filter_map(|(_, value)| Some(value.strip_prefix("local:")?.to_owned()));
        let parts = [
            ("[internal] load build definition from Dockerfile", "dockerfile".to_owned()),
            ("[internal] load build context", "context".to_owned()),
        ];
        let parts = parts.into_iter().chain(local.map(|name| ("[internal] load a named context", name)));
        for (step, name) in parts {
            let step = self.step(step);
            match self.directory(&name).await {
                Ok(directory) => directory.update(&mut digest),
                Err(failure) => {
                    step.fail(failure.message());
                    return Err(failure);
                }
            }
            step.complete();
        }
        digest.update(format!("{:?}", record.attributes).as_bytes());
        let step = self.step("exporting to image");
        let mut hosts: Vec<&str> =
            record.image_names().iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        hosts.dedup();
        for host in hosts {
            self.login(host).await?;
        }
        step.complete();
        Ok(if record.exports.is_empty() { Built::nothing() } else { Built::image(digest.digest()) })
    }

    /// Pushes an image to a registry of the kit, under those names of the build that are of this registry. Returns how the build ends then. A builder that
    /// asks the registry afterwards finds the image, as after a real build.
    ///
    /// # Panics
    /// If the client has not asked for a push to this registry: a real daemon would push nothing there. The panic fails the build.
    pub fn push(&self, registry: &Registry, image: &Image) -> Built {
        let here = format!("{}/", registry.host());
        let record = self.record();
        let pushed = record
            .exports
            .iter()
            .filter(|export| export.attributes.get("push").is_some_and(|push| push == "true"));
        let names: Vec<_> =
            pushed.flat_map(Export::image_names).filter_map(|name| name.strip_prefix(&here)).collect();
        assert!(!names.is_empty(), "the build is not asked to push to {here}: {:?}", record.exports);
        for name in names {
            registry.push_image(name, image);
        }
        Built::image(image.digest())
    }

    /// Returns what the daemon was asked for, and what it has got from the client so far.
    pub fn record(&self) -> BuildRecord {
        self.daemon.state().builds[self.number].clone()
    }

    /// Returns how many builds the daemon was asked for before this one.
    pub fn number(&self) -> usize {
        self.number
    }

    /// A step begins. Names are as in `docker build`: `[2/3] RUN make` for one of the Dockerfile, `[internal] load build context` for one of the
    /// daemon's own.
    pub fn step(&self, name: &str) -> FakeStep {
        self.reporter.step(name)
    }

    /// Warns of something in the Dockerfile, with the URL of a page that explains it, which may be empty, and its line, from 1.
    pub fn warn(&self, message: &str, url: &str, line: Option<u32>) {
        self.reporter.warn(message, url, line);
    }

    /// Asks the client for a secret of a RUN step. `None` if it does not have it.
    ///
    /// # Errors
    /// If the client cannot be asked.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, BuildFailure> {
        let client = SecretsClient::with_origin(self.channel.clone(), origin());
        let request = GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() };
        let secret = match client.max_decoding_message_size(LARGEST_MESSAGE).get_secret(request).await {
            Ok(answer) => Some(answer.into_inner().data),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(BuildFailure::of_call(&status)),
        };
        self.note(|record| record.secrets.insert(id.to_owned(), secret.clone()));
        Ok(secret)
    }

    /// Connects to an SSH agent of the client, as a RUN step does; the usual `id` is `default`.
    ///
    /// # Errors
    /// If the client does not have it, or cannot be asked.
    pub async fn ssh_agent(&self, id: &str) -> Result<DuplexStream, BuildFailure> {
        let mut client = SshClient::with_origin(self.channel.clone(), origin());
        let checked = client.check_agent(CheckAgentRequest { id: id.to_owned() }).await;
        self.note(|record| record.ssh_agents.insert(id.to_owned(), checked.is_ok()));
        checked.map_err(|status| BuildFailure::of_call(&status))?;
        let (step, agent) = tokio::io::duplex(PIPE);
        let (from_step, mut to_step) = tokio::io::split(agent);
        let messages = ReaderStream::new(from_step)
            .filter_map(|bytes| ready(bytes.ok().map(|bytes| BytesMessage { data: bytes.to_vec() })));
        let mut request = Request::new(messages);
        if let Ok(id) = id.parse() {
            request.metadata_mut().insert(AGENT, id);
        }
        let answer = client.forward_agent(request).await.map_err(|status| BuildFailure::of_call(&status))?;
        let mut answers = answer.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = answers.message().await {
                to_step.write_all(&message.data).await?;
            }
            to_step.shutdown().await
        });
        Ok(step)
    }

    /// Breaks the connection on which the build was asked for, as when the daemon's process dies. Never completes.
    pub async fn lose_connection(&self) -> ! {
        self.connection.cancel();
        std::future::pending().await
    }

    pub(super) fn note<T>(&self, note: impl FnOnce(&mut BuildRecord) -> T) {
        self.daemon.change(|state| {
            note(&mut state.builds[self.number]);
        });
    }
}
