//! The pods of the registry and of its proxies.

use std::collections::BTreeMap;

use garden_config::Toleration;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, Probe,
    ResourceRequirements, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{HTPASSWD, HTTP_SECRET, NAME};
use crate::in_cluster_registry::server::PUSHES_ELSEWHERE;
use crate::in_cluster_registry::{InClusterRegistry, RegistrySettings};
use crate::pod::{confined, resource_requirements, system_tolerations};
use crate::registries::pull_secret_references;

/// The script that runs the registry.
pub(super) const SUPERVISE: &str = "supervise.sh";

/// Where the script finds the configurations.
const CONFIGURATION_DIRECTORY: &str = "/etc/garden-registry";

/// Where it keeps what it knows of collections.
pub(in crate::in_cluster_registry) const STATE_DIRECTORY: &str = "/run/garden-registry";

/// The user and group of both containers: any will do but root.
const USER: i64 = 1000;

/// How long the registry's pod has to stop, in seconds: longer than `draintimeout` in its configuration.
const STOP_SECONDS: i64 = 30;

const PORT: i32 = InClusterRegistry::PORT as i32;
const PUSH_PORT: i32 = InClusterRegistry::PUSH_PORT as i32;

/// Where the registry's container finds the login for pushes, as a file. A registry reads it again when it changes.
const LOGIN_DIRECTORY: &str = "/etc/garden-registry-login";

/// The registry's pod. If pushes need a password, it is two registries on one volume: one that asks for it and does everything, and one
/// for nodes, which have no password, that serves pulls only. A registry's own access control knows no difference between the two.
///
/// It has no liveness probe: a registry that crashes ends its container, and one that is slow because it has much to do
/// must not be restarted for that.
pub(super) fn registry(settings: &RegistrySettings) -> PodSpec {
    let mut mounts = vec![
        mount("storage", InClusterRegistry::STORAGE),
        read_only("configuration", CONFIGURATION_DIRECTORY),
        mount("state", STATE_DIRECTORY),
    ];
    let mut env = vec![
        EnvVar {
            name: "REGISTRY_HTTP_SECRET".to_owned(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: NAME.to_owned(),
                    key: HTTP_SECRET.to_owned(),
                    ..SecretKeySelector::default()
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
        no_traces(),
    ];
    let (mut port, mut probe) = (PORT, answers());
    if settings.password_for_pushes {
        mounts.push(read_only("login", LOGIN_DIRECTORY));
        env.extend([
            // These count more than what the configuration says. Source: distribution, `docs/content/about/configuration.md`.
            variable("REGISTRY_HTTP_ADDR", &format!(":{PUSH_PORT}")),
            variable("REGISTRY_AUTH", "htpasswd"),
            variable("REGISTRY_AUTH_HTPASSWD_REALM", "garden-build"),
            variable("REGISTRY_AUTH_HTPASSWD_PATH", &format!("{LOGIN_DIRECTORY}/{HTPASSWD}")),
        ]);
        // All but `/` wants the password. Source: distribution, `registry/registry.go`, `alive`.
        (port, probe) = (PUSH_PORT, answers_at(PUSH_PORT, "/"));
    }
    let container = Container {
        name: InClusterRegistry::CONTAINER.to_owned(),
        command: Some(vec!["sh".to_owned(), format!("{CONFIGURATION_DIRECTORY}/{SUPERVISE}")]),
        env: Some(env),
        ports: Some(vec![ContainerPort { container_port: port, ..ContainerPort::default() }]),
        readiness_probe: Some(Probe { period_seconds: Some(2), ..probe }),
        resources: Some(resource_requirements(&settings.resources)),
        volume_mounts: Some(mounts),
        ..container(settings)
    };
    let reader = settings.password_for_pushes.then(|| reader(settings));
    let containers = [container].into_iter().chain(reader).collect();
    PodSpec {
        node_selector: Some(settings.node_selector.clone()),
        termination_grace_period_seconds: Some(STOP_SECONDS),
        security_context: Some(PodSecurityContext {
            // A new disk belongs to root.
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        }),
        volumes: Some(volumes(settings)),
        ..pod(settings, containers, &[])
    }
}

/// The registry that serves pulls to whoever comes. It goes on during a collection, and needs as little as a proxy while nobody pulls.
fn reader(settings: &RegistrySettings) -> Container {
    let headers = format!(
        "{{X-Content-Type-Options: [nosniff], Garden-Registry-Run: [pulls], Garden-Registry-Pushes: [{PUSHES_ELSEWHERE}]}}"
    );
    let configuration = format!("{CONFIGURATION_DIRECTORY}/read-only.yml");
    Container {
        name: InClusterRegistry::READER_CONTAINER.to_owned(),
        command: Some(["registry", "serve", &configuration].map(str::to_owned).to_vec()),
        env: Some(vec![variable("REGISTRY_HTTP_HEADERS", &headers), no_traces()]),
        ports: Some(vec![ContainerPort { container_port: PORT, ..ContainerPort::default() }]),
        readiness_probe: Some(Probe { period_seconds: Some(2), ..answers() }),
        resources: Some(ResourceRequirements {
            requests: little_resources().requests,
            ..resource_requirements(&settings.resources)
        }),
        volume_mounts: Some(vec![
            read_only("storage", InClusterRegistry::STORAGE),
            read_only("configuration", CONFIGURATION_DIRECTORY),
        ]),
        ..container(settings)
    }
}

/// The container that hands port 5000 of its pod on to `port` of the Service: one process that listens, and another for each
/// connection. A shell is the first, as that takes no notice of SIGTERM unless it has asked for it.
///
/// Not the registry's own mirror mode, which would serve images that a clean-up has removed, and keep a copy of all on
/// every node. `-ll` and `-e`, which comes last, mean the same in both versions of busybox' nc: Alpine has the larger
/// one (`nc_bloaty.c`), Debian the smaller.
pub(in crate::in_cluster_registry) fn forward(settings: &RegistrySettings, port: u16) -> Container {
    let script = format!("trap exit TERM; nc -ll -p {PORT} -e nc {NAME} {port} & wait $!");
    Container {
        name: InClusterRegistry::PROXY_CONTAINER.to_owned(),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        resources: Some(little_resources()),
        ..container(settings)
    }
}

fn little_resources() -> ResourceRequirements {
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        Some(BTreeMap::from(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))))
    };
    ResourceRequirements {
        requests: amounts("10m", "16Mi"),
        limits: amounts("2", "128Mi"),
        ..ResourceRequirements::default()
    }
}

