//! `kebabCase` and `camelCase` as lodash 4.17 has them, down to what is a word.
//!
//! Names of images and tags derive from these, so they must come out as they do in Garden: its cache
//! and its images would not be found otherwise. lodash finds words with one regular expression
//! (`_unicodeWords.js`), whose alternatives are the steps of [`word_at`]. It looks ahead, which Rust's
//! `regex` does not, and it is simpler without: apostrophes and combining marks are gone before.

/// `Foo Bar`, `fooBar`, `FOO_BAR` become `foo-bar`.
pub(super) fn kebab_case(text: &str) -> String {
    let words = words(text).into_iter().map(|word| word.to_lowercase());
    words.collect::<Vec<_>>().join("-")
}

/// `Foo Bar`, `foo-bar`, `FOO_BAR` become `fooBar`.
pub(super) fn camel_case(text: &str) -> String {
    let mut words = words(text).into_iter().map(|word| word.to_lowercase());
    let first = words.next().unwrap_or_default();
    words.fold(first, |result, word| result + &capitalized(&word))
}

/// The word with its first symbol in upper case. An emoji with all that is joined to it is one symbol.
fn capitalized(word: &str) -> String {
    let mut rest = word.chars();
    match rest.next() {
        Some(first) if starts_emoji(first) => word.to_uppercase(),
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => String::new(),
    }
}

fn words(text: &str) -> Vec<String> {
    let characters = plain(text);
    let mut words = Vec::new();
    let mut rest = characters.as_slice();
    while !rest.is_empty() {
        match word_at(rest) {
            0 => rest = &rest[1..],
            length => {
                words.push(rest[..length].iter().collect());
                rest = &rest[length..];
            }
        }
    }
    words
}

/// The characters without apostrophes and combining marks, and with the basic letters in place of
/// those of Latin-1 and Latin Extended-A.
fn plain(text: &str) -> Vec<char> {
    let mut plain = Vec::with_capacity(text.len());
    for character in text.chars() {
        match basic_letters(character) {
            Some(letters) => plain.extend(letters.chars()),
            None if is_dropped(character) => {}
            None => plain.push(character),
        }
    }
    plain
}

fn is_dropped(character: char) -> bool {
    matches!(
        character,
        '\'' | '\u{2019}' | '\u{300}'..='\u{36f}' | '\u{fe20}'..='\u{fe2f}' | '\u{20d0}'..='\u{20ff}'
    )
}

/// How long the word is that starts here; 0 if none does.
fn word_at(text: &[char]) -> usize {
    let at = |index: usize| text.get(index).copied();
    let run = |from: usize, is: fn(char) -> bool| text[from..].iter().take_while(|c| is(**c)).count();
    let ends = |index: usize| at(index).is_none_or(is_break);

    // `word`, `Word`, before something that starts a new one.
    let capital = usize::from(at(0).is_some_and(is_upper));
    let lower = run(capital, is_lower);
    let end = capital + lower;
    if lower > 0 && (ends(end) || at(end).is_some_and(is_upper)) {
        return end;
    }
    // `WORD`, up to the capital that starts the next: `XML` in `XMLHttp`.
    let begins_word = |index: usize| {
        at(index).is_some_and(is_upper) && at(index + 1).is_some_and(|next| is_lower(next) || is_other(next))
    };
    let upper = run(0, |c| is_upper(c) || is_other(c));
    if let Some(end) = (1..=upper).rev().find(|end| ends(*end) || begins_word(*end)) {
        return end;
    }
    let lower = run(capital, |c| is_lower(c) || is_other(c));
    if lower > 0 {
        return capital + lower;
    }
    let upper = run(0, is_upper);
    if upper > 0 {
        return upper;
    }
    let digits = run(0, |c| c.is_ascii_digit());
    if digits > 0 {
        return if is_ordinal(text, digits) { digits + 2 } else { digits };
    }
    emoji_at(text)
}

/// Whether the `digits` that `text` starts with are followed by the letters that make them an
/// ordinal: `1st`, `22ND`, `13th`.
fn is_ordinal(text: &[char], digits: usize) -> bool {
    let (Some(last), Some(&[first, second])) = (text.get(digits - 1), text.get(digits..digits + 2)) else {
        return false;
    };
    let is_suffix = |suffix: [char; 2]| match last {
        '1' => suffix == ['s', 't'],
        '2' => suffix == ['n', 'd'],
        '3' => suffix == ['r', 'd'],
        _ => suffix == ['t', 'h'],
    };
    let next = text.get(digits + 2).copied();
    let ends = next.is_none_or(|next| !next.is_ascii_alphanumeric());
    is_suffix([first, second]) && (ends || next.is_some_and(|next| next.is_ascii_uppercase()))
        || is_suffix([first, second].map(|letter| letter.to_ascii_lowercase()))
            && first.is_ascii_uppercase()
            && second.is_ascii_uppercase()
            && (ends || next.is_some_and(|next| next.is_ascii_lowercase()))
}

