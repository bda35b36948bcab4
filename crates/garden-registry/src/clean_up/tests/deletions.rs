//! What the script does that deletes in a registry's storage, in each shell that there is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use garden_build_core::Digest;
use tempfile::TempDir;

use super::support::{NOW, OLD, Registry, at, digest, version};
use crate::clean_up::{CleanUpPlan, DeletionList, Deletions, StorageListing};

const API: &str = "team/api";

/// The storage of a registry, as the scripts find it.
struct Storage(TempDir);

impl Storage {
    /// One that has what `registry` has.
    fn of(registry: &Registry) -> Self {
        let storage = Self(TempDir::new().expect("a directory"));
        for (name, repository) in &registry.inventory.repositories {
            for (digest, manifest) in &repository.manifests {
                storage.write(&data(*digest), "{}", OLD);
                storage.push(name, *digest, manifest.pushed.as_second());
            }
            for (tag, stored) in &repository.tags {
                storage.tag(name, tag, stored.digest);
            }
        }
        storage
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("v2")
    }

    fn write(&self, path: &str, content: &str, second: i64) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
        fs::write(&path, content).expect("written");
        let age = Duration::from_secs(second.try_into().expect("after 1970"));
        let file = File::options().write(true).open(path).expect("there");
        file.set_modified(SystemTime::UNIX_EPOCH + age).expect("a time");
    }

    fn push(&self, repository: &str, digest: Digest, second: i64) {
        self.write(&revision(repository, digest), &digest.to_string(), second);
    }

    fn tag(&self, repository: &str, tag: &str, digest: Digest) {
        self.write(&current(repository, tag), &digest.to_string(), OLD);
    }

    fn has(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }

    /// Runs the script with a list, in a shell that finds its programs in these directories.
    fn run(&self, list: &Path, programs: &str) -> String {
        let script = |name: &str, text: &str| {
            let path = self.0.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let listing = script("list-storage.sh", StorageListing::SCRIPT);
        let delete = script("delete.sh", DeletionList::SCRIPT);
        let mut command = Command::new("sh");
        command.env("PATH", programs).arg(delete).arg(self.root()).arg(list).arg(listing);
        let output = command.output().expect("a shell");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "{complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn delete(&self, text: &str, programs: &str) -> String {
        let list = self.0.path().join("list");
        fs::write(&list, text).expect("written");
        self.run(&list, programs)
    }
}

fn revision(repository: &str, digest: Digest) -> String {
    format!("repositories/{repository}/_manifests/revisions/sha256/{}/link", digest.hex())
}

fn current(repository: &str, tag: &str) -> String {
    format!("repositories/{repository}/_manifests/tags/{tag}/current/link")
}

