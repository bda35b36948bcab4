//! The daemon's objects, as functions from typed settings to Kubernetes objects.

use std::collections::BTreeMap;
use std::time::Duration;

use garden_build_core::Digest;
use garden_cluster::{
    CONFIGURATION, InClusterRegistry, RegistrySettings, lost_node_tolerations, pod_of,
    pull_secret_references, resource_requirements, service_deployment, service_labels, system_tolerations,
    volume_claim,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, ExecAction, KeyToPath, Lifecycle,
    LifecycleHandler, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodSpec, Probe,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ClusterDaemon, ClusterDaemonSettings, configuration, occupancy};

const NAME: &str = ClusterDaemon::NAME;

/// On the Deployment: which registries the daemon's configuration has.
const REGISTRIES: &str = "garden-build/registries";

/// On the Deployment: by which port of the registry within the cluster its pod has that at `127.0.0.1:5000`.
const REGISTRY_PORT: &str = "garden-build/registry-port";

/// On the pods of a daemon whose proxies have passwords: which ones.
const PROXIES: &str = "garden-build/proxies";

/// The Secret with the addresses of proxies that have passwords.
pub(super) const PROXY_SECRET: &str = "garden-docker-daemon-proxies";

/// How long a daemon that is to stop may finish its builds.
pub(super) const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// How long a daemon may take to answer first, for example while it recovers a large volume.
const LONGEST_START_SECONDS: i32 = 600;

/// Where the daemon keeps everything.
const STATE_DIRECTORY: &str = "/var/lib/docker";

/// Where it looks for its configuration, and for the certificate authorities of registries. Not all of the directory is
/// ours: Docker 20.10 writes a key of its own there.
const CONFIGURATION_DIRECTORY: &str = "/etc/docker";

/// What the daemon reads.
pub(super) fn config_map(settings: &ClusterDaemonSettings) -> ConfigMap {
    ConfigMap {
        metadata: metadata(NAME, settings),
        data: Some(configuration::files(settings)),
        ..ConfigMap::default()
    }
}

/// The claim to the daemon's volume. It outlives the Deployment.
pub(super) fn claim(settings: &ClusterDaemonSettings) -> PersistentVolumeClaim {
    let size = Quantity(settings.storage.size_quantity());
    volume_claim(metadata(ClusterDaemon::CLAIM, settings), size, settings.storage.storage_class.clone())
}

pub(super) fn deployment(settings: &ClusterDaemonSettings) -> Deployment {
    let files = serde_json::json!(configuration::files(settings)).to_string();
    let mut read = BTreeMap::from([(CONFIGURATION.to_owned(), Digest::of(files.as_bytes()).hex())]);
    read.extend(settings.proxy_secret.clone().map(|mark| (PROXIES.to_owned(), mark)));
    let told = configuration::told(&settings.registries).into_iter().collect::<Vec<_>>().join(" ");
    let port = settings.forwards.then(|| settings.in_cluster_registry.push_port().to_string());
    let annotations = [(REGISTRIES, Some(told)), (REGISTRY_PORT, port)];
    let annotations = annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let metadata = ObjectMeta { annotations: Some(annotations.collect()), ..metadata(NAME, settings) };
    service_deployment(NAME, metadata, read, pod(settings))
}

/// What names the Secret with the addresses of proxies that have passwords.
pub(super) fn proxy_secret(settings: &ClusterDaemonSettings) -> ObjectMeta {
    metadata(PROXY_SECRET, settings)
}

/// Whether the daemon of `live` uses other proxies than those of the settings, which name some.
pub(super) fn has_other_proxies(settings: &ClusterDaemonSettings, live: &Deployment) -> bool {
    let containers = pod_of(live).map(|pod| pod.containers.as_slice());
    let daemon = containers.unwrap_or_default().iter().find(|it| it.name == ClusterDaemon::CONTAINER);
    settings.proxies.env(PROXY_SECRET).is_some_and(|env| {
        daemon.and_then(|daemon| daemon.env.as_deref()).unwrap_or_default() != env.as_slice()
    })
}

/// Returns those registries of the settings that the configuration of the daemon of `live` lacks.
pub(super) fn untold(settings: &ClusterDaemonSettings, live: &Deployment) -> Vec<String> {
    let told = live.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REGISTRIES));
    let told: Vec<&str> = told.map(|told| told.split(' ').collect()).unwrap_or_default();
    let unknown = |registry: &String| !told.contains(&registry.as_str());
    let untold = configuration::told(&settings.registries).into_iter().filter(unknown);
    untold.map(|registry| registry.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// Whether the pods of `live` have the registry within the cluster at `127.0.0.1:5000`, by whatever port.
pub(super) fn forwards(live: &Deployment) -> bool {
    pod_of(live).is_some_and(|pod| pod.containers.len() > 1)
}

/// Whether they have it there by the port that takes pushes, as `registry` says. Not all that were installed say which they have: there was one.
pub(super) fn forwards_to(registry: &RegistrySettings, live: &Deployment) -> bool {
    let port = live.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REGISTRY_PORT));
    let port = port.map_or(Some(InClusterRegistry::PORT), |port| port.parse().ok());
    forwards(live) && port == Some(registry.push_port())
}

