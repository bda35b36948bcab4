//! What pages say is compared with the code: the project files that they show, and their tables of errors and warnings. Their code in Rust is
//! compiled as that of documentation: see `src/docs.rs`.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use garden_build::ErrorKind;
use garden_build::config::{self, Git, GitState, Locals};
use serde_json::Value;

#[test]
fn every_project_file_of_a_page_is_loaded() {
    let mut loaded = 0;
    let mut problems = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (line, block) in yaml_blocks(&text) {
            let read = if is_of_another_program(block) {
                let documents = serde_saphyr::from_multiple::<Value>(block);
                documents.map(drop).map_err(|error| error.to_string())
            } else {
                loaded += 1;
                load(&whole_file(block))
            };
            problems.extend(read.err().map(|error| format!("{}:{line}:\n{error}", page.display())));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(loaded > 20, "only {loaded} blocks are project files");
}

#[test]
fn a_mistake_in_a_page_is_found() {
    for (block, field) in [
        ("buildmode: kaniko\n", "buildmode"),
        ("kind: Build\ntype: container\nname: a\nspec: { dockerFile: b }\n", "dockerFile"),
    ] {
        let error = load(&whole_file(block)).unwrap_err();
        assert!(error.contains(field), "{error}");
    }
    assert_eq!(yaml_blocks("a\n```yaml\nb: 1\n```\n```toml\nc\n```\n"), [(2, "b: 1\n")]);
    assert!(is_of_another_program("# a comment\napiVersion: v1\n"));
    assert!(!is_of_another_program("apiVersion: garden.io/v1\n"));
}

#[test]
fn the_page_of_errors_has_each_kind_with_its_codes_and_a_section() {
    let page = page("errors.md");
    let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let kinds: Vec<ErrorKind> =
        sections.iter().map(|name| serde_json::from_value(Value::from(*name)).unwrap()).collect();
    for (kind, name) in kinds.iter().zip(&sections) {
        assert_eq!(kind.name(), *name, "a section of no kind");
        let row = format!("| [`{name}`](#{name}) | {} | {} |", kind.exit_code(), kind.http_status());
        assert!(page.contains(&row), "{row}");
    }
    // `ErrorKind` is not exhaustive, so its source says how many there are.
    let source = include_str!("../crates/garden-build-core/src/error/kind.rs");
    assert_eq!(source.matches("=> \"").count(), kinds.len(), "a kind has no section");
}

#[test]
fn the_page_of_events_has_each_warning() {
    let schema = include_str!("../crates/garden-build-core/schema/event.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let codes = schema["definitions"]["WarningCode"]["oneOf"].as_array().unwrap();
    let page = page("events.md");
    for code in codes {
        let code = code["const"].as_str().unwrap();
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// README.md and all pages below `docs`.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    let mut directories = vec![root.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The blocks of YAML in a page, each with the number of the line that opens it.
fn yaml_blocks(page: &str) -> Vec<(usize, &str)> {
    let mut blocks = Vec::new();
    let (mut begin, mut place) = (None, 0);
    for (index, line) in page.split_inclusive('\n').enumerate() {
        match begin {
            None if line.trim_end() == "```yaml" => begin = Some((index + 1, place + line.len())),
            Some((number, from)) if line.starts_with("```") => {
                blocks.push((number, &page[from..place]));
                begin = None;
            }
            _ => {}
        }
        place += line.len();
    }
    blocks
}

/// Whether a block is for Kubernetes or another program, which say so by an `apiVersion` that is not Garden's.
fn is_of_another_program(block: &str) -> bool {
    let mut lines = block.lines().filter(|line| !line.starts_with('#'));
    lines.next().is_some_and(|line| line.starts_with("apiVersion:") && !line.contains("garden.io/"))
}

/// Completes what a page shows a part of: the fields of a provider, or documents without the project.
fn whole_file(block: &str) -> String {
    let has = |start: &str| block.lines().any(|line| line.starts_with(start));
    if has("kind: Project") {
        return block.to_owned();
    }
    let (fields, documents) = if has("kind:") { ("", block) } else { (block, "") };
    let mode = if has("buildMode:") { "" } else { "    buildMode: kaniko\n" };
    let fields: String = fields.lines().flat_map(|line| ["    ", line, "\n"]).collect();
    format!(
        "kind: Project\nname: my-project\nenvironments: [{{ name: dev }}]\nproviders:\n  - name: kubernetes\n{mode}{fields}---\n{documents}"
    )
}

/// Loads a project file, with the provider and the builds of each environment.
fn load(file: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let authority = rcgen::generate_simple_self_signed([String::from("private.example")]).unwrap();
    fs::write(directory.path().join("ca.pem"), authority.cert.pem()).unwrap();
    fs::write(directory.path().join("project.garden.yml"), file).unwrap();

    let mut locals = Locals::none();
    locals.env.insert("BUILD_PROXY".to_owned(), "http://proxy.example:3128".to_owned());
    locals.username = Some("jane".to_owned());
    locals.git = Git::State(GitState::new("main", "0123456789abcdef0123456789abcdef01234567"));
    let project = config::load(directory.path()).map_err(|error| error.to_string())?.with_locals(locals);
    for name in project.environments() {
        let environment = project.environment(name).map_err(|error| error.to_string())?;
        environment.provider().map_err(|error| error.to_string())?;
        for build in environment.builds().map_err(|error| error.to_string())? {
            environment.build(&build).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
