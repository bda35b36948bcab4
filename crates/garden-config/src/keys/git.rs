//! What templates can ask of the git repository that a project lies in.
//!
//! Three text files hold it (gitrepository-layout(5)), so neither the `git` program nor a library
//! with an object database is needed.

use std::io;
use std::path::{Component, Path, PathBuf};

use garden_build_core::read_regular_file;

use crate::keys::git_config;

/// The state of a repository, as `${git.…}` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GitState {
    /// The name of the branch that is checked out; `HEAD` if none is, as `git rev-parse --abbrev-ref`
    /// says it.
    pub branch: String,
    /// The commit that is checked out, in hexadecimal digits; empty before the first commit.
    pub commit_hash: String,
    /// The URL of the remote repository `origin`, as the repository's own configuration has it; empty if there is none.
    pub origin_url: String,
}

impl GitState {
    /// Sets branch and commit.
    pub fn new(branch: impl Into<String>, commit_hash: impl Into<String>) -> Self {
        Self { branch: branch.into(), commit_hash: commit_hash.into(), origin_url: String::new() }
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
        // A worktree has a HEAD of its own, and all else in the repository that it belongs to.
        let common = match read(&git_directory.join("commondir"), SHORT) {
            Ok(path) => git_directory.join(path.trim_end()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => git_directory.to_owned(),
            Err(error) => return Err(error),
        };
        let origin_url = match read(&common.join("config"), CONFIGURATION) {
            Ok(text) => git_config::origin_url(&text).unwrap_or_default(),
            Err(error) if is_absent(&error) => String::new(),
            Err(error) => return Err(error),
        };
        let state = Self::of_head(git_directory, &common)?;
        Ok(Self { origin_url, ..state })
    }

    fn of_head(git_directory: &Path, common: &Path) -> io::Result<Self> {
        let head = read(&git_directory.join("HEAD"), SHORT)?;
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
        // Git itself takes no other (`check_refname_format` in its `refs.c`), and the name is that of a file.
        let is_plain = |part| matches!(part, Component::Normal(_));
        if !reference.starts_with("refs/") || !Path::new(reference).components().all(is_plain) {
            return Err(invalid("its HEAD names no branch"));
        }
        let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        Ok(Self::new(branch, commit_of(common, reference)?.unwrap_or_default()))
    }
}

/// Follows what is called `.git`: the directory itself, or a file that names it, as in worktrees and
/// submodules.
fn git_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    if path.is_dir() {
        return Ok(path.join("HEAD").is_file().then(|| path.to_owned()));
    }
    match read(path, SHORT) {
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
    match read(&common.join(reference), SHORT) {
        Ok(text) if is_hash(text.trim_end()) => return Ok(Some(text.trim_end().to_owned())),
        Ok(_) => return Err(invalid(&format!("its `{reference}` holds no commit"))),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error),
    }
    match read(&common.join("packed-refs"), PACKED) {
        Ok(text) => {
            let mut references = text.lines().filter_map(|line| line.split_once(' '));
            let found = references.find(|(hash, name)| *name == reference && is_hash(hash));
            Ok(found.map(|(hash, _)| hash.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The most that a file with one line may have, in bytes.
const SHORT: u64 = 64 * 1024;

/// The most that the configuration of a repository may have.
const CONFIGURATION: u64 = 1024 * 1024;

/// The most that the file with all packed references may have: those of a million branches.
const PACKED: u64 = 128 * 1024 * 1024;

/// Reads text. The files of a repository are its author's: they may lead anywhere, and to what has no end.
fn read(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_regular_file(path, limit)?).map_err(|_| invalid("a file of it is not text"))
}

/// Whether there is no file of the name, or a directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
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
    use std::fs;

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
    fn finds_the_origin_even_from_a_worktree() {
        let files = [
            ("a/.git", "gitdir: ../main/.git/worktrees/a\n"),
            ("main/.git/worktrees/a/HEAD", ONE),
            ("main/.git/worktrees/a/commondir", "../..\n"),
            ("main/.git/config", "[remote \"origin\"]\n\turl = https://git.example/a.git\n"),
        ];
        let found = state(&files, "a").expect("readable").expect("a repository");
        assert_eq!(found.origin_url, "https://git.example/a.git");
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
            ([("a/.git/HEAD", "ref: refs/../../secret"), ("a/secret", ONE)], "names no branch"),
            ([("a/.git/HEAD", "ref: /etc/passwd"), ("a/x", "")], "names no branch"),
        ] {
            let error = state(&files, "a").expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_read() {
        use std::os::unix::fs::symlink;
        for (files, link) in [
            (&[("a/x", "")][..], "a/.git"),
            (&[("a/.git/HEAD", "ref: refs/heads/b")], "a/.git/commondir"),
            (&[("a/.git/HEAD", "ref: refs/heads/b"), ("a/.git/refs/heads/x", "")], "a/.git/refs/heads/b"),
            (&[("a/.git/HEAD", "ref: refs/heads/b")], "a/.git/packed-refs"),
            (&[("a/.git", "gitdir: ../b"), ("b/HEAD", "ref: refs/heads/b")], "b/packed-refs"),
            (&[("a/.git/HEAD", "ref: refs/heads/b")], "a/.git/config"),
        ] {
            let repository = repository(files);
            symlink("/dev/zero", repository.path().join(link)).expect("link");
            // Whether that is an error or a commit that is not there, it is an answer.
            let state = GitState::of_directory(&repository.path().join("a"));
            assert!(
                state.is_err() || state.is_ok_and(|state| state.is_none_or(|it| it.commit_hash.is_empty()))
            );
        }
    }
}
