//! Which of the counts of a step are worth an event.

use std::fmt;

/// Where the total is not known, less than this more than before is not worth a report.
const LEAST: u64 = 1 << 20;

/// How far a step has come, and what was reported of that.
///
/// Where the total is known, each whole percent is reported. Else each tenth more than before, as nobody knows how much is to come; so
/// that of any amount there are few reports. What was not reported is when the step ends.
#[derive(Default, Debug)]
pub(crate) struct ProgressMeter {
    reported: Option<Count>,
    /// What came after.
    pending: Option<Count>,
}

/// How many bytes are done, of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) current: u64,
    pub(crate) total: Option<u64>,
}

impl ProgressMeter {
    /// Takes a count. Returns it if it is to be reported now.
    pub(crate) fn take(&mut self, count: Count) -> Option<Count> {
        let is_due = self.reported.is_none_or(|reported| count.is_news_after(reported));
        if is_due {
            self.reported = Some(count);
            self.pending = None;
        } else {
            self.pending = Some(count).filter(|_| self.reported != Some(count));
        }
        is_due.then_some(count)
    }

    /// Returns the last count if it was not reported.
    pub(crate) fn end(&mut self) -> Option<Count> {
        self.pending.take()
    }
}

impl Count {
    fn is_news_after(self, before: Self) -> bool {
        match (self.percent(), before.percent()) {
            (None, None) => self.current.saturating_sub(before.current) >= (before.current / 10).max(LEAST),
            (now, before) => now != before,
        }
    }

    /// `None` if the total is not known. More than all is all.
    pub(crate) fn percent(self) -> Option<u64> {
        let total = self.total?;
        let done = u128::from(self.current.min(total)) * 100;
        Some(u64::try_from(done.checked_div(u128::from(total)).unwrap_or(100)).unwrap_or(100))
    }
}

/// As `41% (12.6 of 30.5 MB)`, in Docker's units.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (divisor, unit) = match self.total.unwrap_or(self.current) {
            0..1_000_000 => (1_000, "kB"),
            1_000_000..1_000_000_000 => (1_000_000, "MB"),
            _ => (1_000_000_000, "GB"),
        };
        let tenths = |bytes: u64| {
            let tenths = u128::from(bytes) * 10 / divisor;
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        match (self.percent(), self.total) {
            (Some(percent), Some(total)) => {
                write!(f, "{percent}% ({} of {} {unit})", tenths(self.current), tenths(total))
            }
            _ => write!(f, "{} {unit}", tenths(self.current)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(counts: impl Iterator<Item = (u64, Option<u64>)>) -> Vec<u64> {
        let mut meter = ProgressMeter::default();
        let mut reports: Vec<u64> = counts
            .filter_map(|(current, total)| meter.take(Count { current, total }))
            .map(|count| count.current)
            .collect();
        reports.extend(meter.end().map(|count| count.current));
        reports
    }

    #[test]
    fn of_a_known_total_there_is_a_report_for_each_percent() {
        let total = 10 << 30;
        let all = reports((0..=10_000).map(|part| (part * (total / 10_000), Some(total))));
        assert_eq!(all.len(), 101, "each percent to the 99th, and the last, as the total is no multiple");
        assert_eq!(reports([(5, Some(0)), (5, Some(0))].into_iter()), [5]);
        assert_eq!(reports([(1, Some(u64::MAX)), (u64::MAX, Some(u64::MAX))].into_iter()), [1, u64::MAX]);
    }

    #[test]
    fn of_an_unknown_total_there_are_few_reports_and_the_last_is_never_left_out() {
        let mebibyte = 1 << 20;
        let few = reports((0..=100_000).map(|number| (number * mebibyte, None)));
        assert!(few.len() < 110, "{}", few.len());
        assert_eq!(few[..3], [0, mebibyte, 2 * mebibyte]);
        assert_eq!(few.last(), Some(&(100_000 * mebibyte)));
        assert_eq!(reports([(0, None), (1, None), (2, None)].into_iter()), [0, 2]);
    }

    #[test]
    fn amounts_are_shown_in_units_that_fit() {
        let shown = |current, total| Count { current, total }.to_string();
        assert_eq!(shown(12_600_000, Some(30_500_000)), "41% (12.6 of 30.5 MB)");
        assert_eq!(shown(0, Some(0)), "100% (0.0 of 0.0 kB)");
        assert_eq!(shown(999, None), "0.9 kB");
        assert_eq!(shown(u64::MAX, Some(u64::MAX)), "100% (18446744073.7 of 18446744073.7 GB)");
    }

    #[test]
    fn a_total_that_becomes_known_or_is_corrected_is_news() {
        assert_eq!(
            reports([(10, None), (10, Some(100)), (10, Some(200)), (10, Some(200))].into_iter()),
            [10, 10, 10]
        );
    }
}
