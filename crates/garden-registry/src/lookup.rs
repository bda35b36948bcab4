//! Finds the login for a repository: in the configuration, or with a credential helper.

use std::fmt;

use crate::credential_helper::CredentialHelpers;
use crate::credentials::{Credentials, Entry, Login};
use crate::error::Identity;
use crate::helper_answer::{HelperName, HelperProblem};
use crate::key::Key;

/// What is known for a repository once the credential helpers of this machine were asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// What to log in with; `None` for nothing.
    pub login: Option<Login>,
    /// Where the login comes from, or why there is none.
    pub identity: Identity,
    /// Helpers that have no login here. Those of a builder may have one.
    pub unanswered: Vec<(HelperQuestion, HelperProblem)>,
    /// The helper that gave the login.
    pub(crate) answered: Option<HelperQuestion>,
}

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

/// A helper or store in a Docker configuration that is of no use here, though the rest is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CredentialsWarning {
    /// A `credsStore` that neither this machine nor the builder has.
    CredentialsStoreDropped {
        /// Where the configuration was read.
        origin: String,
        /// The store's name.
        store: String,
    },
    /// A helper that failed on this machine. The builder may have better luck.
    HelperFailed {
        /// The question, and with it the helper.
        question: HelperQuestion,
        /// What is known about it.
        reason: String,
    },
}

impl fmt::Display for CredentialsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsStoreDropped { origin, store } => write!(
                f,
                "`credsStore: {store}` of {origin} is ignored: `docker-credential-{store}` is not installed here, \
                 and credentials in it are not in the configuration"
            ),
            Self::HelperFailed { question: HelperQuestion { helper, server, origin, .. }, reason } => {
                write!(
                    f,
                    "the credential helper `{helper}` of {origin} failed when asked for {server}: {reason}"
                )
            }
        }
    }
}

/// Where a login may come from.
pub(crate) enum Source<'a> {
    Login(&'a Key, &'a Entry<Login>),
    Helper(HelperQuestion),
}

impl HelperQuestion {
    /// Asks for `registry` a helper that no configuration names; `origin` says who does. `None` if `helper` is
    /// not the name of one.
    pub fn about(registry: &str, helper: &str, origin: &str) -> Option<Self> {
        let value = HelperName::parse(helper)?;
        Some(Self::new(&Entry { value, origin: origin.into() }, &Key::exact(registry, ""), false))
    }

    fn new(entry: &Entry<HelperName>, server: &Key, is_store: bool) -> Self {
        let (helper, origin) = (entry.value.clone(), entry.origin.to_string());
        Self { helper, server: server.to_string(), origin, is_store }
    }

    pub(crate) async fn ask(&self, helpers: &CredentialHelpers) -> Result<Login, HelperProblem> {
        helpers.ask(&self.helper, &self.server).await
    }

    /// Says that one is nobody, as the helper has no login.
    pub(crate) fn identity(&self, problem: HelperProblem) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::Helper { origin, key, helper: self.helper.to_string(), problem }
    }

    fn login_identity(&self) -> Identity {
        let (origin, key) = (self.origin.clone(), self.server.clone());
        Identity::HelperLogin { origin, key, helper: self.helper.to_string() }
    }
}

impl Credentials {
    /// Finds what to log in with for `repository` at `registry`; an empty repository stands for all.
    /// Runs the credential helpers of this machine where the configuration leaves it to them.
    pub async fn login(&self, registry: &str, repository: &str) -> Found {
        let mut found =
            Found { login: None, identity: Identity::Anonymous, unanswered: Vec::new(), answered: None };
        for source in self.sources(registry, repository) {
            match source {
                Source::Login(key, entry) => {
                    let (origin, key) = (entry.origin.to_string(), key.to_string());
                    found.identity = Identity::Credentials { origin, key };
                    found.login = Some(entry.value.clone());
                    return found;
                }
                Source::Helper(question) => match question.ask(&self.runner).await {
                    Ok(login) => {
                        found.identity = question.login_identity();
                        found.login = Some(login);
                        found.answered = Some(question);
                        return found;
                    }
                    Err(problem) => found.unanswered.push((question, problem)),
                },
            }
        }
        if let Some((question, problem)) = found.unanswered.first() {
            found.identity = question.identity(problem.clone());
        }
        found
    }

    /// Returns what is known without asking a helper.
    pub(crate) fn known(&self, registry: &str, repository: &str) -> Found {
        let identity = self.identity(registry, repository);
        let login = match self.sources(registry, repository).into_iter().next() {
            Some(Source::Login(_, entry)) => Some(entry.value.clone()),
            _ => None,
        };
        Found { login, identity, unanswered: Vec::new(), answered: None }
    }

    /// Has the helper asked anew that was asked this question a moment ago.
    pub(crate) async fn forget(&self, question: &HelperQuestion) {
        self.runner.forget(&question.helper, &question.server).await;
    }

    /// Returns where a login for a repository may come from, the most specific first. A helper comes
    /// before a login with the same key, and stores are for what has no entry, as in docker/cli.
    pub(crate) fn sources(&self, registry: &str, repository: &str) -> Vec<Source<'_>> {
        let matching = |key: &Key| key.matches(registry, repository);
        let helpers = self.helpers.iter().filter(|(key, _)| matching(key)).map(|(key, entry)| {
            let question = HelperQuestion::new(entry, &key.at(registry), false);
            (key, Source::Helper(question))
        });
        let logins = self.logins.iter().filter(|(key, _)| matching(key));
        let logins = logins.map(|(key, entry)| (key, Source::Login(key, entry)));
        let mut sources: Vec<_> = helpers.chain(logins).collect();
        // Stable: what comes first stays first among equals.
        sources.sort_by_key(|(key, _)| std::cmp::Reverse(key.specificity()));
        if sources.is_empty() {
            let server = Key::exact(registry, "");
            let question = |store| HelperQuestion::new(store, &server, true);
            return self.stores.iter().map(|store| Source::Helper(question(store))).collect();
        }
        sources.into_iter().map(|(_, source)| source).collect()
    }

    /// Asks the helpers of this machine for `names_in_use`, and puts what they answer in their place.
    pub(crate) async fn ask_helpers(
        &self,
        names_in_use: &[&str],
        there: &[&str],
    ) -> (Self, Vec<CredentialsWarning>) {
        let (mut answered, mut warnings) = (self.clone(), Vec::new());
        for name in names_in_use {
            let (registry, repository) = name.split_once('/').unwrap_or((name, ""));
            let found = self.login(registry, repository).await;
            if let (Some(login), Some(question)) = (found.login, found.answered)
                && let Some(key) = Key::parse(&question.server)
            {
                answered.helpers.remove(&key);
                answered.logins.insert(key, Entry { value: login, origin: question.origin.into() });
            }
            for (question, problem) in found.unanswered {
                let warning = question.warning(problem, there);
                warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
            }
        }
        (answered, warnings)
    }
}

impl HelperQuestion {
    /// Says that `problem` is one. A helper that is missing here or has no login is none, if the builder
    /// may have it.
    fn warning(self, problem: HelperProblem, there: &[&str]) -> Option<CredentialsWarning> {
        match problem {
            HelperProblem::Failed { reason } => {
                Some(CredentialsWarning::HelperFailed { question: self, reason })
            }
            HelperProblem::NotInstalled if self.is_store && !there.contains(&self.helper.as_str()) => {
                let store = self.helper.to_string();
                Some(CredentialsWarning::CredentialsStoreDropped { origin: self.origin, store })
            }
            _ => None,
        }
    }
}
