use bollard::Docker;
use bollard::errors::Error;
use garden_registry::Platform;

use crate::DockerError;

/// A Docker daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerDaemon {
    pub(crate) address: String,
    pub(crate) docker: Docker,
}

impl DockerDaemon {
    /// Uses the daemon that `DOCKER_HOST` names, with TLS if `DOCKER_TLS_VERIFY` is set and the certificates in
    /// `DOCKER_CERT_PATH`; else the one on the usual socket of this machine. It is not asked yet.
    ///
    /// # Errors
    /// If there is no such socket, `DOCKER_HOST` is no address, or the certificates cannot be used.
    pub fn from_environment() -> Result<Self, DockerError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = variable("DOCKER_HOST");
        let docker = match &address {
            Some(address) if variable("DOCKER_TLS_VERIFY").is_none() => Docker::connect_with_host(address),
            Some(_) => Docker::connect_with_ssl_defaults(),
            None => Docker::connect_with_local_defaults(),
        };
        let address = address.unwrap_or_else(|| "the socket of this machine".to_owned());
        Self::new(address, docker)
    }

    /// Uses the daemon at `address`, such as `unix:///var/run/docker.sock`, or `tcp://127.0.0.1:2375`, which is without TLS.
    /// It is not asked yet.
    ///
    /// # Errors
    /// If that is no address, or there is no such socket.
    pub fn at(address: &str) -> Result<Self, DockerError> {
        Self::new(address.to_owned(), Docker::connect_with_host(address))
    }

    fn new(address: String, docker: Result<Docker, Error>) -> Result<Self, DockerError> {
        match docker {
            Ok(docker) => Ok(Self { address, docker }),
            Err(source @ Error::SocketNotFoundError(_)) => Err(DockerError::Unreachable { address, source }),
            Err(source) => Err(DockerError::InvalidAddress { address, source }),
        }
    }

    /// Asks for which platform the daemon runs containers.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn platform(&self) -> Result<Platform, DockerError> {
        let version =
            self.docker.version().await.map_err(|source| self.failed("ask for its version", source))?;
        let mut platform = Platform::of_this_machine();
        platform.os = version.os.unwrap_or(platform.os);
        platform.architecture = version.arch.unwrap_or(platform.architecture);
        Ok(platform)
    }

    pub(crate) fn failed(&self, action: &str, source: Error) -> DockerError {
        DockerError::of(&self.address, action, source)
    }
}
