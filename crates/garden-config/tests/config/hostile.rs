//! Project files that were not written to be read: each is refused at a place, or read as what it says.

use std::time::Duration;

use garden_config::ConfigError;
use garden_test_programs::cpu_time;
use serde_json::Value;

use crate::support::{HEAD, brief, project};

const VARIABLES: &str = "kind: Project\nname: shop\nvariables:\n";

/// Reads all that a file can be asked for.
fn read(text: &str) -> Result<Value, ConfigError> {
    let project = project(text)?;
    let environment = project.environment("dev")?;
    let variables = environment.variables()?;
    environment.provider()?;
    for name in environment.builds()?.iter().take(2) {
        environment.build(name)?.request();
    }
    Ok(Value::Object(variables))
}

/// Checks that each text is refused in time, with words that contain those beside it, and with an error that
/// can be shown. The stack is that of any test's thread, 2 MiB.
fn refused(cases: &[(&str, String, &str)]) {
    for (name, text, expected) in cases {
        let begun = cpu_time();
        let error = read(text).expect_err(name);
        // A fault that this is about takes minutes.
        let used = cpu_time().saturating_sub(begun);
        assert!(used < Duration::from_secs(30), "{name}: {used:?}");
        let shown = brief(&error);
        assert!(shown.contains(expected), "{name}: {}", shown.chars().take(500).collect::<String>());
        assert!(error.problems().iter().all(|problem| problem.position.is_some()), "{name}");
        assert!(error.problems().len() <= 100 && error.to_string().len() < 1024 * 1024, "{name}");
        assert_harmless(&error);
    }
}

fn assert_harmless(error: &ConfigError) {
    for shown in [error.to_string(), report(error)] {
        let harmful = |it: char| {
            it.is_control() && it != '\n' || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!shown.contains(harmful), "{shown:?}");
    }
}

/// What `miette` shows of an error, except for tabs, which it lays out.
fn report(error: &ConfigError) -> String {
    let mut report = String::new();
    let handler = miette::NarratableReportHandler::new();
    let rendered = handler.render_report(&mut report, &garden_config::ConfigReport::from(error.clone()));
    rendered.expect("a report");
    report.replace('\t', " ")
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let bomb = lines(11, |level| {
        let aliases = format!("*a{level}, ").repeat(10);
        format!("  a{}: &a{} [{aliases}]\n", level + 1, level + 1)
    });
    let large = "x".repeat(200_000);
    refused(&[
        ("lists", format!("{VARIABLES}  a0: &a0 [x, x]\n{bomb}"), "too large or too complex"),
        (
            "one large text",
            format!("{VARIABLES}  a: &a {large}\n  b: [{}]\n", "*a, ".repeat(90)),
            "too large or too complex",
        ),
        (
            "merge keys",
            format!(
                "{VARIABLES}  a: &a {{{}}}\n  b:\n{}",
                lines(5_000, |key| format!("k{key}: 1, ")),
                "  - {<<: *a}\n".repeat(50)
            ),
            "too large or too complex",
        ),
        ("an alias of itself", format!("{VARIABLES}  a: &a [*a]\n"), "4:10: this is not valid YAML"),
    ]);
}

#[test]
fn nesting_is_bounded_before_the_stack_overflows() {
    let indented = lines(400, |level| format!("{}a:\n", " ".repeat(level + 2)));
    let too_deep = "nested too deep";
    refused(&[
        ("open lists", format!("{VARIABLES}  a: {}", "[".repeat(60_000)), "4:"),
        ("lists", format!("{VARIABLES}  a: {}\n", nested("[", "x", "]", 50)), too_deep),
        ("mappings", format!("{VARIABLES}  a: {}\n", nested("{a: ", "x", "}", 50)), too_deep),
        ("indented mappings", format!("{VARIABLES}{indented}"), too_deep),
        ("list items", format!("{VARIABLES}  a:\n    {}x\n", "- ".repeat(5_000)), too_deep),
        (
            "operations",
            format!("{VARIABLES}  a: {}\n", nested("{$if: true, $then: ", "x", "}", 50)),
            too_deep,
        ),
        ("brackets", format!("{VARIABLES}  a: ${{{}}}\n", nested("(", "1", ")", 10_000)), too_deep),
        (
            "templates",
            format!("{VARIABLES}  a: \"{}\"\n", nested("${'", "x", "'}", 5_000)),
            "4:10: `${` is never closed",
        ),
        (
            "a template that decodes a deep list",
            format!("{VARIABLES}  a: \"${{yamlDecode('{}')}}\"\n", "[".repeat(10_000)),
            "4:20: ",
        ),
    ]);
}

