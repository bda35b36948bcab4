//! Runs the credential helpers that are in the daemon's image, with the rights that its pod has.

use std::io;

use futures::future::BoxFuture;
use garden_cluster::{Cluster, DaemonPod, PodStream, missing_program};
use garden_registry::{HelperName, HelperOutput, HelperProblem, Login, RunHelper};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The longest answer that is read, in bytes. No credential is nearly that large.
const LONGEST_ANSWER: u64 = 256 * 1024;

/// The helpers in a daemon's pod.
#[derive(Debug)]
pub(super) struct PodHelpers {
    cluster: Cluster,
    namespace: String,
    pod: DaemonPod,
}

impl PodHelpers {
    pub(super) fn new(cluster: &Cluster, namespace: &str, pod: &DaemonPod) -> Self {
        let (cluster, namespace, pod) = (cluster.clone(), namespace.to_owned(), pod.clone());
        Self { cluster, namespace, pod }
    }

    /// Returns what the helper wrote, and how it ended.
    async fn output(&self, helper: &HelperName, server: &str) -> (Vec<u8>, Result<(), String>) {
        let Self { cluster, namespace, pod } = self;
        let program = helper.program();
        let command = [program.as_str(), "get"];
        let stream = PodStream::exec(cluster, namespace, &pod.name, pod.container, &command).await;
        let mut stdout = Vec::new();
        let end = match stream {
            Ok(stream) => talk(stream, server, &mut stdout).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        (stdout, end)
    }
}

impl RunHelper for PodHelpers {
    fn run<'a>(
        &'a self,
        helper: &'a HelperName,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Login, HelperProblem>> {
        Box::pin(async move {
            let (stdout, end) = self.output(helper, server).await;
            read(&stdout, &end)
        })
    }
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
    if stdout.is_empty() && missing_program(complaint).is_some() {
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
