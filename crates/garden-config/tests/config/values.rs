//! One value written in several ways: numbers, booleans, and what each field makes of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use garden_config::{BuildConfig, ConfigError, Locals, Project};
use tempfile::TempDir;

use crate::support::{brief, valid};

/// A project with the files of `files` beside its own, and with these `variables`.
fn directory(variables: &str, files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    let project = format!("kind: Project\nname: shop\nenvironments: [dev, prod]\nvariables: {variables}\n");
    for (path, text) in [("garden.yml", project.as_str())].iter().chain(files) {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
    directory
}

fn project(directory: &TempDir) -> Project {
    garden_config::load(directory.path()).expect("a project").with_locals(Locals::none())
}

/// Reads the action `api` with these fields.
fn action(variables: &str, fields: &str) -> Result<BuildConfig, ConfigError> {
    let text = format!("kind: Build\ntype: container\nname: api\n{fields}\n");
    project(&directory(variables, &[("api/garden.yml", &text)])).build("api")
}

#[test]
fn a_whole_number_may_be_written_in_any_way_and_come_from_a_variable() {
    for (written, seconds) in [
        ("600", 600),
        ("600.0", 600),
        ("1e2", 100),
        ("0x64", 100),
        ("0o144", 100),
        ("'600'", 600),
        ("' 6.0e2 '", 600),
        ("'+7'", 7),
        ("4294967295", 4_294_967_295),
    ] {
        for (variables, timeout) in [("{}", written), (&format!("{{v: {written}}}"), "${var.v}")] {
            let build = action(variables, &format!("timeout: {timeout}"));
            let build = build.unwrap_or_else(|error| panic!("{written} {timeout}: {error}"));
            assert_eq!(build.timeout, Duration::from_secs(seconds), "{written} {timeout}");
        }
    }
    let fields = "buildMode: cluster-buildkit\nstorage: {registry: {size: 1e4}}\nclusterBuildkit:\n  compressionLevel: '9.0'\n  \
                  tolerations: [{key: a, effect: NoExecute, tolerationSeconds: 0x3c}]\n  storage: {size: 2048.0}\n\
                  deploymentRegistry: {hostname: a.example, namespace: a, port: 5e3}";
    let provider = valid(fields);
    assert_eq!(provider.deployment_registry.and_then(|it| it.port), Some(5000));
}

#[test]
fn what_is_no_whole_number_is_refused_directly_and_from_a_variable() {
    let least = "`timeout` must be a whole number of at least 1";
    let range = "`timeout` must be a whole number from 1 to 4294967295";
    for (written, message) in [
        ("0", least),
        ("0.5", least),
        ("'0x64'", least),
        ("010", least),
        ("1_000", least),
        (".inf", least),
        ("1e400", least),
        ("true", least),
        ("[1]", least),
        ("5000000000", range),
        ("5e9", range),
        ("'5e9'", range),
    ] {
        for (variables, timeout) in [("{}", written), (&format!("{{v: {written}}}"), "${var.v}")] {
            let error = action(variables, &format!("timeout: {timeout}")).expect_err(written);
            assert_eq!(error.problems()[0].message, message, "{written} {timeout}");
        }
    }
}

#[test]
fn what_json_has_no_number_for_is_the_text_that_garden_prints() {
    for (written, expected) in
        [("1e400", "Infinity"), (".inf", "Infinity"), ("-.INF", "-Infinity"), (".NaN", "NaN")]
    {
        let fields = format!("spec: {{buildArgs: {{A: {written}, B: '${{var.v}}', C: '<${{var.v}}>'}}}}");
        let args = action(&format!("{{v: {written}}}"), &fields).expect(written).build_args;
        assert_eq!([&args["A"], &args["B"], &args["C"]], [expected, expected, &format!("<{expected}>")[..]]);
    }
}

/// Every field that is `true` or `false` is read in one way.
#[test]
fn a_boolean_may_stand_in_quotes_in_any_case_and_come_from_a_variable() {
    for (written, flag) in [("true", true), ("'TRUE'", true), ("\"True\"", true), ("'fAlSe'", false)] {
        for (variables, disabled) in [("{}", written), (&format!("{{v: {written}}}"), "${var.v}")] {
            for kind in ["Module", "Build"] {
                let text = format!("kind: {kind}\ntype: container\nname: api\ndisabled: {disabled}\n");
                let directory = directory(variables, &[("api/garden.yml", &text), ("api/Dockerfile", "")]);
                let project = project(&directory);
                let listed = project.default_environment().expect("dev").builds().expect("readable");
                assert_eq!(listed.is_empty(), flag, "{kind} {written} {disabled}");
                assert_eq!(project.build("api").is_err(), flag, "{kind} {written} {disabled}");
            }
        }
        let templated =
            format!("kind: Module\ntype: templated\nname: a\ntemplate: none\ndisabled: {written}\n");
        let directory = directory("{}", &[("t/garden.yml", &templated)]);
        assert_eq!(
            project(&directory).default_environment().expect("dev").builds().is_ok(),
            flag,
            "{written}"
        );
        let optional = format!("varfiles: [{{path: none.env, optional: {written}}}]");
        assert_eq!(action("{}", &optional).is_ok(), flag, "{written}");
        let fields = format!("buildMode: cluster-buildkit\nclusterBuildkit: {{rootless: {written}}}");
        let rootless = valid(&fields).build_mode;
        let garden_config::BuildMode::ClusterBuildkit(options) = rootless else { panic!("BuildKit") };
        assert_eq!(options.rootless, flag, "{written}");
    }
    for written in ["yes", "1", "'1'", "''", "' true'"] {
        let error = action("{}", &format!("disabled: {written}")).expect_err(written);
        assert!(brief(&error).contains("`disabled` must be `true` or `false`"), "{error}");
    }
}

/// Whatever is listed is built, or something is wrong with it; and what is not listed is not built.
#[test]
fn what_is_listed_is_what_is_built() {
    for fields in [
        "environments: [prod]",
        "environments: [prod, null]",
        "environments: []",
        "environments: [null]",
        "environments: ['${var.e}']",
        "environments: '${[var.e]}'",
        "environments: [dev, 1]",
        "environments: dev",
        "disabled: '${var.none || \"TRUE\"}'",
        "disabled: '${var.none || \"no\"}'",
        "disabled: {$if: true, $then: 'True'}",
    ] {
        let text = format!("kind: Build\ntype: container\nname: api\n{fields}\n");
        let directory = directory("{e: prod}", &[("api/garden.yml", &text)]);
        let project = project(&directory);
        let is_listed = !project.default_environment().expect("dev").builds().expect("readable").is_empty();
        let left_out = |error: &ConfigError| {
            let says = |it: &garden_config::Problem| {
                it.message == "the Build action is disabled" || it.message.contains("not for the environment")
            };
            error.problems().iter().all(says)
        };
        match project.build("api") {
            Ok(_) => assert!(is_listed, "{fields}"),
            Err(error) => assert_eq!(!left_out(&error), is_listed, "{fields}: {error}"),
        }
    }
}

#[test]
fn a_build_at_its_source_knows_its_place_however_that_is_written() {
    for (written, in_place) in [
        ("true", true),
        ("'True'", true),
        ("'${var.yes}'", true),
        ("{$if: '${var.yes}', $then: true}", true),
        ("'${!var.yes}'", false),
        ("null", false),
    ] {
        for (kind, field, args) in [("Build", "buildAtSource", "spec: "), ("Module", "local", "")] {
            let args = if args.is_empty() {
                "buildArgs: {P: '${this.buildPath}'}".to_owned()
            } else {
                format!("{args}{{buildArgs: {{P: '${{this.buildPath}}'}}}}")
            };
            let text = format!("kind: {kind}\ntype: container\nname: api\n{field}: {written}\n{args}\n");
            let directory = directory("{yes: true}", &[("api/garden.yml", &text), ("api/Dockerfile", "")]);
            let build = project(&directory).build("api").unwrap_or_else(|error| panic!("{error}"));
            let expected = directory.path().join(if in_place { "api" } else { ".garden/build/api" });
            assert_eq!(Path::new(&build.build_args["P"]), expected, "{kind} {written}");
        }
    }
}

/// As Node.js joins paths: by the text, whatever exists.
#[test]
fn dots_are_taken_out_of_a_path_by_its_text() {
    for (path, expected) in
        [("./u/..", "api"), ("u/../src/.", "api/src"), ("../web/./x/..", "web"), (".", "api"), ("''", "api")]
    {
        let text = format!(
            "kind: Build\ntype: container\nname: api\nsource: {{path: {path}}}\nvarfiles: [u/../a.env]\n\
             spec: {{buildArgs: {{P: '${{this.sourcePath}}', A: '${{var.A}}'}}}}\n"
        );
        let directory = directory("{}", &[("api/garden.yml", &text), ("api/a.env", "A=1")]);
        let build = project(&directory).build("api").unwrap_or_else(|error| panic!("{path}: {error}"));
        let expected = directory.path().join(expected);
        assert_eq!(Path::new(&build.build_args["P"]), expected, "{path}");
        // What leads out of the file's directory does so when it is opened, as that may be a link.
        let opened = if path.starts_with("..") { directory.path().join("api/../web") } else { expected };
        assert_eq!(build.directory, opened, "{path}");
        assert_eq!(build.build_args["A"], "1");
    }
}

/// As Garden has it: a module that names a Dockerfile is built, and one that names an image only if it has the usual one.
#[test]
fn a_module_with_an_image_is_built_if_it_names_or_has_a_dockerfile() {
    for (fields, files, is_built) in [
        ("", &[][..], false),
        ("", &["Dockerfile"], true),
        ("", &["dockerfile"], false),
        ("dockerfile: false", &[], false),
        ("dockerfile: null", &["Dockerfile"], true),
        ("dockerfile: release.Dockerfile", &["dockerfile"], true),
        ("dockerfile: release.Dockerfile", &[], true),
        ("dockerfile: '${var.d}'", &[], true),
    ] {
        let text = format!("kind: Module\ntype: container\nname: api\nimage: team/api\n{fields}\n");
        let directory = directory("{d: release.Dockerfile}", &[("api/garden.yml", &text)]);
        for file in files {
            fs::write(directory.path().join("api").join(file), "FROM scratch").expect("file");
        }
        let project = project(&directory);
        let listed = project.default_environment().expect("dev").builds().expect("readable");
        assert_eq!(
            (!listed.is_empty(), project.build("api").is_ok()),
            (is_built, is_built),
            "{fields} {files:?}"
        );
    }
}

#[test]
fn an_imported_variable_that_may_come_from_a_source_that_is_passed_over_says_so() {
    let missing = |imports: &str| {
        let text = format!(
            "kind: Project\nname: shop\nenvironments: [dev]\nvariables: {{a: '${{imported.TOKEN}}'}}\n\
             importVariables:\n- {{from: file, path: a.env, format: dotenv}}\n{imports}\n"
        );
        let directory = directory("{}", &[("garden.yml", &text), ("a.env", "TOKENS=1")]);
        let error = project(&directory).environment("dev").expect("dev").variables().expect_err("missing");
        let problem = &error.problems()[0];
        (problem.message.clone(), problem.hint.clone().unwrap_or_default())
    };
    let (message, hint) = missing("");
    assert!(
        message.ends_with("`imported.TOKEN` is not set") && hint == "did you mean `TOKENS`?",
        "{message} {hint}"
    );
    for source in [
        "{from: exec, command: [x]}",
        "{from: garden-cloud, list: x}",
        "{from: file, path: b.env, format: yaml}",
    ] {
        let (message, hint) = missing(&format!("- {source}"));
        assert!(message.ends_with("`imported.TOKEN` is not set"), "{message}");
        assert_eq!(
            hint,
            "the source of `importVariables` on line 7 of the project file was passed over and may have it: write it into a \
             file, and import that"
        );
    }
}

/// What a program hands over may come from anybody.
#[test]
fn what_is_set_from_rust_is_no_template() {
    let text = "kind: Build\ntype: container\nname: api\nspec: {buildArgs: {A: '${var.branch}', B: '<${var.deep.list[0]}>'}}\n";
    let directory = directory("{}", &[("api/garden.yml", text)]);
    let mut locals = Locals::none();
    locals.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
    let branch = "fix/${local.env.TOKEN}";
    let project = garden_config::load(directory.path())
        .expect("a project")
        .with_locals(locals)
        .with_variable("branch", branch)
        .with_variable("deep", serde_json::json!({ "list": [branch, 1.0] }));
    let build = project.build("api").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(build.build_args["A"], branch);
    assert_eq!(build.build_args["B"], format!("<{branch}>"));
    let variables = project.environment("dev").and_then(|it| it.variables()).expect("resolved");
    assert_eq!(variables["deep"], serde_json::json!({ "list": [branch, 1] }));
}

/// With the variables of modules and actions, which see what is set from Rust, in between.
#[test]
fn what_is_set_from_rust_is_no_template_to_the_variables_that_take_it() {
    let branch = "fix/${local.env.TOKEN}-$${var.b}";
    for version in ["v0", "v1", "v2"] {
        for (kind, files, spec) in
            [("Module", "varfile: own.env", "buildArgs"), ("Build", "varfiles: [own.env]", "spec")]
        {
            let args = "{A: '${var.own}', B: '${var.branch}', C: '${var.of-file}', D: '${var.of-project}'}";
            let args = if spec == "spec" { format!("{{buildArgs: {args}}}") } else { args.to_owned() };
            let text = format!(
                "kind: {kind}\ntype: container\nname: api\n{files}\nvariables: {{own: '<${{var.branch}}>', branch: own}}\n{spec}: {args}\n"
            );
            let project_text = format!(
                "apiVersion: garden.io/{version}\nkind: Project\nname: shop\nenvironments: [dev]\n\
                 variables: {{branch: main, of-project: '${{var.branch}}'}}\n"
            );
            let files = [
                ("garden.yml", project_text.as_str()),
                ("api/garden.yml", &text),
                ("api/own.env", "of-file=[${var.branch}]"),
                ("api/Dockerfile", ""),
            ];
            let directory = directory("{}", &files);
            let mut locals = Locals::none();
            locals.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
            let project = garden_config::load(directory.path()).expect("a project").with_locals(locals);
            let build = project.with_variable("branch", branch).build("api");
            let args = build.unwrap_or_else(|error| panic!("{version} {kind}: {error}")).build_args;
            let of_file = if version == "v2" { "[own]".to_owned() } else { format!("[{branch}]") };
            assert_eq!(args["A"], format!("<{branch}>"), "{version} {kind}");
            assert_eq!(args["B"], branch, "{version} {kind}");
            assert_eq!(args["C"], of_file, "{version} {kind}");
            assert_eq!(args["D"], "main", "{version} {kind}");
        }
    }
}

/// What an operation at the root brings counts for `this` as it does for the build.
#[test]
fn a_place_that_an_operation_brings_is_the_one_of_the_build() {
    for (fields, expected) in [
        ("$merge: {buildAtSource: 'True'}", "api"),
        ("buildAtSource: true\n$merge: {buildAtSource: false}", ".garden/build/api"),
        ("buildAtSource: true\n$merge: {source: {path: src}}", "api/src"),
        ("buildAtSource: true\nsource: {$merge: {path: '${var.path}'}}", "api/src"),
        ("buildAtSource: true\n$merge: {description: '${this.buildPath}'}", "api"),
    ] {
        let args = "spec: {buildArgs: {P: '${this.buildPath}'}}";
        let text = format!("kind: Build\ntype: container\nname: api\n{fields}\n{args}\n");
        let directory = directory("{path: src}", &[("api/garden.yml", &text), ("api/src/Dockerfile", "")]);
        let build = project(&directory).build("api").unwrap_or_else(|error| panic!("{fields}: {error}"));
        assert_eq!(Path::new(&build.build_args["P"]), directory.path().join(expected), "{fields}");
    }
    let text = "kind: Module\ntype: container\nname: api\n$merge: {local: true}\nbuildArgs: {P: '${this.buildPath}'}\n";
    let directory = directory("{}", &[("api/garden.yml", text), ("api/Dockerfile", "")]);
    let build = project(&directory).build("api").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Path::new(&build.build_args["P"]), directory.path().join("api"));
}

