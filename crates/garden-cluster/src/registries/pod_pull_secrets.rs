//! The Secrets with which nodes pull the images of our own pods, brought to where the pods are.
//!
//! A node pulls with the Secrets that the pod names. They have to be in the pod's namespace, and of a type that is for registries; of what they
//! hold, the node takes users and passwords. Sources: Kubernetes 1.34, `pkg/credentialprovider/secrets/secrets.go` and
//! `pkg/credentialprovider/config.go`. A pod that names none has those of its service account
//! (`plugin/pkg/admission/serviceaccount/admission.go`), so one that is of no use is not named.
//!
//! Why: docs/decisions/60-nodes-get-the-secrets-an-image-needs.md

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use garden_build_core::{Error, EventSink, Hint, ImageReference, PlannedObject, Result, WarningCode};
use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec, Secret};

use super::RegistryCredentials;
use super::ensure_pull_secrets::{SecretCopy, copy, copy_of, distinct};
use super::pull_secrets::{DOCKER_CONFIG_JSON, PullSecret};
use crate::api::{Cluster, ClusterError};
use crate::diagnosis::Cause;

/// The types of the Secrets that nodes pull with: the one that is made today, and the older one.
const TYPES: [&str; 2] = ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];

/// The Secrets that a pod of ours names, so that its node can pull its images.
#[derive(Debug, Default)]
pub struct PodPullSecrets {
    images: Vec<String>,
    names: BTreeSet<String>,
    /// Whether a copy was made or brought up to date.
    changed: bool,
    failure: Option<Failure>,
}

/// Why something is missing or out of date, and what to do about it.
#[derive(Debug)]
struct Failure {
    message: String,
    hint: Option<Hint>,
}

impl RegistryCredentials {
    /// Makes sure that nodes can pull `images` for a pod in `namespace`, which exists. Of the Secrets, those that have a password for one of the
    /// images are copied there, as [`ensure_pull_secrets`](crate::ensure_pull_secrets) does it. A copy that is up to date costs one request.
    /// Nothing is asked where no Secret has such a password, or all that have one are in the namespace.
    ///
    /// Does not fail, since the image may be public, or on the node already: what could not be done is in the answer, for
    /// [`warn`](PodPullSecrets::warn) and [`explain`](PodPullSecrets::explain).
    pub async fn bring_to(&self, namespace: &str, images: &[&str]) -> PodPullSecrets {
        let (cluster, field, _) = self.named();
        let mut brought = PodPullSecrets {
            images: images.iter().map(|&image| image.to_owned()).collect(),
            ..PodPullSecrets::default()
        };
        let secrets = match self.reading().await {
            Ok(reading) => reading.secrets,
            Err(error) => {
                brought.fail(namespace, &error, None);
                return brought;
            }
        };
        let (usable, unusable): (Vec<_>, Vec<_>) =
            needed(&secrets, images, namespace).into_iter().partition(|secret| has_usable_type(secret));
        brought.names = usable.iter().map(|secret| secret.reference.name.clone()).collect();
        let (wanted, mut failures) = distinct(field, usable, |secret| &secret.reference, namespace);
        failures.extend(unusable.into_iter().map(|secret| of_another_type(field, secret)));
        let copying = wanted.into_iter().map(|secret| bring_one(cluster, field, secret, namespace));
        for outcome in join_all(copying).await {
            match outcome {
                Ok(copy) => brought.changed |= matches!(copy, SecretCopy::Created | SecretCopy::Updated),
                Err(failure) => failures.push(failure),
            }
        }
        if let Some(failure) = ClusterError::all(failures) {
            brought.fail(namespace, &failure.into(), Some(field));
        }
        brought
    }

    /// Returns what a plan shows of that, which asks nobody: the names of all Secrets, and a copy of each that is in another
    /// namespace.
    ///
    /// # Errors
    /// If a copy cannot be shown.
    pub fn plan_for(
        &self,
        namespace: &str,
        images: &[&str],
    ) -> Result<(BTreeSet<String>, Vec<PlannedObject>)> {
        let (_, field, secrets) = self.named();
        let (wanted, _) = distinct(field, secrets, |secret| secret, namespace);
        let elsewhere = wanted.into_iter().filter(|secret| secret.namespace != namespace);
        let copies = elsewhere.map(|reference| {
            let source = Secret { type_: Some(TYPES[0].to_owned()), ..Secret::default() };
            let redacted = BTreeMap::from([(DOCKER_CONFIG_JSON.to_owned(), "<redacted>".to_owned())]);
            let copy = Secret { string_data: Some(redacted), ..copy_of(source, reference, namespace) };
            let (name, from, images) = (&reference.name, &reference.namespace, images.join(" and "));
            let description = format!(
                "Secret {namespace}/{name}, a copy of Secret {from}/{name}, if that has a password for {images}"
            );
            PlannedObject::of(description, &copy)
        });
        let names = secrets.iter().map(|secret| secret.name.clone()).collect();
        Ok((names, copies.collect::<Result<_>>()?))
    }
}

