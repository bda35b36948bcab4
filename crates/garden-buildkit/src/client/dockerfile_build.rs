//! What to build, and the attributes that say so to the daemon's Dockerfile frontend.

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use garden_build_core::ProxyVariables;
use serde::Serialize;

/// The name under which a [`Session`](super::Session) serves the build context.
pub const CONTEXT: &str = "context";
/// The name under which a [`Session`](super::Session) serves the directory of the Dockerfile.
pub const DOCKERFILE: &str = "dockerfile";

/// The type of a cache that is part of the image.
const INLINE: &str = "inline";

/// The attribute of exports of images and of caches that says how hard layers are compressed. Layers that the daemon has already, such as those
/// of base images, stay as they are.
///
/// Source: `BuildKit`, `util/compression/attrs.go`.
pub(crate) const COMPRESSION_LEVEL: &str = "compression-level";

/// A build of a Dockerfile.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DockerfileBuild {
    /// The Dockerfile's path in the directory [`DOCKERFILE`]. Empty: `Dockerfile`.
    pub filename: String,
    /// The stage to build. Default: the last one.
    pub target: Option<String>,
    /// Build arguments.
    pub build_args: BTreeMap<String, String>,
    /// The proxies of RUN steps. The daemon gets them as build arguments beside those above, and a step's cache does not depend on them.
    /// Source: `BuildKit`, `solver/llbsolver/ops/exec.go` (`CacheMap`).
    #[serde(skip_serializing_if = "ProxyVariables::is_empty")]
    pub proxies: ProxyVariables,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Platforms, such as `linux/arm64`; several give an index. Default: the daemon's.
    pub platforms: Vec<String>,
    /// Run every step, whatever is in the caches.
    pub no_cache: bool,
    /// Entries of `/etc/hosts` in RUN steps: host name and address.
    pub extra_hosts: BTreeMap<String, String>,
    /// Named contexts, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Caches to look into, in this order.
    pub cache_imports: Vec<CacheEntry>,
    /// Caches to fill.
    pub cache_exports: Vec<CacheEntry>,
    /// What becomes of the result.
    pub image: ImageExport,
    /// What the build is allowed that the daemon does not allow by itself, such as `network.host`.
    pub entitlements: Vec<String>,
    /// Further attributes of the frontend, by its own names; they take precedence over the fields above.
    pub attributes: BTreeMap<String, String>,
}

/// What a name in `FROM`, or in `COPY --from`, stands for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum NamedContext {
    /// The directory that the [`Session`](super::Session) serves under this name.
    Directory(String),
    /// An image in a registry.
    Image(String),
    /// A Git repository or an archive at a URL.
    Url(String),
}

/// A cache in the words of the daemon: a type, and attributes that depend on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheEntry {
    /// The type, such as `registry` or `inline`.
    pub kind: String,
    /// The attributes, such as `ref` and `mode`.
    pub attributes: BTreeMap<String, String>,
}

/// What becomes of the image.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ImageExport {
    /// It stays in the daemon's cache.
    #[default]
    None,
    /// The daemon pushes it.
    Pushed {
        /// The names to push it under.
        names: Vec<String>,
        /// The registries of these names speak plain HTTP, or have a certificate that nobody checks.
        insecure: bool,
        /// How hard the layers that the daemon makes are compressed, from 0 to 9. `None`: as the daemon likes.
        compression_level: Option<u8>,
    },
    /// It becomes one of the images of the Docker daemon that the `BuildKit` daemon is a part of.
    Docker {
        /// The names that it has there.
        names: Vec<String>,
    },
}

impl DockerfileBuild {
    /// Returns the same build without a cache within the image, and under its first name only; `None` if it
    /// has no such cache.
    pub fn without_inline_cache(&self) -> Option<Self> {
        let mut build = self.clone();
        build.cache_exports.retain(|entry| entry.kind != INLINE);
        if let ImageExport::Pushed { names, .. } = &mut build.image {
            names.truncate(1);
        }
        (build.cache_exports.len() < self.cache_exports.len()).then_some(build)
    }

    /// Puts the build into the words of the daemon.
    ///
    /// Source: `BuildKit`, `frontend/dockerui/config.go` and `exporter/containerimage/opts.go`.
    pub(super) fn into_request(self, reference: String, session: String) -> proto::SolveRequest {
        let exporters = self.image.exporters();
        let (exporter_deprecated, exporter_attrs_deprecated) =
            exporters.first().map(|first| (first.r#type.clone(), first.attrs.clone())).unwrap_or_default();
        let imports: Vec<_> = self.cache_imports.iter().map(CacheEntry::to_proto).collect();
        let exports = self.cache_exports.iter().map(CacheEntry::to_proto).collect();
        proto::SolveRequest {
            r#ref: reference,
            session,
            entitlements: self.entitlements.clone(),
            frontend: "dockerfile.v0".to_owned(),
            frontend_attrs: self.into_frontend_attributes(),
            exporters,
            // Daemons before 0.13 read only these.
            exporter_deprecated,
            exporter_attrs_deprecated,
            cache: Some(proto::CacheOptions { imports, exports, ..proto::CacheOptions::default() }),
            ..proto::SolveRequest::default()
        }
    }

    fn into_frontend_attributes(self) -> HashMap<String, String> {
        let mut attributes = HashMap::new();
        if !self.filename.is_empty() {
            attributes.insert("filename".to_owned(), self.filename);
        }
        attributes.extend(self.target.map(|target| ("target".to_owned(), target)));
        if !self.platforms.is_empty() {
            attributes.insert("platform".to_owned(), self.platforms.join(","));
        }
        if self.no_cache {
            // Anything but an empty value is a list of stages.
            attributes.insert("no-cache".to_owned(), String::new());
        }
        if !self.extra_hosts.is_empty() {
            let hosts: Vec<String> =
                self.extra_hosts.iter().map(|(host, address)| format!("{host}={address}")).collect();
            attributes.insert("add-hosts".to_owned(), hosts.join(","));
        }
        let prefixed = |prefix: &str, map: BTreeMap<String, String>| {
            map.into_iter().map(|(name, value)| (format!("{prefix}:{name}"), value)).collect::<Vec<_>>()
        };
        attributes.extend(prefixed("build-arg", self.proxies.build_args(&self.build_args)));
        attributes.extend(prefixed("build-arg", self.build_args));
        attributes.extend(prefixed("label", self.labels));
        for (name, context) in self.contexts {
            let value = match context {
                NamedContext::Directory(directory) => format!("local:{directory}"),
                NamedContext::Image(reference) => format!("docker-image://{reference}"),
                NamedContext::Url(url) => url,
            };
            attributes.insert(format!("context:{name}"), value);
        }
        if !self.cache_imports.is_empty() {
            // The solver reads the imports of the request, the frontend only these.
            let imports: Vec<_> = self
                .cache_imports
                .iter()
                .map(|entry| serde_json::json!({ "Type": entry.kind, "Attrs": entry.attributes }))
                .collect();
            attributes.insert("cache-imports".to_owned(), serde_json::Value::Array(imports).to_string());
        }
        attributes.extend(self.attributes);
        attributes
    }
}

impl ImageExport {
    /// The image's names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Pushed { names, .. } | Self::Docker { names } => names,
        }
    }

