use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use garden_build_core::context::GZIP_HEADER;

/// The most that one stored block of deflate holds (RFC 1951, section 3.2.4).
const STORED: usize = 0xffff;

/// Pieces up to this length are compressed fast in any case: headers are nearly all zeros, and with more effort they
/// take five times the time and no fewer bytes.
const TINY: usize = 1024;

/// How much time compression may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effort {
    /// As little as possible.
    Fast,
    /// Twice as much, for a fifth fewer bytes.
    Dense,
}

/// Makes members of gzip files, one after the other.
#[derive(Debug)]
pub(super) struct Members {
    fast: Compress,
    dense: Compress,
}

impl Members {
    pub(super) fn new() -> Self {
        let level = |level| Compress::new(Compression::new(level), false);
        Self { fast: level(1), dense: level(3) }
    }

    /// Appends `plain` to `pack` as a member, compressed if that makes it smaller.
    pub(super) fn append(&mut self, plain: &[u8], effort: Effort, pack: &mut Vec<u8>) -> io::Result<()> {
        let deflate = match effort {
            Effort::Dense if plain.len() > TINY => &mut self.dense,
            _ => &mut self.fast,
        };
        pack.extend_from_slice(&GZIP_HEADER);
        let start = pack.len();
        compress(deflate, plain, pack)?;
        if pack.len() - start > stored_length(plain.len()) {
            pack.truncate(start);
            store(plain, pack);
        }
        let mut crc = Crc::new();
        crc.update(plain);
        pack.extend_from_slice(&crc.sum().to_le_bytes());
        // Modulo 2^32 by definition.
        pack.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }
}

/// Appends `plain`, compressed. Goes on to the end even if that turns out to be of no use, because zlib-rs 0.6
/// does not forget pending output when it is reset.
fn compress(deflate: &mut Compress, plain: &[u8], pack: &mut Vec<u8>) -> io::Result<()> {
    deflate.reset();
    let start = pack.len();
    let mut room = plain.len() + plain.len() / 8 + 64;
    loop {
        let done = |count: u64| usize::try_from(count).map_err(io::Error::other);
        let (taken, given) = (done(deflate.total_in())?, done(deflate.total_out())?);
        pack.resize(start + given + room, 0);
        let output = &mut pack[start + given..];
        let status = deflate.compress(&plain[taken..], output, FlushCompress::Finish);
        if status.map_err(io::Error::other)? == Status::StreamEnd {
            pack.truncate(start + done(deflate.total_out())?);
            return Ok(());
        }
        room = plain.len();
    }
}

/// Returns how long content of `length` bytes is in blocks that are not compressed.
fn stored_length(length: usize) -> usize {
    length + 5 * length.div_ceil(STORED).max(1)
}

/// Appends `plain` to `pack` in blocks that are not compressed.
fn store(plain: &[u8], pack: &mut Vec<u8>) {
    let mut blocks = plain.chunks(STORED).peekable();
    while let Some(block) = blocks.next() {
        pack.push(u8::from(blocks.peek().is_none()));
        // Two bytes each, as a block is no longer than that.
        let length = block.len().to_le_bytes();
        pack.extend_from_slice(&[length[0], length[1], !length[0], !length[1]]);
        pack.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::MultiGzDecoder;

    use super::*;
    use crate::pack::tests::noise;

    #[test]
    fn pieces_of_all_kinds_and_lengths_come_back_in_a_row() {
        let mut pieces: Vec<Vec<u8>> = (0..600).map(|length| noise(length as u64, length)).collect();
        pieces.extend((0..600).map(|length| vec![b'x'; length]));
        for length in [STORED - 1, STORED, STORED + 1, 2 * STORED, 2 * STORED + 1, 1_000_000] {
            pieces.extend([noise(1, length), vec![0; length], noise(2, length / 2).repeat(2)]);
        }
        for effort in [Effort::Fast, Effort::Dense] {
            let (mut members, mut pack) = (Members::new(), Vec::new());
            for piece in &pieces {
                let start = pack.len();
                members.append(piece, effort, &mut pack).expect("appended");
                assert!(pack.len() - start <= 18 + stored_length(piece.len()), "{} bytes", piece.len());
                let mut plain = Vec::new();
                MultiGzDecoder::new(&pack[start..]).read_to_end(&mut plain).expect("a member");
                assert!(plain == *piece, "{effort:?}, {} bytes", piece.len());
            }
            let mut plain = Vec::new();
            MultiGzDecoder::new(pack.as_slice()).read_to_end(&mut plain).expect("a gzip file");
            assert!(plain == pieces.concat());
        }
    }
}
