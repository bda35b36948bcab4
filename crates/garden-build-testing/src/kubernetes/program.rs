use tokio::io::DuplexStream;

use super::pod::FakePod;
use crate::script::Script;

/// A command that runs in a pod, or a container that somebody has attached to.
#[derive(Debug)]
pub struct Process {
    /// The pod.
    pub pod: FakePod,
    /// Its container.
    pub container: String,
    /// The command; empty if somebody attached to the container.
    pub command: Vec<String>,
    /// What the client writes; ends when the client closes it or goes.
    pub stdin: DuplexStream,
    /// What the client reads.
    pub stdout: DuplexStream,
    /// What the client reads beside that.
    pub stderr: DuplexStream,
}

/// A connection to a port of a pod.
#[derive(Debug)]
pub struct Connection {
    /// The pod.
    pub pod: FakePod,
    /// The port.
    pub port: u16,
    /// The bytes, both ways.
    pub stream: DuplexStream,
}

/// How a process ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With an exit code.
    Exit(i32),
    /// It could not be run, or was lost; the text is the server's.
    Failed(String),
    /// The connection breaks without a word.
    Cut,
}

pub(crate) type Program = Script<Process, End>;
pub(crate) type Listener = Script<Connection, ()>;
pub(crate) type Kubelet = Script<FakePod, ()>;
