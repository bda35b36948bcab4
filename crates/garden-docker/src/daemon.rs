use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use garden_build_core::{Digest, ImageReference, ProxyVariables};
use garden_registry::Platform;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::OnceCell;

use crate::dial::Dial;
use crate::{DockerError, endpoint, http};

/// The oldest API that builds here: Docker 20.10 has it. Older daemons lack what is relied upon, and get no fixes any more.
const OLDEST_API: (usize, usize) = (1, 41);

/// How long a daemon may take to answer what needs no work.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// bollard's own time limit, for the first byte of an answer. A build may take longer; it is stopped by its own limit.
const NO_LIMIT: u64 = 100 * 24 * 60 * 60;

/// A Docker daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerDaemon {
    dial: Arc<dyn Dial>,
    docker: Docker,
    is_classic: bool,
    version: Arc<OnceCell<DaemonVersion>>,
}

/// What a daemon says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DaemonVersion {
    /// Such as `28.5.2`.
    pub(crate) version: String,
    /// For which it runs containers.
    pub(crate) platform: Platform,
}

impl DockerDaemon {
    /// Uses the daemon that the `docker` command of this user uses: that of `DOCKER_HOST`, of the context named by
    /// `DOCKER_CONTEXT` or chosen with `docker context use`, else the one on the usual socket. It is not asked yet. With
    /// `DOCKER_BUILDKIT=0`, it builds [without `BuildKit`](Self::without_buildkit), as for that command.
    ///
    /// # Errors
    /// If what is named does not exist or is not an address, or its certificates cannot be used.
    pub fn from_environment() -> Result<Self, DockerError> {
        let daemon = Self::over(endpoint::from_environment()?)?;
        Ok(if buildkit_is_off() { daemon.without_buildkit() } else { daemon })
    }

    /// Uses the daemon at `address`, such as `unix:///var/run/docker.sock`, `tcp://127.0.0.1:2375`, which is without TLS, or
    /// `ssh://user@host`. It is not asked yet.
    ///
    /// # Errors
    /// If that is not an address.
    pub fn at(address: &str) -> Result<Self, DockerError> {
        Self::over(endpoint::at(address)?)
    }

