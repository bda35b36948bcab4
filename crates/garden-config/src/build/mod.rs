//! Modules and actions: what is built.

#[cfg(feature = "files")]
pub(crate) mod action;
#[cfg(feature = "files")]
pub(crate) mod document;
#[cfg(feature = "files")]
pub(crate) mod documents;
#[cfg(feature = "files")]
mod effort;
pub(crate) mod fields;
#[cfg(feature = "files")]
mod kinds;
#[cfg(feature = "files")]
pub(crate) mod module;
mod publish;
#[cfg(feature = "files")]
mod publish_tag;
#[cfg(feature = "files")]
mod read;
#[cfg(feature = "files")]
pub(crate) mod reading;
#[cfg(feature = "schema")]
pub(crate) mod shapes;
#[cfg(feature = "files")]
mod this;
#[cfg(feature = "files")]
mod unexpanded;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use garden_build_core::{BuildRequest, BuildSecret, FileGlobs, IgnoreFiles, ImageReference};

use crate::document::globs;
use crate::document::issue::Issue;
use crate::{ConfigError, Notice};

/// How a container image is built: a module of `type: container`, or a Build action of that type.
///
/// Comes from a file of a project through [`Environment::build`](crate::Environment::build), or from Rust, and becomes a
/// [`BuildRequest`]:
///
/// ```
/// use garden_config::BuildConfig;
///
/// let mut build = BuildConfig::new("api", "services/api");
/// build.target = Some("release".to_owned());
/// build.exclude.push("docs/**".to_owned());
/// build.check()?;
/// assert_eq!(build.request().name, "api");
/// # Ok::<(), garden_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildConfig {
    /// The name of the module or action.
    pub name: String,
    /// The name of the image, without registry and tag; its last part names the image in the deployment
    /// registry. The field `image` of a module, `localId` of an action. Default: `name`.
    pub image: Option<String>,
    /// The name under which the image is published, with registry, and with a tag if it is fixed. The field
    /// `image` of a module, if it names a registry or a user, and `publishId` of an action. Default: none.
    pub publish_id: Option<String>,
    /// The build context: the directory of the file, or what an action's `source.path` says.
    pub directory: PathBuf,
    /// The Dockerfile, relative to `directory`. Default: `Dockerfile`.
    pub dockerfile: PathBuf,
    /// The stage to build: `build.targetImage` of a module, `targetStage` of an action. Default: the last.
    pub target: Option<String>,
    /// The build arguments. Default: none. (Garden adds `GARDEN_MODULE_VERSION` and `GARDEN_ACTION_VERSION`.)
    pub build_args: BTreeMap<String, String>,
    /// Flags for the builder. Default: none.
    pub extra_flags: Vec<String>,
    /// The platforms to build for. Default: that of the builder's node.
    pub platforms: Vec<String>,
    /// The secrets for RUN steps that mount them, by id. Default: none.
    pub secrets: BTreeMap<String, BuildSecret>,
    /// How long the build may take. Default: 10 minutes; 20 for a module of Garden 0.12.
    pub timeout: Duration,
    /// Globs of the files that belong to the context, see [`FileGlobs`]; `None` for all.
    pub include: Option<Vec<String>>,
    /// Globs of files that do not belong to the context, besides those that `.dockerignore` and the project's
    /// ignore files exclude, and besides what belongs to git and Garden. Default: none.
    pub exclude: Vec<String>,
    /// The ignore files of the project that count for the context. Default: none.
    pub ignore_files: Option<IgnoreFiles>,
    /// What the author of the file should know.
    pub notices: Vec<Notice>,
}

/// What is never part of a context, as with Garden: what git and Garden keep in a project's directory.
const NEVER: [&str; 4] = [".git", ".gitmodules", ".garden", "debug-info*/**"];

impl BuildConfig {
    /// How long a module's build may take unless it says otherwise, with Garden 0.12. Later ones make an action of it.
    pub const MODULE_TIMEOUT: Duration = Duration::from_secs(20 * 60);

    /// How long an action's build may take unless it says otherwise.
    pub const ACTION_TIMEOUT: Duration = Duration::from_secs(10 * 60);

