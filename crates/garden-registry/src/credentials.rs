//! The credentials of all registries that a build has to do with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use crate::allowed_helpers::AllowedHelpers;
use crate::credential_helper::CredentialHelpers;
use crate::docker_cli;
use crate::docker_config;
use crate::docker_config::CredentialsError;
use crate::entries::Entries;
use crate::error::Identity;
use crate::helper_question::HelperQuestion;
use crate::login::{Entry, Login};
use crate::lookup::{self, CredentialsWarning, Found};

/// Credentials for any number of registries, merged from any number of Docker configurations.
///
/// Neither its `Debug` form nor an error ever shows a credential; they name the entry's key and its
/// origin, which is a text such as `secret default/regcred` that the reader of a message understands.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: Entries,
    runner: CredentialHelpers,
}

/// Whether they have the same entries, wherever helpers are run.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Credentials {
    /// Creates an empty set, with which everything is asked for anonymously.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(entries: Entries) -> Self {
        Self { entries, runner: CredentialHelpers::default() }
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
        Ok(Self::of(Entries { logins: BTreeMap::from([(key, entry)]), ..Entries::default() }))
    }

    /// Reads a Docker `config.json`, which is what a secret of type
    /// `kubernetes.io/dockerconfigjson` has under `.dockerconfigjson`. The credential helpers that it names are not run here before
    /// [`allow_helpers`](Self::allow_helpers) says so.
    ///
    /// # Errors
    /// If it is not such a configuration; the error names `origin` and the entry, not the content.
    pub fn from_docker_config_json(bytes: &[u8], origin: &str) -> Result<Self, CredentialsError> {
        docker_config::parse(bytes, origin).map(Self::of)
    }

    /// Reads the older form that has only the entries, which is what a secret of type
    /// `kubernetes.io/dockercfg` has under `.dockercfg`.
    ///
    /// # Errors
    /// If it is not such a configuration; the error names `origin` and the entry, not the content.
    pub fn from_legacy_dockercfg(bytes: &[u8], origin: &str) -> Result<Self, CredentialsError> {
        docker_config::parse_legacy(bytes, origin).map(Self::of)
    }

    /// Reads the configuration of this machine's Docker: `config.json` in the directory that
    /// `DOCKER_CONFIG` names, or in `.docker` in the user's home. A file that is not there has nothing in it. It is the user's own, so the
    /// credential helpers that it names may be run for all registries.
    ///
    /// # Errors
    /// If the file cannot be read, or is not such a configuration.
    pub fn from_docker_cli() -> Result<Self, CredentialsError> {
        Ok(Self::of(docker_cli::entries()?).allow_helpers(&AllowedHelpers::for_all()))
    }

    /// Sets for which registries the credential helpers that are named here may be run on this machine. Those of what is
    /// [merged](Self::merge) later keep what was said of them.
    pub fn allow_helpers(mut self, allowed: &AllowedHelpers) -> Self {
        self.entries.allow_helpers(allowed);
        self
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
        self.entries.merge(later.entries);
    }

    /// Returns whether there is neither a login nor a helper.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether a helper is named, which may answer otherwise at any time.
    pub fn name_helpers(&self) -> bool {
        !self.entries.helpers.is_empty() || !self.entries.stores.is_empty()
    }

    /// Returns as whom `repository` at `registry` is asked for, as far as it is known without asking
    /// a credential helper.
    pub fn identity(&self, registry: &str, repository: &str) -> Identity {
        self.entries.identity(registry, repository)
    }

    /// Returns whether there are a user and a password for `repository` at `registry`. The nodes of a cluster pull with nothing else: they
    /// run none of the helpers that a Secret names, and know no tokens.
    ///
    /// Source: Kubernetes 1.34, `pkg/credentialprovider/config.go` (`dockerConfigEntryWithAuth`).
    pub fn have_password(&self, registry: &str, repository: &str) -> bool {
        self.entries.have_password(registry, repository)
    }

    /// Finds what to log in with for `repository` at `registry`; an empty repository stands for all.
    /// Runs the credential helpers of this machine where the configuration leaves it to them.
    pub async fn login(&self, registry: &str, repository: &str) -> Found {
        lookup::login(&self.entries, &self.runner, registry, repository).await
    }

    /// Returns what is known without asking a helper.
    pub(crate) fn known(&self, registry: &str, repository: &str) -> Found {
        lookup::known(&self.entries, registry, repository)
    }

    /// Has the helper asked anew that was asked this question a moment ago.
    pub(crate) async fn forget(&self, question: &HelperQuestion) {
        self.runner.forget(question).await;
    }

    /// Renders the `config.json` of a builder that has the credential helpers `there`, after the helpers
    /// of this machine were asked for each of `names_in_use`. Returns also what could not be honoured.
    ///
    /// Kaniko and `BuildKit` look entries up by the exact host (kaniko also by the exact repository)
    /// and know neither wildcards nor path prefixes. So each of `names_in_use`, `host[:port]` or
    /// `host[:port]/repository`, gets an entry of its own where a wildcard or a prefix provides it. If
    /// several names of one host have different credentials, those of the first stand for the host,
    /// and the others for their repositories. What no helper answers here is left to the builder's own.
    /// Nothing else is in it: whatever runs in the builder may read it. The same input gives the same bytes.
    pub async fn to_docker_config_json(
        &self,
        names_in_use: &[&str],
        there: &[&str],
    ) -> (SecretString, Vec<CredentialsWarning>) {
        let (answered, warnings) =
            lookup::ask_helpers(&self.entries, &self.runner, names_in_use, there).await;
        (docker_config::render(&answered, names_in_use, there), warnings)
    }
}

