use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// What is in a directory with links of all kinds, and in one beside it.
fn directory() -> (tempfile::TempDir, OpenDirectory) {
    let top = tempfile::tempdir().expect("temporary directory");
    let root = top.path().join("root");
    fs::create_dir_all(root.join("a/b")).expect("directories");
    fs::write(root.join("a/b/file"), "inside").expect("file");
    fs::write(top.path().join("secret"), "outside").expect("file");
    symlink("b", root.join("a/inner")).expect("link");
    symlink("../..", root.join("a/up")).expect("link");
    symlink(root.join("a/b/file"), root.join("a/whole")).expect("link");
    let open = OpenDirectory::open(&root).expect("open");
    (top, open)
}

#[test]
fn no_link_is_followed_and_nothing_leads_up_however_the_system_opens() {
    let (_top, open) = directory();
    assert_eq!(unix::tests::both(&open.handle, "a/b/file"), [None; 2]);
    for path in ["a/inner/file", "a/up/secret", "a/whole", "../secret", "a/../../secret", "/etc/passwd"] {
        for error in unix::tests::both(&open.handle, path) {
            assert!(error.is_some(), "{path}");
        }
        let error = open.file(Path::new(path)).expect_err(path);
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{path}");
    }
    assert!(open.directory(Path::new("a/inner")).is_err());
    assert!(open.attributes(Path::new("a/inner/file")).is_err());
    assert_eq!(open.read_link(Path::new("a/inner")).expect("a link"), Path::new("b"));
}

#[test]
fn what_is_no_ordinary_file_is_not_opened_and_not_waited_for() {
    let (_top, open) = directory();
    let path = open.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .expect("a FIFO");
    let _listener = std::os::unix::net::UnixListener::bind(open.path().join("socket")).expect("a socket");
    for path in ["fifo", "socket", "a", ""] {
        assert!(open.file(Path::new(path)).expect("looked at").is_none(), "{path}");
    }
}

#[test]
fn attributes_are_those_that_the_standard_library_tells() {
    use std::os::unix::fs::MetadataExt as _;
    let (_top, open) = directory();
    for (path, kind) in
        [("a", FileKind::Directory), ("a/b/file", FileKind::File), ("a/inner", FileKind::Link)]
    {
        let seen = open.attributes(Path::new(path)).expect(path);
        let expected = fs::symlink_metadata(open.path().join(path)).expect(path);
        assert_eq!(seen.kind, kind, "{path}");
        assert_eq!((seen.size, seen.mode), (expected.size(), expected.mode() & 0o7777), "{path}");
        assert_eq!(seen.modified, expected.modified().expect("time"), "{path}");
        assert_eq!(seen.changed, expected.ctime() * 1_000_000_000 + expected.ctime_nsec(), "{path}");
        assert_eq!((seen.device, seen.inode, seen.names), (expected.dev(), expected.ino(), expected.nlink()));
    }
}

#[test]
fn a_directory_lists_the_same_each_time() {
    let (_top, open) = directory();
    for _ in 0..2 {
        let listed = open.directory(Path::new("a")).and_then(|directory| directory.list()).expect("listed");
        let names: Vec<_> = listed.iter().map(|listed| listed.name.to_str().expect("text")).collect();
        assert_eq!(names, ["b", "inner", "up", "whole"]);
        assert_eq!(open.list().expect("listed").len(), 1);
    }
}
