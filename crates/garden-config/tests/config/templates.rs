//! What `${…}` stands for in a project file, and what is said where it stands for nothing. The language of
//! templates itself is tested beside it.

use garden_config::{ConfigError, GitState, Locals};
use serde_json::json;

use crate::support::{brief, follows_the_schema, indented, project};

/// A project with these `variables`, whose provider has the value of `template` as `context`.
fn read(variables: &str, template: &str) -> Result<String, ConfigError> {
    let variables = indented(variables, 2);
    let text = format!(
        "kind: Project\nname: shop\nenvironments:\n- name: dev\n  defaultNamespace: team\n  variables: {{own: 1, both: {{b: 2}}}}\n\
         - name: none\n  defaultNamespace: null\nproviders:\n- name: kubernetes\n  namespace: n\n  context: {template}\nvariables:\n{variables}\n"
    );
    let provider = project(&text)?.provider("dev")?;
    follows_the_schema(&text, |_| true);
    Ok(provider.context.unwrap_or_else(|| "(none)".to_owned()))
}

#[test]
fn keys_stand_for_machine_project_environment_and_variables() {
    for (template, expected) in [
        ("${project.name}", "shop"),
        ("${environment.name}", "dev"),
        ("${environment.namespace}", "team"),
        ("${environment.fullName}", "team.dev"),
        ("${local.username} ${local.usernameLowerCase}", "Ada ada"),
        ("${local.env.REGISTRY}", "registry.example"),
        ("${local.env.ABSENT || 'default'}", "default"),
        ("${local.env.ABSENT}?", "(none)"),
        ("${local.projectPath} ${local.artifactsPath}", "/shop /shop/.garden/artifacts"),
        ("<${git.originUrl}>", "<>"),
        ("${command.name}", "build"),
        ("${command.params.force} ${command.params contains 'sync'}", "false false"),
        ("${command.params.sync || 'none'}", "none"),
        ("${git.branch}@${git.commitHash}", "feature/ABC-123_fix@2c8b0a6f"),
        ("${var.a-b} ${variables.a-b}", "1 1"),
        ("${var.list[1]} ${var.list.0}", "y x"),
        ("${jsonEncode(var.both)}", "{\"a\":1,\"b\":2}"),
        ("$${literal}", "${literal}"),
        ("${var.own == 1 ? 'one' : 'other'}", "one"),
    ] {
        let variables = "a-b: '1'\nlist: [x, y]\nboth: {a: 1, b: 1}";
        let found =
            read(variables, &format!("\"{template}\"")).unwrap_or_else(|error| panic!("{template}\n{error}"));
        assert_eq!(found, expected, "{template}");
    }
}

#[test]
fn variables_refer_to_each_other() {
    let found = |variables: &str, template: &str| {
        read(variables, template).unwrap_or_else(|error| brief(&error).replace('\n', " "))
    };
    assert_eq!(found("a: ${var.b}-${var.c.d}\nb: x\nc: {d: '${var.b}'}", "${var.a}"), "x-x");
    assert_eq!(found("a: ${var[var.b]}\nb: c\nc: x", "${var.a}"), "x");
    assert_eq!(found("a: ${environment.name}-${git.branch}", "${var.a}"), "dev-feature/ABC-123_fix");
    // A long chain, which is no deeper on the stack than a short one.
    let chain: Vec<String> = (0..90).map(|index| format!("v{index}: '${{var.v{}}}'\n", index + 1)).collect();
    assert_eq!(found(&format!("{}v90: end", chain.concat()), "${var.v0}"), "end");
}

