use bollard::auth::DockerCredentials;
use futures::future::BoxFuture;
use garden_build_core::{ImageReference, Result};
use garden_buildkit::BuildImages;
use garden_buildkit::client::{self, AccessToken, RegistryLogins, WantedToken};
use garden_cluster::RegistryCredentials;
use garden_registry::Login;
use secrecy::ExposeSecret as _;

/// What a daemon calls Docker Hub's server when it wants credentials for it.
/// Source: Docker, `registry/config.go`, `IndexServer`.
const HUB: &str = "https://index.docker.io/v1/";

/// Finds what the daemon is to log in with for `image`.
pub(super) async fn of_image(
    credentials: &RegistryCredentials,
    image: &ImageReference,
) -> Result<Option<DockerCredentials>> {
    let found = credentials.read_for_builder().await?.login(image.registry(), image.repository()).await;
    Ok(found.login.map(|login| for_daemon(image.registry(), login)))
}

/// By which name the daemon looks for credentials of a registry.
pub(crate) fn server(registry: &str) -> String {
    if registry == "docker.io" { HUB.to_owned() } else { registry.to_owned() }
}

fn for_daemon(registry: &str, login: Login) -> DockerCredentials {
    let mut credentials =
        DockerCredentials { serveraddress: Some(server(registry)), ..DockerCredentials::default() };
    match login {
        Login::Password { username, password } => {
            credentials.username = Some(username);
            credentials.password = Some(password.expose_secret().to_owned());
        }
        Login::IdentityToken { username, token } => {
            credentials.username = username;
            credentials.identitytoken = Some(token.expose_secret().to_owned());
        }
        Login::RegistryToken { token } => {
            credentials.registrytoken = Some(token.expose_secret().to_owned());
        }
        _ => {}
    }
    credentials
}

/// Answers a `BuildKit` daemon that pulls base images. The image itself is pushed otherwise.
#[derive(Debug)]
pub(crate) struct BaseImageLogins {
    pub(crate) credentials: RegistryCredentials,
    /// What the build has to do with. Where there are credentials for parts of a registry, these say which part is meant: the daemon
    /// names the host only.
    pub(crate) images: BuildImages,
}

impl RegistryLogins for BaseImageLogins {
    fn concern(&self, host: &str) -> bool {
        self.images.are_at(host)
    }

    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<client::Login>, String>> {
        Box::pin(async move {
            let credentials = self.credentials.read_for_builder().await.map_err(|error| error.to_string())?;
            for repository in self.images.repositories(host) {
                match credentials.login(host, repository).await.login {
                    Some(Login::Password { username, password }) => {
                        return Ok(Some(client::Login::Password { username, password }));
                    }
                    Some(Login::IdentityToken { token, .. }) => {
                        return Ok(Some(client::Login::IdentityToken(token)));
                    }
                    Some(_) => {
                        return Err(format!(
                            "there is a `registrytoken` for {host}, which BuildKit cannot use; give it a user and a password"
                        ));
                    }
                    None => {}
                }
            }
            Ok(None)
        })
    }

    fn fetches_tokens<'a>(&'a self, _: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    fn token<'a>(&'a self, wanted: &'a WantedToken) -> BoxFuture<'a, Result<AccessToken, String>> {
        Box::pin(std::future::ready(Err(format!("tokens for {} are fetched by the daemon", wanted.host))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_login_has_its_field() {
        let password = Login::Password { username: "me".to_owned(), password: "secret".into() };
        let known = for_daemon("r.example:5000", password);
        assert_eq!(known.serveraddress.as_deref(), Some("r.example:5000"));
        assert_eq!((known.username.as_deref(), known.password.as_deref()), (Some("me"), Some("secret")));
        let identity = Login::IdentityToken { username: None, token: "identity".into() };
        assert_eq!(for_daemon("docker.io", identity).identitytoken.as_deref(), Some("identity"));
        let bearer = for_daemon("docker.io", Login::RegistryToken { token: "bearer".into() });
        assert_eq!(bearer.registrytoken.as_deref(), Some("bearer"));
        assert_eq!(bearer.serveraddress.as_deref(), Some(HUB));
    }
}
