//! The pod of the daemon.

use garden_cluster::{
    builder_service_account_name, lost_node_tolerations, pull_secret_references, resource_requirements,
    service_labels, tolerations,
};
use k8s_openapi::api::core::v1::{
    Affinity, AppArmorProfile, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    ExecAction, KeyToPath, PersistentVolumeClaimVolumeSource, PodAffinityTerm, PodAntiAffinity,
    PodSecurityContext, PodSpec, Probe, SeccompProfile, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    CA_CERTIFICATE, CONTAINER, DaemonOptions, NAME, PORT, PROXY_SECRET, SERVER_CERTIFICATE, SERVER_KEY,
    Settings, TLS_SECRET, address, config_files, config_map_name,
};
use crate::daemon_config;

/// How long a daemon that is to stop may finish its builds.
///
/// On SIGTERM it takes no new connections, lets the calls that are under way run to their end, and
/// exits: at once if there are none. `cmd/buildkitd/main.go` does so since BuildKit 0.14 (before, it
/// cancelled them), and rootlesskit passes the signal on. So draining needs no hook in the pod.
const DRAIN_SECONDS: i64 = 3600;

/// How long a daemon may take to answer first, for example while it recovers a large cache.
const LONGEST_START_SECONDS: i32 = 600;

/// Where the daemon's certificates are mounted.
const CERTIFICATES_DIRECTORY: &str = "/etc/buildkit-tls";

/// Readable for everyone in the container: the files belong to root, and a rootless daemon is somebody
/// else. RUN steps have a file system of their own.
const CERTIFICATES_MODE: i32 = 0o444;

/// The user of the published rootless image, and its group.
const ROOTLESS_ID: i64 = 1000;

pub(super) fn pod(settings: &Settings) -> PodSpec {
    let options = &settings.options;
    let (volumes, volume_mounts) = volumes(settings);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(options.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(options)),
        env: env(settings),
        ports: options.listen.then(|| vec![port()]),
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
    PodSpec {
        containers: vec![container],
        termination_grace_period_seconds: Some(DRAIN_SECONDS),
        affinity: options.storage.is_some().then(after_the_former_one),
        service_account_name: builder_service_account_name(&options.service_account_annotations),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_users: options.user_namespace.then_some(false),
        node_selector: Some(options.node_selector.clone()),
        tolerations: Some(
            tolerations(&options.tolerations).into_iter().chain(lost_node_tolerations()).collect(),
        ),
        image_pull_secrets: Some(pull_secret_references(&settings.pull_secrets)),
        security_context,
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// The daemon's variables. It sends spans by gRPC unless a variable says otherwise. Source: `BuildKit`, `util/tracing/detect/otlp.go`.
fn env(settings: &Settings) -> Option<Vec<EnvVar>> {
    let traces = settings.traces_url.iter().flat_map(|url| {
        [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ]
    });
    let traces = traces.map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    });
    let all: Vec<_> = settings.proxies.env(PROXY_SECRET).into_iter().flatten().chain(traces).collect();
    (!all.is_empty()).then_some(all)
}

/// Keeps the pod from its node until the daemon that was there has ended.
///
/// Only one daemon can use the volume: another ends at once, and Kubernetes waits ever longer before it starts it again. A strategy
/// `Recreate` prevents two when the Deployment changes, but not when somebody deletes the pod, as draining a node does.
fn after_the_former_one() -> Affinity {
    let others = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(service_labels(NAME)),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![others]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn arguments(options: &DaemonOptions) -> Vec<String> {
    let rootless = options.rootless;
    let mut arguments = vec![
        format!("--addr={}", address(rootless)),
        format!("--config={}/{}", daemon_config::DIRECTORY, daemon_config::FILE),
        // The default depends on the image's environment, and has to be where the volume is.
        format!("--root={}", state_directory(rootless)),
    ];
    if options.listen {
        let file = |name: &str| format!("{CERTIFICATES_DIRECTORY}/{name}");
        arguments.extend([
            // Without a host it is all addresses, of whichever family the cluster has.
            format!("--addr=tcp://:{PORT}"),
            // With an authority, the daemon takes nobody without a certificate of it; RUN steps share its
            // network, so this is what keeps them out. The socket above stays without.
            format!("--tlscacert={}", file(CA_CERTIFICATE)),
            format!("--tlscert={}", file(SERVER_CERTIFICATE)),
            format!("--tlskey={}", file(SERVER_KEY)),
        ]);
    }
    if rootless {
        // A container of Kubernetes has parts of /proc masked, so RUN steps can have none of their own.
        // Source: BuildKit, `docs/rootless.md`.
        arguments.push("--oci-worker-no-process-sandbox".to_owned());
    }
    arguments
}

fn port() -> ContainerPort {
    ContainerPort {
        name: Some("buildkit".to_owned()),
        container_port: i32::from(PORT),
        ..ContainerPort::default()
    }
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

/// In a user namespace of its own, a privileged container has no privileges but over what is its own.
/// Rootless needs to make namespaces and mounts, which the default profiles forbid.
/// Sources: BuildKit, `examples/kubernetes/deployment+service.userns.yaml` and `….rootless.yaml`.
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
    let mut mounts = vec![
        mount(&state, state_directory(rootless), None),
        mount(&configuration, daemon_config::DIRECTORY, Some(true)),
    ];
    let mut volumes = vec![state, configuration];
    if settings.options.listen {
        let certificates = certificates();
        mounts.push(mount(&certificates, CERTIFICATES_DIRECTORY, Some(true)));
        volumes.push(certificates);
    }
    (volumes, mounts)
}

/// The daemon's own part of the Secret: whoever breaks out of a build step is not a client as well.
fn certificates() -> Volume {
    let items = [CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY].map(|name| KeyToPath {
        key: name.to_owned(),
        path: name.to_owned(),
        ..KeyToPath::default()
    });
    Volume {
        name: "certificates".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(TLS_SECRET.to_owned()),
            default_mode: Some(CERTIFICATES_MODE),
            items: Some(items.to_vec()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
