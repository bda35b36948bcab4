//! A scan with a cache finds what a scan without one does, whatever has happened in between.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::context::DigestCache;

/// A small pseudo-random generator, so that a case is known by its number alone. (`SplitMix64`.)
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("below a usize")
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    /// A path in a tree of a few names, some of which differ in case only.
    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        let names: Vec<&str> = (0..depth).map(|_| self.pick(&["a", "A", "b", "B.txt", "c"])).collect();
        names.join("/")
    }
}

/// Makes one change below `root`, or fails to, as the path may lead through a file. Returns what it tried.
fn change(root: &Path, dice: &mut Dice) -> String {
    let (one, other) = (dice.path(), dice.path());
    let (from, to) = (root.join(&one), root.join(&other));
    let content = dice.pick(&["1111", "2222", "3333", "4", "", "55555"]);
    let kind = dice.below(13);
    let _ = fs::create_dir_all(from.parent().expect("parent"));
    let _ = match kind {
        // A new file, or one whose content changes in its place, often to another of the same length.
        0..=3 => fs::write(&from, content),
        // The same with the times set back, as tar and rsync do.
        4 => {
            let times = fs::metadata(&from).and_then(|metadata| metadata.modified());
            fs::write(&from, content)
                .and_then(|()| fs::File::options().write(true).open(&from)?.set_modified(times?))
        }
        // Replaced by another file.
        5 => fs::write(root.join(".new"), content).and_then(|()| fs::rename(root.join(".new"), &from)),
        6 => fs::rename(&from, &to),
        7 => fs::remove_file(&from),
        8 => fs::remove_dir_all(&from),
        9 => fs::create_dir(&from),
        10 => {
            let _ = fs::remove_dir_all(&from);
            let _ = fs::remove_file(&from);
            symlink(&other, &from)
        }
        11 => fs::hard_link(&from, &to),
        _ => {
            let is_file = fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_file());
            let mode = if is_file { [0o644, 0o755, 0o600][dice.below(3)] } else { 0o755 };
            fs::set_permissions(&from, fs::Permissions::from_mode(mode))
        }
    };
    let _ = fs::remove_file(root.join(".new"));
    format!("{kind} {one} {other} {content}")
}

/// Scans with `cache` and without.
fn scans(request: &BuildRequest, cache: &DigestCache) -> (Manifest, Manifest) {
    let cached = Context::scan_with(request, cache, &|| false).expect("context");
    let plain = Context::scan(request, &|| false).expect("context");
    (cached.manifest().clone(), plain.manifest().clone())
}

#[test]
fn a_scan_with_a_cache_finds_what_one_without_does() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    for seed in 0..60 {
        let project = Project::new(&[(".dockerignore", "**/c\n!a/c\n!b/**/B.txt")]);
        let mut dice = Dice(seed);
        let request = project.request();
        for round in 0..40 {
            let changes: Vec<String> =
                (0..=dice.below(4)).map(|_| change(project.0.path(), &mut dice)).collect();
            let request = match round % 5 {
                4 => request.clone().exclude(["a"]),
                3 => request.clone().preserve_permissions(true),
                _ => request.clone(),
            };
            let (cached, plain) = scans(&request, &cache);
            assert!(cached == plain, "seed {seed}, round {round}: {changes:?}\n{cached:?}\n{plain:?}");
        }
    }
}

/// The same where files are old enough to be kept: all of a tree waits at once.
#[test]
fn what_changes_after_it_has_settled_is_found_too() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let projects: Vec<(Project, Dice)> = (1000..1150)
        .map(|seed| {
            let project = Project::new(&[(".dockerignore", "**/c\n!a/c")]);
            let mut dice = Dice(seed);
            for _ in 0..30 {
                change(project.0.path(), &mut dice);
            }
            (project, dice)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(2_300));
    for (project, _) in &projects {
        let (cached, plain) = scans(&project.request(), &cache);
        assert!(cached == plain);
    }
    for (project, mut dice) in projects {
        for round in 0..10 {
            let changes: Vec<String> =
                (0..=dice.below(3)).map(|_| change(project.0.path(), &mut dice)).collect();
            let (cached, plain) = scans(&project.request(), &cache);
            assert!(cached == plain, "round {round}: {changes:?}\n{cached:?}\n{plain:?}");
        }
    }
}

/// A project whose files have settled, after a scan with `cache`.
fn settled(cache: &DigestCache) -> Project {
    let project = Project::new(&[("a/one", "1111"), ("a/two", "2222"), ("b/three", "3333")]);
    std::thread::sleep(Duration::from_millis(2_300));
    Context::scan_with(&project.request(), cache, &|| false).expect("context");
    project
}

/// How often a scan asks whether to stop: once for each entry, and once more for each file that is read.
fn questions(project: &Project, cache: &DigestCache) -> usize {
    let asked = AtomicUsize::new(0);
    let count = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    Context::scan_with(&project.request(), cache, &count).expect("context");
    asked.into_inner()
}

#[test]
fn only_what_has_changed_is_read() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let project = settled(&cache);
    let entries = 6;
    assert_eq!(questions(&project, &cache), entries);
    assert_eq!(questions(&project, &DigestCache::none()), entries + 4);
    project.write("a/one", "1112");
    assert_eq!(questions(&project, &cache), entries + 1);
    // It is too young to be trusted, so it is read each time until it has settled.
    assert_eq!(questions(&project, &cache), entries + 1);
    fs::remove_file(project.path("a/two")).expect("removed");
    assert_eq!(questions(&project, &cache), entries);
}

