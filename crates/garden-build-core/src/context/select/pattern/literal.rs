//! The other way round: from a path to a pattern that matches it.

/// Returns the line of an ignore file that matches `path`, and as little else as a line can.
///
/// Most paths are patterns of their own. In others, a backslash makes what has a meaning an ordinary character: to
/// `BuildKit`, which lets more of Go's regular expressions through than it says, and to Docker and kaniko. What cannot
/// stand in a line is a `?`, which matches any one character: bytes that are not UTF-8, control characters, and white
/// space at the ends, which is trimmed.
pub(in crate::context) fn line_for(path: &[u8]) -> String {
    let mut characters = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        characters.extend(chunk.valid().chars().map(Some));
        characters.extend(chunk.invalid().iter().map(|_| None));
    }
    let last = characters.len().saturating_sub(1);
    let is_lost = |index: usize, character: char| {
        let is_at_an_end = index == 0 || index == last;
        // At the beginning of a file, a byte order mark is none of its text.
        character.is_control() || (is_at_an_end && (character.is_whitespace() || character == '\u{feff}'))
    };
    let is_plain = characters.iter().enumerate().all(|(index, character)| match character {
        Some('*' | '?' | '[' | ']' | '\\') | None => false,
        Some('!' | '#') => index > 0,
        Some(character) => !is_lost(index, *character),
    });
    let mut line = String::with_capacity(path.len());
    for (index, character) in characters.into_iter().enumerate() {
        match character {
            Some(character) if is_plain => line.push(character),
            Some(character) if !is_lost(index, character) => {
                let has_a_meaning = match character {
                    '*' | '?' | '[' | ']' | '\\' | '^' | '|' | '{' | '}' => true,
                    '!' | '#' => index == 0,
                    _ => false,
                };
                line.extend(has_a_meaning.then_some('\\'));
                line.push(character);
            }
            _ => line.push('?'),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::ignore_file;
    use super::super::Pattern;
    use super::*;

    fn compiled(line: &str) -> Pattern {
        let lines = ignore_file::patterns(".dockerignore", line.as_bytes()).expect("a line");
        assert_eq!(lines.len(), 1, "{line:?}");
        Pattern::compile(&lines[0].pattern).expect("well-formed").expect("not empty")
    }

    #[test]
    fn paths_are_escaped_only_where_they_have_to_be() {
        for (path, line) in [
            (&b"src/main.rs"[..], "src/main.rs"),
            (b"{{name}}/a|b^$(1).+", "{{name}}/a|b^$(1).+"),
            ("grün/é".as_bytes(), "grün/é"),
            (b"a b/#c!", "a b/#c!"),
            (b"#a", r"\#a"),
            (b"!a", r"\!a"),
            (b"a*b?[c]", r"a\*b\?\[c\]"),
            (b"*{2}|x", r"\*\{2\}\|x"),
            (br"a\b", r"a\\b"),
            (b" a ", "?a?"),
            ("\u{feff}a".as_bytes(), "?a"),
            (b"a\nb", "a?b"),
            (b"caf\xe9", "caf?"),
            (b"\xe2\x82", "??"),
        ] {
            assert_eq!(line_for(path), line);
            assert!(compiled(line).matches(path), "{line}");
        }
    }

    /// Names of characters that have a meaning somewhere, and of bytes that are not characters.
    fn path() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"*"[..],
            b"**",
            b"?",
            b"[",
            b"]",
            b"\\",
            b"^",
            b"!",
            b"#",
            b"{2}",
            b"|",
            b"$",
            b".",
            b"+",
            b"(",
            b")",
            b"-",
            b"[:alpha:]",
            b"Q",
            b"E",
            b"p",
            b" ",
            b"\t",
            b"\n",
            b"\r",
            b"\xe9",
            b"\xff",
            b"\xc3\xa9",
            b"\xe2\x80\x83",
            b"\xef\xbf\xbd",
            b"\xef\xbb\xbf",
            b"a",
            b"b",
        ]);
        let name = prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat());
        let name = name.prop_filter("not a name", |name| name != b"." && name != b"..");
        prop::collection::vec(name, 1..3).prop_map(|names| names.join(&b'/'))
    }

    proptest! {
        #[test]
        fn any_path_has_a_line_that_matches_it_and_nothing_longer(path in path()) {
            let pattern = compiled(&line_for(&path));
            prop_assert!(!pattern.is_exception);
            prop_assert!(pattern.matches(&path));
            prop_assert!(!pattern.matches(&[&path[..], b"x"].concat()));
            prop_assert!(!pattern.matches(&[b"x", &path[..]].concat()));
        }
    }
}
