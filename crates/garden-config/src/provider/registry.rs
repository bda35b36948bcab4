use std::path::{Path, PathBuf};

use garden_build_core::ImageReference;
use serde::Serialize;

use crate::ConfigError;
use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::document::yaml;

/// A registry. The provider's field `deploymentRegistry` is the one that built images are pushed to and
/// the cluster pulls them from; the caches of `clusterBuildkit` may have registries of their own.
///
/// ```
/// use garden_config::DeploymentRegistry;
///
/// let mut registry = DeploymentRegistry::new("registry.example:5000")?;
/// registry.namespace = Some("my-team".to_owned());
/// assert_eq!(registry.host(), "registry.example:5000");
/// assert_eq!(registry.repository("api"), "my-team/api");
/// # Ok::<(), garden_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = ["hostname"])))]
#[non_exhaustive]
pub struct DeploymentRegistry {
    /// The host without port and path; `docker.io` for Docker Hub.
    pub hostname: String,
    /// The port. Default: 443, or 80 with `insecure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub port: Option<u16>,
    /// The path within the registry that all repositories start with. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether the registry speaks plain HTTP. Default: no.
    pub insecure: bool,
    /// A PEM file with the certificates to trust for this registry besides the system's. An
    /// extension: Garden has no such field. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<PathBuf>,
}

impl DeploymentRegistry {
    /// Uses the registry at `hostname`: a host, optionally with a port, and with a path that becomes
    /// the start of every repository. The other names that Docker Hub goes by, of its web page
    /// (`hub.docker.com`) and of its servers, mean its registry, `docker.io`.
    ///
    /// # Errors
    /// If `hostname` starts with a scheme (`https://`), or cannot be part of an image's name.
    pub fn new(hostname: &str) -> Result<Self, ConfigError> {
        let registry = Self::parse(hostname).map_err(|issue| ConfigError::from_issues(vec![issue]))?;
        ConfigError::check(registry.host_issue().into_iter().collect())?;
        Ok(registry)
    }

    /// Returns the `host[:port]` that image names start with.
    pub fn host(&self) -> String {
        self.port.map_or_else(|| self.hostname.clone(), |port| format!("{}:{port}", self.hostname))
    }

    /// Returns the repository of the image `image_name` at this registry: `namespace/image_name`.
    pub fn repository(&self, image_name: &str) -> String {
        let namespace = self.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        namespace.map_or_else(|| image_name.to_owned(), |namespace| format!("{namespace}/{image_name}"))
    }

    /// Reads a registry that images are pushed to; messages call it `what`.
    pub(crate) fn read(node: &Node, what: &str, problems: &Problems) -> Option<Self> {
        Self::read_with(node, what, problems, Self::issues)
    }

    /// Reads a registry that other rules hold for: `rules` names those that it breaks.
    pub(crate) fn read_with(
        node: &Node,
        what: &str,
        problems: &Problems,
        rules: impl FnOnce(&Self) -> Vec<Issue>,
    ) -> Option<Self> {
        let fields = Fields::open(node, what, problems)?;
        let port = fields.integer("port", 1..=i64::from(u16::MAX));
        let namespace = fields.text("namespace").filter(|namespace| !namespace.is_empty());
        let insecure = fields.flag("insecure").unwrap_or(false);
        let ca_certificate = fields
            .text("caCertificate")
            .and_then(|path| problems.path(path, fields.key_position("caCertificate")));
        let registry = fields.required_text("hostname").and_then(|hostname| match Self::parse(hostname) {
            Ok(registry) => Some(registry),
            Err(issue) => {
                fields.report(issue);
                None
            }
        });
        let Some(mut registry) = registry else {
            fields.finish();
            return None;
        };
        if let (Some(first), Some(second)) = (registry.port, port)
            && first != second
        {
            let message = format!("`hostname` has the port {first} but `port` is {second}");
            fields.report(Issue::new("port", message, "set the port in one of the two"));
        }
        let own_issues = namespace.and_then(|namespace| path_issue(namespace, "namespace"));
        registry.port = port.or(registry.port);
        registry.namespace = match (registry.namespace, namespace) {
            (Some(path), Some(namespace)) => Some(format!("{path}/{namespace}")),
            (path, namespace) => path.or(namespace.map(str::to_owned)),
        };
        registry.insecure = insecure;
        registry.ca_certificate = ca_certificate;
        fields.finish_with(|| own_issues.map_or_else(|| rules(&registry), |issue| vec![issue]));
        Some(registry)
    }

