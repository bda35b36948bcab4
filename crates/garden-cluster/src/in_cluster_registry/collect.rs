//! Deleting images, and freeing their room.
//!
//! Why: docs/decisions/76-the-registry-collects-its-own-garbage.md

use std::time::Duration;

use garden_build_core::{ErrorKind, EventSink, HintCode, Remedy};
use garden_registry::clean_up::{DeletionList, Deletions};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::install::LONGEST_COLLECTION;
use super::{InClusterRegistry, spec};
use crate::api::ClusterError;
use crate::diagnosis::Diagnosis;
use crate::pod::PodStream;
use crate::service::living;

/// How often the pod is asked whether it has finished: soon at first, then ever less.
const FIRST_POLL: Duration = Duration::from_millis(300);
const LAST_POLL: Duration = Duration::from_secs(5);

/// How long one question to the pod may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a list of deletions may take to get there.
const LIST_PATIENCE: Duration = Duration::from_secs(2 * 60);

/// How much of the output of a command in the pod is read: more than the results of a whole list of deletions.
const ANSWER: u64 = 8 << 20;

/// What a registry says that was installed before it could delete.
const OUTDATED: &str = "outdated";

const UPGRADE: Remedy = Remedy::install("install again (`init`), which upgrades it");

/// A collection that has run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Collected {
    /// The last lines that the registry's collector has printed.
    pub output: String,
    /// What became of the images that were to be deleted.
    pub deletions: Deletions,
}

/// What the file with the result says of a collection.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// None since the one with the number that was asked about.
    Pending,
    /// With the last lines of the collector.
    Succeeded(String),
    Failed(String),
    /// The container died, and another one serves.
    Interrupted,
}

impl InClusterRegistry {
    /// Has the registry delete the images of a list, remove the blobs that no manifest refers to, and waits until it takes pushes
    /// again.
    ///
    /// The registry refuses pushes meanwhile, and serves everything else. It does all of this by itself: if this future
    /// is dropped, or this program dies, it finishes and takes pushes again. What several ask for at once may be done in one go.
    /// A list is carried out once, or not at all. Its server lets nobody delete.
    ///
    /// # Errors
    /// If the registry is not installed, does not serve or cannot delete as it is of an older version; if the collection
    /// failed, or its pod died during it. In any case, it takes pushes again; nothing that is referred to is lost, and it may be
    /// tried again. An image that could not be deleted is not an error; it is in what is returned.
    pub async fn collect_garbage(
        &self,
        list: &DeletionList,
        events: &EventSink,
    ) -> Result<Collected, ClusterError> {
        if !self.is_installed().await? {
            return Err(self.service().not_installed());
        }
        self.takes_pushes(events).await?;
        let pod = self.pod().await?;
        let name = uuid::Uuid::new_v4().simple().to_string();
        let before = self.in_pod(&pod, &request(&name, list.as_str()), list.as_str()).await?;
        if before.trim() == OUTDATED {
            let message = format!(
                "the registry {}/{} is of an older version, and lets every pod delete images",
                self.namespace(),
                Self::NAME
            );
            return Err(error(ErrorKind::Unsupported, message, UPGRADE));
        }
        let before = before.trim().parse().map_err(|_| failed(&pod, &before, UPGRADE))?;
        events.log("collecting: images are served, and pushes wait");
        let output = self.result(&pod, before).await?;
        let report = match list.as_str() {
            "" => String::new(),
            _ => self.in_pod(&pod, &report(&name), "").await?,
        };
        self.takes_pushes(events).await?;
        Ok(Collected { output, deletions: list.outcome(&report) })
    }

    async fn result(&self, pod: &Pod, before: u64) -> Result<String, ClusterError> {
        let started = Instant::now();
        let mut poll = FIRST_POLL;
        loop {
            sleep(poll).await;
            poll = LAST_POLL.min(poll * 3 / 2);
            match self.in_pod(pod, &look(), "").await {
                Ok(text) => match outcome(&text, before) {
                    Outcome::Pending => {}
                    Outcome::Succeeded(output) => return Ok(output),
                    Outcome::Failed(output) => {
                        let hint = Remedy::new(
                            "see what the collector says; a full or broken volume is the usual cause",
                        );
                        return Err(failed(pod, &output, hint));
                    }
                    Outcome::Interrupted => {
                        return Err(interrupted(pod, "its container was started again"));
                    }
                },
                // Which is what a container that starts again says, too.
                Err(error) if self.pod().await.is_ok_and(|now| now.uid() == pod.uid()) => {
                    tracing::debug!(%error, "could not ask the registry's pod for its collection");
                }
                Err(error) => return Err(interrupted(pod, &format!("its pod is gone: {error}"))),
            }
            if started.elapsed() > LONGEST_COLLECTION {
                let message = format!(
                    "the collection in {} has not finished after {} minutes; it goes on by itself",
                    crate::api::name_of(pod),
                    LONGEST_COLLECTION.as_secs() / 60
                );
                return Err(error(
                    ErrorKind::Timeout,
                    message,
                    Remedy::new("look at the pod's log and its volume"),
                ));
            }
        }
    }

