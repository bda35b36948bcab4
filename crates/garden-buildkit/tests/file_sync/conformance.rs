//! Random trees, and random changes of them, arrive as they are; and only what changed is sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use garden_build_core::BuildRequest;
use garden_build_core::context::{Context, EntryKind};
use garden_buildkit::client::file_sync::protocol::FilterRequest;
use garden_buildkit::client::file_sync::{LocalDirectory, ScannedTree};

use crate::receiver::{Client, Entry, sync};
use crate::tree::{Kinds, Random, change, plant, seeds};

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const TYPE: u32 = 0x8f28_0000;

#[test]
fn any_directory_arrives_as_it_is_and_only_changed_files_are_sent() {
    garden_test_programs::needs!(Go);
    let mut client = Client::start();
    for seed in seeds(0, 60) {
        let mut random = Random::new(seed);
        let place = tempfile::tempdir().expect("temporary directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir(&from).expect("directory");
        fs::create_dir(&to).expect("directory");
        let size = random.below(80);
        plant(&from, &mut random, size, Kinds::All);
        let mut before = BTreeMap::new();
        for round in 0..6 {
            let source = LocalDirectory::new(&from).expect("source");
            let outcome = sync(source, &FilterRequest::default(), &to).succeeded();
            let listed = client.list_all(&from);
            let context = format!("seed {seed}, round {round}");
            assert_eq!(compared(&client.list_all(&to)), compared(&listed), "{context}");
            assert_same_contents(&from, &to, &listed, &context);
            let wanted: Vec<&Entry> = listed.iter().filter(|entry| is_wanted(&before, entry)).collect();
            assert_eq!(outcome.record.entries(), listed.len() as u64, "{context}");
            // What was a link to a file that is gone now, and is unchanged otherwise, may be there already: it
            // depends on whether the receiver looks at it before or after it has removed the other.
            let certain = wanted.iter().copied().filter(|entry| !was_only_a_link(&before, entry));
            let (certain, possible) = (totals(certain), totals(wanted.iter().copied()));
            let sent = (outcome.record.files(), outcome.record.bytes());
            assert!(certain.0 <= sent.0 && sent.0 <= possible.0, "{context}: {sent:?}, {wanted:?}");
            assert!(certain.1 <= sent.1 && sent.1 <= possible.1, "{context}: {sent:?}, {wanted:?}");
            before = listed.into_iter().map(|entry| (entry.bytes().to_vec(), entry)).collect();
            change(&from, &mut random, Kinds::All);
        }
    }
}

#[test]
fn any_scanned_context_arrives_as_its_manifest_lists_it() {
    garden_test_programs::needs!(Go);
    let mut client = Client::start();
    for seed in seeds(1_000_000, 40) {
        let mut random = Random::new(seed);
        let place = tempfile::tempdir().expect("temporary directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir(&from).expect("directory");
        fs::create_dir(&to).expect("directory");
        let size = random.below(80);
        plant(&from, &mut random, size, Kinds::Ordinary);
        for round in 0..4 {
            fs::write(from.join("Dockerfile"), "FROM scratch").expect("Dockerfile");
            let _ = fs::write(from.join(".dockerignore"), "a-b\n**/Z\n!é/Z\n");
            let context = Context::scan(&BuildRequest::new("test", &from), &|| false).expect("context");
            let manifest = context.manifest().clone();
            sync(ScannedTree::new(context.tree().clone()), &FilterRequest::default(), &to).succeeded();
            let arrived = client.list_all(&to);
            assert_eq!(arrived.len(), manifest.entries().len(), "seed {seed}, round {round}");
            for (arrived, entry) in arrived.iter().zip(manifest.entries()) {
                assert_eq!(arrived.bytes(), entry.path.as_bytes());
                let (mode, linkname) = match &entry.kind {
                    EntryKind::Directory => (DIRECTORY, &b""[..]),
                    EntryKind::Symlink { target } => (SYMLINK, target.as_bytes()),
                    EntryKind::File { digest, .. } => {
                        let bytes = fs::read(arrived.below(&to)).expect("file");
                        assert_eq!(garden_build_core::Digest::of(&bytes), *digest, "{}", entry.path);
                        (0, &b""[..])
                    }
                };
                assert_eq!(
                    (arrived.mode, arrived.link_bytes()),
                    (mode | entry.mode, linkname),
                    "{}",
                    entry.path
                );
            }
            change(&from, &mut random, Kinds::Ordinary);
        }
    }
}

/// What the daemon compares: of a directory not the time, and of nothing the extended attributes. It does
/// not keep hard links of devices and pipes.
fn compared(entries: &[Entry]) -> Vec<Entry> {
    let compared = entries.iter().cloned().map(|mut entry| {
        entry.xattrs.clear();
        if entry.mode & DIRECTORY != 0 {
            entry.mod_time = 0;
        }
        if entry.mode & TYPE != 0 && entry.mode & SYMLINK == 0 {
            entry.linkname.clear();
            entry.raw_linkname = None;
        }
        entry
    });
    compared.collect()
}

fn is_wanted(before: &BTreeMap<Vec<u8>, Entry>, entry: &Entry) -> bool {
    let is_file = entry.mode & TYPE == 0 && entry.linkname.is_empty();
    is_file
        && before.get(entry.bytes()).is_none_or(|before| {
            compared(std::slice::from_ref(before)) != compared(std::slice::from_ref(entry))
        })
}

fn was_only_a_link(before: &BTreeMap<Vec<u8>, Entry>, entry: &Entry) -> bool {
    before.get(entry.bytes()).is_some_and(|before| {
        let unlinked = Entry { linkname: String::new(), raw_linkname: None, ..before.clone() };
        !before.linkname.is_empty() && compared(&[unlinked]) == compared(std::slice::from_ref(entry))
    })
}

/// The number of files, and the sum of their sizes.
fn totals<'e>(entries: impl Iterator<Item = &'e Entry>) -> (u64, u64) {
    entries
        .fold((0, 0), |(files, bytes), entry| (files + 1, bytes + u64::try_from(entry.size).expect("size")))
}

fn assert_same_contents(from: &Path, to: &Path, listed: &[Entry], context: &str) {
    for entry in listed.iter().filter(|entry| entry.mode & TYPE == 0 && entry.size > 0) {
        let read = |root: &Path| fs::read(entry.below(root)).expect("file");
        assert!(read(from) == read(to), "{context}: {} differs", entry.path);
    }
}
