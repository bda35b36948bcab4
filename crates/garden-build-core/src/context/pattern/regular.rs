//! The part of Go's regular expressions that a `.dockerignore` pattern can reach.
//!
//! moby translates a pattern into a regular expression and escapes only `.+()$`. Everything else of
//! Go's syntax therefore leaks through, and what a pattern means is what Go's `regexp` makes of the
//! translation. So the same translation is read here by the same rules (Go 1.24,
//! `regexp/syntax/parse.go`): it is a sequence of single-character tests, starred or not, of
//! `(.*/)?` and of assertions, and it is matched in time linear in the length of the path.
//!
//! Three constructs are refused, because nobody can mean them in an ignore file: alternatives (`|`,
//! which would undo the anchoring of the whole pattern), counted repetitions (`?{2}`) and Unicode
//! classes (`\pL`).

use super::PatternProblem;

/// What may lie between two named parts: any directories, or none.
pub(super) const DIRECTORIES: &str = "(.*/)?";

/// A compiled expression. It is always anchored at the start of the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Regular(Vec<Item>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Item {
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

/// A set of characters.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn one(character: char) -> Self {
        Self { negated: false, ranges: vec![(character, character)] }
    }

    /// `.`, which in Go does not match a line end.
    fn dot() -> Self {
        Self { negated: true, ranges: vec![('\n', '\n')] }
    }

    fn contains(&self, character: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != self.negated
    }

    /// Adds `ranges`, or everything but them.
    fn add(&mut self, ranges: &[(char, char)], negated: bool) {
        if !negated {
            self.ranges.extend_from_slice(ranges);
            return;
        }
        // The tables below are sorted and disjoint, so the gaps between their ranges are the rest.
        let mut next = Some('\0');
        for (low, high) in ranges {
            if let Some(start) = next.filter(|start| start < low) {
                let before = char::from_u32(*low as u32 - 1).unwrap_or(*low);
                self.ranges.push((start, before));
            }
            next = char::from_u32(*high as u32 + 1);
        }
        if let Some(start) = next {
            self.ranges.push((start, char::MAX));
        }
    }
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
        Ok(Self(items))
    }

    /// Tells whether the expression matches a beginning of `path`; all of it, if it ends in [`Item::End`].
    pub(super) fn matches(&self, path: &str) -> bool {
        // Every place in the path that the items so far can reach, in ascending order.
        let mut reached = vec![0];
        let mut next = Vec::new();
        for item in &self.0 {
            next.clear();
            match item {
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

fn step(path: &str, place: usize, set: &Set) -> Option<usize> {
    let character = path[place..].chars().next()?;
    set.contains(character).then(|| place + character.len_utf8())
}

fn star(path: &str, reached: &[usize], set: &Set, next: &mut Vec<usize>) {
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

fn directories(path: &str, reached: &[usize], next: &mut Vec<usize>) {
    let mut starts = reached.iter().copied().peekable();
    // Whether a `.*` that began at a reached place is still running: it ends at a line end.
    let mut running = false;
    let mut after_slash = false;
    let ends = path.char_indices().map(|(place, character)| (place, Some(character)));
    for (place, character) in ends.chain([(path.len(), None)]) {
        let is_start = starts.next_if_eq(&place).is_some();
        if is_start || (running && after_slash) {
            next.push(place);
        }
        running = (running || is_start) && character != Some('\n');
        after_slash = character == Some('/');
    }
}

fn is_boundary(path: &str, place: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = path.as_bytes();
    let before = place.checked_sub(1).and_then(|before| bytes.get(before));
    is_word(before) != is_word(bytes.get(place))
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
    let mut set = Set { negated: false, ranges: Vec::new() };
    if !shorthand(rest, &mut set)? {
        set = Set::one(escaped_character(rest)?);
    }
    Ok(Item::One(set))
}

/// Reads a bracket expression.
fn class(rest: &mut &str) -> Result<Set, PatternProblem> {
    *rest = &rest[1..];
    let negated = rest.starts_with('^');
    if negated {
        *rest = &rest[1..];
    }
    let mut set = Set { negated, ranges: Vec::new() };
    let mut is_first = true;
    // A `]` in the first place is an ordinary character.
    while is_first || !rest.starts_with(']') {
        is_first = false;
        if named_class(rest, &mut set)? || shorthand(rest, &mut set)? {
            continue;
        }
        let low = class_character(rest)?;
        let mut high = low;
        // A `-` in the last place is an ordinary character.
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            *rest = &rest[1..];
            high = class_character(rest)?;
            if high < low {
                return Err(PatternProblem::Malformed);
            }
        }
        set.ranges.push((low, high));
    }
    *rest = &rest[1..];
    Ok(set)
}

fn class_character(rest: &mut &str) -> Result<char, PatternProblem> {
    match rest.chars().next() {
        None => Err(PatternProblem::Malformed),
        Some('\\') => escaped_character(rest),
        Some(character) => {
            *rest = &rest[character.len_utf8()..];
            Ok(character)
        }
    }
}

/// Reads a class such as `[:alpha:]` or `[:^alpha:]`, if there is one.
fn named_class(rest: &mut &str, set: &mut Set) -> Result<bool, PatternProblem> {
    let Some((name, after)) = rest.strip_prefix("[:").and_then(|text| text.split_once(":]")) else {
        return Ok(false);
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let (_, ranges) = NAMED.iter().find(|(known, _)| *known == name).ok_or(PatternProblem::Malformed)?;
    set.add(ranges, negated);
    *rest = after;
    Ok(true)
}

/// Reads `\d`, `\s`, `\w` or their opposites, if there is one.
fn shorthand(rest: &mut &str, set: &mut Set) -> Result<bool, PatternProblem> {
    let Some(letter) = rest.strip_prefix('\\').and_then(|text| text.chars().next()) else {
        return Ok(false);
    };
    let ranges = match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => PERL_SPACE,
        'w' => WORD,
        // Go has the tables of all Unicode categories at hand; we do not, and nobody ignores files by them.
        'p' => return Err(PatternProblem::Unsupported("a Unicode class like `\\pL`")),
        _ => return Ok(false),
    };
    set.add(ranges, letter.is_ascii_uppercase());
    *rest = &rest[2..];
    Ok(true)
}

/// Reads an escape that stands for one character.
fn escaped_character(rest: &mut &str) -> Result<char, PatternProblem> {
    let mut characters = rest.chars();
    characters.next();
    let character = characters.next().ok_or(PatternProblem::Malformed)?;
    let after = characters.as_str();
    let (character, length) = match character {
        '0'..='7' => {
            let digits = 1 + after.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            // One digit other than zero would refer back to a group.
            if digits == 1 && character != '0' {
                return Err(PatternProblem::Malformed);
            }
            (number(rest, 1, digits, 8)?, 1 + digits)
        }
        'x' if after.starts_with('{') => {
            let digits = after.find('}').ok_or(PatternProblem::Malformed)? - 1;
            (number(rest, 3, digits, 16)?, digits + 4)
        }
        'x' => (number(rest, 2, 2, 16)?, 4),
        'a' => ('\x07', 2),
        'f' => ('\x0c', 2),
        'n' => ('\n', 2),
        'r' => ('\r', 2),
        't' => ('\t', 2),
        'v' => ('\x0b', 2),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => (other, 2),
        _ => return Err(PatternProblem::Malformed),
    };
    *rest = &rest[length..];
    Ok(character)
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

fn number(text: &str, start: usize, length: usize, radix: u32) -> Result<char, PatternProblem> {
    let digits = text.get(start..start + length).filter(|digits| !digits.starts_with('+'));
    digits
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(char::from_u32)
        .ok_or(PatternProblem::Malformed)
}

type Ranges = &'static [(char, char)];

const DIGIT: Ranges = &[('0', '9')];
const PERL_SPACE: Ranges = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
const WORD: Ranges = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

const NAMED: &[(&str, Ranges)] = &[
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7f')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, path: &str) -> bool {
        Regular::parse(expression).expect(expression).matches(path)
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
