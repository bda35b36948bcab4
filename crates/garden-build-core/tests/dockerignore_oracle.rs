//! Compares our reading of ignore files with `BuildKit`'s own libraries, on thousands of cases.

#[allow(dead_code, reason = "the other test needs it, too")]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use garden_build_core::BuildRequest;
use garden_build_core::context::{Context, ContextError, IgnoreRules, PathBytes, PatternProblem};
use serde_json::{Value, json};
use support::Dice;

const PURE_CASES: u64 = 8000;
const REAL_CASES: u64 = 300;

/// What ordinary patterns consist of.
const ORDINARY: &[&str] = &[
    "a", "a", "a", "b", "b", "b", "ab", "c", "é", ".", "/", "/", "/", "*", "*", "*", "**", "**/", "/**", "?",
    "[ab]", "[^a]", "7", "_", "-",
];

/// What odd patterns contain as well. Kept rarer: a file of them is mostly invalid.
const ODD: &[&str] = &[
    "..",
    "!",
    "[!a]",
    "[a-c]",
    "[*]",
    "[?]",
    "[",
    "]",
    "^",
    "$",
    "(",
    "|",
    "{a,b}",
    "{2}",
    "{",
    "\\*",
    "\\",
    "\\d",
    "\\w",
    "\\b",
    "\\B",
    "\\A",
    "\\z",
    "\\Q",
    "\\E",
    "\\pL",
    "\\x61",
    "\\x{e9}",
    "\\141",
    "\\a",
    "[[:alpha:]]",
    "[[:^alpha:]]",
    "[\\d-]",
    "\u{feff}",
    "\u{fffd}",
    " ",
    "\u{a0}",
    "#",
];

const LINE_STARTS: &[&str] = &["", "", "", "", "", "", "!", "!", "!", "/", " ", "! ", "#", "**/", "\u{feff}"];

const NAMES: &[&str] = &[
    "a", "a", "a", "b", "b", "b", "ab", "c", "aa", "a.b", ".a", "a-b", "*", "?", "!a", "a b", "é",
    "e\u{301}", "[a]", "\\", "7", "_", "a\nb", "\n", "{a,b}", "^", "$", "#a", "]",
];

/// An ignore file of one to five lines.
fn patterns(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..=dice.below(5) {
        let odd = dice.below(5) == 0;
        text.push_str(dice.pick(LINE_STARTS));
        for _ in 0..=dice.below(5) {
            let pieces = if odd && dice.below(3) != 0 { ODD } else { ORDINARY };
            text.push_str(dice.pick(pieces));
        }
        text.push_str(dice.pick(&["\n", "\n", "\r\n"]));
    }
    text
}

/// The entries of a tree in the order of a walk, each with whether it is a directory.
type Tree = Vec<(String, bool)>;

/// Grows a tree from up to eight paths.
fn tree(dice: &mut Dice) -> Tree {
    let mut entries: BTreeMap<Vec<&'static str>, bool> = BTreeMap::new();
    for _ in 0..=dice.below(8) {
        let mut path = Vec::new();
        for _ in 0..=dice.below(4) {
            if entries.get(&path) == Some(&false) {
                break;
            }
            if !path.is_empty() {
                entries.insert(path.clone(), true);
            }
            path.push(dice.pick(NAMES));
        }
        entries.entry(path).or_insert(dice.below(6) == 0);
    }
    entries.into_iter().map(|(path, is_directory)| (path.join("/"), is_directory)).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("string")).collect()
}

/// Asks the oracle all `questions`, one a line.
fn ask(mode: &str, questions: &[Value]) -> Vec<Value> {
    let input = questions.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let output = support::oracle(&[mode], input.as_bytes()).expect("answers");
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// The path as the oracle's JSON has it: with U+FFFD for each byte that is not UTF-8.
fn text(path: &PathBytes) -> String {
    let mut text = String::new();
    for chunk in path.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

fn hex(path: &PathBytes) -> String {
    path.as_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("in memory");
        hex
    })
}

