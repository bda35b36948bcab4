//! Which Docker daemon is meant: decided as the `docker` command does. Source: docker/cli, `cli/command/cli.go`
//! (`resolveContextName`, `resolveDockerEndpoint`, `resolveDefaultDockerEndpoint`) and `cli/flags/options.go`.

mod address;
#[cfg(test)]
mod address_tests;
mod config;
mod contexts;
mod environment;
#[cfg(test)]
mod tests;
mod tls_files;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use garden_build_core::ProxyVariables;

pub(crate) use address::{Address, SshAddress, bracketed};
pub(crate) use environment::Environment;
pub(crate) use tls_files::{Tls, Verify};

use crate::dial::{Dial, PATIENCE, SshDialer, TcpDialer, TlsDialer, UnixDialer};
use crate::{AsksForTls, DockerError, ReachError};
use address::without_password;
use config::Config;

/// What says which daemon is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// `DOCKER_HOST`.
    Host,
    /// The Docker context of that name.
    Context(String),
    /// Nothing but the variable that asks for TLS.
    Tls(&'static str),
    /// Nothing.
    Usual,
    /// Who calls us.
    Caller,
}

/// A daemon, before anybody has tried to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    pub(crate) address: Address,
    /// There is, if and only if the address is one of TCP and encrypted.
    pub(crate) tls: Option<Tls>,
    /// Sockets of other daemons, which the user may have meant.
    pub(crate) other_sockets: Vec<PathBuf>,
}

/// Returns the way to the daemon that this process's environment means.
///
/// # Errors
/// If what says so cannot be used. The daemon is not asked yet.
pub(crate) fn from_environment() -> Result<Arc<dyn Dial>, DockerError> {
    let environment = Environment::of_this_process();
    Ok(Endpoint::find(&environment)?.dialer(&environment))
}

/// Returns the way to the daemon at `address`. With TCP there is no TLS; with `https://` there is, and the daemon's
/// certificate has to be of an authority that this machine trusts.
///
/// # Errors
/// If that is not an address. The daemon is not asked yet.
pub(crate) fn at(address: &str) -> Result<Arc<dyn Dial>, DockerError> {
    let environment = Environment::of_this_process();
    Ok(Endpoint::at(address, &environment)?.dialer(&environment))
}

/// Returns the proxies that the `docker` command of this user gives to the RUN steps of a build on the daemon at `address`.
///
/// # Errors
/// If the command's configuration cannot be used.
pub(crate) fn proxies_of_steps(address: &str) -> Result<ProxyVariables, DockerError> {
    Ok(proxies_in(&Environment::of_this_process(), address)?)
}

fn proxies_in(environment: &Environment, address: &str) -> Result<ProxyVariables, ReachError> {
    let directory = environment.docker_directory();
    let config = directory.map_or_else(|| Ok(Config::default()), |directory| Config::read(&directory));
    Ok(config?.proxies(address))
}

impl Endpoint {
    /// Decides which daemon `environment` means.
    pub(crate) fn find(environment: &Environment) -> Result<Self, ReachError> {
        if let Some(host) = environment.text("DOCKER_HOST") {
            return Self::without_context(Some(host.trim()).filter(|host| !host.is_empty()), environment);
        }
        let directory = environment.docker_directory();
        let (context, named_by) = match (environment.text("DOCKER_CONTEXT"), &directory) {
            (Some(context), _) => (Some(context), "DOCKER_CONTEXT".to_owned()),
            (None, Some(directory)) => {
                let named_by = config::file(directory).display().to_string();
                (Config::read(directory)?.current_context(), named_by)
            }
            (None, None) => (None, String::new()),
        };
        match context {
            // The name is reserved: it means what there would be without contexts.
            Some(context) if context != "default" => {
                // Docker, too, looks below the working directory if there is no home.
                let directory = directory.unwrap_or_else(|| PathBuf::from(".docker"));
                let found = contexts::read(&directory, &context, &named_by)?;
                Self::of_context(&context, &found, environment)
            }
            _ => Self::without_context(None, environment),
        }
    }

    /// Takes the daemon at `address`.
    pub(crate) fn at(address: &str, environment: &Environment) -> Result<Self, ReachError> {
        let origin = Origin::Caller;
        let address = origin.parse(address, environment, false)?;
        let tls =
            is_encrypted(&address).then(|| Tls::read(None, Verify::AuthorityOrSystem, AsksForTls::Address));
        Ok(Self { origin, address, tls: tls.transpose()?, other_sockets: Vec::new() })
    }