#[test]
fn variables_that_cannot_be_resolved_are_explained() {
    for (variables, template, expected) in [
        ("a: 1", "${var.b}", "12:14: `var.b` is not set | did you mean `a`?"),
        ("image: 1", "${var.imgae}", "12:14: `var.imgae` is not set | did you mean `image`?"),
        ("a: {b: 1}", "${var.a.c}", "12:14: `var.a.c` is not set | did you mean `b`?"),
        (
            "a: ${var.b}\nb: ${var.a}",
            "${var.a}",
            "12:14: `var.a`, line 14: `var.b`, line 15: `var.a`, line 14: variables refer to each other in a circle: `var.b`, \
             `var.a`, `var.b` | write the \
             value of one of them itself",
        ),
        (
            "a: ${var.a}",
            "x-${var.a}",
            "12:16: `var.a`, line 14: `var.a` refers to itself, and nothing below sets it",
        ),
        (
            "a: ${secrets.x}",
            "${var.a}",
            "12:14: `var.a`, line 14: `secrets` comes from Garden's cloud service, which is \
          not asked here | hand the secret over in an environment variable: `${local.env.NAME}`",
        ),
        (
            "a: 1",
            "${providers.x.outputs.y}",
            "12:14: `providers` tells of providers that Garden has set up, which is \
          not done here | write the value itself, hand it over in an environment variable: `${local.env.NAME}`, or give a default: `${… || \"…\"}`",
        ),
        (
            "a: 1",
            "${datetime.now}",
            "12:14: `datetime` changes all the time, so every build would be another one | hand \
          the time over in an environment variable: `${local.env.NAME}`",
        ),
        ("a: 1", "${enviroment.name}", "12:14: there is no `enviroment` | did you mean `environment`?"),
        (
            "a: 1",
            "${local.env.ABSENT}",
            "12:14: `local.env.ABSENT` is not set | set the environment variable, or give a \
          default: `${local.env.ABSENT || \"…\"}`",
        ),
        (
            "a: 1",
            "${git.tag}",
            "12:14: `git.tag` is not set | use one of `branch`, `commitHash`, `originUrl`",
        ),
    ] {
        let error = read(variables, template).expect_err(template);
        assert_eq!(brief(&error), expected, "{variables} {template}");
    }
}

#[test]
fn an_environment_extends_what_the_project_sets() {
    let text = "kind: Project\nname: shop\nvariables: {tag: base, deep: {a: 1, b: 1}}\nenvironments:\n- name: dev\n  \
                variables: {tag: '${var.tag}-dev', deep: {b: 2}}\n- name: prod\n";
    let variables = |environment: &str| {
        let project = project(text).expect("valid");
        let variables = project.environment(environment).expect("declared").variables();
        serde_json::Value::Object(variables.unwrap_or_else(|error| panic!("{error}")))
    };
    assert_eq!(variables("dev"), json!({ "tag": "base-dev", "deep": { "a": 1, "b": 2 } }));
    assert_eq!(variables("prod"), json!({ "tag": "base", "deep": { "a": 1, "b": 1 } }));
}

#[test]
fn variables_set_from_rust_are_the_strongest() {
    let text = "kind: Project\nname: shop\nvariables: {mode: kaniko, deep: {a: 1, b: 1}}\n";
    let project =
        project(text).expect("valid").with_variable("mode", "local-docker").with_variable("deep.b", 2);
    let variables = project.environment("dev").expect("any").variables().expect("valid");
    assert_eq!(json!(variables), json!({ "mode": "local-docker", "deep": { "a": 1, "b": 2 } }));
}

