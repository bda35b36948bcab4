use std::time::Duration;

use garden_build::{LogSource, StepKind, WarningCode};

use super::*;

fn lines(plain: &mut PlainLines, number: usize, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    events.into_iter().flat_map(|event| plain.lines(number, &event)).collect()
}

fn begun(step: u64, name: &str) -> Event {
    Event::step_started(StepId::new(step), StepKind::Other, name)
}

fn ended(step: u64, error: Option<&str>) -> Event {
    let took = Duration::from_millis(1250);
    Event::step_finished(StepId::new(step), StepKind::Other, "", took, error.map(str::to_owned))
}

fn said(step: Option<u64>, line: &str) -> Event {
    Event::log(step.map(StepId::new), LogSource::Output, line)
}

#[test]
fn a_log_says_to_which_step_a_line_belongs_and_nothing_controls_a_terminal() {
    let mut plain = PlainLines::new(vec![None]);
    let events = [
        begun(1, "[1/2] RUN make\nall"),
        said(Some(1), "\x1b[32mok\x1b[0m \x1b[2J"),
        Event::warning(WarningCode::Builder, "careful", Some("look".to_owned())),
        said(None, "of no step"),
        ended(1, None),
        begun(2, "push"),
        ended(2, Some("refused\n#3 DONE 0.0s")),
    ];
    insta::assert_snapshot!(lines(&mut plain, 0, events).join("\n"));
}

#[test]
fn steps_of_several_builds_have_numbers_of_their_own() {
    let mut plain = PlainLines::new(vec![Some("api".to_owned()), Some("web".to_owned())]);
    let mut all = lines(&mut plain, 0, [begun(1, "[1/2] FROM a")]);
    all.extend(lines(&mut plain, 1, [begun(1, "look"), said(Some(1), "there"), ended(1, None)]));
    all.extend(lines(&mut plain, 0, [ended(1, None), Event::warning(WarningCode::Other, "careful", None)]));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn progress_is_a_line_for_each_tenth_and_what_is_cancelled_is_no_error() {
    let mut plain = PlainLines::new(vec![None]);
    let step = StepId::new(1);
    let events = (0..=100).map(|percent| Event::progress(step, percent * 1000, Some(100_000)));
    let all = lines(&mut plain, 0, events);
    assert_eq!((all.len(), all[0].as_str()), (10, "#1 10% (10.00 kB / 100.00 kB)"));
    assert_eq!(lines(&mut plain, 0, [Event::progress(step, 2000, None)]), ["#1 2.00 kB"]);
    plain.cancelled();
    assert_eq!(lines(&mut plain, 0, [ended(1, Some("interrupted"))]), ["#1 CANCELLED 1.2s"]);
}
