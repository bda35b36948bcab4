//! A list of what is built is whole: what Garden refuses is an error, what it passes over is noticed, and what only Garden can
//! make is named.

use std::fs;

use garden_config::{ConfigError, Locals, Notice, NoticeKind, Project};
use tempfile::TempDir;

const API: &str = "kind: Build\ntype: container\nname: api\n";

/// A project for the Garden of `version` with these files besides the project's.
fn directory(version: &str, files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    let project =
        format!("apiVersion: garden.io/{version}\nkind: Project\nname: shop\nenvironments: [dev, prod]\n");
    for (path, text) in [("project.garden.yml", project.as_str())].iter().chain(files) {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
    directory
}

fn load(directory: &TempDir) -> Project {
    garden_config::load(directory.path()).expect("valid").with_locals(Locals::none())
}

/// What is built in the environment `dev`, with the problems as `file:line:column: message | help`.
fn builds(directory: &TempDir) -> Result<Vec<String>, String> {
    load(directory).environment("dev").and_then(|it| it.builds()).map_err(|error| told(directory, &error))
}

fn told(directory: &TempDir, error: &ConfigError) -> String {
    let problems = error.problems().iter().map(|problem| {
        let help = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}{help}", problem.headline())
    });
    problems.collect::<Vec<_>>().join("\n").replace(&format!("{}/", directory.path().display()), "")
}

fn notices(directory: &TempDir) -> Vec<Notice> {
    load(directory).environment("dev").and_then(|it| it.notices()).expect("readable")
}

/// The documents beside one that is built.
const BESIDE: [(&str, &str); 8] = [
    ("type: container\nname: web", "1:1: a document needs the field `kind` | "),
    ("kind: null\nname: web", "1:1: a document needs the field `kind` | "),
    ("[web]", "1:1: a document must be a mapping with the field `kind`, not a list | "),
    ("web", "1:1: a document must be a mapping with the field `kind`, not text | "),
    ("kind: build\nname: web", "1:7: `build` is not a kind of document | did you mean `Build`?"),
    ("kind: Biuld\nname: web", "1:7: `Biuld` is not a kind of document | did you mean `Build`?"),
    ("kind: ${'Build'}\nname: web", "1:7: `kind` cannot hold a template | "),
    ("kind: [Build]\nname: web", "1:7: `kind` must be text, not a list | "),
];

#[test]
fn a_document_of_no_known_kind_is_refused_as_garden_refuses_it() {
    for (document, expected) in BESIDE {
        for version in ["v1", "v2"] {
            let directory = directory(version, &[("api/garden.yml", API), ("web/garden.yml", document)]);
            let error = builds(&directory).expect_err(document);
            assert!(error.starts_with(&format!("web/garden.yml:{expected}")), "{error}");
            // What is found does not depend on it, and what is not found may be it.
            assert!(load(&directory).build("api").is_ok(), "{document}");
            let missing = load(&directory).build("web").expect_err("missing");
            assert_eq!(told(&directory, &missing), error);
        }
    }
    // All mistakes are told at once.
    let files = [
        ("a/garden.yml", "kind: Biuld\n---\nkind: Modul\n"),
        ("b/garden.yml", "kind: build\n"),
        ("c/garden.yml", API),
    ];
    assert_eq!(
        builds(&directory("v1", &files)).expect_err("three"),
        "a/garden.yml:1:7: `Biuld` is not a kind of document | did you mean `Build`?\n\
         a/garden.yml:3:7: `Modul` is not a kind of document | did you mean `Module`?\n\
         b/garden.yml:1:7: `build` is not a kind of document | did you mean `Build`?"
    );
}

