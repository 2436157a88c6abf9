//! The trailer of a plain datagram: CRC-32C (Castagnoli, RFC 3720) of everything before it.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use super::{CHECKSUM_LEN, DecodeError};

/// Fills the last four bytes of `datagram` with the checksum of the others.
#[inline]
pub(super) fn fill(datagram: &mut [u8]) {
    if let Some((contents, trailer)) = datagram.split_last_chunk_mut::<CHECKSUM_LEN>() {
        *trailer = crc32_iscsi(contents).to_be_bytes();
    }
}

/// What `datagram` holds before its checksum, which must be right.
#[inline]
pub(super) fn verify(datagram: &[u8]) -> Result<&[u8], DecodeError> {
    let (contents, trailer) = datagram
        .split_last_chunk::<CHECKSUM_LEN>()
        .ok_or(DecodeError::Truncated)?;
    if crc32_iscsi(contents) != u32::from_be_bytes(*trailer) {
        return Err(DecodeError::Checksum);
    }
    Ok(contents)
}

/// Whether `trailer` is the checksum of a datagram that lies in two places.
#[inline]
pub(super) fn is_of_parts(head: &[u8], rest: &[u8], trailer: [u8; CHECKSUM_LEN]) -> bool {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(head);
    digest.update(rest);
    digest.finalize() == u64::from(u32::from_be_bytes(trailer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C, and an example of RFC 3720, B.4.
        let mut datagram = b"123456789....".to_vec();
        fill(&mut datagram);
        assert_eq!(datagram[9..], 0xe306_9283_u32.to_be_bytes());
        let mut datagram = vec![0; 36];
        fill(&mut datagram);
        assert_eq!(datagram[32..], 0x8a91_36aa_u32.to_be_bytes());
        assert_eq!(verify(&datagram), Ok(&[0; 32][..]));
        datagram[3] ^= 1;
        assert_eq!(verify(&datagram), Err(DecodeError::Checksum));
    }

    #[test]
    fn every_length_takes_the_same_checksum_as_bit_by_bit() {
        // Other lengths take other instructions; the alignment differs too.
        let bytes: Vec<u8> = (0..3000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        let mut crc = u32::MAX;
        for len in 0..bytes.len() - 7 {
            for start in [0, 7] {
                let contents = &bytes[start..start + len];
                let mut datagram = contents.to_vec();
                datagram.extend([0; CHECKSUM_LEN]);
                fill(&mut datagram);
                assert_eq!(verify(&datagram), Ok(contents), "{len}");
                assert_eq!(crc32_iscsi(contents).to_be_bytes(), datagram[len..], "{len}");
                let (head, rest) = contents.split_at(len.min(39));
                let trailer = crc32_iscsi(contents).to_be_bytes();
                assert!(is_of_parts(head, rest, trailer), "{len}");
            }
            assert_eq!(!crc, crc32_iscsi(&bytes[..len]), "{len}");
            crc ^= u32::from(bytes[len]);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
    }
}
