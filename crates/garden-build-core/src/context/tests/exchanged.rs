//! A directory that somebody exchanges for a link while it is scanned. `cancelled` is asked before each entry, so it is
//! where the exchange happens: always at the same moment.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A project with a directory `d`, and a directory outside that has the same names in it.
struct Trap {
    project: Project,
    outside: tempfile::TempDir,
}

impl Trap {
    fn new(files: &[(&str, &str)]) -> Self {
        let outside = tempfile::tempdir().expect("temporary directory");
        for (path, _) in files {
            let path = outside.path().join(path.strip_prefix("d/").expect("in the directory"));
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, "of nobody's business").expect("file");
        }
        Self { project: Project::new(files), outside }
    }

    /// Puts a link that leads out in the place of `d`.
    fn spring(&self) {
        fs::rename(self.project.path("d"), self.project.path("../").join(self.aside())).expect("moved");
        symlink(self.outside.path(), self.project.path("d")).expect("link");
    }

    fn aside(&self) -> String {
        format!("{}-aside", self.project.0.path().file_name().expect("name").to_string_lossy())
    }

    /// What the exchange before the entry `number` makes of a scan.
    fn scan(&self, request: &BuildRequest, number: usize) -> Result<Context, ContextError> {
        let asked = AtomicUsize::new(0);
        let context = Context::scan(request, &|| {
            if asked.fetch_add(1, Ordering::Relaxed) + 1 == number {
                self.spring();
            }
            false
        });
        assert!(asked.into_inner() >= number, "the scan has fewer entries");
        context
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.project.path("../").join(self.aside()));
    }
}

/// Whether anything of a scan comes from outside.
fn leaks(context: &Context) -> bool {
    let digest = Digest::of(b"of nobody's business");
    let is_outside =
        |entry: Entry| matches!(entry.kind, EntryKind::File { digest: found, .. } if found == digest);
    context.manifest().entries().any(is_outside)
}

#[test]
fn a_directory_that_becomes_a_link_before_it_is_walked_through_is_not_followed() {
    let trap = Trap::new(&[("d/e/f", "inside")]);
    // The first entry is the Dockerfile, the second is `d` itself, the third is `d/e`.
    for number in [1, 2, 3] {
        let trap = if number == 1 { &trap } else { &Trap::new(&[("d/e/f", "inside")]) };
        match trap.scan(&trap.project.request(), number) {
            Err(ContextError::Changed(path)) => assert!(path.to_string().starts_with('d'), "{path}"),
            Ok(context) => assert!(!leaks(&context), "{number}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_directory_that_becomes_a_link_before_its_files_are_read_is_not_followed() {
    let trap = Trap::new(&[("d/f", "inside")]);
    // The Dockerfile, `d`, and `d/f`, which is read afterwards.
    match trap.scan(&trap.project.request(), 3) {
        Err(ContextError::Changed(path)) => assert_eq!(path, "d/f"),
        Ok(context) => assert!(!leaks(&context)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_file_is_not_opened_through_a_link_that_was_a_directory_when_it_was_scanned() {
    let trap = Trap::new(&[("d/f", "inside")]);
    let context = trap.project.scan().expect("context");
    trap.spring();
    let entry = context.manifest().find("d/f").expect("an entry");
    assert!(matches!(context.tree().open(&entry), Err(ContextError::Changed(path)) if path == "d/f"));
}

#[test]
fn the_context_is_the_directory_that_was_opened_even_if_another_takes_its_place() {
    let project = Project::new(&[("d/f", "inside")]);
    let (root, aside) = (project.path("../"), format!("{}-root", project.0.path().display()));
    let asked = AtomicUsize::new(0);
    let context = Context::scan(&project.request(), &|| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            fs::rename(project.0.path(), &aside).expect("moved");
            symlink(&root, project.0.path()).expect("link");
        }
        false
    });
    fs::remove_file(project.0.path()).expect("removed");
    fs::rename(&aside, project.0.path()).expect("moved back");
    let names: Vec<String> = paths(&context.expect("context")).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Dockerfile", "d", "d/f"]);
}
