//! Entries that are not what they seem: sockets, FIFOs and devices, names that are not UTF-8, and what comes or goes meanwhile.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn fifo(project: &Project, path: &str) {
    mknodat(CWD, project.path(path), FileType::Fifo, Mode::RUSR, 0).expect("FIFO");
}

fn left_out(request: &BuildRequest) -> Option<LeftOut> {
    Context::scan(request, &|| false).expect("context").tree().left_out().cloned()
}

#[test]
fn sockets_and_fifos_are_left_out_and_the_first_of_them_is_named() {
    let project = Project::new(&[("a", ""), ("run/x", "")]);
    let before = project.digest();
    assert_eq!(left_out(&project.request()), None);
    let _sockets =
        ["run/b.sock", "run-time"].map(|path| UnixListener::bind(project.path(path)).expect("socket"));
    fifo(&project, "run/a.pipe");
    for _ in 0..20 {
        let context = project.scan().expect("context");
        assert_eq!(paths(&context), ["Dockerfile", "a", "run", "run/x"]);
        assert_eq!(context.manifest().digest(), before);
        let expected = LeftOut { first: "run/a.pipe".into(), kind: "FIFO", count: 3 };
        assert_eq!(context.tree().left_out(), Some(&expected));
    }
    let expected = LeftOut { first: "run-time".into(), kind: "socket", count: 1 };
    assert_eq!(left_out(&project.request().exclude(["run"])), Some(expected));
    project.write(".dockerignore", "**/*.sock\n**/*.pipe\nrun-*");
    assert_eq!(left_out(&project.request()), None, "what is ignored is not spoken of");
}

#[test]
fn a_directory_with_nothing_but_a_socket_is_empty() {
    let project = Project::new(&[(".dockerignore", "b\n!b/*")]);
    for directory in ["a", "b"] {
        fs::create_dir(project.path(directory)).expect("directory");
    }
    let _sockets = ["a/s", "b/s"].map(|path| UnixListener::bind(project.path(path)).expect("socket"));
    // As an excluded directory appears with what is brought back from it, there is nothing to appear with.
    assert_eq!(paths(&project.scan().expect("context")), [".dockerignore", "Dockerfile", "a"]);
}

#[test]
fn a_device_is_refused_with_the_line_that_leaves_it_out() {
    let project = Project::new(&[("dev/x", "")]);
    let null = rustix::fs::makedev(1, 3);
    // Only the superuser may make one.
    if mknodat(CWD, project.path("dev/null"), FileType::CharacterDevice, Mode::RUSR, null).is_err() {
        return;
    }
    let (message, hint) = project.failure();
    assert_eq!(message, "`dev/null` is a device, which cannot be part of a build context");
    assert!(hint.starts_with("add `dev/null` as the last line to .dockerignore"), "{hint}");
    project.write(".dockerignore", "dev/null");
    assert_eq!(paths(&project.scan().expect("context")), [".dockerignore", "Dockerfile", "dev", "dev/x"]);
}

/// A project whose names are Latin-1.
fn latin() -> Project {
    let project = Project::new(&[]);
    let place = |path: &[u8]| project.0.path().join(OsStr::from_bytes(path));
    fs::create_dir(place(b"d\xe9")).expect("directory");
    fs::write(place(b"caf\xe9.bin"), "1").expect("file");
    fs::write(place(b"d\xe9/x"), "2").expect("file");
    symlink(OsStr::from_bytes(b"../caf\xe9.bin"), place(b"d\xe9/link")).expect("link");
    project
}

fn raw(paths: &[PathBytes]) -> Vec<&[u8]> {
    paths.iter().map(PathBytes::as_bytes).collect()
}

#[test]
fn names_that_are_not_utf8_are_what_they_are() {
    let project = latin();
    let context = project.scan().expect("context");
    let found = paths(&context);
    let expected = [&b"Dockerfile"[..], b"caf\xe9.bin", b"d\xe9", b"d\xe9/link", b"d\xe9/x"];
    assert_eq!(raw(&found), expected);
    let link = context.manifest().find(b"d\xe9/link").expect("entry");
    assert_eq!(link.kind, EntryKind::Symlink { target: PathBytes::from(&b"../caf\xe9.bin"[..]) });
    let file = context.manifest().find(b"d\xe9/x").expect("entry");
    let mut text = Vec::new();
    assert!(context.tree().open(&file).expect("open").read(&mut text, 10).expect("read"));
    assert_eq!(text, b"2");
    assert_eq!(
        context.manifest().first_not_utf8().map(|path| path.to_string()).as_deref(),
        Some(r"caf\xe9.bin")
    );
}

#[test]
fn ignore_rules_match_them_as_buildkit_does() {
    for (rules, expected) in [
        ("caf?.bin\nd?", &[&b".dockerignore"[..], b"Dockerfile"][..]),
        ("caf\u{fffd}*\n**/x\n**/link", &[b".dockerignore", b"Dockerfile", b"d\xe9"]),
        // A name is compared byte by byte where there is no wildcard, and these are the bytes of U+FFFD.
        (
            "caf\u{fffd}.bin\nd\u{fffd}",
            &[b".dockerignore", b"Dockerfile", b"caf\xe9.bin", b"d\xe9", b"d\xe9/link", b"d\xe9/x"],
        ),
        ("*\n!d?/x", &[b"d\xe9", b"d\xe9/x"]),
    ] {
        let project = latin();
        project.write(".dockerignore", rules);
        let found = paths(&project.scan().expect("context"));
        assert_eq!(raw(&found), expected, "{rules:?}");
    }
}