fn data(digest: Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// Runs a test with the programs of this machine, and with those of `BusyBox` where there is one.
fn in_each_shell(test: impl Fn(&str)) {
    let path = std::env::var("PATH").expect("a path");
    test(&path);
    if garden_test_programs::lacks(&[garden_test_programs::Program::Busybox]) {
        return;
    }
    let busybox = garden_test_programs::find_on_path("busybox").expect("there");
    let programs = TempDir::new().expect("a directory");
    for name in ["sh", "awk", "cat", "date", "find", "grep", "head", "rm", "stat", "tail"] {
        std::os::unix::fs::symlink(&busybox, programs.path().join(name)).expect("a link");
    }
    test(programs.path().to_str().expect("a path"));
}

/// An index of two images, an image with two tags, and one with none; another stays.
fn registry() -> Registry {
    let mut registry = Registry::new();
    for name in ["amd64", "arm64", "two tags", "no tag", "in use"] {
        registry.image(API, name, &[]);
    }
    registry.index(API, "index", &["amd64", "arm64"]);
    registry.tag(API, &version(1), "index");
    registry.tag(API, &version(2), "two tags");
    registry.tag(API, &version(3), "two tags");
    registry.tag(API, &version(4), "in use");
    registry.in_use.add(&format!("any.example/{API}:{}", version(4)), "a Pod");
    registry
}

/// What becomes of the plan of [`registry`] if `change` comes after it.
fn after(programs: &str, change: impl FnOnce(&Storage)) -> (Storage, CleanUpPlan, Deletions) {
    let registry = registry();
    let plan = registry.plan();
    assert_eq!(plan.deletions.len(), 5);
    let storage = Storage::of(&registry);
    change(&storage);
    let list = plan.deletion_list(at(NOW));
    let report = storage.delete(list.as_str(), programs);
    let deletions = list.outcome(&report);
    for deletion in &deletions.deleted {
        assert!(!storage.has(&revision(API, deletion.digest)), "{report}");
        assert!(deletion.tags.iter().all(|tag| !storage.has(&current(API, tag))), "{report}");
    }
    for failed in &deletions.failed {
        assert!(storage.has(&revision(API, failed.digest)), "{report}");
    }
    assert!(storage.has(&revision(API, digest("in use"))) && storage.has(&current(API, &version(4))));
    (storage, plan, deletions)
}

/// The names of what was not deleted, with the reasons.
fn kept(deletions: &Deletions) -> Vec<(&'static str, &str)> {
    let names = ["index", "amd64", "arm64", "two tags", "no tag"];
    let kept = names.into_iter().filter_map(|name| {
        let failed = deletions.failed.iter().find(|failed| failed.digest == digest(name))?;
        Some((name, failed.reason.as_str()))
    });
    kept.collect()
}

#[test]
fn what_is_planned_goes_with_its_tags_and_nothing_else_does() {
    in_each_shell(|programs| {
        let (storage, plan, deletions) = after(programs, |_| {});
        assert_eq!((deletions.deleted.len(), kept(&deletions)), (5, vec![]));
        // Once more: that it is gone is as good.
        let list = plan.deletion_list(at(NOW));
        let again = list.outcome(&storage.delete(list.as_str(), programs));
        assert_eq!((again.deleted.len(), kept(&again)), (5, vec![]));
        assert!(storage.has(&data(digest("index"))), "blobs are the collector's");
    });
}

#[test]
fn a_tag_that_has_moved_keeps_what_it_stood_for() {
    in_each_shell(|programs| {
        let (storage, _, deletions) =
            after(programs, |storage| storage.tag(API, &version(3), digest("in use")));
        let reason = format!("its tag `{}` has come to stand for another image since", version(3));
        assert_eq!(kept(&deletions), [("two tags", reason.as_str())]);
        assert!(storage.has(&current(API, &version(2))) && storage.has(&current(API, &version(3))));
    });
}

#[test]
fn a_tag_that_has_come_keeps_an_image_and_what_belongs_to_it() {
    in_each_shell(|programs| {
        let (_, _, deletions) = after(programs, |storage| storage.tag(API, "latest", digest("amd64")));
        let kept = kept(&deletions);
        assert_eq!(kept[1], ("amd64", "the tag `latest` has come to stand for it since"));
        let needed = |name: &str| format!("{}, which belongs to it, is kept", digest(name));
        assert_eq!(kept[0], ("index", needed("amd64").as_str()));
        assert_eq!(kept[2..], [("arm64", needed("index").as_str())]);
    });
}

#[test]
fn what_was_pushed_again_is_kept() {
    in_each_shell(|programs| {
        let (_, _, deletions) = after(programs, |storage| storage.push(API, digest("no tag"), NOW + 5));
        assert_eq!(kept(&deletions), [("no tag", "it was pushed again since")]);
    });
}

#[test]
fn what_a_new_index_lists_is_kept() {
    in_each_shell(|programs| {
        let (_, _, deletions) = after(programs, |storage| {
            let list = format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, digest("no tag"));
            storage.write(&data(digest("new")), &list, NOW);
            storage.push(API, digest("new"), NOW);
            // Who has the same in another repository keeps it there.
            storage.push("team/web", digest("new"), NOW);
        });
        assert_eq!(kept(&deletions), [("no tag", "an image that was pushed since refers to it")]);
    });
}

#[test]
fn what_was_pushed_in_the_second_of_the_plan_is_known_to_it() {
    in_each_shell(|programs| {
        let mut registry = registry();
        for manifest in registry.repository(API).manifests.values_mut() {
            manifest.pushed = at(NOW);
        }
        registry.rules.keep_younger_than = Duration::ZERO;
        let storage = Storage::of(&registry);
        let list = format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, digest("amd64"));
        storage.write(&data(digest("index")), &list, NOW);
        let list = registry.plan().deletion_list(at(NOW));
        let deletions = list.outcome(&storage.delete(list.as_str(), programs));
        assert_eq!((deletions.deleted.len(), kept(&deletions)), (5, vec![]));
    });
}

