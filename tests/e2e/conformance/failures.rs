//! What cannot be built is told so that it can be mended.

use garden_build::{Error, ErrorKind};

use super::{Case, Seen};
use crate::site::variable;

/// Makes sure that `error` tells of the line of the Dockerfile where that is to be expected.
fn with_line(case: &Case<'_>, error: &Error, line: u32) -> Seen {
    if !case.mode.has_buildkit() {
        return Seen::Differs("without the line of the Dockerfile");
    }
    assert!(error.message().contains(&format!("Dockerfile:{line}")), "{error}");
    Seen::Works
}

pub(super) async fn failing_step(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile("RUN echo of another step\nRUN echo before; echo the reason >&2; exit 42\n");
    let error = case.fail(case.request()).await;
    let step = error.failed_step().expect("a step failed");
    assert_eq!(step.exit_code, Some(42), "{error:?}");
    assert!(step.instruction.as_ref().is_some_and(|step| step.contains("RUN echo before")), "{step:?}");
    assert!(error.message().contains("RUN echo before") && error.message().contains("42"), "{error}");
    for line in ["before", "the reason"] {
        assert!(error.log_tail().iter().any(|printed| printed == line), "{:?}", error.log_tail());
    }
    with_line(case, &error, 3)
}

pub(super) async fn missing_base(case: &mut Case<'_>) -> Seen {
    let registry = variable("GARDEN_TEST_REGISTRY");
    case.project.file("Dockerfile", format!("FROM {registry}/no/such/base:1\nRUN true\n"));
    let error = case.fail(case.request()).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.message().contains("no/such/base"), "{error}");
    assert!(error.hint().is_some(), "{error:?}");
    with_line(case, &error, 1)
}

pub(super) async fn missing_source(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile("RUN true\nCOPY no-such-file.txt /\n");
    let error = case.fail(case.request()).await;
    assert_eq!(error.kind(), ErrorKind::BuildFailed, "{error:?}");
    assert!(error.message().contains("no-such-file.txt"), "{error}");
    if case.mode.has_buildkit() {
        assert!(error.hint().unwrap().contains("context"), "{error:?}");
    }
    with_line(case, &error, 3)
}

pub(super) async fn broken_dockerfile(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile("RUN true\nFRUM nothing\n");
    let error = case.fail(case.request()).await;
    assert_eq!(error.kind(), ErrorKind::BuildFailed, "{error:?}");
    assert!(error.message().contains("FRUM"), "{error}");
    // The first is BuildKit's way to say it, the second that of its parser, which all have in common.
    let named = ["Dockerfile:3", "line 3"].iter().any(|line| error.message().contains(line));
    assert!(named, "{error}");
    Seen::Works
}

pub(super) async fn unknown_flag(case: &mut Case<'_>) -> Seen {
    if case.mode == super::Mode::Kaniko {
        case.project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        let error = case.fail(case.request().extra_flag("--no-such-flag")).await;
        assert!(error.message().contains("--no-such-flag"), "{error:?}");
        return Seen::Differs("by the executor, in its pod");
    }
    let request = case.request().extra_flag("--no-such-flag");
    let Seen::Refused(message) = case.refuse(request).await else { panic!("not refused") };
    assert!(message.contains("--no-such-flag"), "{message}");
    Seen::Works
}