    /// Builds the image `name` from `directory`, with all defaults of an action.
    pub fn new(name: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            image: None,
            publish_id: None,
            directory: directory.into(),
            dockerfile: PathBuf::from("Dockerfile"),
            target: None,
            build_args: BTreeMap::new(),
            extra_flags: Vec::new(),
            platforms: Vec::new(),
            secrets: BTreeMap::new(),
            timeout: Self::ACTION_TIMEOUT,
            include: None,
            exclude: Vec::new(),
            ignore_files: None,
            notices: Vec::new(),
        }
    }

    /// Returns the name of the image in the deployment registry: the last part of `image`, else `name`.
    pub fn image_name(&self) -> &str {
        let image = self.image.as_deref().unwrap_or(&self.name);
        image.rsplit('/').next().unwrap_or(image)
    }

    /// Returns what to ask a `Builder` for.
    pub fn request(&self) -> BuildRequest {
        let mut request = BuildRequest::new(self.image_name(), &self.directory);
        request.dockerfile.clone_from(&self.dockerfile);
        request.target.clone_from(&self.target);
        request.build_args.clone_from(&self.build_args);
        request.extra_flags.clone_from(&self.extra_flags);
        request.platforms.clone_from(&self.platforms);
        request.secrets.clone_from(&self.secrets);
        request.timeout = self.timeout;
        request.globs = self.globs();
        request.exclude = NEVER.map(str::to_owned).to_vec();
        request.ignore_files.clone_from(&self.ignore_files);
        request
    }

    fn globs(&self) -> FileGlobs {
        globs::globs(self.include.clone(), self.exclude.clone())
    }

    /// Checks what is checked when a file is read.
    ///
    /// # Errors
    /// If a value breaks a rule. All broken rules are named.
    pub fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.issues())
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let name = (!is_identifier(&self.name)).then(|| {
            let message = format!("`{}` cannot be the name of a module or an action", self.name);
            let hint = "use at most 63 lower-case letters, digits and `-`, with no `-` at the ends";
            Issue::new("name", message, hint)
        });
        let image = self.image.as_deref().and_then(|image| {
            // What looks like a registry or a tag is read as one.
            let valid = ImageReference::tagged("registry.example", image, "tag").is_ok()
                && image_names(image).0 == image;
            let hint =
                "write lower-case letters and digits, and parts separated by `/`, without registry and tag";
            (!valid).then(|| Issue::new("image", format!("`{image}` cannot be the name of an image"), hint))
        });
        let publish_id = self.publish_id.as_deref().and_then(|id| {
            let error = id.parse::<ImageReference>().err()?;
            Some(Issue::new(
                "publishId",
                error.to_string(),
                "write it like `registry.example/team/image:1.0`",
            ))
        });
        let outside = self.dockerfile.is_absolute()
            || self.dockerfile.components().any(|part| part == std::path::Component::ParentDir);
        let hint = "write its path relative to the context directory";
        let dockerfile = if self.dockerfile.as_os_str().is_empty() {
            Some(Issue::new("dockerfile", "the path of the Dockerfile is empty", hint))
        } else {
            outside.then(|| {
                let message = format!("`{}` must lie inside of the build context", self.dockerfile.display());
                Issue::new("dockerfile", message, hint)
            })
        };
        let timeout = self.timeout.is_zero().then(|| {
            let message = "`timeout` must be a whole number of at least 1";
            Issue::new("timeout", message, "give the seconds that the build may take")
        });
        let secrets = self.secrets.keys().filter(|id| !is_secret_id(id)).map(|id| {
            let hint = "use letters, digits, `.`, `_` and `-`";
            Issue::new("secrets", format!("`{id}` cannot be the id of a secret"), hint)
        });
        [name, image, publish_id, dockerfile, timeout]
            .into_iter()
            .flatten()
            .chain(secrets)
            .chain(globs::issues(&self.globs()))
            .collect()
    }
}

/// Garden's rule for names (`joiIdentifier`).
fn is_identifier(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Garden's rule for the ids of secrets.
fn is_secret_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !id.is_empty() && id.bytes().all(plain)
}

/// Splits the field `image` of a module: the image's name without registry and tag, and all of it if it
/// can be published.
pub(crate) fn image_names(image: &str) -> (String, Option<String>) {
    let publishable = image.contains('/').then(|| image.to_owned());
    let slash = image.rfind('/').map_or(0, |slash| slash + 1);
    let name = image[slash..].split([':', '@']).next().unwrap_or_default();
    let path = &image[..slash];
    // A first part with a dot or a port is a registry, by the rule of image names.
    let registry = path.split('/').next().filter(|first| first.contains(['.', ':']) || *first == "localhost");
    let path = registry.map_or(path, |registry| &path[registry.len() + 1..]);
    (format!("{path}{name}"), publishable)
}

/// Whether a module that names an image, but no Dockerfile, has the usual one, and so is built: without it, the image is used as it is.
/// A module that names a Dockerfile is built in any case, so that nobody learns by it which files there are; nor is a link followed.
///
/// Source: Garden, `moduleHasDockerfile` in `core/src/plugins/container/helpers.ts`.
pub(crate) fn has_usual_dockerfile(directory: &Path) -> bool {
    directory.join("Dockerfile").symlink_metadata().is_ok_and(|it| !it.is_dir())
}
