//! What we answer when a daemon asks for the credentials of a registry.

mod access_tokens;
mod cloud_identity;
mod images;
mod pod_helpers;
mod pull_secrets;

use futures::future::BoxFuture;
use garden_registry::Login;

pub use images::BuildImages;
pub(crate) use pull_secrets::PullSecretLogins;

use crate::client::{self, AccessToken, WantedToken};

impl client::RegistryLogins for PullSecretLogins {
    fn concern(&self, host: &str) -> bool {
        self.images().are_at(host)
    }

    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<client::Login>, String>> {
        Box::pin(async move {
            let known = self.find(host, &self.images().repositories(host)).await?;
            known.map(|known| client_login(host, known.login)).transpose()
        })
    }

    fn fetches_tokens<'a>(&'a self, host: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(access_tokens::are_fetched_here(self, host))
    }

    fn token<'a>(&'a self, wanted: &'a WantedToken) -> BoxFuture<'a, Result<AccessToken, String>> {
        Box::pin(access_tokens::fetch(self, wanted))
    }
}

fn client_login(host: &str, login: Login) -> Result<client::Login, String> {
    match login {
        Login::Password { username, password } => Ok(client::Login::Password { username, password }),
        Login::IdentityToken { token, .. } => Ok(client::Login::IdentityToken(token)),
        _ => Err(format!(
            "imagePullSecrets has a `registrytoken` for {host}, which BuildKit cannot use; give it a user and a password"
        )),
    }
}
