//! Has our streams read by the programs that will read them.
#![cfg(unix)]

#[allow(dead_code, reason = "the other tests need it, too")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use garden_build_core::context::pack::{KnownPacks, Plan, tail};
use garden_build_core::context::{Context, EntryKind, GzipMembers, TarStream};
use garden_build_core::{BuildRequest, Digest};
use serde_json::Value;

/// The entry that stands for the build: the executor must not see it behind a damaged context.
const SENTINEL: &str = "delivered/Dockerfile";

/// A context with everything that archives get wrong.
fn awkward_context() -> (tempfile::TempDir, Context) {
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

/// Each path with its mode and what it holds.
type Listing = BTreeMap<String, (i64, String)>;

fn expected(context: &Context) -> Listing {
    let entries = context.manifest().entries().map(|entry| {
        let holds = match entry.kind {
            EntryKind::Directory => "directory".to_owned(),
            EntryKind::File { size, digest } => format!("{size} {}", digest.hex()),
            EntryKind::Symlink { target } => format!("-> {target}"),
        };
        (entry.path, (i64::from(entry.mode), holds))
    });
    entries.collect()
}

fn archive(context: &Context) -> Vec<u8> {
    let mut tar = TarStream::new(Vec::new());
    tar.add_context(context, &|| false, &mut |_| {}).expect("context");
    tar.finish().expect("archive")
}

fn members(context: &Context, level: u8) -> Vec<u8> {
    let mut tar = TarStream::new(GzipMembers::new(Vec::new(), level));
    tar.add_context(context, &|| false, &mut |_| {}).expect("context");
    tar.get_mut().next_member().expect("second member");
    tar.add_file(SENTINEL, context.dockerfile().contents()).expect("Dockerfile");
    tar.get_mut().next_member().expect("third member");
    tar.finish().expect("archive").finish().expect("stream")
}

/// The context as members of a pack, with the tail that comes after.
fn packed(context: &Context) -> Vec<u8> {
    let mut stream = Vec::new();
    let plan = Plan::of(context, &KnownPacks::new());
    plan.write(&mut stream, &|| false, &mut |_| {}).expect("pack");
    stream.extend(tail("delivered", context.dockerfile().contents()).expect("tail"));
    stream
}

fn listed_by_go(output: &str) -> Listing {
    let entries = output.lines().map(|line| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| entry[key].as_str().expect("string").to_owned();
        assert_eq!((&entry["uid"], &entry["gid"]), (&Value::from(0), &Value::from(0)));
        assert_eq!(entry["time"], 315_532_800);
        let facts = match text("type").as_str() {
            "0" => format!("{} {}", entry["size"], text("sha256")),
            "2" => format!("-> {}", text("link")),
            "5" => "directory".to_owned(),
            other => panic!("type {other}"),
        };
        let mode = entry["mode"].as_i64().expect("number");
        (text("name").trim_end_matches('/').to_owned(), (mode, facts))
    });
    entries.collect()
}

fn listed_from_disk(directory: &Path, prefix: &str, listing: &mut Listing) {
    for entry in fs::read_dir(directory).expect("directory") {
        let entry = entry.expect("entry");
        let path = format!("{prefix}{}", entry.file_name().to_str().expect("UTF-8"));
        let metadata = entry.metadata().expect("metadata");
        let mode = i64::from(metadata.permissions().mode() & 0o7777);
        let facts = if metadata.is_dir() {
            listed_from_disk(&entry.path(), &format!("{path}/"), listing);
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).expect("link").display())
        } else {
            format!("{} {}", metadata.len(), Digest::of(&fs::read(entry.path()).expect("file")).hex())
        };
        listing.insert(path, (mode, facts));
    }
}

#[test]
fn go_reads_back_what_was_scanned() {
    let (_directory, context) = awkward_context();
    let output = support::oracle(&["tar"], &archive(&context)).expect("valid");
    assert_eq!(listed_by_go(&output), expected(&context));
}

#[test]
fn the_executor_reads_all_members_as_one_archive() {
    let (_directory, context) = awkward_context();
    for level in [0, 1, 9] {
        let output = support::oracle(&["untar"], &members(&context, level)).expect("valid");
        let mut listed = listed_by_go(&output);
        assert!(listed.remove(SENTINEL).is_some());
        assert_eq!(listed, expected(&context));
    }
}

