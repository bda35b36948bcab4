use std::time::Duration;

/// Formats a time for people, in seconds: `30 s`, or `0.5 s` if it is short and not a whole number. Only a time of zero is `0 s`.
pub fn seconds(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, 0) if !time.is_zero() => "less than 0.001 s".to_owned(),
        (seconds, milliseconds) if milliseconds > 0 && seconds < 10 => {
            let parts = format!("{milliseconds:03}");
            format!("{seconds}.{} s", parts.trim_end_matches('0'))
        }
        (seconds, _) => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_not_none() {
        for (nanoseconds, expected) in [
            (0, "0 s"),
            (1, "less than 0.001 s"),
            (1_000_000, "0.001 s"),
            (500_000_000, "0.5 s"),
            (1_000_000_000, "1 s"),
            (1_250_000_000, "1.25 s"),
            (9_999_900_000, "9.999 s"),
            (90_500_000_000, "90 s"),
        ] {
            assert_eq!(seconds(Duration::from_nanos(nanoseconds)), expected, "{nanoseconds}");
        }
    }
}
