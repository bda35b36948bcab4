//! The pod of the daemon.

use garden_cluster::{resource_requirements, tolerations};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, ExecAction,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, Probe,
    SeccompProfile, SecurityContext, Volume, VolumeMount,
};

use super::{CONTAINER, NAME, Settings, address, config_files, config_map_name};
use crate::daemon_config;

/// How long a daemon that is to stop may finish its builds.
///
/// On SIGTERM it takes no new connections, lets the calls that are under way run to their end, and
/// exits: at once if there are none. `cmd/buildkitd/main.go` does so since BuildKit 0.14 (before, it
/// cancelled them), and rootlesskit passes the signal on. So draining needs no hook in the pod.
const DRAIN_SECONDS: i64 = 3600;

/// How long a daemon may take to answer first, for example while it recovers a large cache.
const LONGEST_START_SECONDS: i32 = 600;

/// The user of the published rootless image, and its group.
const ROOTLESS_ID: i64 = 1000;

pub(super) fn pod(settings: &Settings) -> PodSpec {
    let options = &settings.options;
    let (volumes, volume_mounts) = volumes(settings);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(options.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(options.rootless)),
        // The last lines of a daemon that failed are part of the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        startup_probe: Some(startup_probe(options.rootless)),
        resources: Some(resource_requirements(&settings.resources)),
        security_context: Some(security_context(options.rootless)),
        volume_mounts: Some(volume_mounts),
        ..Container::default()
    };
    // A new disk belongs to root. Its group is changed at its root only once: repeated on every start,
    // that would give every file in the cached layers another group.
    let security_context = (options.rootless && options.storage.is_some()).then(|| PodSecurityContext {
        fs_group: Some(ROOTLESS_ID),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        ..PodSecurityContext::default()
    });
    let mut pull_secrets: Vec<&str> = settings
        .pull_secrets
        .iter()
        .filter(|secret| secret.namespace == settings.namespace.name)
        .map(|secret| secret.name.as_str())
        .collect();
    // Garden's own daemon was restarted when two clients named the same Secrets in another order.
    pull_secrets.sort_unstable();
    pull_secrets.dedup();
    let pull_secrets = pull_secrets.into_iter().map(|name| LocalObjectReference { name: name.to_owned() });
    PodSpec {
        containers: vec![container],
        termination_grace_period_seconds: Some(DRAIN_SECONDS),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: Some(options.node_selector.clone()),
        tolerations: Some(tolerations(&options.tolerations)),
        image_pull_secrets: Some(pull_secrets.collect()),
        security_context,
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn arguments(rootless: bool) -> Vec<String> {
    let mut arguments = vec![
        format!("--addr={}", address(rootless)),
        format!("--config={}/{}", daemon_config::DIRECTORY, daemon_config::FILE),
        // The default depends on the image's environment, and has to be where the volume is.
        format!("--root={}", state_directory(rootless)),
    ];
    if rootless {
        // A container of Kubernetes has parts of /proc masked, so RUN steps can have none of their own.
        // Source: BuildKit, `docs/rootless.md`.
        arguments.push("--oci-worker-no-process-sandbox".to_owned());
    }
    arguments
}

/// On the container's own file system, BuildKit would copy whole trees for every step.
fn state_directory(rootless: bool) -> &'static str {
    if rootless { "/home/user/.local/share/buildkit" } else { "/var/lib/buildkit" }
}

/// Only whether the daemon has started is asked, every second; once it has, a daemon that is too busy
/// to answer is neither restarted nor taken for unready.
fn startup_probe(rootless: bool) -> Probe {
    let command = ["buildctl", "--addr", address(rootless), "debug", "workers"];
    Probe {
        exec: Some(ExecAction { command: Some(command.map(str::to_owned).to_vec()) }),
        period_seconds: Some(1),
        timeout_seconds: Some(10),
        failure_threshold: Some(LONGEST_START_SECONDS),
        ..Probe::default()
    }
}

/// Rootless needs to make namespaces and mounts, which the default profiles forbid.
/// Source: BuildKit, `examples/kubernetes/deployment+service.rootless.yaml`.
fn security_context(rootless: bool) -> SecurityContext {
    if !rootless {
        return SecurityContext { privileged: Some(true), ..SecurityContext::default() };
    }
    let unconfined = "Unconfined".to_owned();
    SecurityContext {
        run_as_user: Some(ROOTLESS_ID),
        run_as_group: Some(ROOTLESS_ID),
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: unconfined.clone(), ..SeccompProfile::default() }),
        app_armor_profile: Some(AppArmorProfile { type_: unconfined, ..AppArmorProfile::default() }),
        ..SecurityContext::default()
    }
}

fn volumes(settings: &Settings) -> (Vec<Volume>, Vec<VolumeMount>) {
    let rootless = settings.options.rootless;
    let mut state = Volume { name: "state".to_owned(), ..Volume::default() };
    if settings.options.storage.is_some() {
        state.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
            claim_name: NAME.to_owned(),
            ..PersistentVolumeClaimVolumeSource::default()
        });
    } else {
        state.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    let configuration = Volume {
        name: "configuration".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map_name(&config_files(settings)),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mount = |volume: &Volume, path: &str, read_only| VolumeMount {
        name: volume.name.clone(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let mounts = vec![
        mount(&state, state_directory(rootless), None),
        mount(&configuration, daemon_config::DIRECTORY, Some(true)),
    ];
    (vec![state, configuration], mounts)
}
