//! What a failure of the daemon means to the one who wanted the image.

use garden_build_core::{Error, ErrorKind, FailedStep, Hint, Remedy};
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
    pub memory: Remedy,
    /// The daemon's disk is full.
    pub disk: Remedy,
    /// The daemon is not reached any more.
    pub lost: Remedy,
    /// The daemon may not push the image.
    pub push: Remedy,
    /// The daemon may not pull a base image.
    pub base_image: Remedy,
    /// A registry has no TLS, or a certificate of an authority that the daemon does not know.
    pub registry: Remedy,
}

/// What to do about the daemon of a project's namespace.
pub(crate) const OF_NAMESPACE: Advice = Advice {
    memory: Remedy::set(
        &["resources.builder.limits.memory"],
        "raise `resources.builder.limits.memory`, which the daemon shares with all steps",
    ),
    disk: Remedy::set(
        &["clusterBuildkit.storage"],
        "the daemon's disk is full: give it a volume with `clusterBuildkit.storage`, or a larger one",
    ),
    lost: Remedy::build_again(
        "build again; if it happens again, look at the log of Deployment garden-buildkit",
    ),
    push: Remedy::log_in(
        &["imagePullSecrets"],
        "the builder pushes with the credentials of `imagePullSecrets`; they need write access to the deployment registry",
    ),
    base_image: Remedy::log_in(
        &["imagePullSecrets"],
        "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it",
    ),
    registry: Remedy::set(
        &["deploymentRegistry", "clusterBuildkit.cache", "clusterBuildkit.registries"],
        "set `insecure` of this registry if it speaks plain HTTP, or `caCertificate`: in `deploymentRegistry`, where \
               `clusterBuildkit.cache` names it, or in `clusterBuildkit.registries`",
    ),
};

const SECRET: Remedy = Remedy::request(&["secrets"], "give the request the secret of this id in `secrets`");
const AGENT: Remedy =
    Remedy::request(&["sshAgents"], "forward an agent under this id with the request's `sshAgents`");

/// What to do about a command that was killed: nobody says what for. `memory` is what to do if it was for that.
pub fn memory_perhaps(memory: Remedy) -> Hint {
    Hint::from(memory).with_text(format!("it was killed; if it was for its memory, {memory}"))
}

/// What a shell reports of a command that was killed with signal 9. The kernel does so to processes
/// that take more memory than there is, and then nobody but the kernel knows why.
const KILLED: i32 = 128 + 9;

/// Explains what happened and what to do, with the end of what the failed step printed.
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

/// States that the daemon was there a moment ago and cannot be reached.
pub(crate) fn unreached(error: Error) -> Error {
    let message = format!("the BuildKit daemon cannot be reached: {}", error.message());
    Error::new(ErrorKind::BuilderLost, message)
        .with_hint(Remedy::build_again("build again"))
        .with_source(error)
        .retryable()
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
        return Error::new(ErrorKind::BuilderLost, message)
            .with_hint(Remedy::build_again("build again"))
            .retryable();
    }
    match said::read(&failure.message) {
        Said::NoMemory => Error::new(ErrorKind::OutOfMemory, failed.message()).with_hint(advice.memory),
        Said::FullDisk => failed.in_its_words().with_hint(advice.disk),
        Said::Push { reason, .. } => failed.push(reason),
        Said::BaseImage { name, reason } => failed.base_image(name, reason),
        Said::MissingFile { path } => failed.missing_file(path),
        Said::MissingSecret => failed.in_its_words().with_hint(SECRET),
        Said::MissingAgent => failed.in_its_words().with_hint(AGENT),
        Said::Other => failed.in_its_words(),
    }
}

impl Failed<'_> {
    /// A command of the Dockerfile ended with `exit_code`.
    fn command(&self, exit_code: i32) -> Error {
        let message = format!("{} with exit code {exit_code}", self.subject());
        let error = self.build_failed(Some(exit_code), message);
        if exit_code == KILLED {
            return error.with_hint(memory_perhaps(self.advice.memory));
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

    fn base_image(&self, name: &str, reason: &str) -> Error {
        let kind = match told_refusal(reason) {
            Some(ToldRefusal::Unauthorized) => ErrorKind::Unauthorized,
            Some(ToldRefusal::Denied) => ErrorKind::PermissionDenied,
            Some(ToldRefusal::Missing) => ErrorKind::NotFound,
            _ => ErrorKind::Unreachable,
        };
        let message = format!("the base image {name}{} cannot be pulled: {}", at(self.place), self.words);
        Error::new(kind, message).with_hint(self.registry_hint(reason, self.advice.base_image))
    }

    /// What to do about a registry that has failed for this reason; `usual` if nothing more is known.
    fn registry_hint(&self, reason: &str, usual: Remedy) -> Remedy {
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
        self.build_failed(None, format!("{}: `{path}` is not {place}", self.subject())).with_hint(hint)
    }

    /// The build failed in the daemon's words.
    fn in_its_words(&self) -> Error {
        self.build_failed(None, self.message())
    }

    fn build_failed(&self, exit_code: Option<i32>, message: String) -> Error {
        let step = self.instruction.or(self.place.map(|place| place.text.as_str()));
        Error::build_failed(FailedStep::new(step.map(str::to_owned), exit_code), message)
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
