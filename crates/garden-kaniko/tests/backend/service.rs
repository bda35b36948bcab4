//! Builds that fetch their context from the context service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use garden_build_core::{Backend as _, Caches, ErrorKind};
use garden_build_testing::kubernetes::{End, FakeCluster, FakePod, Process};
use garden_cluster::{LAST_WORDS_PATIENCE, MANAGED_BY_LABEL};
use garden_config::ContextDelivery;
use garden_kaniko::spec::CONTAINER;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::site::{NAMESPACE, Site, is_cancelled, succeed};

/// Where the conversation with the service takes another turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    None,
    /// The executor takes fifty minutes.
    LongBuild,
    /// The stream breaks when the pod is announced.
    CutAtAnnounce,
    /// The stream breaks while the context is sent.
    CutInStore,
    /// The service's pod goes while the context is sent.
    LostInStore,
    /// The service is killed for want of memory while the context is sent, a moment after the stream breaks.
    KilledInStore,
    /// The service does not answer.
    SilentAtInventory,
    /// Its volume is full.
    Full,
    /// It got something else than was sent.
    Broken,
    /// It speaks of something else.
    Nonsense,
    /// The pod never comes.
    NotFetched,
    /// The pod is given something else, and says so.
    Altered,
}

/// The service's container.
pub(crate) const SERVICE: &str = "context-service";

/// The service's side of a conversation. Source: the table in `src/service/session.rs`.
async fn converse(process: Process, turn: Turn, delivered: &watch::Sender<bool>) -> std::io::Result<End> {
    let Process { pod, command, stdin, mut stdout, .. } = process;
    let mut input = BufReader::new(stdin);
    let script: usize = command.last().and_then(|it| it.parse().ok()).unwrap();
    take(&mut input, script).await?;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).await? == 0 {
            return Ok(End::Exit(0));
        }
        let number = |word: &str| word.parse::<usize>().unwrap();
        let answer = match line.trim_end().split(' ').collect::<Vec<_>>()[..] {
            ["announce", ..] if turn == Turn::CutAtAnnounce => return Ok(End::Cut),
            ["announce", _, bytes] => {
                take(&mut input, number(bytes)).await?;
                "announced\n".to_owned()
            }
            ["inventory"] if turn == Turn::SilentAtInventory => std::future::pending().await,
            ["inventory"] => "end\n".to_owned(),
            ["store", _] => match turn {
                Turn::CutInStore => return Ok(End::Cut),
                Turn::LostInStore => {
                    pod.vanish();
                    return Ok(End::Cut);
                }
                Turn::KilledInStore => {
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(1)).await;
                        pod.run_out_of_memory(SERVICE);
                    });
                    return Ok(End::Cut);
                }
                _ => String::new(),
            },
            ["chunk", bytes] => {
                take(&mut input, number(bytes)).await?;
                String::new()
            }
            ["end"] => String::new(),
            ["sum", pack, _, bytes] => {
                let pack = pack.to_owned();
                take(&mut input, number(bytes)).await?;
                match turn {
                    Turn::Full => "full\n".to_owned(),
                    Turn::Broken => "broken\n".to_owned(),
                    Turn::Nonsense => "elephants\n".to_owned(),
                    _ => format!("stored {pack}\n"),
                }
            }
            ["rope", lines] => {
                for _ in 0..number(lines) {
                    input.read_line(&mut String::new()).await?;
                }
                "going\n".to_owned()
            }
            ["hand-over", start, end] => {
                take(&mut input, number(start) + number(end)).await?;
                if turn == Turn::NotFetched {
                    String::new()
                } else {
                    delivered.send_replace(true);
                    "pulling\ndelivered\n".to_owned()
                }
            }
            ["ping"] => "pong\n".to_owned(),
            _ => return Ok(End::Failed(format!("unknown: {line}"))),
        };
        stdout.write_all(answer.as_bytes()).await?;
    }
}

async fn take(input: &mut (impl tokio::io::AsyncRead + Unpin), bytes: usize) -> std::io::Result<()> {
    input.read_exact(&mut vec![0; bytes]).await.map(drop)
}

/// A cluster with a service whose conversations take this turn. The executor succeeds once it has its context.
pub(crate) fn site(turn: Turn) -> Site {
    site_where(turn, |pod| pod.run())
}

/// The same, where something else than to run becomes of the service's pods.
fn site_where(turn: Turn, of_service: impl Fn(FakePod) + Send + Sync + 'static) -> Site {
    Site::new(cluster(turn, of_service), "0123456789", ContextDelivery::Sync)
}

