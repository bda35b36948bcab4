use crate::decode::Fields;
use crate::names::is_dns_subdomain;
use crate::node::Node;
use crate::problem::{Issue, Problems};
use crate::resources::mebibytes;

/// A persistent volume for the local cache of a `BuildKit` daemon: the field
/// `clusterBuildkit.storage`. An extension: Garden has no such field.
///
/// ```
/// assert_eq!(garden_config::PersistentStorage::default().size_quantity(), "20Gi");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersistentStorage {
    /// The volume's size in MiB, like the sizes of Garden's own volumes, and with their default:
    /// [`PersistentStorage::DEFAULT_SIZE`].
    pub size: u32,
    /// The storage class that provides the volume. Default: the cluster's default class.
    pub storage_class: Option<String>,
}

impl PersistentStorage {
    /// The size in MiB that is used unless another is set: 20 GiB.
    pub const DEFAULT_SIZE: u32 = 20_480;

    /// Returns the size as a Kubernetes quantity: `20Gi`.
    pub fn size_quantity(&self) -> String {
        mebibytes(self.size)
    }

    /// Reads the field `storage`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, "`storage`", problems)?;
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
