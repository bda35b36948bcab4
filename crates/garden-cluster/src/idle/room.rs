//! A pod for which no node has room: what of ours takes it, and making some.
//!
//! Why: docs/decisions/58-a-pod-without-room-looks-around-once.md

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;

use super::{reserved, stop};
use crate::api::{Cluster, ClusterError, Reach};
use crate::diagnosis::{Cause, Lack, Trouble};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};

/// How long a pod without room is borne at least, so that one can look around.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// How long it is borne at least when something was stopped for it: its pods have to end, and the scheduler has to notice.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Looks around once, for a pod that finds no room.
pub(crate) struct Room {
    cluster: Cluster,
    namespace: String,
    search: Search,
}

enum Search {
    NotBegun,
    UnderWay(BoxFuture<'static, Found>),
    Done(Found),
}

/// What was found, as messages say it.
#[derive(Debug, Default)]
struct Found {
    /// What of ours takes room.
    reserved: Option<String>,
    /// Which Deployments were scaled to zero, as nobody used them.
    stopped: Vec<String>,
}

impl Room {
    /// For a pod in `namespace`.
    pub(crate) fn new(cluster: &Cluster, namespace: &str) -> Self {
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), search: Search::NotBegun }
    }

    /// Adds to a want of room what is known about it, and looks around if that is nothing yet. Other troubles stay as they are.
    pub(crate) fn judge(&mut self, trouble: Trouble) -> Trouble {
        if !matches!(trouble.diagnosis.cause, Cause::Unschedulable(Lack { room: true, .. })) {
            return trouble;
        }
        if matches!(self.search, Search::NotBegun) {
            self.search = Search::UnderWay(search(self.cluster.clone(), self.namespace.clone()).boxed());
        }
        match &self.search {
            Search::Done(found) => found.added_to(trouble),
            Search::NotBegun | Search::UnderWay(_) => {
                Trouble { grace: trouble.grace.max(LOOK_PATIENCE), ..trouble }
            }
        }
    }

    /// Waits until there is something new to add, for ever if nothing comes. Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) {
        let Search::UnderWay(search) = &mut self.search else { return std::future::pending().await };
        let found = search.await;
        self.search = Search::Done(found);
    }
}

/// What frees room that idle daemons keep reserved.
const SWEEP: &str = "sweeping (`sweep`) stops those that nobody has used for their `idleAfter`";

impl Found {
    fn added_to(&self, mut trouble: Trouble) -> Trouble {
        let mut parts = vec![trouble.diagnosis.message.trim_end_matches('.').to_owned()];
        if let Some(reserved) = &self.reserved {
            parts.push(reserved.clone());
            parts.push(SWEEP.to_owned());
        }
        if let Some((first, others)) = self.stopped.split_first() {
            let others =
                if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            parts.push(format!("{first}{others}, which nobody used, stopped just now"));
            trouble.grace = trouble.grace.max(STOP_PATIENCE);
        }
        if parts.len() > 1 {
            trouble.diagnosis.message = parts.join("; ");
        }
        trouble
    }
}

/// Never fails: it only makes a message better, and perhaps needless.
async fn search(cluster: Cluster, namespace: String) -> Found {
    let stopped = stop::stop_idle(&cluster, &namespace).await;
    let reserved = look(&cluster, &namespace).await;
    for error in [stopped.as_ref().err(), reserved.as_ref().err()].into_iter().flatten() {
        tracing::debug!(%error, "cannot see what takes the room of a pod");
    }
    Found { reserved: reserved.unwrap_or_default(), stopped: stopped.unwrap_or_default() }
}

async fn look(cluster: &Cluster, namespace: &str) -> Result<Option<String>, ClusterError> {
    let ours = format!("{MANAGED_BY_LABEL}={MANAGER}");
    let (reach, pods) = cluster.list_within_reach::<Pod>(namespace, &ours).await?;
    let place = match reach {
        Reach::AllNamespaces => String::new(),
        Reach::OneNamespace => format!(" in Namespace {namespace}"),
    };
    Ok(reserved::reserved(&pods, &place))
}

#[cfg(test)]
mod tests {
    use garden_build_core::ErrorKind;

    use super::*;
    use crate::diagnosis::Diagnosis;

    fn added(found: &Found) -> (String, Duration) {
        let message = "no node can take Pod a/b: 0/1 nodes are available: 1 Insufficient cpu.";
        let diagnosis = Diagnosis::other(ErrorKind::Unschedulable, message, "");
        let trouble = found.added_to(Trouble { diagnosis, grace: Duration::from_secs(12) });
        (trouble.diagnosis.message, trouble.grace)
    }

    #[test]
    fn what_takes_the_room_is_named_and_what_was_stopped_is_waited_for() {
        let base = "no node can take Pod a/b: 0/1 nodes are available: 1 Insufficient cpu";
        assert_eq!(added(&Found::default()), (format!("{base}."), Duration::from_secs(12)));
        let found = Found { reserved: Some("ours reserve it".to_owned()), stopped: Vec::new() };
        let advice = SWEEP;
        assert_eq!(added(&found), (format!("{base}; ours reserve it; {advice}"), Duration::from_secs(12)));
        let stopped = ["Deployment a/x", "Deployment b/x", "Deployment c/x"].map(str::to_owned).to_vec();
        let (message, grace) = added(&Found { reserved: None, stopped });
        assert_eq!(
            message,
            format!("{base}; Deployment a/x and 2 more, which nobody used, stopped just now")
        );
        assert_eq!(grace, STOP_PATIENCE);
    }
}
