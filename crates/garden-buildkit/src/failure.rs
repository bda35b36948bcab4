//! What a failure of the daemon means to the one who wanted the image.

use garden_build_core::{Error, ErrorKind};
use garden_registry::{ToldRefusal, is_complaint_about_tls, told_refusal};
use tonic::Code;

use self::said::Said;
use crate::client::{ClientError, Failure, SourceLines};
use crate::progress::Progress;

mod said;

/// What to do about troubles that are mended where the daemon runs.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// Steps need more memory than there is. The end of a sentence.
    pub memory: &'static str,
    /// The daemon's disk is full.
    pub disk: &'static str,
    /// The daemon is not reached any more.
    pub lost: &'static str,
    /// The daemon may not push the image.
    pub push: &'static str,
    /// The daemon may not pull a base image.
    pub base_image: &'static str,
    /// A registry has no TLS, or a certificate of an authority that the daemon does not know.
    pub registry: &'static str,
}

/// What to do about the daemon of a project's namespace.
pub(crate) const OF_NAMESPACE: Advice = Advice {
    memory: "raise `resources.builder.limits.memory`, which the daemon shares with all steps",
    disk: "the daemon's disk is full: give it a volume with `clusterBuildkit.storage`, or a larger one",
    lost: "build again; if it happens again, look at the log of Deployment garden-buildkit",
    push: "the builder pushes with the credentials of `imagePullSecrets`; they need write access to the deployment registry",
    base_image: "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it",
    registry: "set `insecure` of this registry if it speaks plain HTTP, or `caCertificate`: in `deploymentRegistry`, where \
               `clusterBuildkit.cache` names it, or in `clusterBuildkit.registries`",
};

/// What a shell reports of a command that was killed with signal 9. The kernel does so to processes
/// that take more memory than there is, and then nobody but the kernel knows why.
const KILLED: i32 = 128 + 9;

/// Says what happened and what to do, with the end of what the failed step printed.
pub(crate) fn explain(error: ClientError, progress: &Progress, advice: Advice) -> Error {
    match error {
        ClientError::Failed(failure) => {
            let vertex = failure.vertex.as_deref().unwrap_or_default();
            explain_build(&failure, progress.instruction(vertex), advice).with_log_tail(progress.tail(vertex))
        }
        lost => Error::new(ErrorKind::BuilderLost, lost.to_string())
            .with_hint(advice.lost)
            .with_source(lost)
            .retryable(),
    }
}

/// Whether the daemon could not push one of `names`. It stops at the first that fails.
pub(crate) fn is_push_of(failure: &Failure, names: &[String]) -> bool {
    matches!(said::read(&failure.message), Said::Push { name, .. } if names.iter().any(|it| it == name))
}

/// Whether the cluster's refusal to connect us may mean that the pod has just gone. What concerns
/// our own rights does not.
pub(crate) fn may_be_the_daemon_s_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unreachable | ErrorKind::Unexpected)
}

/// Says that the daemon was there a moment ago and cannot be reached.
pub(crate) fn unreached(error: Error) -> Error {
    let message = format!("the BuildKit daemon cannot be reached: {}", error.message());
    Error::new(ErrorKind::BuilderLost, message).with_hint("build again").with_source(error).retryable()
}

/// What a failed build is about.
struct Failed<'a> {
    advice: Advice,
    words: String,
    instruction: Option<&'a str>,
    place: Option<&'a SourceLines>,
}

fn explain_build(failure: &Failure, instruction: Option<&str>, advice: Advice) -> Error {
    let words = without_repeats(&failure.message);
    let failed = Failed { advice, words, instruction, place: failure.sources.last() };
    if let Some(exit_code) = failure.exit_code() {
        return failed.command(exit_code);
    }
    if failure.code == Code::Cancelled {
        let message = format!("the BuildKit daemon stopped the build: {}", failed.words);
        return Error::new(ErrorKind::BuilderLost, message).with_hint("build again").retryable();
    }
    match said::read(&failure.message) {
        Said::NoMemory => Error::new(ErrorKind::OutOfMemory, failed.message()).with_hint(advice.memory),
        Said::FullDisk => failed.build_failed().with_hint(advice.disk),
        Said::Push { reason, .. } => failed.push(reason),
        Said::BaseImage { reason } => failed.base_image(reason),
        Said::MissingFile { path } => failed.missing_file(path),
        Said::MissingSecret => {
            failed.build_failed().with_hint("give the request the secret of this id: `BuildRequest::secret`")
        }
        Said::MissingAgent => {
            failed.build_failed().with_hint("forward an agent under this id: `BuildRequest::ssh_agent`")
        }
        Said::Other => failed.build_failed(),
    }
}