/// A list leaves nothing out on a guess.
#[test]
fn what_an_operation_may_change_is_listed() {
    for operation in
        ["$merge: '${var.none}'", "$merge: {$if: '${var.none}', $then: {dockerfile: a.Dockerfile}}"]
    {
        let image = format!("kind: Module\ntype: container\nname: api\nimage: team/api\n{operation}\n");
        let directory = directory("{}", &[("api/garden.yml", &image)]);
        let project = project(&directory);
        let listed = project.default_environment().and_then(|it| it.builds());
        assert_eq!(listed, Ok(vec!["api".to_owned()]), "{operation}");
        assert!(project.build("api").is_err(), "{operation}");
    }
    let templated =
        "kind: Module\ntype: templated\nname: a\ntemplate: none\ndisabled: true\n$merge: {disabled: false}\n";
    let directory = directory("{}", &[("t/garden.yml", templated)]);
    assert!(project(&directory).default_environment().expect("dev").builds().is_err());
}

/// The file may say that it is built, whatever the template makes of its absence.
#[test]
fn what_is_disabled_for_want_of_a_file_of_variables_is_listed() {
    for fields in [
        "disabled: '${var.off || true}'",
        "environments: ['${var.name || \"other\"}']",
        "disabled: '${var.on}'",
        "$merge: {disabled: '${!var.miss?}'}",
    ] {
        for file in ["none.env", "${var.none}", "broken.yml"] {
            let api = format!("kind: Build\ntype: container\nname: api\nvarfiles: ['{file}']\n{fields}\n");
            let files = [("api/garden.yml", api.as_str()), ("api/broken.yml", "a: [")];
            let directory = directory("{on: true}", &files);
            let project = project(&directory);
            let listed = project.default_environment().and_then(|it| it.builds());
            assert_eq!(listed, Ok(vec!["api".to_owned()]), "{file} {fields}");
            assert!(project.build("api").is_err(), "{file} {fields}");
        }
    }
    // What asks for no variable is known.
    let api = "kind: Build\ntype: container\nname: api\nvarfiles: [none.env]\ndisabled: '${environment.name == \"dev\"}'\n";
    let directory = directory("{}", &[("api/garden.yml", api)]);
    assert_eq!(project(&directory).default_environment().and_then(|it| it.builds()), Ok(Vec::new()));
}
