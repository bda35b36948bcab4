//! From errors to text and exit codes.

use std::error::Error as _;

use console::{Style, Term};
use garden_build::config::{ConfigError, ConfigReport};
use garden_build::{Error, Printable};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;

use crate::output::{Format, Output};
use crate::progress::text::{labelled, wrapped};

/// Reports an error, with the build that it is about if there are several. Returns the code to end with.
pub(crate) fn report(output: &Output, build: Option<&str>, error: &Error) -> u8 {
    match output.format {
        Format::Json => output.json("error", build, json!(error)),
        Format::Plain => output.tell(in_words(build, error)),
        Format::Terminal => {
            let (_, columns) = Term::stderr().size();
            output.tell(on_terminal(build, error, columns.into(), console::colors_enabled_stderr()));
        }
    }
    error.kind().exit_code()
}

/// What the library says: message and causes, the hint, and the end of the log. Nothing in it controls a terminal.
fn in_words(build: Option<&str>, error: &Error) -> String {
    labelled(build, &format!("error: {error:?}"))
}

fn on_terminal(build: Option<&str>, error: &Error, columns: usize, has_colours: bool) -> String {
    let width = columns.saturating_sub(1);
    if let Some(problems) = error.source().and_then(|source| source.downcast_ref::<ConfigError>()) {
        return with_places(problems, width, has_colours);
    }
    let text = wrapped(&in_words(build, error), width);
    let red = Style::new().red().bold().force_styling(has_colours);
    match text.split_once("error:") {
        Some((before, rest)) => format!("{before}{}{rest}", red.apply_to("error:")),
        None => text,
    }
}

/// Shows each problem of a project with the lines that it is about.
fn with_places(problems: &ConfigError, width: usize, has_colours: bool) -> String {
    let report = ConfigReport::from(problems.clone());
    let shown = |theme| {
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width);
        handler.render_report(&mut text, &report).is_ok().then_some(text)
    };
    // A report shows the lines of a file as they are. The library's own words say the same, and are always harmless.
    match shown(GraphicalTheme::unicode_nocolor()) {
        Some(plain) if plain.lines().all(is_harmless) => {
            if has_colours {
                shown(GraphicalTheme::unicode()).unwrap_or(plain)
            } else {
                plain
            }
        }
        _ => wrapped(&problems.to_string(), width),
    }
}

/// Whether a terminal can show a line as it is.
fn is_harmless(line: &str) -> bool {
    Printable::line(line).to_string() == line
}

#[cfg(test)]
mod tests {
    use garden_build::{ErrorKind, FailedStep};

    use super::*;

    #[test]
    fn a_failed_step_has_its_log_and_long_lines_fit() {
        let step = FailedStep::new(Some("RUN make".to_owned()), Some(2));
        let error = Error::build_failed(step, "`RUN make` failed with exit code 2")
            .with_hint(
                "run the step by itself, as with `docker run`, and look at what it prints before it ends",
            )
            .with_log_tail(vec![
                "cc main.c".to_owned(),
                "main.c:1: \x1b[31merror\x1b[0m: no\x1b[2J".to_owned(),
            ]);
        insta::assert_snapshot!(on_terminal(None, &error, 60, false));
        insta::assert_snapshot!(in_words(Some("api"), &error));
    }

    #[test]
    fn problems_of_a_project_are_shown_with_their_lines() {
        let text = "kind: Project\nname: demo\nenvironments:\n  - name: dev\nproviders:\n  - name: kubernetes\n    \
                    buildmode: kaniko\n";
        let project = garden_build::config::parse(text, "project.garden.yml").unwrap();
        let error = Error::from(project.provider("dev").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Config);
        insta::assert_snapshot!(on_terminal(None, &error, 80, false));
        insta::assert_snapshot!(in_words(None, &error));
        assert!(on_terminal(None, &error, 80, true).contains("\x1b["));
    }

    #[test]
    fn a_project_cannot_turn_the_text_of_a_terminal_around() {
        let text = "kind: Project\nname: demo\nenvironments:\n  - name: dev\nproviders:\n  - name: kubernetes\n    \
                    buildmode: kaniko # \u{202e}okinak\n";
        let project = garden_build::config::parse(text, "project.garden.yml").unwrap();
        let error = Error::from(project.provider("dev").unwrap_err());
        let shown = on_terminal(None, &error, 80, true);
        assert!(shown.contains("buildmode") && !shown.contains('\u{202e}'), "{shown}");
    }
}