#[test]
fn a_tag_that_cannot_be_read_keeps_its_repository() {
    in_each_shell(|programs| {
        let (_, _, deletions) =
            after(programs, |storage| storage.write(&current(API, "torn"), "sha256:e3b0", NOW));
        assert_eq!((deletions.deleted.len(), deletions.failed.len()), (0, 5));
    });
}

#[test]
fn a_list_that_had_to_wait_is_not_carried_out() {
    in_each_shell(|programs| {
        let registry = registry();
        let storage = Storage::of(&registry);
        let list = registry.plan().deletion_list(at(NOW));
        storage.write("../list", list.as_str(), NOW);
        let deletions = list.outcome(&storage.run(&storage.root().join("../list"), programs));
        assert_eq!((deletions.deleted.len(), deletions.failed.len()), (0, 5));
        assert!(deletions.failed[0].reason.contains("wait"), "{deletions:?}");
    });
}

#[test]
fn what_the_registry_says_nothing_about_is_not_deleted() {
    let list = registry().plan().deletion_list(at(NOW));
    for report in ["", "= end\n", "2 deleted\n3 failed disk\n", "0 deleted\n6 deleted\nx\n"] {
        let deletions = list.outcome(report);
        let deleted = usize::from(report.contains("2 deleted"));
        assert_eq!((deletions.deleted.len(), deletions.failed.len()), (deleted, 5 - deleted), "{report}");
    }
}

#[test]
fn nothing_in_a_list_leads_out_of_the_storage() {
    in_each_shell(|programs| {
        let registry = registry();
        let storage = Storage::of(&registry);
        let hex = digest("no tag").hex();
        // Where `..` and absolute names would lead.
        for outside in ["_manifests", "repositories/_manifests", "repositories/team/_manifests"] {
            storage.write(&format!("{outside}/revisions/sha256/{hex}/link"), "precious", OLD);
        }
        storage.write("repositories/team/api/_manifests/precious/link", "precious", OLD);
        let names = [
            "..",
            ".",
            "team/..",
            "../team",
            "/",
            "/etc",
            "team//api",
            "team/api/",
            "Team/api",
            "*",
            "$HOME",
            "-f",
        ];
        let digests = ["..", "../..", "*", &hex[1..], &format!("{hex}/.."), "$(touch x)"];
        let fields =
            ["tag:..", "tag:.", "tag:*", "tag:../precious", "tag:", "tag:a/b", "after:x", "other", "tag:-rf"];
        let lines = names.iter().map(|name| format!("{name} {hex} {OLD}"));
        let lines = lines.chain(digests.iter().map(|digest| format!("{API} {digest} {OLD}")));
        let lines = lines.chain(fields.iter().map(|field| format!("{API} {hex} {OLD} {field}")));
        let lines: Vec<String> = [NOW.to_string()].into_iter().chain(lines).collect();
        let text = format!("{}\n", lines.join("\n"));
        let before = files(&storage.root());
        let report = storage.delete(&text, programs);
        assert!(!report.contains("deleted") && report.ends_with("= end\n"), "{report}");
        assert_eq!(report.matches("invalid").count(), report.lines().count() - 1, "{report}");
        assert_eq!(files(&storage.root()), before);
    });
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn a_name_that_no_image_has_is_not_listed() {
    let mut plan = registry().plan();
    plan.deletions[0].repository = "../../etc".to_owned();
    plan.deletions[1].tags.push("a\nb".to_owned());
    let list = plan.deletion_list(at(NOW));
    assert_eq!(list.as_str().lines().count(), 1 + 3);
    assert_eq!(list.outcome("").failed.len(), 5);
}

#[test]
fn so_much_is_deleted_at_once_and_the_next_clean_up_goes_on() {
    let mut registry = Registry::new();
    for number in 0..10_003 {
        registry.image(API, &format!("image {number}"), &[]);
    }
    let list = registry.plan().deletion_list(at(NOW));
    assert_eq!(list.as_str().lines().count(), 1 + 10_000);
    let report: Vec<String> = (1..=10_000).map(|number| format!("{number} deleted")).collect();
    let deletions = list.outcome(&report.join("\n"));
    assert_eq!((deletions.deleted.len(), deletions.failed.len()), (10_000, 3));
}
