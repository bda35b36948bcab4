//! The daemon's life: brought up when a build needs it, replaced when its configuration changes,
//! watched while a build runs on it.
//!
//! Nothing here ends a daemon that has builds: Kubernetes tells an outdated one to stop, and it
//! finishes what it has begun. One that nobody uses is scaled to zero by whoever looks.
//!
//! Why: docs/decisions/41-daemons-are-replaced.md

use garden_build_core::{ErrorKind, EventSink, Remedy, WarningCode};
use garden_cluster::{
    AllowedPeers, Cluster, ClusterError, DaemonPod, DeploymentWords, Diagnosis, ManagedDeployment,
    PodPullSecrets, RegistryCredentials, Remedies, ServicePolicy, Sight, VolumeWords, configuration,
    is_refused, pod_of, used_at,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::client::TlsIdentity;
use crate::spec::{self, CONTAINER, NAME, PORT, PROXY_SECRET, Settings};

pub(crate) mod certificates;
mod standing;

use standing::{Standing, standing};

const ENDED: Remedy = Remedy::set(
    &["clusterBuildkit.rootless", "clusterBuildkit.hostUsers"],
    "see what the daemon said last; `rootless` needs nodes that allow user namespaces, and `hostUsers: false` nodes whose \
                     container runtime gives them to pods (containerd 2 with runc 1.2, CRI-O 1.25; Linux 6.3)",
);

/// Which Deployment the daemon is, and what is said of it.
const WORDS: DeploymentWords = DeploymentWords {
    what: "the BuildKit daemon",
    name: NAME,
    container: CONTAINER,
    volume: Some(VolumeWords {
        claim: NAME,
        storage_class: "clusterBuildkit.storage.storageClass",
        keeps_size: Remedy::set(
            &["clusterBuildkit.storage.size"],
            "set `clusterBuildkit.storage.size` to its size, or delete the Deployment and the claim garden-buildkit to \
                     start with an empty one",
        ),
        quota: Remedy::set(
            &["clusterBuildkit.storage.size"],
            "set `clusterBuildkit.storage.size` to less, or raise the namespace's ResourceQuota",
        ),
    }),
    remedies: Remedies {
        memory: Remedy::set(
            &["resources.builder.limits.memory"],
            "raise `resources.builder.limits.memory`, which the daemon shares with all steps",
        ),
        evicted: Remedy::set(
            &["resources.builder.requests"],
            "raise `resources.builder.requests` (memory, ephemeralStorage) so that the daemon gets a node with room",
        ),
        disk_limit: Remedy::set(
            &["resources.builder.limits.ephemeralStorage"],
            "raise `resources.builder.limits.ephemeralStorage`, or set it if a LimitRange of the namespace sets a lower one",
        ),
        scheduling: Remedy::set(
            &["clusterBuildkit.nodeSelector", "clusterBuildkit.tolerations", "resources.builder.requests"],
            "check `clusterBuildkit.nodeSelector`, `clusterBuildkit.tolerations` and `resources.builder.requests` against \
                     the cluster's nodes",
        ),
        port: None,
        image: Remedy::set(
            &["clusterBuildkit.image", "imagePullSecrets"],
            "check `clusterBuildkit.image`, and that nodes can pull it: those of `imagePullSecrets` that have a user and a password for \
                its registry are brought to the daemon's namespace for that",
        ),
        start: ENDED,
        quota: Remedy::set(
            &["resources.builder"],
            "lower `resources.builder`, or raise the namespace's ResourceQuota",
        ),
        limit_range: Remedy::set(
            &["resources.builder"],
            "set amounts in `resources.builder` that the namespace's LimitRange allows",
        ),
        // `baseline` forbids a privileged container, and unconfined profiles as well.
        pod_security: Remedy::set(
            &["buildMode"],
            "BuildKit, rootless too, needs a namespace with the label \
                       `pod-security.kubernetes.io/enforce: privileged`; set it, or use `buildMode: kaniko`",
        ),
        privileges: Remedy::set(
            &["clusterBuildkit.rootless"],
            "set `clusterBuildkit.rootless: true`, which needs no privileged container, or allow one in this namespace",
        ),
    },
    ended: ENDED,
    // Where in its own code it failed follows in many lines. Source: BuildKit, `cmd/buildkitd/main.go`.
    complaint: Some("buildkitd: "),
    foreign: Remedy::new("delete it if nothing uses it any more, or build in another namespace"),
    missing: Remedy::build_again(
        "build again; clients that share a namespace need the same `clusterBuildkit`, `resources.builder`, `proxies` and `telemetry`",
    ),
    // As long as builds on a volume that only one daemon can use; the build has a time limit.
    longest: None,
};

/// The Deployment of a namespace's daemon.
pub(crate) fn managed(cluster: &Cluster, namespace: &str) -> ManagedDeployment {
    ManagedDeployment::new(cluster, namespace, &WORDS)
}

/// The policy of its pods. Nobody connects to them but to the port of a daemon that listens, which takes nobody without a certificate of its
/// authority; builds come by commands in the pod else. RUN steps may listen on other ports, as they share the pod's network.
pub(crate) fn policy(cluster: &Cluster, settings: &Settings) -> ServicePolicy {
    let allowed = if settings.options.listen { AllowedPeers::Port(PORT) } else { AllowedPeers::Nobody };
    let metadata = spec::metadata(NAME.to_owned(), settings);
    ServicePolicy::new(cluster, &WORDS, metadata, allowed, settings.network_policies)
}

/// A daemon that takes builds, and how it knows its clients.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Where it runs.
    pub pod: DaemonPod,
    /// Who it is and who we are on its TCP port, if it listens.
    pub identity: Option<TlsIdentity>,
}

