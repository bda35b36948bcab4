//! What other programs and logs get.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStderr, Output, Stdio};

use garden_build::{BuiltImage, Error, ErrorKind, Event, Plan, Status, SweepReport};
use serde_json::Value;

use crate::backend::{DIGEST, Does};
use crate::program::{BEGINNING, be_the_program, masked, program};

/// Runs it to its end. Returns its exit code, and what it has printed to its standard output and error.
fn ran(arguments: &[&str], does: Does) -> (Option<i32>, String, String) {
    let (mut command, _directory) = program(arguments, does);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let (_, own) = stdout.split_once(BEGINNING).unwrap();
    (status.code(), own.to_owned(), String::from_utf8(stderr).unwrap())
}

fn json(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of its standard error.
pub(crate) fn lines(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().unwrap()).lines()
}

/// Waits until it says `wanted`.
pub(crate) fn said(lines: &mut Lines<BufReader<ChildStderr>>, wanted: &str) {
    assert!(lines.any(|line| line.unwrap().contains(wanted)), "it ends before it says `{wanted}`");
}

#[test]
fn the_program_prints_what_it_did_and_ends_with_its_code() {
    be_the_program();
    let (code, out, err) = ran(&["build", "app=app"], Does::Ends);
    assert_eq!(code, Some(0), "{err}");
    insta::assert_snapshot!("plain", masked(&err));
    assert!(out.starts_with("127.0.0.1:") && out.contains(&format!("@{DIGEST} (built in")), "{out}");
    assert!(!err.contains('\x1b'), "what is no terminal is not controlled: {err:?}");

    let (code, out, err) = ran(&["status", "app=app"], Does::Ends);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(": missing"), "{out}");
    let (code, out, err) = ran(&["plan", "app=app"], Does::Ends);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("# would push 127.0.0.1:"), "{out}");
    assert_eq!(ran(&["sweep"], Does::Ends).1, "nothing was left behind\n");

    let (code, out, err) = ran(&["--progress", "plain", "build", "app=app"], Does::Fails);
    assert_eq!((code, out.as_str()), (Some(ErrorKind::BuildFailed.exit_code().into()), ""));
    insta::assert_snapshot!("plain-failed", masked(&err));
}

#[test]
fn other_programs_read_events_results_and_errors_as_json() {
    let (code, out, err) = ran(&["--json", "build", "app=app"], Does::Ends);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let mut lines = json(&out);
    let mut last = lines.pop().unwrap();
    let image: BuiltImage = serde_json::from_value(last["result"].take()).unwrap();
    assert_eq!((image.digest.to_string().as_str(), &last["build"]), (DIGEST, &"app".into()));
    assert!(lines.iter().all(|line| line["build"] == "app"));
    let events: Vec<Event> = lines.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
    let is_half =
        |event: &Event| matches!(event, Event::Progress { current: 1_000_000, total: Some(2_000_000), .. });
    assert!(events.iter().any(is_half));

    let result = |arguments: &[&str]| {
        let (code, out, err) = ran(&[&["--progress", "json"], arguments].concat(), Does::Ends);
        assert_eq!(code, Some(0), "{err}");
        json(&out).pop().unwrap()["result"].take()
    };
    assert_eq!(serde_json::from_value::<Status>(result(&["status", "app=app"])).unwrap().existing, None);
    assert!(serde_json::from_value::<Plan>(result(&["plan", "app=app"])).unwrap().objects.is_empty());
    assert_eq!(serde_json::from_value::<SweepReport>(result(&["sweep"])).unwrap(), SweepReport::default());

    let (code, out, _) = ran(&["--json", "build", "one=app", "two=app"], Does::Fails);
    let errors: Vec<Value> =
        json(&out).into_iter().filter(|line| line.get("error").is_some_and(Value::is_object)).collect();
    let named: Vec<_> = errors.iter().map(|line| line["build"].as_str().unwrap()).collect();
    assert_eq!((named, code), (vec!["one", "two"], Some(1)));
    let error: Error = serde_json::from_value(errors[0]["error"].clone()).unwrap();
    assert_eq!(error.failed_step().and_then(|step| step.exit_code), Some(2));
}

#[test]
fn what_cannot_be_shown_or_done_is_said_before_anything_is_built() {
    let (code, _, err) = ran(&["--progress", "tty", "build", "app=app"], Does::Ends);
    assert_eq!(code, Some(ErrorKind::Unsupported.exit_code().into()), "{err}");
    assert!(err.contains("not a terminal") || err.contains("no terminal"), "{err}");
    let (code, _, err) = ran(&["build", "--all"], Does::Ends);
    assert_eq!(code, Some(ErrorKind::Config.exit_code().into()), "{err}");
    assert!(err.contains("nothing to build"), "{err}");
    let (code, _, err) = ran(&["publish", "one=app", "two=app", "--to", "r.example/app"], Does::Ends);
    assert_eq!(code, Some(ErrorKind::Unsupported.exit_code().into()), "{err}");
    let (code, _, err) = ran(&["build", "app=missing"], Does::Ends);
    assert_eq!(code, Some(ErrorKind::Context.exit_code().into()), "{err}");
    let (code, _, err) = ran(&["init"], Does::Ends);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_build_whose_reader_goes_is_cancelled_without_a_panic() {
    let (mut command, _directory) = program(&["--json", "build", "app=app"], Does::Talks);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(reader.any(|line| line.unwrap().contains("and on")));
    drop(reader);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141), "{err}");
    assert!(err.contains("cancelled: cleaning up") && !err.contains("panicked"), "{err}");
}

#[test]
fn the_first_ctrl_c_cleans_up_and_the_second_leaves_at_once() {
    for does in [Does::Waits, Does::NeverCleansUp] {
        let (mut command, _directory) = program(&["build", "app=app"], does);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut lines = lines(&mut child);
        said(&mut lines, "[2/2] RUN make");
        crate::program::signal(&child, rustix::process::Signal::INT);
        said(&mut lines, "cancelled: cleaning up");
        said(&mut lines, "remove Pod made-up");
        if does == Does::Waits {
            said(&mut lines, "DONE");
            said(&mut lines, "error: ");
        } else {
            crate::program::signal(&child, rustix::process::Signal::INT);
            said(&mut lines, "left before all was cleaned up");
        }
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(ErrorKind::Cancelled.exit_code().into()), "{does:?}");
    }
}
