use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::process::Command;

use super::ssh_connection::SshConnection;
use super::{Connection, Dial};
use crate::endpoint::SshAddress;
use crate::{DockerError, ReachError};

/// Connects by the program `ssh`, which runs `docker system dial-stdio` on the daemon's machine. Whether it gets there
/// shows when the connection is used. Source: docker/cli, `cli/connhelper`.
#[derive(Debug)]
pub(crate) struct SshDialer {
    pub(crate) daemon: String,
    pub(crate) shown: String,
    pub(crate) address: SshAddress,
    /// The directories in which `ssh` is looked for, as in `PATH`.
    pub(crate) path: OsString,
}

impl Dial for SshDialer {
    fn address(&self) -> &str {
        &self.shown
    }

    fn is_local(&self) -> bool {
        false
    }

    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
        async move {
            let connection = self.start()?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        }
        .boxed()
    }
}

impl SshDialer {
    fn start(&self) -> Result<SshConnection, ReachError> {
        let program = self.find().ok_or_else(|| ReachError::NoSsh { daemon: self.daemon.clone() })?;
        let mut command = Command::new(program);
        command
            .args(arguments(&self.address))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Nobody sits at the terminal to answer: what shows there is a build. Docker has `ssh` run without one.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .kill_on_drop(true);
        // An interrupt from the keyboard is for us: the connection is needed to cancel what runs.
        #[cfg(unix)]
        command.process_group(0);
        let (daemon, destination) = (self.daemon.clone(), destination(&self.address));
        let child = command.spawn().map_err(|error| ReachError::Ssh {
            daemon: daemon.clone(),
            reason: format!("`ssh` cannot be started: {error}"),
            destination: destination.clone(),
        })?;
        SshConnection::new(child, daemon, destination)
    }

    fn find(&self) -> Option<PathBuf> {
        let file = format!("ssh{}", std::env::consts::EXE_SUFFIX);
        // An entry that is not absolute leads to whatever directory the program happens to be in.
        let directories = std::env::split_paths(&self.path).filter(|directory| directory.is_absolute());
        directories.map(|directory| directory.join(&file)).find(|file| file.is_file())
    }
}

/// The arguments of `ssh`, as Docker gives them.
fn arguments(address: &SshAddress) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(user) = &address.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = address.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    // Without a terminal there, or its login messages would be taken for the daemon's answer.
    arguments.extend(["-o", "ConnectTimeout=30", "-T", "--", &address.host].map(str::to_owned));
    let socket = address.socket.as_ref().map(|socket| quoted(&format!("--host=unix://{socket}")));
    let command = ["docker".to_owned()].into_iter().chain(socket);
    arguments.extend(command.chain(["system", "dial-stdio"].map(str::to_owned)));
    arguments
}

/// What a user would give to `ssh` by hand.
fn destination(address: &SshAddress) -> String {
    let user = address.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
    format!("{port}{user}{}", address.host)
}

/// Quotes a word for the shell on the daemon's machine, which gets all words as one line.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(char);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_called_as_docker_calls_it() {
        let mut address =
            SshAddress { user: None, host: "builder.example".to_owned(), port: None, socket: None };
        let line = arguments(&address).join(" ");
        assert_eq!(line, "-o ConnectTimeout=30 -T -- builder.example docker system dial-stdio");
        address.user = Some("me".to_owned());
        address.port = Some(2222);
        address.socket = Some("/run/user/7/it's docker.sock".to_owned());
        assert_eq!(
            arguments(&address).join(" "),
            r"-l me -p 2222 -o ConnectTimeout=30 -T -- builder.example docker '--host=unix:///run/user/7/it'\''s docker.sock' system dial-stdio"
        );
        assert_eq!(destination(&address), "-p 2222 me@builder.example");
    }
}
