//! Reading the words of other programs, where nothing else says what they mean.
//!
//! A message is compared as a whole or from its beginning. Searching it for a word would find that word in names, paths and
//! output, which may hold any.

/// Returns the parts of an error of a program written in Go, from the outermost to the innermost: each layer puts what it was
/// about before what it heard, with `: ` between.
pub fn parts(message: &str) -> impl Iterator<Item = &str> {
    message.split(": ").map(str::trim)
}

/// Whether one of the [`parts`] of `message` is `part`.
pub fn has_part(message: &str, part: &str) -> bool {
    parts(message).any(|it| it == part)
}

/// Whether `message` begins with the first of `pieces`, and the others follow in their order: a message with gaps, where names
/// stand. What comes after the last piece does not matter.
pub fn fits(message: &str, pieces: &[&str]) -> bool {
    let Some((first, others)) = pieces.split_first() else { return true };
    let Some(mut rest) = message.strip_prefix(first) else { return false };
    others.iter().all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Returns the beginning of `text` that has at most `most` bytes.
pub fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_ends_between_characters() {
        for (most, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aü"), (4, "aüb"), (9, "aüb")] {
            assert_eq!(beginning("aüb", most), expected, "{most}");
        }
    }

    #[test]
    fn a_message_with_gaps_fits_from_its_beginning() {
        let pieces = ["the --", " option requires BuildKit."];
        assert!(fits("the --mount option requires BuildKit. See …", &pieces));
        assert!(!fits("echo the --mount option requires BuildKit.", &pieces));
        assert!(!fits("the --mount option", &pieces));
    }

    #[test]
    fn a_part_counts_as_a_whole() {
        assert!(has_part("write /a: no space left on device", "no space left on device"));
        assert!(!has_part("cat '/no space left on device'", "no space left on device"));
    }
}
