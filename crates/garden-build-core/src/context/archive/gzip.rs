// Why: docs/decisions/07-a-cut-stream-builds-nothing.md

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

const BUFFER: usize = 64 * 1024;

/// What a member of a gzip file begins with (RFC 1952): deflate, no optional fields, no time, no level, unknown operating system. The same on
/// every machine.
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Writes a gzip stream of several members, each of which the reader verifies before it sees
/// anything of the next.
///
/// Go's `compress/gzip`, with which the kaniko executor reads its standard input, compares a
/// member's CRC-32 and length only when it moves on to the next member. If the Dockerfile is in the
/// second member, the executor cannot come to build before all of the first, the context, has been
/// verified.
///
/// Go also withholds what it decoded last until it sees more input, unless it was sync-flushed; so
/// [`finish`](Self::finish) does that, and the executor need not be sent an end of file.
///
/// A stream that is dropped without `finish` stays truncated on purpose: an encoder that closes the
/// member when it is dropped would make half a context look whole.
#[derive(Debug)]
pub struct GzipMembers<W: Write> {
    output: W,
    deflate: Compress,
    crc: Crc,
    buffer: Vec<u8>,
    /// Whether the current member's header has been written.
    started: bool,
}

impl<W: Write> GzipMembers<W> {
    /// Compresses into `output` with `level` 0 (stored) to 9 (best). More counts as 9.
    pub fn new(output: W, level: u8) -> Self {
        Self {
            output,
            deflate: Compress::new(Compression::new(u32::from(level.min(9))), false),
            crc: Crc::new(),
            buffer: vec![0; BUFFER],
            started: false,
        }
    }

    /// Ends the current member, and starts another with the next byte that is written.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn next_member(&mut self) -> io::Result<()> {
        self.start()?;
        while self.step(&[], FlushCompress::Finish)?.status != Status::StreamEnd {}
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        // Both are modulo 2^32 by definition.
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        self.deflate.reset();
        self.crc.reset();
        self.started = false;
        Ok(())
    }

    /// Flushes and ends the last member, and returns the output.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.next_member()?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn start(&mut self) -> io::Result<()> {
        if !self.started {
            self.output.write_all(&GZIP_HEADER)?;
            self.started = true;
        }
        Ok(())
    }

    /// Compresses what fits, and writes what comes out.
    fn step(&mut self, input: &[u8], flush: FlushCompress) -> io::Result<Stepped> {
        let before = (self.deflate.total_in(), self.deflate.total_out());
        let status = self.deflate.compress(input, &mut self.buffer, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(self.deflate.total_in() - before.0).map_err(io::Error::other)?;
        let given = usize::try_from(self.deflate.total_out() - before.1).map_err(io::Error::other)?;
        self.output.write_all(&self.buffer[..given])?;
        Ok(Stepped { status, taken, filled_buffer: given == self.buffer.len() })
    }
}

struct Stepped {
    status: Status,
    taken: usize,
    filled_buffer: bool,
}

impl<W: Write> Write for GzipMembers<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.start()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let stepped = self.step(rest, FlushCompress::None)?;
            rest = &rest[stepped.taken..];
        }
        self.crc.update(bytes);
        Ok(bytes.len())
    }

    /// Makes everything that was written so far readable for whoever reads the output.
    fn flush(&mut self) -> io::Result<()> {
        self.start()?;
        while self.step(&[], FlushCompress::Sync)?.filled_buffer {}
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, MultiGzDecoder};

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect()
    }

    fn three_members(level: u8, parts: [&[u8]; 3]) -> Vec<u8> {
        let mut gzip = GzipMembers::new(Vec::new(), level);
        gzip.write_all(parts[0]).expect("first");
        gzip.next_member().expect("second member");
        gzip.write_all(parts[1]).expect("second");
        gzip.next_member().expect("third member");
        gzip.write_all(parts[2]).expect("third");
        gzip.finish().expect("end")
    }

    #[test]
    fn members_are_read_back_one_by_one_and_as_one_at_every_level() {
        let noise = noise(300_000);
        for level in [0, 1, 6, 9, 200] {
            let stream = three_members(level, [&noise, b"second", b""]);
            let mut whole = Vec::new();
            MultiGzDecoder::new(stream.as_slice()).read_to_end(&mut whole).expect("valid");
            assert_eq!(whole, [noise.as_slice(), b"second"].concat(), "level {level}");
            let mut first = Vec::new();
            GzDecoder::new(stream.as_slice()).read_to_end(&mut first).expect("valid");
            assert_eq!(first, noise, "level {level}");
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_stream_however_they_are_cut() {
        let noise = noise(200_000);
        let mut gzip = GzipMembers::new(Vec::new(), 1);
        for piece in noise.chunks(997) {
            gzip.write_all(piece).expect("piece");
        }
        gzip.next_member().expect("second member");
        gzip.write_all(b"2").expect("second");
        gzip.next_member().expect("third member");
        assert_eq!(gzip.finish().expect("end"), three_members(1, [&noise, b"2", b""]));
    }

    #[test]
    fn a_stream_that_is_dropped_stays_truncated() {
        let mut output = Vec::new();
        let mut gzip = GzipMembers::new(&mut output, 1);
        gzip.write_all(b"half a context").expect("written");
        gzip.flush().expect("flushed");
        drop(gzip);
        let mut text = Vec::new();
        let error = MultiGzDecoder::new(output.as_slice()).read_to_end(&mut text).expect_err("no trailer");
        assert_eq!((error.kind(), text.as_slice()), (io::ErrorKind::UnexpectedEof, &b"half a context"[..]));
    }
}
