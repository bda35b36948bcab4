use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kube::Config;

use super::TestNamespace;

/// The variable of the environment that says which namespaces are kept.
pub(super) const KEEP: &str = "GARDEN_BUILD_TESTING_KEEP";

/// Which namespaces are kept when their test has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Keep {
    /// None.
    #[default]
    Nothing,
    /// Those of tests that panic.
    Failed,
    /// All.
    All,
}

impl Keep {
    /// Reads the value of the variable.
    pub(super) fn of_variable(value: &str) -> Result<Self, NamespaceError> {
        match value {
            "" | "nothing" => Ok(Self::Nothing),
            "failed" => Ok(Self::Failed),
            "all" => Ok(Self::All),
            other => Err(NamespaceError::Variable(other.to_owned())),
        }
    }
}

/// How a namespace is made and removed.
#[derive(Clone, Debug)]
pub struct NamespaceOptions {
    pub(super) prefix: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) keep: Option<Keep>,
    pub(super) left_over_after: Duration,
}

impl NamespaceOptions {
    pub(super) fn new(prefix: &str) -> Self {
        let left_over_after = Duration::from_secs(2 * 3600);
        Self { prefix: prefix.to_owned(), labels: BTreeMap::new(), keep: None, left_over_after }
    }

    /// Gives the namespace a label, such as `pod-security.kubernetes.io/enforce`.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Says which namespaces are kept. Default: what the variable `GARDEN_BUILD_TESTING_KEEP` says, else [`Keep::Nothing`].
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Says after which time namespaces of this kind are taken for left over by a test that was killed, and deleted. Default: two hours. It
    /// has to be longer than any test lasts.
    #[must_use]
    pub fn left_over_after(mut self, age: Duration) -> Self {
        self.left_over_after = age;
        self
    }

    /// Creates the namespace in the cluster that `config` names, and deletes those that killed tests have left there.
    ///
    /// # Errors
    /// If the cluster cannot be reached or refuses, or if `GARDEN_BUILD_TESTING_KEEP` has a value that means nothing.
    pub async fn create(self, config: Config) -> Result<TestNamespace, NamespaceError> {
        TestNamespace::create_with(config, self).await
    }
}

/// Why there is no namespace, or why it is still there.
#[derive(Debug)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The cluster could not be reached, or refused.
    Cluster(kube::Error),
    /// The variable `GARDEN_BUILD_TESTING_KEEP` has this value, which means nothing.
    Variable(String),
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(_) => f.write_str("the namespace of the test cannot be created or deleted"),
            Self::Variable(value) => {
                write!(f, "{KEEP} is `{value}`: set it to `failed`, `all` or `nothing`")
            }
        }
    }
}

impl std::error::Error for NamespaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cluster(error) => Some(error),
            Self::Variable(_) => None,
        }
    }
}

impl From<kube::Error> for NamespaceError {
    fn from(error: kube::Error) -> Self {
        Self::Cluster(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_what_is_kept_and_a_slip_is_named() {
        for (value, expected) in
            [("", Keep::Nothing), ("nothing", Keep::Nothing), ("failed", Keep::Failed), ("all", Keep::All)]
        {
            assert_eq!(Keep::of_variable(value).expect(value), expected);
        }
        let error = Keep::of_variable("true").expect_err("means nothing").to_string();
        assert!(error.contains("GARDEN_BUILD_TESTING_KEEP is `true`"), "{error}");
    }
}
