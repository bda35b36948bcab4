//! Runs the credential helpers that are in the daemon's image, with the rights that its pod has.

use std::fmt;
use std::io;
use std::time::Duration;

use garden_cluster::{Cluster, DaemonPod, PodStream};
use garden_registry::{HelperOutput, HelperProblem, HelperQuestion, Login};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a helper may take. The daemon waits 30 seconds for us.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer is used before the helper is asked again. The shortest-lived tokens known last five
/// minutes.
const KEPT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes. No credential is nearly that large.
const LONGEST_ANSWER: u64 = 256 * 1024;

/// What container runtimes say of a program that does not exist.
/// Source: Go, `os/exec.ErrNotFound`, which runc passes on; crun says the second.
const NO_PROGRAM: [&str; 2] = ["executable file not found", "No such file or directory"];

/// The helpers in a daemon's pod, and what they answered lately.
pub(crate) struct PodHelpers {
    cluster: Cluster,
    namespace: String,
    pod: DaemonPod,
    answers: Mutex<Vec<Answer>>,
}

struct Answer {
    question: HelperQuestion,
    login: Result<Login, HelperProblem>,
    until: Instant,
}

impl fmt::Debug for PodHelpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodHelpers").field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl PodHelpers {
    pub(crate) fn new(cluster: &Cluster, namespace: &str, pod: &DaemonPod) -> Self {
        let (cluster, namespace, pod) = (cluster.clone(), namespace.to_owned(), pod.clone());
        Self { cluster, namespace, pod, answers: Mutex::default() }
    }

    /// Asks a helper, unless it was asked a moment ago.
    pub(crate) async fn ask(&self, question: &HelperQuestion) -> Result<Login, HelperProblem> {
        let mut answers = self.answers.lock().await;
        answers.retain(|answer| answer.until > Instant::now());
        if let Some(answer) = answers.iter().find(|answer| answer.question == *question) {
            return answer.login.clone();
        }
        let running = run(&self.cluster, &self.namespace, &self.pod, question);
        let ended = tokio::time::timeout(PATIENCE, running).await;
        let login = ended.map_or_else(
            |_| {
                let reason = format!("it did not answer within {} s", PATIENCE.as_secs());
                Err(HelperProblem::Failed { reason })
            },
            |(stdout, end)| read(&stdout, &end),
        );
        let (question, kept) = (question.clone(), login.clone());
        answers.push(Answer { question, login: kept, until: Instant::now() + KEPT });
        login
    }

    /// Forgets all answers: one of them was refused.
    pub(crate) async fn forget(&self) {
        self.answers.lock().await.clear();
    }
}

/// Returns what the helper wrote, and how it ended.
async fn run(
    cluster: &Cluster,
    namespace: &str,
    pod: &DaemonPod,
    question: &HelperQuestion,
) -> (Vec<u8>, Result<(), String>) {
    let program = question.helper.program();
    let command = [program.as_str(), "get"];
    let stream = PodStream::exec(cluster, namespace, &pod.name, pod.container, &command).await;
    let mut stdout = Vec::new();
    let end = match stream {
        Ok(stream) => talk(stream, &question.server, &mut stdout).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    (stdout, end)
}

async fn talk(mut stream: PodStream, server: &str, stdout: &mut Vec<u8>) -> io::Result<()> {
    let asked = async {
        stream.write_all(server.as_bytes()).await?;
        // Helpers read to the end of their input.
        stream.shutdown().await
    };
    // One that has ended before, or does not exist, is not listening. Why, its end says.
    let _ = asked.await;
    stream.take(LONGEST_ANSWER).read_to_end(stdout).await?;
    Ok(())
}

/// Reads a helper's answer. How the command failed is all that is known of its standard error stream.
fn read(stdout: &[u8], end: &Result<(), String>) -> Result<Login, HelperProblem> {
    let complaint = end.as_ref().err().map_or("", String::as_str);
    if stdout.is_empty() && NO_PROGRAM.iter().any(|words| complaint.contains(words)) {
        return Err(HelperProblem::NotInstalled);
    }
    HelperOutput { succeeded: end.is_ok(), stdout, stderr: complaint.as_bytes() }.login()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_helper_that_is_not_there_from_one_that_fails() {
        let failed = |reason: &str| read(b"", &Err(reason.to_owned())).expect_err("no login");
        let missing =
            "error executing command: exec: \"docker-credential-x\": executable file not found in $PATH";
        assert_eq!(failed(missing), HelperProblem::NotInstalled);
        assert!(
            matches!(failed("exit code 1: no route"), HelperProblem::Failed { reason } if reason.contains("no route"))
        );
        let nothing = b"credentials not found in native keychain\n";
        let end = Err("exit code 1".to_owned());
        assert_eq!(read(nothing, &end).expect_err("no login"), HelperProblem::NoLogin);
        assert!(read(br#"{"Username":"u","Secret":"s"}"#, &Ok(())).is_ok());
    }
}
