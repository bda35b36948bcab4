//! Comments that say how a Dockerfile is read: `# syntax=…` and `# escape=…`, which have to precede everything else.
//!
//! Source: `BuildKit` v0.26, `frontend/dockerfile/parser/directives.go`.

use super::Doubt;

/// Reads the lines in which directives may stand, one after the other.
#[derive(Default)]
pub(super) struct Directives {
    seen: Vec<String>,
    done: bool,
}

/// What one of these lines says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Directive {
    /// `# syntax=…`: the image of the frontend that reads the Dockerfile. Behind a space, there may be more, for the frontend.
    Syntax(String),
    Escape(char),
}

impl Directives {
    /// Returns what `line` says, if it is a directive that matters.
    pub(super) fn read(&mut self, line: &str) -> Result<Option<Directive>, Doubt> {
        if self.done {
            return Ok(None);
        }
        let Some((name, value)) = Self::split(line) else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(Doubt::of(format!("it sets `# {name}` twice")));
        }
        let directive = match (name.as_str(), value) {
            ("escape", _) if self.seen.iter().any(|name| name == "check") => {
                return Err(Doubt::of("`# escape` stands behind `# check`, which older parsers do not know"));
            }
            ("escape", "\\") => Some(Directive::Escape('\\')),
            ("escape", "`") => Some(Directive::Escape('`')),
            ("escape", _) => return Err(Doubt::of("it has an escape character that there is not")),
            ("syntax", image) => Some(Directive::Syntax(image.to_owned())),
            _ => None,
        };
        self.seen.push(name);
        Ok(directive)
    }

    /// Ends the reading: whatever follows does not count.
    pub(super) fn end(&mut self) {
        self.done = true;
    }

    /// The name, in lower case, and the value of `# name = value`, if there is such a directive.
    fn split(line: &str) -> Option<(String, &str)> {
        let (name, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
        let name = name.trim_end_matches(is_regular_space).to_ascii_lowercase();
        let value = value.trim_matches(is_regular_space);
        (["syntax", "escape", "check"].contains(&name.as_str()) && !value.is_empty()).then_some((name, value))
    }
}

/// The frontend that a Dockerfile names whose first line is `#!…`. The search for it skips this line, but to the parser
/// it is a comment, and no directive follows a comment.
pub(super) fn syntax_behind_shebang(text: &str) -> Result<Option<String>, Doubt> {
    let mut directives = Directives::default();
    for line in text.lines().skip(1) {
        match directives.read(line.trim_end_matches('\r'))? {
            Some(Directive::Syntax(image)) => return Ok(Some(image)),
            _ if directives.done => break,
            _ => {}
        }
    }
    Ok(None)
}

/// What `\s` is in Go's regular expressions.
pub(super) fn is_regular_space(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}

/// Whether `image` is the frontend that `BuildKit` has built in, in whatever version. What is not released yet goes by a name
/// of its own.
pub(super) fn is_stock_frontend(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    ["docker/dockerfile-upstream", "docker/dockerfile"].iter().any(|stock| {
        image
            .strip_prefix(stock)
            .is_some_and(|rest| (rest.is_empty() || rest.starts_with([':', '@'])) && !rest.contains(' '))
    })
}