/// Two clients that replace each other's daemon do so within this time.
const RECENT_SECONDS: i64 = 600;

/// Makes sure that a daemon with these settings runs, and returns it. Nodes pull its image with `credentials`.
///
/// If one does, this costs two requests at once, three if it listens, one more if its proxies have passwords, one more with a `NetworkPolicy`, and then one for each Secret
/// that nodes need a copy of; it changes nothing but such copies, and the note that it is in use, which is written now and then. A Deployment
/// with other settings is replaced: the last client wins, and builds on the former daemon run to their end. A Deployment
/// that was scaled to nothing or paused is started again; nothing is said of it if that was done because nobody used it. Other
/// changes that somebody made by hand stay until the settings change.
///
/// # Errors
/// With the cause, within seconds, if the daemon cannot start. It waits without limit for what may
/// come, such as the end of builds on a volume that only one daemon can use; the caller has the time limit.
pub async fn ensure(
    cluster: &Cluster,
    settings: &Settings,
    credentials: &RegistryCredentials,
    events: &EventSink,
) -> Result<Daemon, ClusterError> {
    let namespace = settings.namespace.name.as_str();
    let (managed, policy) = (managed(cluster, namespace), policy(cluster, settings));
    let proxy_secret = async {
        if settings.proxies.have_credentials() { managed.own::<Secret>(PROXY_SECRET).await } else { Ok(None) }
    };
    // In boxes, for they are large.
    let looking = Box::pin(async {
        let certificates = certificates::existing(cluster, settings);
        tokio::try_join!(managed.look(), certificates, proxy_secret, policy.is_due())
    });
    let (seen, certificates, proxy_secret, policy_is_due) = looking.await?;
    let live = seen.live.as_ref();
    if live.is_none() {
        cluster.ensure_namespace(&settings.namespace).await?;
    }
    if policy_is_due {
        policy.apply().await?;
    }
    let certificates = match certificates {
        None if settings.options.listen => Some(certificates::create(cluster, settings).await?),
        certificates => certificates,
    };
    let metadata = spec::proxy_secret(settings, live);
    let proxy_secret = Box::pin(settings.proxies.keep_in_secret(cluster, metadata, proxy_secret)).await?;
    let brought = credentials.bring_to(namespace, &[&settings.options.image]).await;
    let settings = &Settings {
        // A daemon reads its certificates once, so others need another daemon.
        certificates: certificates.as_ref().map(|certificates| certificates.fingerprint.clone()),
        pull_secrets: brought.names_beside(live.and_then(pod_of)),
        proxy_secret,
        ..settings.clone()
    };
    // Often there is nothing to do.
    let bringing_up = Box::pin(bring_up(cluster, settings, seen, &brought, events));
    let pod = bringing_up.await.map_err(|error| brought.explain(error))?;
    Ok(Daemon { pod, identity: certificates.map(|certificates| certificates.identity) })
}

