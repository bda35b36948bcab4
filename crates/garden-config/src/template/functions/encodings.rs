//! Functions from values to texts and back.

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Serialize as _;
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use super::Arguments;
use crate::node::{Mapping, Node, Value as NodeValue};
use crate::template::value::float_text;
use crate::template::{Fault, TemplateProblem};
use crate::yaml;

type Called = Result<Value, TemplateProblem>;

/// `base64Encode(string)`.
pub(super) fn base64_encode(arguments: &Arguments<'_>) -> Called {
    Ok(STANDARD.encode(arguments.text(0)?).into())
}

/// `base64Decode(string)`: as in Garden, padding may be left out, white space may be within, and both
/// alphabets are known; but what else is wrong is not ignored.
pub(super) fn base64_decode(arguments: &Arguments<'_>) -> Called {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let characters = arguments.text(0)?.chars().filter(|character| !character.is_whitespace());
    let encoded: String = characters
        .map(|character| match character {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let decoded = LENIENT.decode(encoded).map_err(|_| arguments.wrong(0, "is not base64"))?;
    let text = String::from_utf8(decoded);
    Ok(text.map_err(|_| arguments.wrong(0, "is base64 of something that is not text"))?.into())
}

/// `sha256(string)`, in hexadecimal digits.
pub(super) fn sha256(arguments: &Arguments<'_>) -> Called {
    let mut digits = String::new();
    for byte in Sha256::digest(arguments.text(0)?) {
        write!(digits, "{byte:02x}").map_err(|error| arguments.problem(Fault::new(error.to_string())))?;
    }
    Ok(digits.into())
}

/// `jsonDecode(string)`.
pub(super) fn json_decode(arguments: &Arguments<'_>) -> Called {
    serde_json::from_str(arguments.text(0)?)
        .map_err(|error| arguments.wrong(0, &format!("is not JSON: {error}")))
}

/// `jsonEncode(value)`, without white space. The keys of mappings are sorted.
pub(super) fn json_encode(arguments: &Arguments<'_>) -> Called {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Compact);
    let written = arguments.value(0).serialize(&mut serializer);
    let failed = |error: String| arguments.problem(Fault::new(error));
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(json).map(Value::from).map_err(|error| failed(error.to_string()))
}

/// JSON as JavaScript writes it: `1` for `1.0`.
struct Compact;

impl serde_json::ser::Formatter for Compact {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float_text(value).as_bytes())
    }
}

/// `yamlDecode(string, [multiDocument])`: the document, or a list of them.
pub(super) fn yaml_decode(arguments: &Arguments<'_>) -> Called {
    let (text, many) = (arguments.text(0)?, arguments.flag(1)?);
    let documents = yaml::parse_documents(text)
        .map_err(|error| arguments.wrong(0, &format!("is not YAML: {}", error.message)))?;
    let decode = |node| from_node(node).map_err(|why| arguments.wrong(0, &why));
    match documents.as_slice() {
        _ if many => documents.iter().map(decode).collect(),
        [] => Ok(Value::Null),
        [document] => decode(document),
        _ => {
            let problem = arguments.wrong(0, "holds several documents");
            Err(TemplateProblem { hint: Some("pass `true` as second argument".to_owned()), ..problem })
        }
    }
}

fn from_node(node: &Node) -> Result<Value, String> {
    match &node.value {
        NodeValue::Null => Ok(Value::Null),
        NodeValue::Bool(value) => Ok((*value).into()),
        NodeValue::Number(written) => yaml_number(written),
        NodeValue::String(text) => Ok(text.as_str().into()),
        NodeValue::Sequence(items) => items.iter().map(from_node).collect(),
        NodeValue::Mapping(mapping) => from_mapping(mapping).map(Value::Object),
    }
}

fn from_mapping(mapping: &Mapping) -> Result<Map<String, Value>, String> {
    let mut entries = Map::new();
    for entry in &mapping.0 {
        if entries.insert(entry.key.clone(), from_node(&entry.value)?).is_some() {
            return Err(format!("sets `{}` twice", entry.key));
        }
    }
    Ok(entries)
}

/// A number of YAML 1.2's core schema; `.inf` and `.nan` have no place in a value.
fn yaml_number(written: &str) -> Result<Value, String> {
    let based = [("0x", 16), ("0o", 8)].into_iter().find_map(|(prefix, base)| {
        written.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, base).ok().map(Number::from))
    });
    let number = based.unwrap_or_else(|| match written.parse::<i64>() {
        Ok(integer) => Some(integer.into()),
        Err(_) => written.parse().ok().and_then(Number::from_f64),
    });
    number
        .map(Value::Number)
        .ok_or_else(|| format!("holds the number `{written}`, which cannot be computed with"))
}

/// `yamlEncode(value, [multiDocument])`: as a document, or each item of a list as one.
///
/// Garden leaves out the line break after `---`, so that what it writes for several documents is not
/// the YAML that it should be.
pub(super) fn yaml_encode(arguments: &Arguments<'_>) -> Called {
    let encode = |value: &Value| {
        yaml::write(value).map_err(|error| arguments.wrong(0, &format!("cannot be written as YAML: {error}")))
    };
    if !arguments.flag(1)? {
        return encode(arguments.value(0)).map(Value::from);
    }
    let mut documents = String::new();
    for document in arguments.list(0)? {
        documents.push_str("---\n");
        documents.push_str(&encode(document)?);
    }
    Ok(documents.into())
}
