//! A backend that does as it is told, and the registry that it pushes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::{Router, routing};
use garden_build::{
    Backend, BoxFuture, BuildControl, BuildJob, Capabilities, Error, FailedStep, Instruction, LogSource,
    Pushed, Result, StepKind,
};
use tokio::net::TcpListener;

pub(crate) const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How a build goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Ends,
    Fails,
    /// Runs until it is cancelled, and cleans up.
    Waits,
    /// Prints lines until it is cancelled.
    Talks,
    /// Runs until it is cancelled, and does not come to an end of cleaning up.
    NeverCleansUp,
}

impl Does {
    const ALL: [Self; 5] = [Self::Ends, Self::Fails, Self::Waits, Self::Talks, Self::NeverCleansUp];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|does| format!("{does:?}") == name)
    }
}

#[derive(Debug)]
pub(crate) struct MadeUp {
    does: Does,
    has_pushed: AtomicBool,
}

impl MadeUp {
    pub(crate) fn new(does: Does) -> Self {
        Self { does, has_pushed: AtomicBool::new(false) }
    }

    async fn run(&self, cx: &BuildControl) -> Result<Pushed> {
        let upload = cx.events.step(StepKind::Upload, "send the build context (2 files, 2000000 bytes)");
        upload.progress(1_000_000, Some(2_000_000));
        cx.events.step(numbered(1, "FROM scratch"), "[1/2] FROM scratch").cached();
        let step = cx.events.step(numbered(2, "RUN make"), "[2/2] RUN make");
        step.log(LogSource::Output, "cc main.c");
        step.log(LogSource::Output, "made \x1b[2J up \x1b[31mred\x1b[0m");
        match self.does {
            Does::Ends => {
                upload.done();
                step.done();
                self.has_pushed.store(true, Ordering::SeqCst);
                return Ok(Pushed::new(DIGEST.parse().unwrap(), 1, 1));
            }
            Does::Fails => {
                upload.done();
                step.failed("exit code 2");
                let step = FailedStep::new(Some("RUN make".to_owned()), Some(2));
                let tail = vec!["cc main.c".to_owned(), "made \x1b[2J up".to_owned()];
                return Err(
                    Error::build_failed(step, "`RUN make` failed with exit code 2").with_log_tail(tail)
                );
            }
            Does::Talks => {
                let talk = async {
                    loop {
                        step.log(LogSource::Output, "and on");
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    () = talk => {}
                    error = cx.stopped() => return Err(error),
                }
            }
            Does::Waits | Does::NeverCleansUp => {}
        }
        let error = cx.stopped().await;
        upload.failed("cancelled");
        step.failed("cancelled");
        let step = cx.events.step(StepKind::CleanUp, "remove Pod made-up");
        if self.does == Does::NeverCleansUp {
            std::future::pending::<()>().await;
        }
        step.done();
        Err(error)
    }
}

fn numbered(number: u32, text: &str) -> StepKind {
    let mut instruction = Instruction::new(text);
    (instruction.number, instruction.of) = (Some(number), Some(2));
    instruction.into()
}

impl Backend for MadeUp {
    fn name(&self) -> &'static str {
        "made-up"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn build<'a>(&'a self, _: &'a BuildJob, cx: &'a BuildControl) -> BoxFuture<'a, Result<Pushed>> {
        Box::pin(self.run(cx))
    }
}

/// Serves a registry that has every image once one was pushed. Returns its `host:port`.
pub(crate) async fn registry(backend: Arc<MadeUp>) -> String {
    let manifest = async move || {
        let is_there = backend.has_pushed.load(Ordering::SeqCst);
        if is_there { Ok([("Docker-Content-Digest", DIGEST)]) } else { Err(StatusCode::NOT_FOUND) }
    };
    let routes = Router::new().route("/v2/{name}/manifests/{tag}", routing::get(manifest));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, routes).await });
    address
}
