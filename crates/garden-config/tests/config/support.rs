//! A project file around the fields that a test is about.

use garden_config::{ConfigError, GitState, Locals, Problem, Project, ProviderConfig};

/// The lines before the fields under test, which therefore start on line 5 at column 5.
pub(crate) const HEAD: &str = "kind: Project\nname: shop\nproviders:\n  - name: kubernetes\n";

pub(crate) fn indented(lines: &str, by: usize) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect();
    lines.join("\n")
}

/// A project in a directory that does not exist, on a machine that has only what the tests say.
pub(crate) fn project(text: &str) -> Result<Project, ConfigError> {
    let mut locals = Locals::none();
    locals.username = Some("Ada".to_owned());
    locals.env.insert("REGISTRY".to_owned(), "registry.example".to_owned());
    locals.git = GitState::new("feature/ABC-123_fix", "2c8b0a6f").into();
    Ok(garden_config::parse(text, "/shop/garden.yml")?.with_locals(locals))
}

fn read(fields: &str) -> Result<ProviderConfig, ConfigError> {
    let text = format!("{HEAD}{}", indented(fields, 4));
    let read = project(&text)?.provider("dev");
    if read.is_ok() {
        follows_the_schema(&text, |_| true);
    }
    read
}

/// Checks that the schema accepts the documents of a file that the loader has accepted, as far as they are `read`.
pub(crate) fn follows_the_schema(text: &str, read: impl Fn(&serde_json::Value) -> bool) {
    thread_local! {
        static VALIDATOR: jsonschema::Validator =
            jsonschema::draft7::new(&garden_config::schema()).expect("a schema");
    }
    // What only stands in the guide's examples is no YAML.
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple_with_options(text, serde_saphyr::options! { strict_booleans: true })
            .unwrap_or_default();
    for document in documents.into_iter().filter(read) {
        let refused = VALIDATOR.with(|it| it.validate(&document).err().map(|error| error.to_string()));
        assert_eq!(refused, None, "the loader accepts it, the schema does not:\n{text}");
    }
}

pub(crate) fn valid(fields: &str) -> ProviderConfig {
    read(fields).unwrap_or_else(|error| panic!("{fields}\n{error}"))
}

/// Checks that each text is refused at exactly the place, and with the words, that stand beside it.
pub(crate) fn refused(cases: &[(&str, &str)]) {
    for (fields, expected) in cases {
        let shown = brief(&read(fields).expect_err(fields));
        assert_eq!(&shown, expected, "for\n{fields}");
    }
}

/// All problems without the lines that they show, and without the directory of the tests:
/// `line:column: message | help`.
pub(crate) fn brief(error: &ConfigError) -> String {
    let brief = |problem: &Problem| {
        let help = problem.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
        format!("{}{help}", problem.headline().replace("/shop/garden.yml:", ""))
    };
    error.problems().iter().map(brief).collect::<Vec<_>>().join("\n")
}
