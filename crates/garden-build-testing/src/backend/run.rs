//! A build, as its script says.

use garden_build_core::{
    BuildControl, BuildJob, Digest, Error, ErrorKind, Instruction, LogSource, Pushed, Result, StepKind,
};

use super::script::{self, Act, Script, WhenStopped};
use super::{BuildEnd, BuildRecord, ScriptedBackend, image};

/// Notes how a build ends, also if its future is dropped.
struct Noting<'a> {
    backend: &'a ScriptedBackend,
    index: usize,
    end: BuildEnd,
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        let mut state = self.backend.lock();
        state.under_way -= 1;
        state.builds[self.index].end = self.end;
    }
}

/// Why a script is not followed to its end.
enum Broken {
    Stopped(Error),
    Failed(Error),
}

/// How many instructions were run, and how many came from a cache.
#[derive(Default)]
struct Counts {
    run: usize,
    cached: usize,
}

impl ScriptedBackend {
    /// Takes the script of the next build, and notes that this begins.
    fn begin(&self, job: &BuildJob, cx: &BuildControl) -> (Script, Noting<'_>) {
        let mut state = self.lock();
        let script = state.scripts.pop_front().unwrap_or_else(|| state.otherwise.clone());
        state.builds.push(BuildRecord::new(job, cx));
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        let index = state.builds.len() - 1;
        self.begun.send_replace(state.builds.len());
        (script, Noting { backend: self, index, end: BuildEnd::Dropped })
    }

    pub(super) async fn run(&self, job: &BuildJob, cx: &BuildControl) -> Result<Pushed> {
        let (script, mut noting) = self.begin(job, cx);
        let outcome = self.follow(&script, job, cx, noting.index).await;
        match outcome {
            Ok(pushed) => {
                noting.end = BuildEnd::Pushed(pushed.digest);
                Ok(pushed)
            }
            Err(Broken::Failed(error)) => {
                noting.end = BuildEnd::Failed(error.kind());
                Err(error)
            }
            Err(Broken::Stopped(error)) => {
                let step = cx.events.step(StepKind::CleanUp, "remove the scripted builder");
                if script.when_stopped == WhenStopped::NeverCleansUp {
                    std::future::pending::<()>().await;
                }
                step.done();
                noting.end = BuildEnd::Stopped(error.kind());
                Err(error)
            }
        }
    }

    async fn follow(
        &self,
        script: &Script,
        job: &BuildJob,
        cx: &BuildControl,
        index: usize,
    ) -> Result<Pushed, Broken> {
        let counts = acts(script, cx).await?;
        let digest = if script.pushes {
            let step = cx.events.step(StepKind::Push, format!("push {}", job.push_to));
            let digest = step.end(self.push(script, job).await).map_err(Broken::Failed)?;
            Some(digest)
        } else {
            None
        };
        if let Some(error) = &script.error {
            return Err(Broken::Failed(error.clone()));
        }
        // What was not pushed has a digest that nobody else has.
        let digest = digest.unwrap_or_else(|| Digest::of(job.id.as_bytes()));
        let mut pushed = Pushed::new(digest, counts.cached, counts.run);
        if script.asks_registry {
            pushed = pushed.witnessed(cx.is_witnessed(digest).await);
            self.lock().builds[index].is_witnessed = Some(pushed.is_witnessed);
        }
        Ok(pushed)
    }

    async fn push(&self, script: &Script, job: &BuildJob) -> Result<Digest> {
        let images = match &script.image {
            Some(image) => vec![image.clone()],
            None => image::of_job(job).await?,
        };
        let name = format!("{}:{}", job.push_to.repository(), job.push_to.tag().unwrap_or("latest"));
        Ok(match &images[..] {
            [image] => self.registry.push_image(&name, image),
            images => self.registry.push_index(&name, images),
        })
    }
}

/// Does what a script says before the end.
async fn acts(script: &Script, cx: &BuildControl) -> Result<Counts, Broken> {
    let mut counts = Counts::default();
    let last_step = script.acts.iter().rposition(|act| matches!(act, Act::Step(_)));
    if last_step.is_none() {
        cx.events.step(StepKind::Other, "follow the script").done();
        counts.run = 1;
    }
    for (index, act) in script.acts.iter().enumerate() {
        match act {
            Act::Log(line) => cx.events.log(line),
            Act::Emit(emit) => emit(&cx.events),
            Act::Hold(gate) => until(script, cx, gate.pass()).await?,
            Act::Wait(time) => until(script, cx, tokio::time::sleep(*time)).await?,
            Act::Step(instruction) => {
                let failure = script
                    .error
                    .as_ref()
                    .filter(|error| last_step == Some(index) && error.kind() == ErrorKind::BuildFailed);
                run_instruction(script, instruction, failure, cx).await?;
                if instruction.is_cached { counts.cached += 1 } else { counts.run += 1 }
            }
        }
    }
    Ok(counts)
}

async fn run_instruction(
    script: &Script,
    instruction: &script::Instruction,
    failure: Option<&Error>,
    cx: &BuildControl,
) -> Result<(), Broken> {
    let step = cx.events.step(Instruction::new(&instruction.text), &instruction.text);
    for line in &instruction.lines {
        step.log(LogSource::Output, line);
    }
    if let Some(gate) = &instruction.until
        && let Err(stopped) = until(script, cx, gate.pass()).await
    {
        step.failed("cancelled");
        return Err(stopped);
    }
    match failure {
        Some(error) => {
            step.failed(error.message());
            let error = error.clone();
            let has_log = !error.log_tail().is_empty();
            let error = if has_log { error } else { error.with_log_tail(instruction.lines.clone()) };
            return Err(Broken::Failed(error));
        }
        None if instruction.is_cached => step.cached(),
        None => step.done(),
    }
    Ok(())
}

/// Waits for something, as long as the build may go on.
async fn until(script: &Script, cx: &BuildControl, wait: impl Future<Output = ()>) -> Result<(), Broken> {
    if script.when_stopped == WhenStopped::GoesOn {
        wait.await;
        return Ok(());
    }
    tokio::select! {
        biased;
        error = cx.stopped() => Err(Broken::Stopped(error)),
        () = wait => Ok(()),
    }
}