#[test]
fn instructions_read_them_by_wildcards_and_by_directories() {
    let reader = Reader::new(StagesBuilt::Needed, &[]);
    for (dockerfile, expected) in [
        ("COPY caf* /", &[&b"caf\xe9.bin"[..]][..]),
        ("COPY d? /", &[b"d\xe9", b"d\xe9/link", b"d\xe9/x"]),
        ("COPY other /", &[]),
        // Where links may have been missed, everything counts.
        ("COPY d?/x /", &[b"Dockerfile", b"caf\xe9.bin", b"d\xe9", b"d\xe9/link", b"d\xe9/x"]),
    ] {
        let project = latin();
        project.write("Dockerfile", &format!("FROM scratch\n{dockerfile}"));
        let context = Context::scan_for(&project.request(), &reader, &DigestCache::none(), &|| false);
        let context = context.expect("context");
        assert_eq!(raw(&paths(&context)), expected, "{dockerfile} {:?}", context.extent());
    }
}

/// Scans while somebody makes a change: when the scan asks for the time with this number, from 0, whether to stop. It asks
/// before it looks at an entry, after it has listed the directory; and before it reads a part of a file.
fn scan_while(
    request: &BuildRequest,
    moment: usize,
    change: &(dyn Fn() + Sync),
) -> Result<Context, ContextError> {
    let asked = AtomicUsize::new(0);
    let reader = Reader::new(StagesBuilt::Needed, &[]);
    Context::scan_for(request, &reader, &DigestCache::none(), &|| {
        if asked.fetch_add(1, Ordering::Relaxed) == moment {
            change();
        }
        false
    })
}

/// A project of which everything is read.
fn of_which_all_is_read() -> Project {
    Project::new(&[("Dockerfile", "FROM scratch\nCOPY . /"), ("[d]/x", ""), ("y", "text")])
}

#[test]
fn what_vanishes_between_the_listing_and_the_reading_is_named_with_the_line_that_leaves_it_out() {
    // First come `Dockerfile`, `[d]` and `y`. Then `[d]` is listed, and comes what is in it; and then files are read.
    for (gone, moments) in [("[d]", 0..3), ("[d]/x", 3..4), ("y", 0..3)] {
        for moment in moments {
            let project = of_which_all_is_read();
            let remove = || {
                let path = project.path(gone);
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            };
            let error = Error::from(scan_while(&project.request(), moment, &remove).expect_err(gone));
            let expected = format!("`{gone}` changed while it was being read; build again");
            assert_eq!((error.message(), error.is_retryable()), (expected.as_str(), true), "at {moment}");
            let line = gone.replace('[', r"\[").replace(']', r"\]");
            let hint = error.hint().expect("a hint");
            assert!(hint.contains(&format!("add `{line}` as the last line to .dockerignore")), "{hint}");
        }
    }
}

#[test]
fn nobody_misses_what_vanishes_and_is_not_read() {
    let vanishing = ["[d]", "y"];
    for (file, text) in [
        (".dockerignore", "y\n\\[d\\]\n"),
        ("Dockerfile", "FROM scratch\nCOPY Dockerfile /"),
        (".dockerignore", "*"),
    ] {
        for moment in 0..4 {
            let project = of_which_all_is_read();
            project.write(file, text);
            let remove = || {
                for path in vanishing.map(|path| project.path(path)) {
                    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                }
            };
            let context = scan_while(&project.request(), moment, &remove).expect(text);
            assert!(
                vanishing.iter().all(|path| context.manifest().find(path).is_none()),
                "{text} at {moment}"
            );
        }
    }
}

#[test]
fn a_directory_that_vanishes_while_it_is_only_searched_had_nothing_in_it() {
    for (file, text) in
        [(".dockerignore", "*\n!**/keep\n"), ("Dockerfile", "FROM scratch\nCOPY */x.txt Dockerfile /")]
    {
        for moment in 0..4 {
            let project = Project::new(&[("Dockerfile", "FROM scratch\nCOPY . /"), ("d/x", ""), ("y", "")]);
            project.write(file, text);
            let remove = || {
                let _ = fs::remove_dir_all(project.path("d"));
            };
            let context = scan_while(&project.request(), moment, &remove).expect(text);
            assert_eq!(context.manifest().find("d"), None, "{text} at {moment}");
        }
    }
}

#[test]
fn what_appears_after_its_directory_was_listed_is_not_part_of_it() {
    let project = of_which_all_is_read();
    let before = project.digest();
    let add = || project.write("new", "text");
    assert_eq!(scan_while(&project.request(), 0, &add).expect("context").manifest().digest(), before);
    assert_ne!(project.digest(), before);
}
