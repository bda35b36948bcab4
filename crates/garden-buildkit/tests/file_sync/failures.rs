//! Whatever goes wrong ends the sync, on both sides, with the reason. Nothing ever becomes a short file.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use garden_build_core::context::{Cancelled, Context, ContextError, Filter, PathBytes};
use garden_build_core::{BuildRequest, Error, ErrorKind};
use garden_buildkit::client::file_sync::protocol::{FilterRequest, Outgoing, Packet, send};
use garden_buildkit::client::file_sync::{
    Content, Journal, Listed, LocalDirectory, MemoryFiles, ScannedTree, Source, SyncError, SyncState, Wanted,
};

use crate::receiver::{HANGS, Outcome, runtime, sync, sync_with};

const ALL: FilterRequest = FilterRequest { include: Vec::new(), exclude: Vec::new(), follow: Vec::new() };

/// What stands in for a file, if it is not the real one.
type Open = dyn Fn(&Wanted) -> Option<Box<dyn Content>> + Send + Sync;

/// A source of which one thing is not as it should be.
struct Faulty {
    inner: Box<dyn Source>,
    list: fn(Vec<Listed>) -> Vec<Listed>,
    open: Box<Open>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    fn new(inner: impl Source) -> Self {
        Self { inner: Box::new(inner), list: |listed| listed, open: Box::new(|_| None) }
    }
}

impl Source for Faulty {
    fn link(&self, path: &PathBytes) -> Result<Option<PathBytes>, SyncError> {
        self.inner.link(path)
    }

    fn names(&self, directory: &str) -> Result<Vec<PathBytes>, SyncError> {
        self.inner.names(directory)
    }

    fn list(
        &self,
        filter: &Filter,
        cancelled: Cancelled<'_>,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), SyncError> {
        let mut all = Vec::new();
        self.inner.list(filter, cancelled, &mut |listed| {
            all.push(listed);
            ControlFlow::Continue(())
        })?;
        for listed in (self.list)(all) {
            if each(listed).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, file: &Wanted) -> Result<Box<dyn Content>, SyncError> {
        (self.open)(file).map_or_else(|| self.inner.open(file), Ok)
    }
}

/// Zeros without end, which count how much of them was read.
struct Zeros(Arc<AtomicU64>);

impl Content for Zeros {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> Result<bool, SyncError> {
        buffer.resize(buffer.len() + limit, 0);
        self.0.fetch_add(limit as u64, Ordering::Relaxed);
        Ok(false)
    }
}

fn endless() -> (Faulty, Arc<AtomicU64>) {
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    let mut source = Faulty::new(MemoryFiles::new((0..8).map(|name| (name.to_string(), &b"x"[..]))));
    source.list = |mut listed| {
        for listed in &mut listed {
            listed.stat.size = 1 << 40;
        }
        listed
    };
    source.open = Box::new(move |_| Some(Box::new(Zeros(Arc::clone(&counter)))));
    (source, read)
}

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().expect("temporary directory"));
        for path in ["from/src", "to"] {
            fs::create_dir_all(project.0.path().join(path)).expect("directory");
        }
        fs::write(project.from("Dockerfile"), "FROM scratch").expect("file");
        fs::write(project.from("src/large"), vec![7; 1_000_000]).expect("file");
        project
    }

    fn from(&self, path: &str) -> PathBuf {
        self.0.path().join("from").join(path)
    }

    fn to(&self) -> PathBuf {
        self.0.path().join("to")
    }

    fn context(&self) -> ScannedTree {
        let request = BuildRequest::new("test", self.from(""));
        ScannedTree::new(Context::scan(&request, &|| false).expect("context").tree().clone())
    }

    fn directory(&self) -> LocalDirectory {
        LocalDirectory::new(&self.from("")).expect("directory")
    }

    fn send(&self, source: impl Source) -> Outcome {
        sync(source, &ALL, &self.to())
    }
}

/// Both sides have failed, for the same reason, and it is known by name here.
fn assert_changed(outcome: &Outcome, path: &str) {
    let told = outcome.failure.as_ref().expect("the receiver failed");
    assert!(told.contains(&format!("error from sender: `{path}` changed while")), "{told}");
    assert_eq!(outcome.record.state(), SyncState::Failed);
    let error = Error::from(outcome.journal.take_failure().expect("failure"));
    assert_eq!(error.kind(), ErrorKind::Context);
    assert!(error.message().contains(path), "{error}");
    let line = format!("add `{path}` as the last line to .dockerignore");
    assert!(error.hint().is_some_and(|hint| hint.contains(&line)), "{error:?}");
}

