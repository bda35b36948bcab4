//! What templates can ask of the git repository that a project lies in.
//!
//! Two short text files hold it (gitrepository-layout(5)), so neither the `git` program nor a library
//! with an object database is needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The state of a repository, as `${git.…}` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GitState {
    /// The name of the branch that is checked out; `HEAD` if none is, as `git rev-parse --abbrev-ref`
    /// says it.
    pub branch: String,
    /// The commit that is checked out, in hexadecimal digits; empty before the first commit.
    pub commit_hash: String,
}

impl GitState {
    /// Sets both.
    pub fn new(branch: impl Into<String>, commit_hash: impl Into<String>) -> Self {
        Self { branch: branch.into(), commit_hash: commit_hash.into() }
    }

    /// Reads the state of the repository that `directory` lies in; `None` if it lies in none.
    ///
    /// # Errors
    /// If a file of the repository cannot be read, or is not what git writes.
    pub fn of_directory(directory: &Path) -> io::Result<Option<Self>> {
        let directory = match directory.canonicalize() {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        for ancestor in directory.ancestors() {
            if let Some(git_directory) = git_directory(&ancestor.join(".git"))? {
                return Self::read(&git_directory).map(Some);
            }
        }
        Ok(None)
    }

    fn read(git_directory: &Path) -> io::Result<Self> {
        let head = fs::read_to_string(git_directory.join("HEAD"))?;
        let head = head.trim_end();
        let Some(reference) = head.strip_prefix("ref: ") else {
            if !is_hash(head) {
                return Err(invalid("its HEAD is neither a branch nor a commit"));
            }
            return Ok(Self::new("HEAD", head));
        };
        // Where the references are kept in another format, which only git itself can read.
        if reference == "refs/heads/.invalid" {
            return Err(invalid("it keeps its references in the format `reftable`"));
        }
        // A worktree has a HEAD of its own, and its branches in the repository that it belongs to.
        let common = match fs::read_to_string(git_directory.join("commondir")) {
            Ok(path) => git_directory.join(path.trim_end()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => git_directory.to_owned(),
            Err(error) => return Err(error),
        };
        let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        Ok(Self::new(branch, commit_of(&common, reference)?.unwrap_or_default()))
    }
}

/// Follows what is called `.git`: the directory itself, or a file that names it, as in worktrees and
/// submodules.
fn git_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    if path.is_dir() {
        return Ok(path.join("HEAD").is_file().then(|| path.to_owned()));
    }
    match fs::read_to_string(path) {
        Ok(text) => {
            let target = text.trim_end().strip_prefix("gitdir: ");
            let target = target.ok_or_else(|| invalid("its file `.git` does not name a directory"))?;
            Ok(Some(path.with_file_name(target)))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Looks a branch up: in a file of its own, else among the packed ones. `None` before its first commit.
fn commit_of(common: &Path, reference: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(common.join(reference)) {
        Ok(text) if is_hash(text.trim_end()) => return Ok(Some(text.trim_end().to_owned())),
        Ok(_) => return Err(invalid(&format!("its `{reference}` holds no commit"))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
        Err(error) => return Err(error),
    }
    match fs::read_to_string(common.join("packed-refs")) {
        Ok(text) => {
            let mut references = text.lines().filter_map(|line| line.split_once(' '));
            let found = references.find(|(hash, name)| *name == reference && is_hash(hash));
            Ok(found.map(|(hash, _)| hash.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// SHA-1 has 40 digits, SHA-256 64.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("directory");
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, text).expect("file");
        }
        directory
    }

    fn state(files: &[(&str, &str)], below: &str) -> io::Result<Option<GitState>> {
        let repository = repository(files);
        let directory = repository.path().join(below);
        fs::create_dir_all(&directory).expect("directory");
        GitState::of_directory(&directory)
    }

    #[test]
    fn finds_branch_and_commit_wherever_git_keeps_them() {
        let branch = ("a/.git/HEAD", "ref: refs/heads/feature/x\n");
        let packed = format!("# pack-refs with: peeled\n{ONE} refs/heads/feature/x\n^{TWO}\n");
        let worktree = format!("{TWO}\n");
        for (files, expected) in [
            (vec![branch, ("a/.git/refs/heads/feature/x", &worktree)], GitState::new("feature/x", TWO)),
            (vec![branch, ("a/.git/packed-refs", &packed)], GitState::new("feature/x", ONE)),
            (vec![branch], GitState::new("feature/x", "")),
            (vec![("a/.git/HEAD", ONE)], GitState::new("HEAD", ONE)),
            (
                vec![
                    ("a/.git", "gitdir: ../main/.git/worktrees/a\n"),
                    ("main/.git/worktrees/a/HEAD", "ref: refs/heads/y\n"),
                    ("main/.git/worktrees/a/commondir", "../..\n"),
                    ("main/.git/refs/heads/y", &worktree),
                ],
                GitState::new("y", TWO),
            ),
        ] {
            assert_eq!(state(&files, "a/b/c").expect("readable"), Some(expected), "{files:?}");
        }
    }

    #[test]
    fn a_directory_outside_of_any_repository_has_no_state() {
        // A directory called `.git` is not yet a repository.
        assert_eq!(state(&[("a/.git/config", "")], "a").expect("readable"), None);
    }

    #[test]
    fn what_git_would_not_write_is_an_error() {
        for (files, reason) in [
            ([("a/.git/HEAD", "nonsense"), ("a/x", "")], "neither a branch nor a commit"),
            ([("a/.git/HEAD", "ref: refs/heads/.invalid\n"), ("a/x", "")], "reftable"),
            ([("a/.git", "nonsense"), ("a/x", "")], "does not name a directory"),
            ([("a/.git/HEAD", "ref: refs/heads/b"), ("a/.git/refs/heads/b", "x")], "holds no commit"),
        ] {
            let error = state(&files, "a").expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
