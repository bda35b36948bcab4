//! Copies registry secrets to the namespace whose workloads pull with them.

use std::collections::BTreeMap;
use std::fmt;

use futures::future::join_all;
use garden_config::SecretRef;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};

use crate::api::answer;
use crate::api::{Cluster, ClusterError};
use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::registries::pull_secrets::existing;

/// The annotation that says of which Secret one of ours is the copy: its namespace and name.
const COPIED_FROM: &str = "garden-build/copied-from";

/// How often a copy is begun that somebody else changes at the same time.
const TRIES: usize = 3;

/// What was done for one registry secret.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EnsuredSecret {
    /// The Secret that it is about.
    pub source: SecretRef,
    /// What became of its copy, which has the same name.
    pub copy: SecretCopy,
}

/// What became of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SecretCopy {
    /// It was made.
    Created,
    /// It was brought up to date.
    Updated,
    /// It was up to date: nothing was written.
    Unchanged,
    /// None is needed: the Secret itself is in the namespace.
    NotNeeded,
}

impl fmt::Display for SecretCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::NotNeeded => "not needed",
        })
    }
}

/// Makes sure that `namespace` has copies of `secrets`, which the option `field` names, and that they are up to date. Pods there then pull with
/// them: name them in the pods' own list of such Secrets, or in that of their service account.
///
/// Reads first, and writes only what differs. A Secret of the same name that is not a copy of ours stays as it is.
///
/// # Errors
/// If a Secret does not exist, may not be read or written, or its name is taken. The others are copied all the
/// same.
pub async fn ensure_pull_secrets(
    cluster: &Cluster,
    field: &str,
    secrets: &[SecretRef],
    namespace: &str,
) -> Result<Vec<EnsuredSecret>, ClusterError> {
    let (wanted, mut failures) = distinct(field, secrets, |secret| secret, namespace);
    let mut ensured = Vec::new();
    let ensuring = wanted.into_iter().map(|secret| ensure_one(cluster, field, secret, namespace));
    for outcome in join_all(ensuring).await {
        match outcome {
            Ok(secret) => ensured.push(secret),
            Err(failure) => failures.push(failure),
        }
    }
    match ClusterError::all(failures) {
        None => Ok(ensured),
        Some(error) => Err(error),
    }
}

/// Leaves out of `secrets` what is the same Secret as one before it. One of the same name in another namespace, of which there can be no copy
/// besides, is a failure.
pub(super) fn distinct<'a, T>(
    field: &str,
    secrets: impl IntoIterator<Item = &'a T>,
    reference: impl Fn(&T) -> &SecretRef,
    namespace: &str,
) -> (Vec<&'a T>, Vec<ClusterError>) {
    let mut by_name: BTreeMap<&str, &SecretRef> = BTreeMap::new();
    let (mut wanted, mut failures) = (Vec::new(), Vec::new());
    for secret in secrets {
        let named = reference(secret);
        match by_name.get(named.name.as_str()) {
            None => {
                by_name.insert(&named.name, named);
                wanted.push(secret);
            }
            Some(other) if *other == named => {}
            Some(other) => failures.push(namesakes(field, other, named, namespace)),
        }
    }
    (wanted, failures)
}

async fn ensure_one(
    cluster: &Cluster,
    field: &str,
    reference: &SecretRef,
    namespace: &str,
) -> Result<EnsuredSecret, ClusterError> {
    let copy = if reference.namespace == namespace {
        SecretCopy::NotNeeded
    } else {
        let source = existing(cluster, field, reference).await?;
        copy(cluster, field, source, reference, namespace).await?
    };
    Ok(EnsuredSecret { source: reference.clone(), copy })
}

/// Makes sure that `namespace` has a copy of `source`, which is the Secret called `reference` as it was read.
///
/// # Errors
/// If the copy may not be read or written, or its name is taken.
pub(super) async fn copy(
    cluster: &Cluster,
    field: &str,
    source: Secret,
    reference: &SecretRef,
    namespace: &str,
) -> Result<SecretCopy, ClusterError> {
    bring_in_line(cluster, field, &copy_of(source, reference, namespace)).await
}