#[test]
fn the_executor_reads_a_pack_with_its_tail_as_one_archive() {
    let (_directory, context) = awkward_context();
    let output = support::oracle(&["untar"], &packed(&context)).expect("valid");
    let mut listed = listed_by_go(&output);
    let dockerfile = context.dockerfile().contents();
    let facts = |content: &[u8]| (0o644, format!("{} {}", content.len(), Digest::of(content).hex()));
    assert_eq!(listed.remove(SENTINEL), Some(facts(dockerfile)));
    let ignore = listed.remove("delivered/Dockerfile.dockerignore");
    assert_eq!(ignore, Some(facts(b"delivered\ndelivered/**\n")));
    assert_eq!(listed, expected(&context));
}

#[test]
fn the_executor_comes_to_the_end_though_its_input_stays_open() {
    let (_directory, context) = small_context();
    for stream in [members(&context, 0), members(&context, 1), members(&context, 9), packed(&context)] {
        let mut executor = Command::new(support::program())
            .arg("untar")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("oracle");
        let mut input = executor.stdin.take().expect("piped");
        input.write_all(&stream).expect("written");
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            match executor.try_wait().expect("status") {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            executor.kill().expect("killed");
            executor.wait().expect("ended");
        }
        assert!(status.is_some_and(|status| status.success()), "{} bytes: {status:?}", stream.len());
        drop(input);
    }
}

#[test]
fn gnu_tar_and_busybox_unpack_what_was_scanned() {
    let (_directory, context) = awkward_context();
    let bytes = archive(&context);
    for program in [&["tar"][..], &["busybox", "tar"]] {
        let target = tempfile::tempdir().expect("temporary directory");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["-xpf", "-", "-C"]).arg(target.path());
        support::run(&mut command, &bytes).expect("unpacked");
        let mut listing = Listing::new();
        listed_from_disk(target.path(), "", &mut listing);
        assert_eq!(listing, expected(&context), "{program:?}");
    }
}

/// What the oracle makes of a stream after damaging it everywhere: tried, yielded, fooled.
fn damage(stream: &[u8], sentinel: &str) -> (u64, u64, u64) {
    let output = support::oracle(&["damage", sentinel, &stream.len().to_string()], stream).expect("report");
    let report: Value = serde_json::from_str(&output).expect("JSON");
    let count = |key: &str| report[key].as_u64().expect("number");
    (count("tried"), count("yielded"), count("fooled"))
}

fn small_context() -> (tempfile::TempDir, Context) {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . .\n").expect("file");
    fs::write(directory.path().join("main.rs"), "fn main() { println!(\"hello\") }\n".repeat(9))
        .expect("file");
    let context = Context::scan(&BuildRequest::new("test", directory.path()), &|| false).expect("context");
    (directory, context)
}

#[test]
fn no_truncated_or_flipped_stream_leads_the_executor_to_the_dockerfile() {
    let (_directory, context) = small_context();
    for (stream, sentinel) in [
        (members(&context, 0), SENTINEL),
        (members(&context, 1), SENTINEL),
        (members(&context, 9), SENTINEL),
        (packed(&context), "delivered/Dockerfile.dockerignore"),
    ] {
        let (tried, _, fooled) = damage(&stream, sentinel);
        assert!(tried >= 9 * stream.len() as u64, "{tried} of {} bytes", stream.len());
        assert_eq!(fooled, 0, "{} bytes", stream.len());
    }
}

#[test]
fn one_member_alone_would_not_protect_the_build() {
    let (_directory, context) = small_context();
    let mut tar = TarStream::new(GzipMembers::new(Vec::new(), 0));
    tar.add_context(&context, &|| false, &mut |_| {}).expect("context");
    tar.add_file(SENTINEL, b"FROM scratch").expect("Dockerfile");
    let stream = tar.finish().expect("archive").finish().expect("stream");
    let (_, _, fooled) = damage(&stream, SENTINEL);
    assert!(fooled > 1000, "{fooled}");
}

#[test]
fn the_executor_refuses_a_stream_whose_writer_gave_up() {
    let (_directory, context) = small_context();
    let mut output = Vec::new();
    let mut tar = TarStream::new(GzipMembers::new(&mut output, 1));
    tar.add_context(&context, &|| false, &mut |_| {}).expect("context");
    tar.get_mut().flush().expect("flushed");
    drop(tar);
    let error =
        support::oracle(&["untar"], &output).expect_err("a part of the context would have been built");
    assert_eq!(error, "unexpected EOF\n");
}