    /// Returns the registry's pod.
    ///
    /// # Errors
    /// If it has none at present, or the API server refuses or cannot be reached.
    pub async fn pod(&self) -> Result<Pod, ClusterError> {
        let pods = self.cluster.list::<Pod>(self.namespace(), &Self::selector()).await?;
        living(&pods).pop().cloned().ok_or_else(|| {
            let message = format!("Deployment {}/{} has no pod", self.namespace(), Self::NAME);
            error(ErrorKind::Unreachable, message, Remedy::install("install again (`init`), which says why"))
        })
    }

    /// Runs a script in the registry's container, sends it `input`, and returns what it prints.
    async fn in_pod(&self, pod: &Pod, script: &str, input: &str) -> Result<String, ClusterError> {
        let command = ["sh", "-c", script];
        let cut = |reason: String| ClusterError::StreamCut { target: crate::api::name_of(pod), reason };
        let asking = async {
            let (namespace, name) = (self.namespace(), pod.name_any());
            let mut stream =
                PodStream::exec(&self.cluster, namespace, &name, Self::CONTAINER, &command).await?;
            let mut text = String::new();
            let sent = match stream.write_all(input.as_bytes()).await {
                Ok(()) => stream.flush().await,
                broken => broken,
            };
            // A script that ends before it has read all has something to say.
            let read = stream.take(ANSWER).read_to_string(&mut text).await.map(drop);
            let answer = if text.is_empty() { sent.and(read) } else { read };
            answer.map(|()| text).map_err(|error| cut(error.to_string()))
        };
        let patience = if input.is_empty() { ANSWER_PATIENCE } else { LIST_PATIENCE };
        let answer = tokio::time::timeout(patience, asking).await;
        answer.unwrap_or_else(|_| Err(cut(format!("no answer within {} s", patience.as_secs()))))
    }
}

fn interrupted(pod: &Pod, why: &str) -> ClusterError {
    let message = format!("the collection in {} was interrupted: {why}", crate::api::name_of(pod));
    error(
        ErrorKind::BuilderLost,
        message,
        Remedy::new("run it again; nothing was lost, and pushes are taken again")
            .coded(HintCode::CleanUpRegistry),
    )
}

fn failed(pod: &Pod, output: &str, hint: Remedy) -> ClusterError {
    let message = format!("the collection in {} failed: {}", crate::api::name_of(pod), output.trim());
    error(ErrorKind::Unexpected, message, hint)
}

fn error(kind: ErrorKind, message: String, hint: Remedy) -> ClusterError {
    let retryable = !matches!(kind, ErrorKind::Unexpected | ErrorKind::Unsupported);
    ClusterError::Pod(Diagnosis { retryable, ..Diagnosis::other(kind, message, hint) })
}

/// Asks for a collection, after the deletions of a list if that is not empty, and prints the number of the last one that was
/// begun before. The list comes through the standard input, whose end not every version of the protocol can tell. See
/// `files/supervise.sh`.
fn request(name: &str, list: &str) -> String {
    let (state, length) = (spec::STATE_DIRECTORY, list.len());
    let receive = match list {
        "" => String::new(),
        _ => format!(
            "head -c {length} >{name}.part && [ \"$(stat -c %s {name}.part)\" = {length} ] && \
             mv {name}.part {name}.list && "
        ),
    };
    format!(
        "cd {state}/deletions 2>/dev/null || {{ echo {OUTDATED}; exit; }}; \
         {receive}cat {state}/begun && touch {state}/requested && kill -USR1 1"
    )
}

/// Prints what became of a list of deletions; nothing if the registry did not come to it.
fn report(name: &str) -> String {
    let report = format!("{}/deletions/{name}.done", spec::STATE_DIRECTORY);
    format!("[ ! -e {report} ] || {{ cat {report} && rm {report}; }}")
}

/// Prints the last result; wakes the supervisor, which may have looked just before the request came.
fn look() -> String {
    let state = spec::STATE_DIRECTORY;
    format!("[ ! -e {state}/requested ] || kill -USR1 1; cat {state}/result 2>/dev/null || true")
}

/// Reads the last result: the number of the collection and the collector's exit status, then what it said.
fn outcome(text: &str, before: u64) -> Outcome {
    let (first, output) = text.split_once('\n').unwrap_or((text, ""));
    let Some((number, status)) = first.split_once(' ') else { return Outcome::Pending };
    if number.parse().map_or(true, |number: u64| number <= before) {
        return Outcome::Pending;
    }
    match status.trim() {
        "0" => Outcome::Succeeded(output.to_owned()),
        "interrupted" => Outcome::Interrupted,
        _ => Outcome::Failed(output.to_owned()),
    }
}

#[cfg(all(test, unix))]
mod tests;
