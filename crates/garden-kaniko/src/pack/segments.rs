use super::PackIndex;
use garden_build_core::{Digest, Sha256};

/// How long a segment is at least, in bytes. The build's pod keeps two at a time, and starts processes for each.
pub(super) const SEGMENT: u64 = 4 << 20;

/// What is kept of each segment: where it ends, in eight bytes, the lowest first; and its SHA-256.
const RECORD: usize = 8 + 32;

/// The digests of a pack's bytes, segment by segment, as whoever has compressed them knows them.
///
/// A segment is a row of members of at least 4 MiB, or what is left at the end. These digests are evidence only for the one who
/// has computed them: of a pack that somebody else has written, nobody here knows what its members hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segments(Vec<Segment>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    end: u64,
    digest: Digest,
}

impl Segments {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote of the pack with this `index`; `None` if it is anything else.
    pub fn parse(bytes: &[u8], index: &PackIndex) -> Option<Self> {
        let (records, rest) = bytes.as_chunks::<RECORD>();
        let segments = records.iter().map(|record| {
            let (end, digest) = record.split_first_chunk()?;
            Some(Segment {
                end: u64::from_le_bytes(*end),
                digest: Digest::from_sha256(digest.try_into().ok()?),
            })
        });
        let segments = Self(segments.collect::<Option<_>>()?);
        (rest.is_empty() && segments.are_of(index)).then_some(segments)
    }

    /// Returns the segments as they are kept: 40 bytes for each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = |segment: &Segment| [&segment.end.to_le_bytes()[..], segment.digest.as_bytes()].concat();
        self.0.iter().flat_map(record).collect()
    }

    /// Returns the end and the digest of the segment that begins at `offset`.
    pub(super) fn beginning_at(&self, offset: u64) -> Option<(u64, Digest)> {
        let next = self.0.partition_point(|segment| segment.end <= offset);
        let start = next.checked_sub(1).map_or(0, |before| self.0[before].end);
        let segment = self.0.get(next).filter(|_| start == offset)?;
        Some((segment.end, segment.digest))
    }

    /// Returns the end of the segment that the byte at `offset` is in.
    pub(super) fn end_after(&self, offset: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|segment| segment.end <= offset)).map(|segment| segment.end)
    }

    /// Whether they are all of the pack with this index, and end where members do.
    fn are_of(&self, index: &PackIndex) -> bool {
        let ends = self.0.iter().map(|segment| segment.end);
        ends.clone().is_sorted_by(|one, next| one < next)
            && ends.clone().all(|end| end > 0 && index.offset(index.piece_at(end)) == end)
            && self.0.last().map_or(0, |segment| segment.end) == index.pack_size()
    }
}

/// Finds the segments of a pack that is being written.
#[derive(Default)]
pub(super) struct Segmenter {
    segments: Vec<Segment>,
    sum: Sha256,
    end: u64,
}

impl Segmenter {
    /// Adds a member.
    pub(super) fn add(&mut self, member: &[u8]) {
        self.sum.update(member);
        self.end += member.len() as u64;
        if self.end - self.start() >= SEGMENT {
            self.close();
        }
    }

    pub(super) fn finish(mut self) -> Segments {
        if self.end > self.start() {
            self.close();
        }
        Segments(self.segments)
    }

    fn start(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.end)
    }

    fn close(&mut self) {
        let digest = self.sum.digest_and_begin_anew();
        self.segments.push(Segment { end: self.end, digest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Key;

    /// A pack of members of these lengths.
    fn written(lengths: &[usize]) -> (PackIndex, Segments) {
        let (mut index, mut segmenter) = (PackIndex::default(), Segmenter::default());
        for (number, length) in (0..).zip(lengths) {
            index.push(Key::new([number; Key::LENGTH]), u32::try_from(*length).expect("short"));
            segmenter.add(&vec![number; *length]);
        }
        (index, segmenter.finish())
    }

    #[test]
    fn segments_end_with_the_member_that_makes_them_long_enough() {
        let (index, segments) = written(&[3 << 20, 2 << 20, 7, 4 << 20, 9]);
        let ends: Vec<u64> = segments.0.iter().map(|segment| segment.end).collect();
        assert_eq!(ends, [5 << 20, (9 << 20) + 7, (9 << 20) + 16]);
        let first = [vec![0; 3 << 20], vec![1; 2 << 20]].concat();
        assert_eq!(segments.beginning_at(0), Some((5 << 20, Digest::of(&first))));
        assert_eq!(segments.beginning_at((9 << 20) + 7), Some(((9 << 20) + 16, Digest::of(&[4; 9]))));
        assert_eq!((segments.beginning_at(3 << 20), segments.end_after(3 << 20)), (None, Some(5 << 20)));
        assert_eq!(segments.end_after(index.pack_size()), None);
        assert_eq!(written(&[]), (PackIndex::default(), Segments::default()));
    }

    #[test]
    fn what_is_not_of_this_very_pack_is_nothing() {
        let (index, segments) = written(&[3 << 20, 2 << 20, 7]);
        let bytes = segments.to_bytes();
        assert_eq!(Segments::parse(&bytes, &index), Some(segments));
        for end in 0..bytes.len() {
            assert_eq!(Segments::parse(&bytes[..end], &index), None, "cut at {end}");
        }
        assert_eq!(
            Segments::parse(&[&bytes[RECORD..], &bytes[..RECORD]].concat(), &index),
            None,
            "in another order"
        );
        let (other, _) = written(&[(5 << 20) - 1, 1, 8]);
        assert_eq!(Segments::parse(&bytes, &other), None, "of a longer pack");
        let (other, _) = written(&[(5 << 20) - 1, 8]);
        assert_eq!(Segments::parse(&bytes, &other), None, "no member ends there");
    }
}
