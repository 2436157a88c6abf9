//! How the messages of a recording are compressed, one by one.

use thiserror::Error;

/// What messages are compressed with.
///
/// Each message is compressed on its own, all parts together, so that any can be read without the others; one that
/// would not become smaller is stored as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Nothing. The default: detectors compress their images themselves.
    #[default]
    None,
    /// LZ4, the block format: fast, little gain.
    Lz4,
    /// Zstandard, at its default level: slower, more gain. Feature `recording-zstd`.
    Zstd,
}

/// A compression that this build does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} compression is not part of this build; build with the feature recording-{}", .0.name(), .0.name())]
pub struct UnsupportedCompression(pub Compression);

/// Why compressed contents cannot be restored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RestoreError {
    Unsupported(UnsupportedCompression),
    Damaged,
}

impl Compression {
    /// `none`, `lz4` or `zstd`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Whether this build can compress and restore it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            Compression::None | Compression::Lz4 => true,
            Compression::Zstd => cfg!(feature = "recording-zstd"),
        }
    }

    pub(super) fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Compression::None, Compression::Lz4, Compression::Zstd]
            .into_iter()
            .find(|compression| compression.code() == code)
    }

    /// `contents` compressed, when that is supported and makes them smaller.
    pub(super) fn compress(self, contents: &[u8]) -> Option<Vec<u8>> {
        let compressed = match self {
            Compression::None => return None,
            Compression::Lz4 => lz4::compress(contents)?,
            Compression::Zstd => zstd_frames::compress(contents)?,
        };
        (compressed.len() < contents.len()).then_some(compressed)
    }

    /// What `stored` holds: exactly `len` bytes, which the caller has found plausible.
    pub(super) fn restore(self, stored: &[u8], len: usize) -> Result<Vec<u8>, RestoreError> {
        if !self.is_supported() {
            return Err(RestoreError::Unsupported(UnsupportedCompression(self)));
        }
        let contents = match self {
            Compression::None => Some(stored.to_vec()),
            Compression::Lz4 => lz4::restore(stored, len),
            Compression::Zstd => zstd_frames::restore(stored, len),
        };
        contents
            .filter(|contents| contents.len() == len)
            .ok_or(RestoreError::Damaged)
    }
}

mod lz4 {
    use lz4_flex::block;

    // The block format's own limit.
    const MAX_INPUT: usize = 0x7e00_0000;

    pub(super) fn compress(contents: &[u8]) -> Option<Vec<u8>> {
        (contents.len() <= MAX_INPUT).then(|| block::compress(contents))
    }

    pub(super) fn restore(stored: &[u8], len: usize) -> Option<Vec<u8>> {
        // A byte of LZ4 stands for at most 255 bytes.
        if len / 255 > stored.len() {
            return None;
        }
        block::decompress(stored, len).ok()
    }
}

#[cfg(feature = "recording-zstd")]
mod zstd_frames {
    pub(super) fn compress(contents: &[u8]) -> Option<Vec<u8>> {
        zstd::bulk::compress(contents, zstd::DEFAULT_COMPRESSION_LEVEL).ok()
    }

    pub(super) fn restore(stored: &[u8], len: usize) -> Option<Vec<u8>> {
        // A block of Zstandard has at most 128 KiB, and four bytes at least.
        if len / (32 << 10) > stored.len() {
            return None;
        }
        zstd::bulk::decompress(stored, len).ok()
    }
}

#[cfg(not(feature = "recording-zstd"))]
mod zstd_frames {
    pub(super) fn compress(_contents: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn restore(_stored: &[u8], _len: usize) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_supported_round_trips_and_what_is_damaged_shows() {
        let contents: Vec<u8> = (0..20_000_u32).map(|n| (n / 100) as u8).collect();
        for compression in [Compression::Lz4, Compression::Zstd] {
            let Some(stored) = compression.compress(&contents) else {
                assert!(!compression.is_supported());
                let error = compression.restore(&contents, 5).unwrap_err();
                assert_eq!(
                    error,
                    RestoreError::Unsupported(UnsupportedCompression(compression))
                );
                continue;
            };
            assert!(stored.len() < contents.len() / 4);
            assert_eq!(compression.restore(&stored, contents.len()).unwrap(), contents);
            for wrong in [0, contents.len() - 1, contents.len() + 1, 300 * stored.len()] {
                assert_eq!(compression.restore(&stored, wrong), Err(RestoreError::Damaged));
            }
            assert_eq!(
                compression.restore(&stored[..stored.len() - 1], contents.len()),
                Err(RestoreError::Damaged)
            );
        }
    }

    #[test]
    fn what_would_grow_is_not_compressed() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            assert_eq!(compression.compress(b"abc"), None);
            assert_eq!(Compression::from_code(compression.code()), Some(compression));
        }
        assert_eq!(Compression::from_code(3), None);
    }
}