    /// Uses the daemon that `dial` connects to.
    pub(crate) fn over(dial: Arc<dyn Dial>) -> Result<Self, DockerError> {
        let client = http::client(&dial);
        let transport = move |request| http::send(client.clone(), request);
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            NO_LIMIT,
            bollard::API_DEFAULT_VERSION,
        );
        let docker = docker.map_err(|source| DockerError::of(dial.address(), "be set up", source))?;
        Ok(Self { dial, docker, is_classic: false, version: Arc::default() })
    }

    /// Builds with the daemon's classic builder, even if it has `BuildKit`.
    pub fn without_buildkit(mut self) -> Self {
        self.is_classic = true;
        self
    }

    /// Whether it builds with the classic builder in any case.
    pub(crate) fn is_classic(&self) -> bool {
        self.is_classic
    }

    /// Returns the daemon's address, or what else it is called in messages.
    pub fn address(&self) -> &str {
        self.dial.address()
    }

    pub(crate) fn is_local(&self) -> bool {
        self.dial.is_local()
    }

    /// Returns the proxies that the `docker` command of this user gives to RUN steps on the daemon.
    pub(crate) fn proxies_of_steps(&self) -> Result<ProxyVariables, DockerError> {
        endpoint::proxies_of_steps(self.address())
    }

    /// Asks for which platform the daemon runs containers.
    ///
    /// # Errors
    /// If it cannot be reached, or is too old.
    pub async fn platform(&self) -> Result<Platform, DockerError> {
        Ok(self.version().await?.platform.clone())
    }

    /// Asks the daemon what it is, once, and speaks a version of its API with it from then on that both know.
    pub(crate) async fn version(&self) -> Result<&DaemonVersion, DockerError> {
        self.version.get_or_try_init(|| self.ask_version()).await
    }

    async fn ask_version(&self) -> Result<DaemonVersion, DockerError> {
        // The versions are agreed upon in a cell that the clones share.
        let agreed = self.answered("agree on a version of its API", self.docker.clone().negotiate_version());
        let api = agreed.await?.client_version();
        let said = self.answered("say its version", self.docker.version()).await?;
        let version = said.version.unwrap_or_default();
        if (api.major_version, api.minor_version) < OLDEST_API {
            return Err(DockerError::TooOld {
                address: self.address().to_owned(),
                version,
                api: format!("{}.{}", api.major_version, api.minor_version),
                oldest: format!("{}.{}", OLDEST_API.0, OLDEST_API.1),
            });
        }
        let mut platform = Platform::of_this_machine();
        platform.os = said.os.unwrap_or(platform.os);
        platform.architecture = said.arch.unwrap_or(platform.architecture);
        Ok(DaemonVersion { version, platform })
    }

    /// Whether it answers now.
    pub(crate) async fn answers(&self) -> bool {
        self.answered("answer", self.docker.ping()).await.is_ok()
    }

    /// Returns bollard's client, with an API version that the daemon knows.
    pub(crate) async fn api(&self) -> Result<&Docker, DockerError> {
        self.version().await?;
        Ok(&self.docker)
    }

    /// Returns the identifier of an image of the daemon's.
    pub(crate) async fn image_id(&self, image: &ImageReference) -> Result<Option<Digest>, DockerError> {
        let (action, name) = (format!("show {image}"), image.to_string());
        let inspecting = self.api().await?.inspect_image(&name);
        match self.answered(&action, inspecting).await {
            Ok(found) => Ok(found.id.and_then(|id| id.parse().ok())),
            Err(DockerError::Refused { status: Some(404), .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a connection to the `BuildKit` in the daemon. `None` if it has none.
    ///
    /// Source: Docker, `api/server/router/grpc`.
    pub(crate) async fn buildkit(&self) -> Result<Option<TokioIo<Upgraded>>, DockerError> {
        let asked = tokio::time::timeout(ANSWER_PATIENCE, http::upgrade(&self.dial, "/grpc")).await;
        asked.unwrap_or_else(|_| Err(self.silent("connect us to its BuildKit")))
    }

    /// Waits for the answer to a question that needs no work: daemons that hang take connections and never answer.
    pub(crate) async fn answered<T>(
        &self,
        action: &str,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DockerError> {
        match tokio::time::timeout(ANSWER_PATIENCE, question).await {
            Ok(answer) => answer.map_err(|source| self.failed(action, source)),
            Err(_) => Err(self.silent(action)),
        }
    }

    fn silent(&self, action: &str) -> DockerError {
        DockerError::Silent {
            address: self.address().to_owned(),
            action: action.to_owned(),
            seconds: ANSWER_PATIENCE.as_secs(),
        }
    }

    pub(crate) fn failed(&self, action: &str, source: Error) -> DockerError {
        DockerError::of(self.address(), action, source)
    }
}

/// Whether this user's environment has the `docker` command build without `BuildKit`.
pub(crate) fn buildkit_is_off() -> bool {
    std::env::var("DOCKER_BUILDKIT").is_ok_and(|value| matches!(value.as_str(), "0" | "false"))
}

#[cfg(test)]
mod tests {
    use garden_build_core::ErrorKind;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A daemon that answers everything with `status` and `body`, or not at all.
    async fn daemon(answer: Option<(&'static str, &'static str)>) -> DockerDaemon {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                if let Some((status, body)) = answer {
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                } else {
                    open.push(stream);
                }
            }
        });
        DockerDaemon::at(&address).expect("an address")
    }

    async fn refusal(answer: Option<(&'static str, &'static str)>) -> garden_build_core::Error {
        daemon(answer).await.platform().await.expect_err("unusable").into()
    }

    #[tokio::test]
    async fn a_daemon_that_is_too_old_is_told_so_with_both_versions() {
        let error = refusal(Some(("200 OK", r#"{"Version":"17.06.0-ce","ApiVersion":"1.30"}"#))).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        for part in ["17.06.0-ce", "1.30", "1.41"] {
            assert!(error.message().contains(part), "{error}");
        }
        assert!(error.hint().is_some_and(|hint| hint.contains("20.10")), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_docker_daemon_is_named_in_one_line() {
        for answer in [("404 Not Found", "{}"), ("200 OK", "hello"), ("200 OK", "{}")] {
            let error = refusal(Some(answer)).await;
            assert!(
                error.message().contains("tcp://127.0.0.1:") && !error.message().contains('\n'),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_never_answers_is_given_up() {
        let error = refusal(None).await;
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.message().contains("20 s"), "{error}");
    }
}
