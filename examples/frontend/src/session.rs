//! Shows what runs until it ends, and cancels it on Ctrl-C.

use std::io;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::SelectAll;
use garden_build::{CancellationToken, Error, ErrorKind, Operation, Result};

use crate::output::{Format, Output};
use crate::progress::{Display, Ending};
use crate::signals::cancel_on_signals;

/// How often a terminal is drawn again.
const TICK: Duration = Duration::from_millis(100);

/// One run of the command: where it prints, and what cancels it.
#[derive(Debug)]
pub struct Session {
    pub(crate) output: Output,
    cancel: CancellationToken,
}

impl Session {
    /// Begins one, within a runtime. From now on the first Ctrl-C or SIGTERM cancels what is followed, and the second ends the program.
    ///
    /// # Errors
    /// If the system takes no handler of signals.
    pub fn begin(format: Format) -> io::Result<Self> {
        let cancel = CancellationToken::new();
        cancel_on_signals(cancel.clone())?;
        Ok(Self { output: Output::new(format, cancel.clone()), cancel })
    }

    /// Shows `operation` until it has ended. `activity` says what it does, as `Building`.
    ///
    /// # Errors
    /// The operation's own.
    pub async fn follow<T: Clone>(&self, activity: &str, operation: Operation<T>) -> Result<T> {
        let mut outcomes = self.follow_all(activity, vec![(None, operation)]).await;
        outcomes.pop().unwrap_or_else(|| Err(Error::new(ErrorKind::Unexpected, "nothing was followed")))
    }

    /// Shows all of them side by side until the last has ended. Returns their outcomes in the same order.
    pub(crate) async fn follow_all<T: Clone>(
        &self,
        activity: &str,
        operations: Vec<(Option<String>, Operation<T>)>,
    ) -> Vec<Result<T>> {
        let (mut names, mut handles, mut events) = (Vec::new(), Vec::new(), SelectAll::new());
        for (number, (name, operation)) in operations.into_iter().enumerate() {
            let (handle, stream) = operation.until(self.cancel.clone().cancelled_owned()).split();
            names.push(name);
            handles.push(handle);
            events.push(stream.map(move |event| (number, event)));
        }
        let mut display = Display::new(&self.output, activity, names, SystemTime::now());
        let mut ticks = tokio::time::interval(TICK);
        let mut is_cancelled = false;
        // The events end with the operations.
        loop {
            tokio::select! {
                // What ends because of the cancellation is shown as cancelled.
                biased;
                () = self.cancel.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    display.cancelled();
                }
                _ = ticks.tick() => display.draw(SystemTime::now()),
                next = events.next() => match next {
                    Some((number, event)) => display.show(number, &event),
                    None => break,
                },
            }
        }
        let outcomes = join_all(handles).await;
        display.end(Ending::of(&outcomes), SystemTime::now());
        outcomes
    }
}
