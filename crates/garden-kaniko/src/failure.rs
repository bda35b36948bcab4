use std::time::Duration;

use garden_build_core::{Error, ErrorKind, FailedStep, Remedy, seconds};
use garden_registry::{ToldRefusal, is_complaint_about_tls, told_refusal};

use self::last_word::{LastWord, is_last_word};
use crate::progress::Progress;

mod last_word;

/// Explains what it means that the executor exited with `exit_code`, from what is known of its log.
pub(crate) fn explain(exit_code: i32, progress: &Progress) -> Error {
    explain_words(exit_code, progress.has_begun(), progress.instruction(), progress.tail())
}

/// Explains it from the last lines that the executor printed and the Dockerfile instruction that was under way.
fn explain_words(exit_code: i32, has_begun: bool, instruction: Option<&str>, tail: &[String]) -> Error {
    let last_words = tail.iter().rev().find(|line| is_last_word(line)).or(tail.last());
    let words = last_words.map_or("the executor printed nothing", |words| words.trim());
    classify(exit_code, has_begun, instruction, words).with_log_tail(tail.to_vec())
}

const FETCH_HINT: Remedy = Remedy::set(
    &["kaniko.contextDelivery"],
    "pods fetch it from the pod of Deployment `garden-util` in their namespace: see whether network policies \
                          let them. `kaniko.contextDelivery: stdin` does without",
);

/// States that the pod, which runs, has not come for its context.
pub(crate) fn not_fetched(namespace: &str, pod: &str, after: Duration) -> Error {
    let after = seconds(after);
    let message = format!("Pod {namespace}/{pod} has not reached the context service within {after}");
    Error::new(ErrorKind::Unreachable, message).with_hint(FETCH_HINT)
}

/// States that the connection over which the pod gets its context does not hold. The pod itself may be well, but cannot be given the rest over another.
pub(crate) fn connection_broke(namespace: &str, pod: &str, error: Error) -> Error {
    let message = format!("the connection to Pod {namespace}/{pod} broke: {}", error.message());
    Error::new(ErrorKind::BuilderLost, message)
        .with_hint(Remedy::build_again("build again"))
        .with_source(error)
        .retryable()
}

/// What to do about a context service that gives something else than it was sent.
const ALTERED_HINT: Remedy = Remedy::set(
    &["kaniko.contextDelivery"],
    "whoever may run commands in the pod of Deployment `garden-util` can change what it keeps: find out who does. Build again, \
                            which sends the context anew; if it stays so, delete the Deployment and the PersistentVolumeClaim of that name, or set \
                            `kaniko.contextDelivery: stdin`",
);

/// Whether the pod says that what the context service gave is not what the client has. A step may print the like, but runs only when
/// the context is there.
pub(crate) fn context_was_altered(progress: &Progress) -> bool {
    !progress.has_begun() && progress.tail().iter().any(|line| last_word::says_altered(line))
}

/// Whether the pod says that the context service, or the client's conversation with it, has ended too early.
pub(crate) fn service_broke_off(progress: &Progress) -> bool {
    !progress.has_begun() && progress.tail().iter().any(|line| last_word::says_broken_off(line))
}

fn classify(exit_code: i32, has_begun: bool, instruction: Option<&str>, words: &str) -> Error {
    let of_build = |message: String| {
        Error::build_failed(FailedStep::new(instruction.map(str::to_owned), Some(exit_code)), message)
    };
    let failed = |reason: &str| match instruction {
        Some(step) => format!("the build failed at `{step}`: {reason}"),
        None => format!("the build failed: {reason}"),
    };
    let last_word = match last_word::read(words) {
        // A build that was at its steps had its context, and is not to begin again because one of them says otherwise.
        LastWord::NotArrived { .. } | LastWord::Altered { .. } | LastWord::BrokenContext if has_begun => {
            LastWord::Other
        }
        other => other,
    };
    match last_word {
        LastWord::NotArrived { reason } => Error::new(
            ErrorKind::BuilderLost,
            format!(
                "the build context did not arrive whole in the builder's pod, so nothing was built: {reason}"
            ),
        )
        .with_hint(FETCH_HINT)
        .retryable(),
        // What is sent again is right.
        LastWord::Altered { reason } => Error::new(
            ErrorKind::BuilderLost,
            format!("the context service gave the builder's pod something else than was sent, so nothing was built: {reason}"),
        )
        .with_hint(ALTERED_HINT)
        .retryable(),
        // The build is not at fault when a connection breaks, so it begins again.
        LastWord::BrokenContext => Error::new(
            ErrorKind::BuilderLost,
            format!("the build context did not arrive whole, so nothing was built: {words}"),
        )
        .with_hint(Remedy::build_again("the connection to the cluster broke; build again"))
        .retryable(),
        LastWord::Push { reason } => not_pushed(words, reason),
        LastWord::BaseImage { reason } => not_pulled(words, reason),
        LastWord::MissingFile { path } => {
            of_build(failed(&format!("`{path}` is not in the build context"))).with_hint(
                "check the path, which starts at the context's root, and that no ignore file excludes it",
            )
        }
        LastWord::Command => {
            let step = instruction.map(|step| format!("the step `{step}`"));
            let step = step.as_deref().unwrap_or("a command of the Dockerfile");
            of_build(format!("{step} failed with exit code {exit_code}"))
        }
        LastWord::Instruction { reason } => of_build(failed(reason)),
        LastWord::Other => of_build(failed(words)),
    }
}