/// How long the emoji is that starts here: a flag, or a symbol with its variants and all that is
/// joined to it.
fn emoji_at(text: &[char]) -> usize {
    let symbol = |from: usize| match text.get(from..) {
        Some([first, second, ..]) if is_regional(*first) && is_regional(*second) => 2,
        Some([_, ..]) => 1,
        _ => 0,
    };
    let variant = |mut end: usize| {
        if matches!(text.get(end), Some('\u{fe0e}' | '\u{fe0f}')) {
            end += 1;
        }
        if matches!(text.get(end), Some('\u{1f3fb}'..='\u{1f3ff}')) {
            end += 1;
        }
        end
    };
    if !text.first().is_some_and(|first| starts_emoji(*first)) {
        return 0;
    }
    let mut end = variant(symbol(0));
    while text.get(end) == Some(&'\u{200d}') && end + 1 < text.len() {
        end = variant(end + 1 + symbol(end + 1));
    }
    end
}

fn starts_emoji(character: char) -> bool {
    is_dingbat(character) || character > '\u{ffff}'
}

fn is_regional(character: char) -> bool {
    matches!(character, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_dingbat(character: char) -> bool {
    matches!(character, '\u{2700}'..='\u{27bf}')
}

fn is_upper(character: char) -> bool {
    matches!(character, 'A'..='Z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{de}')
}

fn is_lower(character: char) -> bool {
    matches!(character, 'a'..='z' | '\u{df}'..='\u{f6}' | '\u{f8}'..='\u{ff}')
}

/// What separates words: punctuation, symbols and white space.
fn is_break(character: char) -> bool {
    matches!(
        character,
        '\0'..='/' | ':'..='@' | '['..='`' | '{'..='\u{bf}' | '\u{d7}' | '\u{f7}'
            | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{206f}' | '\u{3000}' | '\u{feff}'
    )
}

/// Letters that lodash knows no case of, such as those that are not Latin.
fn is_other(character: char) -> bool {
    character <= '\u{ffff}'
        && !character.is_ascii_digit()
        && !(is_break(character) || is_dingbat(character) || is_lower(character) || is_upper(character))
}

/// The basic letters that stand for one of Latin-1 or Latin Extended-A.
#[rustfmt::skip]
fn basic_letters(letter: char) -> Option<&'static str> {
    Some(match letter {
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'Æ' => "Ae",
        'æ' => "ae",
        'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'Ð' | 'Ď' | 'Đ' => "D",
        'ð' | 'ď' | 'đ' => "d",
        'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => "E",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'Ĥ' | 'Ħ' => "H",
        'ĥ' | 'ħ' => "h",
        'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => "I",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'Ĵ' => "J",
        'ĵ' => "j",
        'Ķ' => "K",
        'ķ' | 'ĸ' => "k",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => "L",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'Ñ' | 'Ń' | 'Ņ' | 'Ň' | 'Ŋ' => "N",
        // `ŉ` becomes `'n`, whose apostrophe then goes.
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ŋ' | 'ŉ' => "n",
        'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => "O",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'Œ' => "Oe",
        'œ' => "oe",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' => "S",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ſ' => "s",
        'ß' => "ss",
        'Ţ' | 'Ť' | 'Ŧ' => "T",
        'ţ' | 'ť' | 'ŧ' => "t",
        'Þ' => "Th",
        'þ' => "th",
        'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => "U",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'Ŵ' => "W",
        'ŵ' => "w",
        'Ý' | 'Ŷ' | 'Ÿ' => "Y",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{camel_case, kebab_case};

    /// Texts, and what lodash 4.17.21 makes of them.
    const LODASH: &str = include_str!("lodash.json");

    #[test]
    fn agrees_with_lodash() {
        let vectors: Vec<[String; 3]> = serde_json::from_str(LODASH).expect("vectors");
        assert!(vectors.len() > 150);
        for [text, kebab, camel] in vectors {
            assert_eq!(kebab_case(&text), kebab, "kebabCase of {text:?}");
            assert_eq!(camel_case(&text), camel, "camelCase of {text:?}");
        }
    }
}
