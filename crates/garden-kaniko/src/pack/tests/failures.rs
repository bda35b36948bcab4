//! What goes wrong while a pack is written ends it at once, and by name.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Many small files, and one of many blocks.
fn project() -> Project {
    let project = Project::new(&[("large", &noise(1, 20 * BLOCK as usize))]);
    for number in 0..400 {
        project.write(&format!("small/{number}"), &noise(number, 10_000));
    }
    project
}

fn plan(project: &Project) -> Plan {
    Plan::of(&project.scan(), &KnownPacks::new())
}

/// Takes so many bytes and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changed_since_the_scan_fails_the_pack_by_name() {
    let project = project();
    let large = noise(1, 20 * BLOCK as usize);
    let last_byte_differs = [&large[..large.len() - 1], &[!large[large.len() - 1]]].concat();
    for (path, content) in [
        ("small/7", &b"shorter"[..]),
        ("small/399", &noise(0, 10_000)),
        ("large", &large[1..]),
        ("large", &[&large[..], b"longer"].concat()),
        ("large", &last_byte_differs),
        ("large", b""),
    ] {
        let plan = plan(&project);
        let before = fs::read(project.path(path)).expect("file");
        project.write(path, content);
        let result = plan.write(io::sink(), &|| false, &mut |_| {});
        assert!(matches!(result, Err(ContextError::Changed(changed)) if changed == path), "{path}");
        project.write(path, &before);
    }
    let gone = plan(&project);
    fs::remove_file(project.path("large")).expect("removed");
    let result = gone.write(io::sink(), &|| false, &mut |_| {});
    let error = result.expect_err("gone");
    assert!(matches!(&error, ContextError::Changed(changed) if *changed == "large"), "{error}");
    let hint = garden_build_core::Error::from(error).hint().expect("a hint").to_owned();
    assert!(hint.contains("add `large` as the last line to .dockerignore"), "{hint}");
}

#[test]
fn a_file_of_which_only_the_beginning_is_missing_is_verified_to_its_end() {
    let bytes = noise(1, 5 * BLOCK as usize);
    let project = Project::new(&[("large", &bytes)]);
    let context = project.scan();
    let (pack, assembly) = write(&Plan::of(&context, &KnownPacks::new()));
    let whole = assembly.new_pack.expect("a pack").index;
    let mut end = PackIndex::default();
    end.extend(&whole, 5..whole.piece_count());
    let mut service = Service::default();
    service.store(pack[usize::try_from(whole.offset(5)).expect("in memory")..].to_vec(), &end, None);
    project.write("large", &[&bytes[..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat());
    let result = Plan::of(&context, &service.known).write(io::sink(), &|| false, &mut |_| {});
    assert!(matches!(result, Err(ContextError::Changed(changed)) if changed == "large"));
}

#[test]
fn an_output_that_fails_ends_everything_with_its_error() {
    let project = project();
    for room in [0, 1_000_000, 13_000_000] {
        let result = plan(&project).write(Full(room), &|| false, &mut |_| {});
        let Err(ContextError::Write(error)) = result else { panic!("{room}: {result:?}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_cancelled_pack_stops_in_the_middle() {
    let project = project();
    let plan = plan(&project);
    for after in [0, 1, 5_000_000] {
        let written = AtomicU64::new(0);
        let cancelled = || written.load(Ordering::Relaxed) >= after;
        let result = plan.write(io::sink(), &cancelled, &mut |bytes| written.store(bytes, Ordering::Relaxed));
        assert!(matches!(result, Err(ContextError::Cancelled)), "{after}");
        assert!(written.into_inner() < plan.missing_bytes());
    }
}
