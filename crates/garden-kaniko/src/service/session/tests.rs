//! The scripts themselves, run by a busybox of this machine, without a cluster.

mod altered;
mod full;
mod service;
mod silent;

use std::fs;
use std::time::Duration;

use crate::pack::{KnownPacks, Proof};
use futures::stream;

use self::service::{Conversation, Pod, Service};
use super::*;
use crate::service::{Key, handover};

/// A pack whose name and index are made up as far as the service cares: it looks into neither.
fn pack(contents: &[u8]) -> (Digest, Vec<Bytes>) {
    (Digest::of(contents), contents.chunks(300_000).map(Bytes::copy_from_slice).collect())
}

async fn store(session: &mut Conversation, contents: &[u8]) -> Result<Digest> {
    let (name, chunks) = pack(contents);
    let chunks = stream::iter(chunks.into_iter().map(Ok));
    let index = service::index_of(contents.len());
    session.store(contents.len() as u64, chunks, async || Ok((name, index)), || {}).await?;
    Ok(name)
}

fn range(pack: Digest, offset: u64, length: u64) -> PackRange {
    PackRange { pack, offset, length }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Gives the pod with `key` the ranges, which have to be the `contents`, and the end.
async fn serve(
    session: &mut Conversation,
    key: &Key,
    rope: &[PackRange],
    contents: &[u8],
    end: &[u8],
) -> Result<()> {
    assert_eq!(session.rope(rope).await?, RopeAnswer::Going);
    let mut rest = contents;
    let parts = rope.iter().map(|range| {
        let (part, after) = rest.split_at(usize::try_from(range.length).expect("in memory"));
        rest = after;
        (range.length, Proof::Stored(Digest::of(part)))
    });
    session.hand_over(&handover::start(key, parts, end), end).await
}

#[tokio::test]
async fn what_is_sent_in_parts_arrives_as_a_whole_and_the_pod_tells_how_it_ended() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    let pod = Pod::start(&service, &key, 3);
    let (one, two) = (noise(2_500_000), b"two".repeat(1000));
    let first = store(&mut session, &one).await.expect("stored");
    let second = store(&mut session, &two).await.expect("stored");
    assert_eq!(session.inventory().await.expect("packs").len(), 2);
    let rope = [range(first, 1000, 2_400_001), range(second, 0, 3000), range(first, 0, 7)];
    let expected = [&one[1000..2_401_001], &two, &one[..7]].concat();
    serve(&mut session, &key, &rope, &expected, b"the end").await.expect("handed over");
    assert_eq!(session.event().await.expect("an event"), PodEvent::Pulling);
    assert_eq!(session.event().await.expect("an event"), PodEvent::Delivered);
    let ended = pod.ended().await;
    assert_eq!((ended.code, ended.received == [&expected[..], b"the end"].concat()), (3, true));
    let proof = key.proof_of_end("3", "sha256:built");
    let said = format!("garden-build: end 3 sha256:built {proof}\n");
    assert_eq!((ended.stdout, ended.stderr), (said.clone(), said));
    drop(session);
    service.is_empty_but_for_packs().await;
}

#[tokio::test]
async fn a_context_without_files_is_only_its_end() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    serve(&mut session, &key, &[], b"", b"the end").await.expect("handed over");
    let ended = Pod::start(&service, &key, 0).ended().await;
    assert_eq!((ended.code, ended.received.as_slice()), (0, b"the end".as_slice()));
}

#[tokio::test]
async fn who_knows_no_name_or_comes_second_is_told_nothing() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    let contents = noise(100_000);
    let name = store(&mut session, &contents).await.expect("stored");
    serve(&mut session, &key, &[range(name, 0, 100_000)], &contents, b"end").await.expect("handed over");
    let pull = key.pull_name();
    let other = Key::random();
    for line in [
        String::new(),
        "pull".to_owned(),
        format!("pull {}", other.pull_name()),
        format!("pull {}", &pull[..63]),
        format!("pull {pull}0"),
        format!("pull ../{}", &pull[3..]),
        format!("get {pull}"),
        "pull *".to_owned(),
    ] {
        assert_eq!(service.ask(&line).await, b"", "{line}");
    }
    let given = service.ask(&format!("pull {pull}")).await;
    assert!(given.ends_with(&[&contents[..], b"end"].concat()));
    assert_eq!(service.ask(&format!("pull {pull}")).await, b"", "a second time");
}

