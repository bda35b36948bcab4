//! The part of Go's regular expressions that a `.dockerignore` pattern can reach.
//!
//! moby translates a pattern into a regular expression and escapes only `.+()$`. Everything else of
//! Go's syntax therefore leaks through, and what a pattern means is what Go's `regexp` makes of the
//! translation. So the same translation is read here by the same rules (Go 1.24,
//! `regexp/syntax/parse.go`): it is a sequence of single-character tests, starred or not, of
//! `(.*/)?` and of assertions, and it is matched in time linear in the length of the path.
//!
//! A path is bytes. Where they are not UTF-8, each is matched as if it were U+FFFD, as Go does.
//!
//! Three constructs are refused, because nobody can mean them in an ignore file: alternatives (`|`,
//! which would undo the anchoring of the whole pattern), counted repetitions (`?{2}`) and Unicode
//! classes (`\pL`).

use super::PatternProblem;
use super::class::{Set, class, escaped_character, shorthand};
use crate::context::go_path;

/// What may lie between two named parts: any directories, or none.
pub(super) const DIRECTORIES: &str = "(.*/)?";

/// A compiled expression. It is always anchored at the start of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Regular {
    items: Vec<Item>,
    /// What every path begins with that matches.
    head: Vec<u8>,
    /// What every path ends with that matches.
    tail: Vec<u8>,
    /// How many slashes are in every path that matches, if in all as many.
    slashes: Option<usize>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
    /// These characters. U+FFFD, which also stands for what is not UTF-8, is none of them.
    Text(String),
    /// One character.
    One(Set),
    /// Any number of characters.
    Star(Set),
    /// `(.*/)?`.
    Directories,
    /// `^` or `\A`.
    Start,
    /// `$` or `\z`.
    End,
    /// `\b`, or `\B` if false.
    Boundary(bool),
}

impl Regular {
    /// Reads a translated pattern.
    pub(super) fn parse(translated: &str) -> Result<Self, PatternProblem> {
        let mut items = Vec::new();
        let mut rest = translated;
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix(DIRECTORIES) {
                items.push(Item::Directories);
                rest = after;
                continue;
            }
            if let Some(quoted) = rest.strip_prefix(r"\Q") {
                let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                items.extend(literal.chars().map(|character| Item::One(Set::one(character))));
                rest = after;
                continue;
            }
            let item = match first {
                '^' => one_byte(&mut rest, Item::Start),
                '$' => one_byte(&mut rest, Item::End),
                '.' => one_byte(&mut rest, Item::One(Set::dot())),
                '[' => Item::One(class(&mut rest)?),
                '\\' => escape(&mut rest)?,
                '|' => {
                    return Err(PatternProblem::Unsupported(
                        "a `|` beside wildcards; `\\|` matches the character",
                    ));
                }
                '{' if is_repetition(rest) => {
                    return Err(PatternProblem::Unsupported("a counted repetition like `{2}`"));
                }
                other => {
                    rest = &rest[other.len_utf8()..];
                    Item::One(Set::one(other))
                }
            };
            items.push(match (item, rest.strip_prefix('*')) {
                (Item::One(set), Some(after)) => {
                    rest = after;
                    Item::Star(set)
                }
                (item, _) => item,
            });
        }
        Ok(Self::of(items))
    }

    /// Finds out what every path that matches `items` has in common.
    fn of(items: Vec<Item>) -> Self {
        let items = joined(items);
        let text = |item: Option<&Item>| match item {
            Some(Item::Text(text)) => text.clone().into_bytes(),
            _ => Vec::new(),
        };
        let head = text(items.iter().find(|item| **item != Item::Start));
        let tail = match items.split_last() {
            Some((Item::End, before)) => text(before.last()),
            _ => Vec::new(),
        };
        // Without an end, anything may follow.
        let is_whole = items.last() == Some(&Item::End);
        let slashes = items.iter().map(slashes).sum::<Option<usize>>().filter(|_| is_whole);
        Self { items, head, tail, slashes }
    }

    /// Returns whether anything directly in the directory at `prefix`, which ends in a slash or is empty, may
    /// match.
    pub(super) fn may_match_in(&self, prefix: &[u8]) -> bool {
        let in_prefix = || prefix.split(|byte| *byte == b'/').count() - 1;
        (prefix.starts_with(&self.head) || self.head.starts_with(prefix))
            && self.slashes.is_none_or(|slashes| slashes == in_prefix())
    }

    /// Returns whether the expression matches a beginning of `path`; all of it, if it ends in [`Item::End`].
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        if !path.ends_with(&self.tail) || !path.starts_with(&self.head) {
            return false;
        }
        // Every place in the path that the items so far can reach, in ascending order.
        let mut reached = vec![0];
        let mut next = Vec::new();
        for item in &self.items {
            next.clear();
            match item {
                Item::Text(text) => {
                    let found = reached.iter().filter(|place| path[**place..].starts_with(text.as_bytes()));
                    next.extend(found.map(|place| place + text.len()));
                }
                Item::One(set) => next.extend(reached.iter().filter_map(|place| step(path, *place, set))),
                Item::Star(set) => star(path, &reached, set, &mut next),
                Item::Directories => directories(path, &reached, &mut next),
                Item::Start => next.extend(reached.iter().filter(|place| **place == 0)),
                Item::End => next.extend(reached.iter().filter(|place| **place == path.len())),
                Item::Boundary(wanted) => {
                    next.extend(reached.iter().filter(|place| is_boundary(path, **place) == *wanted));
                }
            }
            std::mem::swap(&mut reached, &mut next);
            if reached.is_empty() {
                return false;
            }
        }
        true
    }
}

