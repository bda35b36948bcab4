//! What `include` and `exclude` of a request leave of a directory.

use std::collections::BTreeMap;

use super::*;
use crate::{FileGlobs, IgnoreFiles, Version};

/// A project with `rules` as its `.dockerignore`, which is not part of its context.
fn project(rules: &str) -> Project {
    let project = Project::new(&[
        (".dockerignore", &format!(".dockerignore\n{rules}")),
        ("a/b/c", ""),
        ("a/b/d.log", ""),
        ("a/x", ""),
        ("b/c", ""),
        ("top", ""),
    ]);
    fs::create_dir_all(project.path("a/empty")).expect("directory");
    project
}

const NO_PATTERNS: [&str; 0] = [];

#[test]
fn only_what_is_included_is_part_of_the_context_with_the_directories_on_the_way() {
    for (include, expected) in [
        (
            &["**"][..],
            &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "a/empty", "a/x", "b", "b/c", "top"][..],
        ),
        (&["a"], &["a", "a/b", "a/b/c", "a/b/d.log", "a/empty", "a/x"]),
        (&["/a/b/"], &["a", "a/b", "a/b/c", "a/b/d.log"]),
        (&["./b", "top"], &["b", "b/c", "top"]),
        (&["*"], &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "a/empty", "a/x", "b", "b/c", "top"]),
        (&["."], &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "a/empty", "a/x", "b", "b/c", "top"]),
        (&["a/empty"], &["a", "a/empty"]),
        (&["**/c"], &["a", "a/b", "a/b/c", "b", "b/c"]),
        (&["a", "!a/b", "!**/empty"], &["a", "a/x"]),
        (&["nothing", "c", "../b", " "], &[]),
        (&[], &[]),
    ] {
        assert_eq!(kept(&project("").request().include(include.iter().copied())), expected, "{include:?}");
    }
}

#[test]
fn what_is_excluded_is_not_part_of_the_context_nor_what_lies_in_it() {
    for (exclude, expected) in [
        (&["a"][..], &["Dockerfile", "b", "b/c", "top"][..]),
        (&["/a/b/", " b "], &["Dockerfile", "a", "a/empty", "a/x", "top"]),
        (&["**/*.log", "**/c", "a/empty"], &["Dockerfile", "a", "a/b", "a/x", "b", "top"]),
        (&["*"], &[]),
        (
            &["c", "", "#a"],
            &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "a/empty", "a/x", "b", "b/c", "top"],
        ),
    ] {
        assert_eq!(kept(&project("").request().exclude(exclude.iter().copied())), expected, "{exclude:?}");
    }
}

#[test]
fn a_file_has_to_be_included_and_neither_excluded_nor_ignored() {
    for (rules, include, exclude, expected) in [
        // An exception in the ignore file does not bring back what the request excludes or leaves out.
        (
            "a\n!a/b",
            &["**"][..],
            &[][..],
            &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "b", "b/c", "top"][..],
        ),
        ("a\n!a/b", &["**"], &["a"], &["Dockerfile", "b", "b/c", "top"]),
        ("a\n!a/b", &["**"], &["a/b"], &["Dockerfile", "b", "b/c", "top"]),
        ("*\n!a/b", &["**"], &["**/*.log"], &["a", "a/b", "a/b/c"]),
        ("*\n!a/b", &["a/x", "top"], &[], &[]),
        ("*\n!a/b", &["**/c"], &[], &["a", "a/b", "a/b/c"]),
        // Nor does the request bring back what the ignore file excludes.
        ("a", &["a/b/c", "b"], &[], &["b", "b/c"]),
        ("", &["a"], &["a/b"], &["a", "a/empty", "a/x"]),
        ("", &["a/b"], &["a"], &[]),
        ("a/x", &["a", "!a/empty"], &["**/*.log"], &["a", "a/b", "a/b/c"]),
    ] {
        let project = project(rules);
        let request = project.request().include(include.iter().copied()).exclude(exclude.iter().copied());
        assert_eq!(kept(&request), expected, "{rules:?} {include:?} {exclude:?}");
    }
}

#[test]
fn patterns_add_up() {
    let project = project("");
    assert_eq!(
        kept(&project.request().include(["b"]).include(["top"]).exclude(["b"]).exclude(["x"])),
        ["top"]
    );
}

#[test]
fn dockerfile_and_ignore_file_count_even_if_they_are_not_part_of_the_context() {
    let project = project("a");
    for request in [
        project.request().include(NO_PATTERNS),
        project.request().include(["a"]),
        project.request().exclude(["*"]),
        project.request().include(["a"]).exclude(["Dockerfile", ".dockerignore"]),
    ] {
        let context = Context::scan(&request, &|| false).expect("context");
        assert!(paths(&context).is_empty(), "{request:?}");
        assert_eq!(context.dockerfile().contents(), b"FROM scratch");
    }
}

