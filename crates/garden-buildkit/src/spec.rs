//! The daemon's objects, as functions from typed settings to Kubernetes objects.

use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Digest;
pub use garden_cluster::RegistryAccess;
use garden_cluster::{
    BuilderProxies, CONFIGURATION, IDLE_AFTER, builder_service_account, service_labels, service_selector,
    volume_claim,
};
use garden_config::{IdleAfter, Namespace, Resources, Toleration};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, PodTemplateSpec, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use crate::daemon_config::{self, Disk};

mod pod;

/// The name of the Deployment, of its label, and of the claim to its volume.
pub const NAME: &str = "garden-buildkit";

/// The name of the daemon's container.
pub const CONTAINER: &str = "buildkitd";

/// On the pods of a daemon that listens: which certificates it has read.
const CERTIFICATES: &str = "garden-build/certificates";

/// On the pods of a daemon with a service account of its own: which annotations that has.
const IDENTITY: &str = "garden-build/service-account";

/// On the pods of a daemon whose proxies have passwords: which ones.
const PROXIES: &str = "garden-build/proxies";

/// The Secret with the addresses of proxies that have passwords.
pub(crate) const PROXY_SECRET: &str = "garden-buildkit-proxies";

/// The port of a daemon that listens, which is the one that `BuildKit` itself suggests.
pub const PORT: u16 = 1234;

/// The Secret with the certificates of a daemon that listens, and those of its clients.
pub const TLS_SECRET: &str = "garden-buildkit-tls";

/// The keys in [`TLS_SECRET`], which are also the daemon's file names. It gets the first three only.
pub(crate) const CA_CERTIFICATE: &str = "ca.crt";
pub(crate) const SERVER_CERTIFICATE: &str = "tls.crt";
pub(crate) const SERVER_KEY: &str = "tls.key";
pub(crate) const CLIENT_CERTIFICATE: &str = "client.crt";
pub(crate) const CLIENT_KEY: &str = "client.key";

/// What the provider's configuration says about the daemon.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace that the daemon runs in.
    pub namespace: Namespace,
    /// The options of the mode.
    pub options: DaemonOptions,
    /// The daemon's resources.
    pub resources: Resources,
    /// For how long the daemon is kept without use. Another time is not another configuration: the daemon stays.
    pub idle_after: IdleAfter,
    /// What the daemon has to know of registries to reach them.
    pub registries: Vec<RegistryAccess>,
    /// The names of the Secrets in its namespace with which nodes pull the daemon's own image. None are known before they are
    /// brought there. Builds take no credentials from them: they get theirs over their session.
    pub pull_secrets: BTreeSet<String>,
    /// The fingerprint of the certificates that a daemon which listens reads when it starts; `None` as
    /// long as they are not known. Others make it another configuration, so that it is replaced.
    pub certificates: Option<String>,
    /// The proxies that the daemon uses.
    pub proxies: BuilderProxies,
    /// Where the daemon sends its spans. Another place is another configuration.
    pub traces_url: Option<String>,
    /// The mark of those addresses of proxies that are in a Secret; `None` if none is, or as long as it is not known. Others make it
    /// another configuration, too.
    pub proxy_secret: Option<String>,
    /// Whether a `NetworkPolicy` says who may connect to the daemon's pods.
    pub network_policies: bool,
}

/// The options of the mode.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// The daemon's image; for `rootless` a rootless one.
    pub image: String,
    /// Whether the daemon runs as an ordinary user.
    pub rootless: bool,
    /// Whether its pod has a user namespace of its own, where root is nobody on the node.
    pub user_namespace: bool,
    /// Labels that a node must have to run the daemon.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the daemon tolerates besides `garden-build=true:NoSchedule`.
    pub tolerations: Vec<Toleration>,
    /// Annotations of the Deployment and its pods.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the daemon's service account; without, it has that of its namespace.
    pub service_account_annotations: BTreeMap<String, String>,
    /// The volume for the daemon's cache; without, the cache goes with the pod.
    pub storage: Option<Storage>,
    /// Whether the daemon also listens on TCP [`PORT`], with the certificates of [`TLS_SECRET`].
    pub listen: bool,
}

