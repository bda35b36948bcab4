use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use garden_build_core::{Error, ErrorKind};
use garden_build_testing::kubernetes::{End, FakeCluster, Fault, Process, Refusal};
use garden_cluster::{Cluster, ClusterError, PodStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::{MAIN, NAMESPACE, fake, made};

async fn running() -> (FakeCluster, Cluster) {
    let (fake, cluster) = fake();
    made(&fake, &cluster, "a").await.run();
    (fake, cluster)
}

async fn exec(cluster: &Cluster) -> Result<PodStream, ClusterError> {
    PodStream::exec(cluster, NAMESPACE, "a", MAIN, &["tool", "--flag"]).await
}

async fn attach(cluster: &Cluster) -> Result<PodStream, ClusterError> {
    PodStream::attach(cluster, NAMESPACE, "a", MAIN).await
}

async fn echo(mut process: Process) -> End {
    let mut buffer = vec![0; 10_000];
    loop {
        match process.stdin.read(&mut buffer).await {
            Ok(0) => return End::Exit(0),
            Ok(length) => process.stdout.write_all(&buffer[..length]).await.unwrap(),
            Err(_) => return End::Exit(1),
        }
    }
}

#[tokio::test]
async fn a_command_gets_all_that_is_written_and_its_output_is_read_to_the_end() {
    let (fake, cluster) = running().await;
    fake.on_exec(echo);
    let stream = exec(&cluster).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut output, mut input) = tokio::io::split(stream);
    let writing = async {
        input.write_all(&sent).await.unwrap();
        input.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let ((), read) = tokio::join!(writing, output.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    let request = fake.requests().into_iter().find(|it| it.resource() == "pods/exec").unwrap();
    let command: Vec<_> =
        request.query.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.as_str()).collect();
    assert_eq!((command, request.parameter("container")), (vec!["tool", "--flag"], Some(MAIN)));
}

/// Reads a stream to its end, and returns with what it failed.
async fn failure(mut stream: PodStream) -> (Vec<u8>, io::Error) {
    let mut read = Vec::new();
    let error = stream.read_to_end(&mut read).await.unwrap_err();
    (read, error)
}

#[tokio::test]
async fn a_command_that_fails_says_why() {
    let (fake, cluster) = running().await;
    fake.on_exec(async |mut process: Process| {
        process.stdout.write_all(b"some").await.unwrap();
        process.stderr.write_all(b"tool: no such flag\n").await.unwrap();
        End::Exit(2)
    });
    let (read, error) = failure(exec(&cluster).await.unwrap()).await;
    assert_eq!(read, b"some");
    for part in ["tool --flag in Pod builds/a", "exit status 2", "tool: no such flag"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // A command with endless complaints fills no memory.
    fake.on_exec(async |mut process: Process| {
        for _ in 0..1000 {
            process.stderr.write_all(&[b'x'; 10_000]).await.unwrap();
        }
        End::Failed("killed".to_owned())
    });
    let (_, error) = failure(exec(&cluster).await.unwrap()).await;
    assert!(error.to_string().contains("killed") && error.to_string().len() < 10_000);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_end_and_stays_cut() {
    let (fake, cluster) = running().await;
    fake.on_exec(async |mut process: Process| {
        process.stdout.write_all(b"half").await.unwrap();
        End::Cut
    });
    let mut stream = exec(&cluster).await.unwrap();
    let mut read = Vec::new();
    for _ in 0..2 {
        let error = stream.read_to_end(&mut read).await.unwrap_err();
        assert!(error.to_string().contains("was cut"), "{error}");
    }
    assert_eq!(read, b"half");

    fake.on_exec(echo);
    let stream = exec(&cluster).await.unwrap();
    fake.cut_streams();
    failure(stream).await;
}

#[tokio::test]
async fn a_stream_that_the_server_refuses_says_what_was_asked() {
    let (fake, cluster) = running().await;
    for (verb, resource) in [("get", "pods/exec"), ("get", "pods/attach")] {
        fake.fault(Fault::refuse(verb, resource, Refusal::forbidden("create", resource, NAMESPACE)));
    }
    for refused in [exec(&cluster).await, attach(&cluster).await] {
        let error = Error::from(refused.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("Pod builds/a"), "{error}");
    }
    fake.pod(NAMESPACE, "a").unwrap().vanish();
    assert_eq!(exec(&cluster).await.unwrap_err().code(), Some(404));
    assert_eq!(attach(&cluster).await.unwrap_err().code(), Some(404));
}

#[tokio::test]
async fn a_port_of_a_pod_is_a_stream_of_bytes() {
    let (fake, cluster) = running().await;
    let nobody = PodStream::port_forward(&cluster, NAMESPACE, "a", 5000).await.unwrap();
    let (_, error) = failure(nobody).await;
    assert!(error.to_string().contains("port 5000") && error.to_string().contains("refused"), "{error}");

    fake.on_connection(async |mut connection| {
        let mut greeting = [0; 5];
        connection.stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!((connection.port, &greeting), (5000, b"hello"));
        connection.stream.write_all(&vec![b'x'; 300_000]).await.unwrap();
    });
    let mut stream = PodStream::port_forward(&cluster, NAMESPACE, "a", 5000).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = vec![0; 300_000];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.iter().all(|byte| *byte == b'x'));
}

/// What a container has read from its stdin, and whether it saw the end of it.
#[derive(Clone)]
struct Taken(watch::Sender<(Vec<u8>, bool)>);

impl Taken {
    fn new() -> Self {
        Self(watch::Sender::new((Vec::new(), false)))
    }

    /// Reads until the end, or until there are `enough` bytes.
    async fn read(&self, process: &mut Process, enough: usize) {
        let mut buffer = vec![0; 8192];
        while self.0.borrow().0.len() < enough {
            match process.stdin.read(&mut buffer).await.unwrap() {
                0 => return self.0.send_modify(|taken| taken.1 = true),
                length => self.0.send_modify(|taken| taken.0.extend_from_slice(&buffer[..length])),
            }
        }
    }

    /// Waits until so much was read, with its end if that `is_whole`.
    async fn has(&self, bytes: usize, is_whole: bool) {
        let mut taken = self.0.subscribe();
        let waiting = taken.wait_for(|taken| taken.0.len() == bytes && taken.1 == is_whole);
        timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    }
}

const CHUNK: usize = 100_000;

/// Has the container take whatever comes.
fn take_all(fake: &FakeCluster, taken: &Taken) {
    let taken = taken.clone();
    fake.on_attach(move |mut process| {
        let taken = taken.clone();
        async move {
            taken.read(&mut process, usize::MAX).await;
            std::future::pending().await
        }
    });
}

fn chunks(count: usize) -> impl futures::Stream<Item = Result<Bytes, Error>> + Unpin {
    stream::iter(0..count).map(|number| Ok(Bytes::from(vec![u8::try_from(number % 251).unwrap(); CHUNK])))
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_all_of_its_input_over_either_protocol() {
    for is_old in [false, true] {
        let (fake, cluster) = running().await;
        if is_old {
            fake.speak_old_streams();
        }
        let taken = Taken::new();
        take_all(&fake, &taken);
        let mut sent = 0;
        let stream = attach(&cluster).await.unwrap();
        let fed = stream.feed(chunks(30), || sent += 1).await.unwrap();
        assert_eq!(sent, 30);
        // The connection stays open for as long as the container may read. The older protocol cannot close the input
        // alone: there it ends with the connection, and not before.
        assert!(timeout(Duration::from_secs(600), fed.hold()).await.is_err());
        taken.has(30 * CHUNK, true).await;
        let bytes = taken.0.borrow().0.clone();
        assert!(bytes.chunks(CHUNK).enumerate().all(|(number, chunk)| usize::from(chunk[0]) == number % 251));
        let request = fake.requests().into_iter().find(|it| it.resource() == "pods/attach").unwrap();
        let asked = ["stdin", "stdout", "stderr"].map(|name| request.parameter(name) == Some("true"));
        assert_eq!(asked, [true, false, false], "its output is in its log, from the beginning");
    }
}

#[tokio::test(start_paused = true)]
async fn over_the_older_protocol_the_input_stays_open_until_the_stream_is_dropped() {
    let (fake, cluster) = running().await;
    fake.speak_old_streams();
    let taken = Taken::new();
    take_all(&fake, &taken);
    let fed = attach(&cluster).await.unwrap().feed(chunks(3), || ()).await.unwrap();
    let holding = tokio::spawn(fed.hold());
    taken.has(3 * CHUNK, false).await;
    sleep(Duration::from_secs(600)).await;
    assert!(!taken.0.borrow().1, "an end would be taken for that of the input");
    holding.abort();
    taken.has(3 * CHUNK, true).await;
}

#[tokio::test(start_paused = true)]
async fn over_the_current_protocol_the_end_of_the_input_is_said() {
    let (fake, cluster) = running().await;
    let taken = Taken::new();
    take_all(&fake, &taken);
    let fed = attach(&cluster).await.unwrap().feed(chunks(3), || ()).await.unwrap();
    taken.has(3 * CHUNK, true).await;
    drop(fed);
}

#[tokio::test]
async fn a_container_that_ends_before_it_has_read_everything_stops_the_upload() {
    for (end, expected) in [
        (End::Exit(0), "the container has ended"),
        (End::Failed("container not running".to_owned()), "container not running"),
        (End::Cut, "was cut"),
    ] {
        let (fake, cluster) = running().await;
        let ending = end.clone();
        fake.on_attach(move |mut process| {
            let end = ending.clone();
            async move {
                Taken::new().read(&mut process, 250_000).await;
                end
            }
        });
        let error = attach(&cluster).await.unwrap().feed(chunks(1000), || ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{end:?}");
        assert!(
            error.message().contains(expected) && error.message().contains("stdin of Pod builds/a"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_upload_whose_source_fails_says_so() {
    let (fake, cluster) = running().await;
    fake.on_attach(async |mut process| {
        Taken::new().read(&mut process, usize::MAX).await;
        End::Exit(0)
    });
    let broken = stream::iter([Err(Error::new(ErrorKind::Context, "a file went away"))]);
    let error = attach(&cluster).await.unwrap().feed(chunks(2).chain(broken), || ()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Context, "a file went away"));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_takes_nothing_for_two_minutes_is_given_up() {
    let (fake, cluster) = running().await;
    fake.on_attach(async |mut process| {
        // Slowly is not never.
        for read in 1..=3 {
            Taken::new().read(&mut process, 250_000 * read).await;
            sleep(Duration::from_secs(100)).await;
        }
        std::future::pending().await
    });
    let started = Instant::now();
    let error = attach(&cluster).await.unwrap().feed(chunks(1000), || ()).await.unwrap_err();
    assert!(error.message().contains("120 s"), "{error}");
    assert!(started.elapsed() >= Duration::from_secs(320), "{:?}", started.elapsed());
}
