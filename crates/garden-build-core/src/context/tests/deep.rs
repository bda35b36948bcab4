//! What is deeper or longer than anybody means it to be must not take the stack: an overflow ends the whole program,
//! and nothing holds it. Each reader runs on a stack that is far smaller than any thread's is by default, as this crate
//! is optimised in tests, and need not be elsewhere. How much a reader takes differs with how the compiler divides the crate.

use std::os::unix::fs::symlink;

use super::*;
use crate::IgnoreFiles;

fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    on_a_stack_of(128, run)
}

/// What `ignore` makes of patterns needs more, as it is not optimised.
fn on_the_stack_of_ignore<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    on_a_stack_of(256, run)
}

fn on_a_stack_of<T: Send + 'static>(kibibytes: usize, run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(kibibytes * 1024).spawn(run).expect("thread");
    thread.join().expect("no panic")
}

fn nested(open: &str, close: &str) -> String {
    format!("{}a{}", open.repeat(10_000), close.repeat(10_000))
}

#[test]
fn dockerfiles_are_read_however_deep_they_are_nested() {
    let words = [
        nested("${A:-", "}"),
        nested("${A:+", "}"),
        nested("${A#", "}"),
        nested("${A/", "/b}"),
        nested("${A:-\"", "\"}"),
        nested("\"${A:-", "}\""),
        nested("${A:-$", "}"),
        nested("[", "]"),
        nested("[\"", "\"]"),
        nested("{", "}"),
        nested("{\"a\":", "}"),
        nested("'\"", "\"'"),
        "\\".repeat(10_000),
        "$".repeat(10_000),
        "<".repeat(10_000),
        "${".repeat(10_000),
        "../".repeat(10_000),
        "ONBUILD ".repeat(5_000),
    ];
    for word in words {
        for line in [
            format!("FROM {word}"),
            format!("ARG B={word}\nFROM a"),
            format!("FROM a\nARG B={word}\nCOPY $B /"),
            format!("FROM a\nENV B={word} C={word}\nCOPY $C /"),
            format!("FROM a\nENV B {word}"),
            format!("FROM a\nLABEL a={word}"),
            format!("FROM a\nCOPY {word} /"),
            format!("FROM a\nCOPY --from={word} a /"),
            format!("FROM a\nCOPY --exclude={word} a /"),
            format!("FROM a\nADD [\"{word}\", \"/\"]"),
            format!("FROM a\nWORKDIR {word}\nCOPY a ."),
            format!("FROM a\nRUN --mount=type=bind,source={word} a"),
            format!("FROM a\nRUN --mount=type=bind,from={word} a"),
            format!("FROM a\nRUN <<{word}\n{word}\nEOF"),
            format!("FROM a\nRUN <<EOF {word}\na\nEOF"),
            format!("FROM a\nCOPY <<EOF {word}\n{word}\nEOF"),
            format!("FROM a\nONBUILD {word}"),
            format!("FROM a\nSHELL [{word}]"),
            format!("# syntax={word}\nFROM a"),
        ] {
            on_a_small_stack(move || {
                let project = Project::new(&[("Dockerfile", &line)]);
                let request = project.request();
                for stages in [StagesBuilt::Needed, StagesBuilt::ThroughTarget] {
                    let reader = Reader::new(stages, &[]);
                    let scanned = Context::scan_for(&request, &reader, &DigestCache::none(), &|| false);
                    let context = scanned.expect("a context");
                    context.dockerfile().images(&request);
                    context.dockerfile().uses(&request);
                    context.dockerfile().frontend(&request);
                }
            });
        }
    }
}