#[test]
fn a_file_that_changed_since_the_scan_fails_the_sync_by_name() {
    garden_test_programs::needs!(Go);
    for length in [0, 999_999, 1_000_000, 1_000_001, 3_000_000] {
        let project = Project::new();
        let context = project.context();
        fs::write(project.from("src/large"), vec![8; length]).expect("file");
        assert_changed(&project.send(context), "src/large");
    }
    let project = Project::new();
    let context = project.context();
    fs::remove_file(project.from("src/large")).expect("removed");
    assert_changed(&project.send(context), "src/large");
}

#[test]
fn a_file_that_changes_between_list_and_request_fails_the_sync_by_name() {
    garden_test_programs::needs!(Go);
    for length in [0, 999_999, 1_000_001, 3_000_000] {
        let project = Project::new();
        let mut source = Faulty::new(project.directory());
        let large = project.from("src/large");
        source.open = Box::new(move |_| {
            fs::write(&large, vec![7; length]).expect("file");
            None
        });
        assert_changed(&project.send(source), "src/large");
        // Its place may be there, but never with what looks like all of it.
        let arrived = fs::read(project.to().join("src/large")).unwrap_or_default();
        assert!(arrived.len() <= 1_000_000);
    }
}

#[test]
fn a_file_that_became_something_else_fails_the_sync_by_name() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let mut source = Faulty::new(project.directory());
    let large = project.from("src/large");
    source.open = Box::new(move |file| {
        if file.path == "src/large" {
            fs::remove_file(&large).expect("removed");
            fs::create_dir(&large).expect("directory");
        }
        None
    });
    assert_changed(&project.send(source), "src/large");
}

#[test]
fn an_unreadable_file_fails_the_sync_with_the_systems_reason() {
    struct Unreadable;
    impl Content for Unreadable {
        fn read(&mut self, _: &mut Vec<u8>, _: usize) -> Result<bool, SyncError> {
            let reason = std::io::Error::other("input/output error");
            Err(ContextError::Unreadable { path: "src/large".into(), reason }.into())
        }
    }

    garden_test_programs::needs!(Go);
    let project = Project::new();
    let mut source = Faulty::new(project.directory());
    source.open = Box::new(|file| (file.path == "src/large").then(|| Box::new(Unreadable) as _));
    let outcome = project.send(source);
    let told = outcome.failure.expect("failure");
    assert!(told.contains("`src/large` cannot be read: input/output error"), "{told}");
}

#[test]
fn an_order_that_the_daemon_refuses_is_reported_in_its_words() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let mut source = Faulty::new(project.directory());
    source.list = |mut listed| {
        listed.swap(0, 1);
        listed
    };
    let outcome = project.send(source);
    assert!(outcome.failure.expect("failure").contains("changes out of order"));
    match outcome.journal.take_failure() {
        // The receiver has gone as soon as it has said so, and sometimes before.
        Some(SyncError::Receiver(reason)) => assert!(!reason.is_empty()),
        failure => assert!(matches!(failure, Some(SyncError::Aborted(_))), "{failure:?}"),
    }
}

#[test]
fn a_lost_packet_of_a_file_fails_the_sync() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let mut dropped = false;
    let outcome = sync_with(project.directory(), &ALL, &project.to(), &[], |packets: Outgoing| {
        let packets = packets.filter(move |packet| {
            let is_end = packet.r#type() == PacketType::PacketData && packet.data.is_empty();
            let drop = is_end && !std::mem::replace(&mut dropped, is_end);
            futures::future::ready(!drop)
        });
        // Without its end, a file never counts as complete; the stream then ends without `FIN`.
        packets.take(20).boxed()
    });
    assert!(outcome.failure.is_some());
    assert!(matches!(outcome.journal.take_failure(), Some(SyncError::Aborted(name)) if name == "context"));
}

#[test]
fn a_panic_fails_the_sync_instead_of_leaving_it() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let mut source = Faulty::new(project.directory());
    source.open = Box::new(|file| panic!("this panic is part of the test, at {}", file.path));
    let outcome = project.send(source);
    assert!(outcome.failure.expect("failure").contains("a thread that reads files ended unexpectedly"));
    assert!(matches!(outcome.journal.take_failure(), Some(SyncError::Panicked)));
}

