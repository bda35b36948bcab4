//! The context service and the build's pod as processes of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::pack::PackIndex;
use garden_build_core::context::Context;
use garden_build_core::{BuildRequest, Digest};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Join, join};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::{DELIVER, LOAD, SESSION, Session};
use crate::service::Key;

const SERVE: &str = include_str!("../../files/serve.sh");
const ANSWER: &str = include_str!("../../files/answer.sh");
const BUILD: &str = include_str!("../../files/build.sh");

/// All that the scripts may use of a busybox.
const APPLETS: [&str; 18] = [
    "cat",
    "cut",
    "date",
    "dd",
    "df",
    "gunzip",
    "mkdir",
    "mkfifo",
    "mv",
    "nc",
    "rm",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tee",
    "touch",
];

/// What has not come about by now never will. No test expects anything within a time that a slow machine could exceed.
const HANGS: Duration = Duration::from_secs(120);

/// What a real context has.
pub(super) const FILES: [(&str, &str); 3] = [("a.txt", "one"), ("deep/b.txt", "two"), ("deep/empty", "")];

pub(super) type Pipes = Join<ChildStdout, ChildStdin>;

/// A session, whose process ends with it.
pub(super) struct Conversation {
    session: Session<Pipes>,
    process: Child,
}

impl std::ops::Deref for Conversation {
    type Target = Session<Pipes>;

    fn deref(&self) -> &Session<Pipes> {
        &self.session
    }
}

impl std::ops::DerefMut for Conversation {
    fn deref_mut(&mut self) -> &mut Session<Pipes> {
        &mut self.session
    }
}

impl Conversation {
    /// As when the container's memory is too small.
    pub(super) async fn kill(mut self) {
        self.process.kill().await.expect("killed");
    }
}

pub(super) struct Service {
    root: TempDir,
    bin: TempDir,
    process: Child,
    port: u16,
    mebibytes: u32,
}

impl Service {
    pub(super) fn start() -> Self {
        Self::with_room_for(1024)
    }

    pub(super) fn with_room_for(mebibytes: u32) -> Self {
        let (root, bin) = (tempfile::tempdir().expect("a directory"), bin());
        for name in ["run", "packs"] {
            fs::create_dir(root.path().join(name)).expect("a directory");
        }
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let process = serve(root.path(), bin.path(), port);
        Self { root, bin, process, port, mebibytes }
    }

    pub(super) async fn restart(&mut self) {
        self.end().await;
        self.process = serve(self.root.path(), self.bin.path(), self.port);
    }

    /// Returns the address at which nobody answers any more.
    pub(super) async fn stop(mut self) -> String {
        self.end().await;
        self.address()
    }

