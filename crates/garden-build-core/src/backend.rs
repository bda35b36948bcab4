use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::context::{Context, StagesBuilt, Tree};
use crate::{
    BuildControl, BuildRequest, Digest, Error, ErrorKind, Hint, ImageFlag, ImageReference, Result,
    WarningCode, WarningData,
};

/// A way to build an image and push it: kaniko in a pod, a `BuildKit` daemon, a Docker daemon.
///
/// The facade has scanned the context and found that the image does not exist yet; a backend
/// delivers the context, runs the build, pushes, and cleans up whatever happens.
pub trait Backend: Debug + Send + Sync {
    /// Returns the name of the build mode as the project file spells it.
    fn name(&self) -> &'static str;

    /// Returns what this backend can do. Checked before anything else happens.
    fn capabilities(&self) -> Capabilities;

    /// Judges `request` alone, before anything is read or asked: what [`capabilities`](Self::capabilities) say need not be said
    /// again. The default accepts all.
    ///
    /// # Errors
    /// If this backend, as it is configured, must not do what is asked for.
    fn accept(&self, request: &BuildRequest) -> Result<()> {
        let _ = request;
        Ok(())
    }

    /// Returns the flags, of the configuration and of `request`, that can change the image. They are
    /// part of its [`Version`](crate::Version), in this order. Each says whether the backend may read more of the context
    /// because of it than the Dockerfile says; if none does, the context is what the Dockerfile reads. The default has none.
    ///
    /// # Errors
    /// If a flag cannot be used.
    fn image_flags(&self, request: &BuildRequest) -> Result<Vec<ImageFlag>> {
        let _ = request;
        Ok(Vec::new())
    }

    /// Judges what `request` builds from `context`, and asks nobody. Returns what may come out otherwise than with `BuildKit`. The
    /// default knows of nothing. Callers hear of what comes back, be it an error, if the image has to be built.
    ///
    /// # Errors
    /// If this backend would pass over something in the Dockerfile without a word, and build another image.
    fn check(&self, request: &BuildRequest, context: &Context) -> Result<Vec<Caveat>> {
        let _ = (request, context);
        Ok(Vec::new())
    }

    /// Returns every object and argument that building `job` would create, with secrets redacted.
    /// Touches nothing. The default creates nothing.
    ///
    /// # Errors
    /// If an option makes the plan impossible.
    fn plan(&self, job: &BuildJob) -> Result<Vec<PlannedObject>> {
        let _ = job;
        Ok(Vec::new())
    }

    /// Builds and pushes `job`.
    ///
    /// Must leave nothing behind when it returns, nor when `cx` is cancelled or its deadline passes:
    /// then it cleans up within seconds and returns. Dropping the future may leave its work to
    /// [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// If the image was not built and pushed.
    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>>;

    /// Removes what clients that died have left behind, and nothing of a living one. Stops what outlives builds and nobody has used
    /// for long. The default leaves nothing behind that it could remove.
    ///
    /// # Errors
    /// If the cluster refuses to list or delete.
    fn sweep(&self) -> BoxFuture<'_, Result<SweepReport>> {
        Box::pin(async { Ok(SweepReport::default()) })
    }
}

/// What may be otherwise than expected in an image that is built all the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Caveat {
    /// What it is about, for programs.
    pub code: WarningCode,
    /// What it is, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
    /// What it is about in detail, for programs.
    #[serde(default)]
    pub data: Option<WarningData>,
}

impl Caveat {
    /// Describes what may be otherwise, and what to do about it.
    pub fn new(code: WarningCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: Some(hint.into()), data: None }
    }

    /// Describes for programs what it is about in detail.
    #[must_use]
    pub fn with_data(self, data: WarningData) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// What a [`Backend`] builds.
#[derive(Debug)]
#[non_exhaustive]
pub struct BuildJob {
    /// Identifies this build among all others: lower-case letters and digits, unique.
    pub id: String,
    /// What the caller asked for.
    pub request: BuildRequest,
    /// The files.
    pub context: Context,
    /// The files of those named contexts that are directories, by name.
    pub named_contexts: BTreeMap<String, Tree>,
    /// The image's name.
    pub destination: ImageReference,
    /// The name that the builder pushes it to: `destination`, unless the builder reaches that registry by another name.
    pub push_to: ImageReference,
}

impl BuildJob {
    /// Describes the build `id` of `context`, as `request` asks for it, to be pushed to `destination`.
    pub fn new(
        id: impl Into<String>,
        request: BuildRequest,
        context: Context,
        destination: ImageReference,
    ) -> Self {
        let push_to = destination.clone();
        Self { id: id.into(), request, context, named_contexts: BTreeMap::new(), destination, push_to }
    }
}

/// What a [`Backend`] can do beyond building one image from one context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Capabilities {
    /// Can build for several platforms in one request.
    pub multiple_platforms: bool,
    /// Can take named contexts besides the build context.
    pub named_contexts: bool,
    /// Can give secrets to RUN steps without leaving them anywhere.
    pub secrets: bool,
    /// Can forward SSH agents to RUN steps.
    pub ssh_agents: bool,
    /// Builds only those stages of a Dockerfile that the target is made of, and knows its variables, as
    /// `BuildKit` does; so other stages read nothing of the context.
    pub skips_unused_stages: bool,
    /// Takes base images from their registries, and never from a store of its own that has others.
    pub pulls_base_images: bool,
}

impl Capabilities {
    /// States that several platforms can be built in one request.
    #[must_use]
    pub fn with_multiple_platforms(self, can: bool) -> Self {
        Self { multiple_platforms: can, ..self }
    }

