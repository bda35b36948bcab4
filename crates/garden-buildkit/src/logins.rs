use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use garden_build_core::{BuildJob, EventSink, ImageReference};
use garden_cluster::{Cluster, DaemonPod, read_pull_secrets};
use garden_config::SecretRef;
use garden_registry::{
    CredentialHelpers, CredentialsWarning, HelperProblem, HelperQuestion, Identity, Login,
};

use crate::access_tokens;
use crate::client::{self, AccessToken, DockerfileBuild, WantedToken};
use crate::cloud_identity;
use crate::pod_helper::PodHelpers;
use crate::settings::Settings;
use crate::spec::RegistryAccess;

/// Answers the daemon from the `imagePullSecrets`, which are read whenever it asks, and from the credential
/// helpers that they name: a secret that was renewed during a long build counts when it pushes.
#[derive(Debug)]
pub(crate) struct PullSecretLogins {
    pub(crate) cluster: Cluster,
    events: EventSink,
    secrets: Vec<SecretRef>,
    /// What the daemon was told of registries.
    pub(crate) registries: Vec<RegistryAccess>,
    helpers: CredentialHelpers,
    pod_helpers: PodHelpers,
    /// Those of the daemon's service account.
    annotations: BTreeMap<String, String>,
    /// What the build has to do with, the image first. Where a secret has credentials for parts of a registry,
    /// and the daemon names its host only, these say which part is meant.
    pub(crate) images: Vec<ImageReference>,
    /// What was warned of.
    told: Mutex<BTreeSet<String>>,
}

impl PullSecretLogins {
    pub(crate) fn new(
        cluster: &Cluster,
        settings: &Settings,
        daemon: &DaemonPod,
        events: &EventSink,
        job: &BuildJob,
        wanted: &DockerfileBuild,
    ) -> Self {
        let mut images = vec![job.push_to.clone()];
        images.extend(job.context.dockerfile().base_images());
        let caches = wanted.cache_imports.iter().filter_map(|cache| cache.attributes.get("ref"));
        let contexts = wanted.contexts.values().filter_map(|context| match context {
            client::NamedContext::Image(image) => Some(image),
            _ => None,
        });
        images.extend(caches.chain(contexts).filter_map(|name| name.parse().ok()));
        Self {
            cluster: cluster.clone(),
            events: events.clone(),
            secrets: settings.pull_secrets.clone(),
            registries: settings.daemon.registries.clone(),
            helpers: CredentialHelpers::new(),
            pod_helpers: PodHelpers::new(cluster, &settings.daemon.namespace.name, daemon),
            annotations: settings.daemon.options.service_account_annotations.clone(),
            images,
            told: Mutex::default(),
        }
    }

    /// Finds a login for the first of `repositories` at `host` that has one.
    pub(crate) async fn find(&self, host: &str, repositories: &[&str]) -> Result<Option<Known>, String> {
        let credentials = read_pull_secrets(&self.cluster, "imagePullSecrets", &self.secrets).await;
        let credentials = credentials.map_err(|error| error.to_string())?;
        let credentials = credentials.with_helpers(self.helpers.clone());
        let mut unanswered: Vec<(HelperQuestion, HelperProblem)> = Vec::new();
        for repository in repositories {
            let found = credentials.login(host, repository).await;
            if let Some(login) = found.login {
                let from_helper = matches!(found.identity, Identity::HelperLogin { .. });
                return Ok(Some(Known { login, from_helper }));
            }
            for (question, problem) in found.unanswered {
                if unanswered.iter().all(|(other, _)| *other != question) {
                    unanswered.push((question, problem));
                }
            }
        }
        for (question, here) in unanswered {
            match self.pod_helpers.ask(&question).await {
                Ok(login) => return Ok(Some(Known { login, from_helper: true })),
                Err(there) => match verdict(&question, &here, &there) {
                    Verdict::Anonymous => {}
                    Verdict::Warn(message) => self.warn(message),
                    Verdict::Fail(message) => return Err(message),
                },
            }
        }
        Ok(self.of_cloud(host).await)
    }

    /// Finds the login that the pod's identity in a cloud gives.
    async fn of_cloud(&self, host: &str) -> Option<Known> {
        let question = cloud_identity::question(&self.annotations, host)?;
        match self.pod_helpers.ask(&question).await {
            Ok(login) => return Some(Known { login, from_helper: true }),
            Err(HelperProblem::NoLogin) => {}
            Err(HelperProblem::NotInstalled) => self.warn(format!(
                "the identity by {} is of no use for {host}, as the daemon's image has no `{}`; set \
                 `clusterBuildkit.image` to one that has it",
                question.origin,
                question.helper.program()
            )),
            Err(problem) => self.warn(format!(
                "the identity by {} could not be used for {host}: `{}` in the daemon's pod {problem}",
                question.origin,
                question.helper.program()
            )),
        }
        None
    }

    /// Has helpers asked anew: what one gave was refused, as it may have ended.
    pub(crate) async fn forget_answers(&self) {
        tokio::join!(self.helpers.forget_all(), self.pod_helpers.forget());
    }

    fn warn(&self, message: String) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone()) {
            self.events.warn(message, None);
        }
    }
}

