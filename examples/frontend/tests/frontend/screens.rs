//! What a person sees on a terminal of 80 columns, and of 200.

use garden_build::ErrorKind;
use rustix::process::Signal;

use crate::backend::Does;
use crate::program::{masked, on_terminal, program, signal};
use crate::terminal::{Screen, Terminal};

const BUILD: [&str; 2] = ["build", "app=app"];

/// Whether the block of a build that waits is there as a whole.
fn is_under_way(screen: &str) -> bool {
    screen.contains("made") && screen.contains("50%")
}

/// The terminal itself shows the Ctrl-C. If that comes in the middle of a drawing, as it does now and then on a busy machine, the block's first
/// row stays above what follows.
fn without_torn_row(text: &str) -> &str {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("[+]") && rest.starts_with("cancelled:") => rest,
        _ => text,
    }
}

/// Each duration stands at the right edge, and no row of the block goes on in the next.
fn assert_fits(screen: &Screen, columns: u16) {
    for (number, row) in (0..).zip(screen.rows()) {
        let is_block = row.starts_with(" =>") || row.starts_with("[+]");
        let text = row.trim_end();
        let ends_with_duration =
            text.ends_with('s') && text.len() > 2 && text.as_bytes()[text.len() - 2].is_ascii_digit();
        if is_block && text.starts_with(" =>") && ends_with_duration {
            assert_eq!(console::measure_text_width(text), usize::from(columns) - 1, "{row:?}");
        }
        assert!(!is_block || !screen.0.row_wrapped(number), "{row:?}");
    }
}

#[test]
fn a_build_that_is_cancelled_by_ctrl_c_is_shown_to_its_end() {
    for columns in [80, 200] {
        let (mut command, _directory) = program(&BUILD, Does::Waits);
        let mut terminal = Terminal::start(on_terminal(&mut command), 40, columns);
        let screen = terminal.until(is_under_way);
        insta::assert_snapshot!(format!("under-way-{columns}"), masked(&screen.text()));
        assert!(screen.text().lines().count() < 40);
        terminal.type_in("\x03");
        let (code, screen) = terminal.end();
        assert_eq!(code, Some(ErrorKind::Cancelled.exit_code().into()), "{}", screen.text());
        // Also that what the terminal shows of the Ctrl-C leaves no part of an earlier block.
        insta::assert_snapshot!(format!("cancelled-{columns}"), without_torn_row(&masked(&screen.text())));
        assert_fits(&screen, columns);
        assert!(screen.has_colours());
    }
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let (mut command, _directory) = program(&BUILD, Does::NeverCleansUp);
    let mut terminal = Terminal::start(on_terminal(&mut command), 40, 80);
    terminal.until(is_under_way);
    terminal.type_in("\x03");
    terminal.until(|screen| screen.contains("remove Pod made-up"));
    terminal.type_in("\x03");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(ErrorKind::Cancelled.exit_code().into()), "{}", screen.text());
    assert!(screen.text().contains("left before all was cleaned up"), "{}", screen.text());
}

#[test]
fn sigterm_cancels_as_ctrl_c_does() {
    let (mut command, _directory) = program(&BUILD, Does::Waits);
    command.stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = crate::piped::lines(&mut child);
    crate::piped::said(&mut lines, "[2/2] RUN make");
    signal(&child, Signal::TERM);
    crate::piped::said(&mut lines, "cancelled: cleaning up");
    crate::piped::said(&mut lines, "remove Pod made-up");
    assert_eq!(child.wait().unwrap().code(), Some(ErrorKind::Cancelled.exit_code().into()));
}

#[test]
fn a_build_that_fails_leaves_the_block_and_the_end_of_the_log() {
    for columns in [80, 200] {
        let (mut command, _directory) = program(&BUILD, Does::Fails);
        let (code, screen) = Terminal::start(on_terminal(&mut command), 40, columns).end();
        assert_eq!(code, Some(ErrorKind::BuildFailed.exit_code().into()), "{}", screen.text());
        insta::assert_snapshot!(format!("failed-{columns}"), masked(&screen.text()));
        assert_fits(&screen, columns);
    }
}

#[test]
fn a_build_that_ends_leaves_the_block_and_the_image_and_no_colour_if_none_is_wanted() {
    let (mut command, _directory) = program(&BUILD, Does::Ends);
    let (code, screen) = Terminal::start(on_terminal(&mut command).env("NO_COLOR", "1"), 40, 200).end();
    assert_eq!(code, Some(0), "{}", screen.text());
    insta::assert_snapshot!("finished-200", masked(&screen.text()));
    assert_fits(&screen, 200);
    assert!(!screen.has_colours());
}

#[test]
fn several_builds_share_the_block_and_one_that_is_too_small_shows_what_runs() {
    let (mut command, _directory) = program(&["build", "one=app", "two=app"], Does::Waits);
    let mut terminal = Terminal::start(on_terminal(&mut command), 10, 60);
    let screen = terminal
        .until(|screen| screen.contains("[one 2/2] RUN make") && screen.contains("[two 2/2] RUN make"));
    assert!(screen.rows()[0].starts_with("[+] Building"), "{}", screen.text());
    terminal.type_in("\x03");
    let (code, _) = terminal.end();
    assert_eq!(code, Some(ErrorKind::Cancelled.exit_code().into()));
}
