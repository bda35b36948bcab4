//! Texts that fit.

use console::{measure_text_width, truncate_str};
use garden_build::Printable;
use textwrap::{Options, wrap};

/// Makes one line of a foreign text, which a terminal can show as it is.
pub(crate) fn plain_line(text: &str) -> String {
    // A tabulator is as wide as where it stands makes it.
    Printable::line(text).to_string().replace('\t', "    ")
}

/// Puts the name of a build before that of a step: `[api 2/5] RUN make`, `[api] read the build context`.
pub(crate) fn labelled(label: Option<&str>, name: &str) -> String {
    match (label, name.strip_prefix('[')) {
        (None, _) => name.to_owned(),
        (Some(label), Some(rest)) => format!("[{label} {rest}"),
        (Some(label), None) => format!("[{label}] {name}"),
    }
}

/// Cuts a text to `width` columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    // The mark itself takes a column.
    if width == 0 {
        return String::new();
    }
    let mut cut = truncate_str(text, width, "…").into_owned();
    // It adds up the widths of characters. A character and what changes its form can be wider together, such as U+2764 and U+FE0F.
    while measure_text_width(&cut) > width {
        cut.pop();
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Puts `left` and `right` at the ends of `width` columns; what of `left` has no room is cut. If there is room for one of them only, it is `left`.
pub(crate) fn spread(left: &str, right: &str, width: usize) -> String {
    let taken = measure_text_width(right) + 1;
    let Some(room) = width.checked_sub(taken).filter(|room| *room > 0) else { return cut(left, width) };
    let left = cut(left, room);
    let space = width.saturating_sub(measure_text_width(&left) + measure_text_width(right));
    format!("{left}{}{right}", " ".repeat(space))
}

/// Breaks long lines of a text between words. What is broken off is indented as its line is, and two columns more.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let lines = text.lines().flat_map(|line| {
        let indent = line.len() - line.trim_start().len();
        let indent = " ".repeat(if indent > width / 2 { 0 } else { indent + 2 });
        let options = Options::new(width.max(20)).subsequent_indent(&indent);
        wrap(line, options).into_iter().map(String::from).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_cut_by_columns() {
        assert_eq!(spread(" => abc", "0.1s", 20), " => abc         0.1s");
        assert_eq!(spread(" => abcdefghijkl", "0.1s", 16), " => abcdef… 0.1s");
        assert_eq!(measure_text_width(&spread(" => 漢字漢字漢字漢字", "0.1s", 16)), 16);
        assert_eq!(spread("abcd", "0.1s", 3), "ab…");
        assert_eq!(spread("", "", 0), "");
    }

    #[test]
    fn what_gets_wider_by_the_character_after_it_is_cut_by_columns() {
        let hearts = "\u{2764}\u{fe0f}".repeat(100);
        for width in 1..80 {
            assert!(measure_text_width(&cut(&hearts, width)) <= width, "{width}");
            assert!(measure_text_width(&spread(&hearts, "0.1s", width)) <= width, "{width}");
        }
    }

    #[test]
    fn long_lines_break_between_words_and_keep_their_indent() {
        let text = "error: the registry r.example refused the login\n  help: run `docker login r.example`";
        assert_eq!(
            wrapped(text, 30),
            "error: the registry r.example\n  refused the login\n  help: run `docker login\n    r.example`"
        );
    }

    #[test]
    fn the_name_of_a_build_stands_with_the_place_of_a_step() {
        assert_eq!(labelled(Some("api"), "[2/5] RUN make"), "[api 2/5] RUN make");
        assert_eq!(labelled(Some("api"), "look for it"), "[api] look for it");
        assert_eq!(labelled(None, "[2/5] RUN make"), "[2/5] RUN make");
    }

    #[test]
    fn nothing_of_a_foreign_text_controls_a_terminal() {
        assert_eq!(plain_line("a\tb\x1b[2J\x1b[31mred"), "a    b\\u{1b}[2Jred");
    }
}
