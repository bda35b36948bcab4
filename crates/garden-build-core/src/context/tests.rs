//! What scanning real directories gives.

#[cfg(unix)]
mod cached;
#[cfg(unix)]
mod deep;
#[cfg(unix)]
mod entries;
#[cfg(unix)]
mod exchanged;
mod extent;
mod git_ignore;
mod selection;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::{Digest, Error, ErrorKind};

struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().expect("temporary directory"));
        project.write("Dockerfile", "FROM scratch");
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }

    fn request(&self) -> BuildRequest {
        BuildRequest::new("test", self.0.path())
    }

    fn scan(&self) -> Result<Context, ContextError> {
        Context::scan(&self.request(), &|| false)
    }

    fn digest(&self) -> Digest {
        self.scan().expect("context").manifest().digest()
    }

    /// Scans in vain, and returns the message and the hint.
    fn failure(&self) -> (String, String) {
        failure(&self.request())
    }
}

/// What is kept of the context of `request`.
fn kept(request: &BuildRequest) -> Vec<PathBytes> {
    let context = Context::scan(request, &|| false).expect("context");
    paths(&context)
}

/// Scans the context of `request` in vain, and returns the message and the hint.
fn failure(request: &BuildRequest) -> (String, String) {
    let error = Error::from(Context::scan(request, &|| false).expect_err("cannot be scanned"));
    assert_eq!(error.kind(), ErrorKind::Context);
    (error.message().to_owned(), error.hint().expect("hint").to_owned())
}

fn paths(context: &Context) -> Vec<PathBytes> {
    context.manifest().entries().map(|entry| entry.path).collect()
}

fn scan_root(root: &Path) -> Result<Context, ContextError> {
    Context::scan(&BuildRequest::new("test", root), &|| false)
}

#[test]
fn entries_are_in_component_order_with_empty_directories() {
    let project = Project::new(&[("a/b", "1"), ("a-b", "2"), ("a.b/c", "3")]);
    fs::create_dir(project.path("empty")).expect("directory");
    let context = project.scan().expect("context");
    assert_eq!(paths(&context), ["Dockerfile", "a", "a/b", "a-b", "a.b", "a.b/c", "empty"]);
    let found = context.manifest().find("a/b").expect("entry");
    assert_eq!(found.kind, EntryKind::File { size: 1, digest: Digest::of(b"1") });
    assert_eq!(found.mode, if cfg!(unix) { 0o644 } else { 0o755 });
}

#[test]
fn an_excluded_directory_appears_with_what_is_brought_back_from_it() {
    let project =
        Project::new(&[(".dockerignore", "*\n!a/b/keep"), ("a/b/keep", ""), ("a/b/drop", ""), ("c/d", "")]);
    assert_eq!(paths(&project.scan().expect("context")), ["a", "a/b", "a/b/keep"]);
}

#[test]
fn an_ignored_dockerfile_is_still_there_to_build_with() {
    let project = Project::new(&[(".dockerignore", "Dockerfile\n.dockerignore"), ("a", "")]);
    let context = project.scan().expect("context");
    assert_eq!(paths(&context), ["a"]);
    assert_eq!(
        (context.dockerfile().path(), context.dockerfile().contents()),
        ("Dockerfile", &b"FROM scratch"[..])
    );
}

#[test]
fn the_digest_follows_what_a_build_sees_and_nothing_else() {
    let project = Project::new(&[("a", "1"), ("b/c", "2"), (".dockerignore", "*.log")]);
    let before = project.digest();
    project.write("x.log", "ignored");
    fs::File::options()
        .write(true)
        .open(project.path("a"))
        .expect("file")
        .set_modified(std::time::UNIX_EPOCH)
        .expect("time");
    assert_eq!(project.digest(), before);
    let elsewhere = Project::new(&[(".dockerignore", "*.log"), ("b/c", "2"), ("a", "1")]);
    assert_eq!(elsewhere.digest(), before);
    project.write("b/c", "3");
    assert_ne!(project.digest(), before);
}

