use std::time::{Duration, SystemTime};

use console::measure_text_width;
use garden_build::Event;
use serde_json::{Value, json};

use super::*;

/// When everything begins.
const BEGAN: u64 = 1_764_000_000_000;

fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(BEGAN + milliseconds)
}

fn event(json: Value) -> Event {
    serde_json::from_value(json).expect("an event")
}

fn started(step: u64, parent: Option<u64>, name: &str, after: u64) -> Event {
    let kind = json!({ "type": "other" });
    event(json!({
        "event": "stepStarted", "step": step, "parent": parent, "kind": kind, "name": name, "at": BEGAN + after,
    }))
}

fn finished(step: u64, took: u64, cached: bool, error: Option<&str>) -> Event {
    let kind = json!({ "type": "other" });
    event(json!({
        "event": "stepFinished", "step": step, "parent": null, "kind": kind, "name": "", "at": BEGAN, "took": took,
        "cached": cached, "error": error,
    }))
}

fn log(step: u64, line: &str) -> Event {
    event(json!({ "event": "log", "step": step, "source": "output", "line": line }))
}

fn progress(step: u64, current: u64, total: Option<u64>) -> Event {
    event(json!({ "event": "progress", "step": step, "unit": "bytes", "current": current, "total": total }))
}

/// A build that has read its context, sends it, and runs two instructions.
fn under_way() -> Vec<Event> {
    let mut events = vec![
        started(1, None, "read the build context examples/app", 0),
        finished(1, 120, false, None),
        started(2, None, "look for registry.example/shop/app:v-0123456789abcdef0123", 130),
        finished(2, 30, false, None),
        started(3, None, "send the build context (3 files, 30500000 bytes)", 200),
        progress(3, 12_600_000, Some(30_500_000)),
        started(4, None, "[1/3] FROM docker.io/library/busybox:1.37", 300),
        finished(4, 0, true, None),
        started(
            5,
            None,
            "[2/3] RUN make \\\n  && make install PREFIX=/usr/local DESTDIR=/out LANGUAGES=de,en,fr,it,ja,zh",
            900,
        ),
        started(6, Some(5), "wait for the lock", 1000),
        finished(6, 1500, false, None),
    ];
    events.push(event(json!({ "event": "log", "step": null, "source": "builder", "line": "unpacking\x07" })));
    events.extend((1..=8).map(|line| log(5, &format!("cc -c part{line}.c\t\x1b[32mok\x1b[0m 漢字 \x1b[2J"))));
    events
}

fn steps(labels: Vec<Option<String>>, events: &[Event]) -> Steps {
    let mut steps = Steps::new(labels);
    for event in events {
        steps.take(0, event);
    }
    steps
}

fn view(columns: usize, rows: usize) -> View<'static> {
    View { activity: "Building", began: at(0), now: at(12_345), columns, rows, has_colours: false }
}

#[test]
fn a_build_under_way_is_a_block_that_fits() {
    let steps = steps(vec![None], &under_way());
    insta::assert_snapshot!("under-way-80", live(&steps, &view(80, 24)).join("\n"));
    insta::assert_snapshot!("under-way-200", live(&steps, &view(200, 50)).join("\n"));
    for columns in 0..220 {
        for line in live(&steps, &view(columns, 24)) {
            assert!(measure_text_width(&line) <= columns.saturating_sub(1), "{columns}: {line:?}");
        }
    }
}

#[test]
fn where_there_is_no_room_what_has_ended_goes_first_and_what_runs_stays() {
    let steps = steps(vec![None], &under_way());
    insta::assert_snapshot!("few-rows", live(&steps, &view(80, 8)).join("\n"));
    for rows in 0..30 {
        assert!(live(&steps, &view(80, rows)).len() <= rows.saturating_sub(1).max(1), "{rows}");
    }
    assert!(live(&steps, &view(80, 4)).iter().any(|line| line.contains("RUN make")));
}

#[test]
fn what_has_ended_stays_whole_with_what_went_wrong() {
    let mut events = under_way();
    events.push(finished(3, 4000, false, None));
    events.push(finished(5, 11_000, false, Some("exit code 2\nand more")));
    let all = steps(vec![None], &events);
    insta::assert_snapshot!("failed", last(&all, &view(80, 5), Ending::Failed).join("\n"));

    let mut all = steps(vec![None], &under_way());
    all.cancelled();
    assert!(live(&all, &view(80, 24))[0].ends_with(" CANCELLING"));
    all.take(0, &finished(5, 11_000, false, Some("interrupted")));
    all.take(0, &started(7, None, "remove Pod demo/kaniko-app-1", 12_000));
    all.take(0, &finished(7, 300, false, None));
    insta::assert_snapshot!("cancelled", last(&all, &view(80, 5), Ending::Cancelled).join("\n"));
}

#[test]
fn several_builds_share_a_block() {
    let mut both = Steps::new(vec![Some("api".to_owned()), Some("web".to_owned())]);
    for number in [0, 1] {
        both.take(number, &started(1, None, "read the build context", 0));
        both.take(number, &started(2, None, "[1/2] FROM busybox", 10));
        both.take(number, &started(3, Some(2), "resolve it", 10));
    }
    both.take(1, &finished(1, 100, false, None));
    insta::assert_snapshot!("several", live(&both, &view(60, 24)).join("\n"));
}

#[test]
fn colours_are_only_there_if_they_may_be() {
    let mut events = under_way();
    events.push(finished(5, 11_000, false, Some("exit code 2")));
    let all = steps(vec![None], &events);
    let coloured = last(&all, &View { has_colours: true, ..view(80, 24) }, Ending::Failed).join("\n");
    let plain = last(&all, &view(80, 24), Ending::Failed).join("\n");
    assert!(coloured.contains("\x1b[31m"), "{coloured:?}");
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn an_amount_says_how_much_is_to_come_if_that_is_known() {
    assert_eq!(amount(12_600_000, Some(30_500_000)), " 41%  12.60 MB / 30.50 MB  [========>           ]");
    assert_eq!(amount(0, Some(0)), "100%  0 B / 0 B  [====================]");
    assert_eq!(amount(7, Some(5)), "100%  7 B / 5 B  [====================]");
    assert_eq!(amount(u64::MAX, None), DecimalBytes(u64::MAX).to_string());
}

#[test]
fn a_step_whose_beginning_was_missed_is_there_and_a_clock_may_go_back() {
    let all = steps(
        vec![None],
        &[
            finished(9, 1000, true, None),
            log(8, "of a step that nobody knows"),
            started(1, None, "late", 99_000),
        ],
    );
    let lines = live(&all, &view(40, 24));
    assert_eq!(lines[1], format!("{:<35}1.0s", " => CACHED"));
    assert!(lines[2].ends_with(" 0.0s"), "{lines:?}");
}
