//! Who builder pods are.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::ownership::{MANAGED_BY_LABEL, MANAGER};

/// The name of the service account of builder pods, which is Garden's (since 0.13.20).
pub const BUILDER_SERVICE_ACCOUNT: &str = "garden-in-cluster-builder";

/// Returns the service account of builder pods in `namespace`: one with these annotations, by which clouds give
/// pods an identity (`eks.amazonaws.com/role-arn`, `iam.gke.io/gcp-service-account`). Without annotations there
/// is none, and pods have that of their namespace.
///
/// It stays when builds have ended: the cloud knows it by its name.
pub fn builder_service_account(
    namespace: &str,
    annotations: &BTreeMap<String, String>,
) -> Option<ServiceAccount> {
    builder_service_account_name(annotations).map(|name| ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())])),
            annotations: Some(annotations.clone()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    })
}

/// Returns the name of that service account, if there is one.
pub fn builder_service_account_name(annotations: &BTreeMap<String, String>) -> Option<String> {
    (!annotations.is_empty()).then(|| BUILDER_SERVICE_ACCOUNT.to_owned())
}