#[tokio::test]
async fn a_pod_whose_session_ends_is_told_at_once_and_ends_its_build() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    for ready in [false, true] {
        let key = Key::random();
        let mut session = service.session(&key).await;
        let pod = Pod::start(&service, &key, 0);
        if ready {
            let name = store(&mut session, b"context").await.expect("stored");
            assert_eq!(session.rope(&[range(name, 0, 7)]).await.expect("an answer"), RopeAnswer::Going);
            // The pod comes when it comes, but is given nothing.
            assert_eq!(session.event().await.expect("an event"), PodEvent::Pulling);
        } else {
            service.until_claimed(&key).await;
        }
        drop(session);
        let ended = pod.ended().await;
        assert_eq!(ended.code, 1);
        // So the client looks for the cause on its own side.
        assert!(ended.stderr.starts_with("garden-build: the build context broke off: "), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    service.is_empty_but_for_packs().await;
}

#[tokio::test]
async fn a_pod_without_a_service_says_so() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let address = service.stop().await;
    let ended = Pod::start_at(&address, &key, 0).ended().await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("can't connect to remote host"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_executor_that_ends_before_its_context_comes_has_the_last_word() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let _session = service.session(&key).await;
    let ended = Pod::start_with(&service.address(), &key, "exit 7").ended().await;
    assert_eq!(ended.code, 7);
    assert!(ended.stdout.starts_with("garden-build: end 7 none "), "{}", ended.stdout);
}

#[tokio::test]
async fn sessions_side_by_side_do_not_disturb_each_other() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let build = async |number: u8| {
        let key = Key::random();
        let mut session = service.session(&key).await;
        let pod = Pod::start(&service, &key, 0);
        let contents = vec![number; 300_000];
        let name = store(&mut session, &contents).await.expect("stored");
        let shared = store(&mut session, b"the same for all").await.expect("stored");
        let rope = [range(name, 0, 300_000), range(shared, 0, 16)];
        let context = [&contents[..], b"the same for all"].concat();
        serve(&mut session, &key, &rope, &context, &[number]).await.expect("handed over");
        assert!(pod.ended().await.received == [&context[..], &[number]].concat());
    };
    tokio::join!(build(1), build(2), build(3), build(4));
    service.is_empty_but_for_packs().await;
    assert_eq!(service.packs().len(), 5);
}

#[tokio::test]
async fn what_is_not_what_was_sent_is_not_kept() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let mut session = service.session(&Key::random()).await;
    let chunks = || stream::iter([Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"de"))]);
    let wrong_sum = async || Ok((Digest::of(b"abcd"), service::index_of(5)));
    assert!(matches!(session.store(5, chunks(), wrong_sum, || {}).await, Err(SessionError::Damaged)));
    let wrong_size = async || Ok((Digest::of(b"abcde"), service::index_of(6)));
    assert!(matches!(session.store(5, chunks(), wrong_size, || {}).await, Err(SessionError::Damaged)));
    assert!(service.packs().is_empty());
    // The conversation goes on.
    store(&mut session, b"abcde").await.expect("stored");
    assert_eq!(service.packs(), [Digest::of(b"abcde").hex()]);
}

#[tokio::test]
async fn an_upload_that_breaks_off_anywhere_leaves_nothing() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let contents = noise(400_000);
    let (name, chunks) = pack(&contents);
    let index = service::index_of(contents.len());
    let mut said = format!("inventory\nstore 400\nchunk {}\n", contents.len()).into_bytes();
    said.extend(chunks.concat());
    let index = index.to_bytes(&name);
    said.extend(format!("end\nsum {} {} {}\n", name.hex(), contents.len(), index.len()).bytes());
    said.extend(&index);
    for cut in [5, 15, 25, 60, 100_000, 399_999, said.len() - index.len() - 3, said.len() - 1] {
        let mut session = service.session(&Key::random()).await;
        session.output.write_all(&said[..cut]).await.expect("written");
        session.output.flush().await.expect("written");
        drop(session);
        service.is_empty_but_for_packs().await;
        assert!(service.packs().is_empty(), "cut at {cut}");
    }
}

#[tokio::test]
async fn what_a_killed_session_leaves_goes_with_the_next() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    for point in 0..6_u32 {
        let key = Key::random();
        let mut session = service.session(&key).await;
        let pod = (point % 2 == 0).then(|| Pod::start(&service, &key, 0));
        if point >= 2 {
            session.say("store 10\nchunk 100\nabc").await.expect("said");
        }
        if point >= 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        session.kill().await;
        if let Some(pod) = pod {
            assert_eq!(pod.ended().await.code, 1);
        }
        drop(service.session(&Key::random()).await);
        service.is_empty_but_for_packs().await;
        assert!(service.packs().is_empty());
    }
}

#[tokio::test]
async fn a_pack_that_was_damaged_while_the_service_was_stopped_is_gone() {
    garden_test_programs::needs!(Busybox);
    let mut service = Service::start();
    let mut session = service.session(&Key::random()).await;
    let good = store(&mut session, &noise(100_000)).await.expect("stored");
    let bad = store(&mut session, &noise(200_000)).await.expect("stored");
    drop(session);
    service.restart().await;
    let mut damaged = noise(200_000);
    damaged[150_000] ^= 1;
    fs::write(service.path(&format!("packs/v1/{}.pack", bad.hex())), damaged).expect("writable");
    let mut session = service.session(&Key::random()).await;
    let rope = [range(good, 0, 100_000), range(bad, 0, 10)];
    assert_eq!(session.rope(&rope).await.expect("an answer"), RopeAnswer::Gone(bad));
    assert_eq!(service.packs(), [good.hex()]);
    // Sent again, it is there again.
    store(&mut session, &noise(200_000)).await.expect("stored");
    assert_eq!(session.rope(&rope).await.expect("an answer"), RopeAnswer::Going);
}

