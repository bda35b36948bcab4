//! Sets of characters: bracket expressions, and the escapes that stand for a character or a set.
//!
//! Read as Go's `regexp` reads them (Go 1.24, `regexp/syntax/parse.go` and `perl_groups.go`).

use super::PatternProblem;

/// A set of characters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    pub(super) fn one(character: char) -> Self {
        Self { negated: false, ranges: vec![(character, character)] }
    }

    /// `.`, which in Go does not match a line end.
    pub(super) fn dot() -> Self {
        Self { negated: true, ranges: vec![('\n', '\n')] }
    }

    /// The character, if there is only one.
    pub(super) fn single(&self) -> Option<char> {
        match self.ranges[..] {
            [(low, high)] if low == high && !self.negated => Some(low),
            _ => None,
        }
    }

    pub(super) fn contains(&self, character: char) -> bool {
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

/// Reads a bracket expression.
pub(super) fn class(rest: &mut &str) -> Result<Set, PatternProblem> {
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
pub(super) fn shorthand(rest: &mut &str, set: &mut Set) -> Result<bool, PatternProblem> {
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
pub(super) fn escaped_character(rest: &mut &str) -> Result<char, PatternProblem> {
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
