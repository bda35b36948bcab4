use std::fmt;

use serde::{Serialize, Serializer};

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Value;
use crate::document::problems::Problems;
use crate::provider::names::no_effect;

/// For how long a service or daemon in the cluster may be unused before it is stopped: the provider's field `idleAfter`. It is
/// written with a unit (`s`, `m`, `h`, `d`), and so recorded with what it is about.
///
/// ```
/// use garden_config::IdleAfter;
///
/// assert_eq!(IdleAfter::parse("90m"), Some(IdleAfter::Seconds(5400)));
/// assert_eq!(IdleAfter::parse("never"), Some(IdleAfter::Never));
/// assert_eq!(IdleAfter::default().to_string(), "4h");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdleAfter {
    /// It is not stopped, however long nobody uses it.
    Never,
    /// For so many seconds.
    Seconds(u32),
}

const NEVER: &str = "never";

/// From the largest to the smallest, with their seconds.
const UNITS: [(&str, u32); 4] = [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)];

impl IdleAfter {
    /// The shortest time that there is, in seconds: five minutes. What is in use is known to be within a fraction of that.
    pub const LEAST_SECONDS: u32 = 5 * 60;

    /// Reads what [`Display`](fmt::Display) writes: a whole number with its unit, or `never`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == NEVER {
            return Some(Self::Never);
        }
        let (number, seconds) =
            UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)))?;
        // A sign is none of ours.
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        number.parse::<u32>().ok()?.checked_mul(seconds).map(Self::Seconds)
    }

    /// Reads the field `idleAfter` of a provider. `has_effect` says whether anything that it builds with can be idle.
    pub(crate) fn read(fields: &Fields<'_>, has_effect: bool, problems: &Problems) -> Self {
        let Some(node) = fields.node("idleAfter") else { return Self::default() };
        let written = match &node.value {
            // In quotes, it would be as wrong.
            Value::Number(digits) => Some(digits.as_str()),
            _ => fields.text("idleAfter"),
        };
        let Some(written) = written else { return Self::default() };
        let Some(idle_after) = Self::parse(written) else {
            let message = format!("`idleAfter` cannot be `{written}`");
            fields.report(Issue::new("idleAfter", message, HINT));
            return Self::default();
        };
        fields.check(idle_after.issue());
        if !has_effect {
            let message =
                "`idleAfter` has no effect: it is for kaniko's context service and for cluster-buildkit";
            no_effect("idleAfter", fields, message, problems);
        }
        idle_after
    }

    pub(crate) fn issue(self) -> Option<Issue> {
        let is_short = matches!(self, Self::Seconds(seconds) if seconds < Self::LEAST_SECONDS);
        is_short.then(|| {
            let message = format!("`idleAfter` must be at least {}", Self::Seconds(Self::LEAST_SECONDS));
            Issue::new("idleAfter", message, HINT)
        })
    }
}

const HINT: &str = "write a time with its unit, such as `30m`, `4h` or `7d`, or `never`";

impl Default for IdleAfter {
    /// Four hours.
    fn default() -> Self {
        Self::Seconds(4 * 60 * 60)
    }
}

impl fmt::Display for IdleAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Seconds(seconds) = *self else { return f.write_str(NEVER) };
        let whole = UNITS.iter().find(|(_, unit)| seconds != 0 && seconds.is_multiple_of(*unit));
        let (unit, length) = whole.copied().unwrap_or(("s", 1));
        write!(f, "{}{unit}", seconds / length)
    }
}

impl Serialize for IdleAfter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for IdleAfter {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IdleAfter".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A time with its unit, such as `30m`, `4h` or `7d`, of at least five minutes; or `never`.",
            "pattern": "^([0-9]+[smhd]|never)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_it_is_written() {
        for (text, seconds) in
            [("300s", 300), ("90m", 5400), ("4h", 14_400), ("36h", 129_600), ("7d", 604_800)]
        {
            assert_eq!(IdleAfter::parse(text), Some(IdleAfter::Seconds(seconds)), "{text}");
        }
        for seconds in [0, 1, 59, 60, 3600, 3601, 86_400, 90_000, u32::MAX] {
            let written = IdleAfter::Seconds(seconds).to_string();
            assert_eq!(IdleAfter::parse(&written), Some(IdleAfter::Seconds(seconds)), "{written}");
        }
        assert_eq!(IdleAfter::Seconds(5400).to_string(), "90m");
        assert_eq!(IdleAfter::Seconds(172_800).to_string(), "2d");
        assert_eq!(IdleAfter::Never.to_string(), "never");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "h", "4", "4 h", "+4h", "-4h", "4.5h", "1h30m", "Never", "4294967296s", "50000d"] {
            assert_eq!(IdleAfter::parse(text), None, "{text}");
        }
    }
}