/// The cluster of such a build.
pub(crate) fn cluster(turn: Turn, of_service: impl Fn(FakePod) + Send + Sync + 'static) -> FakeCluster {
    cluster_where(turn, of_service, async |pod| succeed(&pod))
}

/// The same, where something else becomes of the executor once it has its context.
pub(crate) fn cluster_where<F: Future<Output = ()> + Send + 'static>(
    turn: Turn,
    of_service: impl Fn(FakePod) + Send + Sync + 'static,
    of_executor: impl Fn(FakePod) -> F + Send + Sync + 'static,
) -> FakeCluster {
    let of_executor = Arc::new(of_executor);
    let fake = FakeCluster::new();
    fake.run_deployments();
    let delivered = watch::Sender::new(false);
    let waiting = delivered.clone();
    fake.on_pod(move |pod: FakePod| {
        let (mut delivered, is_executor) = (waiting.subscribe(), pod.name.starts_with("kaniko-"));
        let of_executor = Arc::clone(&of_executor);
        if is_executor {
            pod.run();
        } else {
            of_service(pod.clone());
        }
        async move {
            if is_executor && turn == Turn::CutInStore {
                pod.say(CONTAINER, "garden-build: the build context broke off: the service was lost");
            }
            if !is_executor {
                pod.deleted().await;
                pod.vanish();
            } else if delivered.wait_for(|it| *it).await.is_ok() {
                let minutes = if turn == Turn::LongBuild { 50 } else { 0 };
                sleep(Duration::from_secs(60 * minutes + 1)).await;
                if turn == Turn::Altered {
                    let reason = "part 1 is not what the client has";
                    pod.say(CONTAINER, &format!("garden-build: the build context was altered: {reason}"));
                    pod.exit(CONTAINER, 1, "");
                } else {
                    of_executor(pod).await;
                }
            }
        }
    });
    fake.on_exec(move |process| {
        let delivered = delivered.clone();
        async move { converse(process, turn, &delivered).await.unwrap_or(End::Cut) }
    });
    fake
}

#[tokio::test(start_paused = true)]
async fn the_first_build_makes_the_service_and_the_second_finds_it() {
    let first = site(Turn::None);
    let seen = first.build().await;
    assert!(seen.outcome.is_ok(), "{:?}", seen.outcome);
    assert_eq!((first.left(), seen.warnings()), (Vec::new(), Vec::new()));
    first.fake.forget_requests();
    let second = Site::new(first.fake.clone(), "9876543210", ContextDelivery::Sync);
    second.build().await.outcome.unwrap();
    assert_eq!(second.left(), Vec::<String>::new());
    assert_eq!(first.fake.created("deployments").len(), 1);
    let asked = [
        ("get", "deployments"),
        ("patch", "deployments"),
        ("watch", "deployments"),
        ("watch", "replicasets"),
    ];
    let asked = asked.map(|(verb, resource)| first.fake.count(verb, resource));
    assert_eq!(asked, [1, 0, 0, 0], "whether it is known to be in use, and nothing else");
    assert_eq!(first.fake.names("pods").len(), 1, "the service stays");
}