    /// States that there may be named contexts besides the build context.
    #[must_use]
    pub fn with_named_contexts(self, can: bool) -> Self {
        Self { named_contexts: can, ..self }
    }

    /// States that RUN steps can be given secrets that stay nowhere.
    #[must_use]
    pub fn with_secrets(self, can: bool) -> Self {
        Self { secrets: can, ..self }
    }

    /// States that SSH agents can be forwarded to RUN steps.
    #[must_use]
    pub fn with_ssh_agents(self, can: bool) -> Self {
        Self { ssh_agents: can, ..self }
    }

    /// States that stages which the target does not need are not built.
    #[must_use]
    pub fn skipping_unused_stages(self, does: bool) -> Self {
        Self { skips_unused_stages: does, ..self }
    }

    /// States that base images come from their registries only.
    #[must_use]
    pub fn pulling_base_images(self, does: bool) -> Self {
        Self { pulls_base_images: does, ..self }
    }

    /// Returns which stages are built.
    pub fn stages_built(&self) -> StagesBuilt {
        if self.skips_unused_stages { StagesBuilt::Needed } else { StagesBuilt::ThroughTarget }
    }

    /// Returns the first thing that `request` asks for and a backend with these capabilities cannot do.
    pub fn missing_for(&self, request: &BuildRequest) -> Option<MissingCapability> {
        [
            (request.platforms.len() > 1 && !self.multiple_platforms)
                .then_some(MissingCapability::MultiplePlatforms),
            (!request.contexts.is_empty() && !self.named_contexts)
                .then_some(MissingCapability::NamedContexts),
            (!request.secrets.is_empty() && !self.secrets).then_some(MissingCapability::Secrets),
            (!request.ssh_agents.is_empty() && !self.ssh_agents).then_some(MissingCapability::SshAgents),
        ]
        .into_iter()
        .flatten()
        .next()
    }
}

/// What a request asks for and a backend cannot do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum MissingCapability {
    /// An image for several platforms.
    MultiplePlatforms,
    /// Named contexts.
    NamedContexts,
    /// Secrets for RUN steps.
    Secrets,
    /// SSH agents for RUN steps.
    SshAgents,
}

impl MissingCapability {
    /// Returns the error of a backend called `mode`, with a `hint` of what can be done about it.
    pub fn error(self, mode: &str, hint: impl Into<Hint>) -> Error {
        let (field, what) = match self {
            Self::MultiplePlatforms => ("platforms", "builds for one platform at a time"),
            Self::NamedContexts => ("contexts", "knows no named contexts"),
            Self::Secrets => ("secrets", "cannot keep a secret out of the image"),
            Self::SshAgents => ("sshAgents", "cannot forward SSH agents"),
        };
        Error::new(ErrorKind::Unsupported, format!("`{field}`: {mode} {what}")).with_hint(hint)
    }
}

/// The image that a backend has pushed, or has found pushed by another build.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Pushed {
    /// The manifest's digest as the builder reported it.
    pub digest: Digest,
    /// How many Dockerfile steps came from a cache.
    pub steps_cached: usize,
    /// How many Dockerfile steps were run.
    pub steps_run: usize,
    /// Whether the registry has shown it already: see [`BuildControl::is_witnessed`].
    pub is_witnessed: bool,
    /// Whether another build has pushed it, and this one has run nothing: see [`BuildControl::existing`].
    #[serde(default)]
    pub is_of_another_build: bool,
}

impl Pushed {
    /// Reports a pushed image, with the numbers of steps that came from a cache and that were run.
    pub fn new(digest: Digest, steps_cached: usize, steps_run: usize) -> Self {
        Self { digest, steps_cached, steps_run, is_witnessed: false, is_of_another_build: false }
    }

    /// Reports an image that another build has pushed meanwhile, as the registry shows.
    pub fn by_another_build(digest: Digest) -> Self {
        Self { is_witnessed: true, is_of_another_build: true, ..Self::new(digest, 0, 0) }
    }

    /// Returns whether the registry has shown it already.
    #[must_use]
    pub fn witnessed(mut self, is_witnessed: bool) -> Self {
        self.is_witnessed = is_witnessed;
        self
    }
}

/// One object that a build would create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlannedObject {
    /// What it is and where, such as `Pod my-project/kaniko-api-1a2b3c`.
    pub description: String,
    /// The whole object, with secrets redacted.
    pub object: serde_json::Value,
}

impl PlannedObject {
    /// Plans `object`, which `description` names.
    pub fn new(description: impl Into<String>, object: serde_json::Value) -> Self {
        Self { description: description.into(), object }
    }

    /// Plans what `object` is as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] if it has no such form.
    pub fn of(description: impl Into<String>, object: &impl Serialize) -> Result<Self> {
        let object = serde_json::to_value(object).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a planned object cannot be shown").with_source(error)
        })?;
        Ok(Self::new(description, object))
    }
}

/// What a sweep removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SweepReport {
    /// Each removed object, such as `Pod my-project/kaniko-api-1a2b3c`.
    pub removed: Vec<String>,
    /// Each Deployment that was scaled to zero because nobody has used it for long, such as `Deployment my-project/garden-buildkit`.
    pub stopped: Vec<String>,
}

impl SweepReport {
    /// Reports the removed objects.
    pub fn new(removed: Vec<String>) -> Self {
        Self { removed, stopped: Vec::new() }
    }

    /// Reports the Deployments that were scaled to zero as well.
    #[must_use]
    pub fn with_stopped(self, stopped: Vec<String>) -> Self {
        Self { stopped, ..self }
    }
}
