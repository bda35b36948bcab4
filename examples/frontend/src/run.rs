//! From the command line to an exit code.

use std::io;
use std::time::Duration;

use clap::CommandFactory as _;
use garden_build::config::{self, Project};
use garden_build::{Builder, BuilderOptions, Error, ErrorKind, Result};

use crate::arguments::{Arguments, ProgressOption, Verb};
use crate::failure::report;
use crate::output::Format;
use crate::session::Session;
use crate::verbs;

/// The code of a command whose output nobody reads any more, as shells show it of one that SIGPIPE ends.
const READER_HAS_GONE: u8 = 141;

/// How long what was cancelled may take to clean up when the command ends in another way than it should.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what the command line says, and returns the code to end with. `connect` makes the builder: usually [`BuilderOptions::connect`].
pub fn run(arguments: &Arguments, connect: impl FnOnce(BuilderOptions) -> Result<Builder>) -> u8 {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(within_runtime(arguments, connect)),
        Err(error) => refused("the runtime could not be started", &error),
    }
}

async fn within_runtime(
    arguments: &Arguments,
    connect: impl FnOnce(BuilderOptions) -> Result<Builder>,
) -> u8 {
    let option = if arguments.json { ProgressOption::Json } else { arguments.progress };
    let session = match Session::begin(Format::of(option)) {
        Ok(session) => session,
        Err(error) => return refused("the system takes no handler of Ctrl-C", &error),
    };
    let outcome = work(&session, arguments, option, connect).await;
    let code = outcome.unwrap_or_else(|error| report(&session.output, None, &error));
    if session.output.reader_has_gone() { READER_HAS_GONE } else { code }
}

/// Returns the code to end with if it has reported what went wrong.
async fn work(
    session: &Session,
    arguments: &Arguments,
    progress: ProgressOption,
    connect: impl FnOnce(BuilderOptions) -> Result<Builder>,
) -> Result<u8> {
    if let Verb::Completions { shell } = &arguments.verb {
        session.output.print(completions(*shell).trim_end());
        return Ok(0);
    }
    if progress == ProgressOption::Tty && Format::of_standard_error() != Format::Terminal {
        let error = Error::new(ErrorKind::Unsupported, "the standard error is not a terminal");
        return Err(error.with_hint("leave `--progress tty` out, or set it to `plain`"));
    }
    let project = load(arguments)?;
    let environment = match &arguments.env {
        Some(name) => project.environment(name)?,
        None => project.default_environment()?,
    };
    let provider = environment.provider()?;
    let mut options = Builder::options(provider.clone());
    if let Verb::Build(build) = &arguments.verb
        && let Some(jobs) = build.jobs
    {
        options = options.most_builds(jobs);
    }
    let builder = connect(options)?;
    let shown = verbs::Shown { session, environment: &environment, provider: &provider, builder: &builder };
    // Even a panic leaves nothing in the cluster.
    builder.shutdown_after(PATIENCE, shown.act(&arguments.verb)).await
}

fn load(arguments: &Arguments) -> Result<Project> {
    let mut project = config::load(&arguments.project)?;
    for variable in &arguments.var {
        project = project.with_variable(&variable.name, variable.value.as_str());
    }
    Ok(project)
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// For what fails before anything can be shown in its format.
fn refused(what: &str, error: &io::Error) -> u8 {
    use io::Write as _;
    let _ = writeln!(io::stderr(), "error: {what}: {error}");
    ErrorKind::Unexpected.exit_code()
}
