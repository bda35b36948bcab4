use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::names::{is_dns_subdomain, mebibytes, no_effect};

/// The volumes of the services that a provider installs in the cluster: the field `storage`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProviderStorage {
    /// For the Docker daemon of `cluster-docker`. Default: 20 GiB.
    pub builder: PersistentStorage,
    /// For the registry within the cluster. Default: 20 GiB.
    pub registry: PersistentStorage,
    /// For the build contexts that kaniko's context service keeps. Default: none, so that they go with its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<PersistentStorage>,
}

/// A persistent volume. Besides the volumes in `storage`, there is one for the local cache of a `BuildKit`
/// daemon: the field `clusterBuildkit.storage`, an extension that Garden does not have.
///
/// ```
/// assert_eq!(garden_config::PersistentStorage::default().size_quantity(), "20Gi");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PersistentStorage {
    /// The volume's size in MiB, like the sizes of Garden's own volumes, and with their default:
    /// [`PersistentStorage::DEFAULT_SIZE`].
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub size: u32,
    /// The storage class that provides the volume. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

impl ProviderStorage {
    /// Reads the field `storage`. What it says of services that are not needed is read, and noticed; `syncs` says
    /// whether there is a context service.
    pub(crate) fn read(node: &Node, syncs: bool, problems: &Problems) -> Self {
        let mut storage = Self::default();
        let Some(fields) = Fields::open(node, "`storage`", problems) else { return storage };
        let read =
            |name, what| fields.node(name).and_then(|node| PersistentStorage::read(node, what, problems));
        storage.builder = read("builder", "`storage.builder`").unwrap_or_default();
        storage.registry = read("registry", "`storage.registry`").unwrap_or_default();
        storage.sync = read("sync", "`storage.sync`");
        if storage.sync.is_some() && !syncs {
            let message =
                "`storage.sync` has no effect: it is for `buildMode: kaniko` with `contextDelivery: sync`";
            no_effect("storage.sync", &fields, message, problems);
        }
        if let Some(nfs) = fields.node("nfs").and_then(|node| Fields::open(node, "`storage.nfs`", problems)) {
            nfs.text("storageClass");
            nfs.finish();
            let message = "`storage.nfs` has no effect: no shared volume is needed here";
            no_effect("storage.nfs", &fields, message, problems);
        }
        fields.finish();
        storage
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let builder = self.builder.issues().into_iter().map(|issue| issue.within("builder"));
        let registry = self.registry.issues().into_iter().map(|issue| issue.within("registry"));
        let sync = self.sync.iter().flat_map(PersistentStorage::issues).map(|issue| issue.within("sync"));
        builder.chain(registry).chain(sync).collect()
    }
}

impl PersistentStorage {
    /// The size in MiB that is used unless another is set: 20 GiB.
    pub const DEFAULT_SIZE: u32 = 20_480;

    /// Returns the size as a Kubernetes quantity: `20Gi`.
    pub fn size_quantity(&self) -> String {
        mebibytes(self.size)
    }

    /// Reads the field called `what`.
    pub(crate) fn read(node: &Node, what: &str, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, what, problems)?;
        let storage = Self {
            size: fields.integer("size", 1..=i64::from(u32::MAX)).unwrap_or(Self::DEFAULT_SIZE),
            storage_class: fields.text("storageClass").map(str::to_owned),
        };
        fields.finish_with(|| storage.issues());
        Some(storage)
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let size = (self.size == 0).then(|| {
            let message = "`size` must be a whole number of at least 1";
            Issue::new("size", message, "give the size in MiB, or no `storage` at all")
        });
        let class = self.storage_class.as_deref().filter(|class| !is_dns_subdomain(class)).map(|class| {
            let hint = "use at most 253 lower-case letters, digits, `-` and `.`";
            Issue::new("storageClass", format!("`{class}` cannot be the name of a storage class"), hint)
        });
        size.into_iter().chain(class).collect()
    }
}

impl Default for PersistentStorage {
    fn default() -> Self {
        Self { size: Self::DEFAULT_SIZE, storage_class: None }
    }
}
