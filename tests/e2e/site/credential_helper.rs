//! A credential helper on this machine, and the registries that it has logins for.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::{in_turn, variable};

/// Tells a test where the helpers are that it finds in its `PATH`.
const DIRECTORY: &str = "GARDEN_E2E_HELPERS";

/// A registry with basic authentication, and its credentials.
pub(crate) struct Private {
    pub(crate) host: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

fn private(registry: &str) -> Private {
    Private {
        host: variable(registry),
        username: variable(&format!("{registry}_USERNAME")),
        password: variable(&format!("{registry}_PASSWORD")),
    }
}

/// The registry of private base images: plain HTTP.
pub(crate) fn plain() -> Private {
    private("GARDEN_TEST_REGISTRY_BASIC")
}

/// The registry that is pushed to with `BuildKit`: TLS, and other credentials.
pub(crate) fn encrypted() -> Private {
    private("GARDEN_TEST_REGISTRY_TLS_BASIC")
}

/// A helper that knows these registries, and no other.
pub(crate) fn program(registries: &[Private]) -> String {
    let mut script =
        "#!/bin/sh\nserver=$(cat)\necho \"$server\" >> \"$0.asked\"\ncase \"$server\" in\n".to_owned();
    for Private { host, username, password } in registries {
        let answer = json!({ "ServerURL": host, "Username": username, "Secret": password });
        writeln!(script, "{host}) echo '{answer}';;").unwrap();
    }
    script + "*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n"
}

/// What the helper on the client was asked for.
pub(crate) fn asked(helper: &Path) -> Vec<String> {
    let asked = fs::read_to_string(format!("{}.asked", helper.display())).unwrap_or_default();
    asked.lines().map(str::to_owned).collect()
}

/// Runs `test` in the process that `again` starts, which has the helper `client` in its `PATH`: that cannot be changed for one of many tests
/// in a process. See [`in_own_process`](super::own_process::in_own_process).
pub(crate) async fn with_helper_on_the_client(mut again: Command, test: impl AsyncFnOnce(&Path)) {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return test(&PathBuf::from(directory).join("docker-credential-client")).await;
    }
    let directory = TempDir::new().unwrap();
    write_program(&directory.path().join("docker-credential-client"), &program(&[plain(), encrypted()]));
    let path = std::env::var("PATH").unwrap();
    again.env("PATH", format!("{}:{path}", directory.path().display())).env(DIRECTORY, directory.path());
    // The other process knows nothing of the turns of this one.
    let status = in_turn(async { again.status() }).await;
    assert!(status.unwrap().success());
}

pub(crate) fn write_program(file: &Path, script: &str) {
    fs::write(file, script).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
