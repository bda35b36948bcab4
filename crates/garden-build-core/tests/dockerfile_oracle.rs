//! Compares what we take a Dockerfile to read with what `BuildKit`'s own frontend asks for: on a Dockerfile of
//! every form, and on thousands of damaged ones.

#[allow(dead_code, reason = "the other tests need it, too")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use garden_build_core::BuildRequest;
use garden_build_core::context::{Context, DigestCache, Extent, Reader, StagesBuilt};
use garden_test_programs::{DOCKERFILE_ORACLE, Go, Module, OTHER_DOCKERFILE_ORACLES};
use serde_json::{Value, json};
use support::Dice;

/// The damaged Dockerfiles that are compared, unless `GARDEN_TEST_TREES` asks for times as many.
const DAMAGED: u64 = 6000;

/// As many of them for each of the other versions of the frontend.
const DAMAGED_FOR_OTHERS: u64 = 1500;

/// The forms of which we know less than the frontend, which asks the registry and the daemon.
const IN_DOUBT: &[&str] = &["environment_of_image", "other_frontend", "triggers_used"];

/// For a mount of this type, the frontend asks for a source as well, mostly for everything, but mounts nothing of it. There we
/// know more.
const TMPFS: &str = "tmpfs";

const PLATFORM: &str = "linux/arm64";

/// What the frontend is told of every image. None of it may have an influence on what we say.
const ENVIRONMENT: &[&str] =
    &["PATH=/bin", "WHERE=unread", "NAME=unread", "FILE=unread", "SOMETHING=unread", "TARGETARCH=unread"];

/// The Dockerfiles of all forms, by name.
fn forms() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dockerfiles");
    let files = fs::read_dir(directory).expect("directory").map(|entry| entry.expect("entry").path());
    files
        .map(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            (name, fs::read(&path).expect("file"))
        })
        .collect()
}

fn target(form: &str) -> &'static str {
    if form == "target" { "wanted" } else { "" }
}

/// What we take the Dockerfile `text` to read; `None` if it may be anything.
fn ours(text: &[u8], target: &str, stages: StagesBuilt) -> Option<Vec<String>> {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("Dockerfile"), text).expect("file");
    let request = BuildRequest::new("test", directory.path()).build_arg("BASE", "busybox").platform(PLATFORM);
    let request = if target.is_empty() { request } else { request.target(target) };
    let reader = Reader::new(stages, &[]);
    match Context::scan_for(&request, &reader, &DigestCache::none(), &|| false).expect("context").extent() {
        Extent::Read { sources, .. } => Some(sources.clone()),
        Extent::Whole(_) => None,
        other => panic!("{other:?}"),
    }
}

/// What `BuildKit`'s frontend asks for (`None`: everything), or why it refuses the Dockerfile.
type Asked = Result<Option<Vec<String>>, String>;

fn theirs(oracle: &Module, questions: &[(&[u8], &str)]) -> Vec<Asked> {
    let program = Go::program(oracle);
    let lines: Vec<String> = questions
        .iter()
        .map(|(text, target)| {
            json!({
                "dockerfile": String::from_utf8_lossy(text), "target": target, "platform": PLATFORM,
                "args": {"BASE": "busybox"}, "env": ENVIRONMENT,
            })
            .to_string()
        })
        .collect();
    let answers = support::run(&mut Command::new(program), lines.join("\n").as_bytes()).expect("answers");
    let answers: Vec<Asked> = answers
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            if let Some(error) = answer["error"].as_str() {
                return Err(error.to_owned());
            }
            let path = |path: &Value| path.as_str().expect("text").to_owned();
            Ok(answer["paths"].as_array().map(|paths| paths.iter().map(path).collect()))
        })
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

