//! The objects of one build, as functions from typed options to Kubernetes objects.
//!
//! Why: docs/decisions/34-the-executor-has-what-its-build-needs.md

use std::collections::BTreeMap;

use garden_build_core::{BuildJob, BuildRequest, LONGEST_ARGUMENT, Remedy};
use garden_cluster::{
    BuilderProxies, Ownership, PushTarget, Remedies, builder_service_account, builder_service_account_name,
    destination_label, resource_requirements, tolerations, usual_system_calls,
};
use garden_config::{ContextDelivery, IdleAfter, KanikoOptions, Namespace, PersistentStorage, Resources};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Container, HostAlias, KeyToPath, LocalObjectReference, Pod, PodSpec, Secret, SecretVolumeSource,
    SecurityContext, ServiceAccount, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use secrecy::{ExposeSecret, SecretString};

use crate::delivery::Delivery;
use crate::flags::{self, FlagError};
use crate::service::{Key, PORT, ServiceSettings};

/// The name of the executor's container.
pub const CONTAINER: &str = "kaniko";

/// What to do about the troubles of a build's pod.
pub(crate) const REMEDIES: Remedies = Remedies {
    memory: Remedy::set(
        &["resources.builder.limits.memory"],
        "raise `resources.builder.limits.memory`, or make the build need less",
    ),
    evicted: Remedy::set(
        &["resources.builder.requests"],
        "raise `resources.builder.requests` (memory, ephemeralStorage) so that it gets a node with room",
    ),
    disk_limit: Remedy::set(
        &["resources.builder.limits.ephemeralStorage"],
        "raise `resources.builder.limits.ephemeralStorage`, or set it if a LimitRange of the namespace sets a lower one",
    ),
    scheduling: Remedy::set(
        &["kaniko.nodeSelector", "kaniko.tolerations", "resources.builder.requests"],
        "check `kaniko.nodeSelector`, `kaniko.tolerations` and `resources.builder.requests` against the cluster's nodes",
    ),
    port: None,
    image: Remedy::set(
        &["kaniko.image", "imagePullSecrets"],
        "check `kaniko.image`, and that nodes can reach its registry: a user and a password for that in one of `imagePullSecrets` are used \
            to pull it",
    ),
    start: Remedy::set(
        &["kaniko.image", "kaniko.annotations"],
        "check `kaniko.image` and `kaniko.annotations` against what the cluster allows",
    ),
    quota: Remedy::set(
        &["resources.builder"],
        "lower `resources.builder`, or raise the namespace's ResourceQuota",
    ),
    limit_range: Remedy::set(
        &["resources.builder"],
        "set amounts in `resources.builder` that the namespace's LimitRange allows",
    ),
    pod_security: PRIVILEGES_HINT,
    privileges: PRIVILEGES_HINT,
};

const PRIVILEGES_HINT: Remedy = Remedy::set(
    &["kaniko.namespace"],
    "builder pods need the `baseline` Pod Security level or lower; label the namespace accordingly or build in another",
);

/// The shell of the executor's `-debug` image. There is no other one that is sure to stay while the executor empties the root
/// file system.
pub(crate) const SHELL: &str = "/busybox/sh";

/// The first process of a pod that fetches its context from the context service.
const BUILD: &str = include_str!("service/files/build.sh");

/// What the node pulls the executor's image with. It is the key of the Secret's type.
const NODE_CONFIG_KEY: &str = ".dockerconfigjson";
/// What the executor has, and every step of the Dockerfile with it.
const DOCKER_CONFIG_KEY: &str = "config.json";
const CA_KEY: &str = "ca.pem";
const CONTEXT_KEY: &str = "context-key";
/// Where the executor looks for `config.json`; published images set `DOCKER_CONFIG` to it.
const DOCKER_CONFIG_DIRECTORY: &str = "/kaniko/.docker";
/// Below `/kaniko`, which the executor leaves out of every image.
const CA_DIRECTORY: &str = "/kaniko/registry-ca";
const CONTEXT_KEY_DIRECTORY: &str = "/kaniko/context-key";
const PROXIES_DIRECTORY: &str = "/kaniko/proxies";
/// The container's termination message; the kubelet reads it from here when the container ends.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// How much longer than the client the cluster lets a build run, so that the client, if it lives,
/// is the one to say that the time is up.
const DEADLINE_MARGIN_SECONDS: i64 = 60;
/// Kubernetes takes no longer one.
const LONGEST_DEADLINE_SECONDS: i64 = i32::MAX as i64;
/// Longer names of images are cut in the name of the pod, which may have 63 characters.
const LONGEST_NAME_PART: usize = 40;