#[tokio::test(start_paused = true)]
async fn what_the_service_has_is_kept_where_the_build_s_caches_are() {
    let home = tempfile::tempdir().unwrap();
    let mut site = site(Turn::None);
    site.caches = Caches::in_directory(home.path());
    site.build().await.outcome.unwrap();
    let services: Vec<_> =
        std::fs::read_dir(home.path().join("packs")).unwrap().map(Result::unwrap).collect();
    let [service] = &services[..] else { panic!("not one service: {services:?}") };
    let files = std::fs::read_dir(service.path()).unwrap().map(|file| file.unwrap().file_name());
    let files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    assert!(files.iter().any(|name| name.contains(".index")), "{files:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_the_upload_is_named_and_nothing_is_left() {
    for (turn, kind, message, within) in [
        (Turn::CutAtAnnounce, ErrorKind::BuilderLost, "the context service", 20),
        (Turn::CutInStore, ErrorKind::BuilderLost, "the context service", 20),
        (Turn::LostInStore, ErrorKind::BuilderLost, "Pod builds/garden-util", 20),
        (Turn::KilledInStore, ErrorKind::BuilderLost, "memory", 20),
        (Turn::SilentAtInventory, ErrorKind::Unreachable, "did not answer", 90),
        (Turn::Full, ErrorKind::BuilderStart, "does not fit", 20),
        (Turn::Broken, ErrorKind::BuilderLost, "damaged", 20),
        (Turn::Nonsense, ErrorKind::Unreachable, "elephants", 20),
        (Turn::NotFetched, ErrorKind::Unreachable, "has not reached", 60),
        (Turn::Altered, ErrorKind::BuilderLost, "part 1 is not what the client has", 20),
    ] {
        let site = site(turn);
        let started = Instant::now();
        let error = site.build().await.outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{turn:?}: {error}");
        assert!(error.message().contains(message), "{turn:?}: {error}");
        assert!(started.elapsed() < Duration::from_secs(within), "{turn:?}: {:?}", started.elapsed());
        assert_eq!(site.left(), Vec::<String>::new(), "{turn:?}");
        assert!(site.pods_made() <= 1, "{turn:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_service_is_waited_for_once_though_the_pod_has_heard_of_a_break_too() {
    let site = site(Turn::CutInStore);
    let started = Instant::now();
    let error = site.build().await.outcome.unwrap_err();
    assert!(error.log_tail().iter().any(|line| line.contains("broke off")), "{error}");
    assert!(error.message().starts_with("the conversation with the context service"), "{error}");
    assert!(started.elapsed() < 2 * LAST_WORDS_PATIENCE, "{:?}", started.elapsed());
}

/// What somebody else does to the service's Deployment.
type Change = fn(&mut Value);

fn change(pod: &FakePod, change: Change) {
    assert!(pod.cluster().alter("deployments", NAMESPACE, "garden-util", change));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_somebody_takes_over_while_it_starts_is_named_at_once() {
    let newer: Change = |it| it["metadata"]["annotations"]["garden-build/context-protocol"] = "3".into();
    let foreign: Change = |it| it["metadata"]["labels"][MANAGED_BY_LABEL] = "Helm".into();
    for (take_over, kind, message) in [
        (newer, ErrorKind::Unsupported, "made by a newer version"),
        (foreign, ErrorKind::Rejected, "made by another program"),
    ] {
        let site = site_where(Turn::None, move |pod| change(&pod, take_over));
        let started = Instant::now();
        let seen = site.build().await;
        let error = seen.outcome.as_ref().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(message), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!seen.log().iter().any(|line| line.contains("are replaced")), "{:?}", seen.log());
        assert_eq!((site.left(), site.fake.created("deployments").len()), (Vec::new(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_somebody_stops_or_deletes_while_it_starts_is_started_again() {
    let stop: fn(&FakePod) = |pod| change(pod, |it| it["spec"]["replicas"] = 0.into());
    let delete: fn(&FakePod) = |pod| assert!(pod.cluster().remove("deployments", NAMESPACE, "garden-util"));
    for take_away in [stop, delete] {
        let is_first = AtomicBool::new(true);
        let site = site_where(Turn::None, move |pod| {
            if is_first.swap(false, Ordering::SeqCst) { take_away(&pod) } else { pod.run() }
        });
        let started = Instant::now();
        let outcome = site.build().await.outcome;
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_cancelled_at_any_of_its_requests_leaves_only_the_service() {
    let undisturbed = site(Turn::None);
    undisturbed.build().await.outcome.unwrap();
    let mut cancelled = 0;
    for request in 0..undisturbed.fake.requests().len() {
        let site = site(Turn::None);
        let too_late = site.cancel_at(request);
        cancelled += usize::from(is_cancelled(&site.build().await.outcome, &too_late, request));
        assert_eq!(site.left(), Vec::<String>::new(), "at {request}");
        assert!(site.pods_made() <= 1 && site.fake.created("deployments").len() <= 1, "at {request}");
    }
    assert!(cancelled > 10, "{cancelled}");
}

#[tokio::test(start_paused = true)]
async fn two_first_builds_at_once_make_one_service() {
    let one = site(Turn::None);
    let other = Site::new(one.fake.clone(), "9876543210", ContextDelivery::Sync);
    let (first, second) = tokio::join!(one.build(), other.build());
    assert!(first.outcome.is_ok() && second.outcome.is_ok(), "{:?} {:?}", first.outcome, second.outcome);
    assert_eq!(one.fake.created("deployments").len(), 1);
    assert_eq!((one.left(), other.left()), (Vec::new(), Vec::new()));
    assert!(one.fake.object("deployments", NAMESPACE, "garden-util").is_some());
    assert!(one.backend.sweep().await.unwrap().removed.is_empty());
}