/// The volume for the daemon's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its size in MiB.
    pub size: u32,
    /// Its storage class; `None` for the cluster's default.
    pub storage_class: Option<String>,
}

/// Returns the address of the daemon's socket, which nobody reaches from outside of the pod.
pub fn address(rootless: bool) -> &'static str {
    if rootless {
        "unix:///run/user/1000/buildkit/buildkitd.sock"
    } else {
        "unix:///run/buildkit/buildkitd.sock"
    }
}

/// Returns the label selector of the daemon's pods.
pub fn selector() -> String {
    service_selector(NAME)
}

/// Returns the daemon's Deployment. It says by an annotation which configuration it is made from.
#[allow(clippy::useless_conversion, reason = "not useless in every version of the Kubernetes API")]
pub fn deployment(settings: &Settings) -> Deployment {
    let annotations = settings.options.annotations.clone();
    let mut pod_annotations = annotations.clone();
    if let Some(certificates) = &settings.certificates {
        pod_annotations.insert(CERTIFICATES.to_owned(), certificates.clone());
    }
    if let Some(mark) = &settings.proxy_secret {
        pod_annotations.insert(PROXIES.to_owned(), mark.clone());
    }
    // A pod is given its identity when it starts, so another identity needs another pod.
    if !settings.options.service_account_annotations.is_empty() {
        let identity = digest(&settings.options.service_account_annotations, 16);
        pod_annotations.insert(IDENTITY.to_owned(), identity);
    }
    let mut deployment = Deployment {
        metadata: ObjectMeta {
            annotations: Some(annotations.clone()),
            ..metadata(NAME.to_owned(), settings)
        },
        // `into`: whether these fields are optional differs between versions of the Kubernetes API.
        spec: DeploymentSpec {
            replicas: Some(1),
            // Said so that somebody's pause ends with the next build that needs a change.
            paused: Some(false),
            // Earlier ones are of no use: the next build would undo a rollback.
            revision_history_limit: Some(2),
            selector: LabelSelector { match_labels: Some(service_labels(NAME)), ..LabelSelector::default() },
            strategy: Some(strategy(settings)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(service_labels(NAME)),
                    annotations: Some(pod_annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::pod(settings)),
            },
            ..DeploymentSpec::default()
        }
        .into(),
        ..Deployment::default()
    };
    let configuration = digest(&deployment, 16);
    let spec: Option<&mut DeploymentSpec> = (&mut deployment.spec).into();
    let template = spec.and_then(|spec| spec.template.metadata.as_mut());
    for metadata in [Some(&mut deployment.metadata), template].into_iter().flatten() {
        // Ours are added last: the user's cannot hide them.
        metadata.annotations.get_or_insert_default().insert(CONFIGURATION.to_owned(), configuration.clone());
    }
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(IDLE_AFTER.to_owned(), settings.idle_after.to_string());
    deployment
}

/// Returns the service account that the daemon runs as, if the options give it annotations.
pub fn service_account(settings: &Settings) -> Option<ServiceAccount> {
    builder_service_account(&settings.namespace.name, &settings.options.service_account_annotations)
}

/// Changes `deployment` for API servers before Kubernetes 1.30. They do not know `appArmorProfile` and refuse
/// to apply an object with an unknown field; an annotation has the same meaning there.
pub(crate) fn for_older_servers(deployment: &mut Deployment) {
    let spec: Option<&mut DeploymentSpec> = (&mut deployment.spec).into();
    let Some(template) = spec.map(|spec| &mut spec.template) else { return };
    let containers = template.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    let mut profiles = containers.filter_map(|container| container.security_context.as_mut());
    if profiles.any(|context| context.app_armor_profile.take().is_some()) {
        let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
        annotations.insert(
            format!("container.apparmor.security.beta.kubernetes.io/{CONTAINER}"),
            "unconfined".to_owned(),
        );
    }
}

