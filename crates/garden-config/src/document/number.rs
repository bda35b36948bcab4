//! Numbers, as Garden's YAML reader and its schema library read them.

use serde_json::Value as Json;

use crate::javascript;

/// Reads a number as YAML 1.2 does, into what JavaScript has: 64 bits, floating, so that large integers lose their last digits.
/// What JSON does not have becomes the text that Garden prints for it: `Infinity`, `-Infinity`, `NaN`.
pub(super) fn value(written: &str) -> Json {
    let Some(number) = float(written) else { return Json::String(written.to_owned()) };
    javascript::number(number).unwrap_or_else(|| {
        let text = match number {
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => "NaN",
        };
        Json::String(text.to_owned())
    })
}

/// Reads a number that is whole: `600`, `600.0`, `6e2`, `0x258`.
pub(super) fn whole(written: &str) -> Option<i64> {
    written.parse().ok().or_else(|| javascript::text(&value(written))?.parse().ok())
}

/// Reads a whole number that is a text: in decimal digits only, and without losing one.
///
/// A text may be an integer without quotes, too, whose `0` in front makes it octal in some Gardens; it is none here.
///
/// Source: joi 16, `lib/types/number.js`, which refuses some of the many other ways to write a number, such as `.5e1`.
pub(super) fn whole_in_quotes(text: &str) -> Option<i64> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, _) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, ""));
    let is_octal =
        mantissa.strip_prefix('0').is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()));
    if is_octal || !unsigned.starts_with(|it: char| it.is_ascii_digit() || it == '.') {
        return None;
    }
    let whole: i64 = javascript::text(&javascript::number(text.parse().ok()?)?)?.parse().ok()?;
    (significant(mantissa) == significant(&whole.unsigned_abs().to_string())).then_some(whole)
}

/// The digits of a number without those that only tell its size.
fn significant(digits: &str) -> String {
    digits.replace('.', "").trim_matches('0').to_owned()
}

fn float(written: &str) -> Option<f64> {
    let (sign, magnitude) = match written.strip_prefix('-') {
        Some(magnitude) => (-1.0, magnitude),
        None => (1.0, written.strip_prefix('+').unwrap_or(written)),
    };
    let of_radix = |digits: &str, radix: u32| {
        digits
            .chars()
            .try_fold(0.0, |sum, digit| Some(sum * f64::from(radix) + f64::from(digit.to_digit(radix)?)))
    };
    let magnitude = match (magnitude, magnitude.get(..2)) {
        (".inf" | ".Inf" | ".INF", _) => Some(f64::INFINITY),
        (".nan" | ".NaN" | ".NAN", _) => Some(f64::NAN),
        (_, Some("0x")) => of_radix(&magnitude[2..], 16),
        (_, Some("0o")) => of_radix(&magnitude[2..], 8),
        _ => magnitude.parse().ok(),
    };
    magnitude.map(|magnitude| sign * magnitude)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_numbers_as_yaml_and_javascript_do() {
        for (written, expected) in [
            ("1.0", json!(1)),
            ("1.50", json!(1.5)),
            ("1e2", json!(100)),
            ("-0.0", json!(0)),
            ("0x1f", json!(31)),
            ("0o17", json!(15)),
            ("0xffffffffffffffffffff", json!(1_208_925_819_614_629_174_706_175_f64)),
            ("9007199254740993", json!(9_007_199_254_740_992_i64)),
            ("1e400", json!("Infinity")),
            ("-1e400", json!("-Infinity")),
            (".inf", json!("Infinity")),
            ("+.INF", json!("Infinity")),
            ("-.Inf", json!("-Infinity")),
            (".NaN", json!("NaN")),
        ] {
            assert_eq!(value(written), expected, "{written}");
        }
    }

    /// As joi 16.1.8 takes them for a whole number, but for `010`.
    #[test]
    fn reads_whole_numbers_in_quotes_as_joi_does() {
        for (text, expected) in [
            ("600", Some(600)),
            ("600.0", Some(600)),
            ("1e2", Some(100)),
            ("6.0E+2", Some(600)),
            ("12.50e1", Some(125)),
            ("+7", Some(7)),
            (" 7 ", Some(7)),
            ("-7", Some(-7)),
            ("0", Some(0)),
            ("0.5", None),
            ("0x64", None),
            ("010", None),
            ("1_000", None),
            ("soon", None),
            ("", None),
            ("e5", None),
            ("Infinity", None),
            ("inf", None),
            ("nan", None),
            ("1e400", None),
            ("600.00000000000000000001", None),
            ("9007199254740993", None),
        ] {
            assert_eq!(whole_in_quotes(text), expected, "{text}");
        }
    }
}
