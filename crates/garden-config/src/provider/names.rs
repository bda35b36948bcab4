//! Names of Kubernetes objects and of images, and what several fields of a provider have in common.

use std::collections::BTreeMap;

use garden_build_core::ImageReference;
use serde::Serialize;

use crate::NoticeKind;
use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;

/// The Kubernetes namespace of a project: where images are used, and by default built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = [])))]
#[non_exhaustive]
pub struct Namespace {
    /// The name: lower-case letters, digits and `-`, at most 63 of them (a DNS label).
    pub name: String,
    /// Annotations for the namespace if it has to be created. Default: none.
    pub annotations: BTreeMap<String, String>,
    /// Labels for the namespace if it has to be created. Default: none.
    pub labels: BTreeMap<String, String>,
}

impl Namespace {
    /// Names a namespace.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), annotations: BTreeMap::new(), labels: BTreeMap::new() }
    }

    /// Reads the field `namespace` of a provider: a name, or a mapping with one.
    pub(crate) fn read(node: &Node, default_name: impl FnOnce() -> String, problems: &Problems) -> Self {
        if !matches!(node.value, Value::Mapping(_)) {
            let name = crate::document::decode::text(node, "`namespace`", problems);
            if let Some(issue) = name.and_then(|name| namespace_issue("name", name)) {
                problems.report(node.position, issue.message, issue.hint);
            }
            return Self::new(name.unwrap_or_default());
        }
        let Some(fields) = Fields::open(node, "`namespace`", problems) else { return Self::new("") };
        let namespace = Self {
            name: fields.text("name").map_or_else(default_name, str::to_owned),
            annotations: fields.text_map("annotations"),
            labels: fields.text_map("labels"),
        };
        fields.finish_with(|| namespace.issues());
        namespace
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        namespace_issue("name", &self.name).into_iter().collect()
    }
}

/// Names a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = ["name"])))]
#[non_exhaustive]
pub struct SecretRef {
    /// The Secret's name.
    pub name: String,
    /// The namespace that it is in. Default: `default`.
    pub namespace: String,
}

impl SecretRef {
    /// Names the Secret `name` in the namespace `default`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: "default".to_owned() }
    }

    /// Names the Secret in another namespace.
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Reads the list in the field `name`.
    pub(crate) fn read_all(fields: &Fields<'_>, name: &'static str, problems: &Problems) -> Vec<Self> {
        let what = format!("each of `{name}`");
        fields.list(name).into_iter().filter_map(|item| Self::read(item, &what, problems)).collect()
    }

    fn read(node: &Node, what: &str, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, what, problems)?;
        let mut secret = Self::new(fields.required_text("name").unwrap_or_default());
        if let Some(namespace) = fields.text("namespace") {
            namespace.clone_into(&mut secret.namespace);
        }
        fields.finish_with(|| secret.issues());
        Some(secret)
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let hint = "use at most 253 lower-case letters, digits, `-` and `.`";
        let name = (!is_dns_subdomain(&self.name))
            .then(|| Issue::new("name", format!("`{}` cannot be the name of a Secret", self.name), hint));
        name.into_iter().chain(namespace_issue("namespace", &self.namespace)).collect()
    }
}

/// Explains why `name`, in the field `field`, cannot name a namespace.
pub(crate) fn namespace_issue(field: &str, name: &str) -> Option<Issue> {
    if is_dns_label(name) {
        return None;
    }
    let hint = "use at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends";
    let message = if name.len() > 63 {
        format!("`{name}` is too long for a namespace: {} characters", name.chars().count())
    } else {
        format!("`{name}` cannot be the name of a namespace")
    };
    Some(Issue::new(field, message, hint))
}

/// RFC 1123 label, as Kubernetes checks it (`IsDNS1123Label`).
fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && has_label_form(name)
}

/// RFC 1123 subdomain, as Kubernetes checks it (`IsDNS1123Subdomain`): its labels are limited only
/// in sum.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(has_label_form)
}

fn has_label_form(label: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [label.bytes().next(), label.bytes().last()];
    ends.iter().all(|end| end.is_some_and(alphanumeric))
        && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
}

/// Explains why the field `image` cannot be `name`; `example` is how it may look.
pub(crate) fn image_issue(name: &str, example: &str) -> Option<Issue> {
    let error = name.parse::<ImageReference>().err()?;
    Some(Issue::new("image", error.to_string(), format!("write it like `{example}`")))
}

/// Writes MiB with the largest binary suffix that is exact.
pub(crate) fn mebibytes(amount: u32) -> String {
    let mut amount = amount;
    let mut suffixes = ["Mi", "Gi", "Ti", "Pi"].into_iter();
    let mut suffix = suffixes.next().unwrap_or_default();
    while amount != 0 && amount.is_multiple_of(1024) {
        let Some(larger) = suffixes.next() else { break };
        amount /= 1024;
        suffix = larger;
    }
    format!("{amount}{suffix}")
}

/// Notices that the last part of `field`, one of `fields`, changes nothing.
pub(crate) fn no_effect(field: &str, fields: &Fields<'_>, message: &str, problems: &Problems) {
    let name = field.rsplit('.').next().unwrap_or(field);
    problems.notice(NoticeKind::NoEffect, field, fields.key_position(name), message, "leave it out");
}
