//! An SSH agent, and a program for a step that asks it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// An SSH agent that has no keys and counts the questions.
pub(super) struct Agent {
    directory: TempDir,
    asked: Arc<AtomicUsize>,
}

/// Messages of the agent's protocol: a length, then the type. Here the question for identities, and the
/// answer that there are none.
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
pub(super) const NO_IDENTITIES: [u8; 9] = [0, 0, 0, 5, 12, 0, 0, 0, 0];

impl Agent {
    pub(super) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("agent")).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut question = [0; 5];
                    while stream.read_exact(&mut question).await.is_ok() {
                        assert_eq!(question, REQUEST_IDENTITIES);
                        counter.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(&NO_IDENTITIES).await.unwrap();
                    }
                });
            }
        });
        Self { directory, asked }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Asks the agent for its keys twice, like `ssh-add -l`, which no image here has.
const ASK: &str = r#"
use std::io::{Read, Write};
fn main() {
    let socket = std::env::var("SSH_AUTH_SOCK").expect("SSH_AUTH_SOCK");
    let mut agent = std::os::unix::net::UnixStream::connect(socket).expect("connect");
    for _ in 0..2 {
        agent.write_all(&[0, 0, 0, 1, 11]).expect("ask");
        let mut answer = [0; 9];
        agent.read_exact(&mut answer).expect("an answer");
        println!("the agent says {answer:?}");
    }
}
"#;

/// The program, compiled once for all modes.
pub(super) fn asking_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ask-ssh-agent");
        compile(ASK, &program);
        program
    })
}

/// Compiles a program that needs no libraries.
fn compile(source: &str, program: &Path) {
    let file = program.with_extension("rs");
    std::fs::write(&file, source).unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options =
        ["--edition=2024", "-Copt-level=s", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-o"];
    let status = Command::new(compiler).args(options).arg(program).arg(file).status().unwrap();
    assert!(status.success());
}