#[test]
fn of_every_form_we_know_what_buildkit_asks_for() {
    garden_test_programs::needs!(Go);
    let forms = forms();
    let questions: Vec<(&[u8], &str)> =
        forms.iter().map(|(name, text)| (text.as_slice(), target(name))).collect();
    for ((name, text), theirs) in forms.iter().zip(theirs(&DOCKERFILE_ORACLE, &questions)) {
        let theirs = theirs.unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = ours(text, target(name), StagesBuilt::Needed);
        if IN_DOUBT.contains(&name.as_str()) {
            assert_eq!(ours, None, "{name}");
        } else if name == TMPFS {
            assert_eq!((ours, theirs), (Some(vec!["package.json".to_owned()]), None));
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn a_builder_that_builds_more_stages_never_reads_less() {
    garden_test_programs::needs!(Go);
    for (name, text) in forms() {
        let needed = ours(&text, target(&name), StagesBuilt::Needed);
        let through = ours(&text, target(&name), StagesBuilt::ThroughTarget);
        let covers = through.is_none_or(|through| {
            needed.is_some_and(|needed| needed.iter().all(|source| through.contains(source)))
        });
        assert!(covers, "{name}");
    }
}

#[test]
fn of_damaged_dockerfiles_we_never_expect_less_than_buildkit_asks_for() {
    garden_test_programs::needs!(Go);
    let times = std::env::var("GARDEN_TEST_TREES").map_or(1, |times| times.parse().expect("a number"));
    let damaged = damaged(DAMAGED * times);
    let questions: Vec<(&[u8], &str)> = damaged.iter().map(|text| (text.as_slice(), "")).collect();
    let mut compared = 0;
    let mut equal = 0;
    for (seed, (text, theirs)) in damaged.iter().zip(theirs(&DOCKERFILE_ORACLE, &questions)).enumerate() {
        let ours = ours(text, "", StagesBuilt::Needed);
        // What the frontend refuses is not built.
        let Ok(theirs) = theirs else { continue };
        let shown = String::from_utf8_lossy(text);
        if shown.contains(TMPFS) {
            continue;
        }
        assert!(
            covers(ours.as_ref(), theirs.as_ref()),
            "seed {seed}: {ours:?} does not cover {theirs:?}\n{shown}"
        );
        compared += 1;
        equal += usize::from(ours == theirs);
    }
    assert!(compared > damaged.len() / 4, "hardly any of {} are accepted: {compared}", damaged.len());
    assert!(equal > compared / 4 * 3, "there is too much doubt: of {compared}, {equal} are known exactly");
}

#[test]
fn of_other_versions_of_buildkit_we_never_expect_less_either() {
    garden_test_programs::needs!(Go);
    let whole = forms().into_iter().map(|(name, text)| (text, target(&name)));
    let texts: Vec<_> = whole.chain(damaged(DAMAGED_FOR_OTHERS).into_iter().map(|text| (text, ""))).collect();
    let questions: Vec<(&[u8], &str)> =
        texts.iter().map(|(text, target)| (text.as_slice(), *target)).collect();
    for oracle in &OTHER_DOCKERFILE_ORACLES {
        let mut compared = 0;
        for (index, ((text, target), theirs)) in texts.iter().zip(theirs(oracle, &questions)).enumerate() {
            let Ok(theirs) = theirs else { continue };
            let shown = String::from_utf8_lossy(text);
            if shown.contains(TMPFS) {
                continue;
            }
            let ours = ours(text, target, StagesBuilt::Needed);
            let name = oracle.name;
            assert!(
                covers(ours.as_ref(), theirs.as_ref()),
                "{name}, text {index}: {ours:?} does not cover {theirs:?}\n{shown}"
            );
            compared += 1;
        }
        assert!(
            compared > texts.len() / 4,
            "{}: hardly any of {} are accepted: {compared}",
            oracle.name,
            texts.len()
        );
    }
}

/// Whether what we expect to be read is all that the frontend asks for; `None` is everything.
fn covers(ours: Option<&Vec<String>>, theirs: Option<&Vec<String>>) -> bool {
    match (ours, theirs) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(ours), Some(theirs)) => theirs.iter().all(|path| ours.contains(path)),
    }
}

/// The first `count` damaged Dockerfiles, always the same.
fn damaged(count: u64) -> Vec<Vec<u8>> {
    let forms: Vec<Vec<u8>> = forms().into_values().collect();
    (0..count).map(|seed| damage(&forms, &mut Dice::new(seed))).collect()
}

/// What is put into Dockerfiles where it does not belong, or does.
const SPLINTERS: &[&str] = &[
    "\\",
    "`",
    "\n",
    "\r",
    " ",
    "\t",
    "\u{b}",
    "\"",
    "'",
    "$",
    "${",
    "}",
    "$WHERE",
    "${NAME:-x}",
    "${NAME:+x}",
    "${X}",
    "${WHERE#d}",
    "#",
    "# escape=`\n",
    "# syntax=a/b\n",
    "<<",
    "<<EOF",
    "<<-",
    "\nEOF\n",
    "--",
    "--from=0 ",
    "--from=base ",
    "--link ",
    "--parents ",
    "--mount=source=docs ",
    "--mount=type=tmpfs,target=/x ",
    ",",
    "=",
    "[",
    "]",
    "[\"",
    "\"]",
    "*",
    "**",
    "?",
    "..",
    "../",
    "/",
    "/./",
    ".",
    "!",
    "\u{e9}",
    "\u{a0}",
    "\u{feff}",
    "\0",
    "FROM ",
    "FROM scratch\n",
    " AS base\n",
    "\nFROM base\n",
    "COPY ",
    "ADD ",
    "RUN ",
    "ENV ",
    "ENV WHERE=app\n",
    "ARG ",
    "ARG WHERE\n",
    "ARG X=docs\n",
    "ONBUILD ",
    "http://",
    "https://x.git",
    "git@x:y",
    "<",
    "-",
    ";",
    "\u{3000}",
    "\n\n",
    "\\\n",
    "\\\\\n",
];

fn damage(forms: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut text = forms[dice.below(forms.len())].clone();
    for _ in 0..=dice.below(3) {
        let place = dice.below(text.len() + 1);
        match dice.below(8) {
            0 if place < text.len() => text[place] = u8::try_from(dice.below(128)).expect("ASCII"),
            1 => {
                let end = (place + dice.below(12)).min(text.len());
                text.drain(place..end);
            }
            2 => {
                // A line of another Dockerfile, or of this one again.
                let other = &forms[dice.below(forms.len())];
                let lines: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                let line = lines[dice.below(lines.len())].to_vec();
                let start =
                    text[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
                text.splice(start..start, line);
            }
            _ => {
                text.splice(place..place, dice.pick(SPLINTERS).bytes());
            }
        }
    }
    text
}