#[test]
fn what_variables_are_made_of_is_nested_no_deeper_than_one_of_them_may_be() {
    let within = |open: &str, close: &str| {
        let link = |number| nested(open, &format!("'${{var.a{}}}'", number + 1), close, 28);
        format!("{VARIABLES}{}  a90: x\n", lines(90, |number| format!("  a{number}: {}\n", link(number))))
    };
    refused(&[
        ("lists", within("[", "]"), "nested too deep"),
        ("mappings", within("{a: ", "}"), "more than 100 variables refer to one another"),
    ]);
}

#[test]
fn texts_of_any_length_are_quoted_in_part_and_compared_with_nothing() {
    let long = "x".repeat(300_000);
    let other = "y".repeat(300_000);
    refused(&[
        ("a field", format!("kind: Project\nname: a\n? {long}\n: 1\n"), "` is not a field of a project"),
        ("a choice", format!("{HEAD}    buildMode: {long}\n"), "5:16: `buildMode` cannot be `xxx"),
        (
            "a provider",
            format!("kind: Project\nname: a\nproviders: [{{name: {long}}}]\n"),
            "3:1: the environment",
        ),
        (
            "an environment",
            format!("kind: Project\nname: a\nenvironments: [{long}]\n"),
            "3:1: the project has no environment `dev`; it has `xxx",
        ),
        (
            "a variable",
            format!(
                "{VARIABLES}  ? {long}\n  : 1\nproviders: [{{name: kubernetes, context: \"${{var[var.a]}}\"}}]\n"
            ),
            "the path to a variable is longer than 1024 bytes",
        ),
        (
            "a key in a template",
            format!(
                "{VARIABLES}  ? {long}\n  : 1\nproviders: [{{name: kubernetes, context: \"${{var.{}}}\"}}]\n",
                &other[..200_000]
            ),
            "the path to a variable is longer than 1024 bytes",
        ),
        (
            "a long key of many variables",
            format!("{VARIABLES}  ? {long}\n  :\n{}", lines(100_000, |field| format!("    a{field}: x\n"))),
            "the path to a variable is longer than 1024 bytes",
        ),
        ("a template", format!("{VARIABLES}  a: ${{{long}}}\n"), "too long for a template"),
        ("commas in an unclosed template", format!("{HEAD}    x${{{}: 1\n", ",".repeat(200_000)), "5:5: "),
        (
            "a line that is wrong at its end",
            format!("{HEAD}    copySecrets: [{}'${{']\n", "{name: a}, ".repeat(10_000)),
            "5:110020: `${` is never closed",
        ),
        ("a quotation without an end", format!("{HEAD}    a: \"{long}"), "this is not valid YAML"),
    ]);
}

#[test]
fn thousands_of_mistakes_are_told_in_part_and_soon() {
    let first = "3:1: `name` is set twice | it was set on line 2; keep one of the two";
    let unknown = lines(30_000, |field| format!("    a{field}: 1\n"));
    let environments = lines(60_000, |name| format!("a{name}, "));
    let providers = "  - name: kubernetes\n".repeat(10_000);
    refused(&[
        ("duplicates", format!("kind: Project\nname: a\n{}", "name: a\n".repeat(10_000)), first),
        ("unknown fields", format!("{HEAD}{unknown}"), "5:5: `a0` is not a field of a kubernetes provider"),
        (
            "environments",
            format!("kind: Project\nname: a\nenvironments: [{environments}]\n"),
            "3:1: the project has no environment `dev`",
        ),
        (
            "parts of a provider",
            format!("{HEAD}{unknown}{providers}"),
            "`a0` is not a field of a kubernetes provider",
        ),
        (
            "templates in one line",
            format!("{HEAD}    copySecrets: [{}]\n", "'${', ".repeat(30_000)),
            "5:20: `${` is never closed",
        ),
        (
            "variables that are not set",
            format!("{VARIABLES}{}", lines(10_000, |name| format!("  a{name}: ${{var.b{name} || c}}\n"))),
            "there is no `c`",
        ),
        (
            "ignore files",
            format!(
                "kind: Project\nname: a\ndotIgnoreFiles: [{}]\n",
                lines(10_000, |name| format!("a{name}, "))
            ),
            "3:1: `dotIgnoreFiles` names more than 100 files | name fewer",
        ),
        (
            "templates that are rendered",
            documents(|name| format!("kind: RenderTemplate\nname: a{name}\ntemplate: b\n")),
            "6:1: the `kind: RenderTemplate` `a0` may make images to build",
        ),
        (
            "images that only Garden can build",
            documents(|name| format!("kind: Build\nname: a{name}\ntype: jib-container\n")),
            "6:1: the Build action `a0` makes an image",
        ),
    ]);
}

