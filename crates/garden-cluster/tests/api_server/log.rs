use std::sync::{Arc, Mutex};
use std::time::Duration;

use garden_build_testing::kubernetes::{FakeCluster, FakePod, Fault};
use garden_cluster::{Cluster, follow_log};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{MAIN, NAMESPACE, fake, made};

/// A log that is being followed.
struct Following {
    lines: Arc<Mutex<Vec<String>>>,
    ended: CancellationToken,
    task: tokio::task::JoinHandle<bool>,
}

impl Following {
    fn start(cluster: &Cluster) -> Self {
        let (lines, ended) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
        let (cluster, sink, token) = (cluster.clone(), Arc::clone(&lines), ended.clone());
        let task = tokio::spawn(async move {
            let on_line = |line: &str| sink.lock().unwrap().push(line.to_owned());
            follow_log(&cluster, NAMESPACE, "a", MAIN, &token, on_line).await
        });
        Self { lines, ended, task }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Returns whether the end was read, and the lines.
    async fn end(self) -> (bool, Vec<String>) {
        (self.task.await.unwrap(), Arc::into_inner(self.lines).unwrap().into_inner().unwrap())
    }
}

async fn running() -> (FakeCluster, Cluster, FakePod) {
    let (fake, cluster) = fake();
    let pod = made(&fake, &cluster, "a").await;
    pod.run();
    (fake, cluster, pod)
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_early_or_breaks_is_resumed_without_gaps_or_repeats() {
    for clean in [true, false] {
        let (fake, cluster, pod) = running().await;
        let following = Following::start(&cluster);
        let mut expected = Vec::new();
        for line in 0..40 {
            let line = format!("line {line}");
            pod.say(MAIN, &line);
            expected.push(line);
            sleep(Duration::from_millis(137)).await;
            if expected.len() % 7 == 0 {
                fake.cut_log(NAMESPACE, "a", MAIN, clean);
            }
        }
        assert!(following.lines().len() > 10, "it does not wait for the end");
        pod.exit(MAIN, 0, "");
        following.ended.cancel();
        assert_eq!(following.end().await, (true, expected), "clean: {clean}");
        assert!(fake.count("get", "pods/log") >= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_come_while_nobody_reads_are_read_later() {
    let (fake, cluster, pod) = running().await;
    let following = Following::start(&cluster);
    pod.say(MAIN, "before");
    sleep(Duration::from_secs(1)).await;
    // The server is away for a while.
    fake.fault(Fault::cut("get", "pods/log"));
    fake.cut_log(NAMESPACE, "a", MAIN, false);
    pod.say(MAIN, "meanwhile");
    pod.exit(MAIN, 0, "");
    following.ended.cancel();
    // Once the container has ended, one more look is taken, whether or not it succeeds.
    let (is_whole, lines) = following.end().await;
    assert_eq!((is_whole, lines), (false, vec!["before".to_owned()]));

    let following = Following::start(&cluster);
    following.ended.cancel();
    assert_eq!(following.end().await, (true, vec!["before".to_owned(), "meanwhile".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_stream_is_believed_once_the_container_has_ended() {
    let (_, cluster, pod) = running().await;
    let following = Following::start(&cluster);
    pod.say(MAIN, "last");
    pod.complete_log(MAIN);
    sleep(Duration::from_secs(1)).await;
    assert!(!following.task.is_finished(), "the container may go on");
    following.ended.cancel();
    assert_eq!(following.end().await, (true, vec!["last".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stays_open_after_the_end_is_left() {
    let (_, cluster, pod) = running().await;
    let following = Following::start(&cluster);
    pod.say(MAIN, "last");
    sleep(Duration::from_secs(1)).await;
    following.ended.cancel();
    let started = Instant::now();
    assert_eq!(following.end().await, (false, vec!["last".to_owned()]));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_for_minutes_is_opened_anew() {
    let (fake, cluster, pod) = running().await;
    let following = Following::start(&cluster);
    sleep(Duration::from_secs(301)).await;
    assert_eq!(fake.count("get", "pods/log"), 2);
    pod.say(MAIN, "at last");
    pod.exit(MAIN, 0, "");
    following.ended.cancel();
    assert_eq!(following.end().await, (true, vec!["at last".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_the_server_does_not_answer_for_is_asked_for_again() {
    let (fake, cluster, pod) = running().await;
    fake.fault(Fault::silent("get", "pods/log"));
    pod.say(MAIN, "one");
    let following = Following::start(&cluster);
    sleep(Duration::from_secs(301)).await;
    assert_eq!(following.lines(), ["one"], "long before the container ends");
    pod.exit(MAIN, 0, "");
    following.ended.cancel();
    assert_eq!(following.end().await, (true, vec!["one".to_owned()]));
}
