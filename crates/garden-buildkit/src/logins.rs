use futures::future::BoxFuture;
use garden_build_core::{BuildJob, ImageReference};
use garden_cluster::{Cluster, read_pull_secrets};
use garden_config::SecretRef;
use garden_registry::{Identity, Login};

use crate::client::{self, DockerfileBuild};

/// Answers the daemon from the `imagePullSecrets`, which are read whenever it asks: a secret that was
/// renewed during a long build counts when it pushes.
#[derive(Debug)]
pub(crate) struct PullSecretLogins {
    cluster: Cluster,
    secrets: Vec<SecretRef>,
    /// The daemon names only hosts. Where a secret has credentials for parts of a registry, these
    /// say which part is meant: the image's own repository first.
    images: Vec<ImageReference>,
}

impl PullSecretLogins {
    pub(crate) fn new(
        cluster: &Cluster,
        secrets: &[SecretRef],
        job: &BuildJob,
        wanted: &DockerfileBuild,
    ) -> Self {
        let mut images = vec![job.destination.clone()];
        images.extend(job.context.dockerfile().base_images());
        let caches = wanted.cache_imports.iter().filter_map(|cache| cache.attributes.get("ref"));
        let contexts = wanted.contexts.values().filter_map(|context| match context {
            client::NamedContext::Image(image) => Some(image),
            _ => None,
        });
        images.extend(caches.chain(contexts).filter_map(|name| name.parse().ok()));
        Self { cluster: cluster.clone(), secrets: secrets.to_vec(), images }
    }

    async fn find(&self, host: &str) -> Result<Option<client::Login>, String> {
        let credentials =
            read_pull_secrets(&self.cluster, &self.secrets).await.map_err(|error| error.to_string())?;
        let login = repositories(host, &self.images)
            .into_iter()
            .find_map(|repository| credentials.login(host, repository));
        match login {
            None => match credentials.identity(host, "") {
                Identity::Helper { origin, helper, .. } => Err(format!(
                    "{origin} names the credential helper `{helper}` for {host}, which is not here and which BuildKit cannot run; \
                     give it a user and a password"
                )),
                _ => Ok(None),
            },
            Some(Login::Password { username, password }) => {
                Ok(Some(client::Login::Password { username: username.clone(), password: password.clone() }))
            }
            Some(Login::IdentityToken { token, .. }) => Ok(Some(client::Login::IdentityToken(token.clone()))),
            Some(_) => Err(format!(
                "imagePullSecrets has a `registrytoken` for {host}, which BuildKit cannot use; give it a user and a password"
            )),
        }
    }
}

impl client::RegistryLogins for PullSecretLogins {
    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<client::Login>, String>> {
        Box::pin(self.find(host))
    }
}

/// Returns the repositories at `host` that a build has to do with, and at last the whole registry.
fn repositories<'a>(host: &str, images: &'a [ImageReference]) -> Vec<&'a str> {
    let at_host = images.iter().filter(|image| is_registry(image.registry(), host));
    at_host.map(ImageReference::repository).chain([""]).collect()
}

/// The daemon calls Docker Hub by the name of its server. Source: `BuildKit`, `util/resolver/authorizer.go`.
fn is_registry(registry: &str, host: &str) -> bool {
    registry == host || (registry == "docker.io" && host == "registry-1.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_s_own_repository_is_looked_up_before_those_of_base_images() {
        let image = |text: &str| text.parse::<ImageReference>().expect("a reference");
        let images = [image("r.example/team/api:1"), image("busybox:1"), image("r.example/base/os:2")];
        assert_eq!(repositories("r.example", &images), ["team/api", "base/os", ""]);
        assert_eq!(repositories("registry-1.docker.io", &images), ["library/busybox", ""]);
        assert_eq!(repositories("other.example", &images), [""]);
    }
}