/// Brings the cluster's copy in line with `wanted`. Every write depends on what was read, so that nothing is
/// overwritten which came to be there in between.
async fn bring_in_line(cluster: &Cluster, field: &str, wanted: &Secret) -> Result<SecretCopy, ClusterError> {
    let (namespace, name) = names(&wanted.metadata);
    let api = cluster.api::<Secret>(namespace);
    let mut tries = 1;
    loop {
        let current = cluster.get::<Secret>(namespace, name).await?;
        let written = match step(wanted, current) {
            Step::Nothing => return Ok(SecretCopy::Unchanged),
            Step::Refuse => return Err(taken(field, wanted)),
            Step::Create => cluster.create(wanted).await.map(|created| created.map(|_| SecretCopy::Created)),
            Step::Replace(changed) => {
                let action = format!("update Secret {namespace}/{name}");
                let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
                let replaced = answer(&action, api.replace(name, &parameters, &changed)).await;
                replaced.map(|_| Some(SecretCopy::Updated))
            }
            Step::Recreate(preconditions) => {
                let action = format!("delete Secret {namespace}/{name}");
                let parameters = DeleteParams::default().preconditions(preconditions);
                match answer(&action, api.delete(name, &parameters)).await {
                    Ok(_) => cluster.create(wanted).await.map(|created| created.map(|_| SecretCopy::Updated)),
                    Err(error) => Err(error),
                }
            }
        };
        match written {
            Ok(Some(copy)) => return Ok(copy),
            Ok(None) if tries < TRIES => {}
            // 409: changed since it was read. 404: deleted since.
            Err(error) if tries < TRIES && matches!(error.code(), Some(404 | 409)) => {}
            Ok(None) => return Err(taken(field, wanted)),
            Err(error) => return Err(error),
        }
        tries += 1;
    }
}

/// What a copy needs.
#[derive(Debug)]
enum Step {
    Nothing,
    Create,
    Replace(Box<Secret>),
    /// The type of a Secret cannot be changed.
    Recreate(Preconditions),
    /// It is not ours.
    Refuse,
}

fn step(wanted: &Secret, current: Option<Secret>) -> Step {
    let Some(mut current) = current else { return Step::Create };
    let metadata = &wanted.metadata;
    let source = |metadata: &ObjectMeta| metadata.annotations.as_ref()?.get(COPIED_FROM).cloned();
    let manager = current.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    let Some(copied_from) = source(&current.metadata).filter(|_| manager.is_some_and(|name| name == MANAGER))
    else {
        return Step::Refuse;
    };
    if current.type_ != wanted.type_ {
        let (uid, resource_version) = (current.metadata.uid, current.metadata.resource_version);
        return Step::Recreate(Preconditions { uid, resource_version });
    }
    if current.data == wanted.data && Some(copied_from) == source(metadata) {
        return Step::Nothing;
    }
    current.data.clone_from(&wanted.data);
    let annotations = current.metadata.annotations.get_or_insert_default();
    annotations.extend(metadata.annotations.clone().unwrap_or_default());
    Step::Replace(Box::new(current))
}

/// Returns the copy of `source` in `namespace`: its type and its data, and what marks it as ours.
pub(super) fn copy_of(source: Secret, reference: &SecretRef, namespace: &str) -> Secret {
    let copied_from = format!("{}/{}", reference.namespace, reference.name);
    Secret {
        metadata: ObjectMeta {
            name: Some(reference.name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())])),
            annotations: Some(BTreeMap::from([(COPIED_FROM.to_owned(), copied_from)])),
            ..ObjectMeta::default()
        },
        type_: source.type_,
        data: source.data,
        ..Secret::default()
    }
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn taken(field: &str, wanted: &Secret) -> ClusterError {
    let (namespace, name) = names(&wanted.metadata);
    let annotations = wanted.metadata.annotations.as_ref();
    let source = annotations.and_then(|annotations| annotations.get(COPIED_FROM));
    let source = source.map_or("", String::as_str);
    let reason = format!(
        "Secret {namespace}/{name} was not copied by {MANAGER}, so Secret {source} does not replace it; \
         delete it, or give Secret {source} another name"
    );
    ClusterError::PullSecret { field: field.to_owned(), reason }
}

fn namesakes(field: &str, first: &SecretRef, second: &SecretRef, namespace: &str) -> ClusterError {
    let reason = format!(
        "Secret {}/{} is not copied to {namespace}, as Secret {}/{} has the same name; give it another",
        second.namespace, second.name, first.namespace, first.name
    );
    ClusterError::PullSecret { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests;
