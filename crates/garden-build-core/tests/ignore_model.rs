//! Compares the rules with a model of them that is slow, small and written in another way.

use garden_build_core::context::IgnoreRules;
use proptest::prelude::*;

/// Whether the regular part of a pattern matches all of `text`, by trying everything.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let any_split = |rest: &[char], allowed: &dyn Fn(&[char]) -> bool| {
        (0..=text.len()).any(|cut| allowed(&text[..cut]) && fits(rest, &text[cut..]))
    };
    match pattern {
        [] => text.is_empty(),
        ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            any_split(rest, &|eaten| eaten.last().is_none_or(|last| *last == '/'))
        }
        ['*', rest @ ..] => any_split(rest, &|eaten| !eaten.contains(&'/')),
        ['?', rest @ ..] => text.first().is_some_and(|one| *one != '/') && fits(rest, &text[1..]),
        ['[', '^', set @ .., ']'] if !set.contains(&']') => matches!(text, [one] if !set.contains(one)),
        ['[', class @ ..] => {
            let end = class.iter().position(|one| *one == ']').expect("the classes of this test end");
            let (negated, set) = match &class[..end] {
                ['^', set @ ..] => (true, set),
                set => (false, set),
            };
            text.first().is_some_and(|one| set.contains(one) != negated)
                && fits(&class[end + 1..], &text[1..])
        }
        ['\\', one, rest @ ..] | [one, rest @ ..] => text.first() == Some(one) && fits(rest, &text[1..]),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    // `**` before plain text is a test of the end: the text may begin in the middle of a name.
    if let Some(end) = pattern.strip_prefix("**").filter(|end| !end.contains(['*', '?', '[', '\\'])) {
        return path.ends_with(end) || format!("/{path}").ends_with(end) && end == format!("/{path}");
    }
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    fits(&characters(pattern), &characters(path))
}

/// Which patterns match `path` or were found to match a parent, and whether it is excluded.
fn status(patterns: &[String], path: &str) -> (Vec<bool>, bool) {
    let above = match path.rsplit_once('/') {
        Some((parent, _)) => status(patterns, parent).0,
        None => vec![false; patterns.len()],
    };
    let mut excluded = false;
    let mut matched = Vec::new();
    for (pattern, above) in patterns.iter().zip(above) {
        let (brings_back, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern.as_str()),
        };
        let hit = above || (brings_back == excluded && matches(pattern, path));
        if hit {
            excluded = !brings_back;
        }
        matched.push(hit);
    }
    (matched, excluded)
}

/// Every entry that is not excluded, and what is above such entries. The model prunes nothing.
fn kept<'p>(patterns: &[String], tree: &'p [String]) -> Vec<&'p str> {
    let stays = |path: &str| !status(patterns, path).1;
    let holds = |path: &str| tree.iter().any(|other| other.starts_with(&format!("{path}/")) && stays(other));
    tree.iter().map(String::as_str).filter(|path| stays(path) || holds(path)).collect()
}

fn pattern() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["a", "a", "b", "ab", "é", ".", "*", "*", "**", "?", "[ab]", "[^a]", "\\*"]);
    let name = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    let name = name.prop_filter("not a step of a path", |name| !name.trim_matches('.').is_empty());
    (prop::bool::weighted(0.3), prop::collection::vec(name, 1..4))
        .prop_map(|(brings_back, names)| format!("{}{}", if brings_back { "!" } else { "" }, names.join("/")))
}

/// A tree of up to ten files with all directories above them, in the order of a walk.
fn tree() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["a", "b", "ab", "ba", "é", ".a", "a.b", "*"]);
    prop::collection::vec(prop::collection::vec(name, 1..5), 1..10).prop_map(|paths| {
        let mut all: Vec<Vec<&str>> =
            paths.iter().flat_map(|path| (1..=path.len()).map(|end| path[..end].to_vec())).collect();
        all.sort();
        all.dedup();
        all.into_iter().map(|path| path.join("/")).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn rules_keep_what_the_model_keeps(patterns in prop::collection::vec(pattern(), 0..5), tree in tree()) {
        let rules = IgnoreRules::parse(".dockerignore", patterns.join("\n").as_bytes()).expect("valid patterns");
        let is_directory = |path: &String| tree.iter().any(|other| other.starts_with(&format!("{path}/")));
        let ours = rules.kept(tree.iter().map(|path| (path.as_str(), is_directory(path))));
        prop_assert_eq!(ours, kept(&patterns, &tree));
    }
}
