use crate::allowed_helpers::AllowedHelpers;
use crate::error::Identity;
use crate::helper_answer::{HelperName, HelperProblem};
use crate::key::Key;
use crate::login::{Entry, Helper};

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
    /// Whether it may be asked on this machine.
    pub(crate) is_allowed: bool,
}

impl HelperQuestion {
    /// Asks for `registry` a helper that no configuration names, elsewhere than on this machine; `origin` says who names it. `None` if
    /// `helper` is not the name of one.
    pub fn about(registry: &str, helper: &str, origin: &str) -> Option<Self> {
        let value = Helper { name: HelperName::parse(helper)?, allowed: AllowedHelpers::none() };
        Some(Self::new(&Entry { value, origin: origin.into() }, &Key::exact(registry, ""), false, false))
    }

    pub(crate) fn new(entry: &Entry<Helper>, server: &Key, is_store: bool, is_allowed: bool) -> Self {
        let (helper, origin) = (entry.value.name.clone(), entry.origin.to_string());
        Self { helper, server: server.to_string(), origin, is_store, is_allowed }
    }

    /// States that one is nobody, as the helper has no login.
    pub(crate) fn identity(&self, problem: HelperProblem) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::Helper { origin, key, helper: self.helper.to_string(), problem }
    }

    /// States that one is whoever the helper logs in.
    pub(crate) fn login_identity(&self) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::HelperLogin { origin, key, helper: self.helper.to_string() }
    }
}
