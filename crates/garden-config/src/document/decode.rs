//! Reading a mapping field by field. A reader that finds something wrong reports it and goes on with
//! `None`, so that one run reports everything; [`Problems::into_result`] then discards the value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::Position;
use crate::document::issue::Issue;
use crate::document::node::{Mapping, Node, Value};
use crate::document::placeholder::is_template;
use crate::document::problems::Problems;
use crate::document::suggest;

/// The fields of one mapping. A field is known once it was asked for; [`Fields::finish`] reports the rest.
pub(crate) struct Fields<'a> {
    /// What the mapping is, as messages say it: "a kubernetes provider".
    what: &'a str,
    mapping: &'a Mapping,
    position: Position,
    problems: &'a Problems,
    problems_before: usize,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// Opens `node`, reporting it if it is not a mapping.
    pub(crate) fn open(node: &'a Node, what: &'a str, problems: &'a Problems) -> Option<Self> {
        let problems_before = problems.count();
        if let Value::Mapping(mapping) = &node.value {
            let known = RefCell::default();
            return Some(Self { what, mapping, position: node.position, problems, problems_before, known });
        }
        report_kind(node, what, "a mapping", problems);
        None
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Returns the field's value, even if it is `null`.
    pub(crate) fn raw(&self, name: &'static str) -> Option<&'a Node> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&name) {
            known.push(name);
        }
        self.mapping.get(name)
    }

    /// Returns the field's value; `null` counts as left out.
    pub(crate) fn node(&self, name: &'static str) -> Option<&'a Node> {
        self.raw(name).filter(|node| !node.is_null())
    }

    /// Returns where the field's key stands, or the mapping if it does not have it.
    pub(crate) fn key_position(&self, name: &str) -> Position {
        self.mapping.entry(name).map_or(self.position, |entry| entry.key_position)
    }

    /// Accepts fields that are not read here.
    pub(crate) fn set_aside(&self, names: &[&'static str]) {
        self.known.borrow_mut().extend(names);
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<&'a str> {
        text(self.node(name)?, &field(name), self.problems)
    }

    pub(crate) fn required_text(&self, name: &'static str) -> Option<&'a str> {
        if self.node(name).is_none() {
            self.problems.report(self.position, format!("{} needs the field `{name}`", self.what), None);
        }
        self.text(name)
    }

    /// Reads `true` or `false`, see [`Node::as_flag`].
    pub(crate) fn flag(&self, name: &'static str) -> Option<bool> {
        let node = self.node(name)?;
        let flag = node.as_flag();
        if flag.is_none() {
            report_kind(node, &field(name), "`true` or `false`", self.problems);
        }
        flag
    }

    /// Reads a whole number within `range`, see [`Node::as_integer`].
    pub(crate) fn integer<T: TryFrom<i64>>(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let node = self.node(name)?;
        if node.value == Value::Unresolved {
            return None;
        }
        let number = node.as_integer();
        let value =
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            let is_too_large = number.is_some_and(|number| number > *range.end());
            let bounds = match (*range.start(), *range.end()) {
                (i64::MIN, _) => String::new(),
                // The message names an end of the range that is far away only if the number lies beyond it.
                (least, most) if most >= i64::from(u32::MAX) && !is_too_large => {
                    format!(" of at least {least}")
                }
                (least, most) => format!(" from {least} to {most}"),
            };
            let message = format!("`{name}` must be a whole number{bounds}");
            self.problems.report(node.position, message, None);
        }
        value
    }

    /// Reads one of a few words.
    pub(crate) fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.text(name)?;
        let choice = choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value);
        if choice.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let position = self.mapping.position_of(name).unwrap_or(self.position);
            self.problems.report(
                position,
                format!("`{name}` cannot be `{word}`"),
                suggest::help(word, &words),
            );
        }
        choice
    }

    /// Returns the items of a list; Garden's lists skip empty items.
    pub(crate) fn list(&self, name: &'static str) -> Vec<&'a Node> {
        self.node(name).map(|node| items(node, &field(name), self.problems)).unwrap_or_default()
    }

    /// Reads a list of texts.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        let items = self.list(name).into_iter();
        items
            .filter_map(|item| text(item, &format!("each of `{name}`"), self.problems))
            .map(Into::into)
            .collect()
    }

    /// Reads a mapping from names to texts.
    pub(crate) fn text_map(&self, name: &'static str) -> BTreeMap<String, String> {
        let Some(node) = self.node(name) else { return BTreeMap::new() };
        let Some(mapping) = node.as_mapping() else {
            report_kind(node, &field(name), "a mapping", self.problems);
            return BTreeMap::new();
        };
        let entries = mapping.0.iter().filter_map(|entry| {
            Some((entry.key.clone(), text(&entry.value, &field(&entry.key), self.problems)?.to_owned()))
        });
        entries.collect()
    }

    /// Reports `issue` at the field that it names.
    pub(crate) fn report(&self, issue: Issue) {
        if self.problems.is_full() {
            return;
        }
        let position = self.mapping.position_of(&issue.field).unwrap_or(self.position);
        self.problems.report(position, issue.message, issue.hint);
    }

    /// Reports `issue` if there is one.
    pub(crate) fn check(&self, issue: Option<Issue>) {
        if let Some(issue) = issue {
            self.report(issue);
        }
    }

    /// Reports the fields that nobody knows.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for entry in &self.mapping.0 {
            if self.problems.is_full() {
                return;
            }
            // A `$merge` that could not be resolved, which was reported.
            let unresolved = entry.value.value == Value::Unresolved && entry.key.starts_with('$');
            if !unresolved && !known.contains(&entry.key.as_str()) {
                let message = format!("`{}` is not a field of {}", entry.key, self.what);
                self.problems.report(entry.key_position, message, suggest::help(&entry.key, &known));
            }
        }
    }

    /// Finishes as [`Fields::finish`] does, then reports the rules that the value read from these fields breaks.
    /// If a field could not be read, a default stands in its place and the rules mean nothing.
    pub(crate) fn finish_with(self, issues: impl FnOnce() -> Vec<Issue>) {
        let complete = self.mapping.0.iter().all(|entry| !entry.value.is_incomplete());
        if complete && self.problems.count() == self.problems_before {
            for issue in issues() {
                self.report(issue);
            }
        }
        self.finish();
    }
}

