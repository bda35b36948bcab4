//! The Go program that is both ends of `BuildKit`'s file sync.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use garden_buildkit::client::file_sync::protocol::{FilterRequest, Packet, send};
use garden_buildkit::client::file_sync::{Journal, Source, SyncError, SyncRecord, SyncState};
use garden_test_programs::{FILESYNC_RECEIVER, Go};
use prost::Message;
use serde::{Deserialize, Serialize};

/// What has not come about by now never will. No test expects anything within a time that a slow machine could exceed.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

/// What a sync came to.
pub(crate) struct Outcome {
    /// Why the receiver failed, if it did.
    pub(crate) failure: Option<String>,
    pub(crate) record: Arc<SyncRecord>,
    pub(crate) journal: Journal,
    /// The changes of which the daemon's cache was told: path and kind.
    pub(crate) changes: BTreeMap<String, String>,
}

impl Outcome {
    /// Panics if the sync failed.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.failure, None);
        assert_eq!(self.record.state(), SyncState::Finished);
        self
    }
}

/// Sends `source` to the directory `to`, as the daemon receives it.
pub(crate) fn sync(source: impl Source, filter: &FilterRequest, to: &Path) -> Outcome {
    sync_with(source, filter, to, &[], |packets| packets)
}

/// The same with other options of the receiver, and with the packets altered on their way.
pub(crate) fn sync_with<S: Stream<Item = Packet> + Send + Unpin>(
    source: impl Source,
    filter: &FilterRequest,
    to: &Path,
    arguments: &[&str],
    alter: impl FnOnce(garden_buildkit::client::file_sync::protocol::Outgoing) -> S,
) -> Outcome {
    let changes = to.with_extension("changes");
    let mut receiver = Command::new(program())
        .args(["-receive".as_ref(), to.as_os_str(), "-changes".as_ref(), changes.as_os_str()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("receiver");
    let journal = Journal::default();
    let record = journal.begin("context");
    let (requests, incoming) = mpsc::unbounded();
    let stdout = receiver.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        while let Some(packet) = read_packet(&mut stdout) {
            let _ = requests.unbounded_send(Ok::<_, SyncError>(packet));
        }
    });
    let runtime = runtime();
    let entered = runtime.enter();
    let outgoing = send(Arc::new(source), filter.clone(), incoming, Arc::clone(&record));
    drop(entered);
    write_packets(alter(outgoing), receiver.stdin.take().expect("piped"));
    let output = receiver.wait_with_output().expect("output");
    reader.join().expect("reader");
    // Our side hears of the end in a task of its own, which a busy machine may run later than all of this.
    let ended = async {
        while record.state() == SyncState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(HANGS, ended).await }).expect("the sync's end is noted");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let failure = (!output.status.success()).then_some(text);
    Outcome { failure, record, journal, changes: read_changes(&changes) }
}

/// The runtime is shared, so that a thread that a sync left behind would show.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
    })
}

/// Writes packets until the last, or until the receiver has gone.
fn write_packets(mut packets: impl Stream<Item = Packet> + Unpin, stdin: ChildStdin) {
    let mut stdin = BufWriter::with_capacity(256 * 1024, stdin);
    let mut buffer = Vec::new();
    loop {
        // Flushes as a transport does: when nothing more is ready.
        let mut packet = futures::FutureExt::now_or_never(packets.next());
        if packet.is_none() {
            if stdin.flush().is_err() {
                return;
            }
            packet = Some(runtime().block_on(packets.next()));
        }
        let Some(packet) = packet.flatten() else { break };
        buffer.clear();
        packet.encode(&mut buffer).expect("encoded");
        let length = u32::try_from(buffer.len()).expect("length");
        if stdin.write_all(&length.to_be_bytes()).is_err() || stdin.write_all(&buffer).is_err() {
            return;
        }
    }
    let _ = stdin.flush();
    // Before the receiver sees the end: it may answer with its reason, and that would race with the break.
    drop(packets);
}

fn read_packet(input: &mut impl Read) -> Option<Packet> {
    let mut length = [0; 4];
    input.read_exact(&mut length).ok()?;
    let mut encoded = vec![0; u32::from_be_bytes(length) as usize];
    input.read_exact(&mut encoded).ok()?;
    Some(Packet::decode(encoded.as_slice()).expect("packet"))
}

fn read_changes(file: &Path) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Change {
        kind: String,
        path: String,
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    let changes = text.lines().filter_map(|line| serde_json::from_str::<Change>(line).ok());
    changes.map(|change| (change.path, change.kind)).collect()
}

/// Bytes, which are in base64 in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Default)]
#[serde(try_from = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).map(Self)
    }
}

/// An entry as `BuildKit`'s client would send it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Entry {
    pub(crate) path: String,
    /// The path, if it is not UTF-8.
    pub(crate) raw_path: Option<Bytes>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: i64,
    pub(crate) mod_time: i64,
    pub(crate) linkname: String,
    /// The link, if it is not UTF-8.
    pub(crate) raw_linkname: Option<Bytes>,
    pub(crate) devmajor: i64,
    pub(crate) devminor: i64,
    pub(crate) xattrs: BTreeMap<String, Bytes>,
}

impl Entry {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw_path.as_ref().map_or(self.path.as_bytes(), |raw| &raw.0)
    }

    pub(crate) fn link_bytes(&self) -> &[u8] {
        self.raw_linkname.as_ref().map_or(self.linkname.as_bytes(), |raw| &raw.0)
    }

    /// The path below `root`.
    pub(crate) fn below(&self, root: &Path) -> PathBuf {
        root.join(OsStr::from_bytes(self.bytes()))
    }
}

/// `BuildKit`'s client, which lists directories.
pub(crate) struct Client {
    program: Child,
    answers: BufReader<ChildStdout>,
}

impl Client {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(program());
        command.arg("-serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().expect("client");
        let answers = BufReader::new(program.stdout.take().expect("piped"));
        Self { program, answers }
    }

    /// Returns what the client would send, or why it fails.
    pub(crate) fn list(&mut self, root: &Path, filter: &FilterRequest) -> Result<Vec<Entry>, String> {
        #[derive(Serialize)]
        struct Question<'q> {
            dir: &'q Path,
            exclude: &'q [String],
            include: &'q [String],
            follow: &'q [String],
        }
        #[derive(Deserialize)]
        struct Answer {
            entries: Vec<Entry>,
            #[serde(default)]
            error: String,
        }
        let question = Question {
            dir: root,
            exclude: &filter.exclude,
            include: &filter.include,
            follow: &filter.follow,
        };
        let mut line = serde_json::to_vec(&question).expect("question");
        line.push(b'\n');
        self.program.stdin.as_mut().expect("piped").write_all(&line).expect("asked");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("answer");
        let answer: Answer = serde_json::from_str(&answer).expect("JSON");
        if answer.error.is_empty() { Ok(answer.entries) } else { Err(answer.error) }
    }

    pub(crate) fn list_all(&mut self, root: &Path) -> Vec<Entry> {
        self.list(root, &FilterRequest::default()).expect("list")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}

/// Returns the program's path, after building it if need be.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| Go::program(&FILESYNC_RECEIVER))
}
