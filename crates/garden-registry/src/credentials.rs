//! The credentials of all registries that a build has to do with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::credential_helper::CredentialHelpers;
use crate::docker_cli;
use crate::docker_config;
use crate::docker_config::CredentialsError;
use crate::error::Identity;
use crate::helper_answer::{HelperName, HelperProblem};
use crate::key::Key;
use crate::lookup::{CredentialsWarning, Source};

/// Credentials for any number of registries, merged from any number of Docker configurations.
///
/// Neither its `Debug` form nor an error ever shows a credential; they name the entry's key and its
/// origin, which is a text such as `secret default/regcred` that the reader of a message understands.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) logins: BTreeMap<Key, Entry<Login>>,
    pub(crate) helpers: BTreeMap<Key, Entry<HelperName>>,
    /// For what has no entry of its own; the first counts for most.
    pub(crate) stores: Vec<Entry<HelperName>>,
    pub(crate) runner: CredentialHelpers,
}

/// A value, and where it was read.
#[derive(Clone)]
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    pub(crate) origin: Arc<str>,
}

/// How an entry lets one authenticate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Login {
    /// User name and password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A refresh token (docker/cli's `identitytoken`), to be exchanged at the registry's token server.
    IdentityToken {
        /// The user, where the configuration names one.
        username: Option<String>,
        /// The token.
        token: SecretString,
    },
    /// A bearer token for the registry itself (docker/cli's `registrytoken`).
    RegistryToken {
        /// The token.
        token: SecretString,
    },
}

impl Login {
    /// Returns the user name and password with which to authenticate by the Basic scheme.
    ///
    /// `<token>` as the user name marks the password as an identity token, in docker/cli
    /// (`command/registry`) as in go-containerregistry.
    pub(crate) fn basic(&self) -> Option<(&str, &SecretString)> {
        match self {
            Self::Password { username, password } => Some((username, password)),
            Self::IdentityToken { username, token } => {
                Some((username.as_deref().unwrap_or("<token>"), token))
            }
            Self::RegistryToken { .. } => None,
        }
    }

    /// Returns what must never be shown.
    pub(crate) fn secret(&self) -> &str {
        match self {
            Self::Password { password: secret, .. }
            | Self::IdentityToken { token: secret, .. }
            | Self::RegistryToken { token: secret } => secret.expose_secret(),
        }
    }
}

impl Credentials {
    /// Creates an empty set, with which everything is asked for anonymously.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the credentials of one user at `registry`, which may be any key that a Docker
    /// configuration may have: a host, `*.host`, `host/path`.
    ///
    /// # Errors
    /// If `registry` names no host; the error names `origin`, not the key.
    pub fn with_password(
        registry: &str,
        username: &str,
        password: SecretString,
        origin: &str,
    ) -> Result<Self, CredentialsError> {
        Self::with_login(registry, Login::Password { username: username.to_owned(), password }, origin)
    }

    /// Creates the credentials that are one login at `registry`, which may be the same as in
    /// [`with_password`](Self::with_password).
    ///
    /// # Errors
    /// As there.
    pub fn with_login(registry: &str, login: Login, origin: &str) -> Result<Self, CredentialsError> {
        let key = docker_config::parse_key(registry, origin)?;
        let entry = Entry { value: login, origin: Arc::from(origin) };
        Ok(Self { logins: BTreeMap::from([(key, entry)]), ..Self::default() })
    }

    /// Reads a Docker `config.json`, which is what a secret of type
    /// `kubernetes.io/dockerconfigjson` has under `.dockerconfigjson`.
    ///
    /// # Errors
    /// If it is not such a configuration; the error names `origin` and the entry, not the content.
    pub fn from_docker_config_json(bytes: &[u8], origin: &str) -> Result<Self, CredentialsError> {
        docker_config::parse(bytes, origin)
    }

    /// Reads the older form that has only the entries, which is what a secret of type
    /// `kubernetes.io/dockercfg` has under `.dockercfg`.
    ///
    /// # Errors
    /// If it is not such a configuration; the error names `origin` and the entry, not the content.
    pub fn from_legacy_dockercfg(bytes: &[u8], origin: &str) -> Result<Self, CredentialsError> {
        docker_config::parse_legacy(bytes, origin)
    }

    /// Reads the configuration of this machine's Docker: `config.json` in the directory that
    /// `DOCKER_CONFIG` names, or in `.docker` in the user's home. A file that is not there has nothing in it.
    ///
    /// # Errors
    /// If the file cannot be read, or is no such configuration.
    pub fn from_docker_cli() -> Result<Self, CredentialsError> {
        docker_cli::credentials()
    }

    /// Runs credential helpers by way of `helpers`; by default, those in `PATH` are run.
    pub fn with_helpers(mut self, helpers: CredentialHelpers) -> Self {
        self.runner = helpers;
        self
    }