#[tokio::test]
async fn what_is_not_there_or_too_short_is_gone() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let mut session = service.session(&Key::random()).await;
    let name = store(&mut session, b"12345").await.expect("stored");
    let missing = Digest::of(b"missing");
    for (rope, gone) in [
        (vec![range(name, 0, 5), range(missing, 0, 1)], missing),
        (vec![range(name, 0, 6)], name),
        (vec![range(name, 0, 2), range(name, 3, 3)], name),
    ] {
        assert_eq!(session.rope(&rope).await.expect("an answer"), RopeAnswer::Gone(gone));
    }
    let index = session.indexes(&[missing, name]).await.expect("indexes");
    assert_eq!(index, [None, Some(service::index_of(5).to_bytes(&name))]);
}

#[tokio::test]
async fn old_packs_and_those_beyond_the_room_are_dropped_but_none_that_a_build_needs() {
    garden_test_programs::needs!(Busybox);
    let service = Service::with_room_for(1);
    let mut session = service.session(&Key::random()).await;
    let mut names = Vec::new();
    for number in 0..4_u8 {
        names.push(store(&mut session, &vec![number; 400_000]).await.expect("stored"));
        service.age(&names[usize::from(number)], Duration::from_secs(3600 - 60 * u64::from(number)));
    }
    // All are marked as needed by the session that has sent them.
    assert_eq!(service.packs().len(), 4);
    drop(session);
    service.is_empty_but_for_packs().await;

    let mut session = service.session(&Key::random()).await;
    let kept = session.inventory().await.expect("packs");
    assert_eq!(kept.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [names[3], names[2]], "the latest");
    assert_eq!(session.rope(&[range(names[2], 0, 1)]).await.expect("an answer"), RopeAnswer::Going);
    service.age(&names[2], Duration::from_secs(8 * 24 * 3600));
    service.age(&names[3], Duration::from_secs(8 * 24 * 3600));
    let mut other = service.session(&Key::random()).await;
    assert_eq!(other.inventory().await.expect("packs"), [(names[2], 400_000)]);
}

#[tokio::test]
async fn many_parts_become_one_pack() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    let contents = noise(50_000);
    let name = store(&mut session, &contents).await.expect("stored");
    let rope: Vec<_> = (0..250).rev().map(|part| range(name, part * 200, 200)).collect();
    let joined: Vec<u8> = contents.chunks(200).rev().flatten().copied().collect();
    serve(&mut session, &key, &rope, &joined, b"end").await.expect("handed over");
    let index = service::index_of(50_000);
    let sum = session.sum(50_000).await.expect("a sum");
    assert_eq!(sum, Digest::of(&joined));
    session.join(sum, &index).await.expect("joined");
    assert_eq!(fs::read(service.path(&format!("packs/v1/{}.pack", sum.hex()))).expect("a pack"), joined);
    assert_eq!(session.indexes(&[sum]).await.expect("indexes"), [Some(index.to_bytes(&sum))]);
}

#[tokio::test]
async fn a_real_context_is_a_gzip_file_in_the_pod() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    let (context, directory) = service::context();
    let plan = crate::pack::Plan::of(&context, &KnownPacks::new());
    let mut written = Vec::new();
    let assembly = plan.write(&mut written, &|| false, &mut |_| {}).expect("written");
    let pack = assembly.new_pack.expect("a pack");
    let chunks = stream::iter([Ok(Bytes::from(written))]);
    let mut known = KnownPacks::new();
    known.add(pack.name, pack.index.pack_size(), pack.index.clone(), None).expect("its own index");
    session.store(1 << 20, chunks, async || Ok((pack.name, pack.index)), || {}).await.expect("stored");
    // As another client, which has not compressed it.
    let plan = crate::pack::Plan::of(&context, &known);
    let assembly = plan.assembly().expect("complete");
    let proofs = plan.prove(&assembly.parts, &|| false).expect("proven");
    let parts: Vec<_> = assembly.parts.iter().map(|part| part.length).zip(proofs).collect();
    assert!(parts.iter().all(|(_, proof)| matches!(proof, Proof::Plain(_))), "{parts:?}");
    let end = crate::delivery::Delivery::of(&context).tail().expect("an end");
    let pod = Pod::start(&service, &key, 0);
    assert_eq!(session.rope(&assembly.rope).await.expect("an answer"), RopeAnswer::Going);
    session.hand_over(&handover::start(&key, parts.into_iter(), &end), &end).await.expect("handed over");
    let received = pod.ended().await.received;
    let unpacked = service::unpack(&received);
    for (path, contents) in service::FILES {
        assert_eq!(unpacked.get(path).map(Vec::as_slice), Some(contents.as_bytes()), "{path}");
    }
    drop(directory);
}