impl Credentials {
    /// Renders the `config.json` with which a node pulls `repository` from `registry`: the passwords for it, as
    /// [`have_password`](Self::have_password) knows them, and nothing else.
    pub fn to_node_config_json(&self, registry: &str, repository: &str) -> SecretString {
        docker_config::render_passwords(&self.entries, registry, repository)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.entries).finish()
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
        assert_eq!(all.entries.logins.len(), 1);
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
    fn nodes_pull_with_a_password_and_with_nothing_else() {
        let config = r#"{
            "auths": {
                "*.example": { "username": "user", "password": "s3cret" },
                "token.test": { "identitytoken": "t" },
                "bearer.test": { "registrytoken": "t" },
                "https://index.docker.io/v1/": { "auth": "dXNlcjpzM2NyZXQ=" },
                "paths.test/team": { "username": "user", "password": "s3cret" },
                "logged.in.test": {}
            },
            "credHelpers": { "r.example": "ecr-login", "helper.test": "ecr-login" },
            "credsStore": "desktop"
        }"#;
        let all = Credentials::from_docker_config_json(config.as_bytes(), "a secret").expect("valid");
        for (registry, repository, expected) in [
            // Though a helper comes first for others.
            ("r.example", "a", true),
            ("docker.io", "moby/buildkit", true),
            ("paths.test", "team/api", true),
            ("paths.test", "other/api", false),
            ("token.test", "a", false),
            ("bearer.test", "a", false),
            ("helper.test", "a", false),
            ("logged.in.test", "a", false),
            ("elsewhere.test", "a", false),
        ] {
            assert_eq!(all.have_password(registry, repository), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn a_login_replaces_an_earlier_helper_and_the_other_way_round() {
        let helper = br#"{"credHelpers": {"registry.example": "ecr-login"}}"#;
        let helper = Credentials::from_docker_config_json(helper, "helpers").expect("valid");
        let identity = |all: &Credentials| all.identity("registry.example", "a");

        let mut all = helper.clone();
        all.merge(credentials("registry.example", "logins"));
        assert!(all.entries.helpers.is_empty());
        assert!(matches!(identity(&all), Identity::Credentials { .. }));

        all.merge(helper);
        assert!(all.entries.logins.is_empty());
        assert!(matches!(identity(&all), Identity::Helper { helper, .. } if helper == "ecr-login"));
    }

    #[test]
    fn debug_shows_keys_and_origins_only() {
        let shown = format!("{:?}", credentials("registry.example", "secret default/regcred"));
        assert!(shown.contains("registry.example from secret default/regcred"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("user"), "{shown}");
    }
}
