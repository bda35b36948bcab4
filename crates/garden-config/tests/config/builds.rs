//! Modules and actions: what they give, what they give where a field is left out, and what is said of wrong ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use garden_config::{BuildConfig, ConfigError, Locals};
use tempfile::TempDir;

use crate::support::{follows_the_schema, indented};

const PROJECT: &str =
    "kind: Project\nname: shop\nenvironments: [dev, prod]\nvariables: {a: '1', stage: release}\n";

/// What belongs to git and Garden.
const NEVER: [&str; 4] = [".git", ".gitmodules", ".garden", "debug-info*/**"];

/// A project directory with these files besides the project's.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for (path, text) in [("project.garden.yml", PROJECT)].iter().chain(files) {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
    directory
}

fn build(directory: &TempDir, name: &str) -> Result<BuildConfig, ConfigError> {
    let build = garden_config::load(directory.path())?.with_locals(Locals::none()).build(name)?;
    for file in ["project.garden.yml", "api/garden.yml"] {
        if let Ok(text) = fs::read_to_string(directory.path().join(file)) {
            follows_the_schema(&text, |document| document["kind"] == "Project" || document["name"] == name);
        }
    }
    Ok(build)
}

/// All problems, with paths relative to the project's directory.
fn refused(directory: &TempDir, name: &str) -> String {
    let error = build(directory, name).expect_err(name);
    let problems = error.problems().iter().map(|problem| {
        let help = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}{help}", problem.headline())
    });
    let root = format!("{}/", directory.path().display());
    problems.collect::<Vec<_>>().join("\n").replace(&root, "")
}

/// The module `api` with these fields, which start on line 4 at column 1.
fn module(fields: &str) -> TempDir {
    let text = format!("kind: Module\ntype: container\nname: api\n{fields}\n");
    directory(&[("api/garden.yml", &text), ("api/Dockerfile", "")])
}

/// The action `api` with these fields of `spec`, which start on line 5 at column 3.
fn action(spec: &str) -> TempDir {
    let text = format!("kind: Build\ntype: container\nname: api\nspec:\n{}\n", indented(spec, 2));
    directory(&[("api/garden.yml", &text)])
}