/// States that the registry does not take the image, for the `reason` in the executor's `words`.
fn not_pushed(words: &str, reason: &str) -> Error {
    let refusal = told_refusal(reason);
    let kind = match refusal {
        Some(ToldRefusal::Unauthorized) => ErrorKind::Unauthorized,
        Some(ToldRefusal::Denied) => ErrorKind::PermissionDenied,
        _ => ErrorKind::PushFailed,
    };
    let hint = match refusal.and_then(ToldRefusal::remedy) {
        Some(remedy) => remedy,
        None if is_complaint_about_tls(reason) => Remedy::set(
            &["deploymentRegistry.insecure", "deploymentRegistry.caCertificate"],
            "set `insecure` of `deploymentRegistry` if it speaks plain HTTP, or its `caCertificate`",
        ),
        None => Remedy::log_in(
            &["imagePullSecrets"],
            "the builder pushes with the credentials of `imagePullSecrets`; they need write access to the deployment registry",
        ),
    };
    Error::new(kind, format!("the image could not be pushed: {words}")).with_hint(hint)
}

/// States that a registry does not hand out a base image, for the `reason` in the executor's `words`.
fn not_pulled(words: &str, reason: &str) -> Error {
    let refusal = told_refusal(reason);
    let kind = match refusal {
        Some(ToldRefusal::Unauthorized) => ErrorKind::Unauthorized,
        Some(ToldRefusal::Denied) => ErrorKind::PermissionDenied,
        Some(ToldRefusal::Missing) => ErrorKind::NotFound,
        _ => ErrorKind::Unreachable,
    };
    let hint = match refusal.and_then(ToldRefusal::remedy) {
        Some(remedy) => remedy,
        None if is_complaint_about_tls(reason) => Remedy::set(
            &["deploymentRegistry.insecure", "deploymentRegistry.caCertificate", "kaniko.extraFlags"],
            "set `insecure` or `caCertificate` of `deploymentRegistry` if the image is there; for another registry, \
                 `kaniko.extraFlags` takes kaniko's own `--insecure-registry` and `--registry-certificate`",
        ),
        None => Remedy::log_in(
            &["imagePullSecrets"],
            "check the name in FROM, that the cluster reaches its registry, and that `imagePullSecrets` has credentials for it",
        ),
    };
    let image = match last_word::asked_for(reason) {
        Some(image) => format!("the base image {image}"),
        None => "a base image of the Dockerfile".to_owned(),
    };
    Error::new(kind, format!("{image} cannot be pulled: {words}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use garden_build_core::event_channel;

    use super::*;

    fn kind_of(last_line: &str, instruction: Option<&str>) -> ErrorKind {
        explain_words(1, instruction.is_some(), instruction, &["noise".to_owned(), last_line.to_owned()])
            .kind()
    }

    #[test]
    fn a_failing_command_is_named_with_its_exit_code_and_the_tail() {
        let tail = [
            "cc: no such file".to_owned(),
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3"
                .to_owned(),
        ];
        let error = explain_words(3, true, Some("RUN make"), &tail);
        assert_eq!(error.message(), "the step `RUN make` failed with exit code 3");
        assert_eq!(error.failed_step(), Some(&FailedStep::new(Some("RUN make".to_owned()), Some(3))));
        assert_eq!(error.log_tail(), tail);
        assert!(!error.is_retryable(), "a failed step is never tried again");
    }

    #[test]
    fn what_the_command_printed_is_not_taken_for_the_executor_s_own_words() {
        let tail = [
            "error building image: error building stage: failed to execute command: waiting for process to exit: exit status 1".to_owned(),
            "UNAUTHORIZED: says the command, late".to_owned(),
        ];
        assert_eq!(explain_words(1, true, Some("RUN x"), &tail).kind(), ErrorKind::BuildFailed);
    }

    #[test]
    fn causes_outside_the_dockerfile_are_told_apart() {
        assert_eq!(
            kind_of(
                "error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: checking push permission for \"r/x\": POST https://r/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required",
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
        assert_eq!(
            kind_of("Error: error resolving source context: unexpected EOF", None),
            ErrorKind::BuilderLost
        );
    }

    #[test]
    fn a_file_that_is_missing_is_no_failure_of_a_registry_whatever_its_path() {
        let line = "error building image: error building stage: failed to optimize instructions: failed to get files used from context: \
                    failed to get fileinfo for /kaniko/buildcontext/api/v2/manifests/a: lstat \
                    /kaniko/buildcontext/api/v2/manifests/a: no such file or directory";
        let error = explain_words(1, false, None, &[line.to_owned()]);
        assert_eq!(error.failed_step(), Some(&FailedStep::new(None, Some(1))));
        assert_eq!(error.message(), "the build failed: `api/v2/manifests/a` is not in the build context");
    }

    #[test]
    fn an_instruction_that_runs_nothing_fails_for_its_reason() {
        let line = "error building image: error building stage: failed to execute command: copying file: open /x: permission denied";
        let error = explain_words(1, true, Some("COPY --from=build /x /"), &[line.to_owned()]);
        assert_eq!(
            error.message(),
            "the build failed at `COPY --from=build /x /`: copying file: open /x: permission denied"
        );
    }

    #[test]
    fn what_better_credentials_do_not_mend_is_not_blamed_on_them() {
        let put = "error pushing image: failed to push to destination r.example/denied:1: PUT https://r.example/v2/denied/manifests/1: ";
        let immutable = "TAG_INVALID: The image tag '1' already exists in the 'denied' repository and cannot be overwritten because \
                         the repository is immutable.";
        let page = "unexpected status code 403 Forbidden: <html><body>Blocked by policy</body></html>";
        for (reason, refusal) in [(immutable, ToldRefusal::ImmutableTag), (page, ToldRefusal::Page)] {
            let error = explain_words(1, false, None, &[format!("{put}{reason}")]);
            assert_eq!(
                (error.kind(), error.hint()),
                (ErrorKind::PushFailed, refusal.remedy().map(Remedy::text))
            );
        }
        let lost = explain_words(
            1,
            false,
            None,
            &[format!("{put}unexpected status code 500 Internal Server Error")],
        );
        assert_eq!(lost.kind(), ErrorKind::PushFailed, "a repository may be called anything");
    }

    #[test]
    fn a_registry_without_tls_that_is_trusted_is_not_mended_by_credentials() {
        for words in [
            "Get \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "Get \"https://r.example/v2/\": http: server gave HTTP response to HTTPS client",
        ] {
            for failed in [
                "error checking push permissions: checking push permission for \"r.example/x:1\"",
                "error building image: unable to complete operation after 0 attempts, last error",
            ] {
                let error = explain_words(1, false, None, &[format!("{failed}: {words}")]);
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
        let error = explain_words(
            1,
            false,
            None,
            &["error resolving source context: gzip: invalid checksum".to_owned()],
        );
        assert!(error.is_retryable());
        for (start, broke_off, altered) in [
            (last_word::NOT_ARRIVED, false, false),
            (last_word::BROKE_OFF, true, false),
            (last_word::ALTERED, false, true),
        ] {
            let tail = [format!("{start}nc: can't connect, or it was lost")];
            let error = explain_words(1, false, None, &tail);
            assert!(
                error.is_retryable() && error.message().ends_with("built: nc: can't connect, or it was lost"),
                "{error}"
            );
            assert_eq!(error.kind(), ErrorKind::BuilderLost);
            let mut progress = Progress::new(event_channel().0, &"r.example/x:1".parse().expect("valid"));
            progress.line(&tail[0]);
            assert_eq!((service_broke_off(&progress), context_was_altered(&progress)), (broke_off, altered));
            // A step says so that wants to be begun again.
            progress.line(r#"{"level":"info","msg":"RUN evil","time":""}"#);
            progress.line(&tail[0]);
            assert!(!service_broke_off(&progress) && !context_was_altered(&progress));
            let error = explain(1, &progress);
            assert!(error.kind() == ErrorKind::BuildFailed && !error.is_retryable(), "{error}");
        }
    }
}
