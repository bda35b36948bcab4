//! Rules that a value breaks.

/// A rule that a typed value breaks, whether it was read from a file or set in Rust.
#[derive(Debug)]
pub(crate) struct Issue {
    /// The field, relative to the value: `limits.cpu`.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Issue {
    pub(crate) fn new(field: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), hint: Some(hint.into()) }
    }

    /// The same issue, in the field where the value is written, if `places` has another for it.
    pub(crate) fn placed(self, places: &[(&str, &str)]) -> Self {
        let place = places.iter().find(|(field, _)| *field == self.field);
        Self { field: place.map_or(self.field, |(_, place)| (*place).to_owned()), ..self }
    }

    /// The same issue seen from the value that holds this one in its field `parent`.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field =
            if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

/// The issues of all items of the list in the field `field`.
pub(crate) fn item_issues<T>(field: &str, items: &[T], issues: impl Fn(&T) -> Vec<Issue>) -> Vec<Issue> {
    let within = |(index, item)| {
        let parent = format!("{field}[{index}]");
        issues(item).into_iter().map(move |issue| issue.within(&parent))
    };
    items.iter().enumerate().flat_map(within).collect()
}
