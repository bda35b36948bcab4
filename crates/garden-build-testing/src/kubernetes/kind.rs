//! Which resources there are.

/// A kind of objects, as the API names it.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its group and version, such as `apps/v1`; that of the core group is `v1`.
    pub(crate) api_version: &'static str,
    pub(crate) plural: &'static str,
    /// How objects name it, such as `Pod`.
    pub(crate) name: &'static str,
    pub(crate) is_namespaced: bool,
}

impl Kind {
    /// Returns its group; empty for the core group.
    pub(crate) fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns how messages name it: `pods`, `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        match self.group() {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether the server answers a deletion with the object instead of a `Status`.
    /// Source: Kubernetes, `ReturnDeletedObject` in `pkg/registry/core/*/storage/storage.go`.
    pub(crate) fn is_returned_when_deleted(&self) -> bool {
        matches!(self.plural, "pods" | "services" | "serviceaccounts" | "persistentvolumeclaims")
    }

    /// Whether its status is a subresource, which writes to the object leave alone.
    pub(crate) fn has_status(&self) -> bool {
        !matches!(
            self.plural,
            "secrets"
                | "configmaps"
                | "serviceaccounts"
                | "events"
                | "endpointslices"
                | "roles"
                | "rolebindings"
        )
    }
}

const fn kind(
    api_version: &'static str,
    plural: &'static str,
    name: &'static str,
    is_namespaced: bool,
) -> Kind {
    Kind { api_version, plural, name, is_namespaced }
}

const KINDS: &[Kind] = &[
    kind("v1", "configmaps", "ConfigMap", true),
    kind("v1", "events", "Event", true),
    kind("v1", "namespaces", "Namespace", false),
    kind("v1", "nodes", "Node", false),
    kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    kind("v1", "persistentvolumes", "PersistentVolume", false),
    kind("v1", "pods", "Pod", true),
    kind("v1", "replicationcontrollers", "ReplicationController", true),
    kind("v1", "resourcequotas", "ResourceQuota", true),
    kind("v1", "secrets", "Secret", true),
    kind("v1", "serviceaccounts", "ServiceAccount", true),
    kind("v1", "services", "Service", true),
    kind("apps/v1", "daemonsets", "DaemonSet", true),
    kind("apps/v1", "deployments", "Deployment", true),
    kind("apps/v1", "replicasets", "ReplicaSet", true),
    kind("apps/v1", "statefulsets", "StatefulSet", true),
    kind("batch/v1", "cronjobs", "CronJob", true),
    kind("batch/v1", "jobs", "Job", true),
    kind("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", true),
    kind("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", true),
    kind("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", true),
    kind("rbac.authorization.k8s.io/v1", "roles", "Role", true),
    kind("storage.k8s.io/v1", "storageclasses", "StorageClass", false),
];

/// Finds a kind by where it is served.
pub(crate) fn served_at(api_version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.api_version == api_version && kind.plural == plural)
}

/// Finds a kind by how objects name it.
pub(crate) fn of_object(api_version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|it| it.api_version == api_version && it.name == kind)
}

/// Finds a kind by its plural, which is unique here.
pub(crate) fn by_plural(plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.plural == plural)
}
