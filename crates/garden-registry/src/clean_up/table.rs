use std::fmt;

use garden_build_core::Digest;
use jiff::Timestamp;

use super::deletion::Deletion;
use super::plan::{CleanUpPlan, Kept};

/// For people: what is deleted, what is kept and why, and how much storage that frees.
impl fmt::Display for CleanUpPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deletions = self.deletions.iter().map(Deletion::row);
        write_table(
            f,
            "to delete",
            ["REPOSITORY", "IMAGE", "PUSHED", "FREES BY ITSELF"],
            deletions.collect(),
        )?;
        let kept = self.kept.iter().map(Kept::row);
        write_table(f, "to keep", ["REPOSITORY", "IMAGE", "PUSHED", "BECAUSE"], kept.collect())?;
        for unreadable in &self.unreadable {
            writeln!(f, "cannot be read: {}: {}", unreadable.repository, unreadable.what)?;
        }
        write!(f, "frees {}", size(self.freed_bytes))?;
        match self.leftover_bytes {
            0 => Ok(()),
            leftover => write!(f, ", and {} that belong to no image already", size(leftover)),
        }
    }
}

impl Deletion {
    fn row(&self) -> [String; 4] {
        let image = image(self.digest, &self.tags);
        [self.repository.clone(), image, seconds(self.pushed), size(self.own_bytes)]
    }
}

impl Kept {
    fn row(&self) -> [String; 4] {
        let reasons: Vec<String> = self.reasons.iter().map(ToString::to_string).collect();
        let image = image(self.digest, &self.tags);
        [self.repository.clone(), image, seconds(self.pushed), reasons.join("; ")]
    }
}

fn image(digest: Digest, tags: &[String]) -> String {
    if tags.is_empty() { digest.to_string() } else { tags.join(", ") }
}

/// Without fractions of a second, which file systems may have and people need not.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Formats a number of bytes with three digits or so.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut whole, mut tenths, mut unit) = (bytes / 1000, bytes % 1000 / 100, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, tenths, unit) = (whole / 1000, whole % 1000 / 100, unit + 1);
    }
    format!("{whole}.{tenths} {}", UNITS[unit])
}

fn write_table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    head: [&str; 4],
    rows: Vec<[String; 4]>,
) -> fmt::Result {
    writeln!(f, "{title}: {}", rows.len())?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    for [repository, image, pushed, last] in &lines {
        writeln!(f, "  {repository:first$}  {image:second$}  {pushed:third$}  {last}")?;
    }
    Ok(())
}
