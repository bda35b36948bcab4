//! A service that says nothing, or never ends. A connection that falls silent looks like one that is slow, for a while.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;

/// A session, and the other side of it.
async fn announced() -> (Session<DuplexStream>, BufReader<DuplexStream>) {
    let (near, far) = duplex(1 << 16);
    let service = async {
        let mut far = BufReader::new(far);
        far.read_exact(&mut vec![0; SESSION.len()]).await.expect("the script");
        far.read_line(&mut String::new()).await.expect("the announcement");
        far.read_exact(&mut vec![0; DELIVER.len()]).await.expect("another script");
        far.write_all(b"announced\n").await.expect("written");
        far
    };
    let (session, far) = tokio::join!(Session::begin(near, "name"), service);
    (session.expect("announced"), far)
}

/// Formats a line over and over, as long as anybody listens.
async fn repeat(far: &mut BufReader<DuplexStream>, line: &str) {
    while far.write_all(line.as_bytes()).await.is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nothing_more_is_noticed_while_a_pack_is_sent() {
    // Open, and nobody reads.
    let (mut session, _far) = announced().await;
    let contents = noise(5 << 20);
    let (name, chunks) = pack(&contents);
    let chunks = stream::iter(chunks.into_iter().map(Ok));
    let started = Instant::now();
    let finished = async || Ok((name, service::index_of(contents.len())));
    let storing = session.store(contents.len() as u64, chunks, finished, || {});
    // Not for ever, where nothing else ends it.
    let stored = tokio::time::timeout(Duration::from_secs(3600), storing).await.expect("it is noticed");
    assert!(
        matches!(&stored, Err(SessionError::Broken(error)) if error.kind() == io::ErrorKind::TimedOut),
        "{stored:?}"
    );
    assert_eq!(started.elapsed(), STALLED_AFTER);
    for outcome in [session.inventory().await.map(drop), session.hand_over(b"start", &contents).await] {
        assert!(matches!(outcome, Err(SessionError::Broken(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn answers_without_an_end_are_given_up() {
    let pack = Digest::of(b"pack");
    let is_unexpected = |error: &SessionError| matches!(error, SessionError::Unexpected(_));
    let listed = format!("pack {} 1\n", pack.hex());
    for line in [listed.as_str(), "pulling\n"] {
        let (mut session, mut far) = announced().await;
        let inventory = tokio::select! {
            inventory = session.inventory() => inventory,
            () = repeat(&mut far, line) => panic!("{line}: the session has gone"),
        };
        assert!(inventory.is_err_and(|error| is_unexpected(&error)), "{line}");
    }
    let (mut session, mut far) = announced().await;
    far.write_all(format!("index {}\n", LONGEST_INDEXES + 1).as_bytes()).await.expect("written");
    let indexes = session.indexes(&[pack]).await;
    assert!(indexes.is_err_and(|error| is_unexpected(&error)));
}
