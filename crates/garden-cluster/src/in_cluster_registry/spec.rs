//! The registry's objects, as functions from typed settings to Kubernetes objects.

use std::collections::BTreeMap;
use std::iter;

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
use secrecy::{ExposeSecret as _, SecretString};

use super::{InClusterRegistry, RegistrySettings};
use crate::service::{CONFIGURATION, pod_of, pod_template, service_deployment, service_labels, volume_claim};

mod pod;

pub(super) use pod::{STATE_DIRECTORY, as_ordinary_user, forward};

const NAME: &str = InClusterRegistry::NAME;
const PROXY: &str = InClusterRegistry::PROXY;

/// The key in the Secret [`NAME`]: what the registry signs the state of uploads with. Another one would break those under way.
const HTTP_SECRET: &str = "http-secret";

/// The annotation of its pod that says which password it asks for.
const LOGIN: &str = "garden-build/registry-login";

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

/// The key in the Secret [`InClusterRegistry::LOGIN`], besides those of its type: the file with the password's hash that the registry reads.
pub(super) const HTPASSWD: &str = "htpasswd";

/// The keys of a Secret of the type `kubernetes.io/basic-auth`. Source: Kubernetes, "Secrets", section "Basic authentication Secret".
pub(super) const USERNAME: &str = "username";
pub(super) const PASSWORD: &str = "password";

/// Returns the Secret with the login for pushes, `htpasswd` being what the registry reads of it.
pub(super) fn login(
    settings: &RegistrySettings,
    username: &str,
    password: &SecretString,
    htpasswd: String,
) -> Secret {
    let data = [
        (USERNAME, username.to_owned()),
        (PASSWORD, password.expose_secret().to_owned()),
        (HTPASSWD, htpasswd),
    ];
    Secret {
        metadata: metadata(InClusterRegistry::LOGIN, settings),
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        string_data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        ..Secret::default()
    }
}

pub(super) fn claim(settings: &RegistrySettings) -> PersistentVolumeClaim {
    let size = Quantity(settings.storage.size_quantity());
    volume_claim(metadata(NAME, settings), size, settings.storage.storage_class.clone())
}

pub(super) fn service(settings: &RegistrySettings) -> Service {
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(number))),
        ..ServicePort::default()
    };
    let pushes = settings.password_for_pushes.then(|| port("pushes", InClusterRegistry::PUSH_PORT));
    Service {
        metadata: metadata(NAME, settings),
        spec: Some(ServiceSpec {
            selector: Some(service_labels(NAME)),
            ports: Some(iter::once(port("registry", InClusterRegistry::PORT)).chain(pushes).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// `htpasswd` is what it reads of the [`login`], if it has one: with another, it begins anew.
pub(super) fn deployment(settings: &RegistrySettings, htpasswd: Option<&[u8]>) -> Deployment {
    let configuration = Digest::of(serde_json::json!(config_map(settings).data).to_string().as_bytes()).hex();
    let login = htpasswd.map(|htpasswd| (LOGIN.to_owned(), Digest::of(htpasswd).hex()));
    let read = iter::once((CONFIGURATION.to_owned(), configuration)).chain(login).collect();
    service_deployment(NAME, metadata(NAME, settings), read, pod::registry(settings))
}

/// Whether the registry of `live` asks for a password.
pub(super) fn wants_login(live: &Deployment) -> bool {
    let containers = pod_of(live).map(|pod| pod.containers.as_slice()).unwrap_or_default();
    containers.iter().any(|container| container.name == InClusterRegistry::READER_CONTAINER)
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

pub(super) fn metadata(name: &str, settings: &RegistrySettings) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(service_labels(name)),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