/// Makes one item of characters that follow each other.
fn joined(items: Vec<Item>) -> Vec<Item> {
    let mut joined: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        match (item, joined.last_mut()) {
            (Item::One(set), last) => {
                match (set.single().filter(|it| *it != char::REPLACEMENT_CHARACTER), last) {
                    (Some(character), Some(Item::Text(text))) => text.push(character),
                    (Some(character), _) => joined.push(Item::Text(character.into())),
                    (None, _) => joined.push(Item::One(set)),
                }
            }
            (item, _) => joined.push(item),
        }
    }
    joined
}

/// How many slashes are in what an item matches, if always as many.
fn slashes(item: &Item) -> Option<usize> {
    match item {
        Item::Text(text) => Some(text.matches('/').count()),
        Item::One(set) | Item::Star(set) => (!set.contains('/')).then_some(0),
        Item::Directories => None,
        Item::Start | Item::End | Item::Boundary(_) => Some(0),
    }
}

fn step(path: &[u8], place: usize, set: &Set) -> Option<usize> {
    let rest = &path[place..];
    if rest.is_empty() {
        return None;
    }
    let (character, length) = go_path::first_character(rest);
    set.contains(character).then_some(place + length)
}

fn star(path: &[u8], reached: &[usize], set: &Set, next: &mut Vec<usize>) {
    for start in reached {
        // A run that began further left has already been through here.
        if next.last().is_some_and(|last| last >= start) {
            continue;
        }
        next.push(*start);
        let mut place = *start;
        while let Some(after) = step(path, place, set) {
            next.push(after);
            place = after;
        }
    }
}

fn directories(path: &[u8], reached: &[usize], next: &mut Vec<usize>) {
    let mut starts = reached.iter().copied().peekable();
    // Whether a `.*` that began at a reached place is still running: it ends at a line end.
    let mut running = false;
    let mut after_slash = false;
    let ends = path.iter().copied().map(Some).chain([None]);
    for (place, byte) in ends.enumerate() {
        let is_start = starts.next_if_eq(&place).is_some();
        if is_start || (running && after_slash) {
            next.push(place);
        }
        running = (running || is_start) && byte != Some(b'\n');
        after_slash = byte == Some(b'/');
    }
}

fn is_boundary(path: &[u8], place: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let before = place.checked_sub(1).and_then(|before| path.get(before));
    is_word(before) != is_word(path.get(place))
}

fn one_byte(rest: &mut &str, item: Item) -> Item {
    *rest = &rest[1..];
    item
}

/// Reads an escape outside of brackets.
fn escape(rest: &mut &str) -> Result<Item, PatternProblem> {
    let assertion = match rest.as_bytes().get(1) {
        Some(b'A') => Some(Item::Start),
        Some(b'z') => Some(Item::End),
        Some(b'b') => Some(Item::Boundary(true)),
        Some(b'B') => Some(Item::Boundary(false)),
        _ => None,
    };
    if let Some(assertion) = assertion {
        *rest = &rest[2..];
        return Ok(assertion);
    }
    let mut set = Set::default();
    if !shorthand(rest, &mut set)? {
        set = Set::one(escaped_character(rest)?);
    }
    Ok(Item::One(set))
}

