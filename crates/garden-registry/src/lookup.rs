//! Finds the login for a repository: in the configuration, or with a credential helper.

use std::fmt;

use crate::credential_helper::CredentialHelpers;
use crate::entries::{Entries, Source};
use crate::error::Identity;
use crate::helper_answer::HelperProblem;
use crate::helper_question::HelperQuestion;
use crate::key::Key;
use crate::login::{Entry, Login};

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
    /// A helper that may not be run on this machine, and that the builder does not have.
    HelperNotAllowed {
        /// Where the configuration was read.
        origin: String,
        /// The helper's name.
        helper: String,
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
            Self::HelperNotAllowed { origin, helper } => write!(
                f,
                "the credential helper `{helper}` of {origin} is not run on this machine, as that is not allowed for this registry"
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

/// Finds what to log in with for `repository` at `registry`; an empty repository stands for all.
/// Asks `helpers` where the configuration leaves it to them.
pub(crate) async fn login(
    entries: &Entries,
    helpers: &CredentialHelpers,
    registry: &str,
    repository: &str,
) -> Found {
    let mut found =
        Found { login: None, identity: Identity::Anonymous, unanswered: Vec::new(), answered: None };
    for source in entries.sources(registry, repository) {
        match source {
            Source::Login(key, entry) => {
                let (origin, key) = (entry.origin.to_string(), key.to_string());
                found.identity = Identity::Credentials { origin, key };
                found.login = Some(entry.value.clone());
                return found;
            }
            Source::Helper(question) => match helpers.ask(&question).await {
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
pub(crate) fn known(entries: &Entries, registry: &str, repository: &str) -> Found {
    let identity = entries.identity(registry, repository);
    let login = match entries.sources(registry, repository).into_iter().next() {
        Some(Source::Login(_, entry)) => Some(entry.value.clone()),
        _ => None,
    };
    Found { login, identity, unanswered: Vec::new(), answered: None }
}

/// Asks `helpers` for `names_in_use`, and puts what they answer in their place.
pub(crate) async fn ask_helpers(
    entries: &Entries,
    helpers: &CredentialHelpers,
    names_in_use: &[&str],
    there: &[&str],
) -> (Entries, Vec<CredentialsWarning>) {
    let (mut answered, mut warnings) = (entries.clone(), Vec::new());
    for name in names_in_use {
        let (registry, repository) = name.split_once('/').unwrap_or((name, ""));
        let found = login(entries, helpers, registry, repository).await;
        if let (Some(login), Some(question)) = (found.login, found.answered)
            && let Some(key) = Key::parse(&question.server)
        {
            answered.helpers.remove(&key);
            answered.logins.insert(key, Entry { value: login, origin: question.origin.into() });
        }
        for (question, problem) in found.unanswered {
            let warning = warning(question, problem, there);
            warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
        }
    }
    (answered, warnings)
}

/// Returns the warning about `problem`; `None` if the builder may still have a login: from a helper that is missing here, or
/// from one that has none here.
fn warning(question: HelperQuestion, problem: HelperProblem, there: &[&str]) -> Option<CredentialsWarning> {
    let is_there = there.contains(&question.helper.as_str());
    match problem {
        HelperProblem::NotAllowed if !is_there => {
            let helper = question.helper.to_string();
            Some(CredentialsWarning::HelperNotAllowed { origin: question.origin, helper })
        }
        HelperProblem::Failed { reason } => Some(CredentialsWarning::HelperFailed { question, reason }),
        HelperProblem::NotInstalled if question.is_store && !is_there => {
            let store = question.helper.to_string();
            Some(CredentialsWarning::CredentialsStoreDropped { origin: question.origin, store })
        }
        _ => None,
    }
}
