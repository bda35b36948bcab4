//! Functions of Go's `path/filepath` as they are on Unix, because `.dockerignore` and `BuildKit`'s
//! filters are defined by what they do.

/// The shortest path equivalent to `path`, by text alone: Go's `filepath.Clean`.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

/// A pattern that Go's `filepath.Match` calls malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPattern;

/// Whether Go's `filepath.Match(pattern, ".")` returns an error.
///
/// This is how moby checks patterns. The name matters: `Match` stops at the first part of the
/// pattern that does not fit it, so `x*[` passes and `[` does not.
pub(super) fn check_by_matching_a_dot(pattern: &str) -> Result<(), BadPattern> {
    matches(pattern, ".").map(|_| ())
}

/// Whether all of `name` fits `pattern`: Go's `filepath.Match`, in which `*` and `?` do not match a slash.
///
/// # Errors
/// If the pattern is malformed and the name fits it up to where it is.
pub fn matches(pattern: &str, name: impl AsRef<[u8]>) -> Result<bool, BadPattern> {
    let mut pattern = pattern.as_bytes();
    let mut name = name.as_ref();
    'chunks: while !pattern.is_empty() {
        let (star, chunk, rest) = split_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        match match_chunk(chunk, name)? {
            Some(left) if left.is_empty() || !pattern.is_empty() => {
                name = left;
                continue;
            }
            _ => {}
        }
        if star {
            let skippable = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            for skipped in 0..skippable {
                if let Some(left) = match_chunk(chunk, &name[skipped + 1..])? {
                    if pattern.is_empty() && !left.is_empty() {
                        continue;
                    }
                    name = left;
                    continue 'chunks;
                }
            }
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Splits off leading stars and what follows them up to the next star outside of brackets.
fn split_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let pattern = &pattern[stars..];
    let mut in_range = false;
    let mut index = 0;
    while index < pattern.len() {
        match pattern[index] {
            b'\\' if index + 1 < pattern.len() => index += 1,
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => break,
            _ => {}
        }
        index += 1;
    }
    let end = index.min(pattern.len());
    (stars > 0, &pattern[..end], &pattern[end..])
}

/// Matches `chunk`, which has no star, at the start of `name`, and returns what is left of `name`.
fn match_chunk<'n>(mut chunk: &[u8], mut name: &'n [u8]) -> Result<Option<&'n [u8]>, BadPattern> {
    let mut failed = false;
    while let Some(first) = chunk.first() {
        failed = failed || name.is_empty();
        match first {
            b'[' => {
                let (found, length) = if failed { ('\0', 0) } else { first_character(name) };
                let (fits, rest) = match_range(&chunk[1..], found)?;
                chunk = rest;
                name = &name[length..];
                failed = failed || !fits;
            }
            b'?' => {
                failed = failed || name[0] == b'/';
                name = &name[if failed { 0 } else { first_character(name).1 }..];
                chunk = &chunk[1..];
            }
            other => {
                if *other == b'\\' {
                    chunk = &chunk[1..];
                }
                let wanted = chunk.first().ok_or(BadPattern)?;
                failed = failed || name[0] != *wanted;
                name = name.get(1..).unwrap_or_default();
                chunk = &chunk[1..];
            }
        }
    }
    Ok((!failed).then_some(name))
}

/// The character at the start of `name`, which is not empty, and its length. A byte that is not part of one, as after
/// `*` has skipped the first byte of a character, counts as U+FFFD.
pub(super) fn first_character(name: &[u8]) -> (char, usize) {
    if name[0].is_ascii() {
        return (char::from(name[0]), 1);
    }
    let start = &name[..name.len().min(4)];
    match start.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
        Some(character) => (character, character.len_utf8()),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// Matches a bracket expression, whose `[` has been read, and returns what follows it.
fn match_range(mut chunk: &[u8], found: char) -> Result<(bool, &[u8]), BadPattern> {
    let negated = chunk.first() == Some(&b'^');
    if negated {
        chunk = &chunk[1..];
    }
    let mut fits = false;
    let mut ranges = 0;
    loop {
        if chunk.first() == Some(&b']') && ranges > 0 {
            return Ok((fits != negated, &chunk[1..]));
        }
        let (low, rest) = range_end(chunk)?;
        let (high, rest) = if rest.first() == Some(&b'-') { range_end(&rest[1..])? } else { (low, rest) };
        chunk = rest;
        fits = fits || (low..=high).contains(&found);
        ranges += 1;
    }
}

/// Reads one character, perhaps escaped, of a bracket expression. Something must follow it.
fn range_end(chunk: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let chunk = match chunk.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => &chunk[1..],
        Some(_) => chunk,
    };
    let text = std::str::from_utf8(chunk).map_err(|_| BadPattern)?;
    let mut characters = text.chars();
    let character = characters.next().ok_or(BadPattern)?;
    let rest = characters.as_str().as_bytes();
    if rest.is_empty() { Err(BadPattern) } else { Ok((character, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_paths_as_go_does() {
        for (path, cleaned) in [
            ("", "."),
            (".", "."),
            ("./", "."),
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("../../y", "../../y"),
            ("/../y", "/y"),
            ("/", "/"),
            ("//x", "/x"),
            ("!../x", "!../x"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn matches_names_as_go_does() {
        for (pattern, name, fits) in [
            ("*", "a.txt", true),
            ("*", "a/b", false),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("?", "\u{e9}", true),
            ("??", "\u{e9}", false),
            ("[\u{e0}-\u{ef}]x", "\u{e9}x", true),
            ("[^a]", "\u{e9}", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbYcd", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
            ("a", "ab", false),
            ("*a", "ba/a", false),
        ] {
            assert_eq!(matches(pattern, name), Ok(fits), "{pattern} {name}");
        }
        assert_eq!(matches("a[", "a"), Err(BadPattern));
        assert_eq!(matches("b[", "a"), Err(BadPattern));
    }

    #[test]
    fn finds_the_errors_that_go_finds_and_no_more() {
        for bad in ["[", "[a-z", "[]]", "[]", "[a-]", "[-a]", "a\\", "\\", "[\\", ".[", "*[", "**[a"] {
            assert_eq!(check_by_matching_a_dot(bad), Err(BadPattern), "{bad}");
        }
        // Go gives up at `x`, before it sees the open bracket.
        for accepted in
            ["x*[", "x*\\", "[a]", "[^a]", "[z-a]", "[\\]]", "[é-ü]", "]", "a", "*", "**", "a/**/b"]
        {
            assert_eq!(check_by_matching_a_dot(accepted), Ok(()), "{accepted}");
        }
    }
}