/// Whether `text` starts with `{2}`, `{2,}` or `{2,3}`. Any other brace is an ordinary character.
fn is_repetition(text: &str) -> bool {
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    match inside.split_once(',') {
        None => is_number(inside),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, path: &str) -> bool {
        matches_bytes(expression, path.as_bytes())
    }

    fn matches_bytes(expression: &str, path: &[u8]) -> bool {
        Regular::parse(expression).expect(expression).matches(path)
    }

    #[test]
    fn each_byte_that_is_no_part_of_a_character_is_matched_as_u_fffd() {
        for (expression, path, expected) in [
            ("^caf[^/]$", &b"caf\xe9"[..], true),
            ("^caf[^/]$", b"caf\xe2\x82", false),
            ("^caf[^/][^/]$", b"caf\xe2\x82", true),
            ("^caf\u{fffd}[^/]*$", b"caf\xe9x", true),
            ("^caf\u{fffd}[^/]*$", "caf\u{fffd}x".as_bytes(), true),
            ("^[^/]*\u{fffd}$", b"caf\xe9", true),
            ("^[^/]*\u{fffd}b$", b"a\xffb", true),
            ("^[\u{fff0}-\u{ffff}]$", b"\xff", true),
            ("^[^\u{fffd}]$", b"\xff", false),
            ("^(.*/)?\u{fffd}$", b"\xff/\xff", true),
            ("^[^/]*\u{e9}$", b"\xe9", false),
            ("^[^/]*\u{e9}$", b"\xc3\xc3\xa9", true),
        ] {
            assert_eq!(matches_bytes(expression, path), expected, "{expression} {path:?}");
        }
    }

    #[test]
    fn a_line_end_stops_a_dot_but_not_a_negated_class() {
        assert!(!matches("^(.*/)?x$", "n\n/x"));
        assert!(matches("^[^/]*/x$", "n\n/x"));
        assert!(matches("^(.*/)?x$", "a/b/x"));
        assert!(!matches("^(.*/)?x$", "a/bx"));
    }

    #[test]
    fn reads_escapes_as_go_does() {
        for (expression, path) in [
            (r"^\x41\101\0101$", "AA\u{8}1"),
            (r"^\x{e9}\x{06F}$", "éo"),
            (r"^[\d]\D\w\W$", "7xa-"),
            (r"^\bab\b$", "ab"),
            (r"^a\Bb$", "ab"),
            (r"^\Q[^/]*\E$", "[^/]*"),
            (r"^[[:^alpha:][:upper:]]*$", "1A-"),
            (r"^[]a-]*$", "]a-"),
            (r"^[^\W]$", "_"),
        ] {
            assert!(matches(expression, path), "{expression} {path}");
        }
    }

    #[test]
    fn an_escaped_end_leaves_the_expression_open() {
        assert!(matches(r"^x[^/]*\$", "xy$/anything"));
        assert!(matches(r"^\Qx$", "x$/anything"));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for bad in
            [r"^[z-a]$", r"^[a$", r"^[[:nope:]]$", r"^\1$", r"^\E$", r"^\é$", r"^\x4$", r"^\C$", r"^[\b]$"]
        {
            assert_eq!(Regular::parse(bad), Err(PatternProblem::Malformed), "{bad}");
        }
    }

    #[test]
    fn refuses_alternatives_repetitions_and_unicode_classes_but_not_their_characters() {
        for unsupported in [r"^a|b$", r"^[^/]{2}$", r"^a{0,}$", r"^a{1,10}$", r"^\pL$", r"^[\P{Greek}]$"] {
            let problem = Regular::parse(unsupported);
            assert!(matches!(problem, Err(PatternProblem::Unsupported(_))), "{unsupported}");
        }
        for (expression, path) in
            [(r"^a\|[|]$", "a||"), (r"^{a,b}$", "{a,b}"), (r"^a{01}$", "a{01}"), (r"^a{,2}{$", "a{,2}{")]
        {
            assert!(matches(expression, path), "{expression}");
        }
    }
}
