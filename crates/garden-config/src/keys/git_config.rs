//! The URL of `origin` in the configuration of a git repository (git-config(1), "Syntax").
//!
//! What other files add is not looked at: those that it includes, and the user's and the system's own, in which nobody keeps
//! the origin of one repository.

/// Returns the value of `remote.origin.url`. The last one counts, as with `git config --get`.
pub(super) fn origin_url(text: &str) -> Option<String> {
    let mut in_origin = false;
    let mut url = None;
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start();
        if rest.starts_with(['#', ';']) {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(header) = rest.strip_prefix('[') {
            let (name, behind) = header.split_once(']')?;
            in_origin = is_origin(name);
            rest = behind;
        } else {
            let end = rest.find(['=', '\n']).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            let value;
            (value, rest) = match behind.strip_prefix('=') {
                Some(written) => read_value(written),
                None => (String::new(), behind),
            };
            if in_origin && name.trim().eq_ignore_ascii_case("url") {
                url = Some(value);
            }
        }
    }
    url
}

/// Whether `[name]` begins the section of the remote `origin`.
fn is_origin(name: &str) -> bool {
    let Some((section, subsection)) = name.trim().split_once([' ', '\t']) else { return false };
    section.eq_ignore_ascii_case("remote") && subsection.trim() == "\"origin\""
}

/// Reads a value up to the end of its line, which a backslash at its end moves; returns what follows it.
fn read_value(written: &str) -> (String, &str) {
    let mut value = String::new();
    let mut in_quotes = false;
    // White space at the end counts only within quotes.
    let mut kept = 0;
    let mut characters = written.char_indices();
    let mut end = written.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' => {
                end = at;
                break;
            }
            '"' => {
                in_quotes = !in_quotes;
                kept = value.len();
            }
            '#' | ';' if !in_quotes => {
                end = written[at..].find('\n').map_or(written.len(), |line| at + line);
                break;
            }
            '\\' => {
                match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, 'b')) => value.push('\u{8}'),
                    Some((_, '\n')) | None => {}
                    Some((_, other)) => value.push(other),
                }
                kept = value.len();
            }
            character if character.is_whitespace() && !in_quotes => {
                if !value.is_empty() {
                    value.push(character);
                }
            }
            character => {
                value.push(character);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    (value, &written[end..])
}

#[cfg(test)]
mod tests {
    use super::origin_url;

    #[test]
    fn reads_what_git_writes_and_people_edit() {
        for (text, expected) in [
            (
                "[core]\n\turl = no\n[remote \"origin\"]\n\turl = git@git.example:a/b.git\n\tfetch = +refs/*\n",
                Some("git@git.example:a/b.git"),
            ),
            ("[remote \"origin\"] URL=https://git.example/a # why\n", Some("https://git.example/a")),
            (
                "[Remote \"origin\"]\n url = \"https://git.example/a b;c\" ; why\n",
                Some("https://git.example/a b;c"),
            ),
            ("[remote \"origin\"]\nurl = https://git.\\\nexample/a\n", Some("https://git.example/a")),
            (
                "[remote \"origin\"]\nurl = one\nurl = C:\\\\two\n[remote \"other\"]\nurl = three\n",
                Some("C:\\two"),
            ),
            ("# [remote \"origin\"]\n; url = x\n[remote \"origin\"]\nprune\nurl = y", Some("y")),
            ("[remote \"Origin\"]\nurl = x\n", None),
            ("[remote]\nurl = x\n[remote \"origin\"\nurl = x", None),
            ("", None),
        ] {
            assert_eq!(origin_url(text).as_deref(), expected, "{text}");
        }
    }
}
