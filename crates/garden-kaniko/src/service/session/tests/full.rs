//! A disk that fills up, wherever it does, is reported as that.

use std::os::unix::fs::symlink;

use super::*;

/// What fails to be written as on a full disk.
fn fill(path: &std::path::Path) {
    let _ = fs::remove_file(path);
    symlink("/dev/full", path).expect("a link");
}

/// An index that is longer than what is read of it at once.
fn long_index() -> PackIndex {
    service::index_of_members(5000, 1)
}

async fn store_with_long_index(session: &mut Conversation) -> Result<Digest> {
    let (name, chunks) = pack(&noise(5000));
    let chunks = stream::iter(chunks.into_iter().map(Ok));
    session.store(5000, chunks, async || Ok((name, long_index())), || {}).await?;
    Ok(name)
}

#[tokio::test]
async fn a_disk_that_is_full_for_any_part_of_a_pack_is_told_and_the_conversation_goes_on() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let mut session = service.session(&Key::random()).await;
    for part in ["", ".index"] {
        fill(&service.path(&format!("packs/v1/.upload.{}{part}", service.the_session())));
        let full = store_with_long_index(&mut session).await;
        assert!(matches!(full, Err(SessionError::Full)), "`{part}`: {full:?}");
        assert!(service.packs().is_empty());
        let name = store_with_long_index(&mut session).await.expect("there is room again");
        fs::remove_file(service.path(&format!("packs/v1/{}.pack", name.hex()))).expect("removed");
        fs::remove_file(service.path(&format!("packs/v1/{}.index", name.hex()))).expect("removed");
    }
    let name = store(&mut session, &noise(5000)).await.expect("stored");
    assert_eq!(session.rope(&[range(name, 0, 5000)]).await.expect("an answer"), RopeAnswer::Going);
    fill(&service.path(&format!("packs/v1/.upload.{}.index", service.the_session())));
    let full = session.join(name, &long_index()).await;
    assert!(matches!(full, Err(SessionError::Full)), "{full:?}");
    assert_eq!(session.inventory().await.expect("the conversation goes on").len(), 1);
}

#[tokio::test]
async fn a_disk_that_is_full_for_what_the_pod_is_given_is_told() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let key = Key::random();
    let mut session = service.session(&key).await;
    let name = store(&mut session, b"context").await.expect("stored");
    let rope = [range(name, 0, 7)];
    let in_session = |file: &str| service.path(&format!("run/sessions/{}/{file}", service.the_session()));
    fill(&in_session("rope"));
    let full = session.rope(&rope).await;
    assert!(matches!(full, Err(SessionError::Full)), "{full:?}");
    fs::remove_file(in_session("rope")).expect("removed");
    fill(&in_session("start"));
    serve(&mut session, &key, &rope, b"context", b"end").await.expect("sent");
    let full = session.event().await;
    assert!(matches!(full, Err(SessionError::Full)), "{full:?}");
}

#[tokio::test]
#[ignore = "mounts a file system, so it needs root"]
async fn a_full_volume_is_told_and_the_conversation_goes_on() {
    garden_test_programs::needs!(Busybox);
    let service = Service::start();
    let packs = service.path("packs");
    let mount = |arguments: &[&str]| {
        let mounted = std::process::Command::new("mount").args(arguments).arg(&packs).status();
        assert!(mounted.expect("mount").success());
    };
    mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let mut session = service.session(&Key::random()).await;
    let full = store(&mut session, &noise(3 << 20)).await;
    assert!(matches!(full, Err(SessionError::Full)), "{full:?}");
    store(&mut session, &noise(1 << 18)).await.expect("there is room for this");
    drop(session);
    // What no build needs gives way.
    let mut session = service.session(&Key::random()).await;
    store(&mut session, &noise(900_000)).await.expect("there is room without the other");
    drop(session);
    service.is_empty_but_for_packs().await;
    assert_eq!(service.packs(), [Digest::of(&noise(900_000)).hex()]);
    let unmounted = std::process::Command::new("umount").arg(&packs).status();
    assert!(unmounted.expect("umount").success());
}