/// What to log in with.
pub(crate) struct Known {
    pub(crate) login: Login,
    /// Whether a credential helper gave it: it may end soon.
    pub(crate) from_helper: bool,
}

/// What it means that a helper has a login neither here nor in the daemon's pod.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Anonymous,
    Warn(String),
    Fail(String),
}

/// A helper that was named for a host is missed, a store only mentioned: most hosts need no login.
fn verdict(question: &HelperQuestion, here: &HelperProblem, there: &HelperProblem) -> Verdict {
    let HelperQuestion { helper, server, origin, is_store, .. } = question;
    let failed = |problem: &HelperProblem| matches!(problem, HelperProblem::Failed { .. });
    let nowhere = *here == HelperProblem::NotInstalled && *there == HelperProblem::NotInstalled;
    if nowhere && *is_store {
        let (origin, store) = (origin.clone(), helper.to_string());
        return Verdict::Warn(CredentialsWarning::CredentialsStoreDropped { origin, store }.to_string());
    }
    if !nowhere && !failed(here) && !failed(there) {
        return Verdict::Anonymous;
    }
    let there = match there {
        HelperProblem::NotInstalled => "is not installed in the daemon's image either".to_owned(),
        problem => format!("in the daemon's pod {problem}"),
    };
    let message = format!(
        "{origin} leaves {server} to the credential helper `{helper}`, which {here}, and {there}; install \
         `docker-credential-{helper}` here, set `clusterBuildkit.image` to an image that has it, or give the secret a \
         user and a password"
    );
    if *is_store { Verdict::Warn(message) } else { Verdict::Fail(message) }
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

impl client::RegistryLogins for PullSecretLogins {
    fn login<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Option<client::Login>, String>> {
        Box::pin(async move {
            let known = self.find(host, &repositories(host, &self.images)).await?;
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

/// Returns the repositories at `host` that a build has to do with, and at last the whole registry.
pub fn repositories<'a>(host: &str, images: &'a [ImageReference]) -> Vec<&'a str> {
    let at_host = images.iter().filter(|image| is_registry(image.registry(), host));
    at_host.map(ImageReference::repository).chain([""]).collect()
}

/// The daemon calls Docker Hub by the name of its server. Source: `BuildKit`, `util/resolver/authorizer.go`.
pub(crate) fn is_registry(registry: &str, host: &str) -> bool {
    registry == host || (registry == "docker.io" && host == "registry-1.docker.io")
}

#[cfg(test)]
mod tests {
    use garden_registry::Credentials;

    use super::*;

    /// The question that a secret's configuration leads to for `r.example`.
    async fn question(config: &[u8]) -> HelperQuestion {
        let credentials = Credentials::from_docker_config_json(config, "Secret a/b").expect("valid");
        let none: [&str; 0] = [];
        let credentials = credentials.with_helpers(CredentialHelpers::in_directories(none));
        credentials.login("r.example", "a").await.unanswered.swap_remove(0).0
    }

    #[tokio::test]
    async fn a_helper_is_missed_where_it_was_named_and_a_store_only_mentioned() {
        let helper = question(br#"{"credHelpers":{"r.example":"ecr-login"}}"#).await;
        let store = question(br#"{"credsStore":"ecr-login"}"#).await;
        let failed = || HelperProblem::Failed { reason: "no route".to_owned() };
        let (missing, no_login) = (HelperProblem::NotInstalled, HelperProblem::NoLogin);
        for (here, there, named, as_store) in [
            (missing.clone(), missing.clone(), "installed in the daemon's image either", "is ignored"),
            (missing.clone(), no_login.clone(), "", ""),
            (no_login.clone(), missing.clone(), "", ""),
            (no_login.clone(), no_login.clone(), "", ""),
            (failed(), missing.clone(), "failed: no route", "failed: no route"),
            (missing, failed(), "in the daemon's pod failed: no route", "in the daemon's pod failed"),
        ] {
            let judged = verdict(&helper, &here, &there);
            match &judged {
                Verdict::Anonymous => assert_eq!(named, ""),
                Verdict::Fail(message) => assert!(message.contains(named) && !named.is_empty(), "{message}"),
                Verdict::Warn(_) => panic!("{judged:?}"),
            }
            let judged = verdict(&store, &here, &there);
            match &judged {
                Verdict::Anonymous => assert_eq!(as_store, ""),
                Verdict::Warn(message) => {
                    assert!(message.contains(as_store) && !as_store.is_empty(), "{message}");
                }
                Verdict::Fail(_) => panic!("{judged:?}"),
            }
        }
    }

    #[test]
    fn the_image_s_own_repository_is_looked_up_before_those_of_base_images() {
        let image = |text: &str| text.parse::<ImageReference>().expect("a reference");
        let images = [image("r.example/team/api:1"), image("busybox:1"), image("r.example/base/os:2")];
        assert_eq!(repositories("r.example", &images), ["team/api", "base/os", ""]);
        assert_eq!(repositories("registry-1.docker.io", &images), ["library/busybox", ""]);
        assert_eq!(repositories("other.example", &images), [""]);
    }
}
