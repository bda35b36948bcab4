use crate::error::Identity;
use crate::helper_answer::{HelperName, HelperProblem};
use crate::key::Key;
use crate::login::Entry;

/// A question to a credential helper.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HelperQuestion {
    /// The helper.
    pub helper: HelperName,
    /// What the helper knows the registry by.
    pub server: String,
    /// Where the helper is named.
    pub origin: String,
    /// Whether it is the store for everything that has no entry of its own (`credsStore`).
    pub is_store: bool,
}

impl HelperQuestion {
    /// Asks for `registry` a helper that no configuration names; `origin` says who does. `None` if `helper` is
    /// not the name of one.
    pub fn about(registry: &str, helper: &str, origin: &str) -> Option<Self> {
        let value = HelperName::parse(helper)?;
        Some(Self::new(&Entry { value, origin: origin.into() }, &Key::exact(registry, ""), false))
    }

    pub(crate) fn new(entry: &Entry<HelperName>, server: &Key, is_store: bool) -> Self {
        let (helper, origin) = (entry.value.clone(), entry.origin.to_string());
        Self { helper, server: server.to_string(), origin, is_store }
    }

    /// Says that one is nobody, as the helper has no login.
    pub(crate) fn identity(&self, problem: HelperProblem) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::Helper { origin, key, helper: self.helper.to_string(), problem }
    }

    /// Says that one is whoever the helper logs in.
    pub(crate) fn login_identity(&self) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::HelperLogin { origin, key, helper: self.helper.to_string() }
    }
}