    /// Takes `hostname` apart. Whether the host is one is checked once the port is known.
    fn parse(text: &str) -> Result<Self, Issue> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let insecure = if scheme == "http" { ", and `insecure: true` beside it" } else { "" };
            let message = format!("`hostname` must not start with `{scheme}://`");
            return Err(Issue::new("hostname", message, format!("write `{rest}`{insecure}")));
        }
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        let (hostname, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand within brackets.
            Some((hostname, port)) if !port.contains(']') => (hostname, Some(port)),
            _ => (authority, None),
        };
        let port = port.map(str::parse).transpose().map_err(|_| {
            let message = format!("`{text}` has a port that is not a number from 1 to 65535");
            Issue::new("hostname", message, "write `host` or `host:port`")
        })?;
        let hostname = if DOCKER_HUB.contains(&hostname) { "docker.io" } else { hostname };
        let path = path.trim_end_matches('/');
        if let Some(issue) = path_issue(path, "hostname") {
            return Err(issue);
        }
        let namespace = (!path.is_empty()).then(|| path.to_owned());
        let hostname = hostname.to_owned();
        Ok(Self { hostname, port, namespace, insecure: false, ca_certificate: None })
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let hub = (self.hostname == "docker.io" && namespace.is_empty()).then(|| {
            let hint = "set `namespace` to your user or organisation at Docker Hub";
            Issue::new("namespace", "Docker Hub takes images only within a namespace", hint)
        });
        let path = path_issue(namespace, "namespace");
        self.reach_issues().into_iter().chain(path).chain(hub).collect()
    }

    /// The rules for how the registry is reached.
    pub(crate) fn reach_issues(&self) -> Vec<Issue> {
        let certificate = self.ca_certificate.as_deref().and_then(certificate_issue);
        self.host_issue().into_iter().chain(certificate).collect()
    }

    fn host_issue(&self) -> Option<Issue> {
        let host = self.host();
        // Not by `ImageReference::tagged`, which would not tell the two mistakes apart.
        let reference = format!("{host}/namespace/image:tag").parse::<ImageReference>().ok();
        match reference.filter(|_| is_host_name(&self.hostname)) {
            Some(reference) if reference.registry() == host => None,
            // Docker's grammar takes a first part without dot and port for a user at Docker Hub.
            Some(_) => {
                let message = format!("`{host}` in an image's name would mean a user at Docker Hub");
                Some(Issue::new("hostname", message, "write the full host name, or add the port"))
            }
            None => {
                let message = format!("`{host}` cannot be the host of a registry");
                Some(Issue::new("hostname", message, "write `host` or `host:port`"))
            }
        }
    }
}

/// What else Docker Hub is called: by its web page, in Docker's own configuration, and by its server's name.
const DOCKER_HUB: [&str; 4] =
    ["hub.docker.com", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Whether `name` is a host by the grammar of image names (`domain-name` in distribution's
/// `reference.go`); the parser of references is more lenient.
fn is_host_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        letters && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    })
}

/// Explains why `path`, from the field `field`, cannot be the start of a repository.
fn path_issue(path: &str, field: &str) -> Option<Issue> {
    // Any host will do: the registry's own is checked by itself.
    let reference = ImageReference::tagged("registry.example", &format!("{path}/image"), "tag").ok();
    let valid = path.is_empty() || reference.is_some_and(|it| it.repository() == format!("{path}/image"));
    (!valid).then(|| {
        let lower = path.to_lowercase();
        let hint = if lower == path {
            "use lower-case letters and digits, with `.`, `_` or `-` between and `/` to separate parts"
                .to_owned()
        } else {
            format!("registries allow no upper case: `{lower}`")
        };
        Issue::new(field, format!("`{path}` cannot be the start of a repository's name"), hint)
    })
}

fn certificate_issue(path: &Path) -> Option<Issue> {
    let issue = |message: String, hint: &str| Some(Issue::new("caCertificate", message, hint));
    match yaml::read_file(path) {
        Ok(text) if holds_certificate(&text) => None,
        Ok(_) => issue(
            format!("`{}` holds no certificate", path.display()),
            "give a PEM file: it has a line `-----BEGIN CERTIFICATE-----`",
        ),
        Err(error) => issue(
            format!("`{}` cannot be read: {error}", path.display()),
            "give the path of a PEM file, relative to the project file",
        ),
    }
}

/// Whether a PEM block with a certificate, and something in it, is in `text`.
fn holds_certificate(text: &str) -> bool {
    let block =
        text.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    block.is_some_and(|(body, _)| !body.trim().is_empty())
}
