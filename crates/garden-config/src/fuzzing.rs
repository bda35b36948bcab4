//! A project file that came with somebody else's repository: whatever its text says, reading it ends with
//! a value or with an error that can be shown, and what was read can be written and read again.

use std::collections::BTreeSet;

use miette::NarratableReportHandler;

use crate::{BuildConfig, ConfigError, ConfigReport, Environment, GitState, Locals, Project, ProviderConfig};

/// In a directory that does not exist, so that nothing but the text is read. Absolute, as relative paths
/// start at the file's directory: written back, they would start there a second time.
const FILE: &str = "/nowhere/project.garden.yml";

/// So many environments and builds of one text are looked at; more would only be more of the same.
const MOST: usize = 4;

/// Reads a project file.
///
/// # Panics
/// If reading, writing or an error is not as it should be.
pub fn project_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(project) = shown(crate::parse(&text, FILE).map(with_fixed_surroundings)) else { return };
    if let Some(environment) = shown(project.default_environment()) {
        read_builds(&environment);
    }
    let names: BTreeSet<&str> = project.environments().take(MOST).chain(["dev", "a.dev"]).collect();
    for name in names {
        let Some(environment) = shown(project.environment(name)) else { continue };
        shown(environment.variables());
        if let Some(provider) = shown(environment.provider()) {
            write_and_read(&provider, project.name());
        }
        read_builds(&environment);
    }
}

/// What a template can ask for is the same on every machine.
fn with_fixed_surroundings(project: Project) -> Project {
    let mut locals = Locals::none();
    locals.username = Some("Ada".to_owned());
    locals.env.insert("REGISTRY".to_owned(), "registry.example".to_owned());
    locals.git = GitState::new("feature/ABC-123_fix", "2c8b0a6f").into();
    project.with_locals(locals).with_variable("fixed.text", "a").with_variable("fixed.number", 1)
}

fn read_builds(environment: &Environment<'_>) {
    for name in shown(environment.builds()).into_iter().flatten().take(MOST) {
        if let Some(build) = shown(environment.build(&name)) {
            let _ = build.request();
            write_and_read_build(&build);
        }
    }
}

fn write_and_read(provider: &ProviderConfig, project_name: &str) {
    let Some(text) = shown(provider.to_yaml(project_name)) else { return };
    let again = crate::parse(&text, FILE).and_then(|project| project.provider("dev"));
    let mut again = again.unwrap_or_else(|error| panic!("{error}\nin what was written:\n{text}"));
    // They are about how the file was written, not about the provider.
    again.notices.clone_from(&provider.notices);
    assert_eq!(&again, provider, "after writing and reading:\n{text}");
}

fn write_and_read_build(build: &BuildConfig) {
    let Some(text) = shown(build.to_yaml()) else { return };
    let text = format!("kind: Project\nname: a\nenvironments: [dev]\n---\n{text}");
    let again = crate::parse(&text, FILE).and_then(|project| project.build(&build.name));
    let mut again = again.unwrap_or_else(|error| panic!("{error}\nin what was written:\n{text}"));
    again.notices.clone_from(&build.notices);
    // The project tells these.
    again.ignore_files.clone_from(&build.ignore_files);
    assert_eq!(&again, build, "after writing and reading:\n{text}");
}

/// Passes a value on, and makes sure that an error can be shown to a user, on any terminal.
fn shown<T>(result: Result<T, ConfigError>) -> Option<T> {
    result.map_err(|error| show(&error)).ok()
}

fn show(error: &ConfigError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 1024 * 1024, "an error of {} bytes", text.len());
    assert_harmless(&text);
    for problem in error.problems() {
        assert!(!problem.headline().contains('\n'), "more than a line: {:?}", problem.headline());
    }
    let mut report = String::new();
    let rendered =
        NarratableReportHandler::new().render_report(&mut report, &ConfigReport::from(error.clone()));
    rendered.expect("a report");
    // A renderer may lay tabs out as it likes.
    assert_harmless(&report.replace('\t', " "));
}

/// A terminal obeys control characters, and shows what follows a bidi control in another order.
fn assert_harmless(text: &str) {
    let harmful = |it: char| {
        it.is_control() && it != '\n' || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(harmful), "{text:?}");
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("project_file", project_file);
}