/// A project with a thousand documents, about as many as one file may have.
fn documents(document: impl Fn(usize) -> String) -> String {
    format!("{HEAD}{}", lines(1_000, |index| format!("---\n{}", document(index))))
}

#[test]
fn variables_take_no_more_than_their_share_of_memory_and_time() {
    let chain = |last: &str| {
        format!("{}  a3000: {last}\n", lines(3_000, |it| format!("  a{it}: ${{var.a{}}}\n", it + 1)))
    };
    let doubled = lines(90, |it| format!("  a{}: ${{var.a{it}}}${{var.a{it}}}\n", it + 1));
    let large = "x".repeat(500_000);
    let many = |template: &str| {
        format!("{VARIABLES}  a: {large}\n  b:\n{}", format!("  - ${{{template}}}\n").repeat(10_000))
    };
    refused(&[
        ("a chain", format!("{VARIABLES}{}", chain("x")), "more than 100 variables refer to one another"),
        (
            "a circle",
            format!("{VARIABLES}  a: ${{var.b}}\n  b: ${{var.a}}\n"),
            "refer to each other in a circle: `var.a`, `var.b`, `var.a`",
        ),
        ("itself", format!("{VARIABLES}  a: ${{var.a}}\n"), "`var.a` refers to itself"),
        ("doubling", format!("{VARIABLES}  a0: x\n{doubled}"), "this becomes larger than 1 MiB"),
        ("copies", many("var.a"), "the templates expand to more than 16 MiB"),
        ("comparisons", many("var.a == 'x'"), "the templates reckon with values of more than 128 MiB"),
        ("hashes", many("sha256(var.a)"), "the templates reckon with values of more than 128 MiB"),
        (
            "built texts",
            many("indent('x', 900000) == 'x'"),
            "the templates reckon with values of more than 128 MiB",
        ),
        (
            "merged mappings",
            format!(
                "{VARIABLES}  a: {{{}}}\n  b:\n{}",
                lines(10_000, |key| format!("k{key}: 1, ")),
                "  - {$merge: '${var.a}'}\n".repeat(5_000)
            ),
            "the templates expand to more than 16 MiB",
        ),
    ]);
}

#[test]
fn telling_which_builds_there_are_takes_no_more_than_a_share_of_time() {
    let doubled = lines(9, |it| format!("  a{}: ${{var.a{it}}}${{var.a{it}}}\n", it + 1));
    let asked = "${isEmpty(var.a9)}".repeat(200);
    let head = format!(
        "apiVersion: garden.io/v1\nkind: Project\nname: shop\nenvironments: [dev]\nvariables:\n  a0: {}\n{doubled}  big: \"{asked}\"\n",
        "x".repeat(1_000)
    );
    // The answer takes a hundred megabytes.
    let builds = |count: usize, name: &dyn Fn(usize) -> String| {
        let build = |index| {
            format!(
                "---\nkind: Build\nname: {}\ntype: container\ndisabled: ${{var.big == 'y'}}\n",
                name(index)
            )
        };
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("garden.yml"), format!("{head}{}", lines(count, build)))
            .expect("written");
        garden_config::load(directory.path()).expect("a project")
    };
    let few = builds(2, &|index| format!("b{index}"));
    assert_eq!(few.environment("dev").and_then(|dev| dev.builds()).expect("two"), ["b0", "b1"]);

    let many = builds(900, &|index| format!("b{index}"));
    let dev = many.environment("dev").expect("an environment");
    let error = dev.builds().expect_err("too much");
    assert!(error.to_string().contains("reckon with values of more than 512 MiB"), "{error}");
    assert!(dev.build("b7").is_ok(), "each by itself can be told");

    let of_one_name = builds(900, &|_| "same".to_owned());
    let dev = of_one_name.environment("dev").expect("an environment");
    let error = dev.build("same").expect_err("there are many");
    assert!(error.to_string().contains("called `same`"), "{error}");
}

#[test]
fn any_number_of_variables_may_refer_to_others() {
    let variables = lines(500, |it| format!("  a{it}: x{it}\n  b{it}: ${{var.a{it}}}\n"));
    let text = format!("{VARIABLES}{variables}providers: [{{name: kubernetes}}]\n");
    assert_eq!(read(&text).expect("valid")["b499"], "x499");
}

