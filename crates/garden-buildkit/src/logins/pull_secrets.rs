//! Finds logins: in Secrets, with credential helpers here and in the daemon's pod, and by the pod's identity in a cloud.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use garden_build_core::{BuildJob, EventSink, WarningCode};
use garden_cluster::{Cluster, ClusterDialer, DaemonPod, ImageSources, RegistryCredentials};
use garden_registry::{
    CredentialHelpers, Credentials, CredentialsWarning, HelperCache, HelperProblem, HelperQuestion, Identity,
    Login, RegistryClient, RegistryError,
};

use super::cloud_identity;
use super::images::BuildImages;
use super::pod_helpers::PodHelpers;
use crate::client::DockerfileBuild;
use crate::settings::Settings;
use crate::spec::RegistryAccess;

/// How long a registry may take to answer. The daemon waits 30 seconds for us.
const PATIENCE: Duration = Duration::from_secs(8);

/// Answers the daemon from the `imagePullSecrets`, and from the credential helpers that they name: a secret that was renewed
/// during a long build counts when it pushes.
#[derive(Debug)]
pub(crate) struct PullSecretLogins {
    cluster: Cluster,
    events: EventSink,
    credentials: RegistryCredentials,
    /// What the daemon's configuration says about registries.
    registries: Vec<RegistryAccess>,
    helpers: CredentialHelpers,
    pod_helpers: HelperCache<PodHelpers>,
    /// Those of the daemon's service account.
    annotations: BTreeMap<String, String>,
    /// What the build has to do with, the image first. Where a secret has credentials for parts of a registry,
    /// and the daemon names its host only, these say which part is meant.
    images: BuildImages,
    /// What was warned of.
    told: Mutex<BTreeSet<String>>,
}

impl PullSecretLogins {
    pub(crate) fn new(
        cluster: &Cluster,
        settings: &Settings,
        credentials: &RegistryCredentials,
        daemon: &DaemonPod,
        events: &EventSink,
        job: &BuildJob,
        wanted: &DockerfileBuild,
    ) -> Self {
        let registries = settings.daemon.registries.clone();
        let images = BuildImages::of(job, wanted).and_mirrors(&ImageSources::new(registries.clone()));
        Self {
            cluster: cluster.clone(),
            events: events.clone(),
            credentials: credentials.clone(),
            registries,
            helpers: CredentialHelpers::new(),
            pod_helpers: HelperCache::new(PodHelpers::new(cluster, &settings.daemon.namespace.name, daemon)),
            annotations: settings.daemon.options.service_account_annotations.clone(),
            images,
            told: Mutex::default(),
        }
    }

    /// Finds a login for the first of `repositories` at `host` that has one.
    pub(super) async fn find(&self, host: &str, repositories: &[&str]) -> Result<Option<Known>, String> {
        let credentials =
            self.credentials.read_for_builder().await.map_err(|error| error.message().to_owned())?;
        let credentials = Credentials::clone(&credentials).with_helpers(self.helpers.clone());
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
            match self.pod_helpers.ask(&question.helper, &question.server).await {
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
        match self.pod_helpers.ask(&question.helper, &question.server).await {
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
    pub(super) async fn forget_answers(&self) {
        tokio::join!(self.helpers.forget_all(), self.pod_helpers.forget_all());
    }

    /// Returns the images that the build has to do with. The daemon gets no login for any other registry.
    pub(super) fn images(&self) -> &BuildImages {
        &self.images
    }

    /// Returns a client of the registry at `host`, as the daemon reaches it, which logs in with `login`.
    pub(super) fn client(&self, host: &str, login: Option<Login>) -> Result<RegistryClient, RegistryError> {
        let access = self.registries.iter().find(|access| access.host == host);
        let mut client = RegistryClient::builder(host)
            .insecure(access.is_some_and(|access| access.insecure))
            .dialer(Arc::new(ClusterDialer::new(self.cluster.clone())))
            .timeout(PATIENCE);
        if let Some(pem) = access.and_then(|access| access.certificate_authority.as_deref()) {
            client = client.ca_certificates(pem.as_bytes());
        }
        // The host is one that the daemon speaks with, so it is a key.
        let credentials =
            login.and_then(|login| Credentials::with_login(host, login, "imagePullSecrets").ok());
        client.credentials(credentials.unwrap_or_default()).build()
    }

    fn warn(&self, message: String) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone()) {
            self.events.warn(WarningCode::CredentialsUnusable, message, None);
        }
    }
}

/// What to log in with.
pub(super) struct Known {
    pub(super) login: Login,
    /// Whether a credential helper gave it: it may end soon.
    pub(super) from_helper: bool,
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
    let nowhere = matches!(here, HelperProblem::NotInstalled | HelperProblem::NotAllowed)
        && *there == HelperProblem::NotInstalled;
    if nowhere && *is_store {
        let (origin, helper) = (origin.clone(), helper.to_string());
        let warning = match here {
            HelperProblem::NotAllowed => CredentialsWarning::HelperNotAllowed { origin, helper },
            _ => CredentialsWarning::CredentialsStoreDropped { origin, store: helper },
        };
        return Verdict::Warn(warning.to_string());
    }
    if !nowhere && !failed(here) && !failed(there) {
        return Verdict::Anonymous;
    }
    let there = match there {
        HelperProblem::NotInstalled => "is not installed in the daemon's image either".to_owned(),
        problem => format!("in the daemon's pod {problem}"),
    };
    let remedy = match here {
        HelperProblem::NotAllowed => {
            format!("have the program that builds allow it for {server} (`credentialHelpersFor`)")
        }
        _ => format!("install `docker-credential-{helper}` here"),
    };
    let message = format!(
        "{origin} leaves {server} to the credential helper `{helper}`, which {here}, and {there}; {remedy}, set \
         `clusterBuildkit.image` to an image that has it, or give the secret a user and a password"
    );
    if *is_store { Verdict::Warn(message) } else { Verdict::Fail(message) }
}

#[cfg(test)]
mod tests {
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
            (
                HelperProblem::NotAllowed,
                missing.clone(),
                "have the program that builds allow it for",
                "is not run on this machine",
            ),
            (HelperProblem::NotAllowed, no_login.clone(), "", ""),
            (
                HelperProblem::NotAllowed,
                failed(),
                "in the daemon's pod failed: no route",
                "in the daemon's pod failed",
            ),
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
}