/// The registry credentials of one build.
pub(crate) struct Logins {
    /// Those of the registries that the build has to do with, for the executor.
    pub(crate) builder: SecretString,
    /// Those that the node needs to pull the executor's image; `None` if there are none.
    pub(crate) node: Option<SecretString>,
}

/// What the provider's configuration says about every kaniko pod.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The options of the mode.
    pub options: KanikoOptions,
    /// The resources of each pod.
    pub resources: Resources,
    /// The resources of the context service.
    pub service_resources: Resources,
    /// The volume of the context service; without, contexts go with its pod.
    pub service_storage: Option<PersistentStorage>,
    /// For how long the context service is kept without use.
    pub idle_after: IdleAfter,
    /// Where images are pushed to.
    pub target: PushTarget,
    /// The namespace that the pods run in.
    pub namespace: Namespace,
    /// Whether there may be credentials that the pods push and pull with: see
    /// [`RegistryCredentials::are_configured`](garden_cluster::RegistryCredentials::are_configured).
    pub has_credentials: bool,
    /// The proxies that the pods use.
    pub proxies: BuilderProxies,
    /// Where the executor sends its spans, if it can.
    pub traces_url: Option<String>,
    /// Whether a `NetworkPolicy` says who may connect to the pod of the context service.
    pub network_policies: bool,
}

impl Settings {
    /// Whether pods fetch their context from the context service.
    pub fn syncs(&self) -> bool {
        self.options.context_delivery == ContextDelivery::Sync
    }

    /// Whether a build has a Secret.
    pub fn needs_secret(&self) -> bool {
        self.has_credentials
            || self.target.certificate_authority.is_some()
            || self.syncs()
            || self.proxies.have_credentials()
    }

    /// Returns the settings of the context service, if there is one. Unless `util` says otherwise, it goes where builders go.
    pub(crate) fn service(&self) -> Option<ServiceSettings> {
        let options = &self.options;
        let (node_selector, tolerations, annotations) = match &options.util {
            Some(util) => (&util.node_selector, &util.tolerations, &util.annotations),
            None => (&options.node_selector, &options.tolerations, &options.annotations),
        };
        self.syncs().then(|| ServiceSettings {
            namespace: self.namespace.clone(),
            image: options.image.clone(),
            resources: self.service_resources.clone(),
            node_selector: node_selector.clone(),
            tolerations: tolerations.clone(),
            annotations: annotations.clone(),
            storage: self.service_storage.clone(),
            idle_after: self.idle_after,
            network_policies: self.network_policies,
        })
    }
}

/// Returns the name of the build's pod: `kaniko-<image>-<build>`.
pub fn pod_name(job: &BuildJob) -> String {
    let mut part: String = job
        .request
        .name
        .to_ascii_lowercase()
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .take(LONGEST_NAME_PART)
        .collect();
    part = part.trim_matches('-').to_owned();
    format!("kaniko-{part}-{}", job.id)
}

/// Returns the name of the secret that the build's pod reads registry credentials from.
pub fn secret_name(job: &BuildJob) -> String {
    format!("garden-docker-auth-{}", job.id)
}

/// Returns the secret with the registry credentials of the build, the registry's private certificate authority, the addresses of proxies that
/// have passwords, and the `key` with which the pod asks for its context, or `None` if the build needs none of them.
///
/// It has the type that lets it serve as the pod's own imagePullSecret too. What is in it for that is not mounted: steps of the Dockerfile are
/// root where the executor is, and see what it has.
pub(crate) fn secret(
    settings: &Settings,
    job: &BuildJob,
    ownership: &Ownership,
    logins: Option<&Logins>,
    key: Option<&Key>,
) -> Option<Secret> {
    if !settings.needs_secret() {
        return None;
    }
    let bytes = |config: Option<&SecretString>| {
        let config = config.map_or(r#"{"auths":{}}"#, |config| config.expose_secret());
        ByteString(config.as_bytes().to_vec())
    };
    let node = logins.and_then(|logins| logins.node.as_ref());
    let mut data = BTreeMap::from([(NODE_CONFIG_KEY.to_owned(), bytes(node))]);
    if settings.has_credentials {
        data.insert(DOCKER_CONFIG_KEY.to_owned(), bytes(logins.map(|logins| &logins.builder)));
    }
    if let Some(ca) = &settings.target.certificate_authority {
        data.insert(CA_KEY.to_owned(), ByteString(ca.as_bytes().to_vec()));
    }
    if let Some(key) = key {
        // With the end of a line, at which the pod stops reading.
        let line = format!("{}\n", key.text().expose_secret());
        data.insert(CONTEXT_KEY.to_owned(), ByteString(line.into_bytes()));
    }
    data.extend(settings.proxies.secret_data());
    Some(Secret {
        metadata: metadata(secret_name(job), settings, ownership),
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some(data),
        ..Secret::default()
    })
}

/// Returns the service account that the pod runs as, if the options give it annotations.
pub fn service_account(settings: &Settings) -> Option<ServiceAccount> {
    builder_service_account(&settings.namespace.name, &settings.options.service_account_annotations)
}

/// Has the node of `pod` pull the image without the build's secret, as it has no password for that. A pod that names a secret has no others: not
/// those of its service account.
/// Source: Kubernetes 1.34, `plugin/pkg/admission/serviceaccount/admission.go`.
pub(crate) fn pull_without_secret(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        spec.image_pull_secrets = None;
    }
}