#[derive(Default, Debug)]
struct Tally {
    nothing_excluded: usize,
    something_excluded: usize,
    invalid: usize,
    not_supported: usize,
}

impl Tally {
    /// Compares our answer with the oracle's `theirs`, which are of `total` entries.
    fn compare(
        &mut self,
        case: &str,
        ours: Result<Vec<PathBytes>, ContextError>,
        theirs: &Value,
        total: usize,
    ) {
        let they_refuse = theirs["error"] != "" || !strings(&theirs["invalid"]).is_empty();
        match ours {
            // The only thing that we refuse and they accept.
            Err(ContextError::Pattern { problem: PatternProblem::Unsupported(_), pattern, .. }) => {
                assert!(["\\p", "|", "{2"].iter().any(|sign| pattern.contains(sign)), "{case}: {pattern}");
                self.not_supported += 1;
            }
            Err(error) => {
                assert!(they_refuse, "{case}\nours: {error}\ntheirs: {theirs}");
                self.invalid += 1;
            }
            Ok(kept) => {
                assert!(!they_refuse, "{case}\nours: {kept:?}\ntheirs: {theirs}");
                let text: Vec<String> = kept.iter().map(text).collect();
                assert_eq!(text, strings(&theirs["kept"]), "{case}\nours is left");
                let raw: Vec<String> = kept.iter().filter(|path| path.as_str().is_none()).map(hex).collect();
                assert_eq!(raw, strings(&theirs["raw"]), "{case}\nours is left");
                let counter = if kept.len() == total {
                    &mut self.nothing_excluded
                } else {
                    &mut self.something_excluded
                };
                *counter += 1;
            }
        }
    }
}

#[test]
fn keeps_what_buildkit_keeps_and_refuses_what_it_refuses() {
    garden_test_programs::needs!(Go);
    let cases: Vec<(u64, String, Tree)> = (0..PURE_CASES)
        .map(|seed| {
            let mut dice = Dice::new(seed);
            (seed, patterns(&mut dice), tree(&mut dice))
        })
        .collect();
    let questions: Vec<Value> = cases
        .iter()
        .map(|(_, text, tree)| {
            let paths = tree.iter().map(|(path, is_directory)| {
                json!({"path": path, "kind": if *is_directory { "directory" } else { "file" }})
            });
            json!({"patterns_text": text, "paths": paths.collect::<Vec<_>>()})
        })
        .collect();
    let mut tally = Tally::default();
    for ((seed, text, tree), theirs) in cases.iter().zip(ask("filter", &questions)) {
        let ours = IgnoreRules::parse(".dockerignore", text.as_bytes()).map(|rules| {
            let tree = tree.iter().map(|(path, is_directory)| (path.as_str(), *is_directory));
            rules.kept(tree).into_iter().map(PathBytes::from).collect()
        });
        tally.compare(&format!("seed {seed}: {text:?} of {tree:?}"), ours, &theirs, tree.len());
    }
    // Otherwise the cases would not test much.
    assert!(tally.something_excluded > 2000 && tally.invalid > 500 && tally.not_supported > 50, "{tally:?}");
}

#[cfg(unix)]
#[test]
fn scans_directories_as_buildkit_walks_them() {
    garden_test_programs::needs!(Go);
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut cases = Vec::new();
    for seed in 0..REAL_CASES {
        let mut dice = Dice::new(seed + PURE_CASES);
        let text = patterns(&mut dice);
        let root = directory.path().join(seed.to_string());
        let total = make_tree(&root, &text, &tree(&mut dice), &mut dice);
        cases.push((seed, text, root, total));
    }
    let questions: Vec<Value> =
        cases.iter().map(|(_, text, root, _)| json!({"patterns_text": text, "root": root})).collect();
    let mut tally = Tally::default();
    for ((seed, text, root, total), theirs) in cases.iter().zip(ask("walk", &questions)) {
        let ours = Context::scan(&BuildRequest::new("test", root), &|| false)
            .map(|context| context.manifest().entries().map(|entry| entry.path).collect());
        tally.compare(&format!("seed {seed}: {text:?}"), ours, &theirs, *total);
    }
    assert!(tally.something_excluded > 60, "{tally:?}");
}

