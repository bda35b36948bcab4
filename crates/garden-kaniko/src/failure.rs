use std::time::Duration;

use garden_build_core::{Error, ErrorKind};
use garden_registry::is_complaint_about_tls;

/// Says what it means that the executor exited with `exit_code`, from the last lines that it printed and the
/// Dockerfile instruction that was under way.
///
/// Source of the messages: kaniko, `cmd/executor/cmd/root.go` and `pkg/executor/build.go`.
pub(crate) fn explain(exit_code: i32, instruction: Option<&str>, tail: &[String]) -> Error {
    let last_words = tail.iter().rev().find(|line| is_last_word(line)).or(tail.last());
    let words = last_words.map_or("the executor printed nothing", |words| words.trim());
    classify(exit_code, instruction, words).with_log_tail(tail.to_vec())
}

const FETCH_HINT: &str = "pods fetch it from the pod of Deployment `garden-util` in their namespace: see whether network policies \
                          let them. `kaniko.contextDelivery: stdin` does without";

/// Says that the pod, which runs, has not come for its context.
pub(crate) fn not_fetched(namespace: &str, pod: &str, after: Duration) -> Error {
    let after = after.as_secs();
    let message = format!("Pod {namespace}/{pod} has not reached the context service within {after} s");
    Error::new(ErrorKind::Unreachable, message).with_hint(FETCH_HINT)
}

/// How the line begins with which a pod says that it did not get its context. Source: `service/files/build.sh`.
const NOT_ARRIVED: &str = "garden-build: the build context did not arrive: ";

/// How it begins if the context service, or the client's conversation with it, has ended too early. Source: the same.
const BROKE_OFF: &str = "garden-build: the build context broke off: ";

/// Whether the pod says that the context service, or the client's conversation with it, has ended too early.
pub(crate) fn service_broke_off(tail: &[String]) -> bool {
    tail.iter().any(|line| line.starts_with(BROKE_OFF))
}

fn classify(exit_code: i32, instruction: Option<&str>, words: &str) -> Error {
    let refused = ["UNAUTHORIZED", "DENIED", "401 Unauthorized", "403 Forbidden", "unauthorized"]
        .iter()
        .any(|sign| words.contains(sign));
    if let Some(reason) = words.strip_prefix(NOT_ARRIVED).or_else(|| words.strip_prefix(BROKE_OFF)) {
        return Error::new(
            ErrorKind::BuilderLost,
            format!(
                "the build context did not arrive whole in the builder's pod, so nothing was built: {reason}"
            ),
        )
        .with_hint(FETCH_HINT)
        .retryable();
    }
    if words.contains("error resolving source context") {
        return Error::new(
            ErrorKind::Unreachable,
            format!("the build context did not arrive whole, so nothing was built: {words}"),
        )
        .with_hint("the connection to the cluster broke; build again")
        .retryable();
    }
    if words.contains("error checking push permissions") || words.contains("error pushing image") {
        let kind = if refused { ErrorKind::Unauthorized } else { ErrorKind::PushFailed };
        let hint = if is_complaint_about_tls(words) {
            "set `insecure` of `deploymentRegistry` if it speaks plain HTTP, or its `caCertificate`"
        } else {
            "the builder pushes with the credentials of `imagePullSecrets`; they need write access to the deployment registry"
        };
        return Error::new(kind, format!("the image could not be pushed: {words}")).with_hint(hint);
    }
    if is_base_image_failure(words) {
        let kind = if refused {
            ErrorKind::Unauthorized
        } else if words.contains("MANIFEST_UNKNOWN") || words.contains("NAME_UNKNOWN") {
            ErrorKind::NotFound
        } else {
            ErrorKind::Unreachable
        };
        let hint = if is_complaint_about_tls(words) {
            "set `insecure` or `caCertificate` of `deploymentRegistry` if the image is there; for another registry, \
             `kaniko.extraFlags` takes kaniko's own `--insecure-registry` and `--registry-certificate`"
        } else {
            "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it"
        };
        return Error::new(kind, format!("a base image of the Dockerfile cannot be pulled: {words}"))
            .with_hint(hint);
    }
    let message = match instruction {
        Some(step) if words.contains("failed to execute command") => {
            format!("the step `{step}` failed with exit code {exit_code}")
        }
        Some(step) => format!("the build failed at `{step}`: {words}"),
        None => format!("the build failed: {words}"),
    };
    Error::new(
        ErrorKind::BuildFailed { step: instruction.map(str::to_owned), exit_code: Some(exit_code) },
        message,
    )
}

