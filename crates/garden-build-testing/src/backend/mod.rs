//! A build mode in the test's own process, whose builds end as a test says.
//!
//! [`ScriptedBackend`] is a [`Backend`]. `BuilderOptions::backend` of garden-build takes it in place of kaniko, BuildKit and Docker. Contexts are
//! read, images named, looked for and confirmed as everywhere; only what would happen in a cluster does not happen. A build that succeeds pushes an
//! image into a [`Registry`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use garden_build::config::{DeploymentRegistry, ProviderConfig};
//! use garden_build::{BuildRequest, Builder, Caches};
//! use garden_build_testing::backend::{Script, ScriptedBackend};
//! use garden_build_testing::registry::Registry;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = ScriptedBackend::new(&Registry::start().await);
//! // The first build loses its builder. Builds without a script succeed.
//! backend.next(Script::lose_builder());
//!
//! let mut deployment = DeploymentRegistry::new(&backend.registry().host())?;
//! deployment.insecure = true;
//! let mut provider = ProviderConfig::kubernetes("demo");
//! provider.deployment_registry = Some(deployment);
//! let builder = Builder::options(provider).caches(Caches::none()).backend(Arc::new(backend.clone())).connect()?;
//!
//! let directory = tempfile::TempDir::new()?;
//! std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n")?;
//! let image = builder.build(BuildRequest::new("api", directory.path())).await?;
//! assert!(image.confirmed_by_registry);
//! assert_eq!(backend.builds().len(), 2);
//! # Ok(())
//! # }
//! ```

mod image;
mod record;
mod run;
mod script;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::context::Context;
use garden_build_core::{
    Backend, BoxFuture, BuildControl, BuildJob, BuildRequest, Capabilities, Caveat, Pushed, Result,
};
use tokio::sync::watch;

pub use self::record::{BuildEnd, BuildRecord};
pub use self::script::Script;

use crate::registry::Registry;

type Check = dyn Fn(&BuildRequest, &Context) -> Result<Vec<Caveat>> + Send + Sync;

/// A backend whose builds end as scripts say. Clones are the same backend.
///
/// Each build follows the script that was added first and is not used yet; with none left, [the one for all others](Self::otherwise). A build whose
/// builder is lost is begun again by garden-build, and takes the next script.
#[derive(Clone, Debug)]
pub struct ScriptedBackend {
    name: &'static str,
    capabilities: Capabilities,
    check: Option<Checking>,
    registry: Registry,
    state: Arc<Mutex<State>>,
    begun: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    scripts: VecDeque<Script>,
    otherwise: Script,
    builds: Vec<BuildRecord>,
    under_way: usize,
    most_under_way: usize,
}

#[derive(Clone)]
struct Checking(Arc<Check>);

impl fmt::Debug for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl ScriptedBackend {
    /// Makes one whose builds push to `registry`, and succeed unless a script says something else. It is called `scripted`, and can do whatever
    /// a request may ask for.
    pub fn new(registry: &Registry) -> Self {
        let state = State {
            scripts: VecDeque::new(),
            otherwise: Script::succeed(),
            builds: Vec::new(),
            under_way: 0,
            most_under_way: 0,
        };
        Self {
            name: "scripted",
            capabilities: Capabilities::default()
                .with_multiple_platforms(true)
                .with_named_contexts(true)
                .with_secrets(true)
                .with_ssh_agents(true),
            check: None,
            registry: registry.clone(),
            state: Arc::new(Mutex::new(state)),
            begun: watch::Sender::new(0),
        }
    }

    /// Gives it another name, which messages call the build mode.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Sets what it can do. A request for anything else is refused before anything is read.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Judges requests and their contexts as `check` does, before something is built: see [`Backend::check`].
    #[must_use]
    pub fn with_check(
        mut self,
        check: impl Fn(&BuildRequest, &Context) -> Result<Vec<Caveat>> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Checking(Arc::new(check)));
        self
    }

    /// Returns the registry that it pushes to.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Adds a script for one build, after those that were added before.
    pub fn next(&self, script: Script) {
        self.lock().scripts.push_back(script);
    }

    /// Sets the script for all builds without a script of their own. Default: [`Script::succeed`].
    pub fn otherwise(&self, script: Script) {
        self.lock().otherwise = script;
    }

    /// Returns how many scripts that were [added](Self::next) are not used yet.
    pub fn scripts_left(&self) -> usize {
        self.lock().scripts.len()
    }

    /// Returns the builds so far, those under way included, in the order in which they were begun.
    pub fn builds(&self) -> Vec<BuildRecord> {
        self.lock().builds.clone()
    }

    /// Returns how many builds were under way at the same time at most.
    pub fn most_under_way(&self) -> usize {
        self.lock().most_under_way
    }

    /// Waits until so many builds have begun, those that have ended included.
    pub async fn begun(&self, builds: usize) {
        // The sender is `self`.
        let _ = self.begun.subscribe().wait_for(|begun| *begun >= builds).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics must not take others along.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for ScriptedBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn check(&self, request: &BuildRequest, context: &Context) -> Result<Vec<Caveat>> {
        self.check.as_ref().map_or_else(|| Ok(Vec::new()), |check| (check.0)(request, context))
    }

    fn build<'a>(&'a self, job: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.run(job, cx))
    }
}
