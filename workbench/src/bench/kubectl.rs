//! What one does by hand with `kubectl`: builds in a pod that is fed by standard input, and copies into a pod.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::contest::{Built, Request};
use super::process::{self, Reports};
use crate::testbed;

/// The name of the pod that contexts are sent to.
const RECEIVER: &str = "receiver";

/// Where `tar | kubectl exec` unpacks what it sends.
const UNPACKED: &str = "/received";

/// Where rsync keeps what it has sent, and where its program and the libraries that this needs are.
const SYNCHRONISED: &str = "/synchronised";
const RSYNC: &str = "/rsync";

/// The command `kubectl`, and a pod to send contexts to.
pub(super) struct Kubectl {
    pub(super) kubeconfig: PathBuf,
    pub(super) namespace: String,
    pub(super) registry: String,
    pub(super) image: String,
}

impl Kubectl {
    pub(super) fn start_receiver(&self) -> Result<()> {
        let image = format!("--image={}", self.image);
        let pod = ["run", RECEIVER, &image, "--restart=Never", "--command", "--", "/busybox/sleep", "100000"];
        self.succeed(&self.namespace, &pod)?;
        let ready = ["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{RECEIVER}")];
        self.succeed(&self.namespace, &ready)
    }

    /// Builds in a pod that gets its context by standard input.
    pub(super) fn build(&self, request: &Request) -> Result<Built> {
        let name = format!("{}-{}", request.repository, request.tag);
        let repository = format!("{}/{}/{}", self.registry, self.namespace, request.repository);
        let mut command = self.shell(
            "tar -C \"$DIRECTORY\" -cf - . | gzip -1 | kubectl run \"$NAME\" --quiet --rm -i --restart=Never --image=\"$IMAGE\" -- \
             --context=tar://stdin --destination=\"$REPOSITORY:$TAG\" --insecure-registry=\"$REGISTRY\" --force \
             --cache=true --cache-repo=\"$REPOSITORY/cache\" --push-retry=3 --image-download-retry=3 >&2",
        );
        command.env("NAME", name).env("REPOSITORY", repository).env("DIRECTORY", &request.directory);
        command.env("REGISTRY", &self.registry).env("TAG", &request.tag);
        let needed = process::run(&mut command, b"", Reports::OnErrors, |_| ())?;
        Ok(Built::by_peer(needed, Some(self.deliver(&request.directory)?)))
    }

    /// Sends the whole context, and returns how many seconds that took.
    fn deliver(&self, directory: &Path) -> Result<f64> {
        self.in_receiver(&format!("rm -rf {UNPACKED} && mkdir {UNPACKED}"))?;
        let script = format!(
            "tar -C \"$DIRECTORY\" -cf - . | kubectl exec -i {RECEIVER} -- /busybox/tar -xf - -C {UNPACKED}"
        );
        seconds(self.shell(&script).env("DIRECTORY", directory))
    }

    /// Starts a pod of the executor's image, and returns after how many seconds it is heard.
    pub(super) fn start_pod(&self) -> Result<f64> {
        let mut command = self.shell(
            "kubectl run first-word --quiet --rm -i --restart=Never --image=\"$IMAGE\" --command -- /busybox/echo started",
        );
        let (begun, mut heard) = (Instant::now(), None);
        process::run(&mut command, b"", Reports::OnOutput, |_| {
            heard.get_or_insert_with(|| begun.elapsed().as_secs_f64());
        })?;
        heard.context("the pod said nothing")
    }

    /// Takes rsync with all its libraries into the pod: the executor's image has none.
    pub(super) fn install_rsync(&self) -> Result<()> {
        testbed::install_peer("rsync")?;
        let script = format!(
            "tar --dereference --transform 's|.*/||' -cf - -P $(ldd \"$(command -v rsync)\" | grep -o '/[^ ]*') \"$(command -v rsync)\" \
             | kubectl exec -i {RECEIVER} -- /busybox/sh -c 'mkdir {RSYNC} && tar -xf - -C {RSYNC} && mv {RSYNC}/ld-linux* {RSYNC}/loader'"
        );
        process::output(&mut self.shell(&script)).map(drop)
    }

    /// Has rsync make what it has sent before what `directory` is now, and returns how many seconds that took.
    pub(super) fn synchronise(&self, directory: &Path) -> Result<f64> {
        // rsync calls it with a host, which says nothing here, and a command for a shell.
        let remote_shell =
            format!("sh -c 'shift; exec kubectl exec -i {RECEIVER} -- /busybox/sh -c \"$*\"' sh");
        let script = format!(
            "rsync --archive --delete --compress --blocking-io --rsh=\"$REMOTE_SHELL\" \
             --rsync-path='{RSYNC}/loader --library-path {RSYNC} {RSYNC}/rsync' \"$DIRECTORY/\" receiver:{SYNCHRONISED}"
        );
        let remote_shell = self.in_namespace(&remote_shell);
        seconds(self.shell(&script).env("REMOTE_SHELL", remote_shell).env("DIRECTORY", directory))
    }

    /// Removes all that was sent.
    pub(super) fn empty_receiver(&self) -> Result<()> {
        self.in_receiver(&format!("rm -rf {UNPACKED} {SYNCHRONISED}"))
    }

    fn in_receiver(&self, script: &str) -> Result<()> {
        self.succeed(&self.namespace, &["exec", RECEIVER, "--", "/busybox/sh", "-c", script])
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-c", &self.in_namespace(script)])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("IMAGE", &self.image);
        command
    }

    fn in_namespace(&self, script: &str) -> String {
        script.replace("kubectl ", &format!("kubectl -n {} ", self.namespace))
    }

    /// Has kubectl do something, in whatever namespace.
    pub(super) fn succeed(&self, namespace: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).args(["-n", namespace]).args(arguments);
        process::output(&mut command).map(drop)
    }
}

/// Runs a command, and returns how many seconds it took.
fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    process::output(command)?;
    Ok(started.elapsed().as_secs_f64())
}
