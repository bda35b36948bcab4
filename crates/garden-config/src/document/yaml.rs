//! Text to trees and values to text, through `serde-saphyr`. Nothing of that crate leaves this file.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::Path;

use garden_build_core::read_regular_file;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DuplicateKeyPolicy, Location, MessageFormatter, NonFiniteFloatPolicy, Options, Spanned,
    UserMessageFormatter,
};

use crate::Position;
use crate::document::node::{Entry, Mapping, Node, Value};

/// Why a text is not YAML, and where, if that is known.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) position: Option<Position>,
    pub(crate) message: String,
}

/// Parses the documents of `text`; empty ones are left out.
pub(crate) fn parse_documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let documents = serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options())
        .map_err(|error| syntax_error(&error))?;
    documents.into_iter().map(|document| node(document, text)).collect()
}

/// More than this is not a configuration, and would take its time.
pub(crate) const SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// Reads the text of a file; the error says why it cannot be read.
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    text(read_regular_file(path, SIZE_LIMIT))
}

/// Makes text of what was read of a file, of at most [`SIZE_LIMIT`] bytes.
pub(crate) fn text(read: io::Result<Vec<u8>>) -> Result<String, String> {
    let contents = read.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => format!("it is larger than {} MiB", SIZE_LIMIT / 1024 / 1024),
        _ => error.to_string(),
    })?;
    String::from_utf8(contents).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        format!("it is not UTF-8, at line {line}")
    })
}

/// The YAML 1.2 that Garden's own parser reads, and limits that no project file needs to exceed:
/// they keep a file of nested aliases from filling the memory or the stack.
fn options() -> Options {
    serde_saphyr::options! {
        // Every duplicate is reported by us, not only the first.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        budget: serde_saphyr::budget! {
            // The size of a file with what its aliases repeat, which is held several times while it is read.
            max_total_scalar_bytes: 8 * 1024 * 1024,
        },
    }
}

/// Writes `value` as a document.
pub(crate) fn write(value: &impl Serialize) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|error| error.to_string())
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    SyntaxError { position: error.location().map(position), message }
}

fn position(location: Location) -> Position {
    let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Position { line: number(location.line()), column: number(location.column()) }
}

/// What the deserializer hands over; scalars that it has interpreted still need their source text.
enum Raw {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Result<Node, SyntaxError> {
    let position = position(raw.defined);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(source(raw.defined, text).unwrap_or(value)),
        Raw::String(value) => Value::String(value),
        Raw::Sequence(items) => {
            Value::Sequence(items.into_iter().map(|item| node(item, text)).collect::<Result<_, _>>()?)
        }
        Raw::Mapping(entries) => Value::Mapping(Mapping(
            entries.into_iter().map(|(key, value)| entry(key, value, text)).collect::<Result<_, _>>()?,
        )),
    };
    Ok(Node { position, value })
}

fn entry(key: Spanned<Raw>, value: Spanned<Raw>, text: &str) -> Result<Entry, SyntaxError> {
    let key_position = position(key.defined);
    let written = source(key.defined, text);
    let key = match key.value {
        Raw::String(key) => key,
        Raw::Number(key) => written.unwrap_or(key),
        Raw::Bool(key) => written.unwrap_or_else(|| key.to_string()),
        Raw::Null => written.unwrap_or_default(),
        Raw::Sequence(_) | Raw::Mapping(_) => {
            let message = "the key of a mapping must be text here, not a list or a mapping".to_owned();
            return Err(SyntaxError { position: Some(key_position), message });
        }
    };
    Ok(Entry { key, key_position, value: node(value, text)? })
}

/// The scalar as it is written.
fn source(location: Location, text: &str) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    let written = text.get(start..start.checked_add(length)?)?;
    Some(written.trim_matches(['"', '\'']).to_owned())
}

thread_local! {
    /// How many values are being read within each other on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One more level of values, until it is dropped.
struct Level;

impl Level {
    /// Far more than a project file needs, and little enough for the 2 MiB stack of a thread: each
    /// level takes some 40 KiB of it in an unoptimised build. The parser's own limit is higher, and
    /// starts again at zero within each alias.
    const DEEPEST: usize = 32;

    fn enter<E: Error>() -> Result<Self, E> {
        DEPTH.set(DEPTH.get() + 1);
        let level = Self;
        if DEPTH.get() <= Self::DEEPEST {
            Ok(level)
        } else {
            Err(E::custom("lists and mappings are nested too deep"))
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _level = Level::enter()?;
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        let mut documents = parse_documents(text).unwrap_or_else(|error| panic!("{}", error.message));
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn knows_where_keys_and_values_stand_even_behind_an_alias() {
        let root = parse("first: &it\n  key: 1.10\nsecond: *it\n");
        let mapping = root.as_mapping().expect("mapping");
        assert_eq!(mapping.entry("second").expect("entry").key_position, at(3, 1));
        let inner = mapping.get("second").and_then(Node::as_mapping).expect("alias");
        assert_eq!(inner.get("key"), Some(&Node { position: at(2, 8), value: Value::Number("1.10".into()) }));
    }

    #[test]
    fn reads_scalars_as_yaml_1_2_does() {
        let root = parse("[yes, on, True, ~, '1', 0x1F, 0755, 1_000, .nan]");
        let Value::Sequence(items) = root.value else { panic!("a list") };
        let values: Vec<Value> = items.into_iter().map(|item| item.value).collect();
        let text = |text: &str| Value::String(text.to_owned());
        let number = |text: &str| Value::Number(text.to_owned());
        assert_eq!(values[..5], [text("yes"), text("on"), Value::Bool(true), Value::Null, text("1")]);
        assert_eq!(values[5..], [number("0x1F"), text("0755"), text("1_000"), number(".nan")]);
    }

    #[test]
    fn expands_merge_keys() {
        let root = parse("base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n");
        let used =
            root.as_mapping().and_then(|root| root.get("use")).and_then(Node::as_mapping).expect("mapping");
        assert_eq!(used.get("a").map(|node| node.position), Some(at(1, 17)));
        assert_eq!(used.get("b").map(|node| node.position), Some(at(4, 6)));
        assert_eq!(used.0.len(), 2);
    }

    #[test]
    fn refuses_alias_bombs_and_deep_nesting() {
        let mut wide = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        let nested = |inner: &str, levels| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
        let mut deep = vec![format!("d0: &d0 {}", nested("x", 20))];
        for level in 1..20 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            wide.push(format!("a{level}: &a{level} [{aliases}]"));
            let inner = format!("*d{}", level - 1);
            deep.push(format!("d{level}: &d{level} {}", nested(&inner, 20)));
        }
        for (bomb, message) in [
            (wide.join("\n"), "too large or too complex"),
            (deep.join("\n"), "nested too deep"),
            (nested("x", 60), "nested too deep"),
        ] {
            let error = parse_documents(&bomb).expect_err("refused");
            assert!(error.message.contains(message), "{}", error.message);
            assert!(error.position.is_some());
        }
        assert_eq!(DEPTH.get(), 0);
    }
}
