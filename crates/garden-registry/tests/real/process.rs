//! The program of a registry, and a process of it that does not outlive the test.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use garden_test_programs::{DISTRIBUTION, Go};

/// How long a registry may take to start on a machine that also compiles.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that are shown of a registry's log.
const TAIL: usize = 8;

/// Ends the program when the standard input ends: then the test is over, in whatever way.
const WATCH: &str = r#""$@" & exec 2> /dev/null; read -r _; kill "$!"; wait "$!""#;

/// A registry that people run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Debian's package `docker-registry`, version 2.8.
    DockerRegistry,
    /// The CNCF's distribution 3, pinned in `testbed/tools/distribution`.
    Distribution,
}

impl Program {
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::DockerRegistry => "docker-registry".into(),
            Self::Distribution => distribution().to_owned(),
        }
    }

    /// What this machine needs to have for it.
    pub(crate) fn needs(self) -> &'static [garden_test_programs::Program] {
        match self {
            Self::DockerRegistry => &[garden_test_programs::Program::DockerRegistry],
            Self::Distribution => &[garden_test_programs::Program::Go],
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::DockerRegistry => {
                "`apt-get install docker-registry` brings it, and so does `cargo xtask test`"
            }
            Self::Distribution => "remove it, and run the test again",
        }
    }
}

/// Returns where distribution 3 is, which is built once and kept.
fn distribution() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| Go::program(&DISTRIBUTION))
}

/// A registry that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    watcher: Child,
    input: Option<ChildStdin>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Runs `program` with a configuration that has it listen on a free port, and waits until it does.
    pub(crate) fn start(program: Program, configuration: &Path) -> Self {
        let mut watcher = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(program.path())
            .arg("serve")
            .arg(configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = watcher.stdin.take();
        let errors = watcher.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(String::new()));
        let (listens, address) = channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || follow(errors, &kept, &listens));
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            drop(input);
            let log = log.lock().expect("no panic");
            panic!("{program:?} does not start; if it is missing: {}\n{log}", program.remedy())
        };
        Self { address, watcher, input, log }
    }
}

/// Keeps what a registry logs, and finds where it listens in it.
fn follow(errors: impl Read, log: &Mutex<String>, listens: &Sender<SocketAddr>) {
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address = rest.split([',', '"']).next().unwrap_or_default();
            // Nobody waits any more if it took too long.
            let _ = listens.send(address.parse().expect("an address"));
        }
        let mut log = log.lock().expect("no panic");
        log.push_str(&line);
        log.push('\n');
    }
}

#[expect(clippy::print_stderr, reason = "shown with what else a test that fails has to say")]
impl Drop for Process {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.watcher.wait();
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log.clone()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(TAIL).collect();
            eprintln!("the end of the registry's log, last line first:\n{}", lines.join("\n"));
        }
    }
}
