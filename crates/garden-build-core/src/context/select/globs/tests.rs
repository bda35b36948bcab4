use serde::Deserialize;

use super::*;

/// What Garden takes of a tree for a glob, made once: `include14` and `exclude14` with micromatch 4.0.8 and its option
/// `dot`, after what Garden does before (0.13 and 0.14: an `exclude` is normalized, and one that is-glob 4.0.3 takes for no glob
/// gets `/**/*` if it is a directory); `exclude12` with micromatch alone; `include12` with `git ls-files --others
/// ':(glob)…'` of git 2.39.
const VECTORS: &str = include_str!("vectors.json");

#[derive(Deserialize)]
struct Vectors {
    files: Vec<String>,
    globs: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    glob: String,
    include14: Vec<String>,
    exclude14: Vec<String>,
    include12: Vec<String>,
    exclude12: Vec<String>,
}

/// What a filter leaves of a list of files, walking through their directories.
fn kept(globs: &FileGlobs, files: &[String]) -> Vec<String> {
    let filter = GlobFilter::new(globs).expect("well-formed");
    let is_reached = |file: &&String| {
        let mut directories: Vec<&[u8]> = with_parents(file.as_bytes()).skip(1).collect();
        directories.reverse();
        directories.iter().all(|directory| filter.judge(directory, true) == Verdict::Search)
    };
    let is_kept = |file: &&String| filter.judge(file.as_bytes(), false) == Verdict::Keep;
    // What is pruned with a directory would be dropped by itself.
    assert!(files.iter().filter(is_kept).all(|file| is_reached(&file)), "{globs:?}");
    files.iter().filter(is_reached).filter(is_kept).cloned().collect()
}

fn included(glob: &str, files: &[String]) -> Vec<String> {
    kept(&FileGlobs { include: Some(vec![glob.to_owned()]), exclude: Vec::new() }, files)
}

/// Globs that are read otherwise than some generation of Garden does; see `docs/differences-from-garden.md`.
mod differences {
    /// From 0.13 and 0.14: names with brackets and parentheses, `[!…]`, characters of several bytes, a `/` in a class.
    pub(super) const NEW: [&str; 8] = [
        "lib//*",
        "?.txt",
        "[!b].js",
        "lib[/]a.js",
        "app/[slug]",
        "app/(group)",
        "app/(group)/*",
        "Dockerfile/",
    ];

    /// From `exclude` of 0.12, where a path without a wildcard does not stand for a directory.
    pub(super) const OLD_EXCLUDE: [&str; 20] = [
        "./",
        ".",
        "./.",
        "lib",
        "lib/",
        "./lib",
        "lib//deep",
        "lib/./deep",
        "lib/deep/",
        ".//lib",
        "lib//*",
        "?.txt",
        "[!b].js",
        "lib[/]a.js",
        "app/[slug]",
        "app/(group)",
        "app/(group)/*",
        "with space",
        ".config",
        "Dockerfile/",
    ];

    /// From `include` of 0.12, which knows no alternatives, and in which `x/**` does not match a file `x`.
    pub(super) const OLD_INCLUDE: [&str; 28] = [
        "**/deep/**",
        "*.{js,ts}",
        "lib/{a,b}.*",
        "{lib,src}/*",
        "{lib,src}/**",
        "{lib/deep,src}/*",
        "{,lib/}a.js",
        "{lib/{a,b},app/**/page}.*",
        "a{,b}",
        "app/[slug]/*",
        "Dockerfile/",
        "Dockerfile/**",
        "***",
        "lib/***",
        "*.js/**",
        "*.js/**/**",
        "[.]env/**",
        "[a-c].js/**",
        "a?/**",
        "{a.js,lib}/**",
        "{*,zzz}/**",
        "*.{js,ts}/**",
        "**/*.js/**",
        "**/a.js/**",
        "lib/*.js/**",
        "b\\*c/**",
        "**.js/**",
        "Dockerfile/**/**",
    ];
}

#[test]
fn agrees_with_micromatch_and_git_but_for_known_differences() {
    let Vectors { files, globs } = serde_json::from_str(VECTORS).expect("vectors");
    assert!(globs.len() > 100);
    let (mut new, mut old_include, mut old_exclude) = (Vec::new(), Vec::new(), Vec::new());
    for Vector { glob, include14, exclude14, include12, exclude12 } in &globs {
        let ours = included(glob, &files);
        let excluded = kept(&FileGlobs { include: None, exclude: vec![glob.clone()] }, &files);
        let rest: Vec<&String> = files.iter().filter(|file| !excluded.contains(file)).collect();
        assert_eq!(rest, ours.iter().collect::<Vec<_>>(), "exclude {glob}");
        let note = |differences: &mut Vec<String>, is_other: bool| {
            differences.extend(is_other.then(|| glob.clone()));
        };
        note(&mut new, *include14 != ours || *exclude14 != ours);
        note(&mut old_include, *include12 != ours);
        note(&mut old_exclude, *exclude12 != ours);
    }
    assert_eq!(new, differences::NEW);
    assert_eq!(old_exclude, differences::OLD_EXCLUDE);
    assert_eq!(old_include, differences::OLD_INCLUDE);
}

