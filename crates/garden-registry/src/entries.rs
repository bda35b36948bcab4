//! What Docker configurations have in them: logins, and who else may have some.

use std::collections::BTreeMap;
use std::fmt;

use crate::allowed_helpers::AllowedHelpers;
use crate::error::Identity;
use crate::helper_answer::HelperProblem;
use crate::helper_question::HelperQuestion;
use crate::key::Key;
use crate::login::{Entry, Helper, Login};

/// What one or several Docker configurations have in them.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Entries {
    pub(crate) logins: BTreeMap<Key, Entry<Login>>,
    pub(crate) helpers: BTreeMap<Key, Entry<Helper>>,
    /// For what has no entry of its own; the first counts for most.
    pub(crate) stores: Vec<Entry<Helper>>,
}

/// Where a login may come from.
pub(crate) enum Source<'a> {
    Login(&'a Key, &'a Entry<Login>),
    Helper(HelperQuestion),
}

impl Entries {
    pub(crate) fn is_empty(&self) -> bool {
        self.logins.is_empty() && self.helpers.is_empty() && self.stores.is_empty()
    }

    /// Sets for which registries the helpers may be run here.
    pub(crate) fn allow_helpers(&mut self, allowed: &AllowedHelpers) {
        for helper in self.helpers.values_mut().chain(&mut self.stores) {
            helper.value.allowed = allowed.clone();
        }
    }

    /// Adds `later`, whose entries win over those with the same key.
    ///
    /// A login also replaces an earlier helper for its key, and the other way round, because a
    /// builder that finds both asks the helper only.
    pub(crate) fn merge(&mut self, later: Self) {
        for (key, login) in later.logins {
            self.helpers.remove(&key);
            self.logins.insert(key, login);
        }
        for (key, helper) in later.helpers {
            if self.logins.get(&key).is_some_and(|login| login.origin != helper.origin) {
                self.logins.remove(&key);
            }
            self.helpers.insert(key, helper);
        }
        self.stores.splice(0..0, later.stores);
    }

    /// Returns as whom `repository` at `registry` is asked for, as far as it is known without asking a helper.
    pub(crate) fn identity(&self, registry: &str, repository: &str) -> Identity {
        match self.sources(registry, repository).into_iter().next() {
            None => Identity::Anonymous,
            Some(Source::Login(key, entry)) => {
                Identity::Credentials { origin: entry.origin.to_string(), key: key.to_string() }
            }
            Some(Source::Helper(question)) => question.identity(HelperProblem::NotAsked),
        }
    }

    /// Returns whether a user and a password are among the logins for a repository, whatever helpers there are.
    pub(crate) fn have_password(&self, registry: &str, repository: &str) -> bool {
        self.logins.iter().any(|(key, entry)| {
            key.matches(registry, repository) && matches!(entry.value, Login::Password { .. })
        })
    }

    /// Returns where a login for a repository may come from, the most specific first. A helper comes
    /// before a login with the same key, and stores are for what has no entry, as in docker/cli.
    pub(crate) fn sources(&self, registry: &str, repository: &str) -> Vec<Source<'_>> {
        let matching = |key: &Key| key.matches(registry, repository);
        let helpers = self.helpers.iter().filter(|(key, _)| matching(key)).map(|(key, entry)| {
            let is_allowed = entry.value.allowed.include(registry, repository);
            let question = HelperQuestion::new(entry, &key.at(registry), false, is_allowed);
            (key, Source::Helper(question))
        });
        let logins = self.logins.iter().filter(|(key, _)| matching(key));
        let logins = logins.map(|(key, entry)| (key, Source::Login(key, entry)));
        let mut sources: Vec<_> = helpers.chain(logins).collect();
        // Stable: what comes first stays first among equals.
        sources.sort_by_key(|(key, _)| std::cmp::Reverse(key.specificity()));
        if sources.is_empty() {
            let server = Key::exact(registry, "");
            let question = |store: &Entry<Helper>| {
                let is_allowed = store.value.allowed.include(registry, repository);
                HelperQuestion::new(store, &server, true, is_allowed)
            };
            return self.stores.iter().map(|store| Source::Helper(question(store))).collect();
        }
        sources.into_iter().map(|(_, source)| source).collect()
    }
}

/// Shows keys and origins only.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logins = self.logins.iter().map(|(key, entry)| format!("{key} from {}", entry.origin));
        let helpers = self.helpers.iter().map(|(key, entry)| format!("{key} from {}", entry.origin));
        let stores = self.stores.iter().map(|entry| format!("{} from {}", entry.value.name, entry.origin));
        f.debug_struct("Entries")
            .field("logins", &logins.collect::<Vec<_>>())
            .field("helpers", &helpers.collect::<Vec<_>>())
            .field("stores", &stores.collect::<Vec<_>>())
            .finish()
    }
}