impl Failed<'_> {
    /// A command of the Dockerfile ended with `exit_code`.
    fn command(&self, exit_code: i32) -> Error {
        let message = format!("{} with exit code {exit_code}", self.subject());
        let error = Error::new(self.kind(Some(exit_code)), message);
        if exit_code == KILLED {
            return error
                .with_hint(format!("it was killed; if it was for its memory, {}", self.advice.memory));
        }
        error
    }

    fn push(&self, reason: &str) -> Error {
        let message = format!("the image could not be pushed: {}", self.words);
        let kind = match told_refusal(reason) {
            Some(ToldRefusal::Unauthorized) => ErrorKind::Unauthorized,
            Some(ToldRefusal::Denied) => ErrorKind::PermissionDenied,
            _ => ErrorKind::PushFailed,
        };
        Error::new(kind, message).with_hint(self.registry_hint(reason, self.advice.push))
    }

    fn base_image(&self, reason: &str) -> Error {
        let kind = match told_refusal(reason) {
            Some(ToldRefusal::Unauthorized) => ErrorKind::Unauthorized,
            Some(ToldRefusal::Denied) => ErrorKind::PermissionDenied,
            Some(ToldRefusal::Missing) => ErrorKind::NotFound,
            _ => ErrorKind::Unreachable,
        };
        let message = format!("a base image{} cannot be pulled: {}", at(self.place), self.words);
        Error::new(kind, message).with_hint(self.registry_hint(reason, self.advice.base_image))
    }

    /// What to do about a registry that has failed for this reason; `usual` if nothing more is known.
    fn registry_hint(&self, reason: &str, usual: &'static str) -> &'static str {
        let remedy = told_refusal(reason).and_then(ToldRefusal::remedy);
        remedy.unwrap_or(if is_complaint_about_tls(reason) { self.advice.registry } else { usual })
    }

    fn missing_file(&self, path: &str) -> Error {
        let text = self.instruction.or(self.place.map(|place| place.text.as_str()));
        let (place, hint) = match text.and_then(said::read_from) {
            Some(from) => (
                format!("in `{from}`"),
                "check the path, which starts at the root of that stage, image or context, and what makes the file there",
            ),
            None => (
                "in the build context".to_owned(),
                "check the path, which starts at the context's root, and that no ignore file excludes it",
            ),
        };
        Error::new(self.kind(None), format!("{}: `{path}` is not {place}", self.subject())).with_hint(hint)
    }

    fn build_failed(&self) -> Error {
        Error::new(self.kind(None), self.message())
    }

    fn kind(&self, exit_code: Option<i32>) -> ErrorKind {
        let step = self.instruction.or(self.place.map(|place| place.text.as_str()));
        ErrorKind::BuildFailed { step: step.map(str::to_owned), exit_code }
    }

    fn message(&self) -> String {
        format!("{}: {}", self.subject(), self.words)
    }

    fn subject(&self) -> String {
        match self.instruction {
            Some(instruction) => format!("the step `{instruction}`{} failed", at(self.place)),
            None => format!("the build failed{}", at(self.place)),
        }
    }
}

/// Names the lines: ` (Dockerfile:3)`.
fn at(place: Option<&SourceLines>) -> String {
    match place {
        None => String::new(),
        Some(SourceLines { file, first, last, .. }) if first == last => format!(" ({file}:{first})"),
        Some(SourceLines { file, first, last, .. }) => format!(" ({file}:{first}-{last})"),
    }
}

/// Each layer of the daemon puts the image's name before what it heard from the one below.
fn without_repeats(message: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in message.split(": ") {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests;
