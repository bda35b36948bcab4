//! Credential helpers that are small programs, in a directory of their own.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use garden_registry::CredentialHelpers;
use tempfile::TempDir;

/// A directory with credential helpers, in place of those of `PATH`.
pub(crate) struct HelperPrograms(TempDir);

impl HelperPrograms {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    /// Adds the helper `name`, a shell script that finds the server in `$server`.
    pub(crate) fn add(&self, name: &str, script: &str) -> &Self {
        let file = self.file(&format!("docker-credential-{name}"));
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = get ] || exit 9\nserver=$(cat)\necho \"$server\" >> \"$0.asked\"\n{script}\n"
        );
        // Written by another process: while one of our own threads has it open, and a second one starts a
        // program, it could not be run.
        let mut writing = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&file)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        writing.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
        assert!(writing.wait().expect("an end").success());
        self
    }

    /// Adds the helper `name`, which knows one login for every server.
    pub(crate) fn add_login(&self, name: &str, username: &str, secret: &str) -> &Self {
        let answer = serde_json::json!({ "ServerURL": "x", "Username": username, "Secret": secret });
        self.add(name, &format!("cat <<'END'\n{answer}\nEND"))
    }

    /// What the helper was asked for, in turn.
    pub(crate) fn asked(&self, name: &str) -> Vec<String> {
        let asked = fs::read_to_string(self.file(&format!("docker-credential-{name}.asked")));
        asked.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn helpers(&self) -> CredentialHelpers {
        CredentialHelpers::in_directories([self.0.path()])
    }
}
