//! "Did you mean …?"

/// Finds the candidate that `word` is probably a misspelling of.
///
/// The distance between two words takes time and memory in proportion to the product of their lengths, so
/// nothing is suggested for what is too long to be a word.
pub(crate) fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 100;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let best = candidates
        .iter()
        .copied()
        .filter(|it| it.len() <= LONGEST)
        .min_by_key(|candidate| distance(candidate))?;
    // One slip for each three characters; more is another word.
    let allowed = (word.chars().count().max(best.chars().count()) / 3).max(1);
    (distance(best) <= allowed).then_some(best)
}

/// The help for a word that is not one of `candidates`: the one that was probably meant, or all of
/// them, if they are few enough to read.
pub(crate) fn help(word: &str, candidates: &[&str]) -> Option<String> {
    const READABLE: usize = 8;
    if let Some(best) = closest(word, candidates) {
        return Some(format!("did you mean `{best}`?"));
    }
    match candidates {
        [] => None,
        [only] => Some(format!("the only one is `{only}`")),
        many if many.len() <= READABLE => Some(format!("use one of {}", quoted(many))),
        _ => None,
    }
}

/// Lists `words` as `` `a`, `b`, `c` ``.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::help;

    #[test]
    fn names_the_misspelled_word_or_lists_the_few() {
        let modes = ["kaniko", "cluster-buildkit", "local-docker"];
        assert_eq!(help("Kaniko", &modes).as_deref(), Some("did you mean `kaniko`?"));
        assert_eq!(help("kanico", &modes).as_deref(), Some("did you mean `kaniko`?"));
        assert_eq!(
            help("podman", &modes).as_deref(),
            Some("use one of `kaniko`, `cluster-buildkit`, `local-docker`")
        );
        assert_eq!(help("podman", &["a"; 20]), None);
    }

    #[test]
    fn suggests_nothing_for_what_is_no_word() {
        let long = "x".repeat(1_000_000);
        assert_eq!(help(&long, &[&long, "a", "b"]).map(|help| help.contains("did you mean")), Some(false));
        assert_eq!(help("kanico", &[&long, "kaniko"]).as_deref(), Some("did you mean `kaniko`?"));
    }
}
