//! Functions from values to texts and back.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use garden_build_core::Digest;
use serde::Serialize as _;
use serde_json::Value;

use super::Arguments;
use crate::document::decode::report_duplicate_keys;
use crate::document::node::Node;
use crate::document::problems::{Problems, Source};
use crate::document::yaml;
use crate::javascript::{float_text, with_numbers_of_javascript};
use crate::template::{Fault, TemplateProblem};

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
    Ok(Digest::of(arguments.text(0)?.as_bytes()).hex().into())
}

/// `jsonDecode(string)`.
pub(super) fn json_decode(arguments: &Arguments<'_>) -> Called {
    serde_json::from_str(arguments.text(0)?)
        .map(with_numbers_of_javascript)
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
    let source = Source::new(Path::new(""), text);
    let problems = Problems::new(&source);
    for document in &documents {
        report_duplicate_keys(document, &problems);
    }
    if problems.count() > 0 {
        return Err(arguments.wrong(0, "sets a key twice"));
    }
    match documents.as_slice() {
        _ if many => Ok(documents.iter().map(Node::to_json).collect()),
        [] => Ok(Value::Null),
        [document] => Ok(document.to_json()),
        _ => {
            let problem = arguments.wrong(0, "holds several documents");
            Err(TemplateProblem { hint: Some("pass `true` as second argument".to_owned()), ..problem })
        }
    }
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
