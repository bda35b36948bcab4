//! A builder whose backend builds when it is let, and the registry that it pushes to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::{Router, routing};
use garden_build::config::{DeploymentRegistry, ProviderConfig};
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, Builder, Caches, Capabilities, Error, FailedStep,
    Instruction, LogSource, Pushed, Result, StepKind,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub(crate) const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) struct Site {
    pub(crate) builder: Builder,
    pub(crate) held: Arc<Held>,
    /// With one context, `app`.
    pub(crate) root: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let held = Arc::new(Held::default());
        let mut provider = ProviderConfig::kubernetes("demo");
        let mut registry = DeploymentRegistry::new(&registry(Arc::clone(&held)).await).unwrap();
        registry.insecure = true;
        provider.deployment_registry = Some(registry);
        let backend: Arc<dyn Backend> = Arc::clone(&held) as _;
        let options = Builder::options(provider).caches(Caches::none()).backend(backend);
        let root = TempDir::new().unwrap();
        write_context(&root.path().join("app"));
        Self { builder: options.connect().unwrap(), held, root }
    }
}

fn write_context(directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    std::fs::write(directory.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
}

/// Runs one step as long as it is not let go on.
#[derive(Debug)]
pub(crate) struct Held {
    may_end: Semaphore,
    pub(crate) fails: AtomicBool,
    pub(crate) has_cleaned_up: AtomicBool,
    has_pushed: AtomicBool,
    pub(crate) has_begun: AtomicBool,
}

impl Default for Held {
    fn default() -> Self {
        let no = AtomicBool::default;
        Self {
            may_end: Semaphore::new(0),
            fails: no(),
            has_cleaned_up: no(),
            has_pushed: no(),
            has_begun: no(),
        }
    }
}

impl Held {
    pub(crate) fn let_go(&self) {
        self.may_end.add_permits(1);
    }

    async fn run(&self, cx: &BuildControl) -> Result<Pushed> {
        self.has_begun.store(true, Ordering::SeqCst);
        let step = cx.events.step(Instruction::new("RUN make"), "[1/1] RUN make");
        step.log(LogSource::Output, "made \x1b[2J up");
        step.progress(1, Some(2));
        tokio::select! {
            error = cx.stopped() => {
                step.failed("cancelled");
                let step = cx.events.step(StepKind::CleanUp, "remove Pod made-up");
                self.has_cleaned_up.store(true, Ordering::SeqCst);
                step.done();
                Err(error)
            }
            permit = self.may_end.acquire() => {
                permit.unwrap().forget();
                if self.fails.load(Ordering::SeqCst) {
                    step.failed("exit code 2");
                    let step = FailedStep::new(Some("RUN make".to_owned()), Some(2));
                    return Err(Error::build_failed(step, "`RUN make` failed with exit code 2"));
                }
                step.done();
                self.has_pushed.store(true, Ordering::SeqCst);
                Ok(Pushed::new(DIGEST.parse().unwrap(), 0, 1))
            }
        }
    }
}

impl Backend for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn build<'a>(&'a self, _: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.run(cx))
    }
}

/// Serves a registry that has every image once one was pushed. Returns its `host:port`.
async fn registry(held: Arc<Held>) -> String {
    let manifest = async move || {
        let is_there = held.has_pushed.load(Ordering::SeqCst);
        if is_there { Ok([("Docker-Content-Digest", DIGEST)]) } else { Err(StatusCode::NOT_FOUND) }
    };
    let routes = Router::new().route("/v2/{name}/manifests/{tag}", routing::get(manifest));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, routes).await });
    address
}
