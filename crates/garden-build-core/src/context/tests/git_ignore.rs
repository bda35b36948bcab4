//! What ignore files with git's syntax leave of a directory.

use super::*;
use crate::IgnoreFiles;

/// Lets `names` count in the whole project, whose context is `context`.
fn request(project: &Project, context: &str, names: &[&str]) -> BuildRequest {
    BuildRequest::new("test", project.path(context))
        .ignore_files(IgnoreFiles::new(names.iter().copied(), project.0.path()))
}

/// What is left of a project in which `.gardenignore` counts, without the ignore files.
fn left(project: &Project, context: &str) -> Vec<PathBytes> {
    kept(&request(project, context, &[".gardenignore"]).exclude(["**/.gardenignore", "Dockerfile"]))
}

#[test]
fn patterns_mean_what_they_mean_to_git() {
    for (patterns, expected) in [
        // Without a slash before its end, a pattern matches at any depth.
        ("b", &["a", "a/c.o", "c.o", "d{e"][..]),
        ("/b", &["a", "a/b", "a/b/x", "a/c.o", "c.o", "d{e"]),
        ("a/b", &["a", "a/c.o", "b", "c.o", "d{e"]),
        ("b/", &["a", "a/c.o", "b", "c.o", "d{e"]),
        ("*.o", &["a", "a/b", "a/b/x", "b", "d{e"]),
        ("/*.o", &["a", "a/b", "a/b/x", "a/c.o", "b", "d{e"]),
        ("a/*\n!a/b", &["a", "a/b", "a/b/x", "b", "c.o", "d{e"]),
        ("a/**", &["a", "b", "c.o", "d{e"]),
        ("**/x", &["a", "a/b", "a/c.o", "b", "c.o", "d{e"]),
        ("*\n!*/\n!*.o", &["a", "a/b", "a/c.o", "c.o"]),
        // A later pattern wins, but what lies in an ignored directory cannot be brought back.
        ("*.o\n!/c.o", &["a", "a/b", "a/b/x", "b", "c.o", "d{e"]),
        ("!/c.o\n*.o", &["a", "a/b", "a/b/x", "b", "d{e"]),
        ("a\n!a/b", &["b", "c.o", "d{e"]),
        // Braces are ordinary characters, three stars are two, a `]` may be first in brackets.
        ("{a,b}\nd{*", &["a", "a/b", "a/b/x", "a/c.o", "b", "c.o"]),
        ("a/***/x", &["a", "a/b", "a/c.o", "b", "c.o", "d{e"]),
        ("[]b]\n[[:digit:]c].o", &["a", "d{e"]),
        ("\u{feff}b\r\n# a\n\\#\n\nc.o  \r\n!\n/", &["a", "d{e"]),
    ] {
        let project = Project::new(&[("a/b/x", ""), ("a/c.o", ""), ("b", ""), ("c.o", ""), ("d{e", "")]);
        project.write(".gardenignore", patterns);
        assert_eq!(left(&project, "."), expected, "{patterns:?}");
    }
}

#[test]
fn a_deeper_file_wins_over_a_higher_one() {
    let project = Project::new(&[
        (".gardenignore", "*.log\n/a/x\nc/"),
        ("1.log", ""),
        ("a/.gardenignore", "!keep.log\n/y"),
        ("a/keep.log", ""),
        ("a/other.log", ""),
        ("a/x", ""),
        ("a/y", ""),
        ("a/b/.gardenignore", "keep.*"),
        ("a/b/keep.log", ""),
        ("a/b/y", ""),
        ("c/.gardenignore", "!*"),
        ("c/x", ""),
    ]);
    assert_eq!(left(&project, "."), ["a", "a/b", "a/b/y", "a/keep.log"]);
}

