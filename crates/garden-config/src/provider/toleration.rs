use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// Lets builder pods onto nodes with a taint, as a Kubernetes toleration does.
///
/// ```
/// use garden_config::{TaintEffect, Toleration};
///
/// let mut toleration = Toleration::equal("dedicated", "builds");
/// toleration.effect = Some(TaintEffect::NoSchedule);
/// assert!(toleration.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Toleration {
    /// The taint's key. `None` tolerates every taint, and goes with [`TolerationOperator::Exists`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the taint's value is compared. Default: [`TolerationOperator::Equal`].
    pub operator: TolerationOperator,
    /// The taint's effect; `None` for every effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// The taint's value, for [`TolerationOperator::Equal`]; `None` is the empty value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many seconds a pod stays after a [`TaintEffect::NoExecute`] taint appeared; `None` for
    /// ever, zero or less not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares a taint's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum TolerationOperator {
    /// The value must be the same.
    #[default]
    Equal,
    /// Any value will do.
    Exists,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum TaintEffect {
    /// They are not scheduled to the node.
    NoSchedule,
    /// They are scheduled elsewhere if possible.
    PreferNoSchedule,
    /// They are evicted from the node.
    NoExecute,
}

const OPERATORS: [(&str, TolerationOperator); 2] =
    [("Equal", TolerationOperator::Equal), ("Exists", TolerationOperator::Exists)];

const EFFECTS: [(&str, TaintEffect); 3] = [
    ("NoSchedule", TaintEffect::NoSchedule),
    ("PreferNoSchedule", TaintEffect::PreferNoSchedule),
    ("NoExecute", TaintEffect::NoExecute),
];

impl TolerationOperator {
    /// Returns the word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Exists => "Exists",
        }
    }
}

impl TaintEffect {
    /// Returns the word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Toleration {
    /// Tolerates taints with this key and value, of every effect.
    pub fn equal(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// Tolerates taints with this key, of every value and effect.
    pub fn exists(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), operator: TolerationOperator::Exists, ..Self::default() }
    }

    /// Checks what Kubernetes checks.
    ///
    /// # Errors
    /// If the key is missing without `Exists`, a value goes with `Exists`, or seconds go with
    /// another effect than `NoExecute`.
    pub fn check(&self) -> Result<(), crate::ConfigError> {
        crate::ConfigError::check(self.issues())
    }

    /// Reads the list in the field `name`.
    pub(crate) fn read_all(fields: &Fields<'_>, name: &'static str, problems: &Problems) -> Vec<Self> {
        fields.list(name).into_iter().filter_map(|item| Self::read(item, problems)).collect()
    }

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, "a toleration", problems)?;
        let toleration = Self {
            key: fields.text("key").filter(|key| !key.is_empty()).map(str::to_owned),
            operator: fields.choice("operator", &OPERATORS).unwrap_or_default(),
            effect: fields.choice("effect", &EFFECTS),
            value: fields.text("value").map(str::to_owned),
            // Kubernetes wants a number; Garden's schema says text. Both are read.
            toleration_seconds: fields.integer("tolerationSeconds", i64::MIN..=i64::MAX),
        };
        fields.finish_with(|| toleration.issues());
        Some(toleration)
    }

    /// Source: `ValidateTolerations` of Kubernetes' `pkg/apis/core/validation`.
    pub(crate) fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        let exists = self.operator == TolerationOperator::Exists;
        if self.key.as_deref().unwrap_or_default().is_empty() && !exists {
            let message = "a toleration without a `key` must have `operator: Exists`";
            issues.push(Issue::new(
                "operator",
                message,
                "set `key`, or `operator: Exists` to tolerate every taint",
            ));
        }
        if exists && self.value.as_deref().is_some_and(|value| !value.is_empty()) {
            let message = "a toleration with `operator: Exists` takes no `value`";
            issues.push(Issue::new("value", message, "leave `value` out, or use `operator: Equal`"));
        }
        if self.toleration_seconds.is_some() && self.effect != Some(TaintEffect::NoExecute) {
            let message = "`tolerationSeconds` goes with `effect: NoExecute` only";
            issues.push(Issue::new("tolerationSeconds", message, "leave it out, or set `effect: NoExecute`"));
        }
        issues
    }
}
