//! Addresses of daemons. Source: docker/cli, `opts/hosts.go` and `cli/connhelper/ssh`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

/// Where a daemon is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16, encrypted: bool },
    Ssh(SshAddress),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SshAddress {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The daemon's socket there, if not the one that `docker` there chooses.
    pub(crate) socket: Option<String>,
}

/// Why an address is none, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AddressError {
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

const REMEDY: &str = "write unix:///path/to/docker.sock, tcp://host:port or ssh://user@host";

fn wrong(reason: impl Into<String>) -> AddressError {
    AddressError { reason: reason.into(), remedy: REMEDY.to_owned() }
}

impl Address {
    /// Reads an address. `tls` tells whether something besides the address asks for TLS.
    ///
    /// Without a port, that of Docker's registration with IANA is taken: 2375, and 2376 with TLS.
    pub(crate) fn parse(text: &str, usual_socket: &Path, tls: bool) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.starts_with('/') {
            let remedy = format!("write unix://{text}");
            return Err(AddressError { reason: "it is a path".to_owned(), remedy });
        }
        // Without a scheme, Docker takes it for TCP.
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix(usual_socket.to_owned())),
            "unix" if rest.contains("://") => Err(wrong("it has two schemes")),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" => tcp(rest, if tls { 2376 } else { 2375 }, tls),
            "https" => tcp(rest, 443, true),
            "http" if tls => Err(AddressError {
                reason: "http:// is without TLS, but TLS is asked for".to_owned(),
                remedy: "write tcp:// instead of http://, or unset DOCKER_TLS_VERIFY and DOCKER_TLS"
                    .to_owned(),
            }),
            "http" => tcp(rest, 80, false),
            "ssh" => ssh(rest).map(Self::Ssh),
            "npipe" => Err(wrong("named pipes exist on Windows only, and are not spoken to from here")),
            "fd" => Err(wrong("fd:// is what a daemon listens on, not what it is reached by")),
            scheme => Err(wrong(format!("`{scheme}://` is not known"))),
        }
    }
}

fn tcp(rest: &str, usual_port: u16, encrypted: bool) -> Result<Address, AddressError> {
    if rest.contains('@') {
        return Err(wrong("it has a user name, which TCP does not know"));
    }
    let (authority, path) = split_path(rest)?;
    if !path.trim_matches('/').is_empty() {
        return Err(wrong(format!("it goes on with the path {path}, which is not supported")));
    }
    let (host, port) = host_and_port(authority)?;
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(Address::Tcp { host: host.to_owned(), port: port.unwrap_or(usual_port), encrypted })
}

fn ssh(rest: &str) -> Result<SshAddress, AddressError> {
    let (authority, path) = split_path(rest)?;
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(AddressError {
            reason: "it has a password, which `ssh` does not take".to_owned(),
            remedy: "write ssh://user@host, and let a key or an agent log in".to_owned(),
        });
    }
    // ssh hands both to a shell if it is configured with a `ProxyCommand`.
    let is_harmless =
        |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_' | '+' | '@' | '\\');
    if user.is_some_and(|user| user.is_empty() || !user.chars().all(is_harmless)) {
        return Err(wrong("its user name is empty or has a character that none has"));
    }
    let (host, port) = host_and_port(authority)?;
    if host.is_empty() {
        return Err(wrong("it has no host"));
    }
    let socket = (!path.trim_matches('/').is_empty()).then(|| path.to_owned());
    Ok(SshAddress { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
}

fn split_path(rest: &str) -> Result<(&str, &str), AddressError> {
    if rest.contains("://") {
        return Err(wrong("it has two schemes"));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong("it has a `?` or `#`"));
    }
    Ok(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), AddressError> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Ok((authority, None));
    }
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong("its `[` is not closed"))?;
        let without_zone = host.split_once('%').map_or(host, |(address, _)| address);
        if without_zone.parse::<Ipv6Addr>().is_err() {
            return Err(wrong(format!("`{host}` in brackets is no IPv6 address")));
        }
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(wrong("what follows its `]` is not a port"));
        }
        (host, port)
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    let is_of_host = |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '%');
    if let Some(char) = host.chars().find(|char| !is_of_host(*char)) {
        return Err(wrong(format!("its host has the character {char:?}")));
    }
    let port = port.filter(|port| !port.is_empty()).map(|port| {
        let number = port.parse().ok().filter(|port| *port != 0);
        number.ok_or_else(|| wrong("its port is not a number from 1 to 65535"))
    });
    Ok((host, port.transpose()?))
}

/// Formats an address that may be wrong, without a password that may be in it.
pub(crate) fn without_password(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    match rest.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}{name}:…@{host}")
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Ssh(ssh) => {
                write!(f, "ssh://{}{}", ssh.destination(), ssh.socket.as_deref().unwrap_or_default())
            }
        }
    }
}

impl SshAddress {
    /// Describes whom to log in to, as in an address.
    fn destination(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{user}{}{port}", bracketed(&self.host))
    }
}

/// Writes a host as it stands before a port.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