#[test]
fn files_above_the_context_count_up_to_the_root() {
    let project = Project::new(&[
        (".gardenignore", "*.log\n/x\n/services/api/y"),
        ("services/.gardenignore", "!2.log\napi/z"),
        ("services/api/Dockerfile", ""),
        ("services/api/.gardenignore", "w"),
        ("services/api/1.log", ""),
        ("services/api/2.log", ""),
        ("services/api/w", ""),
        ("services/api/x", ""),
        ("services/api/y", ""),
        ("services/api/z", ""),
    ]);
    assert_eq!(left(&project, "services/api"), ["2.log", "x"]);
    let below = |root: &str| {
        let files = IgnoreFiles::new([".gardenignore"], project.path(root));
        let request = BuildRequest::new("test", project.path("services/api")).ignore_files(files);
        kept(&request.exclude([".gardenignore", "Dockerfile"]))
    };
    assert_eq!(below("services"), ["1.log", "2.log", "x", "y"]);
    assert_eq!(below("services/api/../.."), ["2.log", "x"]);
    for elsewhere in ["services/api", "services/web", "nowhere", "services/api/deeper"] {
        assert_eq!(below(elsewhere), ["1.log", "2.log", "x", "y", "z"], "{elsewhere}");
    }
}

#[test]
fn nothing_is_left_of_a_context_that_lies_in_an_ignored_directory() {
    for patterns in ["/services", "api/", "services/*"] {
        let project = Project::new(&[
            (".gardenignore", patterns),
            ("services/.gardenignore", "!x"),
            ("services/api/Dockerfile", "FROM a"),
            ("services/api/x", ""),
        ]);
        let request = request(&project, "services/api", &[".gardenignore"]);
        let context = Context::scan(&request, &|| false).expect("context");
        assert!(paths(&context).is_empty(), "{patterns}");
        assert_eq!(context.dockerfile().contents(), b"FROM a");
    }
}

#[test]
fn a_later_name_wins_over_an_earlier_one_in_the_same_directory_only() {
    let project = Project::new(&[
        (".one", "x\n!y"),
        (".two", "!x\ny"),
        ("x", ""),
        ("y", ""),
        ("a/.one", "!y"),
        ("a/x", ""),
        ("a/y", ""),
    ]);
    let left = |names: &[&str]| kept(&request(&project, ".", names).exclude(["**/.*", "Dockerfile"]));
    assert_eq!(left(&[".one", ".two"]), ["a", "a/x", "a/y", "x"]);
    assert_eq!(left(&[".two", ".one"]), ["a", "a/y", "y"]);
    assert_eq!(left(&[".two"]), ["a", "a/x", "x"]);
    assert_eq!(left(&[]), ["a", "a/x", "a/y", "x", "y"]);
}

#[test]
fn neither_include_nor_an_exception_brings_back_what_is_ignored() {
    let project = Project::new(&[
        (".gardenignore", "a\nDockerfile\n.dockerignore"),
        (".dockerignore", "*\n!a\n!b"),
        ("a/x", ""),
        ("b/a", ""),
        ("b/x", ""),
    ]);
    let request = request(&project, ".", &[".gardenignore"]);
    assert_eq!(kept(&request), ["b", "b/x"]);
    assert_eq!(kept(&request.clone().include(["a", "b/*"])), ["b", "b/x"]);
    assert_eq!(kept(&request.include(["**/a"])), [""; 0]);
}

#[test]
fn named_contexts_have_no_such_files() {
    let project = Project::new(&[(".gardenignore", "a"), ("a", "")]);
    let tree = Tree::scan(project.0.path(), &|| false).expect("tree");
    assert!(tree.manifest().find("a").is_some());
}

#[test]
fn a_pattern_that_cannot_be_used_is_named_with_file_and_line() {
    let correct = "correct the pattern, or delete the line";
    for (context, file, text, message, hint) in [
        (
            ".",
            "a/.gardenignore",
            &b"ok\nx["[..],
            "a/.gardenignore:2: the pattern `x[` cannot be used: unclosed character class; missing ']'",
            correct,
        ),
        (
            "a/b",
            ".gardenignore",
            b"# comment\n\n[z-a]",
            "../../.gardenignore:3: the pattern `[z-a]` cannot be used: invalid range; 'z' > 'a'",
            correct,
        ),
        (
            "a/b",
            "a/.gardenignore",
            b"[a\\]]",
            "../.gardenignore:1: the pattern `[a\\]]` cannot be used: a `\\` in brackets is not supported; \
             a `]` can be first there, and a `-` last",
            correct,
        ),
        (
            ".",
            ".gardenignore",
            b"x\\",
            ".gardenignore:1: the pattern `x\\` cannot be used: dangling '\\'",
            correct,
        ),
        (
            ".",
            ".gardenignore",
            b"a\ncaf\xe9",
            ".gardenignore:2: the pattern is not UTF-8",
            "save the file as UTF-8",
        ),
    ] {
        let project = Project::new(&[("a/b/Dockerfile", "")]);
        fs::write(project.path(file), text).expect("file");
        let expected = (message.to_owned(), hint.to_owned());
        assert_eq!(failure(&request(&project, context, &[".gardenignore"])), expected);
    }
}

