use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// How long a build may take unless the request says otherwise, as in Garden.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1200);

/// What to build: a directory, its Dockerfile, and what goes into them.
///
/// Made by [`new`](Self::new) and the methods named like the fields.
///
/// ```
/// use garden_build_core::BuildRequest;
///
/// let request = BuildRequest::new("api", "./services/api")
///     .target("production")
///     .build_arg("RELEASE", "2.1");
/// assert_eq!(request.target.as_deref(), Some("production"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BuildRequest {
    /// The image's name, which becomes the last part of the repository in the deployment registry.
    pub name: String,
    /// The context directory.
    pub directory: PathBuf,
    /// The Dockerfile, relative to the context directory. Default: `Dockerfile`.
    pub dockerfile: PathBuf,
    /// The stage of a multi-stage Dockerfile to build. Default: the last one.
    pub target: Option<String>,
    /// The build arguments. Never put a secret here: build arguments are visible in the image's
    /// history and in the builder's pod.
    pub build_args: BTreeMap<String, String>,
    /// Flags for the builder, stronger than those of the provider configuration. Default: none.
    pub extra_flags: Vec<String>,
    /// The platforms to build for, such as `linux/arm64`. Default: that of the builder's node, which
    /// is not part of the version: name it where clusters of several architectures share a registry.
    pub platforms: Vec<String>,
    /// How long the whole build may take. Default: 20 minutes.
    pub timeout: Duration,
}

impl BuildRequest {
    /// Requests the image `name` from the build context in `directory`.
    pub fn new(name: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            directory: directory.into(),
            dockerfile: PathBuf::from("Dockerfile"),
            target: None,
            build_args: BTreeMap::new(),
            extra_flags: Vec::new(),
            platforms: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Uses the Dockerfile at `path`, relative to the context directory.
    #[must_use]
    pub fn dockerfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.dockerfile = path.into();
        self
    }

    /// Builds only up to the stage `target`.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Sets the build argument `name` (`ARG name`).
    #[must_use]
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build_args.insert(name.into(), value.into());
        self
    }

    /// Adds a flag for the builder.
    #[must_use]
    pub fn extra_flag(mut self, flag: impl Into<String>) -> Self {
        self.extra_flags.push(flag.into());
        self
    }

    /// Adds a platform to build for.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platforms.push(platform.into());
        self
    }

    /// Sets how long the whole build may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}
