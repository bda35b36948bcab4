use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

/// The value of [`MANAGED_BY_LABEL`] on everything that we create, and our field manager.
pub const MANAGER: &str = "garden-build";
/// The label that says which program manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
pub(crate) const BUILD_LABEL: &str = "garden-build/build";
pub(crate) const LEASE_ANNOTATION: &str = "garden-build/lease-expires";

/// Returns an identifier for a build that no other build has: ten lower-case hexadecimal digits.
pub fn build_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(10);
    id
}

/// What marks an object as belonging to one build, so that the build's client can find it, and
/// others can once the client is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The build's identifier; see [`build_id`].
    pub build: String,
    /// When the object may be swept unless the build renews its lease, in the API server's time.
    pub lease_expires: Timestamp,
}

impl Ownership {
    /// Returns the labels of an owned object.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned()),
            (BUILD_LABEL.to_owned(), self.build.clone()),
        ])
    }

    /// Returns the annotations of an owned object.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LEASE_ANNOTATION.to_owned(), self.lease_expires.to_string())])
    }
}

/// Whether an object belongs to a build of ours. A daemon that serves many builds belongs to none of them.
pub(crate) fn is_of_build(metadata: &ObjectMeta) -> bool {
    let label = |name: &str| metadata.labels.as_ref()?.get(name);
    label(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGER) && label(BUILD_LABEL).is_some()
}

/// Returns the end of an object's lease, if it has one.
pub(crate) fn lease_of(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.annotations.as_ref()?.get(LEASE_ANNOTATION)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_from_what_it_wrote_and_from_nothing_else() {
        let ownership = Ownership { build: build_id(), lease_expires: Timestamp::UNIX_EPOCH };
        let mut metadata = ObjectMeta {
            labels: Some(ownership.labels()),
            annotations: Some(ownership.annotations()),
            ..ObjectMeta::default()
        };
        assert!(is_of_build(&metadata));
        assert_eq!(lease_of(&metadata), Some(ownership.lease_expires));

        let mut of_another_program = metadata.clone();
        let labels = of_another_program.labels.get_or_insert_default();
        labels.insert(MANAGED_BY_LABEL.to_owned(), "helm".to_owned());
        assert!(!is_of_build(&of_another_program));

        // A daemon that serves many builds belongs to none of them, and is never swept.
        metadata.labels.get_or_insert_default().remove(BUILD_LABEL);
        assert!(!is_of_build(&metadata));
        metadata.annotations = Some(BTreeMap::from([(LEASE_ANNOTATION.to_owned(), "for ever".to_owned())]));
        assert_eq!(lease_of(&metadata), None);
    }

    #[test]
    fn build_ids_are_unique_and_fit_into_names_and_labels() {
        let ids: std::collections::BTreeSet<String> = (0..100).map(|_| build_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }
}
