//! Which files arrive in the image, and how.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use garden_build::{ErrorKind, Event, Outcome};

use super::image::{Content, File, files};
use super::{Case, Mode, Seen};
use crate::site::{noise, sent, sent_to_service};

/// An image of the context alone, which is quickly made.
const COPY_ALL: &str = "FROM scratch\nCOPY . /context\n";

pub(super) async fn ignore_rules(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    project.file("Dockerfile", COPY_ALL);
    project.file(".dockerignore", "*\n!keep\nkeep/**/*.log\n!keep/important.log\n!other\n# not.txt\n");
    for path in [
        "secret.env",
        "keep/a.txt",
        "keep/b.log",
        "keep/deep/c.log",
        "keep/deep/d.txt",
        "keep/important.log",
        "keep/tmp/x.txt",
        "keep/not.txt",
        "other/e.txt",
    ] {
        project.file(path, "x");
    }
    let request = case.request().include(["keep", "*.env"]).exclude(["**/tmp", "keep/not.*"]);
    let (image, events) = case.build_and_watch(request).await;
    let files = files(&image.reference).await;
    // The Dockerfile, which is ignored itself, is not there either, nor anything of ours.
    assert_eq!(files.names_below("context"), ["keep/a.txt", "keep/deep/d.txt", "keep/important.log"]);
    if case.mode.has_buildkit() {
        assert_eq!(sent(&events)[0], 3, "what is ignored is not sent");
    }
    Seen::Works
}

pub(super) async fn dockerfile_elsewhere(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    project.file("build/app.Dockerfile", COPY_ALL);
    // The ignore file beside the Dockerfile counts alone.
    project.file("build/app.Dockerfile.dockerignore", "b.txt\nbuild\n.dockerignore\n");
    project.file(".dockerignore", "a.txt\n");
    project.file("Dockerfile", "FROM scratch\nCOPY no-such-file /\n");
    for path in ["a.txt", "b.txt"] {
        project.file(path, "x");
    }
    let files = case.build_files(case.request().dockerfile("build/app.Dockerfile")).await;
    assert_eq!(files.names_below("context"), ["Dockerfile", "a.txt"]);
    Seen::Works
}

pub(super) async fn file_fidelity(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    let root = project.path().join("tree");
    let long = format!("{}/{}.txt", "d".repeat(90), "f".repeat(110));
    for path in ["with space.txt", "-rf", "--help", "smörgåsbord/ñ 名前.txt", "dir/.hidden", &long] {
        project.file(&format!("tree/{path}"), format!("contents of {path}"));
    }
    project.file("tree/empty.txt", "");
    project.file("tree/binary", (0..=255).collect::<Vec<u8>>());
    project.file("tree/large", noise(5 << 20));
    for (path, mode) in [("script.sh", 0o755), ("private", 0o600), ("read-only", 0o444), ("set-id", 0o6755)] {
        project.file(&format!("tree/{path}"), "x");
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, mode) in [("empty directory", 0o755), ("dir/everybody's", 0o1777), ("closed", 0o700)] {
        fs::create_dir(root.join(path)).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("with space.txt", root.join("relative link")).unwrap();
    symlink("/etc/passwd", root.join("absolute link")).unwrap();
    symlink("nowhere", root.join("dangling link")).unwrap();
    symlink("dir", root.join("link to a directory")).unwrap();
    project.file("Dockerfile", "FROM scratch\nCOPY tree /tree/\n");

    let mut expected = BTreeMap::new();
    read(&root, "", as_git_keeps_it, &mut expected);
    assert!(expected.len() > 20);
    let files = case.build_files(case.request()).await;
    let arrived = files.below("tree");
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, file) in &expected {
        let arrived = arrived[path.as_str()];
        assert_eq!((arrived.mode, arrived.owner), (file.mode, file.owner), "{path}: {:o}", arrived.mode);
        assert!(arrived.content == file.content, "{path}");
    }
    Seen::Works
}

pub(super) async fn raw_names(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    project.file("Dockerfile", "FROM scratch\nCOPY tree /tree/\n");
    project.file(".dockerignore", "tree/d?/*.log\n");
    let place = |path: &[u8]| project.path().join("tree").join(OsStr::from_bytes(path));
    fs::create_dir_all(place(b"d\xe9")).unwrap();
    let long = [&b"d\xe9/"[..], &[0xff; 120]].concat();
    for (path, text) in [
        (&b"d\xe9/caf\xe9.txt"[..], "menu"),
        (b"d\xe9/x.log", "ignored"),
        (b"plain.txt", "x"),
        (&long[..], "long"),
    ] {
        fs::write(place(path), text).unwrap();
    }
    symlink(OsStr::from_bytes(b"d\xe9/caf\xe9.txt"), place(b"l\xff")).unwrap();

    if matches!(case.mode, Mode::ClusterDockerBuildkit | Mode::LocalDocker) {
        let error = case.fail(case.request()).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().starts_with(r"`tree/d\xe9` has a name that is not UTF-8"), "{error:?}");
        return Seen::Lacks("the BuildKit in Docker 27.4 and later takes no such names: they are refused");
    }
    let files = case.build_files(case.request()).await;
    let long = format!(r"d\xe9/{}", r"\xff".repeat(120));
    let expected = [long.as_str(), r"d\xe9/caf\xe9.txt", r"l\xff", "plain.txt"];
    assert_eq!(files.names_below("tree"), expected);
    assert_eq!(
        (files.text(r"tree/d\xe9/caf\xe9.txt"), files.text(&format!("tree/{long}"))),
        ("menu", "long")
    );
    assert_eq!(files.below("tree")[r"l\xff"].content, Content::Link(r"d\xe9/caf\xe9.txt".to_owned()));
    Seen::Works
}

