//! The media types that this crate knows.
//!
//! Source: OCI image specification, `media-types.md`; distribution project, "Image Manifest Version 2,
//! Schema 2".

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The forms of a manifest. Without all four, a registry may convert an image to a form that is
/// asked for, whose digest is another, or deny that it exists.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Returns whether a manifest can have this type, which may be one that is not asked for: registries have forms of their own, and
/// older ones.
pub(crate) fn is_of_manifest(media_type: &str) -> bool {
    [
        "application/vnd.oci.image.",
        "application/vnd.oci.artifact.",
        "application/vnd.docker.distribution.manifest.",
    ]
    .into_iter()
    .any(|prefix| media_type.starts_with(prefix))
}

/// Returns whether layers of this type may be left where they are.
pub(crate) fn is_non_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

/// Returns whether a manifest of this type lists others.
pub(crate) fn is_index(media_type: &str) -> bool {
    [INDEX, DOCKER_LIST].contains(&media_type)
}

/// Returns a `Content-Type` without its parameters.
pub(crate) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
