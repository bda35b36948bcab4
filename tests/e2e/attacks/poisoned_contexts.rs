//! Somebody who may run commands in the pod of kaniko's context service, as every user of it may, has it give others' builds other
//! files than they have sent.

use std::fs;

use garden_build::{Event, Outcome};
use garden_build_core::{Caches, Digest};

use crate::kaniko::context_service::failures::{in_service, service_pod};
use crate::site::{Project, build_with_events, in_project, noise_of, shown, warnings};

/// What an index begins with, and the length of a record: a key of 32 bytes, and the length of the piece. Source:
/// `garden-kaniko/src/pack/index.rs`.
const MAGIC: &[u8] = b"garden-build pack index 2\n";
const RECORD: usize = 36;
const KEY: usize = 32;

const PACKS: &str = "/garden/packs/v1";

const GOOD: u64 = 1;
const EVIL: u64 = 2;

/// Files that do not compress, so that those of one seed take as many bytes as those of another.
fn write_files(project: &Project, seed: u64) {
    project.file("library", noise_of(seed, 200_000));
    project.file("main", noise_of(seed + 10, 1000));
}

/// A build of anything but the good files fails.
fn write_dockerfile(project: &Project) {
    write_files(project, GOOD);
    let sum = |file: &str| Digest::of(&fs::read(project.path().join(file)).unwrap()).hex();
    let sums = format!("{}  /app/library\\n{}  /app/main\\n", sum("library"), sum("main"));
    project.dockerfile(&format!(
        "COPY . /app\nARG CHECK=yes\nRUN if [ $CHECK = yes ]; then printf '{sums}' | sha256sum -c; fi"
    ));
}

async fn build(project: &Project, check: &str) -> Vec<Event> {
    let request = project.request().build_arg("CHECK", check).force(true);
    let (image, events) = build_with_events(&project.builder(), request).await;
    let image = image.unwrap_or_else(|error| panic!("{error}\n{}", shown(&events)));
    assert!(matches!(image.outcome, Outcome::Built { .. }), "{image:?}");
    events
}

/// Has the service keep nothing but what is now sent of the files of `seed`. Returns the pack's name and its index.
async fn store_alone(project: &Project, seed: u64) -> (String, Vec<u8>) {
    in_service(project, &format!("rm -f {PACKS}/*")).await;
    forget(project).await;
    write_files(project, seed);
    build(project, "no").await;
    let pack = in_service(project, &format!("cd {PACKS}; echo *.pack")).await;
    let pack = pack.trim().strip_suffix(".pack").expect("one pack").to_owned();
    let index = in_service(project, &format!("xxd -p {PACKS}/{pack}.index")).await;
    (pack, bytes_of(&index))
}

fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Has this machine know nothing of the service, as one that has never built here.
async fn forget(project: &Project) {
    let owners = service_pod(project).await.metadata.owner_references.unwrap();
    let known =
        Caches::of_user().directory("packs").unwrap().join(Digest::of(owners[0].uid.as_bytes()).hex());
    fs::remove_dir_all(known).unwrap();
}

/// The index that says of the evil pack that it holds what the good one does.
fn forged(evil_pack: &str, evil: &[u8], good: &[u8]) -> Vec<u8> {
    assert_eq!(evil.len(), good.len(), "the same pieces");
    let end = evil.len() - 32;
    let records = MAGIC.len()..end;
    let mut index = MAGIC.to_vec();
    for (evil, good) in evil[records.clone()].chunks(RECORD).zip(good[records].chunks(RECORD)) {
        index.extend([&good[..KEY], &evil[KEY..]].concat());
    }
    let pack: Digest = format!("sha256:{evil_pack}").parse().unwrap();
    let checksum = Digest::of(&[&index[..], pack.as_bytes()].concat());
    index.extend(checksum.as_bytes());
    index
}

/// The build was refused what it was given, said so, and has sent its own files in the second try.
fn assert_refused_and_sent_again(events: &[Event]) {
    let said = warnings(events);
    assert!(
        said.len() == 1 && said[0].contains("gave the builder's pod something else than was sent"),
        "{}",
        shown(events)
    );
}

#[tokio::test]
async fn an_index_that_names_other_files_as_the_victim_s_builds_nothing() {
    in_project("attack-index", async |project| {
        write_dockerfile(project);
        build(project, "yes").await;
        let (_, good) = store_alone(project, GOOD).await;
        let (pack, evil) = store_alone(project, EVIL).await;
        let forged = hexadecimal(&forged(&pack, &evil, &good));
        in_service(project, &format!("echo {forged} | xxd -r -p > {PACKS}/{pack}.index")).await;
        forget(project).await;
        write_files(project, GOOD);

        assert_refused_and_sent_again(&build(project, "yes").await);
        // What was refused once is not asked for again.
        assert!(warnings(&build(project, "yes").await).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_pack_that_is_exchanged_for_another_builds_nothing() {
    in_project("attack-pack", async |project| {
        write_dockerfile(project);
        build(project, "yes").await;
        let (evil, _) = store_alone(project, EVIL).await;
        in_service(project, &format!("mv {PACKS}/{evil}.pack /garden/run/evil")).await;
        // The victim's own, of which it knows all.
        write_files(project, GOOD);
        build(project, "yes").await;
        let packs = in_service(project, &format!("cd {PACKS}; echo *.pack")).await;
        in_service(project, &format!("cat /garden/run/evil > {PACKS}/{}", packs.trim())).await;

        assert_refused_and_sent_again(&build(project, "yes").await);
        assert!(warnings(&build(project, "yes").await).is_empty());
    })
    .await;
}