/// Makes `pod` the owner of `secret`, so that the cluster removes the secret with the pod.
pub fn own_secret(secret: &mut Secret, pod: &Pod) {
    secret.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
}

/// Returns the build's pod. It fetches its context from the context service at the address `service`, or waits for it on its
/// stdin if there is none. Its node pulls the image with the build's secret, if there are credentials.
///
/// # Errors
/// If `extraFlags` of the provider or of the request cannot be used.
pub fn pod(
    settings: &Settings,
    job: &BuildJob,
    ownership: &Ownership,
    service: Option<&str>,
) -> Result<Pod, FlagError> {
    let (volumes, volume_mounts) = volumes(settings, job);
    let fetch = |address: &str| {
        [SHELL, "-c", BUILD, "garden-build", address, &PORT.to_string()].map(str::to_owned).to_vec()
    };
    let has_stdin = service.is_none().then_some(true);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.options.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: service.map(fetch),
        args: Some(arguments(settings, job)?),
        env: settings.proxies.env(&secret_name(job)),
        // The first client that attaches is the only one: when it goes, the executor sees the end
        // of its input and fails, instead of waiting for ever.
        stdin: has_stdin,
        stdin_once: has_stdin,
        termination_message_path: Some(TERMINATION_LOG.to_owned()),
        resources: Some(resource_requirements(&settings.resources)),
        volume_mounts: Some(volume_mounts),
        // No more than that: steps may have a user of their own, and call `sudo` or `ping`, which need privileges that their files give them.
        security_context: Some(SecurityContext {
            seccomp_profile: Some(usual_system_calls()),
            ..SecurityContext::default()
        }),
        ..Container::default()
    };
    let mut metadata = metadata(pod_name(job), settings, ownership);
    metadata.labels.get_or_insert_default().extend([destination_label(&job.push_to)]);
    let mut annotations = settings.options.annotations.clone();
    annotations.extend(metadata.annotations.take().unwrap_or_default());
    metadata.annotations = Some(annotations);
    let time_limit = i64::try_from(job.request.timeout.as_secs()).unwrap_or(LONGEST_DEADLINE_SECONDS);
    Ok(Pod {
        metadata,
        spec: Some(PodSpec {
            containers: vec![container],
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(
                time_limit.saturating_add(DEADLINE_MARGIN_SECONDS).min(LONGEST_DEADLINE_SECONDS),
            ),
            termination_grace_period_seconds: Some(1),
            service_account_name: builder_service_account_name(&settings.options.service_account_annotations),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            node_selector: Some(settings.options.node_selector.clone()),
            tolerations: Some(tolerations(&settings.options.tolerations)),
            host_aliases: host_aliases(&job.request.extra_hosts),
            image_pull_secrets: settings
                .has_credentials
                .then(|| vec![LocalObjectReference { name: secret_name(job) }]),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
        ..Pod::default()
    })
}

fn arguments(settings: &Settings, job: &BuildJob) -> Result<Vec<String>, FlagError> {
    let request = &job.request;
    let mut arguments = vec![
        "--context=tar://stdin".to_owned(),
        format!("--dockerfile={}", Delivery::of(&job.context).dockerfile_path()),
        format!("--destination={}", job.push_to),
        format!("--digest-file={TERMINATION_LOG}"),
        // Lines of JSON tell the executor's own words from what the Dockerfile's commands print.
        "--log-format=json".to_owned(),
        // The executor's guess whether it runs in a container fails under some runtimes.
        "--force".to_owned(),
    ];
    let registry = job.push_to.registry();
    if settings.target.reached.insecure {
        arguments.push(format!("--insecure-registry={registry}"));
    }
    if settings.target.certificate_authority.is_some() {
        arguments.push(format!("--registry-certificate={registry}={CA_DIRECTORY}/{CA_KEY}"));
    }
    arguments.extend(settings.target.alias().map(|alias| format!("--registry-map={alias}={registry}")));
    arguments.extend(request.target.as_ref().map(|target| format!("--target={target}")));
    arguments.extend(request.platforms.first().map(|platform| format!("--custom-platform={platform}")));
    // Older executors do not know these variables.
    let of_platform = job.context.dockerfile().platform_variables(request);
    let build_args = request.build_args.iter().chain(&of_platform);
    arguments.extend(build_args.map(|(name, value)| format!("--build-arg={name}={value}")));
    arguments.extend(request.labels.iter().map(|(name, value)| format!("--label={name}={value}")));
    arguments.extend(flags::merge(&[
        if request.no_cache { flags::no_cache() } else { Vec::new() },
        flags::parse(&request.extra_flags)?,
        flags::parse(&settings.options.extra_flags)?,
        flags::defaults(&job.push_to.name()),
    ]));
    // RUN has none of the executor's own environment but what is a build argument. One without a value has that of the executor's
    // variable, so a password stays in the Secret. Sources: kaniko, `pkg/commands/run.go`, `pkg/dockerfile/buildargs.go` (predefined
    // arguments, which are not in the image's history) and `resolveEnvironmentBuildArgs` of `cmd/executor/cmd/root.go`.
    let variables = settings.proxies.variables().build_args(&request.build_args);
    arguments.extend(variables.keys().map(|name| format!("--build-arg={name}")));
    Ok(arguments)
}

/// Makes sure that the executor can be given what is in the request. Its container could not be started.
///
/// # Errors
/// If something is too long.
pub(crate) fn check_lengths(request: &BuildRequest) -> Result<(), FlagError> {
    let too_long = |field: String, flag: &str, value: &str| {
        let bytes = flag.len() + value.len();
        if bytes <= LONGEST_ARGUMENT { Ok(()) } else { Err(FlagError::TooLong { field, bytes }) }
    };
    for (name, value) in &request.build_args {
        too_long(format!("buildArgs.{name}"), &format!("--build-arg={name}="), value)?;
    }
    for (name, value) in &request.labels {
        too_long(format!("labels.{name}"), &format!("--label={name}="), value)?;
    }
    request.extra_flags.iter().try_for_each(|flag| too_long("extraFlags".to_owned(), "", flag))
}

/// The executor's steps run in its own container, so they see the pod's `/etc/hosts`.
fn host_aliases(hosts: &BTreeMap<String, String>) -> Option<Vec<HostAlias>> {
    let alias = |(host, address): (&String, &String)| HostAlias {
        ip: address.clone(),
        hostnames: Some(vec![host.clone()]),
    };
    (!hosts.is_empty()).then(|| hosts.iter().map(alias).collect())
}

/// The files of the build's secret. It is made after the pod, which owns it, and a node that does not find it tries again at once only if it is
/// to be mounted: for a variable alone, after ten seconds. So all that a pod needs of it is mounted.
/// Source: Kubernetes, `pkg/kubelet/pod_workers.go` (`completeWork`) and `pkg/kubelet/volumemanager/volume_manager.go`.
fn volumes(settings: &Settings, job: &BuildJob) -> (Vec<Volume>, Vec<VolumeMount>) {
    let file = |key: &str, path: &str| KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        ..KeyToPath::default()
    };
    let proxies: Vec<_> = settings.proxies.secret_data().keys().map(|key| file(key, key)).collect();
    let parts = [
        (
            settings.has_credentials,
            "docker-config",
            DOCKER_CONFIG_DIRECTORY,
            vec![file(DOCKER_CONFIG_KEY, "config.json")],
        ),
        (
            settings.target.certificate_authority.is_some(),
            "registry-ca",
            CA_DIRECTORY,
            vec![file(CA_KEY, CA_KEY)],
        ),
        (settings.syncs(), "context-key", CONTEXT_KEY_DIRECTORY, vec![file(CONTEXT_KEY, "key")]),
        (settings.proxies.have_credentials(), "proxies", PROXIES_DIRECTORY, proxies),
    ];
    parts
        .into_iter()
        .filter(|(wanted, ..)| *wanted)
        .map(|(_, name, directory, files)| {
            let secret = SecretVolumeSource {
                secret_name: Some(secret_name(job)),
                items: Some(files),
                ..SecretVolumeSource::default()
            };
            let volume = Volume { name: name.to_owned(), secret: Some(secret), ..Volume::default() };
            let mount = VolumeMount {
                name: name.to_owned(),
                mount_path: directory.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            };
            (volume, mount)
        })
        .unzip()
}

fn metadata(name: String, settings: &Settings, ownership: &Ownership) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(settings.namespace.name.clone()),
        labels: Some(ownership.labels()),
        annotations: Some(ownership.annotations()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
