//! With programs `ssh` that are scripts of ours.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::tests::{ANSWER, ask, reach};
use super::{Dial as _, SshDialer};
use crate::ReachError;
use crate::endpoint::SshAddress;

/// A directory with a program `ssh` that does what `script` says.
fn ssh(script: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("ssh");
    let script = format!("#!/bin/sh\ncd {}\n{script}\n", directory.path().display());
    // Written by another process: while one of our own threads has it open, and a second one starts a program, it could
    // not be run.
    let written = Command::new("sh")
        .args(["-c", r#"printf %s "$1" > "$0" && chmod +x "$0""#])
        .args([program.as_os_str(), script.as_ref()])
        .status();
    assert!(written.expect("a shell").success());
    directory
}

fn dialer(directory: &Path) -> SshDialer {
    dialer_with(directory.as_os_str().to_owned())
}

fn dialer_with(path: OsString) -> SshDialer {
    let shown = "ssh://me@builder".to_owned();
    let address =
        SshAddress { user: Some("me".to_owned()), host: "builder".to_owned(), port: None, socket: None };
    SshDialer { daemon: format!("{shown} (a test)"), shown, address, path }
}

#[tokio::test]
async fn a_daemon_is_reached_through_ssh() {
    let text = String::from_utf8_lossy(ANSWER).replace('\r', "\\r").replace('\n', "\\n");
    let directory = ssh(&format!("echo \"$@\" > arguments\nread -r first\nprintf '{text}'"));
    assert_eq!(ask(&dialer(directory.path())).await.expect("reached"), ANSWER);
    let arguments = fs::read_to_string(directory.path().join("arguments")).expect("called");
    assert_eq!(arguments, "-l me -o ConnectTimeout=30 -T -- builder docker system dial-stdio\n");
}

#[tokio::test]
async fn much_passes_in_both_directions_and_the_end_is_passed_on() {
    let directory = ssh("exec cat");
    let connection = dialer(directory.path()).dial().await.map_err(reach).expect("started");
    let (mut read, mut write) = tokio::io::split(connection);
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut received = Vec::new();
    let sending = async {
        write.write_all(&sent).await.expect("sent");
        write.shutdown().await.expect("ended");
    };
    let ((), length) = tokio::join!(sending, read.read_to_end(&mut received));
    assert_eq!(length.expect("a clean end"), sent.len());
    assert!(received == sent, "something was changed on its way");
}

#[tokio::test]
async fn what_ssh_says_before_it_fails_is_the_reason() {
    let directory = ssh("exec >&2\necho one\necho two\necho three\necho\n\
         printf 'me@builder: Permission denied (publickey).\\r\\n'\nexit 255");
    let error = ask(&dialer(directory.path())).await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the Docker daemon at ssh://me@builder (a test) cannot be reached: `ssh` ended with status 255: \
         two; three; me@builder: Permission denied (publickey)."
    );
    let report = Error::from(error);
    assert_eq!(report.kind(), ErrorKind::Unreachable);
    assert!(report.hint().is_some_and(|hint| hint.contains("`ssh me@builder docker version`")));
}

#[tokio::test]
async fn a_failure_after_an_answer_is_one_as_well() {
    let directory = ssh("printf HTTP\necho 'Connection to builder closed by remote host.' >&2\nexit 255");
    let error = ask(&dialer(directory.path())).await.expect_err("broke off").to_string();
    assert!(error.ends_with("status 255: Connection to builder closed by remote host."), "{error}");
}

#[tokio::test]
async fn a_machine_without_ssh_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = ask(&dialer(directory.path())).await.expect_err("no ssh");
    assert_eq!(error, ReachError::NoSsh { daemon: "ssh://me@builder (a test)".to_owned() });
    let directory = ssh("echo reached");
    let here = std::env::current_dir().expect("a directory");
    let to_root = "../".repeat(here.components().count() - 1);
    let relative = format!("{to_root}{}", directory.path().strip_prefix("/").expect("absolute").display());
    assert!(Path::new(&relative).join("ssh").exists());
    let error = ask(&dialer_with(relative.into())).await.expect_err("not absolute");
    assert!(matches!(error, ReachError::NoSsh { .. }), "{error}");
    fs::set_permissions(directory.path().join("ssh"), fs::Permissions::from_mode(0o644)).expect("changed");
    let error = ask(&dialer(directory.path())).await.expect_err("no program").to_string();
    assert!(error.contains("`ssh` cannot be started: Permission denied"), "{error}");
}

#[tokio::test]
async fn ssh_is_killed_with_its_connection() {
    let directory = ssh("echo $$\nexec sleep 600");
    let mut connection = dialer(directory.path()).dial().await.map_err(reach).expect("started");
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(connection.read_u8().await.expect("its number"));
    }
    let process = Path::new("/proc").join(String::from_utf8_lossy(&line).trim());
    assert!(process.exists());
    drop(connection);
    // The runtime collects what it has killed.
    let collected = async {
        while process.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), collected).await.expect("killed");
}
