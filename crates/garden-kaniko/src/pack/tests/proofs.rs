//! Whoever may write to the service may have stored anything: what nobody has proven builds nothing.

use super::*;
use crate::pack::proof::Evidence;

/// The numbers of the parts that have to be decompressed to be proven, of how many.
fn plain_parts(assembly: &Assembly) -> (Vec<usize>, usize) {
    let numbered = assembly.parts.iter().enumerate();
    let plain = numbered.filter(|(_, part)| matches!(part.evidence, Evidence::Pieces(_)));
    (plain.map(|(number, _)| number).collect(), assembly.parts.len())
}

#[test]
fn what_a_client_has_written_itself_is_proven_without_being_read_again_but_for_what_is_beside_a_change() {
    let project = Project::new(&[]);
    for number in 0..40 {
        project.write(&format!("{number:02}"), &noise(number, 600_000));
    }
    let mut service = Service::default();
    let first = Plan::of(&project.scan(), &service.known);
    let (_, assembly) = write(&first);
    // The last one is what is left.
    assert_eq!(plain_parts(&assembly), (vec![], 6));
    service.deliver(&project.scan());
    project.write("20", &noise(100, 600_000));
    service.deliver(&project.scan());
    let changed = Plan::of(&project.scan(), &service.known).assembly().expect("complete");
    let (plain, all) = plain_parts(&changed);
    let bytes: u64 = plain.iter().map(|number| changed.parts[*number].length).sum();
    assert!(
        plain.len() <= 2 && all > plain.len() + 4 && bytes < 2 * (5 << 20),
        "{plain:?} of {all}, {bytes} bytes"
    );
}

#[test]
fn what_another_client_has_written_is_proven_by_the_files_alone() {
    let large = noise(1, 5 * BLOCK as usize + 7);
    let project = Project::new(&[("a", &noise(2, 9_000_000)), ("large", &large), ("small", b"1")]);
    let mut service = Service { has_many_clients: true, ..Service::default() };
    service.deliver(&project.scan());
    let assembly = Plan::of(&project.scan(), &service.known).assembly().expect("complete");
    let (plain, all) = plain_parts(&assembly);
    assert_eq!((plain.len(), all), (3, 3));
    project.write("small", b"2");
    service.deliver(&project.scan());
}

#[test]
fn members_that_are_not_what_their_keys_stand_for_are_found_wherever_they_are() {
    let project = Project::new(&[("a", &noise(1, 100_000)), ("b", b"good"), ("c", &noise(2, 6_000_000))]);
    let (_, honest) = write(&Plan::of(&project.scan(), &KnownPacks::new()));
    let honest = honest.new_pack.expect("a pack").index;
    // The same entries with other content, stored under the keys of the honest ones.
    for path in ["a", "b", "c"] {
        let poisoned =
            Project::new(&[("a", &noise(1, 100_000)), ("b", b"good"), ("c", &noise(2, 6_000_000))]);
        let mut content = fs::read(poisoned.path(path)).expect("a file");
        *content.last_mut().expect("not empty") ^= 1;
        poisoned.write(path, &content);
        let (bytes, written) = write(&Plan::of(&poisoned.scan(), &KnownPacks::new()));
        let written = written.new_pack.expect("a pack").index;
        let mut index = PackIndex::default();
        for (piece, key) in honest.keys_from(0).enumerate() {
            index.push(key, u32::try_from(written.length(piece..piece + 1)).expect("short"));
        }
        let mut service = Service::default();
        service.store(bytes, &index, None);
        let plan = Plan::of(&project.scan(), &service.known);
        let assembly = plan.assembly().expect("nobody notices");
        let stream: Vec<u8> = assembly.rope.iter().flat_map(|range| service.range(range)).copied().collect();
        assert!(decompressed(&stream) == archive(&poisoned.scan()), "{path}: other files would be built");
        let proofs = plan.prove(&assembly.parts, &|| false).expect("proven");
        assert!(first_disproved(&stream, &assembly.parts, &proofs).is_some(), "{path}");
    }
}

#[test]
fn a_file_that_changes_while_a_proof_is_made_is_named() {
    let project = Project::new(&[("a", &noise(1, 3_000_000)), ("b", b"1")]);
    let mut service = Service { has_many_clients: true, ..Service::default() };
    service.deliver(&project.scan());
    for (path, content) in [("a", noise(2, 3_000_000)), ("b", b"2".to_vec())] {
        let plan = Plan::of(&project.scan(), &service.known);
        let assembly = plan.assembly().expect("complete");
        let before = fs::read(project.path(path)).expect("a file");
        project.write(path, &content);
        let error = plan.prove(&assembly.parts, &|| false).expect_err("changed");
        assert!(error.to_string().contains(path), "{error}");
        project.write(path, &before);
    }
    let plan = Plan::of(&project.scan(), &service.known);
    let assembly = plan.assembly().expect("complete");
    assert!(matches!(plan.prove(&assembly.parts, &|| true), Err(ContextError::Cancelled)));
}

#[test]
fn members_that_nobody_of_ours_writes_are_not_used() {
    let mut index = PackIndex::default();
    index.push(Key::new([1; Key::LENGTH]), 1 << 30);
    let added = KnownPacks::new().add(Digest::of(b"pack"), 1 << 30, index, None);
    assert_eq!(added, Err(IndexError::Damaged), "the pod would keep all of it on its disk");
}