/// The line with which the executor ends, as opposed to what the Dockerfile's command printed.
fn is_last_word(line: &str) -> bool {
    [
        NOT_ARRIVED,
        BROKE_OFF,
        "error building image",
        "error pushing image",
        "error checking push permissions",
        "error resolving",
        "Error: ",
        "kaniko should only be run inside",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// Images are fetched before any instruction of their stage runs, and fail in the words of
/// go-containerregistry: the request that failed.
fn is_base_image_failure(words: &str) -> bool {
    words.contains("error building image")
        && !words.contains("failed to execute command")
        && (words.contains("/manifests/") || words.contains("/blobs/") || words.contains("/v2/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(last_line: &str, instruction: Option<&str>) -> ErrorKind {
        explain(1, instruction, &["noise".to_owned(), last_line.to_owned()]).kind().clone()
    }

    #[test]
    fn a_failing_command_is_named_with_its_exit_code_and_the_tail() {
        let tail = [
            "cc: no such file".to_owned(),
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3"
                .to_owned(),
        ];
        let error = explain(3, Some("RUN make"), &tail);
        assert_eq!(error.message(), "the step `RUN make` failed with exit code 3");
        assert_eq!(
            *error.kind(),
            ErrorKind::BuildFailed { step: Some("RUN make".to_owned()), exit_code: Some(3) }
        );
        assert_eq!(error.log_tail(), tail);
        assert!(!error.is_retryable(), "a failed step is never tried again");
    }

    #[test]
    fn what_the_command_printed_is_not_taken_for_the_executor_s_own_words() {
        let tail = [
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1".to_owned(),
            "UNAUTHORIZED: says the command, late".to_owned(),
        ];
        assert!(matches!(explain(1, Some("RUN x"), &tail).kind(), ErrorKind::BuildFailed { .. }));
    }

    #[test]
    fn causes_outside_the_dockerfile_are_told_apart() {
        assert_eq!(
            kind_of(
                "error checking push permissions -- make sure you entered the correct tag name: checking push permission for \"r/x\": POST https://r/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required",
                None
            ),
            ErrorKind::Unauthorized
        );
        assert_eq!(
            kind_of("error pushing image: failed to push to destination r/x:1: connection refused", None),
            ErrorKind::PushFailed
        );
        assert_eq!(
            kind_of(
                "error building image: GET https://r/v2/x/manifests/1: MANIFEST_UNKNOWN: manifest unknown",
                None
            ),
            ErrorKind::NotFound
        );
        assert_eq!(
            kind_of(
                "error building image: GET https://r/v2/x/manifests/1: UNAUTHORIZED: authentication required",
                None
            ),
            ErrorKind::Unauthorized
        );
        assert_eq!(kind_of("error resolving source context: unexpected EOF", None), ErrorKind::Unreachable);
    }

    #[test]
    fn a_registry_without_tls_that_is_trusted_is_not_mended_by_credentials() {
        for words in [
            "Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "Get \"https://r.example/v2/\": http: server gave HTTP response to HTTPS client",
        ] {
            for failed in ["error checking push permissions -- make sure …", "error building image"] {
                let error = explain(1, None, &[format!("{failed}: {words}")]);
                let hint = error.hint().unwrap_or_default();
                assert!(
                    hint.contains("`caCertificate`") && !hint.contains("imagePullSecrets"),
                    "{error}: {hint}"
                );
            }
        }
    }

    #[test]
    fn a_context_that_did_not_arrive_may_be_sent_again() {
        let error = explain(1, None, &["error resolving source context: gzip: invalid checksum".to_owned()]);
        assert!(error.is_retryable());
        for (start, broke_off) in [(NOT_ARRIVED, false), (BROKE_OFF, true)] {
            let tail = [format!("{start}nc: can't connect, or it was lost")];
            let error = explain(1, None, &tail);
            assert!(
                error.is_retryable() && error.message().ends_with("built: nc: can't connect, or it was lost"),
                "{error}"
            );
            assert_eq!(*error.kind(), ErrorKind::BuilderLost);
            assert_eq!(service_broke_off(&tail), broke_off);
        }
    }
}
