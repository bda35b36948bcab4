//! A daemon that reports anything.

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use garden_build_core::event_channel;
use prost::Message as _;

use super::{MOST_FOLLOWED, Progress};
use crate::client::file_sync::Journal;
use crate::client::{CONTEXT, updates};

/// Reads reports, each with its length before it.
///
/// # Panics
/// If more is kept of them than they may cost.
pub fn buildkit_progress(mut data: &[u8]) {
    let (events, _stream) = event_channel();
    let journal = Journal::default();
    journal.begin(CONTEXT).finish();
    let mut progress = Progress::new(events, journal);
    let mut steps = Vec::new();
    while let Ok(response) = StatusResponse::decode_length_delimited(&mut data) {
        steps.extend(response.vertexes.iter().map(|vertex| vertex.digest.clone()));
        updates(response).for_each(|update| progress.update(update));
    }
    progress.finish();
    let (cached, run) = progress.counts();
    assert!(cached + run <= steps.len() && progress.size <= 2 * MOST_FOLLOWED);
    for step in &steps {
        let tail = progress.tail(step).iter().map(String::len).sum::<usize>();
        assert!(tail <= 1 << 20 && progress.instruction(step).is_some(), "{step}");
    }
}