#[test]
fn what_garden_0_12_passes_over_with_a_warning_is_noticed() {
    for (document, expected) in BESIDE {
        let directory = directory("v0", &[("api/garden.yml", API), ("web/garden.yml", document)]);
        let (at, _) = expected.split_once(" | ").expect("help");
        if document.starts_with("kind:") && !document.starts_with("kind: null") {
            assert_eq!(builds(&directory), Ok(vec!["api".to_owned()]), "{document}");
            let [notice] = &notices(&directory)[..] else { panic!("{document}") };
            assert_eq!((notice.kind, notice.field.as_str()), (NoticeKind::PassedOver, "kind"));
            let place = format!("{}/web/garden.yml:", directory.path().display());
            assert!(
                notice.to_string().starts_with(&format!("{place}{at}, so the document is passed over")),
                "{notice}"
            );
        } else {
            assert!(builds(&directory).expect_err(document).contains(at), "{document}");
        }
    }
}

#[test]
fn what_builds_nothing_and_empty_documents_say_nothing() {
    let kinds =
        ["Deploy", "Run", "Test", "Command", "Workflow", "ConfigTemplate", "ModuleTemplate", "Project"];
    let documents: Vec<String> =
        kinds.iter().map(|kind| format!("---\nkind: {kind}\nname: x-{kind}\n")).collect();
    let text = format!("{API}{}---\n---\n# nothing\n", documents.concat());
    for version in ["v0", "v1", "v2"] {
        let directory = directory(version, &[("a/garden.yml", &text)]);
        assert_eq!(builds(&directory), Ok(vec!["api".to_owned()]));
        assert_eq!(notices(&directory), []);
    }
}

#[test]
fn a_type_that_garden_does_not_have_is_refused() {
    for (document, expected) in [
        (
            "kind: Module\ntype: Container\nname: web\n",
            "2:7: the module `web` has the type `Container`; only `container` can be built here | did you mean `container`?",
        ),
        (
            "kind: Build\ntype: cotnainer\nname: web\n",
            "2:7: the Build action `web` has the type `cotnainer`; only `container` can be built here | did you mean `container`?",
        ),
        (
            "kind: Build\ntype: helm\nname: web\n",
            "2:7: the Build action `web` has the type `helm`; only `container` can be built here | \
             use one of `container`, `exec`, `jib-container`",
        ),
    ] {
        let directory = directory("v0", &[("api/garden.yml", API), ("web/garden.yml", document)]);
        assert_eq!(builds(&directory), Err(format!("web/garden.yml:{expected}")));
        assert_eq!(
            told(&directory, &load(&directory).build("web").expect_err("refused")),
            format!("web/garden.yml:{expected}")
        );
    }
    for document in ["kind: Module\ntype: helm\nname: web\n", "kind: Build\ntype: exec\nname: web\n"] {
        let directory = directory("v0", &[("api/garden.yml", API), ("web/garden.yml", document)]);
        assert_eq!(builds(&directory), Ok(vec!["api".to_owned()]), "{document}");
    }
}

#[test]
fn an_image_that_only_garden_can_build_is_named() {
    for (head, what) in [
        (
            "kind: Build\ntype: jib-container",
            "Build action `web` makes an image, and those of `type: jib-container`",
        ),
        (
            "kind: Module\ntype: maven-container",
            "module `web` makes an image, and those of `type: maven-container`",
        ),
    ] {
        let text = format!("{head}\nname: web\n");
        let of = directory("v0", &[("api/garden.yml", API), ("web/garden.yml", &text)]);
        assert_eq!(
            builds(&of),
            Err(format!(
                "web/garden.yml:1:1: the {what} cannot be built here | build it with Garden, or list only what stands in files (written builds)"
            ))
        );
        let written = load(&of).environment("dev").and_then(|it| it.written_builds());
        assert_eq!(written, Ok(vec!["api".to_owned()]));
        let disabled = directory(
            "v0",
            &[("api/garden.yml", API), ("web/garden.yml", &format!("{text}disabled: true\n"))],
        );
        assert_eq!(builds(&disabled), Ok(vec!["api".to_owned()]));
    }
}

