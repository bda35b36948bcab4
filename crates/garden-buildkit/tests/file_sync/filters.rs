//! The filters of `BuildKit`'s own client, for random trees and patterns.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use garden_build_core::BuildRequest;
use garden_build_core::context::Context;
use garden_buildkit::client::file_sync::protocol::FilterRequest;
use garden_buildkit::client::file_sync::{LocalDirectory, ScannedTree, Source, Stat, SyncError};

use crate::receiver::{Client, Entry};
use crate::tree::{Kinds, Random, has_raw_links, plant, seeds};

const SYMLINK: u32 = 1 << 27;

const PARTS: &[&str] =
    &["a", "b", "é", "*", "**", "a*", "?", "[a-c]", "a.b", "x y", "Z", "c0", "a\\*", "..", "."];

#[test]
fn a_directory_is_filtered_as_buildkits_client_does() {
    garden_test_programs::needs!(Go);
    let mut client = Client::start();
    let mut nonempty = 0;
    for seed in seeds(0, 60) {
        let mut random = Random::new(2000 + seed);
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path().join("root");
        fs::create_dir(&root).expect("directory");
        plant(&root, &mut random, 60, Kinds::All);
        let source = LocalDirectory::new(&root).expect("source");
        let has_raw_links = has_raw_links(&root);
        for _ in 0..60 {
            let filter = filter(&mut random);
            let expected = client.list(&root, &filter);
            let ours = list(&source, &filter);
            match (&expected, &ours) {
                (Ok(expected), Ok(ours)) => {
                    let mut expected: Vec<Stat> = expected.iter().map(stat).collect();
                    let mut ours = ours.clone();
                    if has_raw_links && !filter.follow.is_empty() {
                        leave_what_is_expected(&mut expected, &mut ours);
                    }
                    assert_eq!(ours, expected, "seed {seed}, {filter:?}");
                    nonempty += usize::from(!ours.is_empty());
                }
                // We compile all patterns, the client only those that it comes to.
                (Err(_), Err(_)) | (Ok(_), Err(SyncError::Filter(_))) => {}
                _ => panic!("seed {seed}, {filter:?}: {expected:?} but we {ours:?}"),
            }
        }
    }
    assert!(nonempty > 1500, "{nonempty} is too few to mean anything");
}

#[test]
fn a_scanned_context_is_filtered_in_the_same_way() {
    garden_test_programs::needs!(Go);
    let mut client = Client::start();
    for seed in seeds(0, 40) {
        let mut random = Random::new(3000 + seed);
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path().join("root");
        fs::create_dir(&root).expect("directory");
        plant(&root, &mut random, 60, Kinds::Ordinary);
        fs::write(root.join("Dockerfile"), "FROM scratch").expect("Dockerfile");
        let source = ScannedTree::new(scan(&root).tree().clone());
        let has_raw_links = has_raw_links(&root);
        for _ in 0..40 {
            let filter = filter(&mut random);
            if let (Ok(expected), Ok(ours)) = (client.list(&root, &filter), list(&source, &filter)) {
                let paths = |stats: Vec<Stat>| stats.into_iter().map(|stat| stat.path).collect::<Vec<_>>();
                let (mut expected, mut ours): (Vec<Stat>, _) = (expected.iter().map(stat).collect(), ours);
                if has_raw_links && !filter.follow.is_empty() {
                    leave_what_is_expected(&mut expected, &mut ours);
                }
                assert_eq!(paths(ours), paths(expected), "seed {seed}, {filter:?}");
            }
        }
    }
}

/// Where links that are not text are followed, more may be sent. Leaves in `ours` what is expected, apart from which path of
/// a file with several is the first.
fn leave_what_is_expected(expected: &mut [Stat], ours: &mut Vec<Stat>) {
    let wanted: Vec<Vec<u8>> = expected.iter().map(|stat| stat.path.clone()).collect();
    ours.retain(|stat| wanted.contains(&stat.path));
    for stat in expected.iter_mut().chain(ours) {
        if stat.mode & SYMLINK == 0 {
            stat.linkname.clear();
        }
    }
}

fn scan(root: &Path) -> Context {
    Context::scan(&BuildRequest::new("test", root), &|| false).expect("context")
}

fn filter(random: &mut Random) -> FilterRequest {
    let mut list = |chance: usize, marks: bool| {
        let length = if random.below(chance) == 0 { 1 + random.below(3) } else { 0 };
        let mut patterns = Vec::new();
        for _ in 0..length {
            let parts: Vec<&str> = (0..=random.below(3)).map(|_| random.choose(PARTS)).collect();
            let mark = if marks && random.below(3) == 0 { "!" } else { "" };
            let slash = if random.below(6) == 0 { "/" } else { "" };
            patterns.push(format!("{mark}{slash}{}", parts.join("/")));
        }
        patterns
    };
    FilterRequest { include: list(3, true), exclude: list(2, true), follow: list(2, false) }
}

fn list(source: &dyn Source, filter: &FilterRequest) -> Result<Vec<Stat>, SyncError> {
    let mut listed = Vec::new();
    source.list(&filter.compile(source)?, &|| false, &mut |entry| {
        listed.push(entry.stat);
        ControlFlow::Continue(())
    })?;
    Ok(listed)
}

fn stat(entry: &Entry) -> Stat {
    Stat {
        path: entry.bytes().to_vec(),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mod_time: entry.mod_time,
        linkname: entry.link_bytes().to_vec(),
        devmajor: entry.devmajor,
        devminor: entry.devminor,
        xattrs: entry.xattrs.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
    }
}