fn pod(settings: &ClusterDaemonSettings) -> PodSpec {
    let forwarding = settings.forwards.then(|| Container {
        // Builds that end before the daemon does still push.
        lifecycle: Some(when_nobody_builds()),
        volume_mounts: Some(vec![lock()]),
        ..settings.in_cluster_registry.forwarding_container()
    });
    PodSpec {
        containers: [daemon(settings)].into_iter().chain(forwarding).collect(),
        termination_grace_period_seconds: i64::try_from(LONGEST_DRAIN.as_secs()).ok(),
        automount_service_account_token: Some(false),
        // The image's own script would take the variables of a Service called `docker` for its configuration.
        enable_service_links: Some(false),
        node_selector: Some(settings.node_selector.clone()),
        tolerations: Some(system_tolerations(&[]).into_iter().chain(lost_node_tolerations()).collect()),
        image_pull_secrets: Some(pull_secret_references(&settings.pull_secrets)),
        volumes: Some(volumes(settings)),
        ..PodSpec::default()
    }
}

fn daemon(settings: &ClusterDaemonSettings) -> Container {
    Container {
        name: ClusterDaemon::CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        // Named, so that the image's own script adds no TCP port, and makes no certificates for one.
        // Source: docker-library/docker, `dockerd-entrypoint.sh`.
        args: Some(vec!["dockerd".to_owned(), format!("--host={}", ClusterDaemon::SOCKET)]),
        env: settings.proxies.env(PROXY_SECRET),
        // The last lines of a daemon that failed are part of the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        // Only whether the daemon has started is asked, every second; once it has, a daemon that is too busy to answer
        // is neither restarted nor taken for unready.
        startup_probe: Some(Probe {
            exec: Some(exec(&["docker", "--host", ClusterDaemon::SOCKET, "version"])),
            period_seconds: Some(1),
            timeout_seconds: Some(10),
            failure_threshold: Some(LONGEST_START_SECONDS),
            ..Probe::default()
        }),
        // On SIGTERM, a daemon ends its builds and pushes at once. So the signal is sent when it has none.
        lifecycle: Some(when_nobody_builds()),
        resources: Some(resource_requirements(&settings.resources)),
        security_context: Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() }),
        volume_mounts: Some(mounts(settings)),
        ..Container::default()
    }
}

/// Makes Kubernetes stop the container only when the daemon is not used any more.
fn when_nobody_builds() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(exec(&occupancy::WAIT_FOR_ALL)),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// The lock that builds hold.
fn lock() -> VolumeMount {
    VolumeMount {
        name: "lock".to_owned(),
        mount_path: occupancy::DIRECTORY.to_owned(),
        ..VolumeMount::default()
    }
}

fn exec(command: &[&str]) -> ExecAction {
    ExecAction { command: Some(command.iter().map(|&word| word.to_owned()).collect()) }
}

fn volumes(settings: &ClusterDaemonSettings) -> Vec<Volume> {
    let state = Volume {
        name: "state".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: ClusterDaemon::CLAIM.to_owned(),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    };
    let of_configuration = |name: &str, items: Vec<(String, String)>| Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: NAME.to_owned(),
            items: Some(
                items
                    .into_iter()
                    .map(|(key, path)| KeyToPath { key, path, ..KeyToPath::default() })
                    .collect(),
            ),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let file = configuration::FILE.to_owned();
    let lock = Volume {
        name: "lock".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = vec![state, lock, of_configuration("configuration", vec![(file.clone(), file)])];
    let authorities = configuration::authority_paths(settings);
    if !authorities.is_empty() {
        volumes.push(of_configuration("certificates", authorities));
    }
    volumes
}

fn mounts(settings: &ClusterDaemonSettings) -> Vec<VolumeMount> {
    let mut mounts = vec![
        VolumeMount {
            name: "state".to_owned(),
            mount_path: STATE_DIRECTORY.to_owned(),
            ..VolumeMount::default()
        },
        lock(),
        VolumeMount {
            name: "configuration".to_owned(),
            mount_path: format!("{CONFIGURATION_DIRECTORY}/{}", configuration::FILE),
            sub_path: Some(configuration::FILE.to_owned()),
            read_only: Some(true),
            ..VolumeMount::default()
        },
    ];
    if !configuration::authority_paths(settings).is_empty() {
        mounts.push(VolumeMount {
            name: "certificates".to_owned(),
            mount_path: format!("{CONFIGURATION_DIRECTORY}/certs.d"),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    mounts
}

pub(super) fn metadata(name: &str, settings: &ClusterDaemonSettings) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(service_labels(NAME)),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
pub(super) mod tests;
