use std::io;

use super::*;

#[test]
fn what_controls_a_terminal_is_shown_and_kept_as_data() {
    let evil = "\x1b]0;t\x07\u{202e}a\rb";
    let error = Error::new(ErrorKind::Config, evil)
        .with_hint(evil)
        .with_log_tail(vec![format!("{evil}\n  help: forged")])
        .with_source(io::Error::other("\x1b[2J"));
    for (shown, lines) in [(error.to_string(), 4), (format!("{error:?}"), 4)] {
        assert!(shown.chars().all(|shown| !shown.is_control() || shown == '\n'), "{shown:?}");
        assert!(!shown.contains('\u{202e}') && shown.lines().count() == lines, "{shown:?}");
    }
    assert_eq!(error.message(), evil);
}

fn failed() -> Error {
    let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    let asked = Error::new(ErrorKind::Unreachable, "the registry did not answer: connection refused")
        .with_hint("look at it")
        .with_source(refused);
    Error::build_failed(FailedStep::new(Some("RUN make".to_owned()), Some(2)), "the step failed")
        .with_hint(Remedy::set(&["resources.builder"], "raise `resources.builder`"))
        .with_log_tail(vec!["make: *** no rule".to_owned()])
        .with_source(asked)
        .retryable()
}

#[test]
fn a_main_that_fails_prints_causes_once_and_what_to_do() {
    let main = || -> std::result::Result<(), Box<dyn StdError>> { Err(failed().into()) };
    assert_eq!(
        format!("{:?}", main().expect_err("it fails")),
        "the step failed: the registry did not answer: connection refused\n  help: raise `resources.builder`\n  \
         last lines of the log:\n    make: *** no rule"
    );
    assert_eq!(with_causes(&failed()), "the step failed: the registry did not answer: connection refused");
}

#[test]
fn an_error_from_the_wire_says_the_same() {
    let wire = serde_json::json!({
        "kind": "build-failed",
        "message": "the step failed",
        "hint": {"code": "set-option", "text": "raise `resources.builder`", "options": ["resources.builder"]},
        "logTail": ["make: *** no rule"],
        "retryable": true,
        "failedStep": {"instruction": "RUN make", "exitCode": 2},
        "causes": ["the registry did not answer: connection refused"],
    });
    assert_eq!(serde_json::to_value(failed()).expect("JSON"), wire);
    let read: Error = serde_json::from_value(wire.clone()).expect("JSON");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), wire);
    assert_eq!(format!("{read:?}"), format!("{:?}", failed()));
    assert_eq!((read.kind(), read.failed_step()), (ErrorKind::BuildFailed, failed().failed_step()));
    assert_eq!(read.hint_data(), failed().hint_data());
}

#[test]
fn a_service_may_leave_out_what_is_empty_and_send_any_number_of_causes() {
    let causes = vec!["a"; 1_000_000];
    let wire = serde_json::json!({"kind": "of-tomorrow", "message": "m", "causes": causes, "more": 1});
    let error: Error = serde_json::from_value(wire).expect("JSON");
    assert_eq!((error.kind(), error.message(), error.hint()), (ErrorKind::Unexpected, "m", None));
    assert!(!error.is_retryable() && error.failed_step().is_none() && error.log_tail().is_empty());
}

#[test]
fn a_copy_says_the_same_and_can_be_changed_alone() {
    let error = failed();
    let copy = error.clone().with_hint("another");
    assert_eq!((error.hint(), copy.hint()), (Some("raise `resources.builder`"), Some("another")));
    assert_eq!(error.message().as_ptr(), error.clone().message().as_ptr(), "a copy shares");
    assert!(copy.source().is_some());
}
