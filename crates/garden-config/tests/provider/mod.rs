//! A project file around the fields of a provider that a test is about.

use garden_config::ProviderConfig;

/// The lines before the fields under test, which therefore start on line 5 at column 5.
pub(crate) const HEAD: &str = "kind: Project\nname: shop\nproviders:\n  - name: kubernetes\n";

pub(crate) fn indented(lines: &str, by: usize) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect();
    lines.join("\n")
}

fn read(fields: &str) -> Result<ProviderConfig, garden_config::ConfigError> {
    let text = format!("{HEAD}{}", indented(fields, 4));
    garden_config::parse(&text, "/shop/garden.yml")?.provider("dev")
}

pub(crate) fn valid(fields: &str) -> ProviderConfig {
    read(fields).unwrap_or_else(|error| panic!("{fields}\n{error}"))
}

/// Checks that each text is refused at exactly the place, and with the words, that stand beside it.
pub(crate) fn refused(cases: &[(&str, &str)]) {
    for (fields, expected) in cases {
        let error = read(fields).expect_err(fields).to_string();
        let shown = error.replace("/shop/garden.yml:", "").replace("\n  help: ", " | ");
        assert_eq!(&shown, expected, "for\n{fields}");
    }
}

pub(crate) const NO_TEMPLATE: &str = "templates are not resolved yet: write the value itself";
