//! A daemon that asks for files.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use futures::{FutureExt as _, StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};

use super::protocol::{Packet, SyncRequest, send};
use super::{Journal, MemoryFiles, SyncState};

/// Stands alone in the line between the lines of the request's metadata and the packets.
const SEPARATOR: &[u8] = b"\n%%\n";

/// What is there to be asked for.
const FILES: [(&str, &str); 4] =
    [("Dockerfile", "FROM scratch\n"), ("a/b", "1"), ("a/c.o", ""), ("d", "a longer text")];

/// Reads what of a directory a daemon wants, and then packets, each with its length before it.
///
/// # Panics
/// If it is sent anything that it did not ask for, or twice, or anything after the end.
pub fn file_sync(data: &[u8]) {
    let end = data.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR);
    let (head, packets) = end.map_or((data, &b""[..]), |end| (&data[..end], &data[end + SEPARATOR.len()..]));
    let Ok(request) = SyncRequest::from_metadata(&metadata(head)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(sync(request, read(packets)));
}

fn metadata(head: &[u8]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for line in head.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(key), Ok(value)) =
            (MetadataKey::from_bytes(&line[..colon]), MetadataValue::try_from(value))
        {
            metadata.append(key, value);
        }
    }
    metadata
}

fn read(mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Ok(packet) = Packet::decode_length_delimited(&mut bytes) {
        packets.push(packet);
    }
    packets
}

async fn sync(request: SyncRequest, packets: Vec<Packet>) {
    let record = Journal::default().begin(&request.directory);
    let (listed, is_listed) = oneshot::channel::<()>();
    let asked = stream::iter(packets.into_iter().map(Ok::<_, Infallible>));
    let incoming = stream::once(is_listed.map(|_| asked)).flatten();
    let mut outgoing = send(Arc::new(MemoryFiles::new(FILES)), request.filter, incoming, Arc::clone(&record));
    let mut listed = Some(listed);
    let (mut position, mut sizes) = (0, HashMap::new());
    let (mut received, mut is_over) = (HashMap::<u32, usize>::new(), false);
    while let Some(packet) = outgoing.next().await {
        assert!(!is_over, "after the end: {packet:?}");
        match (packet.r#type(), packet.stat) {
            (PacketType::PacketStat, Some(stat)) => {
                sizes.insert(position, usize::try_from(stat.size).expect("a size"));
                position += 1;
            }
            // Like the daemon, which asks when it has compared.
            (PacketType::PacketStat, None) => drop(listed.take()),
            (PacketType::PacketData, _) => {
                let received = received.entry(packet.id).or_default();
                *received += packet.data.len();
                assert!(*received <= sizes[&packet.id], "more of file {} than it has", packet.id);
            }
            (PacketType::PacketFin | PacketType::PacketErr, _) => is_over = true,
            (PacketType::PacketReq, _) => panic!("we ask for nothing"),
        }
    }
    assert_ne!(record.state(), SyncState::Running);
}
