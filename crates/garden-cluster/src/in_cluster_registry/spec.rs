//! The registry's objects, as functions from typed settings to Kubernetes objects.

use std::collections::BTreeMap;

use garden_build_core::Digest;
use garden_registry::clean_up::{DeletionList, StorageListing};
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, Deployment, RollingUpdateDaemonSet,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Secret, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{InClusterRegistry, RegistrySettings};
use crate::service::{CONFIGURATION, pod_template, service_deployment, service_labels, volume_claim};

mod pod;

pub(super) use pod::{STATE_DIRECTORY, as_ordinary_user, forward};

const NAME: &str = InClusterRegistry::NAME;
const PROXY: &str = InClusterRegistry::PROXY;

/// The key in the Secret [`NAME`]: what the registry signs the state of uploads with. Another one would break those under way.
const HTTP_SECRET: &str = "http-secret";

/// How many of the nodes may be without a proxy at once while it is replaced; two cannot share the port.
const PROXIES_REPLACED_AT_ONCE: &str = "25%";

/// The registry's configurations, the script that runs it with one of them, and those that this one runs.
pub(super) fn config_map(settings: &RegistrySettings) -> ConfigMap {
    let files = [
        ("config.yml", include_str!("files/config.yml")),
        ("read-only.yml", include_str!("files/read-only.yml")),
        (pod::SUPERVISE, include_str!("files/supervise.sh")),
        ("delete.sh", DeletionList::SCRIPT),
        ("list-storage.sh", StorageListing::SCRIPT),
    ];
    let data = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    ConfigMap { metadata: metadata(NAME, settings), data: Some(BTreeMap::from(data)), ..ConfigMap::default() }
}

/// Returns the Secret that the registry signs with. It is made once and outlives upgrades.
pub(super) fn secret(settings: &RegistrySettings, random: String) -> Secret {
    Secret {
        metadata: metadata(NAME, settings),
        string_data: Some(BTreeMap::from([(HTTP_SECRET.to_owned(), random)])),
        ..Secret::default()
    }
}

pub(super) fn claim(settings: &RegistrySettings) -> PersistentVolumeClaim {
    let size = Quantity(settings.storage.size_quantity());
    volume_claim(metadata(NAME, settings), size, settings.storage.storage_class.clone())
}

pub(super) fn service(settings: &RegistrySettings) -> Service {
    Service {
        metadata: metadata(NAME, settings),
        spec: Some(ServiceSpec {
            selector: Some(service_labels(NAME)),
            ports: Some(vec![ServicePort {
                name: Some("registry".to_owned()),
                port: i32::from(InClusterRegistry::PORT),
                target_port: Some(IntOrString::Int(i32::from(InClusterRegistry::PORT))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn deployment(settings: &RegistrySettings) -> Deployment {
    let configuration = Digest::of(serde_json::json!(config_map(settings).data).to_string().as_bytes()).hex();
    let read = BTreeMap::from([(CONFIGURATION.to_owned(), configuration)]);
    service_deployment(NAME, metadata(NAME, settings), read, pod::registry(settings))
}

#[allow(clippy::useless_conversion, reason = "not useless in every version of the Kubernetes API")]
pub(super) fn daemon_set(settings: &RegistrySettings) -> DaemonSet {
    DaemonSet {
        metadata: metadata(PROXY, settings),
        spec: DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(service_labels(PROXY)), ..LabelSelector::default() },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::String(PROXIES_REPLACED_AT_ONCE.to_owned())),
                    ..RollingUpdateDaemonSet::default()
                }),
            }),
            template: pod_template(PROXY, BTreeMap::new(), pod::proxy(settings)),
            ..DaemonSetSpec::default()
        }
        .into(),
        ..DaemonSet::default()
    }
}

fn metadata(name: &str, settings: &RegistrySettings) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(service_labels(name)),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
