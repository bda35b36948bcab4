//! The objects of the context service, as functions from typed settings to Kubernetes objects.

use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Digest;
use garden_cluster::{
    CONFIGURATION, IDLE_AFTER, lost_node_tolerations, pull_secret_references, resource_requirements,
    service_deployment, service_labels, tolerations, volume_claim,
};
use garden_config::{IdleAfter, Namespace, PersistentStorage, Resources, Toleration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CONTAINER, NAME, PORT};
use crate::spec::SHELL;

/// On the Deployment and its pods: what a client has to know to use them. Another number is another way to announce,
/// claim and ask for a context; all else comes from the client with each build.
pub(crate) const PROTOCOL: &str = "garden-build/context-protocol";

/// The protocol that this version speaks.
pub(crate) const PROTOCOL_VERSION: u32 = 2;

/// What the container does, and what it does for each connection.
const SERVE: &str = include_str!("files/serve.sh");
const ANSWER: &str = include_str!("files/answer.sh");

/// Nobody's in particular. Pods of the level `restricted` must not be root, and the image's own user is.
const USER: i64 = 65532;

/// How many MiB of contexts are kept where no setting bounds them.
const USUAL_SPACE: u32 = 10 * 1024;

/// What the provider's configuration says about the context service.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSettings {
    pub(crate) namespace: Namespace,
    pub(crate) image: String,
    pub(crate) resources: Resources,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// The volume for the contexts; without, they go with the pod.
    pub(crate) storage: Option<PersistentStorage>,
    /// For how long it is kept without use. Another time is not another configuration.
    pub(crate) idle_after: IdleAfter,
    /// Whether a `NetworkPolicy` says who may connect to its pod.
    pub(crate) network_policies: bool,
}

/// Returns the claim to the service's volume, if it has one. It outlives the Deployment.
pub(crate) fn claim(settings: &ServiceSettings) -> Option<PersistentVolumeClaim> {
    let storage = settings.storage.as_ref()?;
    Some(volume_claim(metadata(settings), Quantity(storage.size_quantity()), storage.storage_class.clone()))
}

/// Returns the Deployment, whose nodes pull with the Secrets of these names. It says by annotations how it is spoken to and which configuration it
/// is made from. The Secrets are not part of that: a later client that names other Secrets does not have other settings.
pub(crate) fn deployment(settings: &ServiceSettings, pull_secrets: &BTreeSet<String>) -> Deployment {
    let mut pod = pod(settings);
    let configuration = Digest::of(&serde_json::to_vec(&pod).unwrap_or_default()).hex();
    pod.image_pull_secrets = Some(pull_secret_references(pull_secrets));
    let ours = BTreeMap::from([
        (PROTOCOL.to_owned(), PROTOCOL_VERSION.to_string()),
        (CONFIGURATION.to_owned(), configuration[..16].to_owned()),
    ]);
    let mut annotations = settings.annotations.clone();
    // Added last: the user's cannot hide them.
    annotations.extend(ours);
    let mut of_deployment = annotations.clone();
    of_deployment.insert(IDLE_AFTER.to_owned(), settings.idle_after.to_string());
    let metadata = ObjectMeta { annotations: Some(of_deployment), ..metadata(settings) };
    service_deployment(NAME, metadata, annotations, pod)
}

fn pod(settings: &ServiceSettings) -> PodSpec {
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some([SHELL, "-c", SERVE, NAME].map(str::to_owned).to_vec()),
        args: Some(vec![PORT.to_string(), ANSWER.to_owned()]),
        env: Some(vec![EnvVar {
            name: "GARDEN_CACHE_MIB".to_owned(),
            value: Some(space(settings).to_string()),
            ..EnvVar::default()
        }]),
        ports: Some(vec![ContainerPort { container_port: i32::from(PORT), ..ContainerPort::default() }]),
        resources: Some(resources(settings)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(["run", "packs"].map(mount).to_vec()),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            // So that it may write to its volume, whose files need not be given to it one by one each time.
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(5),
        node_selector: Some(settings.node_selector.clone()),
        tolerations: Some(
            tolerations(&settings.tolerations).into_iter().chain(lost_node_tolerations()).collect(),
        ),
        volumes: Some(vec![volume("run", None), volume("packs", settings.storage.as_ref())]),
        ..PodSpec::default()
    }
}

/// The default for Garden's utility pod is a quarter of a processor at most. That was not meant for one that checks and
/// hands on every context, and is not taken for somebody's wish. The service gets one processor, which an API server and a network
/// hardly keep busy. It cannot do without a limit: a namespace with a quota of `limits.cpu` takes no pod that has none.
fn resources(settings: &ServiceSettings) -> ResourceRequirements {
    let mut requirements = resource_requirements(&settings.resources);
    if settings.resources == Resources::util()
        && let Some(limits) = &mut requirements.limits
    {
        limits.insert("cpu".to_owned(), Quantity("1".to_owned()));
    }
    requirements
}

/// How many MiB of contexts are kept: most of what there is room for.
fn space(settings: &ServiceSettings) -> u32 {
    let volume = settings.storage.as_ref().map(|storage| storage.size);
    let room = volume.or(settings.resources.limits.ephemeral_storage);
    room.map_or(USUAL_SPACE, |room| room - room / 5)
}

fn mount(name: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: format!("/garden/{name}"), ..VolumeMount::default() }
}

fn volume(name: &str, storage: Option<&PersistentStorage>) -> Volume {
    let mut volume = Volume { name: name.to_owned(), ..Volume::default() };
    match storage {
        Some(_) => {
            volume.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name: NAME.to_owned(),
                ..PersistentVolumeClaimVolumeSource::default()
            });
        }
        None => volume.empty_dir = Some(EmptyDirVolumeSource::default()),
    }
    volume
}

pub(super) fn metadata(settings: &ServiceSettings) -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(service_labels(NAME)),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
pub(super) mod tests;
