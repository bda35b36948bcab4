//! Runs the credential helpers of this machine.
//!
//! Why: docs/decisions/72-credential-helpers-have-their-own-module.md

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::helper_answer::{HelperName, HelperOutput, HelperProblem, failed};
use crate::helper_cache::{HelperCache, RunHelper};
use crate::helper_question::HelperQuestion;
use crate::login::Login;

/// The longest answer that is read, in bytes. No credential is nearly that large.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How much of a helper's standard error stream is kept, in bytes.
const LONGEST_COMPLAINT: usize = 4 * 1024;

/// Where the credential helpers of this machine are, and what they answered lately. Cheap to clone; clones
/// share the answers.
#[derive(Clone, Debug)]
pub struct CredentialHelpers(Arc<HelperCache<Installed>>);

/// The helpers that are installed on this machine.
#[derive(Debug)]
struct Installed {
    /// `None` stands for those in `PATH`.
    directories: Option<Vec<PathBuf>>,
}

impl Default for CredentialHelpers {
    fn default() -> Self {
        Self::new()
    }
}

impl CredentialHelpers {
    /// Looks for helpers in the directories of `PATH`, as Docker does.
    pub fn new() -> Self {
        Self(Arc::new(HelperCache::new(Installed { directories: None })))
    }

    /// Looks for helpers in these directories only.
    pub fn in_directories(directories: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let directories = Some(directories.into_iter().map(Into::into).collect());
        Self(Arc::new(HelperCache::new(Installed { directories })))
    }

    /// Asks the helper, if the question may be asked here.
    pub(crate) async fn ask(&self, question: &HelperQuestion) -> Result<Login, HelperProblem> {
        if !question.is_allowed {
            return Err(HelperProblem::NotAllowed);
        }
        self.0.ask(&question.helper, &question.server).await
    }

    /// Has the helper asked anew that was asked this question a moment ago.
    pub(crate) async fn forget(&self, question: &HelperQuestion) {
        self.0.forget(&question.helper, &question.server).await;
    }

    /// Forgets all answers, so that helpers are asked anew: for who has shown one to a registry that refused it.
    pub async fn forget_all(&self) {
        self.0.forget_all().await;
    }
}

impl Installed {
    fn find(&self, helper: &HelperName) -> Option<PathBuf> {
        let file = format!("{}{}", helper.program(), std::env::consts::EXE_SUFFIX);
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An entry that is not absolute leads to whatever directory the program happens to be in.
        let from_path = || std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
        let directories: Vec<PathBuf> = self.directories.clone().unwrap_or_else(from_path);
        directories.into_iter().map(|directory| directory.join(&file)).find(|file| is_program(file))
    }
}

impl RunHelper for Installed {
    fn run<'a>(
        &'a self,
        helper: &'a HelperName,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Login, HelperProblem>> {
        Box::pin(async move {
            let program = self.find(helper).ok_or(HelperProblem::NotInstalled)?;
            run(&program, server).await
        })
    }
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

/// Runs `program`, which is killed when this ends in any other way than by its own end.
async fn run(program: &Path, server: &str) -> Result<Login, HelperProblem> {
    let child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = child.map_err(|error| failed(&format!("it cannot be started: {error}")))?;
    talk(child, server).await
}

async fn talk(mut child: Child, server: &str) -> Result<Login, HelperProblem> {
    let broken = |error: io::Error| failed(&format!("it cannot be talked to: {error}"));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let asking = async {
        let Some(mut stdin) = stdin else { return };
        // One that does not listen may know the answer all the same.
        let _ = stdin.write_all(server.as_bytes()).await;
    };
    let ((), stdout, stderr) =
        tokio::join!(asking, beginning(stdout, LONGEST_ANSWER), beginning(stderr, LONGEST_COMPLAINT));
    let (answer, complaint) = (stdout.map_err(broken)?, stderr.map_err(broken)?);
    let status = child.wait().await.map_err(broken)?;
    let succeeded = status.success();
    HelperOutput { succeeded, stdout: &answer, stderr: &complaint }.login()
}

/// Reads all of `stream`, and keeps the first `limit` bytes.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Vec<u8>> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4096]);
    if let Some(mut stream) = stream {
        loop {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                break;
            }
            let room = limit - kept.len();
            kept.extend_from_slice(&buffer[..length.min(room)]);
        }
    }
    Ok(kept)
}
