//! Access tokens for somebody else, who presents them to the registry.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::SecretString;

use crate::RegistryClient;
use crate::authenticate::{Access, Action};
use crate::challenge::challenges;
use crate::error::RegistryError;
use crate::token::TokenServer;
use crate::transport::{Call, Operation, Patience};

/// A bearer token for a registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// How long it may be used.
    pub lifetime: Duration,
}

impl RegistryClient {
    /// Gets a token for a builder that has asked the registry itself, and was referred to a token server with `scopes`. Of several
    /// repositories, the one that is pushed to decides who asks.
    ///
    /// Which token server that is, the registry is asked: the credentials are shown there, so nobody else's word counts.
    ///
    /// # Errors
    /// If the registry names no token server, or that refuses, or one of them cannot be reached.
    pub async fn access_token(&self, scopes: &[String]) -> Result<AccessToken, RegistryError> {
        let (repository, action) = wanted(scopes);
        let access = Access { repository, action };
        let operation = self.begin(Patience::Question);
        let server = self.token_server(&access, &operation).await?;
        let token = self.0.authenticator.token(&server, scopes, &access, &operation).await?;
        Ok(AccessToken { token: token.0, lifetime: token.1 })
    }

    /// Asks the registry for its token server, as nobody: first whether it is there, and then, as some tell that to everybody, for
    /// something that is in it.
    ///
    /// Source: distribution project, "Token Authentication Specification".
    async fn token_server(
        &self,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<TokenServer, RegistryError> {
        let endpoint = &self.0.endpoint;
        let mut places = vec![endpoint.url("")?];
        if let Ok(repository) = self.repository(access.repository) {
            places.push(endpoint.of_repository(&repository, "tags/list")?);
        }
        for uri in places {
            let answer = operation.send(Call::new(Method::GET, uri)).await?;
            // A server that it redirects to does not speak for it.
            if answer.status != StatusCode::UNAUTHORIZED || answer.origin != endpoint.origin {
                continue;
            }
            let mut offered = challenges(&answer.headers).into_iter();
            if let Some(challenge) = offered.find(|challenge| challenge.scheme == "bearer") {
                return TokenServer::from_challenge(&challenge, endpoint);
            }
        }
        let reason = "it names no token server".to_owned();
        Err(RegistryError::Authentication { registry: endpoint.name.clone(), reason })
    }
}

/// Returns the repository whose credentials count for `scopes`; empty if there is none.
pub fn repository_of(scopes: &[String]) -> &str {
    wanted(scopes).0
}

/// Returns which repository is asked for, and what for.
///
/// Source: distribution project, "Token Scope Documentation": `type:name:actions`. A name may have colons,
/// as hosts with a port have.
fn wanted(scopes: &[String]) -> (&str, Action<'_>) {
    let repositories = scopes.iter().filter_map(|scope| {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        Some((name, actions.split(',').any(|action| action == "push")))
    });
    let (name, pushes) = repositories.max_by_key(|(_, pushes)| *pushes).unwrap_or_default();
    (name, if pushes { Action::Push } else { Action::Pull })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_to_decides() {
        for (scopes, repository, pushes) in [
            (&["repository:team/base:pull", "repository:team/api:pull,push"][..], "team/api", true),
            (&["repository:team/api:push", "repository:team/base:pull"], "team/api", true),
            (&["repository:r.example:5000/api:pull"], "r.example:5000/api", false),
            (&["registry:catalog:*"], "", false),
            (&[], "", false),
        ] {
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            let (name, action) = wanted(&scopes);
            assert_eq!((name, matches!(action, Action::Push)), (repository, pushes), "{scopes:?}");
        }
    }
}
