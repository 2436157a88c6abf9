//! CRC-32C (Castagnoli, RFC 3720): what tells whole bytes from damaged ones.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

/// The checksum of bytes that lie together.
pub(super) fn of(bytes: &[u8]) -> u32 {
    crc32_iscsi(bytes)
}

/// The checksum of bytes that come in pieces.
pub(super) struct Checksum(Digest);

impl Checksum {
    pub(super) fn new() -> Self {
        Checksum(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> u32 {
        // A checksum of 32 bits, in the low half.
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_the_whole_agree() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..5_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        for split in [0, 1, 7, 64, 1_000, 4_999, 5_000] {
            let mut checksum = Checksum::new();
            checksum.update(&bytes[..split]);
            checksum.update(&bytes[split..]);
            assert_eq!(checksum.finish(), of(&bytes), "{split}");
        }
    }
}