#[test]
fn what_is_read_otherwise_is_read_so() {
    let Vectors { files, .. } = serde_json::from_str(VECTORS).expect("vectors");
    for (glob, expected) in [
        ("lib//*", &["lib/a.js", "lib/b.ts"][..]),
        ("[!b].js", &["a.js"]),
        ("app/[slug]", &["app/[slug]/page.js"]),
        ("app/(group)", &["app/(group)/page.js"]),
        ("app/(group)/*", &["app/(group)/page.js"]),
        ("?.txt", &[]),
        ("*/", &[]),
    ] {
        assert_eq!(included(glob, &files), expected, "{glob}");
    }
}

/// As micromatch 4.0.8 takes them with its option `dot`.
#[test]
fn two_stars_and_a_dot_at_the_start_are_at_any_depth() {
    let files = ["a.js", "a.jsx", "lib/x.test.js", "src/a.js", "src/deep/a.js"].map(str::to_owned);
    for (glob, expected) in [
        ("**.js", &["a.js", "lib/x.test.js", "src/a.js", "src/deep/a.js"][..]),
        ("./**.test.js", &["lib/x.test.js"]),
        ("**.{js,jsx}", &["a.js", "a.jsx"]),
        ("**.j*", &["a.js", "a.jsx"]),
        ("src/**.js", &["src/a.js"]),
        ("**a.js", &["a.js"]),
    ] {
        assert_eq!(included(glob, &files), expected, "{glob}");
    }
}

#[test]
fn a_directory_is_searched_only_if_something_in_it_may_be_kept() {
    for (include, exclude, directory, expected) in [
        (Some("lib/*"), None, "lib", Verdict::Search),
        (Some("lib/*"), None, "lib/deep", Verdict::Drop),
        (Some("lib/*/x"), None, "lib/deep", Verdict::Search),
        (Some("lib/*/x"), None, "lib/deep/x", Verdict::Drop),
        (Some("lib/{a/b,c}/x"), None, "lib/a/b", Verdict::Search),
        (Some("lib/**/x"), None, "lib/a/b/c", Verdict::Search),
        (Some("*"), None, "lib", Verdict::Drop),
        (Some("a/b"), None, "a", Verdict::Search),
        (Some("a/b"), None, "a/b/c", Verdict::Search),
        (Some("a/b"), None, "a/c", Verdict::Drop),
        (Some("a/b"), None, "a-b", Verdict::Drop),
        (None, Some("lib"), "lib", Verdict::Drop),
        (None, Some("lib/*"), "lib/deep", Verdict::Search),
        (None, Some("**/deep/**/*"), "lib/deep", Verdict::Drop),
        (None, Some("**/deep/**"), "deep", Verdict::Drop),
        (None, Some("lib/**/*"), "lib", Verdict::Drop),
        (None, Some("lib/**/*"), "lib/deep", Verdict::Drop),
        (Some("lib/deep/**/*"), None, "lib", Verdict::Search),
        (Some("lib/deep/**/*"), None, "lib/deep", Verdict::Search),
        (Some("lib/deep/**/*"), None, "lib/deep/d", Verdict::Search),
        (Some("lib/deep/**/*"), None, "lib/d", Verdict::Drop),
        (None, Some("**/*.js"), "lib", Verdict::Search),
        (None, Some("."), "lib", Verdict::Drop),
    ] {
        let list = |glob: Option<&str>| glob.map(|glob| vec![glob.to_owned()]);
        let globs = FileGlobs { include: list(include), exclude: list(exclude).unwrap_or_default() };
        let filter = GlobFilter::new(&globs).expect("well-formed");
        assert_eq!(filter.judge(directory.as_bytes(), true), expected, "{globs:?} {directory}");
    }
}

#[test]
fn what_is_not_a_glob_is_refused() {
    for (glob, reason) in [
        ("", "is empty"),
        ("/etc", "is an absolute path"),
        ("a/../../b", "leads out of the directory"),
        ("!a", "starts with `!`"),
        ("+(a|b)", "has an extended group such as `+(…)`"),
        ("a{b", "has braces that do not pair, or have no alternatives"),
        ("a}b", "has braces that do not pair, or have no alternatives"),
        ("{1..9}", "has braces that do not pair, or have no alternatives"),
        ("a[b", "has a bracket, range or backslash that is not well-formed"),
        ("[z-a]", "has a bracket, range or backslash that is not well-formed"),
        ("a\\", "has a bracket, range or backslash that is not well-formed"),
        (&"x".repeat(5000), "is longer than 4096 bytes"),
    ] {
        let globs = FileGlobs { include: None, exclude: vec![glob.to_owned()] };
        let error = GlobFilter::new(&globs).expect_err(glob);
        assert_eq!(error.to_string(), format!("the glob `{glob}` in `exclude` {reason}"));
    }
    let many = FileGlobs {
        include: Some(vec!["x".repeat(4000); 100]),
        exclude: vec!["!".to_owned(), String::new()],
    };
    let errors = |globs: &FileGlobs| globs.errors().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        errors(&many),
        [
            "the globs in `include` cannot be used: they are longer than 256 KiB together",
            "the glob `!` in `exclude` starts with `!`",
            "the glob `` in `exclude` is empty"
        ]
    );
    assert_eq!(GlobFilter::new(&many).err().as_ref(), many.errors().first());
}
