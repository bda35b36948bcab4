//! The scripts, run by this machine's shell.

use std::process::Stdio;

use tokio::process::{Child, ChildStdout, Command};

use super::*;

struct Holder {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(script: &str, lock: &std::path::Path) -> Self {
        let script = script.replace("/run/garden-build/lock", lock.to_str().expect("UTF-8"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("a shell");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    async fn says(&mut self) -> String {
        self.lines.next_line().await.expect("readable").expect("a line")
    }

    /// As when the client dies.
    async fn ends(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().await.expect("an end");
    }
}

#[tokio::test]
async fn many_builds_share_the_daemon_and_a_clean_up_has_it_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let lock = directory.path().join("lock");
    let mut one = Holder::start(SHARE, &lock);
    assert_eq!(one.says().await, "held");
    let mut other = Holder::start(SHARE, &lock);
    assert_eq!(other.says().await, "held");

    let mut refused = Holder::start(ALONE, &lock);
    assert_eq!(refused.says().await, "busy");
    refused.ends().await;
    one.ends().await;
    other.ends().await;

    let mut alone = Holder::start(ALONE, &lock);
    assert_eq!(alone.says().await, "held");
    let mut waiting = Holder::start(SHARE, &lock);
    assert_eq!(waiting.says().await, "busy");
    alone.ends().await;
    assert_eq!(waiting.says().await, "held");
}

#[tokio::test]
async fn a_daemon_that_is_to_stop_waits_for_builds() {
    let directory = tempfile::tempdir().expect("a directory");
    let lock = directory.path().join("lock");
    let mut build = Holder::start(SHARE, &lock);
    assert_eq!(build.says().await, "held");
    let path = lock.to_str().expect("UTF-8");
    let arguments = WAIT_FOR_ALL.map(|word| if word.starts_with('/') { path } else { word });
    let mut stopping = Command::new(arguments[0]).args(&arguments[1..]).spawn().expect("flock");
    let waits = timeout(Duration::from_millis(300), stopping.wait()).await;
    assert!(waits.is_err(), "there is a build");
    build.ends().await;
    assert!(stopping.wait().await.expect("an end").success());
}

#[tokio::test(start_paused = true)]
async fn whoever_works_under_a_lock_that_is_lost_hears_of_it() {
    let lock = || {
        let (here, there) = tokio::io::duplex(64);
        (held(BufReader::new(here).lines()), there)
    };
    let (mut held, there) = lock();
    assert_eq!(held.during(async { "done" }).await, Ok("done"));
    let dropping = async {
        sleep(Duration::from_secs(1)).await;
        drop(there);
    };
    let (lost, ()) = tokio::join!(held.during(std::future::pending::<()>()), dropping);
    assert_eq!(lost, Err("the command that held it has ended".to_owned()));

    // A connection that has fallen silent is none; one on which something is said is one.
    let (mut held, mut there) = lock();
    let speaking = async {
        for _ in 0..10 {
            sleep(Duration::from_secs(20)).await;
            tokio::io::AsyncWriteExt::write_all(&mut there, b"\n").await.expect("it is read");
        }
    };
    assert_eq!(held.during(speaking).await, Ok(()));
    let lost = held.during(std::future::pending::<()>()).await;
    assert_eq!(lost, Err("nothing was heard of it for 90 s".to_owned()));
}