/// A sync without a receiver: what it sends, and where to put requests.
struct Talk {
    packets: Outgoing,
    requests: mpsc::UnboundedSender<Result<Packet, SyncError>>,
    journal: Journal,
}

impl Talk {
    fn start(source: impl Source) -> Self {
        let _entered = runtime().enter();
        let (requests, incoming) = mpsc::unbounded();
        let journal = Journal::default();
        let packets = send(Arc::new(source), ALL, incoming, journal.begin("context"));
        Self { packets, requests, journal }
    }

    fn say(&self, kind: PacketType, id: u32) {
        let packet = Packet { r#type: kind.into(), stat: None, id, data: b"no space left".to_vec() };
        self.requests.unbounded_send(Ok(packet)).expect("open");
    }

    fn next(&mut self) -> Option<Packet> {
        runtime().block_on(async { tokio::time::timeout(HANGS, self.packets.next()).await.expect("in time") })
    }

    /// Reads packets up to the end of the list.
    fn skip_list(&mut self) {
        while self.next().expect("packet").stat.is_some() {}
    }

    /// Expects the end of the sync, and returns what the daemon was told.
    fn end(mut self) -> (String, SyncError) {
        let mut told = String::new();
        while let Some(packet) = self.next() {
            if packet.r#type() == PacketType::PacketErr {
                told = String::from_utf8(packet.data).expect("UTF-8");
            }
        }
        (told, self.journal.take_failure().expect("failure"))
    }
}

#[test]
fn a_daemon_that_does_not_keep_to_the_protocol_is_told_so() {
    let files = || MemoryFiles::new([("a", &b"1"[..])]);
    let cases: [(&[(PacketType, u32)], &str); 4] = [
        (&[(PacketType::PacketReq, 1)], "it asked for file 1"),
        (&[(PacketType::PacketReq, 0), (PacketType::PacketReq, 0)], "it asked for file 0"),
        (&[(PacketType::PacketData, 0)], "it sent a packet of type 2"),
        (&[(PacketType::PacketErr, 0)], "no space left"),
    ];
    for (said, expected) in cases {
        let mut talk = Talk::start(files());
        talk.skip_list();
        for (kind, id) in said {
            talk.say(*kind, *id);
        }
        let (told, failure) = talk.end();
        assert!(told.contains(expected), "{told}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[test]
fn a_daemon_that_takes_nothing_stops_the_readers() {
    let (source, read) = endless();
    let mut talk = Talk::start(source);
    talk.skip_list();
    (0..8).for_each(|id| talk.say(PacketType::PacketReq, id));
    let mut last = u64::MAX;
    while last != read.load(Ordering::Relaxed) || last == 0 {
        last = read.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(last <= 1024 * 1024, "{last} bytes wait");
    // More is read as soon as some of it is taken.
    (0..100).for_each(|_| drop(talk.next()));
    assert!(read.load(Ordering::Relaxed) > last);
}

#[test]
fn everything_ends_soon_when_the_stream_is_dropped_or_the_session_ends() {
    for is_dropped in [true, false] {
        let (source, read) = endless();
        let mut talk = Talk::start(source);
        talk.skip_list();
        (0..8).for_each(|id| talk.say(PacketType::PacketReq, id));
        drop(talk.next());
        let journal = talk.journal.clone();
        if is_dropped {
            drop(talk);
        } else {
            let Talk { packets, requests, .. } = talk;
            drop(requests);
            runtime().block_on(packets.for_each(|_| async {}));
        }
        // The source, and with it the counter, is gone when the last thread has ended.
        let start = Instant::now();
        while Arc::strong_count(&read) > 1 {
            assert!(start.elapsed() < HANGS, "threads are left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(journal.take_failure(), Some(SyncError::Aborted(_))));
    }
}

#[test]
fn a_receiver_that_dies_is_a_sync_that_was_broken_off() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let (source, read) = endless();
    let outcome = sync_with(source, &ALL, &project.to(), &[], |packets| {
        packets.take(40).chain(stream::empty()).boxed()
    });
    assert!(outcome.failure.is_some());
    assert_eq!(outcome.record.state(), SyncState::Failed);
    assert!(read.load(Ordering::Relaxed) > 0);
}
