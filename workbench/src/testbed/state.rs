//! Where everything of a testbed lies on disk.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const MARKER: &str = "is-a-testbed";

/// The state directory. It goes away with the testbed, except for the logs.
#[derive(Debug, Clone)]
pub(super) struct State {
    root: PathBuf,
}

impl State {
    pub(super) fn from_environment() -> Result<Self> {
        let root = env::var_os("GARDEN_TESTBED_STATE")
            .map_or_else(|| PathBuf::from("/var/lib/garden-build-testbed"), PathBuf::from);
        Self::at(&root)
    }

    pub(super) fn at(root: &Path) -> Result<Self> {
        let root =
            std::path::absolute(root).with_context(|| format!("state directory {}", root.display()))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// Where the node looks for programs first.
    pub(super) fn programs(&self) -> PathBuf {
        self.path("bin")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.path("containerd.sock")
    }

    /// Written last by `up`; says which pins the running testbed was made from.
    pub(super) fn ready_marker(&self) -> PathBuf {
        self.path("ready")
    }

    pub(super) fn registry_ca(&self) -> PathBuf {
        self.path("pki/registry-ca.crt")
    }

    /// Writes a file below the state directory, readable by its owner only.
    pub(super) fn write(&self, relative: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(relative);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// Waits until no other `up` or `down` works on this state, and keeps them out
    /// until the returned file is closed. The lock lies beside the directory, not
    /// inside, because the directory itself comes and goes.
    pub(super) fn lock(&self) -> Result<File> {
        if let Some(parent) = self.root.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut path = self.root.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another testbed command to finish");
            file.lock().with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(file)
    }

    /// Marks the directory as a testbed's, which may be cleared.
    pub(super) fn claim(&self) -> Result<()> {
        self.write(MARKER, "cargo xtask testbed down removes everything here but the logs\n").map(|_| ())
    }

    /// Removes everything but the logs; they are kept for whoever asks what went wrong.
    ///
    /// Fails, and removes nothing, where the directory holds what no testbed has put there.
    pub(super) fn remove_all_but_logs(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.root.display())),
        };
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let doomed: Vec<_> = paths.into_iter().filter(|path| *path != self.logs()).collect();
        if !doomed.is_empty() && !self.path(MARKER).exists() {
            bail!(
                "{} has files that are not a testbed's: set GARDEN_TESTBED_STATE to a directory of its own",
                self.root.display()
            );
        }
        for path in doomed {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Replaces every `{name}` of a template. Other braces are left alone, so that
/// JSON and YAML need no escapes.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_replaces_known_names_and_keeps_other_braces() {
        let filled = fill(
            r#"{"a": "{node}", "b": { "c": "{node}:{port}" }}"#,
            &[("node", "10.0.0.1"), ("port", "53")],
        );
        assert_eq!(filled, r#"{"a": "10.0.0.1", "b": { "c": "10.0.0.1:53" }}"#);
    }

    #[test]
    fn logs_survive_the_removal_of_the_state() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let state = State::at(directory.path()).expect("state");
        state.claim().expect("claim");
        state.write("logs/etcd.log", "x").expect("log");
        state.write("pki/ca.crt", "x").expect("certificate");
        state.remove_all_but_logs().expect("removal");
        assert!(state.path("logs/etcd.log").exists());
        assert!(!state.path("pki").exists());
    }
    #[test]
    fn a_directory_that_is_somebody_s_is_not_cleared() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("thesis.txt"), "x").expect("file");
        let state = State::at(directory.path()).expect("state");
        let error = state.remove_all_but_logs().expect_err("refused");
        assert!(error.to_string().contains("GARDEN_TESTBED_STATE"), "{error}");
        assert!(state.path("thesis.txt").exists());
    }
}