pub(super) async fn sockets(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    project.file("Dockerfile", COPY_ALL);
    project.file("run/x", "x");
    let _socket = UnixListener::bind(project.path().join("run/api.sock")).unwrap();
    let made = Command::new("mkfifo").arg(project.path().join("run/agent.pipe")).status().unwrap();
    assert!(made.success());
    let (image, events) = case.build_and_watch(case.request()).await;
    assert_eq!(files(&image.reference).await.names_below("context"), ["Dockerfile", "run/x"]);
    let warnings = |events: &[Event]| {
        let messages = events.iter().filter_map(|event| match event {
            Event::Warning { message, .. } if message.contains("run/") => Some(message.clone()),
            _ => None,
        });
        messages.collect::<Vec<_>>()
    };
    let warned = warnings(&events);
    assert!(warned.len() == 1 && warned[0].starts_with("`run/agent.pipe` is a FIFO"), "{warned:?}");

    let (again, events) = case.build_and_watch(case.request()).await;
    assert_eq!((again.outcome, warnings(&events)), (Outcome::AlreadyExists, Vec::new()));
    Seen::Works
}

pub(super) async fn preserved_permissions(case: &mut Case<'_>) -> Seen {
    let project = &case.project;
    let root = project.path().join("tree");
    for (path, mode) in
        [("private", 0o600), ("read-only", 0o444), ("closed/group", 0o640), ("script.sh", 0o751)]
    {
        project.file(&format!("tree/{path}"), "x");
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    project.file("Dockerfile", "FROM scratch\nCOPY tree /tree/\n");
    let mut expected = BTreeMap::new();
    read(&root, "", |mode| mode, &mut expected);
    let files = case.build_files(case.request().preserve_permissions(true)).await;
    let arrived = files.below("tree");
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (path, file) in &expected {
        assert_eq!(arrived[path.as_str()].mode, file.mode, "{path}: {:o}", arrived[path.as_str()].mode);
    }
    Seen::Works
}

/// Of permissions, it counts alone whether the owner may execute a file; everybody may read it.
fn as_git_keeps_it(mode: u32) -> u32 {
    if mode & 0o100 != 0 { 0o755 } else { 0o644 }
}

/// Reads what is below `directory`, as it should be in the image: everything belongs to root, with the permissions that
/// `kept` makes of those of the file.
fn read(directory: &Path, start: &str, kept: fn(u32) -> u32, files: &mut BTreeMap<String, File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{start}{}", entry.file_name().to_str().unwrap());
        let metadata = entry.metadata().unwrap();
        let mut mode = kept(metadata.permissions().mode() & 0o7777);
        let content = if metadata.is_dir() {
            read(&entry.path(), &format!("{path}/"), kept, files);
            Content::Directory
        } else if metadata.is_symlink() {
            mode = 0;
            Content::Link(fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned())
        } else {
            Content::File(fs::read(entry.path()).unwrap())
        };
        files.insert(path, File { content, mode, owner: (0, 0) });
    }
}

pub(super) async fn unread_file(case: &mut Case<'_>) -> Seen {
    case.project.file("Dockerfile", "FROM scratch\nCOPY read /read\n");
    case.project.file("read/file", "before");
    case.project.file("unread/file", "before");
    let first = case.build(case.request()).await;

    case.project.file("unread/file", "afterwards");
    case.project.file("unread/new", "new");
    let second = case.build(case.request()).await;
    assert_eq!(second.outcome, Outcome::AlreadyExists);
    assert_eq!((&second.reference, second.digest), (&first.reference, first.digest));

    // Who asks for it has everything count, and gets the same files.
    let whole = case.build(case.request().whole_context(true)).await;
    assert_ne!(whole.reference, first.reference);
    assert_eq!(files(&whole.reference).await.names_below("read"), ["file"]);

    case.project.file("read/file", "afterwards");
    let third = case.build(case.request()).await;
    assert_ne!(third.reference, first.reference);
    assert_eq!(files(&third.reference).await.text("read/file"), "afterwards");
    Seen::Works
}

pub(super) async fn changed_file(case: &mut Case<'_>) -> Seen {
    const LARGE: u64 = 1 << 20;
    case.project.file("Dockerfile", COPY_ALL);
    case.project.file("large", noise(usize::try_from(LARGE).unwrap()));
    case.project.file("small.txt", "before");
    case.build(case.request()).await;

    let changed = "changed, and longer than it was";
    case.project.file("small.txt", changed);
    let (image, events) = case.build_and_watch(case.request()).await;
    assert_eq!(files(&image.reference).await.text("context/small.txt"), changed);
    if case.mode.has_buildkit() {
        let [files, bytes, _] = sent(&events);
        assert_eq!((files, bytes), (1, changed.len() as u64));
        return Seen::Works;
    }
    if case.mode == Mode::Kaniko {
        let sent = sent_to_service(&events);
        assert!((1..10_000).contains(&sent), "{sent}");
        return Seen::Works;
    }
    let sent = events.iter().filter_map(|event| match event {
        Event::Progress { current, .. } => Some(*current),
        _ => None,
    });
    assert!(sent.max().expect("progress is told") > LARGE);
    Seen::Lacks("the whole context is sent whenever something in it has changed")
}
