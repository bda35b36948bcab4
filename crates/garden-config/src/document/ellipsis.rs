//! The guide's `...` lines.
//!
//! The guide's examples leave things out with a line that holds nothing but `...`, and people paste
//! them. To YAML the same line at column 1 ends the document, and further in it is a syntax error.
//! So such a line is blanked before the text is parsed, unless it is where only an end of document
//! makes sense: at column 1, and followed by `---`, a directive or nothing. A line within a block
//! scalar (`key: |`) is text and stays.

/// Blanks the lines that stand for something left out. Lines and columns of the rest are unchanged.
pub(crate) fn blank_ellipses(text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut blanked = String::with_capacity(text.len());
    let mut block_scalar_of: Option<usize> = None;
    for (index, line) in lines.iter().enumerate() {
        let content = line.trim();
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if block_scalar_of.is_some_and(|parent| !content.is_empty() && indentation <= parent) {
            block_scalar_of = None;
        }
        if block_scalar_of.is_none() {
            if content == "..." && !(indentation == 0 && ends_document(&lines[index + 1..])) {
                blanked.push_str(&line.replace('.', " "));
                continue;
            }
            if opens_block_scalar(content) {
                block_scalar_of = Some(indentation + parent_offset(content));
            }
        }
        blanked.push_str(line);
    }
    blanked
}

/// Whether an end-of-document marker makes sense before `rest`.
fn ends_document(rest: &[&str]) -> bool {
    let mut contents = rest.iter().map(|line| line.trim_end());
    match contents.find(|line| !line.is_empty() && !line.trim_start().starts_with('#')) {
        None => true,
        Some(line) => line.starts_with("---") || line.starts_with('%'),
    }
}

/// How far into a line's content the node starts that a block scalar at the line's end belongs to: in
/// `- key: |` the key, in `- |` the item.
fn parent_offset(content: &str) -> usize {
    let mut rest = content.split(" #").next().unwrap_or(content);
    let length = rest.len();
    while let Some(item) = rest.strip_prefix("- ").map(str::trim_start)
        && (item.starts_with("- ") || item.contains(": "))
    {
        rest = item;
    }
    length - rest.len()
}

/// Whether a line ends with the header of a block scalar: `key: |`, `- >-`, `key: &anchor |2`.
fn opens_block_scalar(content: &str) -> bool {
    let code = content.split(" #").next().unwrap_or(content);
    let Some(header) = code.split_whitespace().last() else { return false };
    let indicators = header.trim_start_matches(['|', '>']);
    indicators.len() + 1 == header.len()
        && indicators.chars().all(|indicator| matches!(indicator, '+' | '-' | '1'..='9'))
        && !code.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::blank_ellipses;

    #[test]
    fn blanks_what_was_left_out_and_keeps_every_column() {
        let text = "kind: Project\n...\nproviders:\n  - name: kubernetes\n    ...\n    context: x\r\n";
        let expected = "kind: Project\n   \nproviders:\n  - name: kubernetes\n       \n    context: x\r\n";
        assert_eq!(blank_ellipses(text), expected);
    }

    #[test]
    fn keeps_ends_of_documents() {
        for text in
            ["a: 1\n...\n", "a: 1\n...", "a: 1\n...\n\n# note\n---\nb: 2\n", "a: 1\n...\n%YAML 1.2\n---\n"]
        {
            assert_eq!(blank_ellipses(text), text);
        }
    }

    #[test]
    fn blanks_indented_lines_even_at_the_end() {
        assert_eq!(blank_ellipses("a:\n  b: 1\n  ...\n"), "a:\n  b: 1\n     \n");
    }

    #[test]
    fn keeps_the_text_of_block_scalars() {
        for text in
            ["a: |\n  x\n  ...\n\n  y\nb: 1\n", "- >-\n  ...\n  y\n", "a: &x |2-  # why\n  ...\n  z\n"]
        {
            assert_eq!(blank_ellipses(text), text);
        }
        for text in ["- - |\n   ...\n", "- &x |  # a: b\n ...\n", "- b: |\n   ...\n  c: 1\n"] {
            assert_eq!(blank_ellipses(text), text);
        }
        assert_eq!(blank_ellipses("a: |\n  x\nb:\n  ...\n  c: 1\n"), "a: |\n  x\nb:\n     \n  c: 1\n");
    }
    #[test]
    fn a_block_scalar_ends_at_the_column_of_its_key() {
        for head in ["- b: |\n    x\n", "- b: |\n", "- - |\n   x\n", "-  b: |\n    x\n"] {
            let (text, expected) = (format!("{head}  ...\n"), format!("{head}     \n"));
            assert_eq!(blank_ellipses(&text), expected);
        }
    }
}
