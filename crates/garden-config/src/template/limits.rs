//! How large and how deep things may get.
//!
//! Why: docs/decisions/10-nothing-recurses-without-a-bound.md

use serde_json::Value;

use super::Fault;

/// How deep brackets, operators in front of values, choices, blocks and templates in quotes may be
/// nested within each other. Far more than anybody can read, and little enough for the 2 MiB stack of
/// a thread in an unoptimised build.
pub(super) const DEEPEST_NESTING: usize = 32;

/// How large a value may become, in bytes of its texts plus one for each value. Each template may
/// double what another gives, so that thirty of them would fill the memory.
const LARGEST_VALUE: usize = 1024 * 1024;

/// How deep lists and mappings may be nested within each other, as deep as `serde_json` reads them.
const DEEPEST_VALUE: usize = 128;

pub(super) fn nested_too_deep() -> Fault {
    Fault::new("this is nested too deep").hint("compute parts of it in variables")
}

fn too_large() -> Fault {
    Fault::new("this becomes larger than 1 MiB")
}

/// Passes on a value that was built, if it is not too large or too deep.
pub(super) fn check(value: Value) -> Result<Value, Fault> {
    let mut left = LARGEST_VALUE;
    weigh(&value, DEEPEST_VALUE, &mut left)?;
    Ok(value)
}

/// Passes on a value that is made of others, if it is not too deep: a chain of them, each within a list, would be as deep
/// as all of them together.
pub(crate) fn check_depth(value: Value) -> Result<Value, Fault> {
    let mut left = usize::MAX;
    weigh(&value, DEEPEST_VALUE, &mut left)?;
    Ok(value)
}

fn weigh(value: &Value, levels: usize, left: &mut usize) -> Result<(), Fault> {
    let levels = levels.checked_sub(1).ok_or_else(nested_too_deep)?;
    let take = |bytes: usize, left: &mut usize| -> Result<(), Fault> {
        *left = left.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    };
    take(1, left)?;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => take(text.len(), left),
        Value::Array(items) => items.iter().try_for_each(|item| weigh(item, levels, left)),
        Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            take(key.len(), left)?;
            weigh(value, levels, left)
        }),
    }
}

/// A text that is built from pieces and cannot become too large.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn push(&mut self, piece: &str) -> Result<(), Fault> {
        if self.0.len() + piece.len() > LARGEST_VALUE {
            return Err(too_large());
        }
        self.0.push_str(piece);
        Ok(())
    }

    pub(super) fn repeat(&mut self, piece: &str, count: usize) -> Result<(), Fault> {
        if piece.len().saturating_mul(count) > LARGEST_VALUE {
            return Err(too_large());
        }
        self.push(&piece.repeat(count))
    }

    pub(super) fn finish(self) -> Value {
        Value::String(self.0)
    }
}