/// How messages name a field.
fn field(name: &str) -> String {
    format!("`{name}`")
}

/// Reads a text; `label` names it in messages.
pub(crate) fn text<'a>(node: &'a Node, label: &str, problems: &Problems) -> Option<&'a str> {
    if let Value::String(text) = &node.value {
        return Some(text);
    }
    let hint = match &node.value {
        Value::Number(written) => Some(format!("write it in quotes: `\"{written}\"`")),
        Value::Bool(value) => Some(format!("write it in quotes: `\"{value}\"`")),
        Value::Unresolved => return None,
        _ => None,
    };
    problems.report(node.position, format!("{label} must be text, not {}", node.kind()), hint);
    None
}

/// Returns the items of a list that are not empty; `label` names the list in messages.
pub(crate) fn items<'a>(node: &'a Node, label: &str, problems: &Problems) -> Vec<&'a Node> {
    if let Value::Sequence(items) = &node.value {
        return items.iter().filter(|item| !item.is_null()).collect();
    }
    report_kind(node, label, "a list", problems);
    Vec::new()
}

/// Reports a value that is not what it must be; `label` names it in messages.
fn report_kind(node: &Node, label: &str, expected: &str, problems: &Problems) {
    if node.value != Value::Unresolved {
        let message = format!("{label} must be {expected}, not {}", node.kind());
        problems.report(node.position, message, None);
    }
}

/// Reports a template where none can stand, because it says which templates there are or is read before
/// it is known what they stand for.
pub(crate) fn refuse_template(node: &Node, label: &str, problems: &Problems) {
    if node.as_text().is_some_and(is_template) {
        let hint = "templates are for what is inside an environment, a provider, a module or an action";
        problems.report(node.position, format!("{label} cannot hold a template"), Some(hint.to_owned()));
    }
}

/// Refuses templates in each text of `node`; see [`refuse_template`].
pub(crate) fn refuse_templates(node: &Node, label: &str, problems: &Problems) {
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| refuse_templates(item, label, problems)),
        Value::Mapping(mapping) => {
            mapping.0.iter().for_each(|entry| refuse_templates(&entry.value, label, problems));
        }
        _ => refuse_template(node, label, problems),
    }
}

/// Reports every key that stands more than once in one mapping, in all of `node`.
pub(crate) fn report_duplicate_keys(node: &Node, problems: &Problems) {
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| report_duplicate_keys(item, problems)),
        Value::Mapping(mapping) => {
            let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
            for entry in &mapping.0 {
                if let Some(line) = lines.get(entry.key.as_str()) {
                    let hint = format!("it was set on line {line}; keep one of the two");
                    problems.report(entry.key_position, format!("`{}` is set twice", entry.key), Some(hint));
                } else {
                    lines.insert(&entry.key, entry.key_position.line);
                }
                report_duplicate_keys(&entry.value, problems);
            }
        }
        _ => {}
    }
}
