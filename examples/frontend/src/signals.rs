//! Ctrl-C and SIGTERM: the first cancels, the second leaves.

use std::io::{self, Write as _};
use std::process;

use garden_build::{CancellationToken, ErrorKind};

/// Cancels `token` at the first Ctrl-C or SIGTERM. At the second, the program ends at once.
///
/// # Errors
/// If the system takes no handler.
pub(crate) fn cancel_on_signals(token: CancellationToken) -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        token.cancel();
        signals.next().await;
        // Whether anybody reads it does not matter any more.
        let _ = writeln!(
            io::stderr(),
            "left before all was cleaned up: the next build or `sweep` removes the rest"
        );
        process::exit(ErrorKind::Cancelled.exit_code().into());
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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
