//! One login, and where it was read.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::allowed_helpers::AllowedHelpers;
use crate::helper_answer::HelperName;

/// A value, and where it was read.
#[derive(Clone, PartialEq)]
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    pub(crate) origin: Arc<str>,
}

/// A credential helper, and for which registries it may be run here.
#[derive(Clone, PartialEq)]
pub(crate) struct Helper {
    pub(crate) name: HelperName,
    pub(crate) allowed: AllowedHelpers,
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

/// By the secret itself: a login that was renewed is another one.
impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        let username = |login: &Self| match login {
            Self::Password { username, .. } => Some(username.clone()),
            Self::IdentityToken { username, .. } => username.clone(),
            Self::RegistryToken { .. } => None,
        };
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && username(self) == username(other)
            && self.secret() == other.secret()
    }
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