#[test]
fn templates_of_which_it_cannot_be_told_what_they_make_are_named() {
    let made = |template: &str| {
        let render = "kind: RenderTemplate\nname: made\ntemplate: t\n";
        let template = format!("kind: ConfigTemplate\nname: t\n{template}\n");
        builds(&directory("v1", &[("a/garden.yml", render), ("t/garden.yml", &template)]))
    };
    for template in [
        "modules: [{type: templated, name: x, template: other}]",
        "modules: [{type: Container, name: x}]",
        "modules: [{type: helm, name: x, $merge: {type: container}}]",
        "modules: [{type: jib-container, name: x}]",
        "configs: [{kind: Deploy, type: helm, $merge: {kind: Build}}]",
        "configs: [{$concat: [{kind: Build}]}]",
        "configs: [{kind: Build, type: '${\"container\"}'}]",
    ] {
        assert!(made(template).expect_err(template).contains("may make images to build"), "{template}");
    }
    for template in [
        "modules: [{type: helm, name: x}]",
        "configs: [{kind: Build, type: exec}, {kind: Test}]",
        "configs: null",
    ] {
        assert_eq!(made(template), Ok(Vec::new()), "{template}");
    }
    let render = "kind: RenderTemplate\nname: made\ntemplate: t\n$merge: {template: other}\n";
    let template = "kind: ConfigTemplate\nname: t\nconfigs: [{kind: Deploy, type: helm}]\n";
    let directory = directory("v1", &[("a/garden.yml", render), ("t/garden.yml", template)]);
    assert!(builds(&directory).expect_err("another template").contains("may make images to build"));
}

#[test]
fn two_templates_of_one_name_are_refused() {
    let render = "kind: RenderTemplate\nname: made\ntemplate: t\n";
    let (image, chart) = (
        "kind: ConfigTemplate\nname: t\nconfigs: [{kind: Build, type: container, name: x}]\n",
        "kind: ModuleTemplate\nname: t\nmodules: [{type: helm, name: x}]\n",
    );
    for (first, second) in [(image, chart), (chart, image)] {
        let directory =
            directory("v1", &[("a/garden.yml", first), ("b/garden.yml", second), ("c/garden.yml", render)]);
        let place = format!("{}/a/garden.yml:1", directory.path().display());
        assert_eq!(
            builds(&directory).map_err(|error| error.replace(&place, "a/garden.yml:1")),
            Err("b/garden.yml:1:1: there are two templates called `t`; the other is at a/garden.yml:1 | rename one of the two".to_owned())
        );
    }
}

#[test]
fn two_builds_of_one_name_are_refused_unless_the_environment_leaves_one_out() {
    let of = |first: &str, second: &str| {
        let directory = directory(
            "v1",
            &[("a/garden.yml", first), ("b/garden.yml", second), ("a/Dockerfile", ""), ("b/Dockerfile", "")],
        );
        let names = builds(&directory);
        let built = load(&directory).build("api").map(|build| build.directory.ends_with("a"));
        (
            names.map_err(|error| {
                error.contains("b/garden.yml:1:1: there are two modules or actions called `api`")
            }),
            built.ok(),
        )
    };
    let module = "kind: Module\ntype: container\nname: api\n";
    let twice = (Err(true), None);
    let one = |is_first: bool| (Ok(vec!["api".to_owned()]), Some(is_first));
    let off = |fields: &str| format!("{API}{fields}\n");
    assert_eq!(of(API, API), twice);
    assert_eq!(of(API, &off("disabled: ${environment.name == 'prod'}")), twice);
    assert_eq!(of(API, "kind: Build\ntype: exec\nname: api\n"), twice);
    assert_eq!(of(API, module), twice);
    for left_out in [
        "disabled: true",
        "disabled: ${environment.name == 'dev'}",
        "environments: [prod]",
        "$merge: {disabled: true}",
    ] {
        assert_eq!(of(API, &off(left_out)), one(true), "{left_out}");
        assert_eq!(of(&off(left_out), API), one(false), "{left_out}");
        // Modules are never left out, and nothing beside them.
        assert_eq!(of(module, &off(left_out)), twice, "{left_out}");
        assert_eq!(of(&off(left_out), &off(left_out)), (Ok(Vec::new()), None), "{left_out}");
    }
    assert_eq!(of(module, &format!("{module}disabled: true\n")), twice);
    // A Deploy is another thing.
    assert_eq!(of(API, "kind: Deploy\ntype: container\nname: api\n"), one(true));
}