/// Starts the daemon, or takes the one that is there, from what the cluster was just `seen` to have.
async fn bring_up(
    cluster: &Cluster,
    settings: &Settings,
    seen: Sight,
    brought: &PodPullSecrets,
    events: &EventSink,
) -> Result<DaemonPod, ClusterError> {
    let namespace = settings.namespace.name.as_str();
    let managed = managed(cluster, namespace);
    let wanted = spec::deployment(settings);
    let is_wanted = |live: &Deployment| configuration(&live.metadata) == configuration(&wanted.metadata);
    let seen = if seen.live.as_ref().is_some_and(is_wanted) {
        managed.used_from_now_on(seen, settings.idle_after).await?
    } else {
        seen
    };
    let Sight { live, pods, now } = seen;
    let standing = standing(live.as_ref(), &wanted);
    match &standing {
        Standing::Current => {
            if let Some(daemon) = managed.choose(&pods, configuration(&wanted.metadata)) {
                return Ok(daemon);
            }
        }
        Standing::Absent => {}
        Standing::Stopped => events.log(format!(
            "Deployment {namespace}/{NAME} was scaled to nothing or paused, and is started again"
        )),
        Standing::Outdated { since } => tell_of_replacement(cluster, namespace, *since, events).await,
    }
    brought.warn(events);
    if brought.have_changed() {
        managed.end_unpulled(&pods, events).await;
    }
    // What the pod refers to comes before it, even if somebody has removed it meanwhile.
    if let Some(claim) = spec::claim(settings) {
        managed.ensure_claim(&claim, events).await?;
    }
    if let Some(account) = spec::service_account(settings) {
        cluster.apply(&account).await?;
    }
    cluster.apply::<ConfigMap>(&spec::config_map(settings, live.as_ref())).await?;
    if standing != Standing::Current {
        let mut used = wanted.clone();
        used_at(&mut used.metadata, now);
        let applied = apply(cluster, live.as_ref(), &used).await?;
        if live.is_none() {
            cluster.apply::<ConfigMap>(&spec::config_map(settings, Some(&applied))).await?;
            if settings.proxies.have_credentials() {
                let owned = json!({ "metadata": { "ownerReferences": spec::owned_by(&applied) } });
                cluster.merge::<Secret>(namespace, PROXY_SECRET, &owned).await?;
            }
        }
    }
    if live.as_ref().is_some_and(is_refused) {
        try_again(cluster, namespace).await?;
    }
    managed.ready_as(configuration(&wanted.metadata), events).await
}