impl PodPullSecrets {
    /// Returns the names that the template of the pod is to have: its own, and those in the template `live`, in whose place it comes, if that runs
    /// one of the images. Somebody else may know what it needs; and clients that name different Secrets do not replace the pod in turn.
    pub fn names_beside(&self, live: Option<&PodSpec>) -> BTreeSet<String> {
        let mut names = self.names.clone();
        let runs = |live: &PodSpec, image: &String| {
            live.containers.iter().any(|container| container.image.as_ref() == Some(image))
        };
        if let Some(live) = live.filter(|live| self.images.iter().any(|image| runs(live, image))) {
            names.extend(live.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()));
        }
        names
    }

    /// Whether the pods of the template `live` name all that is needed.
    pub fn are_named_by(&self, live: &PodSpec) -> bool {
        let named = live.image_pull_secrets.as_deref().unwrap_or_default();
        self.names.iter().all(|name| named.iter().any(|secret| secret.name == *name))
    }

    /// Whether there is now what a node did not have before.
    pub fn have_changed(&self) -> bool {
        self.changed
    }

    /// Warns if something is missing or out of date. It matters only if the pod has to be started.
    pub fn warn(&self, events: &EventSink) {
        if let Some(Failure { message, hint }) = &self.failure {
            events.warn(
                WarningCode::PullSecretsIncomplete,
                message.clone(),
                hint.as_ref().map(Hint::to_string),
            );
        }
    }

    /// Adds to an `error` that is about an image which cannot be pulled what is missing or out of date.
    pub fn explain(&self, error: ClusterError) -> ClusterError {
        match (error, &self.failure) {
            (ClusterError::Pod(mut diagnosis), Some(failure)) if diagnosis.cause == Cause::ImagePull => {
                diagnosis.message = format!("{}; {}", diagnosis.message, failure.message);
                diagnosis.hint = failure.hint.clone().or(diagnosis.hint);
                ClusterError::Pod(diagnosis)
            }
            (error, _) => error,
        }
    }

    /// Takes note of a failure; one of copying is about Secrets that the option `field` names.
    fn fail(&mut self, namespace: &str, error: &Error, field: Option<&str>) {
        let images = self.images.join(" and ");
        let message = format!(
            "a Secret with which nodes pull {images} is not in Namespace {namespace}, or out of date: {}",
            error.message()
        );
        let or_by_hand = |field| {
            format!(
                "or create a Secret with this password in Namespace {namespace}, and name that in `{field}`"
            )
        };
        let hint = error.hint_data().cloned();
        let hint = match (hint, field) {
            (Some(hint), Some(field)) => {
                let text = format!("{hint}; {}", or_by_hand(field));
                Some(hint.with_text(text).with_option(field))
            }
            (hint, _) => hint,
        };
        tracing::debug!(%error, namespace, "a Secret for nodes is missing or out of date");
        self.failure = Some(Failure { message, hint });
    }
}

/// Returns the references of a pod to the Secrets with these names.
pub fn pull_secret_references(names: &BTreeSet<String>) -> Vec<LocalObjectReference> {
    names.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
}

/// Returns those of `secrets` that have a password for one of `images`, first those that are in `namespace` already: copies make way for them.
fn needed<'a>(secrets: &'a [PullSecret], images: &[&str], namespace: &str) -> Vec<&'a PullSecret> {
    // If this is not the name of an image, the node reports it.
    let images: Vec<ImageReference> = images.iter().filter_map(|image| image.parse().ok()).collect();
    let is_for_one = |secret: &&PullSecret| {
        images.iter().any(|image| secret.credentials.have_password(image.registry(), image.repository()))
    };
    let mut needed: Vec<_> = secrets.iter().filter(is_for_one).collect();
    needed.sort_by_key(|secret| secret.reference.namespace != namespace);
    needed
}

fn has_usable_type(secret: &PullSecret) -> bool {
    secret.object.type_.as_deref().is_some_and(|kind| TYPES.contains(&kind))
}

fn of_another_type(field: &str, secret: &PullSecret) -> ClusterError {
    let (namespace, name) = (&secret.reference.namespace, &secret.reference.name);
    let reason = format!(
        "Secret {namespace}/{name} is of the type `{}`, with which nodes do not pull; it has to be `{}`, as \
         `kubectl create secret docker-registry` makes it",
        secret.object.type_.as_deref().unwrap_or_default(),
        TYPES[0]
    );
    ClusterError::PullSecret { field: field.to_owned(), reason }
}

async fn bring_one(
    cluster: &Cluster,
    field: &str,
    secret: &PullSecret,
    namespace: &str,
) -> Result<SecretCopy, ClusterError> {
    let PullSecret { reference, object, .. } = secret;
    if reference.namespace == namespace {
        return Ok(SecretCopy::NotNeeded);
    }
    copy(cluster, field, object.clone(), reference, namespace).await
}

#[cfg(test)]
mod tests;
