//! Who uses the daemon: any number of builds, or one clean-up.
//!
//! Docker does not say which builds run, and deletes what they need next: the image that a step of the classic builder
//! has left is as good as forgotten until the next step, and an image that is about to be pushed is one that the registry
//! does not have. So a build holds a lock in the daemon's pod as long as it runs, as one of many, and a clean-up holds
//! it alone. It is a lock of the kernel's on a file, held by a command in the pod that ends with its input. Nothing is
//! left behind, whoever dies. When the command, or the connection to it, ends too early, the lock is gone, and whoever worked under it
//! ends as well: nobody knows what others have done since.
//!
//! Why: docs/decisions/52-builds-hold-a-lock-in-dockers-pod.md

use std::time::Duration;

use garden_build_core::ErrorKind;
use garden_cluster::{ClusterError, DaemonPod, Diagnosis, PodStream};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::ClusterDaemon;

/// Where the lock is, in each container of the pod.
pub(super) const DIRECTORY: &str = "/run/garden-build";

/// Waits until nobody uses the daemon.
pub(super) const WAIT_FOR_ALL: [&str; 4] = ["flock", "-x", "/run/garden-build/lock", "true"];

/// Holds the lock as one of many until the input ends; says `busy` if it has to wait, and `held`. Then it says something
/// now and then, since balancers close connections on which nobody speaks, and whoever holds it hears in time of one that is silent. `flock -n` fails with 1 if it would have to wait.
const SHARE: &str = r"exec 9> /run/garden-build/lock
flock -n -s 9 || { [ $? -eq 1 ] || exit 1; echo busy; flock -s 9 || exit 1; }
echo held
(while sleep 20; do echo; done) 9>&- &
cat > /dev/null
kill $!";

/// The same alone, unless the lock is held by others.
const ALONE: &str = r"exec 9> /run/garden-build/lock
flock -n -x 9 || { [ $? -eq 1 ] || exit 1; echo busy; exit 0; }
echo held
(while sleep 20; do echo; done) 9>&- &
cat > /dev/null
kill $!";

/// How long the command in the pod may take for its first word.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How long the command that holds the lock may say nothing, of which it says something every 20 s.
const HOLDING_PATIENCE: Duration = Duration::from_secs(90);

/// How often it is tried to have the daemon alone. Builds that begin meanwhile go first.
const POLL: Duration = Duration::from_secs(2);

/// The daemon is used as long as this lives, and the lock holds.
#[derive(Debug)]
pub(crate) struct Occupation {
    holding: JoinHandle<String>,
}

impl Occupation {
    /// Works under the lock.
    ///
    /// # Errors
    /// With the reason, if the lock was lost before the end. The work is dropped then.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            outcome = work => Ok(outcome),
            reason = &mut self.holding => Err(reason.unwrap_or_else(|error| error.to_string())),
        }
    }
}

impl Drop for Occupation {
    fn drop(&mut self) {
        // The stream ends with its task, and the command in the pod with the stream.
        self.holding.abort();
    }
}

impl ClusterDaemon {
    /// Takes a share of the daemon in `pod` for a build, until the answer is dropped. Waits while somebody has it alone;
    /// `on_wait` hears of that.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached, or the daemon's image lacks what this takes.
    pub(crate) async fn occupy(
        &self,
        pod: &DaemonPod,
        on_wait: impl FnOnce(),
    ) -> Result<Occupation, ClusterError> {
        let mut lines = self.hold(pod, SHARE).await?;
        match first(&mut lines).await {
            Ok(Answer::Held) => return Ok(held(lines)),
            Ok(Answer::Busy) => on_wait(),
            Err(reason) => return Err(self.no_lock(pod, &reason)),
        }
        // As long as it takes: the build has a time limit of its own.
        match next(&mut lines).await {
            Ok(Answer::Held) => Ok(held(lines)),
            Ok(Answer::Busy) => Err(self.no_lock(pod, "it answers twice that it is busy")),
            Err(reason) => Err(self.no_lock(pod, &reason)),
        }
    }

    /// Takes the daemon in `pod` alone, until the answer is dropped; `None` if builds have had it for as long as `patience`.
    ///
    /// # Errors
    /// As those of [`occupy`](Self::occupy).
    pub(crate) async fn occupy_alone(
        &self,
        pod: &DaemonPod,
        patience: Duration,
    ) -> Result<Option<Occupation>, ClusterError> {
        let started = Instant::now();
        loop {
            let mut lines = self.hold(pod, ALONE).await?;
            match first(&mut lines).await {
                Ok(Answer::Held) => return Ok(Some(held(lines))),
                Ok(Answer::Busy) if started.elapsed() > patience => return Ok(None),
                Ok(Answer::Busy) => sleep(POLL).await,
                Err(reason) => return Err(self.no_lock(pod, &reason)),
            }
        }
    }

    async fn hold(&self, pod: &DaemonPod, script: &str) -> Result<Lines<BufReader<PodStream>>, ClusterError> {
        let (namespace, command) = (self.namespace(), ["sh", "-c", script]);
        let stream = PodStream::exec(&self.cluster, namespace, &pod.name, pod.container, &command).await?;
        Ok(BufReader::new(stream).lines())
    }

    fn no_lock(&self, pod: &DaemonPod, reason: &str) -> ClusterError {
        let message = format!(
            "a lock in Pod {}/{}, which builds hold, could not be taken: {reason}",
            self.namespace(),
            pod.name
        );
        let hint = "`clusterDocker.image` needs `sh` and `flock`, as the official images have";
        ClusterError::Pod(Diagnosis::other(ErrorKind::Unreachable, message, hint).retryable())
    }
}

impl ClusterDaemon {
    /// States that the lock was lost under which something was done in `pod`.
    pub(crate) fn lock_lost(&self, pod: &DaemonPod, reason: &str) -> ClusterError {
        let (namespace, name) = (self.namespace(), &pod.name);
        let message =
            format!("the lock in Pod {namespace}/{name} that keeps clean-ups from builds was lost: {reason}");
        let hint = "try again; if it happens again, see whether something ends commands in that pod, or connections of the API server";
        ClusterError::Pod(Diagnosis::other(ErrorKind::BuilderLost, message, hint).retryable())
    }
}

enum Answer {
    Held,
    Busy,
}

async fn first<S: AsyncRead + Unpin>(lines: &mut Lines<BufReader<S>>) -> Result<Answer, String> {
    let silent = |_| Err(format!("no answer within {} s", ANSWER_PATIENCE.as_secs()));
    timeout(ANSWER_PATIENCE, next(lines)).await.unwrap_or_else(silent)
}

async fn next<S: AsyncRead + Unpin>(lines: &mut Lines<BufReader<S>>) -> Result<Answer, String> {
    match lines.next_line().await {
        Ok(Some(line)) if line == "held" => Ok(Answer::Held),
        Ok(Some(line)) if line == "busy" => Ok(Answer::Busy),
        Ok(Some(line)) => Err(format!("it says `{line}`")),
        Ok(None) => Err("it ended at once".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads on, as what is not read blocks the command in the pod at some time.
fn held<S: AsyncRead + Unpin + Send + 'static>(mut lines: Lines<BufReader<S>>) -> Occupation {
    let holding = tokio::spawn(async move {
        loop {
            match timeout(HOLDING_PATIENCE, lines.next_line()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return "the command that held it has ended".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("nothing was heard of it for {} s", HOLDING_PATIENCE.as_secs()),
            }
        }
    });
    Occupation { holding }
}

#[cfg(test)]
mod tests;
