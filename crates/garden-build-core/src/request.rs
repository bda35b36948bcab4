use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// How long a build may take unless the request says otherwise, as in Garden.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1200);

/// What to build: a directory, its Dockerfile, and what goes into them.
///
/// ```
/// use garden_build_core::BuildRequest;
///
/// let request = BuildRequest::new("api", "./services/api")
///     .target("production")
///     .build_arg("RELEASE", "2.1");
/// assert_eq!(request.name(), "api");
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct BuildRequest {
    name: String,
    directory: PathBuf,
    dockerfile: PathBuf,
    target: Option<String>,
    build_args: BTreeMap<String, String>,
    extra_flags: Vec<String>,
    platforms: Vec<String>,
    timeout: Duration,
}

impl BuildRequest {
    /// Requests the image `name` from the build context in `directory`.
    ///
    /// `name` becomes the last part of the repository in the deployment registry.
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

    /// Uses another Dockerfile; `path` is relative to the context directory. Default: `Dockerfile`.
    #[must_use]
    pub fn dockerfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.dockerfile = path.into();
        self
    }

    /// Builds only up to the stage `target` of a multi-stage Dockerfile. Default: the last stage.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Sets the build argument `name` (`ARG name`). Never put a secret here: build arguments are
    /// visible in the image's history and in the builder's pod.
    #[must_use]
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build_args.insert(name.into(), value.into());
        self
    }

    /// Adds a flag for the builder, after and stronger than those of the provider configuration.
    #[must_use]
    pub fn extra_flag(mut self, flag: impl Into<String>) -> Self {
        self.extra_flags.push(flag.into());
        self
    }

    /// Adds a platform to build for, such as `linux/arm64`. Default: that of the builder's node.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platforms.push(platform.into());
        self
    }

    /// Sets how long the whole build may take. Default: 20 minutes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the image's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the context directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of the Dockerfile, relative to the context directory.
    pub fn dockerfile_path(&self) -> &Path {
        &self.dockerfile
    }

    /// Returns the stage to build, if not the last one.
    pub fn target_stage(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Returns the build arguments, sorted by name.
    pub fn arguments(&self) -> &BTreeMap<String, String> {
        &self.build_args
    }

    /// Returns the request's own flags for the builder.
    pub fn flags(&self) -> &[String] {
        &self.extra_flags
    }

    /// Returns the platforms to build for; empty for that of the builder's node.
    pub fn platform_list(&self) -> &[String] {
        &self.platforms
    }

    /// Returns how long the whole build may take.
    pub fn time_limit(&self) -> Duration {
        self.timeout
    }
}
