//! The packages as a table.

use std::fmt::Write;

use super::archive::Packed;

/// A package, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Row<'r> {
    pub(super) packed: &'r Packed,
    pub(super) problems: Vec<String>,
}

/// In the order in which they are published.
pub(super) fn table(rows: &[Row<'_>]) -> String {
    let width = rows.iter().map(|row| row.packed.name.len()).max().unwrap_or_default();
    let mut table = format!("    {:width$}  files  unpacked  package  contents\n", "crate");
    for (number, Row { packed, problems }) in (1..).zip(rows) {
        let unpacked = packed.entries.iter().map(|entry| entry.bytes).sum();
        let verdict = match problems.len() {
            0 => "complete".to_owned(),
            1 => "1 problem".to_owned(),
            more => format!("{more} problems"),
        };
        let (name, files) = (&packed.name, packed.entries.len());
        let (unpacked, package) = (kilobytes(unpacked), kilobytes(packed.bytes));
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{number:>2}  {name:width$}  {files:>5}  {unpacked:>5} KB {package:>5} KB  {verdict}"
        );
    }
    table
}

/// Of 1000 bytes, rounded up.
fn kilobytes(bytes: u64) -> u64 {
    bytes.div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::super::archive::Entry;
    use super::*;

    #[test]
    fn a_line_tells_of_a_package() {
        let packed = |name: &str| Packed {
            name: name.into(),
            version: "0.1.0".into(),
            sources: ".".into(),
            file: "a.crate".into(),
            bytes: 1200,
            entries: vec![Entry { path: "src/lib.rs".into(), bytes: 123_456, is_file: true }],
        };
        let (one, two) = (packed("a"), packed("longer"));
        let problems = vec!["README.md is missing".to_owned()];
        let rows = [Row { packed: &one, problems: vec![] }, Row { packed: &two, problems }];
        let expected = "    crate   files  unpacked  package  contents\n \
             1  a           1    124 KB     2 KB  complete\n \
             2  longer      1    124 KB     2 KB  1 problem\n";
        assert_eq!(table(&rows), expected);
    }
}
