//! Access tokens that are fetched here for the daemon, which then never sees what they were got with.
//!
//! Left to itself, a daemon takes one login for all repositories of a registry, and the same one until the build
//! ends. So tokens are fetched here where a login may end before the build does, or differs by repository.
//!
//! Why: docs/decisions/45-tokens-are-fetched-here-where-needed.md

use garden_registry::{Login, RegistryError, repository_of};
use secrecy::ExposeSecret as _;

use super::pull_secrets::{Known, PullSecretLogins};
use crate::client::{AccessToken, WantedToken};

/// Returns whether there is reason to fetch the tokens for `host` here, and a way.
pub(super) async fn are_fetched_here(logins: &PullSecretLogins, host: &str) -> bool {
    let mut known = Vec::new();
    for repository in logins.images().repositories(host) {
        // A failure here is reported when the daemon asks for the login.
        if let Ok(Some(login)) = logins.find(host, &[repository]).await {
            known.push(login);
        }
    }
    let image = logins.images().first_at(host);
    let (true, Some(first), Some(image)) = (is_reason(&known), known.into_iter().next(), image) else {
        return false;
    };
    let Ok(client) = logins.client(host, Some(first.login)) else { return false };
    let unreached = |error: &RegistryError| {
        matches!(
            error,
            RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } | RegistryError::Tls { .. }
        )
    };
    !client.resolve(image).await.is_err_and(|error| unreached(&error))
}

/// Fetches a token, once more if a helper gave a login that has ended in the meantime.
pub(super) async fn fetch(logins: &PullSecretLogins, wanted: &WantedToken) -> Result<AccessToken, String> {
    let repository = [repository_of(&wanted.scopes)];
    let known = logins.find(&wanted.host, &repository).await?;
    let may_have_ended = known.as_ref().is_some_and(|known| known.from_helper);
    let mut fetched = fetch_as(logins, wanted, known).await;
    if may_have_ended && matches!(fetched, Err(RegistryError::Unauthorized(_))) {
        logins.forget_answers().await;
        fetched = fetch_as(logins, wanted, logins.find(&wanted.host, &repository).await?).await;
    }
    fetched.map_err(|error| error.to_string())
}

async fn fetch_as(
    logins: &PullSecretLogins,
    wanted: &WantedToken,
    known: Option<Known>,
) -> Result<AccessToken, RegistryError> {
    let WantedToken { host, scopes } = wanted;
    let client = logins.client(host, known.map(|known| known.login))?;
    let token = client.access_token(scopes).await?;
    Ok(AccessToken { token: token.token, lifetime: token.lifetime })
}

/// Whether one login, kept by the daemon until the build ends, will not do.
fn is_reason(known: &[Known]) -> bool {
    let secret = |known: &Known| match &known.login {
        Login::Password { username, password } => (username.clone(), password.expose_secret().to_owned()),
        Login::IdentityToken { token, .. } | Login::RegistryToken { token } => {
            (String::new(), token.expose_secret().to_owned())
        }
        _ => Default::default(),
    };
    let is_bearer = |known: &Known| matches!(known.login, Login::RegistryToken { .. });
    let differ = known.windows(2).any(|pair| secret(&pair[0]) != secret(&pair[1]));
    differ || known.iter().any(|known| known.from_helper || is_bearer(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(username: &str, from_helper: bool) -> Known {
        let login = Login::Password { username: username.to_owned(), password: "secret".into() };
        Known { login, from_helper }
    }

    #[test]
    fn one_lasting_login_is_left_to_the_daemon() {
        assert!(!is_reason(&[]));
        assert!(!is_reason(&[known("a", false), known("a", false)]));
        assert!(is_reason(&[known("a", false), known("b", false)]), "one for each repository");
        assert!(is_reason(&[known("a", true)]), "it may end");
        let token = Login::RegistryToken { token: "bearer".into() };
        assert!(is_reason(&[Known { login: token, from_helper: false }]), "the daemon knows no such login");
    }
}
