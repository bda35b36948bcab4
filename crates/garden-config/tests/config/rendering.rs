//! Errors as text, as data, and through `miette`.

use garden_config::{ConfigReport, NoticeKind, Position};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::support::{project, valid};

const TEXT: &str =
    "kind: Project\nname: shop\nproviders:\n- name: kubernetes\n  buildmode: kaniko # why\n  context: 12\n";

#[test]
fn as_text_an_error_shows_the_line_and_marks_the_word() {
    let error = project(TEXT).and_then(|it| it.provider("dev")).expect_err("wrong");
    assert_eq!(
        error.to_string(),
        "/shop/garden.yml:5:3: `buildmode` is not a field of a kubernetes provider\n  \
           5 |   buildmode: kaniko # why\n    \
             |   ^^^^^^^^^\n  \
           help: did you mean `buildMode`?\n\
         /shop/garden.yml:6:12: `context` must be text, not a number\n  \
           6 |   context: 12\n    \
             |            ^^\n  \
           help: write it in quotes: `\"12\"`"
    );
}

#[test]
fn as_data_a_problem_has_its_parts() {
    let error = project(TEXT).and_then(|it| it.provider("dev")).expect_err("wrong");
    let [problem, _] = error.problems() else { panic!("two problems") };
    assert_eq!(problem.file.as_deref(), Some("/shop/garden.yml".as_ref()));
    assert_eq!(problem.position, Some(Position { line: 5, column: 3 }));
    assert_eq!(problem.hint.as_deref(), Some("did you mean `buildMode`?"));
    let snippet = problem.snippet.as_ref().expect("a line");
    assert_eq!((snippet.line.as_str(), snippet.column, snippet.length), ("  buildmode: kaniko # why", 3, 9));
}

#[test]
fn notices_have_kind_field_and_place() {
    let provider = valid(
        "buildMode: kaniko\nkaniko: {contextDelivery: stdin, util: {}}\nclusterDocker: {}\nresources: {util: {}, sync: {}}\nstorage: {sync: {}, nfs: {}}",
    );
    let notices: Vec<(NoticeKind, &str, usize)> = provider
        .notices
        .iter()
        .map(|it| (it.kind, it.field.as_str(), it.position.map_or(0, |position| position.line)))
        .collect();
    assert_eq!(
        notices,
        [
            (NoticeKind::Advice, "kaniko.namespace", 6),
            (NoticeKind::NoEffect, "kaniko.util", 6),
            (NoticeKind::Deprecated, "clusterDocker", 7),
            (NoticeKind::NoEffect, "resources.util", 8),
            (NoticeKind::NoEffect, "resources.sync", 8),
            (NoticeKind::NoEffect, "storage.sync", 9),
            (NoticeKind::NoEffect, "storage.nfs", 9),
        ]
    );
    assert_eq!(
        provider.notices[1].to_string(),
        "/shop/garden.yml:6:38: `kaniko.util` has no effect: it is for `contextDelivery: sync`\n  help: leave it out"
    );
}

#[test]
fn miette_shows_every_problem_in_its_file() {
    let error = project(TEXT).and_then(|it| it.provider("dev")).expect_err("wrong");
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut shown, &ConfigReport::from(error)).expect("written");
    for part in [
        "there are 2 problems in the configuration",
        "`buildmode` is not a field of a kubernetes provider",
        "[/shop/garden.yml:5:3]",
        "5 │   buildmode: kaniko # why",
        "·   ─────────",
        "help: did you mean `buildMode`?",
        "`context` must be text, not a number",
        "[/shop/garden.yml:6:12]",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn what_was_set_in_rust_is_shown_without_a_file() {
    let mut provider = garden_config::ProviderConfig::kubernetes("shop");
    provider.resources.builder.limits.cpu = 0;
    let error = provider.check().expect_err("wrong");
    assert_eq!(
        error.to_string(),
        "`resources.builder.limits.cpu`: `cpu` must be a whole number of at least 1\n  help: give an amount, or leave the field out\n\
         `resources.builder.requests.cpu`: the request of 100 millicpu exceeds the limit of 0 millicpu\n  help: lower \
         `requests.cpu` or raise `limits.cpu`"
    );
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut shown, &ConfigReport::from(error)).expect("written");
    assert!(shown.contains("exceeds the limit of 0 millicpu"), "{shown}");
}
