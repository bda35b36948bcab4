use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, EventSink, FailedStep};

use crate::Gate;
use crate::registry::Image;

/// What happens in one build: what it says and waits for, one after the other, and how it ends.
///
/// ```
/// use garden_build_testing::Gate;
/// use garden_build_testing::backend::Script;
///
/// let gate = Gate::new();
/// let script = Script::succeed().cached_step("FROM busybox").step("RUN make").log("cc a.c").step("RUN test").until(&gate);
/// // … begin a build, wait until `gate.arrived().await`, and cancel it or `gate.open()`.
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Script {
    pub(super) acts: Vec<Act>,
    /// `None` if the build succeeds.
    pub(super) error: Option<Error>,
    pub(super) pushes: bool,
    /// `None` for the image that is made of the context.
    pub(super) image: Option<Image>,
    pub(super) asks_registry: bool,
    pub(super) when_stopped: WhenStopped,
}

/// What a build does that is cancelled, or whose time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WhenStopped {
    CleansUp,
    NeverCleansUp,
    GoesOn,
}

#[derive(Clone)]
pub(super) enum Act {
    Step(Instruction),
    Log(String),
    Hold(Gate),
    Emit(Arc<dyn Fn(&EventSink) + Send + Sync>),
    Wait(Duration),
}

/// An instruction that is run, or taken from a cache.
#[derive(Clone)]
pub(super) struct Instruction {
    pub(super) text: String,
    pub(super) lines: Vec<String>,
    /// What keeps it under way.
    pub(super) until: Option<Gate>,
    pub(super) is_cached: bool,
}

impl Instruction {
    fn of(text: String) -> Self {
        Self { text, lines: Vec::new(), until: None, is_cached: false }
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "step {}", step.text),
            Self::Hold(_) => f.write_str("wait for a gate"),
            Self::Log(line) => write!(f, "log {line}"),
            Self::Emit(_) => f.write_str("events of the test"),
            Self::Wait(time) => write!(f, "wait {time:?}"),
        }
    }
}

/// How a build ends.
impl Script {
    fn ending(error: Option<Error>) -> Self {
        Self {
            acts: Vec::new(),
            pushes: error.is_none(),
            error,
            image: None,
            asks_registry: false,
            when_stopped: WhenStopped::CleansUp,
        }
    }

    /// It pushes an image, and succeeds.
    ///
    /// The image is made of the request alone, so the same request makes the same image everywhere: it has the context's files as its only layer, the
    /// labels, and the build arguments in its history. With several platforms it is a list. What the Dockerfile says is not done.
    pub fn succeed() -> Self {
        Self::ending(None)
    }

    /// It fails with this error, and pushes nothing.
    pub fn fail(error: Error) -> Self {
        Self::ending(Some(error))
    }

    /// An instruction of the Dockerfile fails, such as `RUN make`, with [`ErrorKind::BuildFailed`]. It is the last step; what it prints is
    /// [added](Self::log), and is the end of the log in the error as well.
    pub fn fail_step(instruction: &str, exit_code: i32) -> Self {
        let step = FailedStep::new(Some(instruction.to_owned()), Some(exit_code));
        let error = Error::build_failed(step, format!("`{instruction}` failed with exit code {exit_code}"));
        Self::fail(error).step(instruction)
    }

    /// Its builder is lost, as with its node: [`ErrorKind::BuilderLost`]. garden-build begins it again, twice at most.
    pub fn lose_builder() -> Self {
        let error = Error::new(ErrorKind::BuilderLost, "the builder was lost, as the script says");
        Self::fail(error.retryable())
    }
}

/// What is said and done before.
impl Script {
    fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// Runs an instruction of the Dockerfile, such as `RUN make`. The last one of a script that fails with [`ErrorKind::BuildFailed`] is the one
    /// that fails.
    pub fn step(self, instruction: impl Into<String>) -> Self {
        self.act(Act::Step(Instruction::of(instruction.into())))
    }

    /// Takes the result of an instruction from a cache.
    pub fn cached_step(self, instruction: impl Into<String>) -> Self {
        self.act(Act::Step(Instruction { is_cached: true, ..Instruction::of(instruction.into()) }))
    }

    /// Prints a line. Right after a step, it is one of that step; anywhere else it belongs to none.
    pub fn log(mut self, line: impl Into<String>) -> Self {
        match self.acts.last_mut() {
            Some(Act::Step(step)) => step.lines.push(line.into()),
            _ => self.acts.push(Act::Log(line.into())),
        }
        self
    }

    /// Right after a step, keeps it under way until the test opens the gate; anywhere else, just waits for that. Meanwhile the build
    /// can be cancelled, and its time can end.
    pub fn until(mut self, gate: &Gate) -> Self {
        match self.acts.last_mut() {
            Some(Act::Step(step)) => step.until = Some(gate.clone()),
            _ => self.acts.push(Act::Hold(gate.clone())),
        }
        self
    }

    /// Reports whatever the test wants to.
    pub fn emit(self, emit: impl Fn(&EventSink) + Send + Sync + 'static) -> Self {
        self.act(Act::Emit(Arc::new(emit)))
    }

    /// Waits, by Tokio's clock. Meanwhile the build can be cancelled, and its time can end.
    pub fn wait(self, time: Duration) -> Self {
        self.act(Act::Wait(time))
    }

    /// Pushes this image instead of the one that is made of the context.
    pub fn image(mut self, image: Image) -> Self {
        self.image = Some(image);
        self
    }

    /// Pushes the image although the build fails, as a builder does that is lost after its push.
    pub fn after_push(mut self) -> Self {
        self.pushes = true;
        self
    }

    /// Pushes nothing although it says so. The registry knows better.
    pub fn without_push(mut self) -> Self {
        self.pushes = false;
        self
    }

    /// Asks whether the registry shows what was pushed, as a backend does that does not believe its builder: see
    /// [`BuildControl::is_witnessed`](garden_build_core::BuildControl::is_witnessed).
    pub fn ask_registry(mut self) -> Self {
        self.asks_registry = true;
        self
    }

    /// Goes on, whoever cancels it and however late it is.
    pub fn deaf(mut self) -> Self {
        self.when_stopped = WhenStopped::GoesOn;
        self
    }

    /// Never ends its clean-up when it is cancelled or its time is over.
    pub fn never_cleans_up(mut self) -> Self {
        self.when_stopped = WhenStopped::NeverCleansUp;
        self
    }
}