#[test]
fn globs_cannot_fill_the_memory() {
    let module = "kind: Project\nname: shop\nproviders: [{name: kubernetes}]\n---\nkind: Module\ntype: container\nname: web\n";
    let alternatives = ",".repeat(200_000);
    refused(&[
        ("alternatives", format!("{module}include: ['{{{alternatives}}}x']\n"), "is longer than 4096 bytes"),
        (
            "many globs",
            format!("{module}include:\n{}", format!("- '{}'\n", "{a,b}".repeat(8)).repeat(8000)),
            "9:3: the globs cannot be used: they are longer than 256 KiB together",
        ),
        (
            "wrong ones behind unknown fields",
            format!(
                "{module}{}include:\n{}",
                lines(20_000, |it| format!("a{it}: 1\n")),
                "- /\n".repeat(16_000)
            ),
            "the glob `/` is an absolute path",
        ),
    ]);
}

#[test]
fn a_certificate_is_read_from_a_file_only() {
    let registry = |path: &str| {
        format!("{HEAD}    deploymentRegistry: {{hostname: a.example, caCertificate: {path}}}\n")
    };
    refused(&[(
        "a device without an end",
        registry("/dev/zero"),
        "`/dev/zero` cannot be read: it is not a file",
    )]);
}

#[test]
fn what_acts_on_a_terminal_is_shown_as_an_escape() {
    refused(&[
        ("a control character", format!("{VARIABLES}  a: \u{1b}[31m\n"), "4:"),
        ("NUL", format!("{VARIABLES}  a\0b: 1\n"), "4:"),
        ("a wrong choice", format!("{HEAD}    buildMode: \"\\e[31mx\\n\"\n"), "cannot be `\\u{1b}[31mx\\n`"),
        ("an unknown field", format!("{HEAD}    \"\\u202ea\": 1\n"), "`\\u{202e}a` is not a field"),
        (
            "one that is written out",
            format!("{HEAD}    \u{202e}a\u{2066}: 1\n"),
            "`\\u{202e}a\\u{2066}` is not a field",
        ),
        ("a separator of lines", format!("{HEAD}    \"a\\u2028b\": 1\n"), "`a\\u{2028}b` is not a field"),
        ("a key in a template", format!("{HEAD}    context: \"${{'\u{202e}' + 1}}\"\n"), "5:"),
        (
            "a hint",
            format!("{HEAD}    deploymentRegistry: {{hostname: \"https://\\ea\"}}\n"),
            "write `\\u{1b}a`",
        ),
    ]);
    let error = read(&format!("{HEAD}    \u{202e}a: 1\n")).expect_err("unknown");
    assert!(error.to_string().ends_with("\n  5 |     \u{fffd}a: 1\n    |     ^^"), "{error}");
    let error = garden_config::parse("a", "a\u{1b}\u{202e}b.yml").expect_err("no project");
    assert!(error.to_string().starts_with("a\\u{1b}\\u{202e}b.yml:1:1: "), "{error}");
    assert_harmless(&error);
}

#[test]
fn tabs_that_indent_are_refused_and_others_are_space() {
    refused(&[("indentation", format!("{VARIABLES}\ta: 1\n"), "this is not valid YAML: tabs disallowed")]);
    let text = format!("{VARIABLES}  a:\t1\t# one\nproviders: [{{name: kubernetes}}]\n");
    assert_eq!(read(&text).expect("valid"), serde_json::json!({ "a": 1 }));
}

#[test]
fn marks_and_line_breaks_of_other_systems_are_read() {
    let text = format!("{VARIABLES}  a: |\n    one\n    two\nproviders:\n- name: kubernetes\n");
    let expected = serde_json::json!({ "a": "one\ntwo\n" });
    for line_break in ["\n", "\r\n", "\r"] {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{}", text.replace('\n', line_break));
            assert_eq!(read(&text).as_ref(), Ok(&expected), "{text:?}");
            let error = read(&format!("{text}  b: 1{line_break}")).expect_err("unknown");
            assert_eq!(
                error.to_string(),
                "/shop/garden.yml:9:3: `b` is not a field of a kubernetes provider\n  9 |   b: 1\n    |   ^"
            );
        }
    }
    refused(&[(
        "a mark within the text",
        format!("{VARIABLES}\u{feff}---\n"),
        "4:1: this is not valid YAML",
    )]);
}

#[test]
fn characters_that_mean_nothing_are_text() {
    let text = format!("{VARIABLES}  a: '\u{fffe}\u{ffff}\u{1ffff}'\nproviders: [{{name: kubernetes}}]\n");
    match read(&text) {
        Ok(variables) => assert_eq!(variables["a"], "\u{fffe}\u{ffff}\u{1ffff}"),
        Err(error) => assert_harmless(&error),
    }
}