/// Makes real files, directories and links, and returns how many. In half of the trees, names are Latin-1.
#[cfg(unix)]
fn make_tree(root: &Path, ignore: &str, tree: &[(String, bool)], dice: &mut Dice) -> usize {
    fs::create_dir(root).expect("root");
    fs::write(root.join("Dockerfile"), "FROM scratch").expect("Dockerfile");
    fs::write(root.join(".dockerignore"), ignore).expect("ignore file");
    let is_latin = dice.below(2) == 0;
    for (path, is_directory) in tree {
        let path = root.join(if is_latin { latin(path) } else { path.into() });
        match (is_directory, dice.below(4)) {
            (true, _) => fs::create_dir(path).expect("directory"),
            (false, 0) => std::os::unix::fs::symlink("/nowhere", path).expect("link"),
            (false, _) => fs::write(path, "text").expect("file"),
        }
    }
    tree.len() + 2
}

/// The path in Latin-1; a combining accent becomes a byte that begins a character which does not follow.
#[cfg(unix)]
fn latin(path: &str) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = path.chars().map(|character| u8::try_from(character).unwrap_or(0xcc)).collect();
    std::ffi::OsString::from_vec(bytes).into()
}

/// What names consist of that are hard to write as patterns.
#[cfg(unix)]
const AWKWARD: &[&[u8]] = &[
    b"*",
    b"**",
    b"?",
    b"[",
    b"]",
    b"\\",
    b"^",
    b"!",
    b"#",
    b"{2}",
    b"|",
    b"$",
    b".",
    b"+",
    b"(",
    b")",
    b"-",
    b"[:alpha:]",
    b"Q",
    b"E",
    b"p",
    b" ",
    b"\t",
    b"\n",
    b"\r",
    b"\xe9",
    b"\xff",
    b"\xc3\xa9",
    b"\xc2\xa0",
    b"\xef\xbf\xbd",
    b"\xef\xbb\xbf",
    b"a",
    b"b",
];

#[cfg(unix)]
#[test]
fn to_buildkit_the_line_for_a_path_matches_it_and_nothing_longer() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    garden_test_programs::needs!(Go);
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut questions = Vec::new();
    for seed in 0..REAL_CASES {
        let mut dice = Dice::new(seed);
        let name: Vec<u8> =
            (0..=dice.below(4)).flat_map(|_| AWKWARD[dice.below(AWKWARD.len())]).copied().collect();
        if name == b"." || name == b".." {
            continue;
        }
        let root = directory.path().join(seed.to_string());
        let below = if dice.below(2) == 0 { &b""[..] } else { b"[d] /" };
        let path = PathBytes::from([below, &name].concat());
        for path in [path.as_bytes().to_vec(), [path.as_bytes(), &b"x"[..]].concat()] {
            let file = root.join(OsStr::from_bytes(&path));
            fs::create_dir_all(file.parent().expect("parent")).expect("directory");
            fs::write(file, "text").expect("file");
        }
        questions.push((path.clone(), json!({"patterns_text": path.ignore_pattern(), "root": root})));
    }
    let asked: Vec<Value> = questions.iter().map(|(_, question)| question.clone()).collect();
    for ((path, question), theirs) in questions.iter().zip(ask("walk", &asked)) {
        let longer = PathBytes::from([path.as_bytes(), b"x"].concat());
        let kept = strings(&theirs["kept"]);
        let files: Vec<&&str> = kept.iter().filter(|kept| **kept != "[d] ").collect();
        assert_eq!((&theirs["error"], files), (&json!(""), vec![&text(&longer).as_str()]), "{question}");
    }
    assert!(questions.len() > 200);
}