    /// Adds `later`, whose entries win over those with the same key. Helpers go on being run in the way
    /// of `self`.
    ///
    /// A login also replaces an earlier helper for its key, and the other way round, because a
    /// builder that finds both asks the helper only.
    pub fn merge(&mut self, later: Self) {
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

    /// Tells whether there is neither a login nor a helper.
    pub fn is_empty(&self) -> bool {
        self.logins.is_empty() && self.helpers.is_empty() && self.stores.is_empty()
    }

    /// Tells as whom `repository` at `registry` is asked for, as far as it is known without asking
    /// a credential helper.
    pub fn identity(&self, registry: &str, repository: &str) -> Identity {
        match self.sources(registry, repository).into_iter().next() {
            None => Identity::Anonymous,
            Some(Source::Login(key, entry)) => {
                Identity::Credentials { origin: entry.origin.to_string(), key: key.to_string() }
            }
            Some(Source::Helper(question)) => question.identity(HelperProblem::NotAsked),
        }
    }

    /// Renders the `config.json` of a builder that has the credential helpers `there`, after the helpers
    /// of this machine were asked for each of `names_in_use`. Returns also what could not be honoured.
    ///
    /// Kaniko and `BuildKit` look entries up by the exact host (kaniko also by the exact repository)
    /// and know neither wildcards nor path prefixes. So each of `names_in_use`, `host[:port]` or
    /// `host[:port]/repository`, gets an entry of its own where a wildcard or a prefix provides it. If
    /// several names of one host have different credentials, those of the first stand for the host,
    /// and the others for their repositories. What no helper answers here is left to the builder's own,
    /// and everything else is kept as it is. The same input gives the same bytes.
    pub async fn to_docker_config_json(
        &self,
        names_in_use: &[&str],
        there: &[&str],
    ) -> (SecretString, Vec<CredentialsWarning>) {
        let (answered, warnings) = self.ask_helpers(names_in_use, there).await;
        (docker_config::render(&answered, names_in_use, there), warnings)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logins = self.logins.iter().map(|(key, entry)| format!("{key} from {}", entry.origin));
        let helpers = self.helpers.iter().map(|(key, entry)| format!("{key} from {}", entry.origin));
        let stores = self.stores.iter().map(|entry| format!("{} from {}", entry.value, entry.origin));
        f.debug_struct("Credentials")
            .field("logins", &logins.collect::<Vec<_>>())
            .field("helpers", &helpers.collect::<Vec<_>>())
            .field("stores", &stores.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(key: &str, origin: &str) -> Credentials {
        Credentials::with_password(key, "user", SecretString::from("s3cret"), origin).expect("a key")
    }

    fn merged(entries: &[(&str, &str)]) -> Credentials {
        let mut all = Credentials::new();
        for (key, origin) in entries {
            all.merge(credentials(key, origin));
        }
        all
    }

    fn origin(all: &Credentials, registry: &str, repository: &str) -> Option<String> {
        match all.identity(registry, repository) {
            Identity::Credentials { origin, .. } => Some(origin),
            _ => None,
        }
    }

    #[test]
    fn the_later_secret_wins_for_a_key_however_it_is_written() {
        let all = merged(&[("https://index.docker.io/v1/", "first"), ("docker.io", "second")]);
        assert_eq!(origin(&all, "docker.io", "a/b").as_deref(), Some("second"));
        assert_eq!(all.logins.len(), 1);
    }

    #[test]
    fn a_key_without_a_host_is_refused() {
        for key in ["", " ", "https://", "/team", "user@"] {
            let refused =
                Credentials::with_password(key, "user", SecretString::from("s3cret"), "the options");
            let expected = CredentialsError::BadKey { origin: "the options".to_owned() };
            assert_eq!(refused.expect_err(key), expected);
        }
    }

    #[test]
    fn the_most_specific_entry_is_found() {
        let entries =
            [("*.example", "glob"), ("registry.example", "host"), ("registry.example/team", "team")];
        let all = merged(&entries);
        assert_eq!(origin(&all, "registry.example", "team/api").as_deref(), Some("team"));
        assert_eq!(origin(&all, "registry.example", "other/api").as_deref(), Some("host"));
        assert_eq!(origin(&all, "other.example", "team/api").as_deref(), Some("glob"));
        assert_eq!(origin(&all, "elsewhere.test", "team/api"), None);
    }

    #[test]
    fn a_login_replaces_an_earlier_helper_and_the_other_way_round() {
        let helper = br#"{"credHelpers": {"registry.example": "ecr-login"}}"#;
        let helper = Credentials::from_docker_config_json(helper, "helpers").expect("valid");
        let identity = |all: &Credentials| all.identity("registry.example", "a");

        let mut all = helper.clone();
        all.merge(credentials("registry.example", "logins"));
        assert!(all.helpers.is_empty());
        assert!(matches!(identity(&all), Identity::Credentials { .. }));

        all.merge(helper);
        assert!(all.logins.is_empty());
        assert!(matches!(identity(&all), Identity::Helper { helper, .. } if helper == "ecr-login"));
    }

    #[test]
    fn debug_shows_keys_and_origins_only() {
        let shown = format!("{:?}", credentials("registry.example", "secret default/regcred"));
        assert!(shown.contains("registry.example from secret default/regcred"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("user"), "{shown}");
    }
}
