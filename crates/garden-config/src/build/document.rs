//! A build as it stands in a file: as an action, and as a module.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use crate::build::shapes::{
    Arguments, Dependency, Dockerfile, FalseOrDockerfile, FalseOrImage, FalseOrReference, Flag, Glob,
    NoFiles, Nothing, Secrets,
};
use crate::document::write;
use crate::{BuildConfig, ConfigError};

/// The fields of a `kind: Build`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename = "Build", rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = ["kind", "type", "name"])))]
pub(crate) struct ActionDocument {
    /// `Build`.
    kind: ActionKind,
    /// `container`; other types are not built here.
    #[serde(rename = "type")]
    build_type: ContainerType,
    /// The name of the action.
    name: String,
    /// Where the build context is.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceDocument>,
    /// Globs of the files that belong to the context. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Glob>>"))]
    include: Option<Vec<String>>,
    /// Globs of files that do not belong to the context.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Glob>"))]
    exclude: Vec<String>,
    /// How many seconds the build may take. Default: 600.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4_294_967_295_u64)))]
    timeout: u64,
    /// How the image is built.
    spec: SpecDocument,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename = "Source", rename_all = "camelCase", deny_unknown_fields)]
struct SourceDocument {
    /// The build context, relative to the file's directory.
    path: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename = "BuildSpec", rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = [])))]
struct SpecDocument {
    /// The name of the image; a registry and a tag in it do not count. Default: the action's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<FalseOrImage>"))]
    local_id: Option<String>,
    /// The name under which the image is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<FalseOrReference>"))]
    publish_id: Option<String>,
    /// The Dockerfile, relative to the context. Default: `Dockerfile`.
    #[cfg_attr(feature = "schema", schemars(with = "Dockerfile"))]
    dockerfile: String,
    /// The stage to build. Default: the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_stage: Option<String>,
    /// The build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Arguments"))]
    build_args: BTreeMap<String, String>,
    /// Flags for the builder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Flag>"))]
    extra_flags: Vec<String>,
    /// The platforms to build for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    /// The secrets for RUN steps that mount them, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Secrets"))]
    secrets: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum ActionKind {
    Build,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum ContainerType {
    Container,
}

impl BuildConfig {
    /// Writes a file with this build as an action, to be put into `directory`. Reading it back from there
    /// gives an equal build, except for `ignore_files`, which the project tells.
    ///
    /// # Errors
    /// If the build breaks a rule, see [`BuildConfig::check`], has secrets, which are not written into files,
    /// or a timeout that is not whole seconds, or a path in it is not UTF-8.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        self.check()?;
        if !self.secrets.is_empty() {
            return Err(ConfigError::unwritable(
                "it has secrets; write them as templates, such as `${local.env.TOKEN}`, into the file yourself",
            ));
        }
        if self.timeout.subsec_nanos() != 0 {
            return Err(ConfigError::unwritable("`timeout` has parts of a second"));
        }
        let text = |path: &std::path::Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                ConfigError::unwritable(format_args!("the path `{}` is not UTF-8", path.display()))
            })
        };
        let directory = text(&self.directory)?;
        write::document(&ActionDocument {
            kind: ActionKind::Build,
            build_type: ContainerType::Container,
            name: self.name.clone(),
            source: (!directory.is_empty()).then_some(SourceDocument { path: Some(directory) }),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            timeout: self.timeout.as_secs(),
            spec: SpecDocument {
                local_id: self.image.clone(),
                publish_id: self.publish_id.clone(),
                dockerfile: text(&self.dockerfile)?,
                target_stage: self.target.clone(),
                build_args: self.build_args.clone(),
                extra_flags: self.extra_flags.clone(),
                platforms: self.platforms.clone(),
                secrets: BTreeMap::new(),
            },
        })
    }
}

/// The fields of a `kind: Module`.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Module", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["kind", "type", "name"]))]
#[expect(dead_code, reason = "only its schema is used: modules are read, never written")]
pub(crate) struct ModuleDocument {
    /// `Module`.
    kind: ModuleKind,
    /// `container`; other types are not built here.
    #[schemars(rename = "type")]
    build_type: ContainerType,
    /// The name of the module.
    name: String,
    /// The name of the image; with a registry, where it is published, too. Default: the module's name.
    image: Option<FalseOrImage>,
    /// The Dockerfile, relative to the module's directory. Default: `Dockerfile`.
    dockerfile: Option<FalseOrDockerfile>,
    /// How the image is built.
    build: Option<ModuleBuild>,
    /// The build arguments.
    build_args: Option<Arguments>,
    /// Flags for the builder.
    extra_flags: Option<Vec<Flag>>,
    /// The platforms to build for.
    platforms: Option<Vec<String>>,
    /// The secrets for RUN steps that mount them, by id.
    secrets: Option<Secrets>,
    /// Files that Garden makes before a build, which are not made here.
    generate_files: Option<NoFiles>,
    /// A repository that Garden fetches, which is not fetched here.
    repository_url: Option<Nothing>,
    /// Globs of the files that belong to the build context. Default: all.
    include: Option<Vec<Glob>>,
    /// Globs of files that do not belong to the build context.
    exclude: Option<Vec<Glob>>,
    /// Whether the module is left out.
    disabled: Option<bool>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum ModuleKind {
    Module,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ModuleBuild {
    /// How many seconds the build may take. Default: 600; 1200 with Garden 0.12.
    #[schemars(range(min = 1))]
    timeout: Option<u32>,
    /// The stage to build. Default: the last.
    target_image: Option<String>,
    /// What is built before.
    dependencies: Option<Vec<Dependency>>,
}