#[test]
fn a_directory_that_is_left_out_may_hold_a_file_that_cannot_be_used() {
    let project = Project::new(&[("a/.gardenignore", "["), ("b/x", "")]);
    let request = request(&project, ".", &[".gardenignore"]);
    assert_eq!(kept(&request.clone().include(["b"])), ["b", "b/x"]);
    assert_eq!(kept(&request.exclude(["a"])), ["Dockerfile", "b", "b/x"]);
}

#[test]
fn what_cannot_be_an_ignore_file_is_named() {
    let project = Project::new(&[("dir/x", ""), ("large", &" ".repeat(1024 * 1024 + 1))]);
    let failure = |name| failure(&request(&project, ".", &[name]));
    for name in ["a/b", "..", "", "/etc/passwd", "a/"] {
        let message =
            format!("`{name}` cannot be the name of an ignore file, which is looked for in every directory");
        assert_eq!(
            failure(name),
            (message, "give a name without slashes, such as `.gardenignore`".to_owned())
        );
    }
    let hint = "check the Dockerfile's path and the names of ignore files".to_owned();
    assert_eq!(failure("dir"), ("`dir` is not a file".to_owned(), hint.clone()));
    let large = "`large` is larger than 1048576 bytes, so it is not a Dockerfile or ignore file".to_owned();
    assert_eq!(failure("large"), (large, hint));
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_is_followed_as_long_as_it_stays_in_the_root() {
        let project = Project::new(&[
            ("patterns", "x"),
            ("services/api/Dockerfile", ""),
            ("services/api/x", ""),
            ("services/api/y", ""),
        ]);
        let link = project.path("services/api/.gardenignore");
        symlink("../../patterns", &link).expect("link");
        assert_eq!(left(&project, "services/api"), ["y"]);
        let files = IgnoreFiles::new([".gardenignore"], project.path("services/api"));
        let request = BuildRequest::new("test", project.path("services/api")).ignore_files(files);
        let boundary = project.path("services/api").canonicalize().expect("exists");
        let message =
            format!("`.gardenignore` is a symbolic link that leads out of `{}`", boundary.display());
        assert_eq!(failure(&request), (message, "replace the link with the file".to_owned()));
        fs::remove_file(&link).expect("removed");
        symlink("nowhere", &link).expect("link");
        assert_eq!(left(&project, "services/api"), ["x", "y"]);
    }

    #[test]
    fn what_is_no_file_or_cannot_be_read_is_named() {
        let project = Project::new(&[]);
        let _socket = UnixListener::bind(project.path("socket")).expect("socket");
        assert_eq!(failure(&request(&project, ".", &["socket"])).0, "`socket` is not a file");
        symlink("loop", project.path("loop")).expect("link");
        let (message, hint) = failure(&request(&project, ".", &["loop"]));
        assert!(message.starts_with("`loop` cannot be read: "), "{message}");
        assert_eq!(hint, "make it readable to the user who builds");
    }

    #[test]
    fn a_link_to_a_directory_is_no_directory_and_a_name_need_not_be_utf8() {
        let project = Project::new(&[(".gardenignore", "real/\nlink/\ncaf?"), ("real/x", "")]);
        symlink("real", project.path("link")).expect("link");
        fs::write(project.0.path().join(OsStr::from_bytes(b"caf\xe9")), "").expect("file");
        assert_eq!(left(&project, "."), ["link"]);
    }
}
