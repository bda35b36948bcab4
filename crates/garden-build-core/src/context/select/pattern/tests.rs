//! The vectors come from runs of moby/patternmatcher; `tests/dockerignore_oracle.rs` compares with
//! the library itself.

use super::super::IgnoreRules;

fn excluded(lines: &str, path: &str) -> bool {
    let rules = IgnoreRules::parse(".dockerignore", lines.as_bytes()).expect(lines);
    let parents = path.match_indices('/').map(|(slash, _)| (&path[..slash], true));
    !rules.kept(parents.chain([(path, false)])).contains(&path)
}

#[track_caller]
fn check(lines: &str, excludes: &[&str], keeps: &[&str]) {
    for path in excludes {
        assert!(excluded(lines, path), "`{path}` is kept by {lines:?}");
    }
    for path in keeps {
        assert!(!excluded(lines, path), "`{path}` is excluded by {lines:?}");
    }
}

#[test]
fn patterns_are_anchored_and_cover_what_lies_below() {
    check("a", &["a", "a/b", "a/b/c"], &["b/a", "ab", "A"]);
    check("dir/", &["dir", "dir/x"], &["x/dir"]);
    check("dir/**", &["dir/x", "dir/x/y"], &["dir"]);
    check("dir/*", &["dir/x", "dir/x/y"], &["dir"]);
    check("*/*", &["x/y/z"], &["x"]);
    for nothing in ["/", ".", "../x"] {
        check(nothing, &[], &["x"]);
    }
}

#[test]
fn two_stars_stand_for_whole_directories_or_none() {
    check("a**b", &["ab", "ax/b", "a/x/b"], &["axb"]);
    check("**foo", &["foo", "barfoo", "x/barfoo"], &["foox"]);
    check("**/foo", &["foo", "x/foo", "x/y/foo"], &["barfoo"]);
    check("**/.foo", &[".foo"], &["bar.foo"]);
    check("**", &["x", "x/y"], &[]);
    check("**/**/*.txt", &["a.txt", "d/e/a.txt"], &["a.txt2"]);
    check("**/file*.txt*", &["d/d/file.txt", "file1.txt.gz"], &["afile.txt"]);
    check("a/*.txt**", &["a/file.txt"], &["a/d/file.txt"]);
}

#[test]
fn one_star_and_question_mark_stay_in_one_name_and_match_a_leading_dot() {
    check("*.c", &["a.c", ".c"], &["d/a.c", "a.cc"]);
    check("caf?", &["caf\u{e9}"], &["cafe\u{301}", "caf", "caf/"]);
    check("abc?def", &["abcZdef"], &["abcdef", "abc/def"]);
}

#[test]
fn punctuation_is_literal() {
    check("{a,b}", &["{a,b}"], &["a"]);
    check("a.|)$(}+{bc", &["a.|)$(}+{bc"], &[]);
    check("*.{js,ts}", &["a.{js,ts}"], &["a.js"]);
    check("*.)$(}+{bc", &["a.)$(}+{bc"], &[]);
    check("a\\*b", &["a*b"], &["axb"]);
    check("a\\\\", &["a\\"], &["a"]);
    check("\\#x", &["#x"], &["\\#x"]);
}

#[test]
fn brackets_are_those_of_the_regular_expression() {
    check("[*]", &["]", "[^]"], &["*", "x"]);
    check("[?]", &["[]", "^]"], &["?", "]"]);
    check("[!a]", &["!", "a"], &["b"]);
    check("x[^a]y", &["x/y", "xby"], &["xay"]);
    check("a[b-d]e", &["ace"], &["ae", "aae"]);
    check("[[:alpha:]]x", &["ax"], &["1x"]);
}

#[test]
fn escapes_are_those_of_the_regular_expression() {
    check("\\d", &["7"], &["d"]);
    check("*\\w", &["a", "-a"], &["-"]);
    check("a\\bb", &[], &["ab", "abb"]);
    check("\\Qa*", &[], &["a*", "ab"]);
}

#[test]
fn the_last_pattern_that_matches_wins() {
    check("!a\na", &["a"], &[]);
    check("a\n!a\na/b", &["a/b"], &["a/c", "a"]);
    check("*\n!a/b/**", &["a/x", "b"], &["a/b/c"]);
    check("**/c\n!a/b/c/include.txt", &["a/b/c/exclude.txt"], &["a/b/c/include.txt"]);
    check("*\n!**/*.py", &["d/x.c"], &["d/x.py"]);
    check("**\n!util/docker/web", &["util/x"], &["util/docker/web/foo"]);
    check("**\n!util/docker/web\nutil/docker/web/foo", &["util/docker/web/foo"], &["util/docker/web/x"]);
}

#[test]
fn a_line_end_in_a_name_is_not_matched_by_two_stars_within_an_expression() {
    check("**/x*", &["n/x1"], &["n\n/x1"]);
    check("**/x1", &["n\n/x1"], &[]);
}

#[test]
fn a_malformed_pattern_names_file_line_and_pattern() {
    for bad in ["[", "[a-z", "[]]", "[a-]", "a\\", "[z-a]", "[Local-Only]", "x*[", "\\E", "\\y", "!", "!/"] {
        let text = format!("# comment\n\nok\n{bad}\n");
        let error = IgnoreRules::parse("x.dockerignore", text.as_bytes()).expect_err(bad).to_string();
        assert!(error.starts_with("x.dockerignore:4: the pattern `"), "{bad}: {error}");
    }
}

#[test]
fn accidents_of_go_that_nobody_can_mean_are_refused_as_not_supported() {
    for pattern in ["\\pL", "[\\PN]", "\\p{Greek}", "a|*", "?{2}"] {
        let error = IgnoreRules::parse(".dockerignore", pattern.as_bytes()).expect_err(pattern);
        assert!(error.to_string().contains("not supported"), "{error}");
    }
}
