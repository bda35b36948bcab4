//! Warns when the API server does not answer. A connection that is frozen, not closed, shows nothing by itself: whoever waits for a pod's log goes on waiting.

use std::convert::Infallible;
use std::time::Duration;

use garden_build_core::{EventSink, WarningCode};
use tokio::time::{sleep, timeout};

use crate::api::Cluster;

/// How long to wait between two requests. Together with [`ANSWER`], the warning comes within 13 s.
const EVERY: Duration = Duration::from_secs(5);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(8);

impl Cluster {
    /// Warns when the API server does not answer any more, and says when it does again. Never completes.
    pub async fn report_silence(&self, events: &EventSink) -> Infallible {
        let mut is_silent = false;
        loop {
            sleep(EVERY).await;
            // Any answer counts, a refusal too. A request that fails at once is reported by whoever else sends one.
            let was_silent =
                std::mem::replace(&mut is_silent, timeout(ANSWER, self.server_time()).await.is_err());
            match (was_silent, is_silent) {
                (false, true) => events.warn(
                    WarningCode::ClusterSilent,
                    format!("the cluster's API server has not answered for {} s", ANSWER.as_secs()),
                    Some("check the connection to the cluster; what runs there goes on, and so does this once the API server answers".to_owned()),
                ),
                (true, false) => events.log("the cluster's API server answers again"),
                _ => {}
            }
        }
    }
}