/// Returns the daemon's configuration. Its name says what is in it, so a daemon never starts with
/// another client's, and it is never changed.
///
/// It goes with `owner`, once there is one.
pub fn config_map(settings: &Settings, owner: Option<&Deployment>) -> ConfigMap {
    let data = config_files(settings);
    let mut metadata = metadata(config_map_name(&data), settings);
    metadata.owner_references = owner.map(owned_by);
    ConfigMap { metadata, data: Some(data), immutable: Some(true), ..ConfigMap::default() }
}

/// Returns what names the Secret with the addresses of proxies that have passwords. It goes with `owner`, once there is one.
pub(crate) fn proxy_secret(settings: &Settings, owner: Option<&Deployment>) -> ObjectMeta {
    let metadata = metadata(PROXY_SECRET.to_owned(), settings);
    ObjectMeta { owner_references: owner.map(owned_by), ..metadata }
}

/// States that an object goes when `deployment` does.
pub(crate) fn owned_by(deployment: &Deployment) -> Vec<OwnerReference> {
    vec![OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: deployment.metadata.name.clone().unwrap_or_default(),
        uid: deployment.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]
}

/// Returns the Secret with these `contents`. It outlives the Deployment.
///
/// Never changed, and not marked as immutable all the same: if it is deleted for a new one, the kubelet
/// would give the new daemon the old one as long as the former daemon runs on that node.
/// Source: Kubernetes, `pkg/kubelet/util/manager/watch_based_manager.go`.
pub(crate) fn tls_secret(settings: &Settings, contents: BTreeMap<String, String>) -> Secret {
    Secret {
        metadata: metadata(TLS_SECRET.to_owned(), settings),
        string_data: Some(contents),
        ..Secret::default()
    }
}

/// Returns the claim to the daemon's volume, if it has one. It outlives the Deployment.
pub fn claim(settings: &Settings) -> Option<PersistentVolumeClaim> {
    let storage = settings.options.storage.as_ref()?;
    Some(volume_claim(metadata(NAME.to_owned(), settings), storage.quantity(), storage.storage_class.clone()))
}

impl Storage {
    pub(crate) fn quantity(&self) -> Quantity {
        Quantity(format!("{}Mi", self.size))
    }
}

/// A volume that is mounted once at a time, and a state that one daemon locks, leave no choice: the new
/// daemon starts when the old one has finished its builds. Without a volume, the old one has to finish at
/// once and the new one starts beside it. The old one is not kept until the new one is ready: nobody
/// with the new configuration would use it, and its share of a quota or node may be what the new one
/// waits for.
fn strategy(settings: &Settings) -> DeploymentStrategy {
    if settings.options.storage.is_some() {
        return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(1)),
        }),
    }
}

fn config_files(settings: &Settings) -> BTreeMap<String, String> {
    let registries = &settings.registries;
    let disk = Disk {
        volume: settings.options.storage.as_ref().map(|storage| storage.size),
        limit: settings.resources.limits.ephemeral_storage,
    };
    let authorities = daemon_config::authorities(registries).map(|(name, pem)| (name, pem.to_owned()));
    authorities.chain([(daemon_config::FILE.to_owned(), daemon_config::text(registries, disk))]).collect()
}

fn config_map_name(data: &BTreeMap<String, String>) -> String {
    format!("{NAME}-{}", digest(data, 10))
}

pub(crate) fn metadata(name: String, settings: &Settings) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(service_labels(NAME)),
        ..ObjectMeta::default()
    }
}

/// The first hexadecimal digits of the SHA-256 of the value's JSON, whose maps are sorted.
pub(crate) fn digest(value: &impl Serialize, digits: usize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut hex = Digest::of(&json).hex();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
pub(crate) mod tests;
