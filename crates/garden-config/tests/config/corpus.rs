//! Projects in the shapes that real ones have; see `tests/corpus/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use garden_build_core::context::{Context, EntryKind};
use garden_config::{BuildConfig, ConfigError, Environment, Locals};

#[test]
fn what_is_read_of_each_project_is_what_is_expected() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut names: Vec<String> = fs::read_dir(&corpus)
        .expect("corpus")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".txtar").map(str::to_owned))
        .collect();
    names.sort();
    let mut wrong = String::new();
    for name in names {
        let archive = fs::read_to_string(corpus.join(format!("{name}.txtar"))).expect("archive");
        let expected = fs::read_to_string(corpus.join(format!("{name}.expected"))).unwrap_or_default();
        let directory = tempfile::tempdir().expect("directory");
        unpack(&archive, directory.path());
        let found = described(directory.path());
        if found != expected {
            write!(wrong, "=== {name} is\n{found}=== and not\n{expected}").expect("text");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Writes the files of an archive.
fn unpack(archive: &str, directory: &Path) {
    let mut file = None;
    for line in archive.split_inclusive('\n') {
        let path = line.trim_end().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --"));
        if let Some(path) = path {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(&path, "").expect("file");
            file = Some((path, String::new()));
        } else if let Some((path, text)) = &mut file {
            text.push_str(line);
            fs::write(path, text).expect("file");
        }
    }
}

/// Says what is read of the project in `directory`.
fn described(directory: &Path) -> String {
    let root = format!("{}/", directory.display());
    let told = |error: &ConfigError| {
        let problems = error.problems().iter().map(|it| format!("! {}\n", it.headline()));
        problems.collect::<String>()
    };
    let mut text = String::new();
    let mut project = match garden_config::load(directory) {
        Ok(project) => project,
        Err(error) => return told(&error).replace(&root, ""),
    };
    project = project.with_locals(Locals::none());
    for name in project.environments() {
        let environment = project.environment(name).expect("declared");
        let provider = environment.provider().map_or_else(
            |error| told(&error),
            |it| format!("{} in {}\n", it.build_mode.as_str(), it.namespace.name),
        );
        write!(text, "{name}: {provider}").expect("text");
        match environment.builds() {
            Ok(names) => names.iter().for_each(|name| text.push_str(&build(&environment, name, &told))),
            Err(error) => text.push_str(&told(&error)),
        }
    }
    text.replace(&root, "")
}

fn build(environment: &Environment<'_>, name: &str, told: &dyn Fn(&ConfigError) -> String) -> String {
    match environment.build(name) {
        Ok(build) => one(&build),
        Err(error) => told(&error),
    }
}

fn one(build: &BuildConfig) -> String {
    let mut text = format!("  {} is {}", build.name, build.image_name());
    for part in build.target.iter().chain(&build.publish_id).chain(&build.extra_flags).chain(&build.platforms)
    {
        write!(text, " {part}").expect("text");
    }
    for (name, value) in &build.build_args {
        write!(text, " {name}={value}").expect("text");
    }
    let mut request = build.request();
    request.whole_context = true;
    match Context::scan(&request, &|| false) {
        Ok(context) => {
            let files =
                context.manifest().entries().filter(|entry| !matches!(entry.kind, EntryKind::Directory));
            files.for_each(|file| write!(text, "\n    {}", file.path).expect("text"));
        }
        Err(error) => write!(text, "\n    ! {error}").expect("text"),
    }
    text + "\n"
}
