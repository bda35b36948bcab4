//! The objects of a service, as far as all services have them in common.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::service::annotation;

/// On a Deployment of ours and its pods: which configuration they were made from.
pub const CONFIGURATION: &str = "garden-build/configuration";

/// Returns the configuration that an object was made from; nothing if it does not say.
pub fn configuration(metadata: &ObjectMeta) -> &str {
    annotation(metadata, CONFIGURATION)
}

/// Returns the pod that a Deployment makes.
pub fn pod_of(deployment: &Deployment) -> Option<&PodSpec> {
    // Optional in some versions of the Kubernetes API only.
    let spec: Option<&DeploymentSpec> = (&deployment.spec).into();
    spec?.template.spec.as_ref()
}

/// Returns the labels of what belongs to our Deployment or `DaemonSet` called `name`, by which its pods are chosen. They are no
/// marks of a build: no sweep after dead builds takes it for a leftover.
pub fn service_labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), name.to_owned()), (MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())])
}

/// Returns the label selector of the pods of our Deployment or `DaemonSet` called `name`.
pub fn service_selector(name: &str) -> String {
    format!("app={name},{MANAGED_BY_LABEL}={MANAGER}")
}

/// Returns the template of the pods of our Deployment or `DaemonSet` called `name`.
pub(crate) fn pod_template(
    name: &str,
    annotations: BTreeMap<String, String>,
    pod: PodSpec,
) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(service_labels(name)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    }
}

/// Returns the Deployment called `name` of a service that is one `pod` with these annotations. Never two: what it keeps is on a
/// volume that one pod can use, and it takes itself for the only one.
#[allow(clippy::useless_conversion, reason = "not useless in every version of the Kubernetes API")]
pub fn service_deployment(
    name: &str,
    metadata: ObjectMeta,
    annotations: BTreeMap<String, String>,
    pod: PodSpec,
) -> Deployment {
    Deployment {
        metadata,
        // `into`: whether these fields are optional differs between versions of the Kubernetes API.
        spec: DeploymentSpec {
            replicas: Some(1),
            paused: Some(false),
            revision_history_limit: Some(2),
            selector: LabelSelector { match_labels: Some(service_labels(name)), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                ..DeploymentStrategy::default()
            }),
            template: pod_template(name, annotations, pod),
            ..DeploymentSpec::default()
        }
        .into(),
        ..Deployment::default()
    }
}
