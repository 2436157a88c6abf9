//! The code by which any of several segments can be repaired with the same packet.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// The Reed-Solomon code over the segments of a block: as many parities as segments are missing bring them back,
/// whichever are missing and whichever parities came.
///
/// A segment is coded with its length in front (`u16`, big endian) and zeros after it, up to the longest of its block.
#[derive(Debug)]
pub(super) struct Parity;

impl Parity {
    /// Segments in a block, at most.
    pub(super) const BLOCK: u64 = 64;
    /// Parities over a block.
    pub(super) const MOST: usize = 32;
    /// The shortest parity: a length, and a segment of a byte with a zero after it.
    pub(super) const SHORTEST: usize = 4;

    /// Bytes of the parities over segments of which the longest is so long.
    fn len(longest: usize) -> usize {
        (2 + longest).next_multiple_of(2)
    }

    /// Bytes that coding needs for itself while it goes on, about.
    pub(super) fn work(len: usize) -> u64 {
        5 * Self::BLOCK * len as u64
    }

    fn shard(segment: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        out.extend_from_slice(&u16::try_from(segment.len()).ok()?.to_be_bytes());
        out.extend_from_slice(segment);
        (out.len() <= len).then(|| out.resize(len, 0))
    }

    /// All parities over these segments.
    pub(super) fn encode(segments: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let len = Self::len(segments.iter().map(Vec::len).max()?);
        let mut encoder = ReedSolomonEncoder::new(segments.len(), Self::MOST, len).ok()?;
        let mut shard = Vec::with_capacity(len);
        for segment in segments {
            Self::shard(segment, len, &mut shard)?;
            encoder.add_original_shard(&shard).ok()?;
        }
        let encoded = encoder.encode().ok()?;
        Some(encoded.recovery_iter().map(<[u8]>::to_vec).collect())
    }

    /// The missing ones of `count` segments, with their places; `None` if what is given contradicts itself.
    pub(super) fn decode<'a>(
        count: usize,
        segments: impl Iterator<Item = (usize, &'a [u8])>,
        parities: impl Iterator<Item = (usize, &'a [u8])>,
        len: usize,
    ) -> Option<Vec<(usize, Vec<u8>)>> {
        let mut decoder = ReedSolomonDecoder::new(count, Self::MOST, len).ok()?;
        let mut shard = Vec::with_capacity(len);
        for (place, segment) in segments {
            Self::shard(segment, len, &mut shard)?;
            decoder.add_original_shard(place, &shard).ok()?;
        }
        for (index, parity) in parities {
            decoder.add_recovery_shard(index, parity).ok()?;
        }
        let decoded = decoder.decode().ok()?;
        let restored = decoded.restored_original_iter().map(|(place, shard)| {
            let (length, rest) = shard.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let segment = rest.get(..length).filter(|segment| !segment.is_empty())?;
            Some((place, segment.to_vec()))
        });
        restored.collect()
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn as_many_parities_as_are_missing_bring_any_segments_back() {
        for seed in 0..50 {
            let mut rng = Rng::with_seed(seed);
            let count = rng.usize(2..=Parity::BLOCK as usize);
            let longest = rng.usize(1..200);
            let segments: Vec<Vec<u8>> = (0..count)
                .map(|_| (0..rng.usize(1..=longest)).map(|_| rng.u8(..)).collect())
                .collect();
            let parities = Parity::encode(&segments).expect("a sound block");
            let len = parities[0].len();
            let missing = rng.usize(1..=count.min(Parity::MOST));
            let mut places: Vec<usize> = (0..count).collect();
            rng.shuffle(&mut places);
            let mut indices: Vec<usize> = (0..Parity::MOST).collect();
            rng.shuffle(&mut indices);
            let (lost, kept) = places.split_at(missing);
            let restored = Parity::decode(
                count,
                kept.iter().map(|&place| (place, &segments[place][..])),
                indices[..missing]
                    .iter()
                    .map(|&index| (index, &parities[index][..])),
                len,
            );
            let restored = restored.expect("enough");
            assert_eq!(restored.len(), lost.len(), "seed {seed}");
            for (place, segment) in restored {
                assert!(lost.contains(&place) && segment == segments[place], "seed {seed}");
            }
        }
    }

    #[test]
    fn what_contradicts_itself_gives_nothing() {
        let segments = [vec![1; 10], vec![2; 10]];
        let mut parity = Parity::encode(&segments).expect("sound").swap_remove(0);
        let parities = |parity: &[u8]| vec![(0, parity.to_vec())];
        let decode = |segment: &[u8], parity: &[u8], len| {
            let parities = parities(parity);
            let parities = parities.iter().map(|(index, parity)| (*index, &parity[..]));
            Parity::decode(2, [(0, segment)].into_iter(), parities, len)
        };
        assert_eq!(
            decode(&segments[0], &parity, 12),
            Some(vec![(1, segments[1].clone())])
        );
        assert_eq!(decode(&[1; 11], &parity, 12), None, "longer than the longest");
        assert_eq!(decode(&segments[0], &parity[..10], 12), None);
        parity[0] ^= 0xFF;
        assert_eq!(
            decode(&segments[0], &parity, 12),
            None,
            "its length is beyond its end"
        );
    }
}
