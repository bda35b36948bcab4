//! Clients that are killed, connections that are cut, and clients that want the same at once.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use garden_build::{BuildRequest, Digest, Event, WarningCode};

use super::{Case, Mode, Seen};
use crate::site::{PATIENCE, Project, build_with_events, noise, own_process, proxy, registry};

/// How often in the usual run, and which variable says otherwise. 200 kills take half an hour.
const KILLS: (&str, u64) = ("GARDEN_TEST_KILLS", 2);
const CUTS: (&str, u64) = ("GARDEN_TEST_CUTS", 1);
const RACES: (&str, u64) = ("GARDEN_TEST_RACES", 1);

fn rounds((variable, usual): (&str, u64)) -> u64 {
    env::var(variable).map_or(usual, |rounds| rounds.parse().unwrap())
}

/// A build of anything but the whole context fails.
const DOCKERFILE: &str = "ARG SUM\nCOPY . /app\nRUN cat /app/big /app/round | sha256sum | grep -q ^$SUM\n";

/// Changes the context, and returns a request that says what it is.
fn change(project: &Project, round: &str) -> BuildRequest {
    let mut bytes = noise(1 << 20);
    // The noise is always the same.
    bytes[..round.len()].copy_from_slice(round.as_bytes());
    project.file("big", &bytes);
    project.file("round", round);
    bytes.extend(round.bytes());
    project.request().build_arg("SUM", Digest::of(&bytes).hex())
}

pub(super) async fn killed_or_cut(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile(DOCKERFILE);
    // A daemon may have to start first.
    case.build(change(case.project, "first")).await;
    let begun = Instant::now();
    case.build(change(case.project, "second")).await;
    let longest = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let mut state = u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    println!("seed {state}, builds of {longest} ms");
    let mut delay = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((state >> 33) % longest)
    };
    for round in 0..rounds(KILLS) {
        let request = change(case.project, &format!("kill {round}"));
        let delay = delay();
        kill(case, &request, delay).await;
        goes_on(case, request, &format!("the client was killed after {delay:?}")).await;
    }
    // With local-docker nothing of a build goes by the cluster.
    let cuts = if case.mode.builds_in_the_cluster() { rounds(CUTS) } else { 0 };
    for round in 0..cuts {
        let request = change(case.project, &format!("cut {round}"));
        let delay = delay();
        let outcome = cut(case, request.clone(), delay).await;
        goes_on(case, request, &format!("connections were cut after {delay:?} ({outcome})")).await;
    }
    goes_later(case).await;
    Seen::Works
}

/// Makes sure that what a client has left which is gone is removed by what is made for that. The pod of a killed client goes when its lease has
/// ended. Daemons stay, and only builds on them end.
pub(super) async fn goes_later(case: &Case<'_>) {
    let started = Instant::now();
    while case.mode == Mode::Kaniko && !case.project.leftovers().await.is_empty() {
        assert!(started.elapsed() < PATIENCE, "{:?}", case.project.leftovers().await);
        case.builder().sweep().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    case.mode.assert_nothing_goes_on(case.project).await;
}

/// Builds once more, and makes sure that the registry has all of the image.
async fn goes_on(case: &Case<'_>, request: BuildRequest, after: &str) {
    let image = case.builder().build(request).await;
    let image = image.unwrap_or_else(|error| panic!("after {after}: {error:?}"));
    assert!(registry::contents(&image.reference).await.len() >= 3, "after {after}");
    println!("after {after}: {:?}", image.outcome);
}

async fn cut(case: &Case<'_>, request: BuildRequest, delay: Duration) -> String {
    let proxied = proxy::client_cut_after(u64::MAX).await;
    let build = case.builder_with(proxied.client.clone()).build(request);
    tokio::time::sleep(delay).await;
    proxied.cut_all();
    match build.await {
        Ok(_) => "built all the same".to_owned(),
        Err(error) => {
            assert!(error.is_retryable(), "{error:?}");
            format!("failed: {error}")
        }
    }
}

/// What the process that is going to be killed builds: a namespace, a directory, and its sum.
const VICTIM: &str = "GARDEN_TEST_VICTIM_OF_ANY_MODE";

async fn kill(case: &Case<'_>, request: &BuildRequest, delay: Duration) {
    let module = format!("{}::{}", module_path!().rsplit_once("::").unwrap().0, case.mode.name());
    let what =
        [&case.project.namespace, request.directory.to_str().unwrap(), request.build_args["SUM"].as_str()];
    let mut victim = own_process::command(&module, "killed_or_cut")
        .env(VICTIM, what.join("\n"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(delay).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// In the process that is going to be killed: builds. Returns whether this is that process.
pub(super) async fn is_victim(mode: Mode) -> bool {
    let Ok(what) = env::var(VICTIM) else { return false };
    let [namespace, directory, sum] = what.split('\n').collect::<Vec<_>>()[..] else { panic!("{what}") };
    let mut project = Project::in_namespace(namespace.to_owned()).await;
    Mode::is_installed();
    mode.set_up(&mut project).await;
    let case = Case { mode, project: &mut project };
    let mut request = case.request().build_arg("SUM", sum);
    request.directory = PathBuf::from(directory);
    case.builder().build(request).await.unwrap();
    true
}

pub(super) async fn two_clients(case: &mut Case<'_>) -> Seen {
    case.project.dockerfile(DOCKERFILE);
    for round in 0..rounds(RACES) {
        let request = change(case.project, &format!("race {round}"));
        let [one, other] = [case.builder(), case.builder()];
        let built = tokio::join!(
            build_with_events(&one, request.clone()),
            build_with_events(&other, request.clone())
        );
        let (built, events) = ([built.0.0.unwrap(), built.1.0.unwrap()], [built.0.1, built.1.1]);
        let is_told = events.iter().flatten().any(|event| {
            let codes = [WarningCode::PushedByAnotherBuild, WarningCode::AnotherBuildRuns];
            matches!(event, Event::Warning { code, .. } if codes.contains(code))
        });
        let are_one = built[0].digest == built[1].digest;
        println!("one digest: {are_one}, told: {is_told}");
        let is_classic = matches!(case.mode, Mode::ClusterDocker | Mode::LocalDockerClassic);
        // With kaniko, one waits for the other. BuildKit daemons may push twice, and say so; the classic builder knows nothing of other builds.
        assert!(are_one || (is_told && case.mode != Mode::Kaniko) || is_classic, "{built:?}");
        for image in &built {
            // By its digest, as the tag is that of the last one.
            let (host, repository) = (image.reference.registry(), image.reference.repository());
            let stored = registry::manifest(host, repository, &image.digest.to_string()).await;
            assert!(stored.is_some(), "{image:?}");
        }
        assert!(registry::contents(&built[0].reference).await.len() >= 3);
        let last = case.builder().build(request).await.unwrap();
        assert!(built.iter().any(|image| image.digest == last.digest), "the tag is one of the two");
    }
    Seen::Works
}