    /// The exporter of Docker's own is called `moby`; source: Docker, `builder/builder-next/worker`.
    fn exporters(&self) -> Vec<proto::Exporter> {
        let mut attrs = HashMap::from([("name".to_owned(), self.names().join(","))]);
        let kind = match self {
            Self::None => return Vec::new(),
            Self::Docker { .. } => "moby",
            Self::Pushed { insecure, compression_level, .. } => {
                attrs.insert("push".to_owned(), "true".to_owned());
                if let Some(level) = compression_level {
                    attrs.insert(COMPRESSION_LEVEL.to_owned(), level.to_string());
                }
                if *insecure {
                    attrs.insert("registry.insecure".to_owned(), "true".to_owned());
                }
                "image"
            }
        };
        vec![proto::Exporter { r#type: kind.to_owned(), attrs }]
    }
}

impl CacheEntry {
    fn to_proto(&self) -> proto::CacheOptionsEntry {
        proto::CacheOptionsEntry {
            r#type: self.kind.clone(),
            attrs: self.attributes.clone().into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_asked_for_reaches_the_daemon() {
        let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let cache = CacheEntry {
            kind: "registry".to_owned(),
            attributes: BTreeMap::from([text(("ref", "r.example/a:c"))]),
        };
        let build = DockerfileBuild {
            filename: "api.Dockerfile".to_owned(),
            target: Some("app".to_owned()),
            build_args: BTreeMap::from([text(("A", "1"))]),
            proxies: ProxyVariables::new([("HTTPS_PROXY", "http://who:s3cret@p:1".into())], ".svc"),
            labels: BTreeMap::from([text(("L", "2"))]),
            platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
            no_cache: true,
            extra_hosts: BTreeMap::from([text(("db", "10.0.0.1")), text(("web", "10.0.0.2"))]),
            contexts: BTreeMap::from([
                ("base".to_owned(), NamedContext::Image("r.example/base:1".to_owned())),
                ("lib".to_owned(), NamedContext::Directory("lib".to_owned())),
            ]),
            cache_imports: vec![cache.clone()],
            cache_exports: vec![cache],
            image: ImageExport::Pushed {
                names: vec!["r.example/a:1".to_owned()],
                insecure: true,
                compression_level: Some(1),
            },
            entitlements: vec!["network.host".to_owned()],
            attributes: BTreeMap::from([text(("shm-size", "1g"))]),
        };
        let shown = format!("{build:?} {}", serde_json::to_string(&build).expect("JSON"));
        assert!(shown.contains("<redacted>@p:1") && !shown.contains("s3cret"), "{shown}");
        let request = build.into_request("ref".to_owned(), "session".to_owned());
        let attributes: BTreeMap<_, _> = request.frontend_attrs.into_iter().collect();
        insta::assert_json_snapshot!("frontend_attributes", attributes);
        let exporter: BTreeMap<_, _> = request.exporters[0].attrs.clone().into_iter().collect();
        insta::assert_json_snapshot!("image_exporter", exporter);
        assert_eq!(request.entitlements, ["network.host"]);
        let cache = request.cache.expect("cache options");
        assert_eq!(cache.imports, cache.exports);
        assert_eq!(cache.imports[0].attrs["ref"], "r.example/a:c");
    }

    #[test]
    fn an_image_for_docker_is_not_pushed() {
        let image = ImageExport::Docker { names: vec!["r.example/a:1".to_owned()] };
        let request = DockerfileBuild { image, ..DockerfileBuild::default() }
            .into_request(String::new(), String::new());
        assert_eq!(request.exporter_deprecated, "moby");
        let names = HashMap::from([("name".to_owned(), "r.example/a:1".to_owned())]);
        assert_eq!((request.exporters[0].r#type.as_str(), &request.exporters[0].attrs), ("moby", &names));
    }

    #[test]
    fn a_build_without_names_is_not_exported() {
        let request = DockerfileBuild::default().into_request(String::new(), String::new());
        assert!(request.exporters.is_empty() && request.exporter_deprecated.is_empty());
        assert!(request.frontend_attrs.is_empty(), "{:?}", request.frontend_attrs);
    }
}
