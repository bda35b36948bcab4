//! Ctrl-C, SIGTERM, and the end of the terminal: the first cancels, the second leaves.

use std::io::{self, IsTerminal as _, Write as _};
use std::process;
use std::thread;
use std::time::Duration;

use garden_build::{CancellationToken, ErrorKind};

/// For how long somebody may not read the last words before the program leaves without them.
const UNREAD: Duration = Duration::from_secs(2);

/// Cancels `token` at the first Ctrl-C or SIGTERM, or when the terminal is closed. At the second, the program ends at once.
///
/// # Errors
/// If the system takes no handler.
pub(crate) fn cancel_on_signals(token: CancellationToken) -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        token.cancel();
        signals.next().await;
        let code = ErrorKind::Cancelled.exit_code().into();
        // In a thread, because a pipe that nobody reads keeps its writer waiting. It ends the program itself, before the next drawing of the
        // progress takes the line away.
        thread::spawn(move || {
            let _ = writeln!(
                io::stderr(),
                "left before all was cleaned up: the next build or `sweep` removes the rest"
            );
            process::exit(code);
        });
        tokio::time::sleep(UNREAD).await;
        process::exit(code);
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Without a terminal, somebody may have asked for this signal to be ignored (`nohup`).
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let has_terminal = io::stderr().is_terminal();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: has_terminal.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
