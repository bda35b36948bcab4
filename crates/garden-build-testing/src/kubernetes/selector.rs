//! Which objects a list or a watch is about. Source: Kubernetes, "Labels and Selectors", "Field Selectors".

use serde_json::Value;

use super::refusal::Refusal;

/// Chooses objects by labels and by fields.
#[derive(Clone, Default, Debug)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    pub(crate) fn new(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let read = |text: &str| {
            let requirements: Option<Vec<_>> = clauses(text).into_iter().map(Requirement::parse).collect();
            requirements.ok_or_else(|| Refusal::bad_request(format!("unable to parse requirement: {text}")))
        };
        let (labels, fields) = (read(labels)?, read(fields)?);
        if fields.iter().any(|field| matches!(field.test, Test::Exists | Test::Missing)) {
            return Err(Refusal::bad_request("a field selector compares with = and != only"));
        }
        Ok(Self { labels, fields })
    }

    pub(crate) fn chooses(&self, object: &Value) -> bool {
        let label =
            |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str).map(str::to_owned);
        // A field that is not there is empty.
        let field = |path: &str| {
            let found = path.split('.').try_fold(object, |object, key| object.get(key));
            Some(match found {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => String::new(),
                Some(other) => other.to_string(),
            })
        };
        self.labels.iter().all(|it| it.is_met(label(&it.key).as_deref()))
            && self.fields.iter().all(|it| it.is_met(field(&it.key).as_deref()))
    }
}

/// Splits at commas that are not between parentheses.
fn clauses(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|clause| !clause.is_empty())
    .collect()
}

impl Requirement {
    fn parse(clause: &str) -> Option<Self> {
        let new = |key: &str, test| Some(Self { key: key.trim().to_owned(), test });
        let one = |value: &str| vec![value.trim().to_owned()];
        if let Some((key, set)) = clause.split_once(" in ") {
            return new(key, Test::In(set_of(set)?));
        }
        if let Some((key, set)) = clause.split_once(" notin ") {
            return new(key, Test::NotIn(set_of(set)?));
        }
        if let Some((key, value)) = clause.split_once("!=") {
            return new(key, Test::NotIn(one(value)));
        }
        if let Some((key, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
            return new(key, Test::In(one(value)));
        }
        match clause.strip_prefix('!') {
            Some(key) => new(key, Test::Missing),
            None if clause.contains(' ') => None,
            None => new(clause, Test::Exists),
        }
    }

    fn is_met(&self, value: Option<&str>) -> bool {
        let is_one_of = |set: &[String]| value.is_some_and(|value| set.iter().any(|it| it == value));
        match &self.test {
            Test::In(set) => is_one_of(set),
            Test::NotIn(set) => !is_one_of(set),
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
        }
    }
}

fn set_of(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_fields_choose() {
        let object = json!({ "metadata": { "name": "x", "labels": { "app": "a", "tier": "db" } }, "spec": { "n": 1 } });
        let cases = [
            ("", "", true),
            ("app=a", "", true),
            ("app==a,tier=db", "", true),
            ("app=b", "", false),
            ("app!=b", "", true),
            ("other!=b", "", true),
            ("app in (a, b),tier", "", true),
            ("app notin (a,b)", "", false),
            ("!other", "", true),
            ("other", "", false),
            ("", "metadata.name=x", true),
            ("", "metadata.name=y", false),
            ("", "spec.n=1,spec.nodeName=", true),
        ];
        for (labels, fields, expected) in cases {
            let selector = Selector::new(labels, fields).expect("a selector");
            assert_eq!(selector.chooses(&object), expected, "{labels:?} {fields:?}");
        }
        assert!(Selector::new("app is a", "").is_err());
        assert!(Selector::new("", "metadata.name").is_err());
    }
}