/// States that the daemon is replaced; if this was done just before, in case it is two clients in turn.
async fn tell_of_replacement(
    cluster: &Cluster,
    namespace: &str,
    since: Option<Timestamp>,
    events: &EventSink,
) {
    let now = cluster.server_time().await.unwrap_or_else(|_| Timestamp::now());
    let age = since.map(|since| now.as_second() - since.as_second());
    match age.filter(|age| *age < RECENT_SECONDS) {
        Some(age) => {
            let message = format!(
                "Deployment {namespace}/{NAME} was configured differently {} s ago and is replaced; builds on the former daemon finish there",
                age.max(0)
            );
            let hint = "if you did not change it, two projects or two versions of garden-build take turns in this namespace: \
                        give them the same `clusterBuildkit`, `resources.builder`, `proxies` and `telemetry`, or a namespace each";
            events.warn(WarningCode::ServiceDiffers, message, Some(hint.to_owned()));
        }
        None => events.log(format!(
            "Deployment {namespace}/{NAME} is replaced, as its configuration has changed; builds on the former daemon finish there"
        )),
    }
}

/// Makes the cluster try at once to make the pod that it has refused, in case what it was refused for
/// has been put right. The annotation goes on to the `ReplicaSet`, which looks at itself when it changes.
async fn try_again(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    let now = Timestamp::now().to_string();
    let patch = json!({ "metadata": { "annotations": { "garden-build/tried": now } } });
    cluster.merge::<Deployment>(namespace, NAME, &patch).await.map(drop)
}

/// Whether root in the daemon's pod is nobody on the node. An API server that has this switched off makes it root there, and says
/// nothing of it: `dropDisabledFields` in Kubernetes 1.34, `pkg/api/pod/util.go`.
fn has_user_namespace(deployment: &Deployment) -> bool {
    pod_of(deployment).is_some_and(|pod| pod.host_users == Some(false))
}

/// Whether the API server does not know a field of an object that it is to apply.
/// Sources of the words: Kubernetes 1.34, `apimachinery/pkg/util/managedfields/internal/structuredmerge.go` (older ones do not name
/// the object), and structured-merge-diff 6, `typed/validate.go`; if there are several, each has a line.
fn has_unknown_field(message: &str) -> bool {
    message.starts_with("failed to create typed patch object")
        && message.lines().any(|line| line.ends_with(": field not declared in schema"))
}

async fn apply(
    cluster: &Cluster,
    live: Option<&Deployment>,
    wanted: &Deployment,
) -> Result<Deployment, ClusterError> {
    let namespace = wanted.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(strategy) = live.and_then(|live| standing::strategy_to_replace(live, wanted)) {
        // An apply takes back only what it has set itself; the server's validation allows no rest of
        // another strategy's parameters.
        let patch = json!({ "spec": { "strategy": { "type": strategy, "rollingUpdate": null } } });
        cluster.merge::<Deployment>(namespace, NAME, &patch).await?;
    }
    if has_user_namespace(wanted) && !has_user_namespace(&cluster.rehearse(wanted).await?) {
        return Err(ClusterError::Pod(Diagnosis::other(
            ErrorKind::BuilderStart,
            format!(
                "the cluster would give the pod of Deployment {namespace}/{NAME} no user namespace of its own: its API server ignores the field `hostUsers`"
            ),
            "turn on the feature gate UserNamespacesSupport (Kubernetes 1.33 and later have it on), or leave out \
             `clusterBuildkit.hostUsers`: the daemon is then root on its node",
        )));
    }
    match cluster.apply(wanted).await {
        Err(ClusterError::Refused { status, .. }) if has_unknown_field(&status.message) => {
            let mut older = wanted.clone();
            spec::for_older_servers(&mut older);
            cluster.apply(&older).await
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_field_that_the_server_does_not_know_is_left_out() {
        let object = "(demo/garden-buildkit; apps/v1, Kind=Deployment)";
        let unknown = "template.spec.hostUsers: field not declared in schema";
        for message in [
            format!("failed to create typed patch object {object}: .spec.{unknown}"),
            format!(
                "failed to create typed patch object {object}: errors:\n  .spec.{unknown}\n  .spec.x: expected map"
            ),
            format!("failed to create typed patch object: .spec.{unknown}"),
        ] {
            assert!(has_unknown_field(&message), "{message}");
        }
        assert!(!has_unknown_field("admission webhook denied the request: field not declared in schema"));
    }
}