    /// Takes the daemon at `host`, or the usual one, with TLS if the variables ask for it.
    fn without_context(host: Option<&str>, environment: &Environment) -> Result<Self, ReachError> {
        let asked =
            ["DOCKER_TLS_VERIFY", "DOCKER_TLS"].into_iter().find(|name| environment.text(name).is_some());
        let (origin, host) = match (host, asked) {
            (Some(host), _) => (Origin::Host, host),
            // Docker, too, expects TLS on a port of this machine then, and not on the socket.
            (None, Some(asked)) => (Origin::Tls(asked), "tcp://localhost:2376"),
            (None, None) => (Origin::Usual, "unix://"),
        };
        let address = origin.parse(host, environment, asked.is_some())?;
        let tls = is_encrypted(&address).then(|| {
            let asked_by = asked.map_or(AsksForTls::Address, AsksForTls::Variable);
            let directory = environment.path("DOCKER_CERT_PATH").or_else(|| environment.docker_directory());
            let verify = match asked {
                Some("DOCKER_TLS_VERIFY") => Verify::Authority,
                Some(_) => Verify::Nothing,
                // An address of https:// alone.
                None => Verify::AuthorityOrSystem,
            };
            if directory.is_none() && verify != Verify::AuthorityOrSystem {
                return Err(ReachError::NoCertificates { asked_by });
            }
            Tls::read(directory.as_deref(), verify, asked_by)
        });
        let other_sockets = match origin {
            Origin::Usual => environment.other_sockets(),
            _ => Vec::new(),
        };
        Ok(Self { origin, address, tls: tls.transpose()?, other_sockets })
    }

    fn of_context(
        name: &str,
        context: &contexts::Context,
        environment: &Environment,
    ) -> Result<Self, ReachError> {
        let origin = Origin::Context(name.to_owned());
        let asked = context.certificates.is_some() || context.skip_tls_verify;
        let host = context.host.as_deref().unwrap_or("unix://");
        let address = origin.parse(host, environment, asked)?;
        let verify = if context.skip_tls_verify { Verify::Nothing } else { Verify::AuthorityOrSystem };
        let tls = is_encrypted(&address).then(|| {
            Tls::read(context.certificates.as_deref(), verify, AsksForTls::Context(name.to_owned()))
        });
        Ok(Self { origin, address, tls: tls.transpose()?, other_sockets: Vec::new() })
    }

    /// Describes which daemon it is and why, for messages.
    pub(crate) fn daemon(&self) -> String {
        match self.origin {
            Origin::Caller => self.address.to_string(),
            _ => format!("{} ({})", self.address, self.origin),
        }
    }

    /// Returns the way to the daemon.
    pub(crate) fn dialer(self, environment: &Environment) -> Arc<dyn Dial> {
        let (daemon, shown) = (self.daemon(), self.address.to_string());
        match (self.address, self.tls) {
            (Address::Unix(path), _) => {
                Arc::new(UnixDialer { daemon, shown, path, others: self.other_sockets })
            }
            (Address::Ssh(address), _) => {
                let path = environment.path("PATH").unwrap_or_default();
                Arc::new(SshDialer { daemon, shown, address, path: path.into_os_string() })
            }
            (Address::Tcp { host, port, .. }, tls) => {
                let proxies = environment.proxies().clone();
                let tcp = TcpDialer { daemon, shown, host, port, proxies, patience: PATIENCE };
                match tls {
                    None => Arc::new(tcp),
                    Some(tls) => Arc::new(TlsDialer { tcp, tls }),
                }
            }
        }
    }
}

impl Origin {
    fn parse(&self, text: &str, environment: &Environment, tls: bool) -> Result<Address, ReachError> {
        Address::parse(text, environment.usual_socket(), tls).map_err(|error| {
            let shown = without_password(text);
            let setting = match self {
                Self::Caller => format!("`{shown}`"),
                origin => format!("`{shown}` ({origin})"),
            };
            ReachError::BadAddress { setting, reason: error.reason, remedy: error.remedy }
        })
    }
}

fn is_encrypted(address: &Address) -> bool {
    matches!(address, Address::Tcp { encrypted: true, .. })
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "the Docker context `{name}`"),
            Self::Tls(variable) => write!(f, "{variable} without DOCKER_HOST"),
            Self::Usual => f.write_str("this machine's usual socket"),
            Self::Caller => f.write_str("the caller"),
        }
    }
}