#[test]
fn a_long_way_from_stage_to_stage_is_no_deep_one() {
    let stages: Vec<String> = (1..3000).map(|number| format!("FROM s{} AS s{number}", number - 1)).collect();
    let copies = (3001..6000).map(|number| format!("FROM a AS s{number}\nCOPY --from=s{} a /", number - 1));
    let (stages, copies) = (stages.join("\n"), copies.collect::<Vec<_>>().join("\n"));
    let text = format!("FROM a AS s0\n{stages}\nFROM s2999 AS s3000\nCOPY b /\n{copies}");
    let sources = on_a_small_stack(move || {
        let project = Project::new(&[("Dockerfile", &text), ("b", "")]);
        let reader = Reader::new(StagesBuilt::Needed, &[]);
        let scanned = Context::scan_for(&project.request(), &reader, &DigestCache::none(), &|| false);
        scanned.expect("a context").extent().clone()
    });
    assert!(matches!(sources, Extent::Read { sources, .. } if sources == ["b"]));
}

#[test]
fn patterns_are_matched_however_long_they_are() {
    for part in
        ["*", "**/", "?", "a/", "[a", "[", "]", "{", "{a,", "(", "|", "\\", "!", "*a", "[!a]", "../", "+"]
    {
        let pattern = part.repeat(8_000);
        on_a_small_stack(move || {
            let path = "a/".repeat(2_000) + "a";
            if let Ok(rules) = IgnoreRules::parse(".dockerignore", pattern.as_bytes()) {
                rules.kept([(path.as_str(), false)]);
            }
            if let Ok(filter) = Filter::new(std::slice::from_ref(&pattern), std::slice::from_ref(&pattern)) {
                filter.select([path.as_str()], |path| (path.as_bytes(), false));
            }
            let _ = go_path::matches(&pattern, &path);
            go_path::clean(&pattern);
        });
    }
}

#[test]
fn ignore_files_with_git_s_syntax_are_read_however_long_their_patterns_are() {
    for part in ["*", "**/", "?", "a/", "[a", "[", "]", "{", "{a,", "(", "|", "\\", "!", "*a", "[!a]"] {
        let project = Project::new(&[(".gitignore", &part.repeat(8_000))]);
        let mut request = project.request();
        request.ignore_files = Some(IgnoreFiles::new([".gitignore"], project.0.path()));
        on_the_stack_of_ignore(move || drop(Context::scan(&request, &|| false)));
    }
}

#[test]
fn a_long_chain_of_links_is_no_deep_one() {
    let project = Project::new(&[]);
    for number in 0..20_000 {
        symlink(format!("l{}", number + 1), project.path(&format!("l{number}"))).expect("link");
    }
    for source in ["l0", "l*", "l0/x"] {
        project.write("Dockerfile", &format!("FROM scratch\nCOPY {source} /"));
        let request = project.request();
        let scanned = on_a_small_stack(move || {
            let reader = Reader::new(StagesBuilt::Needed, &[]);
            Context::scan_for(&request, &reader, &DigestCache::none(), &|| false).map(|context| {
                assert!(context.manifest().find("l0").is_some());
            })
        });
        scanned.expect("a context");
    }
}

#[test]
fn a_tree_is_scanned_and_sent_as_deep_as_paths_may_be() {
    let project = Project::new(&[]);
    fs::create_dir_all(project.path(&"d/".repeat(1900))).expect("directories");
    let request = project.request();
    let entries = on_a_small_stack(move || {
        let context = Context::scan(&request, &|| false).expect("context");
        let mut tar = TarStream::new(std::io::sink());
        tar.add_context(&context, &|| false, &mut |_| {}).expect("sent");
        context.manifest().entries().count()
    });
    assert_eq!(entries, 1 + 1900);
}

#[test]
fn ignore_files_count_in_directories_within_each_other() {
    const DEPTH: usize = 500;
    let project = Project::new(&[]);
    for depth in 1..=DEPTH {
        project.write(&format!("{}.gitignore", "d/".repeat(depth)), "x\n.gitignore\n");
    }
    let mut request = project.request();
    request.ignore_files = Some(IgnoreFiles::new([".gitignore"], project.0.path()));
    let entries = on_the_stack_of_ignore(move || {
        Context::scan(&request, &|| false).expect("context").manifest().entries().count()
    });
    assert_eq!(entries, 1 + DEPTH);
}