fn valid(directory: &TempDir) -> BuildConfig {
    build(directory, "api").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn nothing_set_gives_the_defaults() {
    let (module, action) = (module(""), action(""));
    let of = |directory: &TempDir, timeout| {
        let mut expected = BuildConfig::new("api", directory.path().join("api"));
        expected.timeout = timeout;
        let mut found = valid(directory);
        assert_eq!(found.ignore_files.take().expect("the project's").names, [".gardenignore"]);
        assert_eq!(found, expected);
    };
    of(&module, BuildConfig::MODULE_TIMEOUT);
    of(&action, BuildConfig::ACTION_TIMEOUT);
}

#[test]
fn a_module_may_take_as_long_as_with_the_garden_that_the_project_is_for() {
    for (version, timeout) in [
        ("v0", BuildConfig::MODULE_TIMEOUT),
        ("v1", BuildConfig::ACTION_TIMEOUT),
        ("v2", BuildConfig::ACTION_TIMEOUT),
    ] {
        let directory = module("");
        let project = format!("apiVersion: garden.io/{version}\n{PROJECT}");
        fs::write(directory.path().join("project.garden.yml"), project).expect("file");
        assert_eq!(valid(&directory).timeout, timeout, "{version}");
    }
}

#[test]
fn every_field_of_a_module() {
    let text = format!(
        "kind: Module\ntype: container\nname: api\n{}\n",
        "description: x\nbuild: {targetImage: '${var.stage}', timeout: 30, dependencies: [base, {name: other, copy: []}]}\n\
         image: registry.example/team/api:1.0\ndockerfile: docker/Dockerfile\n\
         buildArgs: {TEXT: a, NUMBER: 1.10, FLAG: false, TEMPLATE: '${var.a}', NONE: null, EMPTY: ''}\n\
         extraFlags: [--x, 3]\ninclude: [src/**, '*.txt']\nexclude: [src/tmp]\nservices: [{name: x, anything: '${x}'}]",
    );
    let build = valid(&directory(&[("api/garden.yml", &text), ("api/docker/Dockerfile", "")]));
    assert_eq!((build.target.as_deref(), build.timeout), (Some("release"), Duration::from_secs(30)));
    assert_eq!((build.image.as_deref(), build.image_name()), (Some("team/api"), "api"));
    assert_eq!(build.publish_id.as_deref(), Some("registry.example/team/api:1.0"));
    assert_eq!(build.dockerfile, Path::new("docker/Dockerfile"));
    let arguments: Vec<(&str, &str)> =
        build.build_args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // What is null or empty is left to the Dockerfile's default.
    assert_eq!(arguments, [("FLAG", "false"), ("NUMBER", "1.1"), ("TEMPLATE", "1"), ("TEXT", "a")]);
    assert_eq!(build.extra_flags, ["--x", "3"]);
    assert_eq!(build.include, Some(vec!["src/**".to_owned(), "*.txt".to_owned()]));
    assert_eq!(build.exclude, ["src/tmp"]);
    assert_eq!(valid(&module("image: false\ndockerfile: false")).image, None);
}

#[test]
fn every_field_of_an_action() {
    let directory = directory(&[(
        "api/actions.garden.yml",
        "kind: Build\ntype: container\nname: api\nsource: {path: ../src}\nenvironments: [dev]\nversion: {excludeFiles: [x]}\n\
         include: []\nexclude: ['${var.a}.txt']\ntimeout: 7\ndependencies: [build.base]\nspec:\n  localId: team/web\n  \
         publishId: registry.example/web\n  targetStage: a\n  dockerfile: Dockerfile.web\n  buildArgs: {A: 1}\n  \
         extraFlags: [--x]\n  platforms: [linux/amd64, linux/arm64]\n  secrets: {token: s3cret}\n",
    )]);
    let build = valid(&directory);
    assert_eq!(build.directory, directory.path().join("api/../src"));
    assert_eq!(
        (build.image.as_deref(), build.publish_id.as_deref()),
        (Some("team/web"), Some("registry.example/web"))
    );
    assert_eq!((build.target.as_deref(), build.dockerfile.to_str()), (Some("a"), Some("Dockerfile.web")));
    assert_eq!(
        (build.include.as_deref(), build.exclude.as_slice()),
        (Some(&[][..]), &["1.txt".to_owned()][..])
    );
    assert_eq!(
        (build.build_args["A"].as_str(), build.extra_flags.as_slice()),
        ("1", &["--x".to_owned()][..])
    );
    assert_eq!(build.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(build.secrets["token"].expose(), b"s3cret");
    assert!(!format!("{build:?}").contains("s3cret"));
    assert_eq!(build.timeout, Duration::from_secs(7));
}

#[test]
fn the_request_for_a_builder_has_it_all() {
    let mut build =
        valid(&action("localId: team/web\nbuildArgs: {A: b}\nplatforms: [linux/arm64]\nsecrets: {t: s}"));
    build.include = Some(vec!["src/*.{a,b}".to_owned()]);
    let request = build.request();
    assert_eq!((request.name.as_str(), request.directory.as_path()), ("web", build.directory.as_path()));
    assert_eq!(
        (request.build_args["A"].as_str(), request.platforms.as_slice()),
        ("b", build.platforms.as_slice())
    );
    assert_eq!((request.secrets, request.timeout), (build.secrets, build.timeout));
    assert_eq!((&request.globs.include, &request.globs.exclude), (&build.include, &build.exclude));
    assert_eq!((request.include, request.exclude), (None, Vec::from(NEVER.map(str::to_owned))));
    assert_eq!(request.ignore_files, build.ignore_files);
}

#[test]
fn wrong_fields_of_modules_are_named() {
    let copies = "copy them there before the build, or use `COPY --from` in the Dockerfile";
    for (fields, expected) in [
        (
            "buildargs: {}",
            "4:1: `buildargs` is not a field of a container module | did you mean `buildArgs`?",
        ),
        (
            "build: {targetStage: a}",
            "4:9: `targetStage` is not a field of `build` | did you mean `targetImage`?",
        ),
        ("build: {timeout: 0}", "4:18: `timeout` must be a whole number of at least 1"),
        ("buildArgs: [a]", "4:12: `buildArgs` must be a mapping, not a list"),
        ("buildArgs: {A: [b]}", "4:16: the build argument `A` must be text, not a list | use `jsonEncode`"),
        (
            "buildArgs: {A: '${var.none}'}",
            "4:19: `var.none` is not set | set it in `variables`, or from outside, as a variable of the project",
        ),
        (
            "image: A",
            "4:8: `A` cannot be the name of an image | write lower-case letters and digits, and parts separated by \
          `/`, without registry and tag",
        ),
        (
            "dockerfile: ../Dockerfile",
            "4:13: `../Dockerfile` must lie inside of the build context | write its path relative to \
          the context directory",
        ),
        ("include: src", "4:10: `include` must be a list, not text"),
        (
            "include: [../a]",
            "4:10: the glob `../a` leads out of the directory | write it relative to the directory, without `..`",
        ),
        (
            "exclude: ['!a']",
            "4:10: the glob `!a` starts with `!` | put what is not to be matched into the other of `include` \
          and `exclude`",
        ),
        (
            "disabled: true",
            "4:1: the module is disabled | remove `disabled` from the module, or select an environment in which it \
          is false",
        ),
        (
            "repositoryUrl: x",
            "4:1: `repositoryUrl`: repositories are not fetched here | check the repository out, and point the \
          project at it",
        ),
        (
            "generateFiles: [{}]",
            &format!(
                "4:1: `generateFiles`: files that Garden makes before a build are not put into the build \
          context here | {copies}"
            ),
        ),
        (
            "build: {dependencies: [{name: b, copy: [{source: a}]}]}",
            &format!(
                "4:34: `copy`: files of other builds are not put \
          into the build context here | {copies}"
            ),
        ),
    ] {
        let expected = format!("api/garden.yml:{expected}");
        assert_eq!(refused(&module(fields), "api"), expected, "{fields}");
    }
}

#[test]
fn wrong_fields_of_actions_are_named() {
    for (spec, expected) in [
        ("targetImage: a", "5:3: `targetImage` is not a field of `spec`"),
        ("localId: A", "5:12: `A` cannot be the name of an image"),
        ("publishId: A", "5:14: `A` is not an image reference: invalid reference format"),
        ("dockerfile: /a", "5:15: `/a` must lie inside of the build context"),
        ("platforms: linux/arm64", "5:14: `platforms` must be a list, not text"),
        ("secrets: [s3cret]", "5:12: `secrets` must be a mapping from ids to texts"),
        ("secrets: {a: 123456}", "5:16: the secret `a` must be text, not a number"),
        ("secrets: {'a b': x}", "5:12: `a b` cannot be the id of a secret"),
    ] {
        let shown = refused(&action(spec), "api");
        assert!(shown.starts_with(&format!("api/garden.yml:{expected}")), "{spec}\n{shown}");
    }
    let outside = |fields: &str| {
        let text = format!("kind: Build\ntype: container\nname: api\n{fields}\n");
        refused(&directory(&[("api/garden.yml", &text)]), "api")
    };
    assert_eq!(
        outside("environments: [prod]"),
        "api/garden.yml:4:1: the action is not for the environment `dev` | select one of its own, or add `dev` to `environments`"
    );
    assert!(
        outside("copyFrom: [{build: a}]")
            .starts_with("api/garden.yml:4:1: `copyFrom`: files of other builds are not")
    );
    assert!(
        outside("source: {repository: {url: x}}")
            .starts_with("api/garden.yml:4:10: `repository`: repositories are not")
    );
}

#[test]
fn no_error_shows_a_secret() {
    for spec in [
        "secrets: {a: 123456, b: s3cret}\ntargetstage: x",
        "secrets:\n  a: 123456\n  b: |\n    s3cret\ntargetstage: x",
        "secrets: [s3cret, 123456]",
        "secrets: {a: '${var.none}s3cret123456'}",
    ] {
        let error = build(&action(spec), "api").expect_err(spec);
        let shown = format!("{error}\n{error:?}");
        // What is kept for renderers is the file without these lines.
        assert!(!shown.contains("s3cret") && !shown.contains("123456"), "{spec}\n{shown}");
    }
}

#[test]
fn builds_are_found_in_all_files_that_the_project_does_not_ignore() {
    let document = |kind: &str, name: &str| format!("kind: {kind}\ntype: container\nname: {name}\n---\n");
    let files = [
        ("a/garden.yml", document("Module", "a1") + &document("Build", "a2") + "kind: Deploy\nname: a3\n"),
        ("b/c/b.garden.yaml", document("Build", "b")),
        ("b/other.yml", document("Build", "not-read")),
        (".garden/garden.yml", document("Build", "not-read")),
        ("ignored/garden.yml", document("Build", "not-read")),
        (".gardenignore", "ignored/\n".to_owned()),
        ("d/garden.yml", "kind: Build\ntype: exec\nname: d\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let project = directory(&files);
    let names = |project: &TempDir| {
        let project = garden_config::load(project.path()).expect("valid");
        let environment = project.environment("dev").expect("declared");
        environment.builds().unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(names(&project), ["a1", "a2", "b"]);

    fs::write(
        project.path().join("project.garden.yml"),
        format!("{PROJECT}scan: {{include: [a, b], exclude: ['b/**']}}\n"),
    )
    .expect("write");
    assert_eq!(names(&project), ["a1", "a2"]);
    fs::write(
        project.path().join("project.garden.yml"),
        format!("{PROJECT}modules: {{exclude: [a]}}\ndotIgnoreFile: none\n"),
    )
    .expect("write");
    assert_eq!(names(&project), ["b", "not-read"]);
}

#[test]
fn what_an_environment_does_not_build_is_not_among_its_builds() {
    let project = directory(&[
        ("a/garden.yml", "kind: Module\ntype: container\nname: image-only\nimage: postgres:16\n"),
        ("b/garden.yml", "kind: Module\ntype: container\nname: named\nimage: team/b\n"),
        ("b/Dockerfile", ""),
        ("c/garden.yml", "kind: Build\ntype: container\nname: off\ndisabled: ${environment.name == 'dev'}\n"),
        ("d/garden.yml", "kind: Build\ntype: container\nname: elsewhere\nenvironments: [prod]\n"),
        // Building it will tell what is wrong.
        ("e/garden.yml", "kind: Build\ntype: container\nname: broken\ndisabled: ${var.none}\n"),
    ]);
    let names = |environment: &str| {
        let project = garden_config::load(project.path()).expect("valid");
        project.environment(environment).and_then(|it| it.builds()).unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(names("dev"), ["broken", "named"]);
    assert_eq!(names("prod"), ["broken", "elsewhere", "named", "off"]);
}

#[test]
fn a_module_with_an_image_from_a_template_and_no_dockerfile_is_not_built() {
    let module =
        |name: &str, fields: &str| format!("kind: Module\ntype: container\nname: {name}\n{fields}\n");
    let project = directory(&[
        ("a/garden.yml", &module("unknown", "image: ${runtime.services.x.image}")),
        ("b/garden.yml", &module("of-a-file", "image: ${var.image}\nvarfile: b.env")),
        ("b/b.env", "image=postgres:16\n"),
        ("c/garden.yml", &module("has-dockerfile", "image: ${runtime.x}")),
        ("c/Dockerfile", ""),
        ("d/garden.yml", &module("other-dockerfile", "image: team/d\ndockerfile: ${var.stage}.Dockerfile")),
        ("d/release.Dockerfile", ""),
        ("e/garden.yml", &module("no-image", "image: ${false}")),
    ]);
    let project = garden_config::load(project.path()).expect("valid");
    let names = project.environment("dev").and_then(|it| it.builds());
    assert_eq!(names.expect("readable"), ["has-dockerfile", "no-image", "other-dockerfile"]);
}

#[test]
fn the_files_of_a_project_are_read_once() {
    let document = |name: &str| {
        format!("kind: Build\ntype: container\nname: {name}\nspec: {{targetStage: '${{var.stage}}'}}\n")
    };
    let directory = directory(&[("a/garden.yml", &document("a"))]);
    let project = garden_config::load(directory.path()).expect("valid").with_locals(Locals::none());
    let names = |project: &garden_config::Project| project.environment("dev").and_then(|it| it.builds());
    assert_eq!(names(&project), Ok(vec!["a".to_owned()]));
    fs::write(directory.path().join("a/garden.yml"), "not: [yaml").expect("write");
    fs::create_dir(directory.path().join("b")).expect("directory");
    fs::write(directory.path().join("b/garden.yml"), document("b")).expect("write");
    assert_eq!(names(&project), Ok(vec!["a".to_owned()]));
    // What templates stand for is not kept.
    let other = project.clone().with_variable("stage", "debug");
    assert_eq!(project.build("a").expect("read").target.as_deref(), Some("release"));
    assert_eq!(other.build("a").expect("read").target.as_deref(), Some("debug"));
    fs::remove_file(directory.path().join("a/garden.yml")).expect("remove");
    assert_eq!(names(&garden_config::load(directory.path()).expect("valid")), Ok(vec!["b".to_owned()]));
}

#[test]
fn files_of_variables_are_read_once() {
    let build = "kind: Build\ntype: container\nname: a\nvarfiles: [a.env, {path: b.yml, optional: true}]\n\
                 spec: {buildArgs: {A: '${var.own}', B: '${var.other}', P: '${var.all}'}}\n";
    let module = "kind: Module\ntype: container\nname: m\nvarfile: m.json\nbuildArgs: {A: '${var.own}', P: '${var.all}'}\n";
    let files = [
        ("garden.env", "all=1"),
        ("a/garden.yml", build),
        ("a/a.env", "own=1"),
        ("a/b.yml", "other: 1"),
        ("m/garden.yml", module),
        ("m/m.json", "{\"own\": 1}"),
    ];
    let directory = directory(&files);
    let arguments = |project: &garden_config::Project| {
        let environment = project.environment("dev").expect("declared");
        assert_eq!(environment.builds(), Ok(vec!["a".to_owned(), "m".to_owned()]));
        let of =
            |name: &str| environment.build(name).expect("valid").build_args.into_values().collect::<String>();
        of("a") + &of("m")
    };
    let project = garden_config::load(directory.path()).expect("valid").with_locals(Locals::none());
    assert_eq!(arguments(&project), "11111");
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with("garden.yml")) {
        fs::write(directory.path().join(path), text.replace('1', "2")).expect("write");
    }
    assert_eq!(arguments(&project.clone()), "11111");
    for path in ["garden.env", "a/b.yml"] {
        fs::remove_file(directory.path().join(path)).expect("remove");
    }
    assert_eq!(arguments(&project), "11111", "what need not exist, too");
    fs::write(directory.path().join("garden.env"), "all=2").expect("write");
    fs::write(directory.path().join("a/b.yml"), "other: 2").expect("write");
    // Where they may lead is another thing in a confined project.
    assert_eq!(arguments(&project.confined()), "22222");
    assert_eq!(arguments(&garden_config::load(directory.path()).expect("valid")), "22222");
}

#[test]
fn a_file_of_variables_is_read_once_by_whatever_path_it_is_named() {
    let module = |name: &str, varfile: &str| {
        format!(
            "kind: Module\ntype: container\nname: {name}\nvarfile: {varfile}\nbuildArgs: {{A: '${{var.a}}'}}\n"
        )
    };
    let directory = directory(&[
        ("one/garden.yml", &module("one", "../shared.yml")),
        ("two/garden.yml", &module("two", "../one/.././shared.yml")),
        ("shared.yml", "a: before\n"),
    ]);
    let project = garden_config::load(directory.path()).expect("valid").with_locals(Locals::none());
    assert_eq!(project.build("one").expect("valid").build_args["A"], "before");
    fs::write(directory.path().join("shared.yml"), "a: after\n").expect("write");
    assert_eq!(project.build("two").expect("valid").build_args["A"], "before");
}

#[test]
fn files_that_could_not_be_read_are_read_again() {
    let directory = directory(&[("a/garden.yml", "kind: Build\ntype: container\nname: a\n")]);
    let file = directory.path().join("a/garden.yml");
    let text = fs::read(&file).expect("read");
    fs::write(&file, b"\xff").expect("write");
    let project = garden_config::load(directory.path()).expect("valid");
    let names = || project.environment("dev").and_then(|it| it.builds());
    assert!(names().is_err());
    fs::write(&file, text).expect("write");
    assert_eq!(names(), Ok(vec!["a".to_owned()]));
}

/// A list without it would be taken for all there is.
#[test]
fn a_build_whose_name_type_or_environments_cannot_be_told_is_not_passed_over() {
    let listed = |document: &str| {
        let directory = directory(&[("api/garden.yml", document), ("api/Dockerfile", "FROM scratch\n")]);
        let project = garden_config::load(directory.path()).expect("valid").with_locals(Locals::none());
        let names = project.environment("dev").and_then(|it| it.builds());
        names.map_err(|error| {
            let found = &error.problems()[0];
            format!("{} {}", found.position.expect("a place").line, found.message)
        })
    };
    let build = |rest: &str| listed(&format!("kind: Build\n{rest}"));
    for (rest, expected) in [
        ("name: api", "1 a Build action needs the field `type`, written out as text"),
        ("type: container", "1 a Build action needs the field `name`, written out as text"),
        ("type: container\nname: 5", "3 a Build action needs the field `name`, written out as text"),
        ("type: container\nname: [api]", "3 a Build action needs the field `name`, written out as text"),
        ("type: '${var.a}'\nname: api", "2 a Build action needs the field `type`, written out as text"),
    ] {
        assert_eq!(build(rest), Err(expected.to_owned()), "{rest}");
    }
    let module = listed("kind: Module\ntype: '${\"templated\"}'\nname: api");
    assert_eq!(module, Err("2 a module needs the field `type`, written out as text".to_owned()));
    // Those that are built elsewhere are known to be; of others, `build` says what is wrong.
    let of = |environments: &str| {
        build(&format!("type: container\nname: api\nenvironments: {environments}"))
            .unwrap_or_else(|error| panic!("{environments}: {error}"))
    };
    for environments in ["[prod]", "[]", "['${\"prod\"}']"] {
        assert_eq!(of(environments), Vec::<String>::new(), "{environments}");
    }
    for environments in [
        "[dev]",
        "['${local.env.NOPE}']",
        "'${actions.build.x.version}'",
        "dev",
        "[1]",
        "[prod, '${var.none}']",
    ] {
        assert_eq!(of(environments), ["api"], "{environments}");
    }
}

#[test]
fn what_may_make_builds_and_is_not_expanded_is_told() {
    let template = |kind: &str, name: &str, list: &str| format!("kind: {kind}\nname: {name}\n{list}\n---\n");
    let maker =
        |head: &str, template: &str| format!("{head}\nname: made-{template}\ntemplate: {template}\n---\n");
    let images = template("ConfigTemplate", "image", "configs: [{kind: Build, type: container, name: x}]")
        + &template("ModuleTemplate", "old", "modules: [{type: '${parent.name}'}]")
        + &template(
            "ConfigTemplate",
            "chart",
            "configs: [{kind: Deploy, type: helm}, {kind: Build, type: exec}]",
        )
        + &template("ConfigTemplate", "none", "inputsSchemaPath: x.json");
    let plain = ("api/garden.yml", "kind: Build\ntype: container\nname: api\n");
    let builds = |makers: &str, head: &str| {
        let directory = directory(&[plain, ("templates.garden.yml", &images), ("made/garden.yml", makers)]);
        fs::write(directory.path().join("project.garden.yml"), format!("{PROJECT}{head}")).expect("write");
        let project = garden_config::load(directory.path()).expect("valid");
        let environment = project.environment("dev").expect("declared");
        assert_eq!(environment.written_builds(), Ok(vec!["api".to_owned()]));
        let told = |error: ConfigError| {
            let root = format!("{}/", directory.path().display());
            let problems = error.problems().iter().map(|it| it.headline().replace(&root, ""));
            problems.collect::<Vec<_>>().join("\n")
        };
        let hint = refused(&directory, "web").split_once(" | ").map(|(_, hint)| hint.to_owned());
        (environment.builds().map_err(told), hint.expect("a hint"))
    };
    // What only deploys or makes nothing does not stand in the way.
    let makers = maker("kind: RenderTemplate", "chart")
        + &maker("kind: RenderTemplate", "none")
        + &maker("kind: RenderTemplate\ndisabled: true", "image");
    assert_eq!(builds(&makers, ""), (Ok(vec!["api".to_owned()]), "it has `api`".to_owned()));

    let makers = maker("kind: RenderTemplate", "image")
        + &maker("kind: Module\ntype: templated", "old")
        + &maker("kind: RenderTemplate", "missing");
    let (told, hint) = builds(&makers, "sources: [{name: x, repositoryUrl: 'https://git.example/x#main'}]\n");
    let not_here = "may make images to build, and templates are not expanded here";
    assert_eq!(
        told.expect_err("not whole"),
        format!(
            "project.garden.yml:5:1: `sources` may hold images to build, and repositories are not fetched here\n\
             made/garden.yml:1:1: the `kind: RenderTemplate` `made-image` {not_here}\n\
             made/garden.yml:5:1: the module of `type: templated` `made-old` {not_here}\n\
             made/garden.yml:10:1: the `kind: RenderTemplate` `made-missing` {not_here}"
        )
    );
    assert_eq!(
        hint,
        "it may come from the field `sources` (project.garden.yml:5), the `kind: RenderTemplate` `made-image` \
         (made/garden.yml:1), the module of `type: templated` `made-old` (made/garden.yml:5), 1 more, which are not \
         expanded here"
    );
}

#[test]
fn what_the_project_scans_is_read_as_files_and_not_as_directories() {
    let action = |name: &str| format!("kind: Build\ntype: container\nname: {name}\n");
    let names = |scan: &str| {
        let files = [
            ("top.garden.yml", action("top")),
            ("services/garden.yml", action("services")),
            ("services/api/garden.yml", action("api")),
            ("services/api/deep/garden.yml", action("deep")),
            ("other/garden.yml", action("other")),
            ("ignored/garden.yml", action("ignored")),
            (".gardenignore", "ignored\n".to_owned()),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let directory = directory(&files);
        fs::write(directory.path().join("project.garden.yml"), format!("{PROJECT}{scan}\n")).expect("write");
        let project = garden_config::load(directory.path()).expect("valid");
        project.environment("dev").and_then(|it| it.builds()).expect("readable").join(" ")
    };
    for (scan, expected) in [
        ("scan: {}", "api deep other services top"),
        ("scan: {include: [./services/**/*]}", "api deep services"),
        ("modules: {include: [./services/api]}", "api deep"),
        ("scan: {include: [services/*]}", "services"),
        ("scan: {include: ['*']}", "top"),
        ("scan: {include: [services//api/, ./]}", "api deep other services top"),
        ("scan: {include: ['**/*']}", "api deep other services top"),
        ("scan: {include: [ignored]}", ""),
        ("scan: {exclude: [services/*]}", "api deep other top"),
        ("scan: {exclude: [./services]}", "other top"),
        ("scan: {exclude: ['**/api/**/*', top.garden.yml]}", "other services"),
        ("scan: {exclude: [.]}", ""),
    ] {
        assert_eq!(names(scan), expected, "{scan}");
    }
    let text = format!("{PROJECT}scan: {{include: [../x]}}\n");
    let error = garden_config::parse(&text, "garden.yml").expect_err("outside");
    assert_eq!(
        error.problems().first().map(garden_config::Problem::headline).as_deref(),
        Some("garden.yml:5:17: the glob `../x` leads out of the directory")
    );
}

#[test]
fn a_build_in_the_projects_own_file_is_found() {
    let text = format!("{PROJECT}---\nkind: Module\ntype: container\nname: api\n");
    let project = garden_config::parse(&text, "/nowhere/garden.yml").expect("valid");
    assert_eq!(project.build("api").map(|build| build.directory), Ok("/nowhere".into()));
}

#[test]
fn a_build_that_cannot_be_found_is_explained() {
    let api = "kind: Build\ntype: container\nname: api\n";
    let found = [
        ("a/garden.yml", api),
        ("b/garden.yml", "kind: Deploy\nname: web\n---\nkind: Build\ntype: exec\nname: make\n"),
    ];
    let project = directory(&found);
    for (name, expected) in [
        (
            "apy",
            "project.garden.yml:1:1: the project has no module and no Build action `apy` | did you mean `api`?",
        ),
        (
            "database",
            "project.garden.yml:1:1: the project has no module and no Build action `database` | it has `api`, `make`",
        ),
        (
            "web",
            "project.garden.yml:1:1: the project has no module and no Build action `web` | `web` is the name of a \
          `kind: Deploy`, which is not built",
        ),
        (
            "make",
            "b/garden.yml:5:7: the Build action `make` has the type `exec`; only `container` can be built here",
        ),
    ] {
        assert_eq!(refused(&project, name), expected);
    }
    let none = "project.garden.yml:1:1: the project has no module and no Build action `api` | ";
    assert_eq!(
        refused(&directory(&[]), "api"),
        format!("{none}they are read from files called `garden.yml` or `….garden.yml`")
    );
    assert_eq!(
        refused(&directory(&[("a/garden.yml", api), ("b/garden.yml", api)]), "api")
            .replace("a/", "")
            .replace("b/", ""),
        "garden.yml:1:1: there are two modules or actions called `api`; the other is at garden.yml:1 | rename one of the two"
    );
    assert_eq!(
        refused(&directory(&[("a/garden.yml", "kind: Build\nname: api\n")]), "api"),
        "a/garden.yml:1:1: a Build action needs the field `type` | write `type: container`"
    );
}

#[test]
fn a_file_that_is_no_yaml_stands_in_the_way_only_of_what_is_not_found_elsewhere() {
    let project = directory(&[
        ("a/garden.yml", "kind: Build\ntype: container\nname: api\n"),
        ("b/garden.yml", "a: b: c\n"),
    ]);
    assert_eq!(build(&project, "api").map(|build| build.name), Ok("api".to_owned()));
    assert_eq!(
        refused(&project, "web"),
        "b/garden.yml:1:5: this is not valid YAML: mapping values are not allowed in this context"
    );
}

#[test]
fn a_module_that_only_names_an_image_has_nothing_to_build() {
    let text = "kind: Module\ntype: container\nname: db\nimage: postgres:16\n";
    assert_eq!(
        refused(&directory(&[("db/garden.yml", text)]), "db"),
        "db/garden.yml:4:1: the module `db` has no Dockerfile: it uses the image `postgres:16` as it is | there is nothing to \
         build; remove `image`, or add a Dockerfile"
    );
}

#[test]
fn own_variables_lie_above_those_of_the_environment() {
    let project = directory(&[
        (
            "m/garden.yml",
            "kind: Module\ntype: container\nname: m\nvariables: {a: '${var.a}-m', b: own}\nvarfile: '${this.name}.env'\n\
             buildArgs: {A: '${var.a}', B: '${var.b}', N: '${this.name}'}\n",
        ),
        ("m/m.env", "b=file\n"),
        (
            "n/garden.yml",
            "kind: Build\ntype: container\nname: n\nvariables: {b: own}\nvarfiles: [n.yml, {path: none.env, optional: true}]\n\
             spec: {buildArgs: {A: '${var.a}', B: '${var.b}'}}\n",
        ),
        ("n/n.yml", "b: file\n"),
    ]);
    let arguments = |name: &str| {
        let build = build(&project, name).unwrap_or_else(|error| panic!("{error}"));
        build.build_args.into_values().collect::<Vec<_>>()
    };
    assert_eq!(arguments("m"), ["1-m", "file", "m"]);
    assert_eq!(arguments("n"), ["1", "file"]);
}

#[test]
fn what_is_set_in_rust_is_checked_by_the_same_rules() {
    let mut build = BuildConfig::new("API", ".");
    build.image = Some("A".to_owned());
    build.dockerfile = "../Dockerfile".into();
    build.exclude.push("{a".to_owned());
    let error = build.check().expect_err("wrong");
    let fields: Vec<&str> =
        error.problems().iter().filter_map(|problem| problem.message.split('`').nth(1)).collect();
    assert_eq!(fields, ["name", "image", "dockerfile", "exclude"]);
}

#[test]
fn a_build_knows_where_it_stands() {
    let fields = "buildArgs:\n  NAME: ${this.name}\n  PATH: ${this.path}\n  STAGED: ${this.buildPath}\n";
    let module = module(&format!("{fields}  MODE: \"${{this.mode || 'none'}}\"\n  VAR: ${{this.var.a}}"));
    let root = module.path().display().to_string();
    let args = valid(&module).build_args;
    let expected = [
        ("MODE", "none".to_owned()),
        ("NAME", "api".to_owned()),
        ("PATH", format!("{root}/api")),
        ("STAGED", format!("{root}/.garden/build/api")),
        ("VAR", "1".to_owned()),
    ];
    assert_eq!(args, expected.map(|(name, value)| (name.to_owned(), value)).into());

    for (head, sourced, staged) in [
        ("", "/api", "/.garden/build/api"),
        ("source: {path: ../src}", "/src", "/.garden/build/api"),
        ("source: {path: '../${var.stage}'}\nbuildAtSource: true", "/release", "/release"),
    ] {
        let text = format!(
            "kind: Build\ntype: container\nname: api\n{head}\nvariables: {{mode: '${{this.mode}}'}}\nspec:\n  buildArgs:\n    \
             MODE: ${{this.mode}} ${{var.mode}}\n    PATH: ${{this.sourcePath}}\n    STAGED: ${{this.buildPath}}\n    \
             DISABLED: ${{this.disabled}}\n    COMMAND: ${{command.name}}\n"
        );
        let directory = directory(&[("api/garden.yml", &text)]);
        let root = directory.path().display().to_string();
        let args = valid(&directory).build_args;
        let expected = [
            ("COMMAND", "build".to_owned()),
            ("DISABLED", "false".to_owned()),
            ("MODE", "default default".to_owned()),
            ("PATH", format!("{root}{sourced}")),
            ("STAGED", format!("{root}{staged}")),
        ];
        assert_eq!(args, expected.map(|(name, value)| (name.to_owned(), value)).into(), "{head}");
    }
}

#[test]
fn imported_variables_are_texts_of_their_own() {
    let project = |imports: &str| {
        format!(
            "apiVersion: garden.io/v2\nkind: Project\nname: shop\nenvironments: [dev]\nimportVariables:\n{imports}\n"
        )
    };
    let files = |imports: &str| {
        directory(&[
            ("project.garden.yml", &project(imports)),
            ("one", "A: 1\nnothing\nB=two\nT=${var.x}\n"),
            ("two.env", "B: 1.10\nC: {x: [1, null]}\nN: null\nF: false\n"),
            (
                "api/garden.yml",
                "kind: Build\ntype: container\nname: api\nspec:\n  buildArgs:\n    ALL: ${jsonEncode(imported)}\n    A: \"${secrets.A || 'none'}\"\n    \
                 V: \"${var.A || 'none'}\"\n    X: \"${imported.X || 'none'}\"\n",
            ),
        ])
    };
    let directory =
        files("- {from: file, path: one, format: dotenv}\n- {from: file, path: two.env, format: yaml}");
    let build = valid(&directory);
    let expected = [
        ("A", "1"),
        ("ALL", r#"{"A":"1","B":"1.1","C":"{\"x\":[1,null]}","F":"false","N":"","T":"${var.x}"}"#),
        ("V", "none"),
        ("X", "none"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(build.build_args, expected.map(owned).into());
    assert_eq!(build.notices, []);

    let directory =
        files("- {from: file, path: none.env, format: dotenv}\n- {from: exec, command: [x], format: json}");
    let notices = valid(&directory).notices;
    let messages: Vec<&str> = notices.iter().map(|notice| notice.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the file of variables `none.env` does not exist, so nothing is imported from it",
            "variables are imported from files only, so these are not set",
        ]
    );
    assert_eq!(
        refused(&files("- {from: file, path: one}\n- {path: one, format: toml}"), "api"),
        "project.garden.yml:6:3: each of `importVariables` needs the field `format`\n\
         project.garden.yml:7:3: each of `importVariables` needs the field `from`"
    );
    let text = "kind: Project\nname: shop\nenvironments: [{name: dev, importVariables: []}]\n";
    let error =
        garden_config::parse(text, "project.garden.yml").expect_err("Garden knows it of projects only");
    assert!(error.to_string().contains("`importVariables` is not a field of an environment"), "{error}");
}

#[test]
fn files_of_variables_are_read_as_dotenv_reads_them() {
    let directory = directory(&[
        (
            "garden.env",
            "# c\nexport A: one # why\nthis is no assignment\nB=\"two\\nlines\" # why\nC='it\\'s'\n",
        ),
        (
            "api/garden.yml",
            "kind: Build\ntype: container\nname: api\nspec:\n  buildArgs: {A: '${var.A}', B: '${var.B}', C: '${var.C}'}\n",
        ),
    ]);
    let expected = [("A", "one"), ("B", "two\nlines"), ("C", "it\\'s")];
    assert_eq!(
        valid(&directory).build_args,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
}

#[test]
fn a_number_is_the_same_directly_and_through_a_variable() {
    for (written, expected) in [
        ("1.10", "1.1"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("0x1F", "31"),
        ("-0.50", "-0.5"),
        ("12345678901234567890", "12345678901234567000"),
        ("9007199254740993", "9007199254740992"),
        ("'1.10'", "1.10"),
    ] {
        let directory = directory(&[(
            "api/garden.yml",
            &format!(
                "kind: Build\ntype: container\nname: api\nvariables: {{v: {written}}}\nspec:\n  buildArgs: {{A: {written}, B: '${{var.v}}', C: '${{var.v}}.'}}\n  \
                 extraFlags: [--x, {written}]\n"
            ),
        )]);
        let build = valid(&directory);
        assert_eq!(build.build_args["A"], expected, "{written}");
        assert_eq!(build.build_args["B"], expected, "{written}");
        assert_eq!(build.build_args["C"], format!("{expected}."), "{written}");
        assert_eq!(build.extra_flags, ["--x", expected]);
    }
}

#[test]
fn a_local_id_may_be_a_full_name_and_false_is_none() {
    for (written, image, in_registry) in [
        ("registry.example:5000/team/web:1.0", Some("team/web"), "web"),
        ("registry.example/web", Some("web"), "web"),
        ("team/web:1.0", Some("team/web"), "web"),
        ("web", Some("web"), "web"),
        ("false", None, "api"),
        ("null", None, "api"),
    ] {
        let build = valid(&action(&format!("localId: {written}\npublishId: false")));
        assert_eq!(build.image.as_deref(), image, "{written}");
        assert_eq!(build.image_name(), in_registry, "{written}");
        assert_eq!(build.publish_id, None);
    }
}

#[test]
fn a_module_takes_platforms_and_secrets() {
    let build = valid(&module("platforms: [linux/arm64]\nsecrets: {token: s3cret}"));
    assert_eq!(build.platforms, ["linux/arm64"]);
    assert_eq!(build.secrets.keys().collect::<Vec<_>>(), ["token"]);
    let error = refused(&module("secrets: {token: [s3cret]}"), "api");
    assert!(error.contains("the secret `token` must be text") && !error.contains("s3cret"), "{error}");
}

#[test]
fn an_image_set_in_rust_has_no_registry() {
    for (image, valid) in
        [("team/web", true), ("registry.example/web", false), ("localhost/web", false), ("web:1", false)]
    {
        let mut build = BuildConfig::new("api", ".");
        build.image = Some(image.to_owned());
        assert_eq!(build.check().is_ok(), valid, "{image}");
    }
}
