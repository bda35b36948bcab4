//! Garden's globs as the patterns that a build context is filtered with.
//!
//! The two agree on `*`, `**`, `?` and `[…]`, which neither lets match a `/`, and on a directory standing
//! for all in it. Only globs have alternatives, `{a,b}`; each becomes a pattern of its own.

use crate::document::issue::Issue;

/// More patterns than this are not made of one glob.
const MOST: usize = 256;

/// More patterns than this are not made of all globs of a build: each is tried on each file.
pub(crate) const MOST_OF_ALL: usize = 16 * 1024;

/// Longer globs, in bytes, are refused: no path is longer.
const LONGEST: usize = 4096;

/// Returns the patterns that together match what `glob` does.
pub(crate) fn patterns(glob: &str) -> Vec<String> {
    if glob.len() > LONGEST {
        return vec![glob.to_owned()];
    }
    let mut patterns = Vec::new();
    // Each round replaces one pair of braces that has no braces in it.
    let mut left = vec![glob.strip_prefix("./").unwrap_or(glob).to_owned()];
    while let Some(pattern) = left.pop() {
        let Some((start, end)) = innermost(&pattern) else {
            patterns.push(pattern);
            continue;
        };
        let alternatives = pattern[start + 1..end].split(',');
        if patterns.len() + left.len() + alternatives.clone().count() > MOST {
            // With its braces still in it.
            patterns.push(pattern);
            break;
        }
        let replaced = |it| format!("{}{it}{}", &pattern[..start], &pattern[end + 1..]);
        left.extend(alternatives.rev().map(replaced));
    }
    patterns
}

/// Says why `glob`, of the field `field`, cannot be used.
pub(crate) fn issue(field: &str, glob: &str) -> Option<Issue> {
    let (message, hint) = if glob.is_empty() {
        ("is empty", "leave the item out")
    } else if glob.len() > LONGEST {
        ("is longer than 4096 bytes", "write it as several globs")
    } else if glob.starts_with('/') {
        ("is an absolute path", "write it relative to the build context")
    } else if glob.split('/').any(|part| part == "..") {
        ("leads out of the build context", "write it relative to the build context, without `..`")
    } else if glob.starts_with('!') {
        ("starts with `!`", "put what is not to be matched into the other of `include` and `exclude`")
    } else if ["?(", "*(", "+(", "@(", "!("].iter().any(|operator| glob.contains(operator)) {
        ("has an extended group such as `+(…)`", "write it with `*`, `**`, `?`, `[…]` and `{…,…}`")
    } else if patterns(glob).iter().any(|pattern| pattern.contains(['{', '}'])) {
        ("has braces that do not pair, or too many of them", "write it as several globs")
    } else {
        return None;
    };
    Some(Issue::new(field, format!("the glob `{glob}` {message}"), hint))
}

/// Finds a pair of braces with alternatives and without braces in it.
fn innermost(pattern: &str) -> Option<(usize, usize)> {
    let end = pattern.find('}')?;
    let start = pattern[..end].rfind('{')?;
    pattern[start..end].contains(',').then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_become_patterns() {
        for (glob, expected) in [
            ("src/**/*", &["src/**/*"][..]),
            ("./a", &["a"]),
            ("*.{js,ts}", &["*.js", "*.ts"]),
            ("{a,b}/{c,d}", &["a/c", "a/d", "b/c", "b/d"]),
            ("{a,b{c,d}}", &["a", "bc", "a", "bd"]),
            ("a{,.map}", &["a", "a.map"]),
        ] {
            assert_eq!(patterns(glob), expected, "{glob}");
        }
    }

    #[test]
    fn what_has_no_pattern_is_refused() {
        let refused = |glob: &str| issue("include", glob).map(|issue| issue.message).unwrap_or_default();
        for (glob, reason) in [
            ("", "is empty"),
            ("/etc", "is an absolute path"),
            ("a/../../b", "leads out of the build context"),
            ("!a", "starts with `!`"),
            ("+(a|b)", "has an extended group such as `+(…)`"),
            ("a{b", "has braces that do not pair, or too many of them"),
            ("{1..9}", "has braces that do not pair, or too many of them"),
            (&format!("{{{}}}", ",".repeat(4000)), "has braces that do not pair, or too many of them"),
            (&"x".repeat(5000), "is longer than 4096 bytes"),
            (&"{a,b}".repeat(20), "has braces that do not pair, or too many of them"),
        ] {
            assert_eq!(refused(glob), format!("the glob `{glob}` {reason}"));
        }
        assert!(issue("include", "src/**/*.{js,ts}").is_none());
    }
}
