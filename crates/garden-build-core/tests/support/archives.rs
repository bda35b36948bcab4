//! Contexts for archives to be made of, and what the programs that will read them make of these.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use garden_build_core::BuildRequest;
use garden_build_core::context::{Context, EntryKind, PathBytes};
use serde_json::Value;

use crate::support::{oracle, program};

/// The entry that stands for the build: the executor must not see it behind a damaged context.
pub(crate) const SENTINEL: &str = "delivered/Dockerfile";

/// A context with everything that archives get wrong.
pub(crate) fn awkward_context() -> (tempfile::TempDir, Context) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = directory.path();
    let deep = format!("{}/{}", "d".repeat(120), "e".repeat(120));
    fs::create_dir_all(root.join(&deep)).expect("directory");
    fs::create_dir_all(root.join("empty")).expect("directory");
    for (path, text) in [
        ("Dockerfile", "FROM scratch\n".to_owned()),
        (&*"n".repeat(100), "fits".to_owned()),
        (&"n".repeat(101), "does not".to_owned()),
        (&format!("{deep}/{}", "f".repeat(200)), "far".to_owned()),
        ("grün é 漢", "foreign".to_owned()),
        ("white space", "block".repeat(1000)),
        ("exactly a block", "x".repeat(512)),
        ("nothing", String::new()),
        ("a-b", "before a/b as bytes".to_owned()),
        ("run.sh", "#!/bin/sh".to_owned()),
    ] {
        fs::write(root.join(path), text).expect("file");
    }
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o4777)).expect("mode");
    fs::hard_link(root.join("nothing"), root.join("second name")).expect("hard link");
    for (path, target) in [
        ("absolute", "/etc/hostname"),
        ("dangling", "no/such file"),
        ("up", "../../outside"),
        ("foreign link", "grün é 漢"),
        ("long link", &format!("{deep}/{}", "f".repeat(200))),
    ] {
        symlink(target, root.join(path)).expect("link");
    }
    let context = Context::scan(&BuildRequest::new("test", root), &|| false).expect("context");
    (directory, context)
}

/// A context whose names and links are Latin-1.
pub(crate) fn latin_context() -> (tempfile::TempDir, Context) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let place = |path: &[u8]| directory.path().join(OsStr::from_bytes(path));
    fs::create_dir(place(&[0xe9; 120])).expect("directory");
    let deep = [&[0xe9; 120][..], b"/\xff"].concat();
    for (path, text) in [(&b"Dockerfile"[..], "FROM scratch\n"), (b"caf\xe9", "foreign"), (&deep, "far")] {
        fs::write(place(path), text).expect("file");
    }
    symlink(OsStr::from_bytes(b"caf\xe9"), place(b"link\xe2\x82")).expect("link");
    symlink(OsStr::from_bytes(&deep), place(b"to")).expect("link");
    let context = Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("context");
    (directory, context)
}

pub(crate) fn small_context() -> (tempfile::TempDir, Context) {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . .\n").expect("file");
    fs::write(directory.path().join("main.rs"), "fn main() { println!(\"hello\") }\n".repeat(9))
        .expect("file");
    let context = Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("context");
    (directory, context)
}

/// Each path with its mode and what it holds.
pub(crate) type Listing = BTreeMap<String, (i64, String)>;

pub(crate) fn expected(context: &Context) -> Listing {
    let entries = context.manifest().entries().map(|entry| {
        let holds = match entry.kind {
            EntryKind::Directory => "directory".to_owned(),
            EntryKind::File { size, digest } => format!("{size} {}", digest.hex()),
            EntryKind::Symlink { target } => format!("-> {target}"),
        };
        (entry.path.to_string(), (i64::from(entry.mode), holds))
    });
    entries.collect()
}

pub(crate) fn listed_by_go(output: &str) -> Listing {
    let entries = output.lines().map(|line| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| entry[key].as_str().expect("string").to_owned();
        // What is not UTF-8 is there in hexadecimal.
        let path = |key: &str, raw: &str| match &entry[raw] {
            Value::String(hex) => PathBytes::from(bytes(hex)),
            _ => text(key).into(),
        };
        assert_eq!((&entry["uid"], &entry["gid"]), (&Value::from(0), &Value::from(0)));
        assert_eq!(entry["time"], 315_532_800);
        let facts = match text("type").as_str() {
            "0" => format!("{} {}", entry["size"], text("sha256")),
            "2" => format!("-> {}", path("link", "raw_link")),
            "5" => "directory".to_owned(),
            other => panic!("type {other}"),
        };
        let mode = entry["mode"].as_i64().expect("number");
        (path("name", "raw_name").to_string().trim_end_matches('/').to_owned(), (mode, facts))
    });
    entries.collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |start| &hex[start..start + 2];
    (0..hex.len()).step_by(2).map(|start| u8::from_str_radix(digits(start), 16).expect("hex")).collect()
}

/// What the oracle makes of a stream after damaging it everywhere: tried, yielded, fooled.
pub(crate) fn damage(stream: &[u8], sentinel: &str) -> (u64, u64, u64) {
    let output = oracle(&["damage", sentinel, &stream.len().to_string()], stream).expect("report");
    let report: Value = serde_json::from_str(&output).expect("JSON");
    let count = |key: &str| report[key].as_u64().expect("number");
    (count("tried"), count("yielded"), count("fooled"))
}

/// Has the executor read `stream`, and checks that it comes to the end though its input stays open.
pub(crate) fn ends_though_its_input_stays_open(stream: &[u8]) {
    let mut executor = Command::new(program())
        .arg("untar")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("oracle");
    let mut input = executor.stdin.take().expect("piped");
    input.write_all(stream).expect("written");
    // A reader that waits for more would hang here, until the test run kills it.
    let status = executor.wait().expect("status");
    assert!(status.success(), "{} bytes: {status:?}", stream.len());
    drop(input);
}
