//! The lines of a `.dockerignore` file, read as `BuildKit` does (`ignorefile.ReadAll` of
//! `github.com/moby/patternmatcher` v0.6.0).

use crate::context::{ContextError, go_path};

/// The line length at which Go's line scanner gives up.
const LINE_LIMIT: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One pattern line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// Where it stands in the file, from 1.
    pub(super) number: usize,
    /// The cleaned pattern; a leading `!` is kept.
    pub(super) pattern: String,
}

/// Reads the patterns from the `text` of the ignore file called `file`.
///
/// * A line is a comment only if its very first byte is `#`.
/// * A pattern is trimmed, behind a `!` too, shortened like a path, and loses one leading `/`.
pub(super) fn patterns(file: &str, text: &[u8]) -> Result<Vec<Line>, ContextError> {
    let lines = lines(file, text)?.into_iter();
    Ok(lines.filter_map(|(number, line)| Some(Line { number, pattern: cleaned(line)? })).collect())
}

/// Splits the `text` of an ignore file, which may be one in git's syntax, into lines with their numbers,
/// from 1. Comments are left out.
pub(super) fn lines<'t>(file: &str, text: &'t [u8]) -> Result<Vec<(usize, &'t str)>, ContextError> {
    let mut lines = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if line.len() >= LINE_LIMIT {
            return Err(ContextError::IgnoreLineTooLong { file: file.to_owned(), line: number });
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if index == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.starts_with(b"#") {
            continue;
        }
        // BuildKit sends patterns in messages that can hold only UTF-8, so it fails here as well.
        let line = std::str::from_utf8(line)
            .map_err(|_| ContextError::IgnoreLineNotUtf8 { file: file.to_owned(), line: number })?;
        lines.push((number, line));
    }
    Ok(lines)
}

/// Brings a pattern into the form that [`Pattern::compile`](super::pattern::Pattern::compile) takes;
/// `None` if there is nothing but space.
pub(super) fn cleaned(pattern: &str) -> Option<String> {
    let pattern = pattern.trim();
    let (mark, path) = match pattern.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", pattern),
    };
    if path.is_empty() {
        return (!mark.is_empty()).then(|| mark.to_owned());
    }
    let path = go_path::clean(path);
    let relative = path.strip_prefix('/').filter(|relative| !relative.is_empty()).unwrap_or(&path);
    Some(format!("{mark}{relative}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<String> {
        patterns(".dockerignore", text).expect("valid").into_iter().map(|line| line.pattern).collect()
    }

    #[test]
    fn reads_lines_as_buildkit_does() {
        let text = "\u{feff}foo\r\n  #notcomment\n#c\n ! bar \n!\n/\n//x\n.\n./\n../y\n!/z/\n!./w\na/ \n\\#x\n**/ \n";
        let expected = "foo, #notcomment, !bar, !, /, x, ., ., ../y, !z, !w, a, \\#x, **";
        assert_eq!(read(text.as_bytes()).join(", "), expected);
    }

    #[test]
    fn trims_unicode_space_and_needs_no_final_line_end() {
        assert_eq!(read("\u{a0}a\u{3000}\n\n\u{2003}\nb".as_bytes()), ["a", "b"]);
        assert!(read(b"").is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once_and_only_from_the_first_line() {
        assert_eq!(read("\u{feff}\u{feff}a\n\u{feff}b".as_bytes()), ["\u{feff}a", "\u{feff}b"]);
        assert!(read("\u{feff}# comment".as_bytes()).is_empty());
    }

    #[test]
    fn names_the_file_and_line_of_a_line_that_is_too_long() {
        let text = format!("a\n{}\n", "b".repeat(LINE_LIMIT));
        let error = patterns("api.Dockerfile.dockerignore", text.as_bytes()).expect_err("too long");
        assert!(error.to_string().starts_with("api.Dockerfile.dockerignore:2:"), "{error}");
        assert_eq!(read(&text.as_bytes()[..LINE_LIMIT])[1].len(), LINE_LIMIT - 2);
    }

    #[test]
    fn refuses_a_pattern_that_is_not_utf8_but_not_such_a_comment() {
        assert_eq!(read(b"# caf\xe9\na"), ["a"]);
        let error = patterns(".dockerignore", b"a\ncaf\xe9\n").expect_err("not UTF-8");
        assert!(error.to_string().starts_with(".dockerignore:2:"), "{error}");
    }
}
