use bollard_buildkit_proto::fsutil::types::packet::PacketType;

use super::Stat;
use super::wire::{self, Packet};

/// The most content that one packet holds. The daemon accepts messages of 4 MiB and more, but smaller ones let
/// files take turns and keep little waiting. Measured over gRPC: half of this is slower, twice as much is up to
/// a quarter faster, and more than that is not. All are faster than any way to a daemon.
pub(super) const DATA: usize = 64 * 1024;

/// A batch is handed over as soon as it holds this much.
const FULL: usize = 64 * 1024;

/// What a packet takes besides its content: about as much as an allocation and an entry in the list.
const OVERHEAD: usize = 64;

/// Packets that are handed over together, so that many small ones cost one wake-up of who sends them.
///
/// Holds at most [`FULL`] and one packet more.
#[derive(Debug, Default)]
pub(super) struct Batch {
    packets: Vec<Packet>,
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, packet: Packet) {
        self.bytes += OVERHEAD + packet.data.len();
        if let Some(stat) = &packet.stat {
            let attributes: usize = stat.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
            self.bytes += size_of::<Stat>() + stat.path.len() + stat.linkname.len() + attributes;
        }
        self.packets.push(packet);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes the packets out.
    pub(super) fn take(&mut self) -> Vec<Packet> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}

/// An entry of the list; `None` ends it. Ids are not sent: an entry's id is its position in the list.
pub(crate) fn stat(stat: Option<Stat>) -> Packet {
    Packet { stat: stat.map(wire::Stat::of), ..empty(PacketType::PacketStat) }
}

/// A piece of a file; an empty one is its end.
pub(crate) fn data(id: u32, data: Vec<u8>) -> Packet {
    Packet { id, data, ..empty(PacketType::PacketData) }
}

pub(super) fn end() -> Packet {
    empty(PacketType::PacketFin)
}

pub(super) fn failure(reason: &str) -> Packet {
    Packet { data: reason.as_bytes().to_vec(), ..empty(PacketType::PacketErr) }
}

fn empty(kind: PacketType) -> Packet {
    Packet { r#type: kind.into(), stat: None, id: 0, data: Vec::new() }
}
