//! Has packs read as the executor will read them: by Go, as one archive.
#![cfg(unix)]

#[path = "../../garden-build-core/tests/support/archives.rs"]
mod archives;
#[allow(dead_code, reason = "other tests need it, too")]
#[path = "../../garden-build-core/tests/support/mod.rs"]
mod support;

use archives::{
    SENTINEL, awkward_context, damage, ends_though_its_input_stays_open, expected, latin_context,
    listed_by_go, small_context,
};
use garden_build_core::Digest;
use garden_build_core::context::Context;
use garden_kaniko::pack::{KnownPacks, Plan, tail};

/// The context as members of a pack, with the tail that comes after.
fn packed(context: &Context) -> Vec<u8> {
    let mut stream = Vec::new();
    let plan = Plan::of(context, &KnownPacks::new());
    plan.write(&mut stream, &|| false, &mut |_| {}).expect("pack");
    stream.extend(tail("delivered", context.dockerfile().contents()).expect("tail"));
    stream
}

#[test]
fn the_executor_reads_a_pack_with_its_tail_as_one_archive() {
    garden_test_programs::needs!(Go);
    for (_directory, context) in [awkward_context(), latin_context()] {
        let output = support::oracle(&["untar"], &packed(&context)).expect("valid");
        let mut listed = listed_by_go(&output);
        let dockerfile = context.dockerfile().contents();
        let facts = |content: &[u8]| (0o644, format!("{} {}", content.len(), Digest::of(content).hex()));
        assert_eq!(listed.remove(SENTINEL), Some(facts(dockerfile)));
        let ignore = listed.remove("delivered/Dockerfile.dockerignore");
        assert_eq!(ignore, Some(facts(b"delivered\ndelivered/**\n")));
        assert_eq!(listed, expected(&context));
    }
}

#[test]
fn the_executor_comes_to_the_end_of_a_pack_though_its_input_stays_open() {
    garden_test_programs::needs!(Go);
    let (_directory, context) = small_context();
    ends_though_its_input_stays_open(&packed(&context));
}

#[test]
fn no_truncated_or_flipped_pack_leads_the_executor_to_the_dockerfile() {
    garden_test_programs::needs!(Go);
    let (_directory, context) = small_context();
    let stream = packed(&context);
    let (tried, _, fooled) = damage(&stream, "delivered/Dockerfile.dockerignore");
    assert!(tried >= 9 * stream.len() as u64, "{tried} of {} bytes", stream.len());
    assert_eq!(fooled, 0, "{} bytes", stream.len());
}
