//! A small command in front of the library: progress bars on a terminal, lines elsewhere, JSON for other programs.
//!
//! ```sh
//! cargo run --example frontend -- --project examples/app build examples/app app
//! cargo run --example frontend -- --project examples/app status examples/app app   # does the image exist?
//! cargo run --example frontend -- --project examples/app plan examples/app app     # what would a build create?
//! ```
//!
//! The project `examples/app` has the environments `testbed`, for the testbed of this repository, and `dev`, whose registry you set to yours first. `--environment` chooses one of the project file, `--json` prints events and the result as JSON, one in a line. Ctrl-C cancels and cleans up;
//! a second one leaves at once, and the next build cleans up. The exit code says what went wrong: see `ErrorKind::exit_code`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "only libraries must not print")]

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use garden_build::{BuildRequest, Builder, ErrorKind, Event, EventStream, Operation, Result, StepId, config};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Builds images in a cluster.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// The project's directory, or its file
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// The environment of the project; the project's default if it is left out
    #[arg(long)]
    environment: Option<String>,
    /// Print events and the result as JSON, one in a line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build an image and push it, unless it exists
    Build(Image),
    /// Say whether the image exists
    Status(Image),
    /// Show what a build would create in the cluster
    Plan(Image),
}

#[derive(Args)]
struct Image {
    /// The build context
    directory: PathBuf,
    /// The image's name
    name: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match connect(&arguments) {
        Ok(builder) => run(&arguments, &builder).await,
        Err(error) => Err(error),
    };
    ending(&arguments, outcome).into()
}

fn connect(Arguments { project, environment, .. }: &Arguments) -> Result<Builder> {
    let project = config::load(project)?;
    let environment = match environment {
        Some(name) => project.environment(name)?,
        None => project.default_environment()?,
    };
    Builder::options(environment.provider()?).connect()
}

/// Does what the arguments say, and prints events and result.
pub(crate) async fn run(Arguments { json, verb, .. }: &Arguments, builder: &Builder) -> Result<()> {
    let request = |image: &Image| BuildRequest::new(&image.name, &image.directory);
    match verb {
        Verb::Build(image) => {
            let image = follow(builder.build(request(image)), *json).await?;
            print(*json, &image, || format!("{}@{}", image.reference, image.digest));
        }
        Verb::Status(image) => {
            let status = follow(builder.status(request(image)), *json).await?;
            let exists = status.existing.map_or("missing".to_owned(), |digest| digest.to_string());
            print(*json, &status, || format!("{}: {exists}", status.reference));
        }
        Verb::Plan(image) => {
            let plan = follow(builder.plan(request(image)), *json).await?;
            let objects = || {
                plan.objects
                    .iter()
                    .map(|planned| format!("\n---\n# {}\n{:#}", planned.description, planned.object))
            };
            print(*json, &plan, || {
                format!("# would push {}{}", plan.reference, objects().collect::<String>())
            });
        }
    }
    Ok(())
}

/// Says what went wrong, if something did, and returns the code to end with.
pub(crate) fn ending(Arguments { json, .. }: &Arguments, outcome: Result<()>) -> u8 {
    let Err(error) = outcome else { return 0 };
    if *json {
        println!("{}", json!({ "error": error }));
    } else {
        eprintln!("error: {error:?}");
    }
    error.kind().exit_code()
}

fn print(json: bool, result: &impl Serialize, words: impl FnOnce() -> String) {
    println!("{}", if json { json!({ "result": result }).to_string() } else { words() });
}

/// Shows the events of an operation until it ends. The first Ctrl-C cancels it, the second ends the program.
async fn follow<T: Clone>(operation: Operation<T>, json: bool) -> Result<T> {
    let (handle, events) = operation.split();
    let cancellation = handle.cancellation();
    // Before anything is shown, so that none is lost.
    let mut interrupts = signal(SignalKind::interrupt()).expect("a handler for Ctrl-C");
    let interrupts = tokio::spawn(async move {
        interrupts.recv().await;
        eprintln!("cancelled: cleaning up; Ctrl-C leaves at once");
        cancellation.cancel();
        interrupts.recv().await;
        process::exit(ErrorKind::Cancelled.exit_code().into());
    });
    // The events end with the operation.
    show(events, json).await;
    interrupts.abort();
    handle.await
}

async fn show(mut events: EventStream, json: bool) {
    let mut bars = std::io::stderr().is_terminal().then(Bars::default).filter(|_| !json);
    while let Some(event) = events.next().await {
        match &mut bars {
            Some(bars) => bars.show(&event),
            None if json => println!("{}", json!(event)),
            None => eprintln!("{event}"),
        }
    }
}

/// A bar for each step that is under way, below what was printed.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    steps: HashMap<StepId, ProgressBar>,
}

impl Bars {
    fn show(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, .. } => {
                // `Display` makes harmless what a builder or a RUN step has written.
                let bar = self.all.add(ProgressBar::new_spinner().with_message(event.to_string()));
                bar.enable_steady_tick(Duration::from_millis(100));
                self.steps.insert(*step, bar);
            }
            Event::Progress { step, current, total, .. } => {
                let Some(bar) = self.steps.get(step) else { return };
                if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
                    let template = "{spinner} {msg} [{wide_bar}] {bytes}/{total_bytes}";
                    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
                    bar.set_length(total);
                }
                bar.set_position(*current);
            }
            event => {
                if let Event::StepFinished { step, .. } = event
                    && let Some(bar) = self.steps.remove(step)
                {
                    bar.finish_and_clear();
                }
                let _ = self.all.println(event.to_string());
            }
        }
    }
}
