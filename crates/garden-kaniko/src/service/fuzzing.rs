//! A context service that answers anything.

use garden_build_core::Digest;

use super::session::{RopeAnswer, Session, SessionError};
use crate::pack::{KnownPacks, PackIndex, PackRange};

/// Has a whole conversation with a service that says `data`, whatever it is asked.
///
/// # Panics
/// If the conversation does not come to its end.
pub fn context_service(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if let Err(error) = runtime.block_on(converse(data)) {
        let shown = error.to_string();
        assert!(!shown.is_empty() && shown.len() <= 16 * 1024, "an error of {} bytes", shown.len());
    }
}

async fn converse(data: &[u8]) -> Result<(), SessionError> {
    let stream = tokio::io::join(data, tokio::io::sink());
    let mut session = Session::begin(stream, "name").await?;
    let packs = session.inventory().await?;
    let names: Vec<Digest> = packs.iter().map(|(name, _)| *name).collect();
    let indexes = session.indexes(&names).await?;
    assert_eq!(indexes.len(), packs.len());
    let mut known = KnownPacks::new();
    for ((name, size), index) in packs.iter().zip(indexes) {
        let index = index.and_then(|bytes| PackIndex::parse(&bytes, name).ok());
        // What is of no use is as if it was not there.
        let _ = index.map(|index| known.add(*name, *size, index, None));
    }
    let rope: Vec<PackRange> =
        names.iter().map(|pack| PackRange { pack: *pack, offset: 0, length: 1 }).collect();
    if session.rope(&rope).await? == RopeAnswer::Going {
        session.hand_over(b"start", b"end").await?;
        session.event().await?;
        session.event().await?;
        session.sum(1).await?;
    }
    session.join(Digest::of(b""), &PackIndex::default()).await
}