#[test]
fn many_files_are_digested_alike_every_time() {
    let files: Vec<(String, String)> =
        (0..500).map(|number| (format!("d{}/f{number}", number % 7), number.to_string())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let context = Project::new(&files).scan().expect("context");
    for entry in context.manifest().entries() {
        if let (EntryKind::File { digest, .. }, Some((_, number))) =
            (&entry.kind, entry.path.as_str().and_then(|path| path.split_once("/f")))
        {
            assert_eq!(*digest, Digest::of(number.as_bytes()), "{}", entry.path);
        }
    }
    assert_eq!(context.manifest().file_count(), 501);
}

#[test]
fn a_cancelled_scan_stops() {
    let error = Context::scan(&Project::new(&[("a", "1")]).request(), &|| true).expect_err("cancelled");
    assert!(matches!(error, ContextError::Cancelled));
}

#[test]
fn a_root_that_is_missing_or_a_file_is_named() {
    let project = Project::new(&[]);
    let missing = scan_root(&project.path("nowhere")).expect_err("missing").to_string();
    assert!(missing.contains("nowhere` does not exist"), "{missing}");
    let file = scan_root(&project.path("Dockerfile")).expect_err("file").to_string();
    assert!(file.contains("Dockerfile` is not a directory"), "{file}");
}

#[test]
fn a_malformed_pattern_fails_the_scan_with_its_line() {
    let (message, _) = Project::new(&[(".dockerignore", "ok\n[")]).failure();
    assert!(message.starts_with(".dockerignore:2: the pattern `[` cannot be used"), "{message}");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_kept_and_never_followed() {
        let project = Project::new(&[("real/a", "1")]);
        for (name, target) in [("dir", "real"), ("abs", "/etc"), ("dangling", "no/where"), ("loop", "loop")] {
            symlink(target, project.path(name)).expect("link");
        }
        let context = project.scan().expect("context");
        assert_eq!(paths(&context), ["Dockerfile", "abs", "dangling", "dir", "loop", "real", "real/a"]);
        let found = context.manifest().find("abs").expect("entry");
        assert_eq!((found.mode, found.kind), (0o777, EntryKind::Symlink { target: "/etc".into() }));
    }

    #[test]
    fn the_root_may_be_a_link_to_a_directory() {
        let project = Project::new(&[("context/Dockerfile", ""), ("context/a", "")]);
        symlink("context", project.path("link")).expect("link");
        let context = scan_root(&project.path("link")).expect("context");
        assert_eq!(paths(&context), ["Dockerfile", "a"]);
        assert_eq!(context.root(), project.path("context").canonicalize().expect("exists"));
    }

    #[test]
    fn only_the_owners_executable_bit_and_no_hard_link_shows() {
        let project = Project::new(&[("a", "1"), ("b", "1")]);
        let mode = |mode| {
            fs::set_permissions(project.path("a"), fs::Permissions::from_mode(mode)).expect("mode");
            project.digest()
        };
        let plain = mode(0o644);
        assert_eq!(mode(0o666), plain);
        assert_eq!(mode(0o611), plain);
        let executable = mode(0o755);
        assert_ne!(executable, plain);
        assert_eq!(mode(0o4700), executable);
        assert_eq!(mode(0o644), plain);
        fs::remove_file(project.path("b")).expect("removed");
        fs::hard_link(project.path("a"), project.path("b")).expect("hard link");
        assert_eq!(project.digest(), plain);
    }

    /// The superuser can read everything, so there this would test nothing.
    fn permissions_count(project: &Project) -> bool {
        fs::set_permissions(project.path("secret"), fs::Permissions::from_mode(0o000)).expect("mode");
        fs::read_dir(project.path("secret")).is_err()
    }

    #[test]
    fn an_unreadable_directory_is_named_unless_ignored() {
        let project = Project::new(&[("secret/x", ""), ("a", "")]);
        if !permissions_count(&project) {
            return;
        }
        let (message, hint) = project.failure();
        assert!(message.starts_with("`secret` cannot be read:"), "{message}");
        assert!(hint.contains("add `secret` as the last line to .dockerignore"), "{hint}");
        // With the second pattern, the directory would have to be searched.
        project.write(".dockerignore", "secret\n!**/y");
        assert_eq!(paths(&project.scan().expect("context")), [".dockerignore", "Dockerfile", "a"]);
        fs::set_permissions(project.path("secret"), fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

#[test]
fn a_context_directory_is_called_what_the_request_calls_it() {
    let project = Project::new(&[("file", "")]);
    let path = project.0.path().to_string_lossy().into_owned();
    let missing = BuildRequest::new("test", project.path("missing"));
    let no_directory = BuildRequest::new("test", project.path("file"));
    let no_dockerfile = project.request().dockerfile("other");
    let mut requests = vec![missing, no_directory, no_dockerfile];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/", project.path("link")).expect("link");
        requests.push(project.request().dockerfile("link"));
    }
    for request in requests {
        let plain = failure(&request).0;
        assert!(plain.contains(&path), "{plain}");
        let error = Error::from(Context::scan(&request.shown_as("web/"), &|| false).expect_err("it fails"));
        assert!(error.message().contains("`web/`"), "{error}");
        assert!(!format!("{error:?}").contains(&path), "{error:?}");
    }
}