    async fn end(&mut self) {
        let leader = self.process.id();
        self.process.kill().await.expect("killed");
        leader.into_iter().for_each(end_group);
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(super) async fn session(&self, key: &Key) -> Conversation {
        let life = format!("start_of {}", self.process.id().expect("it runs"));
        let script = self.script(SESSION).replace("start_of 1", &life);
        let load = self.script(LOAD);
        let mut process = tokio::process::Command::new(self.bin.path().join("sh"))
            .args(["-c", &load, "session", &script.len().to_string()])
            .env("PATH", self.bin.path())
            .env("GARDEN_CACHE_MIB", self.mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pipes = join(process.stdout.take().expect("an output"), process.stdin.take().expect("an input"));
        let session = Session::begin_with(pipes, &key.pull_name(), &script, &self.script(DELIVER)).await;
        Conversation { session: session.expect("announced"), process }
    }

    /// The name of the only session.
    pub(super) fn the_session(&self) -> String {
        let sessions = fs::read_dir(self.path("run/sessions")).expect("sessions");
        let names: Vec<_> = sessions.map(|it| it.expect("a session").file_name()).collect();
        let [name] = &names[..] else { panic!("{names:?}") };
        name.to_str().expect("UTF-8").to_owned()
    }

    /// Writes `line` to the port, and returns the answer.
    pub(super) async fn ask(&self, line: &str) -> Vec<u8> {
        let mut stream = connect(&self.address()).await;
        stream.write_all(format!("{line}\n").as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("read");
        answer
    }

    pub(super) async fn until_claimed(&self, key: &Key) {
        let claimed = self.path(&format!("run/claimed/{}", key.pull_name()));
        until(|| claimed.exists()).await;
    }

    /// The names of all packs. Each has an index.
    pub(super) fn packs(&self) -> Vec<String> {
        let names = |extension: &str| {
            let files = fs::read_dir(self.path("packs/v1")).expect("packs");
            let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
            let mut names: Vec<_> =
                names.filter_map(|name| name.strip_suffix(extension).map(str::to_owned)).collect();
            names.retain(|name| !name.starts_with('.'));
            names.sort();
            names
        };
        assert_eq!(names(".pack"), names(".index"));
        names(".pack")
    }

    /// Pretends that a pack was used last so long ago.
    pub(super) fn age(&self, pack: &Digest, age: Duration) {
        let file = fs::File::options().append(true).open(self.path(&format!("packs/v1/{}.pack", pack.hex())));
        file.and_then(|file| file.set_modified(SystemTime::now() - age)).expect("a pack");
    }

    /// Waits until nothing but packs is left.
    pub(super) async fn is_empty_but_for_packs(&self) {
        let left = || {
            let directories = ["run/announced", "run/claimed", "run/sessions", "run/uses"];
            let files = directories.iter().flat_map(|it| fs::read_dir(self.path(it)).expect("a directory"));
            let hidden = fs::read_dir(self.path("packs/v1")).expect("packs");
            let hidden =
                hidden.filter(|it| it.as_ref().is_ok_and(|it| it.file_name().as_encoded_bytes()[0] == b'.'));
            files.chain(hidden).map(|it| it.expect("a file").path()).collect::<Vec<_>>()
        };
        let started = Instant::now();
        while !left().is_empty() {
            assert!(started.elapsed() < HANGS, "left: {:?}", left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn script(&self, script: &str) -> String {
        adapted(script, self.root.path(), self.bin.path())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.id().into_iter().for_each(end_group);
    }
}

/// How a pod ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// What the executor got.
    pub(super) received: Vec<u8>,
}

/// The first process of a build's container, with an executor that keeps what it gets.
pub(super) struct Pod {
    directory: TempDir,
    process: Child,
    _bin: TempDir,
}

impl Pod {
    pub(super) fn start(service: &Service, key: &Key, code: i32) -> Self {
        Self::start_at(&service.address(), key, code)
    }

    pub(super) fn start_at(address: &str, key: &Key, code: i32) -> Self {
        let executor = format!("cat > received; printf sha256:built > termination-log; exit {code}");
        Self::start_with(address, key, &executor)
    }

    /// `executor` runs in the pod's own directory.
    pub(super) fn start_with(address: &str, key: &Key, executor: &str) -> Self {
        let (directory, bin) = (tempfile::tempdir().expect("a directory"), bin());
        let path = directory.path();
        fs::create_dir(path.join("context-key")).expect("a directory");
        fs::write(path.join("context-key/key"), format!("{}\n", key.text().expose_secret()))
            .expect("written");
        fs::write(path.join("termination-log"), "").expect("written");
        let executor =
            format!("#!{0}/sh\nPATH={0}\ncd {1}\n{executor}\n", bin.path().display(), path.display());
        fs::write(path.join("executor"), executor).expect("written");
        fs::set_permissions(path.join("executor"), fs::Permissions::from_mode(0o755)).expect("set");
        let script = BUILD
            .replace("/dev/termination-log", path.join("termination-log").to_str().expect("UTF-8"))
            .replace("/kaniko", path.to_str().expect("UTF-8"));
        let script = adapted(&script, path, bin.path());
        let (host, port) = address.split_once(':').expect("an address");
        let process = tokio::process::Command::new(bin.path().join("sh"))
            .args(["-c", &script, "garden-build", host, port, "--an-argument"])
            .env("PATH", bin.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        Self { directory, process, _bin: bin }
    }

    pub(super) async fn ended(self) -> Ended {
        let Self { directory, mut process, _bin } = self;
        let (stdout, stderr) = (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
        let text = async |mut pipe: Box<dyn tokio::io::AsyncRead + Unpin>| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).await.expect("UTF-8");
            text
        };
        let leader = process.id();
        let waiting = tokio::time::timeout(HANGS, process.wait());
        let code = waiting.await.expect("it ends").expect("it ran").code().expect("an exit code");
        leader.into_iter().for_each(end_group);
        let (stdout, stderr) = tokio::join!(text(Box::new(stdout)), text(Box::new(stderr)));
        let received = fs::read(directory.path().join("received")).unwrap_or_default();
        Ended { code, stdout, stderr, received }
    }
}

/// Returns an index of a pack of this size, for tests that need nothing else of it.
pub(super) fn index_of(size: usize) -> PackIndex {
    index_of_members(1, size)
}

/// Returns an index of so many members of this size.
pub(super) fn index_of_members(count: usize, size: usize) -> PackIndex {
    let pack = Digest::of(b"");
    let mut bytes = b"garden-build pack index 2\n".to_vec();
    for _ in 0..count {
        bytes.extend([7; 32]);
        bytes.extend(u32::try_from(size).expect("small").to_le_bytes());
    }
    let summed = [&bytes[..], pack.as_bytes()].concat();
    bytes.extend(Digest::of(&summed).as_bytes());
    PackIndex::parse(&bytes, &pack).expect("an index")
}

/// Returns a context of [`FILES`].
pub(super) fn context() -> (Context, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    for (path, contents) in [("Dockerfile", "FROM scratch\n")].iter().chain(&FILES) {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, contents).expect("written");
    }
    let context = Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("a context");
    (context, directory)
}

/// Unpacks what an executor gets.
pub(super) fn unpack(stream: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(stream));
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_str().expect("UTF-8").to_owned();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("read");
        (path, contents)
    });
    entries.collect()
}

fn serve(root: &Path, bin: &Path, port: u16) -> Child {
    let (serve, answer) = (adapted(SERVE, root, bin), adapted(ANSWER, root, bin));
    tokio::process::Command::new(bin.join("sh"))
        .args(["-c", &serve, "garden-util", &port.to_string(), &answer])
        .env("PATH", bin)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell")
}

/// Connects, as soon as somebody listens.
async fn connect(address: &str) -> TcpStream {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(error) => assert!(started.elapsed() < HANGS, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Other directories than those of the container.
fn adapted(script: &str, root: &Path, bin: &Path) -> String {
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    script
        .replace("/garden/run", &format!("{}/run", text(root)))
        .replace("cd /garden", &format!("cd {}", text(root)))
        .replace("/busybox", &text(bin))
}

/// A directory with busybox under the names that the scripts use, and nothing else.
fn bin() -> TempDir {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox =
        std::env::split_paths(&path).map(|directory| directory.join("busybox")).find(|it| it.is_file());
    let busybox = busybox.expect("busybox on the PATH: `cargo xtask test` brings one");
    let directory = tempfile::tempdir().expect("a directory");
    for applet in APPLETS {
        symlink(&busybox, directory.path().join(applet)).expect("a link");
    }
    directory
}

/// Ends what the first process of a container has started, as the end of a container does.
fn end_group(leader: u32) {
    let _ = Command::new("kill").args(["-9", "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < HANGS, "it did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