#[test]
fn what_another_selection_has_read_is_not_forgotten() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let project = settled(&cache);
    project.write("b/new", "text");
    for exclude in ["a/one", "a"] {
        Context::scan_with(&project.request().exclude([exclude, "b/new"]), &cache, &|| false)
            .expect("context");
    }
    assert_eq!(questions(&project, &cache), 7 + 1);
}

#[test]
fn a_file_whose_times_were_set_back_is_read() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let project = settled(&cache);
    let before = fs::metadata(project.path("a/one")).expect("file").modified().expect("time");
    project.write("a/one", "1112");
    fs::File::options()
        .write(true)
        .open(project.path("a/one"))
        .and_then(|file| file.set_modified(before))
        .expect("time");
    let context = Context::scan_with(&project.request(), &cache, &|| false).expect("context");
    let found = context.manifest().find("a/one").expect("entry");
    assert_eq!(found.kind, EntryKind::File { size: 4, digest: Digest::of(b"1112") });
    assert_eq!(found.modified, before);
}

#[test]
fn a_digest_that_turns_out_to_be_wrong_is_forgotten() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let project = settled(&cache);
    let context = Context::scan_with(&project.request(), &cache, &|| false).expect("context");
    let read = |path: &str| {
        let entry = context.manifest().find(path).expect("entry");
        let mut file = context.tree().open(&entry)?;
        file.read(&mut Vec::new(), 1000)
    };
    assert!(matches!(read("a/one"), Ok(true)));
    assert_eq!(questions(&project, &cache), 6);
    // As if this had not changed any time.
    project.write("a/one", "9999");
    assert!(matches!(read("a/one"), Err(ContextError::Changed(_))));
    assert_eq!(questions(&project, &cache), 6 + 4);
}

#[test]
fn several_scans_of_several_directories_share_a_cache() {
    let home = tempfile::tempdir().expect("temporary directory");
    let cache = DigestCache::in_directory(home.path());
    let project = settled(&cache);
    let expected = project.digest();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (project, cache) = (&project, &cache);
            scope.spawn(move || {
                let own = Project::new(&[("a", "1")]);
                for round in 0..40 {
                    own.write("a", &format!("{thread} {round}"));
                    let (cached, plain) = scans(&own.request(), cache);
                    assert!(cached == plain);
                    let context = Context::scan_with(&project.request(), cache, &|| false).expect("context");
                    assert_eq!(context.manifest().digest(), expected);
                }
            });
        }
    });
}

#[test]
fn a_scan_stops_wherever_it_is_cancelled() {
    let files: Vec<String> = (0..40).map(|number| format!("d{}/e{}/f", number % 4, number % 9)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), "text")).collect();
    let project = Project::new(&files);
    let asked = AtomicUsize::new(0);
    let count = |limit| {
        let asked = &asked;
        move || asked.fetch_add(1, Ordering::Relaxed) >= limit
    };
    Context::scan(&project.request(), &count(usize::MAX)).expect("context");
    let all = asked.swap(0, Ordering::Relaxed);
    for limit in 0..all {
        let result = Context::scan(&project.request(), &count(limit));
        assert!(matches!(result, Err(ContextError::Cancelled)), "{limit} of {all}");
        asked.store(0, Ordering::Relaxed);
    }
}

#[test]
fn of_several_failures_the_first_in_order_is_told() {
    let files: Vec<String> = (0..30).map(|number| format!("d{number:02}/e/f")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), "text")).collect();
    let project = Project::new(&files);
    for directory in ["d07/e", "d07-a", "d11/e", "d29"] {
        project.write(&format!("{directory}/.gardenignore"), "x[");
    }
    let request =
        project.request().ignore_files(crate::IgnoreFiles::new([".gardenignore"], project.0.path()));
    for _ in 0..50 {
        let (message, _) = failure(&request);
        assert!(message.starts_with("d07/e/.gardenignore:1:"), "{message}");
    }
}

#[test]
fn permissions_are_preserved_if_asked_for_and_then_part_of_the_digest() {
    let project = Project::new(&[("a/b", "1"), ("c", "2")]);
    let set = |path: &str, mode| {
        fs::set_permissions(project.path(path), fs::Permissions::from_mode(mode)).expect("mode");
    };
    let scan = |preserve| {
        let request = project.request().preserve_permissions(preserve);
        let context = Context::scan(&request, &|| false).expect("context");
        let mode = |path: &str| context.manifest().find(path).expect("entry").mode;
        ((mode("a"), mode("a/b"), mode("c")), context.manifest().digest())
    };
    for path in ["Dockerfile", "a/b", "c"] {
        set(path, 0o644);
    }
    set("a", 0o755);
    let usual = scan(false).1;
    assert_eq!(scan(true), ((0o755, 0o644, 0o644), usual), "git knows these modes, so nothing differs");
    set("a", 0o2770);
    set("a/b", 0o4751);
    set("c", 0o600);
    assert_eq!(scan(false).0, (0o755, 0o755, 0o644));
    let (modes, preserved) = scan(true);
    assert_eq!(modes, (0o2770, 0o4751, 0o600));
    assert_ne!(preserved, scan(false).1);
    set("c", 0o640);
    assert_ne!(scan(true).1, preserved);
}
