//! The password without which nobody pushes to the registry, if there is to be one.
//!
//! It is made once, and lies with its hash in one Secret, so that the two always fit: the registry reads the hash, and whoever may read the
//! Secret pushes. It is not one of the `imagePullSecrets`, as nodes pull without it: nothing copies it to other namespaces.
//!
//! Why: docs/decisions/75-a-password-means-two-servers.md

use std::sync::Arc;

use garden_build_core::{ErrorKind, Remedy};
use garden_registry::{Credentials, RegistryClient};
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use super::{InClusterRegistry, spec};
use crate::api::ClusterError;
use crate::diagnosis::Diagnosis;
use crate::registries::ClusterDialer;

/// The user that the registry knows.
const USER: &str = "garden-build";

/// What to do about a Secret that builds could not push with.
const BROKEN: Remedy = Remedy::install("delete this Secret, and install again (`init`), which makes another");

/// As cheap as can be, as the registry computes it for each request: nobody guesses two random UUIDs, whatever one guess costs.
const BCRYPT_COST: u32 = 4;

impl InClusterRegistry {
    /// Returns the Secret with a new password.
    pub(super) fn new_login(&self) -> Result<Secret, ClusterError> {
        let password = random();
        let hash = bcrypt::hash(&password, BCRYPT_COST)
            .map_err(|error| self.unusable_login(&format!("the password cannot be hashed: {error}")))?;
        Ok(spec::login(&self.settings, USER, &SecretString::from(password), format!("{USER}:{hash}\n")))
    }

    /// Whether pushes need a password.
    pub(crate) fn has_login(&self) -> bool {
        self.settings.password_for_pushes
    }

    /// Returns what this machine and builders push with, under each of `names`, which are hosts. Empty if pushes need no password.
    ///
    /// # Errors
    /// If there is to be a password, and it cannot be read.
    pub(crate) async fn login(&self, names: &[String]) -> Result<Credentials, ClusterError> {
        let mut credentials = Credentials::new();
        if !self.has_login() {
            return Ok(credentials);
        }
        let origin = format!("Secret {}/{}", self.namespace(), Self::LOGIN);
        let Some(secret) = self.cluster.get::<Secret>(self.namespace(), Self::LOGIN).await? else {
            return Err(self.unusable_login(&format!("{origin} does not exist")));
        };
        let text = |key| text(&secret, key).ok_or_else(|| self.broken_login());
        let (user, password) = (text(spec::USERNAME)?, text(spec::PASSWORD)?);
        for name in names {
            let one = Credentials::with_password(name, user, SecretString::from(password), &origin);
            credentials.merge(one.map_err(|_| self.broken_login())?);
        }
        Ok(credentials)
    }

    /// Returns what the registry reads of the `secret`, which its password opens.
    ///
    /// # Errors
    /// If somebody has changed the Secret so that nobody could push any more.
    pub(super) fn checked_htpasswd(&self, secret: &Secret) -> Result<Vec<u8>, ClusterError> {
        let opens = || {
            let (user, password) = (text(secret, spec::USERNAME)?, text(secret, spec::PASSWORD)?);
            let htpasswd = text(secret, spec::HTPASSWD)?;
            let hash = htpasswd.strip_prefix(user)?.strip_prefix(':')?.trim_end();
            // Another cost could keep this program, and the registry, busy for hours.
            let is_cheap = hash.parse::<bcrypt::HashParts>().is_ok_and(|hash| hash.get_cost() == BCRYPT_COST);
            (is_cheap && bcrypt::verify(password, hash).ok()?).then(|| htpasswd.as_bytes().to_vec())
        };
        opens().ok_or_else(|| self.broken_login())
    }

    /// Returns a client of the registry, for this machine.
    ///
    /// # Errors
    /// If the namespace does not form a host's name, or pushes need a password that cannot be read.
    pub async fn client(&self) -> Result<RegistryClient, ClusterError> {
        let dialer = Arc::new(ClusterDialer::new(self.cluster.clone()));
        let login = self.login(&[self.host()]).await?;
        let client = RegistryClient::builder(self.host()).insecure(true).credentials(login).dialer(dialer);
        client.build().map_err(|error| self.unpushable(&error))
    }

    fn broken_login(&self) -> ClusterError {
        let message = format!(
            "Secret {}/{} is not as it was made: nobody can push with it",
            self.namespace(),
            Self::LOGIN
        );
        ClusterError::Pod(Diagnosis::other(ErrorKind::Config, message, BROKEN))
    }

    fn unusable_login(&self, reason: &str) -> ClusterError {
        let message = format!(
            "the registry {}/{} has no password for pushes that can be used: {reason}",
            self.namespace(),
            Self::NAME
        );
        ClusterError::Pod(Diagnosis::other(ErrorKind::NotFound, message, self.words.password_missing))
    }
}

fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// Returns what nobody guesses: 244 random bits in 64 characters, and bcrypt takes up to 72.
pub(super) fn random() -> String {
    [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat()
}