/// The pod that does so for its node.
pub(super) fn proxy(settings: &RegistrySettings) -> PodSpec {
    let container = Container {
        ports: Some(vec![ContainerPort {
            container_port: PORT,
            host_port: Some(PORT),
            // Nobody but the node itself.
            host_ip: Some("127.0.0.1".to_owned()),
            ..ContainerPort::default()
        }]),
        // All the way to the registry.
        readiness_probe: Some(Probe { period_seconds: Some(5), ..answers() }),
        ..forward(settings, InClusterRegistry::PORT)
    };
    PodSpec {
        termination_grace_period_seconds: Some(1),
        ..pod(settings, vec![container], &settings.proxy_tolerations)
    }
}

fn pod(settings: &RegistrySettings, containers: Vec<Container>, tolerations: &[Toleration]) -> PodSpec {
    PodSpec {
        containers,
        automount_service_account_token: Some(false),
        // Their variables would be taken for the registry's configuration if a Service was called `registry`.
        enable_service_links: Some(false),
        tolerations: Some(system_tolerations(tolerations)),
        image_pull_secrets: Some(pull_secret_references(&settings.pull_secrets)),
        ..PodSpec::default()
    }
}

/// Returns what all containers of the registry have: an ordinary user, who changes nothing of the image.
pub(in crate::in_cluster_registry) fn as_ordinary_user() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        run_as_non_root: Some(true),
        read_only_root_filesystem: Some(true),
        ..confined()
    }
}

fn container(settings: &RegistrySettings) -> Container {
    Container {
        image: Some(settings.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        // The last lines of a registry that failed are part of the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(as_ordinary_user()),
        ..Container::default()
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}

/// Version 3 would look for a collector of traces. Source: distribution, `docs/content/about/configuration.md`.
fn no_traces() -> EnvVar {
    variable("OTEL_TRACES_EXPORTER", "none")
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

fn answers() -> Probe {
    answers_at(PORT, "/v2/")
}

fn answers_at(port: i32, path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn volumes(settings: &RegistrySettings) -> Vec<Volume> {
    let login = settings.password_for_pushes.then(|| Volume {
        name: "login".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(InClusterRegistry::LOGIN.to_owned()),
            // Not the password itself.
            items: Some(vec![KeyToPath {
                key: HTPASSWD.to_owned(),
                path: HTPASSWD.to_owned(),
                ..KeyToPath::default()
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let volumes = [
        Volume {
            name: "storage".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: NAME.to_owned(),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "configuration".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: NAME.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "state".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ];
    volumes.into_iter().chain(login).collect()
}