#[test]
fn variables_are_not_shown() {
    let text = "kind: Project\nname: shop\nvariables: {token: s3cret}\nenvironments: [dev]\n";
    let project = project(text).expect("valid").with_variable("other", "s3cret");
    let shown = format!("{project:?} {:?}", project.environment("dev").expect("declared"));
    assert!(shown.contains("shop") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn files_of_variables_lie_above_those_of_the_project_file() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    write("garden.env", "a=from garden.env\nb=from garden.env\n");
    write("garden.dev.env", "b=from garden.dev.env\n");
    write("more.yml", "c: {x: [1, '${environment.name}']}\n");
    write(
        "garden.yml",
        "kind: Project\nname: shop\nvariables: {a: own, d: own}\nenvironments:\n- dev\n- name: other\n  varfile: more.yml\n\
         - name: broken\n  varfile: none.yml\n",
    );
    let project = garden_config::load(directory.path()).expect("valid").with_locals(Locals::none());
    let variables = |name: &str| {
        let environment = project.environment(name).unwrap_or_else(|error| panic!("{error}"));
        json!(environment.variables().unwrap_or_else(|error| panic!("{error}")))
    };
    assert_eq!(variables("dev"), json!({ "a": "from garden.env", "b": "from garden.dev.env", "d": "own" }));
    assert_eq!(
        variables("other"),
        json!({ "a": "from garden.env", "b": "from garden.env", "d": "own", "c": { "x": [1, "other"] } })
    );
    let error = brief(&project.environment("broken").expect_err("no such file"));
    assert!(error.contains("garden.yml:9:12: the file of variables `none.yml` cannot be read: "), "{error}");
}

#[test]
fn whole_values_keep_their_type_and_lists_and_mappings_can_be_put_together() {
    let text = "kind: Project\nname: shop\nvariables:\n  flags: [--a]\n  registry: {hostname: a.b, port: 5000}\n  big: true\n\
                providers:\n- name: kubernetes\n  buildMode: kaniko\n  kaniko:\n    namespace: null\n    extraFlags:\n    - --first\n    \
                - $concat: ${var.flags}\n    - --last\n  deploymentRegistry:\n    $merge: ${var.registry}\n    namespace: x\n  \
                context:\n    $if: ${var.big}\n    $then: large\n    $else: small\n";
    let provider = project(text).and_then(|it| it.provider("dev")).unwrap_or_else(|error| panic!("{error}"));
    let garden_config::BuildMode::Kaniko(kaniko) = provider.build_mode else { panic!("kaniko") };
    assert_eq!(kaniko.extra_flags, ["--first", "--a", "--last"]);
    let registry = provider.deployment_registry.expect("set");
    assert_eq!((registry.host(), registry.repository("api")), ("a.b:5000".to_owned(), "x/api".to_owned()));
    assert_eq!(provider.context.as_deref(), Some("large"));
}

#[test]
fn operations_that_make_no_sense_are_refused() {
    let refused = |fields: &str| {
        let text = format!("kind: Project\nname: shop\nproviders:\n- name: kubernetes\n{fields}\n");
        brief(&project(&text).and_then(|it| it.provider("dev")).expect_err(fields))
    };
    assert_eq!(refused("  kaniko: {$merge: [a]}"), "5:20: `$merge` must come to a mapping, not a list");
    assert_eq!(
        refused("  kaniko: {extraFlags: [{$concat: a}]}"),
        "5:35: `$concat` must come to a list, not text"
    );
    assert_eq!(
        refused("  context: {$if: 1, $then: a}"),
        "5:18: `$if` must come to `true` or `false`, not a number"
    );
    assert_eq!(
        refused("  context: {$if: true}"),
        "5:13: `$if` needs `$then` | write `$then` beside it, and perhaps `$else`"
    );
    assert_eq!(
        refused("  kaniko: {$forEach: [a]}"),
        "5:12: `$forEach` is not supported | write its result out, or use `$concat` and `$merge`"
    );
    assert_eq!(
        refused("  kaniko: {$merge: '${var.x}', image: a}"),
        "5:23: `var.x` is not set | set it in `variables`, or from outside, as a variable of the project"
    );
}

#[test]
fn what_says_which_environments_there_are_holds_no_templates() {
    let hint = " | templates are for what is inside an environment, a provider, a module or an action";
    for (text, expected) in [
        ("kind: Project\nname: ${var.a}\n", "2:7: `name` cannot hold a template"),
        (
            "kind: Project\nname: a\nenvironments: ['${x}']\n",
            "3:16: the name of an environment cannot hold a template",
        ),
        (
            "kind: Project\nname: a\nproviders: [{name: '${x}'}]\n",
            "3:20: the name of a provider cannot hold a template",
        ),
    ] {
        assert_eq!(brief(&project(text).expect_err(text)), format!("{expected}{hint}"));
    }
}

/// No Garden resolves any there.
#[test]
fn what_says_which_files_there_are_holds_no_templates() {
    let hint = " | templates are for what is inside an environment, a provider, a module or an action";
    for version in ["v0", "v1", "v2"] {
        for (fields, expected) in [
            ("scan: {include: ['${var.a}/**']}", "4:18: `scan` cannot hold a template"),
            ("scan: {exclude: ['a', \"x/${local.env.X || '*'}\"]}", "4:23: `scan` cannot hold a template"),
            ("modules: {exclude: ['${var.a}']}", "4:21: `modules` cannot hold a template"),
            ("dotIgnoreFile: ${var.a}", "4:16: `dotIgnoreFile` cannot hold a template"),
        ] {
            let text = format!("apiVersion: garden.io/{version}\nkind: Project\nname: a\n{fields}\n");
            assert_eq!(brief(&project(&text).expect_err(fields)), format!("{expected}{hint}"));
        }
    }
    let old = "kind: Project\nname: a\ndotIgnoreFiles: ['${var.a}']\n";
    let expected = format!("3:18: `dotIgnoreFiles` cannot hold a template{hint}");
    assert_eq!(brief(&project(old).expect_err(old)), expected);
}

#[test]
fn problems_point_into_the_text_however_it_is_quoted() {
    for (template, column) in [
        ("a-${x}", 16),
        ("\"a-${x}\"", 17),
        ("'ä-${x}'", 17),
        // With an escape in front, the start of the text is as close as can be told.
        ("\"\\t${x}\"", 12),
    ] {
        let error = read("a: 1", template).expect_err(template);
        assert_eq!(
            error.problems()[0].position.map(|it| (it.line, it.column)),
            Some((12, column)),
            "{template}"
        );
    }
}

#[test]
fn a_project_tells_the_git_state_of_its_own_repository() {
    let directory = tempfile::tempdir().expect("directory");
    let text = "kind: Project\nname: shop\nproviders: [{name: kubernetes, context: '${git.branch}'}]\n";
    let context = |locals: Locals| {
        let project = garden_config::parse(text, directory.path().join("garden.yml")).expect("valid");
        project.with_locals(locals).provider("dev").map(|provider| provider.context.unwrap_or_default())
    };
    let refused = context(Locals::of_this_machine()).expect_err("no repository");
    assert_eq!(refused.problems()[0].message, "the project is not in a git repository");
    let git = directory.path().join(".git");
    std::fs::create_dir(&git).expect("directory");
    std::fs::write(git.join("HEAD"), "ref: refs/heads/topic\n").expect("write");
    assert_eq!(context(Locals::of_this_machine()), Ok("topic".to_owned()));
    let mut locals = Locals::none();
    locals.git = GitState::new("other", "").into();
    assert_eq!(context(locals), Ok("other".to_owned()));
}

#[test]
fn a_cache_tag_that_no_registry_takes_is_refused_with_the_reason() {
    let text = "kind: Project\nname: shop\nproviders:\n- name: kubernetes\n  clusterBuildkit:\n    cache:\n    - type: registry\n      \
                tag: _buildcache-${git.branch}\n";
    assert_eq!(
        brief(&project(text).and_then(|it| it.provider("dev")).expect_err("a slash")),
        "8:12: `_buildcache-feature/ABC-123_fix` cannot be the tag of an image | use at most 128 letters, digits, `_`, `.` and \
         `-`, with a letter, digit or `_` first"
    );
}

#[test]
fn a_question_mark_that_vanishes_is_noticed_in_older_files() {
    let notices = |version: &str| {
        let text = format!(
            "apiVersion: garden.io/{version}\nkind: Project\nname: shop\nproviders:\n- name: kubernetes\n  \
             context: 'https://x.example/${{var.a}}?b=c'\nvariables:\n  a: '1'\n  b: ${{var.a}}?\n  c: [\"x ${{var.a}}?${{var.b}}\", '${{var.a}}?&c']\n"
        );
        let provider =
            project(&text).expect("valid").provider("dev").unwrap_or_else(|error| panic!("{error}"));
        let notices = provider.notices.iter();
        let notices = notices.filter(|notice| notice.message.starts_with("this `?`")).map(|notice| {
            let position = notice.position.expect("a place");
            format!("{} {}:{}", notice.field, position.line, position.column)
        });
        (provider.context.clone().unwrap_or_default(), notices.collect::<Vec<_>>())
    };
    let expected = vec!["variables.c[1] 10:39".to_owned(), "context 6:39".to_owned()];
    assert_eq!(notices("v0"), ("https://x.example/1b=c".to_owned(), expected.clone()));
    assert_eq!(notices("v1"), ("https://x.example/1b=c".to_owned(), expected));
    assert_eq!(notices("v2"), ("https://x.example/1?b=c".to_owned(), Vec::new()));
}

#[test]
fn what_is_missing_can_be_made_up_for_around_an_operator_since_0_14() {
    let context = |version: &str, template: &str| {
        let text = format!(
            "apiVersion: garden.io/{version}\nkind: Project\nname: shop\nproviders:\n- name: kubernetes\n  context: \"{template}\"\n"
        );
        let provider = project(&text).expect("valid").provider("dev");
        provider.map(|provider| provider.context.unwrap_or_default()).map_err(|error| brief(&error))
    };
    for template in ["${local.env.CI == 'true' ? 'a' : 'b'}", "${lower(local.env.CI) || 'b'}"] {
        assert_eq!(context("v2", template), Ok("b".to_owned()), "{template}");
        assert!(context("v1", template).is_err_and(|error| error.contains("`local.env.CI` is not set")));
    }
    for version in ["v0", "v1", "v2"] {
        for template in ["${secrets.x || 'd'}", "${providers.p.outputs.x || 'd'}", "${inputs.x || 'd'}"] {
            assert_eq!(context(version, template), Ok("d".to_owned()), "{version} {template}");
        }
        // What Garden knows when it builds is not replaced by a default.
        let refused = context(version, "${actions.build.x.outputs.y || 'd'}");
        assert!(refused.is_err_and(|error| error.contains("`actions`")));
    }
}

#[test]
fn what_is_no_mapping_hides_a_mapping_below_it() {
    let found = |weaker: &str, stronger: &str, key: &str| {
        let text = format!(
            "kind: Project\nname: shop\nvariables: {{x: '1', y: {{b: lowest}}, a: {weaker}}}\nproviders:\n- name: kubernetes\n  \
             context: \"${{var.{key} || 'none'}}\"\nenvironments:\n- name: dev\n  variables: {{a: {stronger}}}\n"
        );
        let provider =
            project(&text).expect("valid").provider("dev").unwrap_or_else(|error| panic!("{error}"));
        provider.context.unwrap_or_default()
    };
    for stronger in ["text", "5", "null", "true", "'${var.x}'", "[c]", "'${[1]}'", "[{$concat: [c]}]"] {
        assert_eq!(found("{b: weaker, 1: x}", stronger, "a.b"), "none", "{stronger}");
        assert_eq!(found("{b: {c: weaker}}", &format!("{{b: {stronger}}}"), "a.b.c"), "none", "{stronger}");
        assert_eq!(
            found("{b: {c: weaker}}", &format!("{{$merge: {{b: {stronger}}}}}"), "a.b.c"),
            "none",
            "{stronger}"
        );
    }
    // A mapping hides a list, and merges with a mapping.
    assert_eq!(found("[c]", "{b: 1}", "a[0]"), "none");
    assert_eq!(found("'${[1]}'", "{b: 1}", "a[0]"), "none");
    assert_eq!(found("{b: weaker}", "{c: 1}", "a.b"), "weaker");
    assert_eq!(found("{b: weaker}", "'${var.y}'", "a.c"), "none");
    assert_eq!(found("{b: weaker}", "'${var.none}?'", "a.b"), "weaker");
    assert_eq!(found("{b: [weaker]}", "{c: 1}", "a.b[0]"), "weaker");
}

/// As with Garden: an environment's variables are resolved with the project's, and only then with each other.
#[test]
fn variables_of_a_layer_prefer_those_of_the_layers_below_to_each_other() {
    let found = |own: &str, key: &str| {
        let text = format!(
            "kind: Project\nname: shop\nvariables: {{tag: base, cfg: {{p: 1, q: {{r: 2}}}}}}\nproviders:\n- name: kubernetes\n  \
             context: \"${{jsonEncode(var.{key})}}\"\nenvironments:\n- name: dev\n  variables: {own}\n"
        );
        let provider =
            project(&text).expect("valid").provider("dev").unwrap_or_else(|error| panic!("{error}"));
        provider.context.unwrap_or_default()
    };
    assert_eq!(found("{tag: dev, full: 'app-${var.tag}'}", "full"), "\"app-base\"");
    assert_eq!(found("{other: dev, full: 'app-${var.other}'}", "full"), "\"app-dev\"");
    assert_eq!(found("{tag: 'x${var.full}', full: 'app-${var.tag}'}", "tag"), "\"xapp-base\"");
    // What a mapping is made of may have the mapping's own name.
    let whole = "{\"p\":1,\"q\":{\"r\":2}}";
    assert_eq!(found("{cfg: '${var.cfg}'}", "cfg"), whole);
    assert_eq!(found("{cfg: {q: '${var.cfg.q}'}}", "cfg"), whole);
    assert_eq!(found("{cfg: {$merge: '${var.cfg}', p: 3}}", "cfg"), "{\"p\":3,\"q\":{\"r\":2}}");
    assert_eq!(found("{$merge: '${var.cfg}', z: 1}", "z"), "1");
    assert_eq!(found("{$merge: '${var.cfg}', z: 1}", "tag"), "\"base\"");
    assert_eq!(found("{cfg: {p: '${var.cfg.q.r}', q: '${var.cfg.p}'}}", "cfg"), "{\"p\":2,\"q\":1}");
}

/// With Garden 0.14, which looks into the scope right below, then into its own, and then further below.
#[test]
fn variables_of_a_file_see_first_those_of_the_declaration_that_names_it() {
    let found = |version: &str, own: &str, file: &str, key: &str| {
        let directory = tempfile::tempdir().expect("directory");
        let text = format!(
            "apiVersion: garden.io/{version}\nkind: Project\nname: shop\nvariables: {{tag: base, low: base}}\nenvironments:\n\
             - name: dev\n  varfile: dev.yml\n  variables: {own}\n"
        );
        std::fs::write(directory.path().join("garden.yml"), text).expect("file");
        std::fs::write(directory.path().join("dev.yml"), file).expect("file");
        let project = garden_config::load(directory.path()).expect("valid").with_variable("set.outside", "1");
        let variables = project.environment("dev").and_then(|it| it.variables());
        variables.unwrap_or_else(|error| panic!("{version} {own} {file}: {error}"))[key].clone()
    };
    for (own, file, v1, v2) in [
        // The declaration comes first.
        ("{tag: own}", "{tag: file, full: 'app-${var.tag}'}", "app-base", "app-own"),
        ("{tag: own}", "{tag: file, full: 'app-${var.low}'}", "app-base", "app-base"),
        // Then the file itself, before the project.
        ("{x: own}", "{tag: file, full: 'app-${var.tag}'}", "app-base", "app-file"),
        ("{x: own}", "{low: file, tag: '${var.low}', full: 'app-${var.tag}'}", "app-base", "app-file"),
        // A declaration without variables does not count, so the project is right below.
        ("{}", "{tag: file, full: 'app-${var.tag}'}", "app-base", "app-base"),
        // A variable that extends the one of its own name.
        ("{x: own}", "{tag: '${var.tag}-file', full: '${var.tag}'}", "base", "base-file"),
        ("{m: {a: own}}", "{m: {b: file}, full: '${var.m.a}-${var.m.b}'}", "own-file", "own-file"),
        // A declaration does not see its file.
        ("{full: '${var.x || 1}-${var.tag}'}", "{x: file, tag: file}", "file-base", "1-base"),
    ] {
        assert_eq!(found("v1", own, file, "full"), v1, "0.13: {own} {file}");
        assert_eq!(found("v2", own, file, "full"), v2, "0.14: {own} {file}");
    }
    assert_eq!(found("v2", "{full: own}", "{full: '${var.full}-file'}", "full"), "own-file");
}

#[test]
fn variables_above_see_what_those_below_were_replaced_by_from_rust() {
    let found = |version: &str| {
        let text = format!(
            "apiVersion: garden.io/{version}\nkind: Project\nname: shop\nvariables: {{tag: base, of-project: '${{var.tag}}'}}\n\
             environments:\n- name: dev\n  variables: {{of-environment: '${{var.tag}}'}}\n---\nkind: Build\ntype: container\nname: api\n\
             variables: {{tag: own, own: '${{var.tag}}'}}\n\
             spec:\n  buildArgs: {{A: '${{var.of-project}}', B: '${{var.of-environment}}', C: '${{var.own}}', D: '${{var.tag}}'}}\n"
        );
        let project = project(&text).expect("valid").with_variable("tag", "rust");
        project.build("api").expect("valid").build_args.into_values().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("v0"), "base base rust rust");
    assert_eq!(found("v1"), "base base rust rust");
    assert_eq!(found("v2"), "base rust rust rust");
}

#[test]
fn each_variable_that_cannot_be_resolved_is_told_where_it_is_set() {
    let text = "kind: Project\nname: shop\nvariables:\n  good: '1'\n  one: ${var.none}\n  deep:\n    two: \"x ${local.env.ABSENT}\"\n    \
                list: ['${upper(1)}']\n    good: ${var.good}\nenvironments:\n- name: dev\n  variables: {three: '${actions.build.x.version}'}\n";
    let project = project(text).expect("valid");
    let error = project.environment("dev").expect("declared").variables().expect_err("three problems");
    let places: Vec<String> = brief(&error).lines().map(|line| line.chars().take(32).collect()).collect();
    assert_eq!(
        places,
        [
            "5:10: `var.none` is not set | di",
            "7:15: `local.env.ABSENT` is not ",
            "8:21: argument `string` of `uppe",
            "12:25: `actions` tells of other ",
        ]
    );
    // A file of variables has lines of its own, which are not those of the project.
    let directory = tempfile::tempdir().expect("directory");
    std::fs::write(directory.path().join("a.env"), "\n\n\n\n\n\nA=${var.none}\n").expect("file");
    let text = "kind: Project\nname: shop\nvarfile: a.env\n";
    let project = garden_config::parse(text, directory.path().join("garden.yml")).expect("valid");
    let error = project.environment("dev").expect("any").variables().expect_err("a problem");
    assert_eq!(error.problems()[0].position.map(|it| it.line), Some(3));
    assert!(error.problems()[0].message.starts_with("`var.none` is not set"), "{error}");
}

#[test]
fn variables_are_told_by_the_lines_that_hold_the_mistake() {
    let told = |variables: &str| {
        let text = format!(
            "kind: Project\nname: shop\nvariables:\n{variables}\nenvironments:\n- name: dev\n  variables: {{hides: 1}}\n"
        );
        let project = project(&text).expect("valid");
        let error = project.environment("dev").expect("declared").variables().expect_err(variables);
        let lines: Vec<String> = brief(&error)
            .lines()
            .map(|line| line.split(" | ").next().unwrap_or_default().to_owned())
            .collect();
        lines.join("\n")
    };
    for (variables, expected) in [
        (
            "  a: 1\n  $merge: ${var.none}\n  b: ${var.none}",
            "5:13: `var.none` is not set\n6:8: `var`, line 5: `var.none` is not set",
        ),
        ("  $merge: {x: 1, y: '${var.none}'}\n  b: 1", "4:24: `var.none` is not set"),
        (
            "  $merge: ${var.x.y}\n  x: {y: '${var.none}'}",
            "4:13: `var.x.y` is not set\n5:13: `var`, line 4: `var.x.y` is not set",
        ),
        (
            "  list:\n  - ok\n  - ${var.none}\n  - deep: {a: '${upper(1)}'}",
            "6:7: `var.none` is not set\n7:24: argument `string` of `upper` must be text, not a number",
        ),
        (
            "  deep:\n    $merge: ${var.none}\n    list: [{$if: '${var.no}', $then: 1}]",
            "5:15: `var.none` is not set\n6:21: `var.no` is not set",
        ),
        (
            "  a: ${var.b}\n  b: ['${var.none}']",
            "4:8: `var.b`, line 5: `var.none` is not set\n5:10: `var.none` is not set",
        ),
        ("  text: |\n    one\n\n    two ${var.none}", "7:11: `var.none` is not set"),
        // What the environment replaces is not wanted.
        ("  hides: ['${var.none}']\n  a: ${var.none}", "5:8: `var.none` is not set"),
    ] {
        assert_eq!(told(variables), expected, "{variables}");
    }
}

#[test]
fn each_mistake_is_told_once_with_what_to_do() {
    let refused = |fields: &str| {
        let text = format!("kind: Project\nname: shop\nproviders:\n- name: kubernetes\n  {fields}\n");
        brief(&project(&text).and_then(|project| project.provider("dev")).expect_err(fields))
    };
    for fields in [
        "imagePullSecrets: [{$forEach: [1], $return: {name: a}}]",
        "kaniko: {extraFlags: [{$forEach: [1], $return: a}]}",
        "kaniko: {$forEach: [1]}",
    ] {
        let told = refused(fields);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("`$forEach` is not supported"), "{told}");
    }
    let told = refused("context: ${actions.build.x.version}");
    assert!(told.contains("`actions` tells of other") && !told.contains("deploys"), "{told}");
    assert_eq!(
        refused("context: ${var.image-tag}"),
        "5:14: `var.image-tag` is not set | set it in `variables`, or from outside, as a variable of the project"
    );
    for (written, expected) in [
        ("context: *NAME*", "`*` begins an alias; write the text in quotes"),
        ("imagePullSecrets: [*.txt]", "`*` begins an alias; write the text in quotes"),
        ("imagePullSecrets:\n  - *.txt", "`*` begins an alias; write the text in quotes"),
        ("context: @scope/name", "`@` is reserved; write the text in quotes"),
        ("context: `name`", "a back quote is reserved; write the text in quotes"),
        ("context: %NAME%", "`%` begins a directive; write the text in quotes"),
    ] {
        let told = refused(written);
        assert!(told.ends_with(expected), "{written}: {told}");
    }
}
