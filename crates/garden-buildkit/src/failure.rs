//! What a failure of the daemon means to the one who wanted the image.

use garden_build_core::{Error, ErrorKind};

use crate::client::{ClientError, Failure, SourceLines};
use crate::progress::Progress;

/// Says what happened and what to do, with the end of what the failed step printed.
pub(crate) fn explain(error: ClientError, progress: &Progress) -> Error {
    match error {
        ClientError::Failed(failure) => {
            let vertex = failure.vertex.as_deref().unwrap_or_default();
            explain_build(&failure, progress.instruction(vertex)).with_log_tail(progress.tail(vertex))
        }
        lost => Error::new(ErrorKind::BuilderLost, lost.to_string())
            .with_hint("build again; if it happens again, look at the log of Deployment garden-buildkit")
            .with_source(lost)
            .retryable(),
    }
}

/// The daemon has no classes for failures, so its words have to do. Their sources: `BuildKit`,
/// `frontend/dockerui`, `solver/llbsolver/ops/exec.go`, `util/push`, and containerd's `core/remotes/docker`.
fn explain_build(failure: &Failure, instruction: Option<&str>) -> Error {
    let words = failure.message.as_str();
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let refused = says(&[
        "401 Unauthorized",
        "unauthorized",
        "insufficient_scope",
        "authorization failed",
        "no basic auth credentials",
    ]);
    let denied = says(&["403 Forbidden", "denied"]);
    let place = failure.sources.last();

    if failure.code == tonic::Code::Cancelled || failure.code == tonic::Code::Unavailable {
        return Error::new(ErrorKind::BuilderLost, format!("the BuildKit daemon stopped the build: {words}"))
            .with_hint("build again")
            .retryable();
    }
    if says(&["failed to push", "push access denied"]) {
        let kind = match (refused, denied) {
            (true, _) => ErrorKind::Unauthorized,
            (_, true) => ErrorKind::PermissionDenied,
            _ => ErrorKind::PushFailed,
        };
        return Error::new(kind, format!("the image could not be pushed: {words}")).with_hint(
            "the builder pushes with the credentials of `imagePullSecrets`; they need write access to the deployment registry",
        );
    }
    if says(&["cannot allocate memory"]) {
        return Error::new(ErrorKind::OutOfMemory, step_failed(words, instruction, place))
            .with_hint("raise `resources.builder.limits.memory`");
    }
    if says(&["no space left on device"]) {
        return Error::new(
            ErrorKind::BuildFailed { step: None, exit_code: None },
            format!("the builder's disk is full: {words}"),
        )
        .with_hint("give the daemon a volume with `clusterBuildkit.storage`, or a larger one");
    }
    if let Some(exit_code) = failure.exit_code() {
        let step = instruction.or(place.map(|place| place.text.as_str())).map(str::to_owned);
        let message = format!("{} with exit code {exit_code}", step_failed_of(step.as_deref(), place));
        return Error::new(ErrorKind::BuildFailed { step, exit_code: Some(exit_code) }, message);
    }
    if says(&["failed to resolve source metadata", "failed to load cache key", "pull access denied"])
        && says(&["docker.io", "/", ":"])
        && instruction.is_none_or(|name| !name.starts_with("COPY") && !name.starts_with("ADD"))
    {
        let kind = match (refused, denied) {
            (true, _) => ErrorKind::Unauthorized,
            (_, true) => ErrorKind::PermissionDenied,
            _ if says(&["not found"]) => ErrorKind::NotFound,
            _ => ErrorKind::Unreachable,
        };
        let message = format!("a base image of the Dockerfile cannot be pulled{}: {words}", at(place));
        return Error::new(kind, message).with_hint(
            "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it; \
             registries with plain HTTP or a private CA have to be in `clusterBuildkit.registries`",
        );
    }
    let error = Error::new(
        ErrorKind::BuildFailed { step: instruction.map(str::to_owned), exit_code: None },
        step_failed(words, instruction, place),
    );
    if says(&["secret ", "not found"]) && words.contains("secret ") {
        return error.with_hint("give the request the secret of this id: `BuildRequest::secret`");
    }
    if says(&["no SSH key", "no SSH agent"]) {
        return error.with_hint("forward an agent under this id: `BuildRequest::ssh_agent`");
    }
    if words.contains("failed to calculate checksum") && words.contains("not found") {
        return error.with_hint("the file is not in the build context, or an ignore file excludes it");
    }
    error
}

fn step_failed(words: &str, instruction: Option<&str>, place: Option<&SourceLines>) -> String {
    match instruction {
        Some(_) => format!("{}: {words}", step_failed_of(instruction, place)),
        None => format!("the build failed{}: {words}", at(place)),
    }
}

fn step_failed_of(instruction: Option<&str>, place: Option<&SourceLines>) -> String {
    match instruction {
        Some(instruction) => format!("the step `{instruction}`{} failed", at(place)),
        None => format!("a step{} failed", at(place)),
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
