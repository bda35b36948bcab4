//! Has our streams read by the programs that will read them.
#![cfg(unix)]

#[path = "support/archives.rs"]
mod archives;
#[allow(dead_code, reason = "the other tests need it, too")]
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use archives::{
    Listing, SENTINEL, awkward_context, damage, ends_though_its_input_stays_open, expected, latin_context,
    listed_by_go, small_context,
};
use garden_build_core::Digest;
use garden_build_core::context::{Context, GzipMembers, TarStream};

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
    garden_test_programs::needs!(Go);
    for (_directory, context) in [awkward_context(), latin_context()] {
        let output = support::oracle(&["tar"], &archive(&context)).expect("valid");
        assert_eq!(listed_by_go(&output), expected(&context));
    }
}

#[test]
fn the_executor_reads_all_members_as_one_archive() {
    garden_test_programs::needs!(Go);
    let (_directory, context) = awkward_context();
    for level in [0, 1, 9] {
        let output = support::oracle(&["untar"], &members(&context, level)).expect("valid");
        let mut listed = listed_by_go(&output);
        assert!(listed.remove(SENTINEL).is_some());
        assert_eq!(listed, expected(&context));
    }
}

#[test]
fn the_executor_comes_to_the_end_though_its_input_stays_open() {
    garden_test_programs::needs!(Go);
    let (_directory, context) = small_context();
    for level in [0, 1, 9] {
        ends_though_its_input_stays_open(&members(&context, level));
    }
}

#[test]
fn gnu_tar_and_busybox_unpack_what_was_scanned() {
    garden_test_programs::needs!(Busybox);
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

#[test]
fn no_truncated_or_flipped_stream_leads_the_executor_to_the_dockerfile() {
    garden_test_programs::needs!(Go);
    let (_directory, context) = small_context();
    for level in [0, 1, 9] {
        let stream = members(&context, level);
        let (tried, _, fooled) = damage(&stream, SENTINEL);
        assert!(tried >= 9 * stream.len() as u64, "{tried} of {} bytes", stream.len());
        assert_eq!(fooled, 0, "{} bytes", stream.len());
    }
}

#[test]
fn one_member_alone_would_not_protect_the_build() {
    garden_test_programs::needs!(Go);
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
    garden_test_programs::needs!(Go);
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
