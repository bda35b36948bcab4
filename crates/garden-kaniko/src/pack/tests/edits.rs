//! Any sequence of edits arrives as a fresh delivery would, and costs little.

use std::collections::HashSet;
use std::path::Path;

use proptest::prelude::*;

use super::super::piece::pieces;
use super::super::runs::{RANGE_COST, find};
use super::*;
use garden_build_core::context::EntryKind;

#[derive(Clone, Debug)]
enum Edit {
    Write {
        path: String,
        seed: u64,
        length: usize,
    },
    Directory(String),
    Rename {
        from: usize,
        to: String,
    },
    Remove(usize),
    SwapModes(usize),
    Link {
        path: String,
        target: String,
    },
    /// Only the assembled stream is kept, as a pack.
    Merge,
    /// Nothing is kept.
    Lose,
}

fn path() -> impl Strategy<Value = String> {
    let long = "n".repeat(101);
    let name = prop::sample::select(
        vec!["a", "b", "c", "ab", "é"].into_iter().map(str::to_owned).chain([long]).collect::<Vec<_>>(),
    );
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn edit() -> impl Strategy<Value = Edit> {
    let block = BLOCK as usize;
    let length = prop_oneof![
        4 => 0..3000_usize,
        1 => prop::sample::select(vec![0, 1, 511, 512, 513, 70_000, block - 1, block, block + 1, 2 * block, 3 * block + 100]),
    ];
    prop_oneof![
        8 => (path(), 0..12_u64, length).prop_map(|(path, seed, length)| Edit::Write { path, seed, length }),
        1 => path().prop_map(Edit::Directory),
        3 => (any::<usize>(), path()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => any::<usize>().prop_map(Edit::Remove),
        1 => any::<usize>().prop_map(Edit::SwapModes),
        1 => (path(), path()).prop_map(|(path, target)| Edit::Link { path, target }),
        1 => Just(Edit::Merge),
        1 => Just(Edit::Lose),
    ]
}

/// Content that depends on the seed: every other one does not compress.
fn content(seed: u64, length: usize) -> Vec<u8> {
    if seed.is_multiple_of(2) {
        noise(seed, length)
    } else {
        format!("line {seed}\n").into_bytes().repeat(length / 7 + 1)[..length].to_vec()
    }
}

/// Does what is possible; edits that are not are none.
fn apply(edit: &Edit, project: &Project, paths: &[String]) {
    let chosen = |number: &usize| paths.get(number % paths.len().max(1)).map(|path| project.path(path));
    let make_room = |path: &Path| {
        let _ = fs::create_dir_all(path.parent().expect("parent"));
        let _ = fs::remove_file(path);
    };
    match edit {
        Edit::Write { path, seed, length } => {
            make_room(&project.path(path));
            let _ = fs::write(project.path(path), content(*seed, *length));
        }
        Edit::Directory(path) => {
            let _ = fs::create_dir_all(project.path(path));
        }
        Edit::Rename { from, to } => {
            make_room(&project.path(to));
            let _ = chosen(from).map(|from| fs::rename(from, project.path(to)));
        }
        Edit::Remove(number) => {
            let _ = chosen(number).map(|path| fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        }
        #[cfg(unix)]
        Edit::SwapModes(number) => {
            use std::os::unix::fs::PermissionsExt;
            let file =
                chosen(number).filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()));
            if let Some(file) = file {
                let mode = fs::metadata(&file).expect("a file").permissions().mode();
                fs::set_permissions(file, fs::Permissions::from_mode(mode ^ 0o111)).expect("mode");
            }
        }
        #[cfg(unix)]
        Edit::Link { path, target } => {
            make_room(&project.path(path));
            let _ = std::os::unix::fs::symlink(target, project.path(path));
        }
        _ => {}
    }
}

/// The most that what is new of `context` takes if the service has had everything of `had`. Adds to `had` what this
/// context has.
fn most_of_new(context: &Context, had: &mut HashSet<Vec<u8>>) -> usize {
    let mut most = 0;
    let mut count = |what: Vec<u8>, size: usize| {
        if had.insert(what) {
            most += size + size / 100 + 64;
        }
    };
    for entry in context.manifest().entries() {
        let kind = match &entry.kind {
            EntryKind::Directory => "directory".to_owned(),
            EntryKind::File { size, digest } => {
                count(digest.as_bytes().to_vec(), usize::try_from(*size).expect("in memory"));
                format!("file {size}")
            }
            EntryKind::Symlink { target } => format!("link {target}"),
        };
        count(format!("{} {:o} {kind}", entry.path, entry.mode).into_bytes(), 1000);
    }
    most
}

/// How many ranges the rope would have if nothing were sent again.
fn most_ranges(context: &Context, known: &KnownPacks) -> usize {
    find(&pieces(context.manifest()), known).len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_edit_arrives_as_if_everything_were_sent(
        edits in prop::collection::vec(edit(), 1..25),
        has_many_clients in any::<bool>(),
    ) {
        let project = Project::new(&[]);
        let mut service = Service { has_many_clients, ..Service::default() };
        let mut had = HashSet::new();
        let mut earlier: Vec<(Context, Vec<u8>)> = Vec::new();
        for edit in edits {
            let paths: Vec<String> =
                project.scan().manifest().entries().map(|entry| entry.path.to_string()).collect();
            apply(&edit, &project, &paths);
            project.write("Dockerfile", b"FROM scratch");
            let context = project.scan();
            let new = most_of_new(&context, &mut had);
            let ranges = most_ranges(&context, &service.known);
            let delivery = service.deliver(&context);
            // What is sent again spares ranges that cost more. Any number of known pieces may be sent for one that is new:
            // each spares a range. An eighth more is for members that are compressed anew.
            let sent_again = (ranges - delivery.ranges) * usize::try_from(RANGE_COST + RANGE_COST / 8).expect("small");
            let most = new + sent_again;
            prop_assert!(delivery.sent <= most, "{} of {new} + {sent_again} for {edit:?}", delivery.sent);
            let plain = decompressed(&delivery.stream);
            prop_assert!(plain == archive(&context), "{edit:?}");
            match edit {
                Edit::Merge | Edit::Lose => {
                    service.forget_all();
                    had.clear();
                    earlier.clear();
                    if matches!(edit, Edit::Merge) {
                        service.store(delivery.stream, &delivery.index, None);
                        let again = service.deliver(&context);
                        prop_assert_eq!((again.sent, again.ranges), (0, 1));
                    }
                    most_of_new(&context, &mut had);
                    if matches!(edit, Edit::Lose) {
                        had.clear();
                    }
                }
                _ => earlier.push((context, plain)),
            }
        }
        for (context, plain) in earlier {
            // Not proven, as its files are others by now.
            let assembly = Plan::of(&context, &service.known).assembly();
            prop_assert!(assembly.is_some(), "going back");
            let rope = assembly.into_iter().flat_map(|assembly| assembly.rope);
            let stream: Vec<u8> = rope.flat_map(|range| service.range(&range).to_vec()).collect();
            prop_assert!(decompressed(&stream) == plain);
        }
    }
}
