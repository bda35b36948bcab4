//! What a second build sends.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use garden_build_core::BuildRequest;
use garden_build_core::context::Context;
use garden_buildkit::client::file_sync::protocol::FilterRequest;
use garden_buildkit::client::file_sync::{LocalDirectory, MemoryFiles, ScannedTree, Source};

use crate::receiver::{Outcome, sync, sync_with};

struct Project {
    place: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { place: tempfile::tempdir().expect("temporary directory") };
        for path in ["from/src", "to"] {
            fs::create_dir_all(project.place.path().join(path)).expect("directory");
        }
        for index in 0..50 {
            project.write(&format!("src/file{index}"), &format!("{index:05}"), 1_700_000_000);
        }
        project.write("Dockerfile", "FROM scratch", 1_700_000_000);
        project
    }

    fn write(&self, path: &str, text: &str, seconds: u64) {
        let path = self.place.path().join("from").join(path);
        fs::write(&path, text).expect("file");
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(path).expect("file").set_modified(time).expect("time");
    }

    fn from(&self) -> std::path::PathBuf {
        self.place.path().join("from")
    }

    fn context(&self) -> ScannedTree {
        let request = BuildRequest::new("test", self.from());
        ScannedTree::new(Context::scan(&request, &|| false).expect("context").tree().clone())
    }

    fn send(&self, source: impl Source) -> Outcome {
        sync(source, &FilterRequest::default(), &self.to()).succeeded()
    }

    fn to(&self) -> std::path::PathBuf {
        self.place.path().join("to")
    }
}

#[test]
fn a_second_build_sends_the_list_and_the_changed_file_only() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let first = project.send(project.context());
    assert_eq!((first.record.entries(), first.record.files(), first.record.bytes()), (52, 51, 262));
    project.write("src/file7", "changed", 1_700_000_001);
    fs::remove_file(project.from().join("src/file8")).expect("removed");
    let second = project.send(project.context());
    assert_eq!((second.record.entries(), second.record.files(), second.record.bytes()), (51, 1, 7));
    let changes: Vec<&str> = second.changes.keys().map(String::as_str).collect();
    assert_eq!(changes, ["src/file7", "src/file8"]);
    let third = project.send(project.context());
    assert_eq!((third.record.files(), third.changes.len()), (0, 0));
}

#[test]
fn an_edit_that_keeps_size_and_time_is_sent_of_a_scanned_context() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    project.send(project.context());
    project.write("src/file7", "XXXXX", 1_700_000_000);
    assert_eq!(project.send(project.context()).record.files(), 1);
    assert_eq!(fs::read(project.to().join("src/file7")).expect("file"), b"XXXXX");
    // A plain directory has nothing to tell it by, as with BuildKit's own client.
    let plain = || LocalDirectory::new(&project.from()).expect("source");
    project.send(plain());
    project.write("src/file7", "YYYYY", 1_700_000_000);
    assert_eq!(project.send(plain()).record.files(), 0);
}

#[test]
fn times_in_the_build_are_the_real_ones_to_the_millisecond() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    project.send(project.context());
    let time = |root: &Path| {
        let modified = root.join("src/file7").metadata().expect("metadata").modified().expect("time");
        modified.duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
    };
    assert_eq!(time(&project.to()), 1_700_000_000_000);
}

#[test]
fn files_in_memory_arrive_and_are_sent_again_only_if_they_changed() {
    garden_test_programs::needs!(Go);
    let project = Project::new();
    let files = |text: &str| MemoryFiles::new([("Dockerfile", text.as_bytes()), ("x/.dockerignore", b"*")]);
    project.send(files("FROM a"));
    assert_eq!(fs::read(project.to().join("Dockerfile")).expect("file"), b"FROM a");
    assert_eq!(project.send(files("FROM a")).record.files(), 0);
    assert_eq!(project.send(files("FROM b")).record.files(), 1);
    // The daemon asks for Dockerfiles without comparing.
    let filter = FilterRequest { follow: vec!["Dockerfile".to_owned()], ..FilterRequest::default() };
    let outcome = sync_with(files("FROM b"), &filter, &project.to(), &["-differ", "none"], |packets| packets);
    assert_eq!(outcome.succeeded().record.files(), 1);
    assert!(!project.to().join("x").exists());
}
