use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use http::HeaderMap;

use super::{Directory, Login};

/// A build that the daemon was asked for, and what the daemon has got from the client so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BuildRecord {
    /// The name that the client gave the build.
    pub reference: String,
    /// The client's session, by which the daemon calls it back.
    pub session: String,
    /// The key under which a daemon keeps copies of the session's directories.
    pub shared_key: String,
    /// What reads the build's definition: `dockerfile.v0`.
    pub frontend: String,
    /// The frontend's attributes, such as `filename`, `target`, and `build-arg:NAME`.
    pub attributes: BTreeMap<String, String>,
    /// What becomes of the result.
    pub exports: Vec<Export>,
    /// The caches to read.
    pub cache_imports: Vec<CacheOption>,
    /// The caches to write.
    pub cache_exports: Vec<CacheOption>,
    /// What the build asks to be allowed, such as `network.host`.
    pub entitlements: Vec<String>,
    /// The directories that were fetched, by name. Of one that was fetched more than once, the last.
    pub directories: BTreeMap<String, Directory>,
    /// The logins that were asked for, in this order.
    pub logins: Vec<LoginRecord>,
    /// The access tokens that were asked for, in this order.
    pub tokens: Vec<TokenRecord>,
    /// The secrets that were asked for, by id; `None` for one that the client does not have.
    pub secrets: BTreeMap<String, Option<Vec<u8>>>,
    /// The SSH agents that were asked for, by id, and whether the client has them.
    pub ssh_agents: BTreeMap<String, bool>,
    /// How the build is.
    pub state: BuildState,
}

impl BuildRecord {
    pub(super) fn new(request: proto::SolveRequest, shared_key: String) -> Self {
        let cache = request.cache.unwrap_or_default();
        let caches = |entries: Vec<proto::CacheOptionsEntry>| {
            entries
                .into_iter()
                .map(|it| CacheOption { kind: it.r#type, attributes: sorted(it.attrs) })
                .collect()
        };
        let exports = request.exporters.into_iter();
        Self {
            reference: request.r#ref,
            session: request.session,
            shared_key,
            frontend: request.frontend,
            attributes: sorted(request.frontend_attrs),
            exports: exports.map(|it| Export { kind: it.r#type, attributes: sorted(it.attrs) }).collect(),
            cache_imports: caches(cache.imports),
            cache_exports: caches(cache.exports),
            entitlements: request.entitlements,
            ..Self::default()
        }
    }

    /// Returns the names that the image is to have, of all exports.
    pub fn image_names(&self) -> Vec<&str> {
        self.exports.iter().flat_map(Export::image_names).collect()
    }

    /// Returns the value of a build argument.
    pub fn build_arg(&self, name: &str) -> Option<&str> {
        self.attributes.get(&format!("build-arg:{name}")).map(String::as_str)
    }

    /// Returns the content of a file in a directory that was fetched. `None` if it was not, or if it is not text.
    pub fn text(&self, directory: &str, path: &str) -> Option<&str> {
        self.directories.get(directory)?.text(path)
    }
}

/// How a build is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum BuildState {
    /// It runs.
    #[default]
    Running,
    /// It has succeeded.
    Succeeded,
    /// It has failed.
    Failed,
    /// The client has cancelled it, or its connection broke.
    Cancelled,
}

/// An exporter, and its attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Export {
    /// Such as `image`.
    pub kind: String,
    /// Such as `name` and `push`.
    pub attributes: BTreeMap<String, String>,
}

impl Export {
    pub(super) fn image_names(&self) -> impl Iterator<Item = &str> {
        let names = self.attributes.get("name").map_or("", String::as_str);
        names.split(',').filter(|name| !name.is_empty())
    }
}

/// A cache, and its attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CacheOption {
    /// Such as `registry` or `inline`.
    pub kind: String,
    /// Such as `ref` and `mode`.
    pub attributes: BTreeMap<String, String>,
}

/// A login that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LoginRecord {
    /// The registry, as `host[:port]`.
    pub host: String,
    /// What the client answered; `None` if it has no login.
    pub login: Option<Login>,
}

/// An access token that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The registry, as `host[:port]`.
    pub host: String,
    /// What it is for, such as `repository:team/api:pull,push`.
    pub scopes: Vec<String>,
    /// The token; `None` if the client leaves it to the daemon to fetch it.
    pub token: Option<String>,
}

/// A call of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The method: `Info`, `Session`, `Solve`, `Status` or `ListenBuildHistory`.
    pub method: &'static str,
    /// The header `traceparent` of the W3C Trace Context.
    pub traceparent: Option<String>,
    /// The header `tracestate`.
    pub tracestate: Option<String>,
}

impl Call {
    pub(super) fn new(method: &'static str, headers: &HeaderMap) -> Self {
        let value = |name: &str| headers.get(name).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        Self { method, traceparent: value("traceparent"), tracestate: value("tracestate") }
    }
}

fn sorted(map: HashMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter().collect()
}
