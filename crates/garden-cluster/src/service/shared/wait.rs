//! Waiting for services that are on their way.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::ClusterError;
use crate::pod::Patience;
use crate::service::shared::{Outlook, ServiceNotice, Tell};

/// How often the cluster is asked how far it is.
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// Pods that start within this time are not asked for their events.
const EVENTS_AFTER: Duration = Duration::from_secs(2);

/// How long all may take for which nobody shows a reason, such as the pull of an image on a slow line.
pub(crate) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Waits until all `parts` are ready, at most as long as `longest`. `look` says how far a part is, and is told whether to read
/// events as well; `too_late` words the end of the time.
pub(crate) async fn wait_for<P: Copy, F>(
    parts: &[P],
    longest: Duration,
    look: impl Fn(P, bool) -> F,
    too_late: impl Fn(P, &str) -> ClusterError,
    tell: Tell<'_>,
) -> Result<(), ClusterError>
where
    F: Future<Output = Result<Outlook, ClusterError>>,
{
    let started = Instant::now();
    let mut patience = vec![Patience::default(); parts.len()];
    let mut told = String::new();
    loop {
        let with_events = started.elapsed() > EVENTS_AFTER;
        // The first of the parts that is not ready.
        let mut waiting = None;
        for (part, patience) in parts.iter().copied().zip(&mut patience) {
            let (what, trouble) = match look(part, with_events).await? {
                Outlook::Ready => continue,
                Outlook::Waiting(what) => (format!("waiting for {what}"), None),
                Outlook::Stuck(trouble) => (trouble.diagnosis.message.clone(), Some(trouble)),
            };
            patience.bear(trouble)?;
            waiting.get_or_insert((part, what));
        }
        let Some((part, waiting)) = waiting else { return Ok(()) };
        if started.elapsed() > longest {
            return Err(too_late(part, &waiting));
        }
        if waiting != told {
            tell(ServiceNotice::Progress(waiting.clone()));
            told = waiting;
        }
        sleep(POLL).await;
    }
}