#[test]
fn a_pattern_that_cannot_be_used_is_named_with_its_field() {
    let project = project("");
    let correct = "correct the pattern; a `\\` makes the next character literal";
    for (request, message, hint) in [
        (
            project.request().include(["a", "["]),
            "the pattern `[` in `include` cannot be used: a bracket, range or backslash in it is not well-formed",
            correct,
        ),
        (
            project.request().exclude(["a{2}["]),
            "the pattern `a{2}[` in `exclude` cannot be used: a bracket, range or backslash in it is not well-formed",
            correct,
        ),
        (
            project.request().exclude(["a|b*"]),
            "the pattern `a|b*` in `exclude` cannot be used: a `|` beside wildcards; `\\|` matches the character \
             is not supported",
            correct,
        ),
        (
            project.request().include(["!"]),
            "the pattern `!` in `include` cannot be used: there is nothing behind the `!`",
            "name what to leave out behind the `!`, or delete the pattern",
        ),
        (
            project.request().exclude(["a", " !a/b"]),
            "the pattern ` !a/b` in `exclude` cannot be used: nothing can be brought back there with a `!`",
            "narrow the patterns that exclude too much, or list what to keep in `include`",
        ),
        (
            // To BuildKit, this is an exception as well.
            project.request().exclude(["/!a"]),
            "the pattern `/!a` in `exclude` cannot be used: nothing can be brought back there with a `!`",
            "narrow the patterns that exclude too much, or list what to keep in `include`",
        ),
    ] {
        assert_eq!(failure(&request), (message.to_owned(), hint.to_owned()));
    }
}

#[test]
fn settings_that_keep_the_same_files_have_the_same_version() {
    let project = project("");
    let version = |request: &BuildRequest| {
        let context = Context::scan(request, &|| false).expect("context");
        Version::derive(request, &[], &context, &BTreeMap::new())
    };
    let excluded = version(&project.request().exclude(["a", "Dockerfile"]));
    for request in [
        project.request().include(["b", "top"]),
        project.request().include(["*"]).exclude(["a", "Docker*"]),
        project
            .request()
            .exclude(["Dockerfile", "a"])
            .secret("token", "s3cret")
            .ssh_agent("default", "/agent"),
        project
            .request()
            .include(["b", "top"])
            .ignore_files(IgnoreFiles::new([".gardenignore"], project.0.path())),
    ] {
        assert_eq!(version(&request), excluded, "{request:?}");
    }
    assert_ne!(version(&project.request().include(["b"])), excluded);
    assert_ne!(version(&project.request()), excluded);
}

#[cfg(unix)]
#[test]
fn nothing_is_said_of_a_socket_that_is_not_selected() {
    let project = project("");
    let _socket = std::os::unix::net::UnixListener::bind(project.path("a/b/s")).expect("socket");
    let is_named = |request: &BuildRequest| {
        let context = Context::scan(request, &|| false).expect("context");
        context.tree().left_out().is_some()
    };
    assert!(is_named(&project.request()));
    assert!(!is_named(&project.request().include(["b"])));
    assert!(!is_named(&project.request().include(["a"]).exclude(["a/b"])));
}

fn globs(include: Option<&[&str]>, exclude: &[&str]) -> FileGlobs {
    let texts = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    FileGlobs { include: include.map(texts), exclude: texts(exclude) }
}

#[test]
fn a_glob_with_a_wildcard_is_about_files_and_not_about_all_in_a_directory() {
    let project = project("");
    for (include, exclude, expected) in [
        (
            Some(&["./"][..]),
            &[][..],
            &["Dockerfile", "a", "a/b", "a/b/c", "a/b/d.log", "a/x", "b", "b/c", "top"][..],
        ),
        (Some(&["*"]), &[], &["Dockerfile", "top"]),
        (Some(&["a/*"]), &[], &["a", "a/x"]),
        (Some(&["**/b"]), &[], &[]),
        (Some(&["a/", "./top"]), &["a/*"], &["a", "a/b", "a/b/c", "a/b/d.log", "top"]),
        (None, &["a/*", "b/**", "Dockerfile"], &["a", "a/b", "a/b/c", "a/b/d.log", "top"]),
        (None, &["."], &[]),
        (Some(&[]), &[], &[]),
    ] {
        let request = project.request().globs(globs(include, exclude));
        assert_eq!(kept(&request), expected, "{include:?} {exclude:?}");
    }
}

#[test]
fn globs_do_not_bring_back_what_patterns_and_ignore_files_exclude() {
    for (rules, exclude, expected) in [
        ("a/b", "", &["b", "b/c", "top"][..]),
        ("*\n!a/b", "", &["a", "a/b", "a/b/c"]),
        ("", "top", &["a", "a/b", "a/b/c", "b", "b/c"]),
    ] {
        let project = project(rules);
        let request = project.request().globs(globs(Some(&["**/c", "top"]), &[])).exclude([exclude]);
        assert_eq!(kept(&request), expected, "{rules:?} {exclude}");
    }
}

#[test]
fn a_glob_that_cannot_be_used_is_named_with_its_field() {
    assert_eq!(
        failure(&project("").request().globs(globs(Some(&["{a"]), &[]))),
        (
            "the glob `{a` in `include` has braces that do not pair, or have no alternatives".to_owned(),
            "write alternatives as `{a,b}`; a `\\` makes a brace literal".to_owned()
        )
    );
}