/// `build` and `builds` see the same.
#[test]
fn operations_at_the_root_of_a_document_count() {
    let listed = |fields: &str| {
        let directory =
            directory("v1", &[("api/garden.yml", &format!("{API}{fields}\n")), ("api/Dockerfile", "")]);
        let (names, build) =
            (builds(&directory), load(&directory).build("api").map_err(|error| told(&directory, &error)));
        match &names {
            Ok(names) => assert_eq!(names.len() == 1, build.is_ok(), "{fields}"),
            Err(error) => assert_eq!(Some(error), build.as_ref().err(), "{fields}"),
        }
        names
    };
    for fields in [
        "$merge: {disabled: true}",
        "$merge: {environments: [prod]}",
        "disabled: false\n$merge: {disabled: true}",
        "$merge: {disabled: 'TRUE'}",
        "variables: {off: {disabled: 'True'}}\n$merge: '${var.off}'",
    ] {
        assert_eq!(listed(fields), Ok(Vec::new()), "{fields}");
    }
    for fields in [
        "$merge: {disabled: true}\ndisabled: false",
        "$merge: {disabled: 'FALSE'}",
        "$merge: {environments: [dev]}",
        "$merge: {timeout: 5}",
    ] {
        assert_eq!(listed(fields), Ok(vec!["api".to_owned()]), "{fields}");
    }
    for field in ["kind: Deploy", "type: exec", "name: web", "variables: {a: 1}", "varfiles: [a.env]"] {
        let name = field.split_once(':').map_or(field, |(name, _)| name);
        assert_eq!(
            listed(&format!("$merge: {{{field}}}")),
            Err(format!(
                "api/garden.yml:4:10: `{name}` counts only where it is written in the document itself | write it beside `kind`, \
                 not within `$merge` or `$if`"
            ))
        );
    }
}

#[cfg(unix)]
#[test]
fn a_relative_link_that_stays_in_the_project_stands_for_its_file() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().expect("directory");
    fs::write(outside.path().join("x.yml"), API.replace("api", "outside")).expect("file");
    let linked = |target: &str| {
        let directory =
            directory("v1", &[("shared/api.yml", API), ("web/garden.yml", &API.replace("api", "web"))]);
        fs::create_dir(directory.path().join("a")).expect("directory");
        let target = target.replace("ROOT", &directory.path().display().to_string());
        let target = target
            .replace("OUTSIDE", &format!("../../{}", outside.path().file_name().expect("name").display()));
        symlink(target, directory.path().join("a/garden.yml")).expect("link");
        directory
    };
    let read = linked("../shared/api.yml");
    for project in [load(&read), load(&read).confined()] {
        assert_eq!(
            project.environment("dev").and_then(|it| it.builds()),
            Ok(vec!["api".to_owned(), "web".to_owned()])
        );
        // Its paths start where the link is.
        assert_eq!(project.build("api").map(|build| build.directory), Ok(read.path().join("a")));
    }
    // As with Garden.
    let absolute = linked("ROOT/shared/api.yml");
    assert_eq!(builds(&absolute), Ok(vec!["web".to_owned()]));
    let [notice] = &notices(&absolute)[..] else { panic!("one notice") };
    assert_eq!(notice.file.as_deref(), Some(&*absolute.path().join("a/garden.yml")));
    assert_eq!(notice.message, "the link is passed over, as it is absolute");

    let help = "put the file itself there, or leave the link out with `scan.exclude`";
    for (target, reason) in [
        ("OUTSIDE/x.yml", "it leads out of the project's directory"),
        ("nothing.yml", "No such file or directory (os error 2)"),
    ] {
        let directory = linked(target);
        assert_eq!(
            builds(&directory),
            Err(format!("a/garden.yml: the link cannot be read: {reason} | {help}"))
        );
        assert!(load(&directory).build("web").is_ok());
    }
    assert_eq!(builds(&linked("../shared")), Ok(vec!["web".to_owned()]));
}
