//! Amounts of CPU, memory and disk, as Kubernetes writes them.

/// Reads a quantity, in thousandths of its unit, rounded up; `None` if it is none, or too large to be one. One with an exponent,
/// which nobody writes by hand, is not read.
///
/// Source: Kubernetes 1.34, `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go` and `suffix.go`.
pub(crate) fn thousandths(quantity: &str) -> Option<u128> {
    let end = quantity.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, suffix) = quantity.split_at(end.unwrap_or(quantity.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // A quantity has nine digits behind the point at most.
    let fraction = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction));
    let billionths = digits(whole)?.checked_mul(1_000_000_000)?.checked_add(digits(&fraction)?)?;
    let (multiple, divisor): (u128, u128) = match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1000_u128.pow(2), 1),
        "G" => (1000_u128.pow(3), 1),
        "T" => (1000_u128.pow(4), 1),
        "P" => (1000_u128.pow(5), 1),
        "E" => (1000_u128.pow(6), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => return None,
    };
    Some(billionths.checked_mul(multiple)?.div_ceil(1_000_000 * divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_whatever_their_suffix() {
        for (text, expected) in [
            ("4", 4000),
            ("100m", 100),
            ("0.1", 100),
            (".5", 500),
            ("2.", 2000),
            ("1.0005", 1001),
            ("1500u", 2),
            ("1n", 1),
            ("0", 0),
            ("1k", 1_000_000),
            ("512Mi", 512 * 1024 * 1024 * 1000),
            ("1.5Gi", 1536 * 1024 * 1024 * 1000),
            ("8E", 8_000_000_000_000_000_000_000),
        ] {
            assert_eq!(thousandths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_not_read() {
        let long = "9".repeat(100_000);
        for text in ["", ".", "Mi", "-1", "+1", "1e3", "1 Gi", "1.2.3", "1gb", "é", long.as_str()] {
            assert_eq!(thousandths(text), None, "{text:.10}");
        }
    }
}
