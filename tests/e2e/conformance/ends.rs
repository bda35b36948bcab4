//! The ways in which a program ends, or is left alone, in the middle of a step that lasts, and what is left then. The program is a process of its own,
//! and does what `docs/operations.md` tells users to do.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use garden_build::{BuildRequest, Builder, ErrorKind, Event, WarningCode};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::interrupted::goes_later;
use super::{Case, Mode, Seen};
use crate::site::{Project, WITHIN_SECONDS, follow_until, own_process, proxy};

/// What the program builds and how it ends, a namespace and a directory.
const PROGRAM: &str = "GARDEN_TEST_PROGRAM_THAT_ENDS";

/// What it prints when its step runs.
const BEGUN: &str = "the step has begun";

pub(super) async fn signals(case: &mut Case<'_>) -> Seen {
    write_dockerfile(case);
    for name in ["INT", "TERM"] {
        let mut program = begin(case, "signals", name);
        let since = Instant::now();
        let pid = program.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
        assert!(program.wait().unwrap().success(), "it cleans up and ends by itself");
        println!("SIG{name}: the program has ended after {:?}", since.elapsed());
        assert!(since.elapsed() < WITHIN_SECONDS, "{:?}", since.elapsed());
        is_removed(case).await;
    }
    Seen::Works
}

pub(super) async fn panics(case: &mut Case<'_>) -> Seen {
    write_dockerfile(case);
    let mut program = begin(case, "panics", "panic");
    let since = Instant::now();
    assert!(program.wait().unwrap().success());
    println!("panic: the program has ended after {:?}", since.elapsed());
    is_removed(case).await;
    Seen::Works
}

pub(super) async fn runtime(case: &mut Case<'_>) -> Seen {
    write_dockerfile(case);
    let mut program = begin(case, "runtime", "runtime");
    assert!(program.wait().unwrap().success());
    println!("its runtime has ended: {:?} are left", case.project.leftovers().await);
    if case.mode == Mode::Kaniko {
        assert!(!case.project.leftovers().await.is_empty(), "nobody has removed it yet");
    }
    goes_later(case).await;
    Seen::Works
}

pub(super) async fn frozen(case: &mut Case<'_>) -> Seen {
    write_dockerfile(case);
    let proxied = proxy::client_cut_after(u64::MAX).await;
    let mut build = case.builder_with(proxied.client.clone()).build(case.request());
    follow_until(&mut build, "   begun").await;
    proxied.freeze();
    let since = Instant::now();
    if case.mode.builds_in_the_cluster() {
        while let Some(event) = build.next_event().await {
            if matches!(event, Event::Warning { code: WarningCode::ClusterSilent, .. }) {
                break;
            }
        }
        assert!(!build.is_finished(), "it goes on");
        println!("told after {:?}", since.elapsed());
    }
    let since = Instant::now();
    let error = build.cancel().await.expect_err("cancelled");
    println!("cancelled after {:?}: {error}", since.elapsed());
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(since.elapsed() < WITHIN_SECONDS, "{:?}", since.elapsed());
    if case.mode == Mode::Kaniko {
        assert!(error.message().contains("may be left"), "{error}");
    }
    // A connection that stays frozen is closed in the end, by keepalives of the API server.
    proxied.cut_all();
    goes_later(case).await;
    Seen::Works
}

/// Makes sure that the program has removed what it had created before it ended. A daemon ends a build when the program is gone.
async fn is_removed(case: &Case<'_>) {
    if case.mode == Mode::Kaniko {
        assert_eq!(case.project.leftovers().await, [""; 0]);
    }
    case.mode.assert_nothing_goes_on(case.project).await;
}

fn write_dockerfile(case: &Case<'_>) {
    case.project.dockerfile(&format!("RUN echo begun; {}\n", case.project.long_sleep()));
}

/// Starts the program, and waits until its step runs.
fn begin(case: &Case<'_>, test: &str, end: &str) -> Child {
    let module = format!("{}::{}", module_path!().rsplit_once("::").unwrap().0, case.mode.name());
    let what = [end, &case.project.namespace, case.project.path().to_str().unwrap()];
    let mut program = own_process::command(&module, test)
        .env(PROGRAM, what.join("\n"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(BEGUN)), "its step begins");
    // It may go on printing.
    thread::spawn(move || lines.for_each(drop));
    program
}

/// In the program that ends: builds until then. Returns whether this is that program.
pub(super) async fn is_program(mode: Mode) -> bool {
    let Ok(what) = env::var(PROGRAM) else { return false };
    let [end, namespace, directory] = what.split('\n').collect::<Vec<_>>()[..] else { panic!("{what}") };
    let mut project = Project::in_namespace(namespace.to_owned()).await;
    Mode::is_installed();
    mode.set_up(&mut project).await;
    let (builder, mut request) = {
        let case = Case { mode, project: &mut project };
        (case.builder(), case.request())
    };
    request.directory = PathBuf::from(directory);
    match end {
        "INT" => assert_cancelled(&builder, request, async { drop(tokio::signal::ctrl_c().await) }).await,
        "TERM" => {
            let mut terminated = signal(SignalKind::terminate()).unwrap();
            assert_cancelled(&builder, request, async move {
                let _ = terminated.recv().await;
            })
            .await;
        }
        "panic" => {
            let main = async move {
                let work = async {
                    let _build = step_begun(&builder, request).await;
                    panic!("made up");
                };
                builder.shutdown_after(WITHIN_SECONDS, work).await;
            };
            let main = move || Runtime::new().unwrap().block_on(main);
            thread::spawn(main).join().expect_err("the panic goes on");
        }
        "runtime" => {
            let main = async move { drop(step_begun(&builder, request).await) };
            thread::spawn(move || Runtime::new().unwrap().block_on(main)).join().unwrap();
        }
        other => panic!("{other}"),
    }
    true
}

async fn step_begun(builder: &Builder, request: BuildRequest) -> garden_build::Build {
    let mut build = builder.build(request);
    follow_until(&mut build, "   begun").await;
    println!("{BEGUN}");
    build
}

async fn assert_cancelled(
    builder: &Builder,
    request: BuildRequest,
    signal: impl Future<Output = ()> + Send + 'static,
) {
    let mut build = builder.build(request).until(signal);
    follow_until(&mut build, "   begun").await;
    println!("{BEGUN}");
    assert_eq!(build.await.expect_err("cancelled").kind(), ErrorKind::Cancelled);
}
