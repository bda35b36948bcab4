//! `examples/frontend.rs`, in a process of its own: what it prints, how it ends, and what signals do.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;

use clap::Parser as _;
use garden_build::{BuiltImage, Error, ErrorKind, Event, Plan, Status};
use serde_json::Value;

use crate::site::{DIGEST, Site};

#[path = "../../examples/frontend.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod example;

/// The arguments of the program, one in a line, and what the backend does: `ends`, `fails`, `waits` or `never-cleans-up`.
const ARGUMENTS: &str = "FRONTEND_ARGUMENTS";
const BACKEND: &str = "FRONTEND_BACKEND";

/// Runs the program with a builder of ours, if this process was started for that. Then it never returns.
fn act() {
    let (Ok(arguments), Ok(does)) = (std::env::var(ARGUMENTS), std::env::var(BACKEND)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let code = runtime.block_on(async {
        let site = Site::new().await;
        site.held.fails.store(does == "fails", Ordering::SeqCst);
        site.held.never_cleans_up.store(does == "never-cleans-up", Ordering::SeqCst);
        if does == "ends" || does == "fails" {
            site.held.let_go();
        }
        let app = site.root.path().join("app");
        let words = arguments.lines().map(|word| if word == "DIR" { app.to_str().unwrap() } else { word });
        let arguments = example::Arguments::parse_from(std::iter::once("frontend").chain(words));
        let outcome = example::run(&arguments, &site.builder).await;
        example::ending(&arguments, outcome)
    });
    std::process::exit(code.into());
}

fn program(arguments: &[&str], does: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "frontend::the_program_prints_what_it_did_and_ends_with_its_code",
        "--exact",
        "--nocapture",
    ]);
    command.env(ARGUMENTS, arguments.join("\n")).env(BACKEND, does);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end. Returns its exit code, and what it has printed to its standard output and error.
fn ran(arguments: &[&str], does: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(arguments, does).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What it has printed as JSON.
fn json(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_program_prints_what_it_did_and_ends_with_its_code() {
    act();
    let (code, out, err) = ran(&["build", "DIR", "app"], "ends");
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.lines().any(|line| line.starts_with("127.0.0.1:") && line.ends_with(&format!("@{DIGEST}"))),
        "{out}"
    );
    assert!(err.contains("=> [1/1] RUN make: done"), "{err}");
    assert!(
        !err.contains('\x1b'),
        "neither bars nor what a step has printed control what is no terminal: {err:?}"
    );

    let (code, out, err) = ran(&["status", "DIR", "app"], "ends");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(": missing"), "{out}");
    let (code, out, err) = ran(&["plan", "DIR", "app"], "ends");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("# would push 127.0.0.1:"), "{out}");

    let (code, _, err) = ran(&["build", "DIR", "app"], "fails");
    assert_eq!(code, Some(ErrorKind::BuildFailed.exit_code().into()), "{err}");
    assert!(err.contains("error: `RUN make` failed with exit code 2"), "{err}");
}

#[test]
fn other_programs_read_events_results_and_errors_as_json() {
    let (code, out, _) = ran(&["--json", "build", "DIR", "app"], "ends");
    assert_eq!(code, Some(0));
    let mut lines = json(&out);
    let image: BuiltImage = serde_json::from_value(lines.pop().unwrap()["result"].take()).unwrap();
    assert_eq!(image.digest.to_string(), DIGEST);
    let events: Vec<Event> = lines.into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Progress { current: 1, total: Some(2), .. })));

    let result =
        |verb: &str| json(&ran(&["--json", verb, "DIR", "app"], "ends").1).pop().unwrap()["result"].take();
    assert_eq!(serde_json::from_value::<Status>(result("status")).unwrap().existing, None);
    assert!(serde_json::from_value::<Plan>(result("plan")).unwrap().objects.is_empty());

    let (code, out, _) = ran(&["--json", "build", "DIR", "app"], "fails");
    let error: Error = serde_json::from_value(json(&out).pop().unwrap()["error"].take()).unwrap();
    assert_eq!((error.kind(), code), (ErrorKind::BuildFailed, Some(1)));
}

/// Waits until the program says `wanted`, and returns what it says then.
fn said(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) {
    assert!(lines.any(|line| line.unwrap().contains(wanted)), "it ends before it says `{wanted}`");
}

fn interrupt(child: &Child) {
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(kill.success());
}

#[cfg(unix)]
#[test]
fn the_first_ctrl_c_cleans_up_and_the_second_leaves_at_once() {
    for does in ["waits", "never-cleans-up"] {
        let mut child = program(&["build", "DIR", "app"], does).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        said(&mut lines, "=> [1/1] RUN make");
        interrupt(&child);
        said(&mut lines, "=> remove Pod made-up");
        if does == "waits" {
            said(&mut lines, "=> remove Pod made-up: done");
            said(&mut lines, "error: ");
        } else {
            interrupt(&child);
        }
        // Its standard output ends with it.
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(ErrorKind::Cancelled.exit_code().into()), "{does}");
    }
}
