use super::*;

fn source(first: u32, last: u32) -> SourceLines {
    SourceLines::new("Dockerfile", first, last, "RUN make")
}

fn explained(message: &str, instruction: Option<&str>) -> Error {
    let mut failure = Failure::new(Code::Unknown, message);
    failure.sources.push(source(3, 3));
    explain_build(&failure, instruction, OF_NAMESPACE)
}

#[test]
fn a_failing_command_is_named_with_its_line_and_exit_code_and_is_not_tried_again() {
    let message = "process \"/bin/sh -c make\" did not complete successfully: exit code: 2";
    let error = explained(message, Some("RUN make"));
    assert_eq!(error.message(), "the step `RUN make` (Dockerfile:3) failed with exit code 2");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::BuildFailed, false));
    assert_eq!(error.failed_step(), Some(&FailedStep::new(Some("RUN make".to_owned()), Some(2))));
}

#[test]
fn a_killed_command_may_have_been_killed_for_its_memory() {
    let message = "process \"/bin/sh -c make\" did not complete successfully: exit code: 137";
    let error = explained(message, Some("RUN make"));
    assert!(error.hint().is_some_and(|hint| hint.contains("resources.builder.limits.memory")), "{error:?}");
    let message = "process \"/bin/sh -c make\" did not complete successfully: cannot allocate memory";
    assert_eq!(explained(message, Some("RUN make")).kind(), ErrorKind::OutOfMemory);
}

#[test]
fn a_file_that_is_missing_is_named_without_the_daemon_s_identifiers() {
    let message = "failed to compute cache key: failed to calculate checksum of ref i4i8dq::r4166v: \"/app.txt\": not found";
    let error = explained(message, Some("COPY app.txt /"));
    assert_eq!(
        error.message(),
        "the step `COPY app.txt /` (Dockerfile:3) failed: `/app.txt` is not in the build context"
    );
}

#[test]
fn a_file_that_is_missing_in_a_stage_is_not_missing_in_the_context() {
    let message = "failed to compute cache key: failed to calculate checksum of ref i4i8dq::r4166v: \"/bin/app\": not found";
    let error = explained(message, Some("COPY --from=build /bin/app /"));
    assert_eq!(
        error.message(),
        "the step `COPY --from=build /bin/app /` (Dockerfile:3) failed: `/bin/app` is not in `build`"
    );
    assert!(error.hint().is_some_and(|hint| !hint.contains("ignore file")), "{error:?}");
}

#[test]
fn names_of_images_decide_nothing() {
    let push =
        |words: &str| explained(&format!("failed to push r.example/denied/unauthorized:1: {words}"), None);
    let timed_out =
        push("failed to do request: Put \"https://r.example/v2/denied/unauthorized/manifests/1\": EOF");
    assert_eq!(timed_out.kind(), ErrorKind::PushFailed);
    let immutable = "unexpected status from PUT request to https://r.example/v2/a/manifests/1: 400 Bad Request: tag invalid: The image \
                     tag '1' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.";
    assert_eq!(push(immutable).hint(), ToldRefusal::ImmutableTag.remedy().map(Remedy::text));
}

#[test]
fn failures_of_registries_are_told_apart() {
    let push = |words: &str| explained(&format!("failed to push r.example/a:1: {words}"), None).kind();
    assert_eq!(
        push(
            "unexpected status from HEAD request to https://r.example/v2/a/blobs/sha256:1: 401 Unauthorized"
        ),
        ErrorKind::Unauthorized
    );
    assert_eq!(
        push("unexpected status from HEAD request to https://r.example/v2/a/blobs/sha256:1: 403 Forbidden"),
        ErrorKind::PermissionDenied
    );
    assert_eq!(push("connection refused"), ErrorKind::PushFailed);

    let base = "r.example/a:1: failed to resolve source metadata for r.example/a:1: r.example/a:1: not found";
    let error = explained(base, None);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.message(),
        "the base image r.example/a:1 (Dockerfile:3) cannot be pulled: r.example/a:1: failed to resolve source metadata for r.example/a:1: \
         not found"
    );
    let base = |words: &str| {
        let message = format!("failed to resolve source metadata for r.example/a:1: {words}");
        explained(&message, None).kind()
    };
    assert_eq!(
        base("unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized"),
        ErrorKind::Unauthorized
    );
    assert_eq!(base("r.example/a:1: not found (did you mean b?)"), ErrorKind::NotFound);
    assert_eq!(base("dial tcp 10.0.0.1:443: i/o timeout"), ErrorKind::Unreachable);
}

#[test]
fn a_registry_without_tls_that_is_trusted_is_not_mended_by_credentials() {
    let untrusted = "failed to do request: Head \"https://r.example/v2/a/blobs/sha256:1\": tls: failed to verify certificate: \
                     x509: certificate signed by unknown authority";
    let plain = "failed to do request: Head \"https://r.example/v2/\": http: server gave HTTP response to HTTPS client";
    for words in [untrusted, plain] {
        let pushed = explained(&format!("failed to push r.example/a:1: {words}"), None);
        let pulled =
            explained(&format!("failed to resolve source metadata for r.example/a:1: {words}"), None);
        for error in [pushed, pulled] {
            let hint = error.hint().unwrap_or_default();
            assert!(
                hint.contains("`caCertificate`") && hint.contains("`deploymentRegistry`"),
                "{error}: {hint}"
            );
            assert!(!hint.contains("imagePullSecrets"), "{error}: {hint}");
        }
    }
}

#[test]
fn what_the_request_lacks_is_said() {
    let hint = |message: &str| explained(message, None).hint().unwrap_or_default().to_owned();
    let options = |message: &str| explained(message, None).hint_data().expect("a hint").options.join(" ");
    assert_eq!(options("secret token: not found"), "secrets");
    assert_eq!(options("no SSH key \"default\" forwarded from the client"), "sshAgents");
    assert!(hint("write /x: no space left on device").contains("clusterBuildkit.storage"));
}

#[test]
fn a_daemon_that_stops_may_be_tried_again() {
    let stopped = explain_build(&Failure::new(Code::Cancelled, "context canceled"), None, OF_NAMESPACE);
    assert_eq!((stopped.kind(), stopped.is_retryable()), (ErrorKind::BuilderLost, true));
}

#[test]
fn a_failed_command_is_not_tried_again_whatever_the_daemon_calls_it() {
    let message = "process \"/bin/sh -c make\" did not complete successfully: exit code: 2: context canceled";
    let error = explain_build(&Failure::new(Code::Cancelled, message), Some("RUN make"), OF_NAMESPACE);
    assert_eq!(error.failed_step().and_then(|step| step.exit_code), Some(2), "{error:?}");
    assert!(!error.is_retryable());
}

#[test]
fn the_push_of_a_cache_is_told_apart_from_that_of_the_image() {
    let caches = ["r.example/a:_buildcache".to_owned()];
    let failure = |name: &str| Failure::new(Code::Unknown, format!("failed to push {name}: denied"));
    assert!(is_push_of(&failure("r.example/a:_buildcache"), &caches));
    assert!(!is_push_of(&failure("r.example/a:v-1"), &caches));
}

#[test]
fn several_lines_are_named_as_such() {
    assert_eq!(at(Some(&source(2, 4))), " (Dockerfile:2-4)");
    assert_eq!(at(None), "");
}
