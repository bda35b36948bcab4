use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ReachError;

/// How long `ssh` may take to end, and then to say its last words.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of the end of `ssh`'s standard error stream is kept, in bytes.
const LONGEST_COMPLAINT: usize = 2 * 1024;

/// How many lines of it are shown. Before them, servers like to greet.
const LINES: usize = 3;

/// The standard streams of a program `ssh`. It is killed when this is dropped.
pub(super) struct SshConnection {
    /// Closed when nothing more will be sent.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    state: State,
}

enum State {
    Running(Box<Running>),
    /// One of its streams has ended, so it is asked how it ended itself.
    Ending(BoxFuture<'static, Option<ReachError>>),
    Ended(Option<ReachError>),
}

struct Running {
    child: Child,
    complaint: Complaint,
    daemon: String,
    destination: String,
}

/// What a program says on its standard error stream, which is read all the time so that it never waits for us.
struct Complaint {
    said: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl SshConnection {
    pub(super) fn new(mut child: Child, daemon: String, destination: String) -> Result<Self, ReachError> {
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin @ Some(_), Some(stdout), Some(stderr)) = streams else {
            let reason = "`ssh` was started without its standard streams".to_owned();
            return Err(ReachError::Ssh { daemon, reason, destination });
        };
        let complaint = Complaint::listen(stderr);
        let running = Running { child, complaint, daemon, destination };
        Ok(Self { stdin, stdout, state: State::Running(Box::new(running)) })
    }

    /// Finds out how `ssh` ended, after one of its streams has.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<ReachError>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended(None)) {
                State::Running(running) => State::Ending(running.end().boxed()),
                State::Ending(mut ending) => match ending.poll_unpin(cx) {
                    Poll::Ready(reason) => State::Ended(reason),
                    Poll::Pending => {
                        self.state = State::Ending(ending);
                        return Poll::Pending;
                    }
                },
                State::Ended(reason) => {
                    self.state = State::Ended(reason.clone());
                    return Poll::Ready(reason);
                }
            }
        }
    }

    fn poll_explained<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = ready!(polled);
        let Err(error) = result else { return Poll::Ready(result) };
        let reason = ready!(self.poll_end(cx));
        Poll::Ready(Err(reason.map_or(error, io::Error::other)))
    }
}

impl Running {
    /// Waits until `ssh` has ended; it fails unless the other end has closed the connection in good order.
    async fn end(mut self: Box<Self>) -> Option<ReachError> {
        let status = match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => return None,
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => format!("`ssh` broke off: {error}"),
            Err(_) => "`ssh` closed the connection and does not end".to_owned(),
        };
        let said = self.complaint.end().await;
        let reason = if said.is_empty() { status } else { format!("{status}: {said}") };
        Some(ReachError::Ssh { daemon: self.daemon, reason, destination: self.destination })
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("`ssh` ended with status {code}"),
        None => format!("`ssh` ended by {status}"),
    }
}

impl Complaint {
    fn listen(mut stderr: ChildStderr) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let listening = tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
                let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(&buffer[..length]);
                let surplus = said.len().saturating_sub(LONGEST_COMPLAINT);
                said.drain(..surplus);
            }
        });
        Self { said, listening }
    }

    /// Returns the last lines, as one. A connection that `ssh` shares with others (`ControlPersist`) may keep the stream
    /// open.
    async fn end(&mut self) -> String {
        let _ = timeout(PATIENCE, &mut self.listening).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        last_lines(&String::from_utf8_lossy(&said))
    }
}

impl Drop for Complaint {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn last_lines(text: &str) -> String {
    let printable =
        |line: &str| line.chars().filter(|char| !char.is_control()).collect::<String>().trim().to_owned();
    let lines: Vec<_> = text.lines().map(printable).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

impl AsyncRead for SshConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stdout).poll_read(cx, buffer);
        ready!(this.poll_explained(cx, polled))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match ready!(this.poll_end(cx)) {
            Some(reason) => Poll::Ready(Err(io::Error::other(reason))),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for SshConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(stdin) = &mut this.stdin else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let polled = Pin::new(stdin).poll_write(cx, bytes);
        this.poll_explained(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stdin) = &mut this.stdin else { return Poll::Ready(Ok(())) };
        let polled = Pin::new(stdin).poll_flush(cx);
        this.poll_explained(cx, polled)
    }

    /// Ends `ssh`'s input, which `docker system dial-stdio` passes on to the daemon. Its answer may still come.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stdin = None;
        Poll::Ready(Ok(()))
    }
}
