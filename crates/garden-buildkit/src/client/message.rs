//! Messages of the stream in which the daemon calls us, compressed where that makes them smaller.
//!
//! gRPC marks each message as compressed or not, so what does not shrink travels as it is. `BuildKit` reads `gzip`:
//! its tracing links grpc-go's codec for that.
//!
//! Sources: gRPC, `doc/PROTOCOL-HTTP2.md` and `doc/compression.md`; `BuildKit`, `api/services/control/control.proto`.
//!
//! Why: docs/decisions/37-messages-to-a-daemon-are-compressed-one-by-one.md

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// How the stream's header calls the compression.
pub(super) const ENCODING: &str = "gzip";

/// Whether a message is compressed, and its length.
const PREFIX: usize = 5;

/// Before the bytes of a `BytesMessage`: the number of its only field, and their length, as long as it can be.
const FIELD: usize = 6;
const BYTES_FIELD: u8 = (1 << 3) | 2;

/// What is shorter is an answer to a question and not worth a thought, such as those to health checks.
const SHORTEST: usize = 512;

/// Where compressing was of no use, it is tried again after twice as many messages each time, up to these: a file that does not
/// compress costs next to nothing then, and one that does and follows is not missed for long.
const LONGEST_PAUSE: u32 = 16;

/// Memory that a message may be compressed with. Source: zlib, `windowBits` of `deflateInit2`.
const WINDOW_BITS: u8 = 15;

/// Makes messages of bytes.
#[derive(Debug, Default)]
pub(super) struct Packer {
    compressor: Option<Compressor>,
}

#[derive(Debug)]
struct Compressor {
    deflate: Compress,
    /// Messages until it is tried again.
    left: u32,
    /// How many these were last.
    pause: u32,
}

impl Packer {
    /// Makes messages of a stream whose header says [`ENCODING`].
    pub(super) fn compressing() -> Self {
        Self { compressor: Some(Compressor { deflate: deflate(), left: 0, pause: 0 }) }
    }

    /// Returns whether the stream's header has to say [`ENCODING`].
    pub(super) fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    /// Makes a message of `data`, which is not longer than a message of gRPC can be.
    pub(super) fn pack(&mut self, data: &[u8]) -> Bytes {
        let field = field(data.len());
        let compressed = self.compressor.as_mut().and_then(|compressor| compressor.pack(&field, data));
        compressed.unwrap_or_else(|| {
            let mut message = Vec::with_capacity(PREFIX + field.len() + data.len());
            message.extend_from_slice(&[0; PREFIX]);
            message.extend_from_slice(&field);
            message.extend_from_slice(data);
            finished(message, false)
        })
    }
}

impl Compressor {
    fn pack(&mut self, field: &[u8], data: &[u8]) -> Option<Bytes> {
        if data.len() < SHORTEST {
            return None;
        }
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let message = self.shrink(field, data);
        self.pause = if message.is_some() { 0 } else { (2 * self.pause).clamp(1, LONGEST_PAUSE) };
        self.left = self.pause;
        message
    }

    /// Compresses, unless less than an eighth is saved: the daemon has to undo it.
    fn shrink(&mut self, field: &[u8], data: &[u8]) -> Option<Bytes> {
        let mut message = Vec::with_capacity(PREFIX + data.len() / 8 * 7);
        message.extend_from_slice(&[0; PREFIX]);
        let begun = self.deflate.compress_vec(field, &mut message, FlushCompress::None);
        let ended = begun.and_then(|_| self.deflate.compress_vec(data, &mut message, FlushCompress::Finish));
        // If there is not enough room, it does not get to the end.
        if let Ok(Status::StreamEnd) = ended {
            self.deflate.reset();
            return Some(finished(message, true));
        }
        // `reset` leaves something of a stream that has not ended in the next one (zlib-rs 0.6.8, at this level).
        self.deflate = deflate();
        None
    }
}

/// At zlib's first level: a link that is worth compressing for is slower than that, and a faster one must not wait for it.
fn deflate() -> Compress {
    Compress::new_gzip(Compression::fast(), WINDOW_BITS)
}

/// Returns what precedes the bytes in a `BytesMessage`.
fn field(length: usize) -> Vec<u8> {
    let mut field = Vec::with_capacity(FIELD);
    field.push(BYTES_FIELD);
    prost::encoding::encode_varint(length as u64, &mut field);
    field
}

/// Writes the prefix of a message.
fn finished(mut message: Vec<u8>, compressed: bool) -> Bytes {
    let length = u32::try_from(message.len() - PREFIX).unwrap_or(u32::MAX);
    message[0] = u8::from(compressed);
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    message.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    /// Reads a message as the daemon does, with other code. Tells whether it was compressed.
    fn unpack(packed: &[u8]) -> (bool, Vec<u8>) {
        let (prefix, body) = packed.split_at(PREFIX);
        let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes"));
        assert_eq!(length as usize, body.len());
        let is_compressed = prefix[0] == 1;
        let mut message = Vec::new();
        if is_compressed {
            GzDecoder::new(body).read_to_end(&mut message).expect("gzip");
        } else {
            message.extend_from_slice(body);
        }
        (is_compressed, BytesMessage::decode(&*message).expect("a message").data)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn text(length: usize) -> Vec<u8> {
        b"fn main() { println!(\"hello\") }\n".iter().copied().cycle().take(length).collect()
    }

    proptest! {
        #[test]
        fn whatever_is_packed_arrives(
            pieces in proptest::collection::vec((any::<bool>(), 0_usize..70_000), 1..20),
            compress in any::<bool>(),
        ) {
            let mut packer = if compress { Packer::compressing() } else { Packer::default() };
            for (is_text, length) in pieces {
                let data = if is_text { text(length) } else { noise(length) };
                let packed = packer.pack(&data);
                let (is_compressed, arrived) = unpack(&packed);
                prop_assert!(arrived == data);
                prop_assert!(compress || !is_compressed);
                prop_assert!(packed.len() <= PREFIX + FIELD + data.len());
            }
        }
    }

    #[test]
    fn what_compresses_is_compressed_and_what_does_not_or_is_short_is_not() {
        let mut packer = Packer::compressing();
        assert!(unpack(&packer.pack(&text(1 << 16))).0);
        assert!(!unpack(&packer.pack(&text(SHORTEST - 1))).0);
        assert!(unpack(&packer.pack(&text(SHORTEST))).0);
        assert!(!unpack(&packer.pack(&noise(1 << 16))).0);
    }

    #[test]
    fn after_noise_it_is_tried_ever_more_rarely_and_after_text_always() {
        let mut packer = Packer::compressing();
        for _ in 0..200 {
            packer.pack(&noise(1 << 12));
        }
        let first = (0..=LONGEST_PAUSE).find(|_| unpack(&packer.pack(&text(1 << 12))).0);
        assert!(first.is_some());
        assert!((0..50).all(|_| unpack(&packer.pack(&text(1 << 12))).0));
    }
}
