//! The Go program that answers what `BuildKit` and the kaniko executor would do.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Runs the oracle with `arguments` and `input`; returns whether it succeeded, and its output.
pub(crate) fn oracle(arguments: &[&str], input: &[u8]) -> (bool, String) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let (success, output) = run(Command::new(PROGRAM.get_or_init(build)).args(arguments), input);
    (success, String::from_utf8(output).expect("the oracle prints UTF-8"))
}

/// Runs `command` with `input`. A reader that ends early is no error here.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("output")
    });
    (output.status.success(), output.stdout)
}

fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/tools/dockerignore-oracle");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = cache.join("dockerignore-oracle");
    // Renamed into place, because another test may be running the program.
    let fresh = cache.join(format!("dockerignore-oracle-{}", std::process::id()));
    let status = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&fresh)
        .arg(".")
        .current_dir(&source)
        .status()
        .unwrap_or_else(|error| {
            panic!("this test compares with a Go program and needs `go` on PATH: {error}")
        });
    assert!(status.success(), "`go build` failed in {}", source.display());
    std::fs::rename(&fresh, &program).expect("the oracle is put into place");
    program
}
