//! `encoding`: how a data part is packed, in the notation of Dectris detectors, and how it is unpacked safely.

use std::fmt;
use std::str::FromStr;

use flexbond_transport::Frame;
use thiserror::Error;

use crate::compression::{Codec, DecompressError};
use crate::{Array, Endianness, Layout};

/// How a data part is packed: `[bs<BITS>][[-]lz4][<|>]`.
///
/// | text | what it is |
/// | --- | --- |
/// | `<`, `>`, empty | not compressed; little or big endian |
/// | `lz4<` | LZ4: one bare block, the framing of HDF5's LZ4 filter or its header, which may be all zeros, and one block, or, as Python's `lz4.block` has it, a length of four bytes and one block; which one is detected |
/// | `bs16-lz4<` | bits transposed in elements of 16 bits, then LZ4, in the framing of HDF5's bitshuffle filter or, as emulators send it, without the header of that or with one that is all zeros; which one is detected |
/// | `bslz4`, `bs-lz4<`, `bitshuffle_lz4` | the same in the elements of the array |
/// | `bs16<` | bits transposed only |
///
/// Without `<` or `>` the bytes are little-endian.
///
/// ```
/// use flexbond_stream::{Encoding, Endianness};
///
/// let encoding: Encoding = "bs32-lz4<".parse()?;
/// assert_eq!((encoding.bitshuffle(), encoding.lz4()), (Some(32), true));
/// assert_eq!(encoding.endianness(), Endianness::Little);
/// assert_eq!(encoding.to_string(), "bs32-lz4<");
/// assert_eq!("bs16lz4>".parse::<Encoding>()?.to_string(), "bs16-lz4>");
/// assert!("jpeg".parse::<Encoding>().is_err());
/// # Ok::<(), flexbond_stream::UnknownEncoding>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    // Bits per element, a multiple of 8; 0 stands for those of the array.
    bitshuffle: Option<u8>,
    lz4: bool,
    endianness: Option<Endianness>,
}

/// A text that is no encoding known here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown encoding {0:?}")]
pub struct UnknownEncoding(pub String);

/// Why a data part does not become an array. The part is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The array would be larger than allowed; nothing was allocated. It can be loaded with a larger limit.
    #[error("the array has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// What type and shape ask for, in bytes.
        size: usize,
        /// What was allowed, in bytes.
        limit: usize,
    },
    /// The part is not compressed, and its length is not that of the array.
    #[error("the data part has {actual} bytes, type and shape ask for {expected}")]
    Length {
        /// What type and shape ask for, in bytes.
        expected: usize,
        /// What there is, in bytes.
        actual: usize,
    },
    /// The header's `size` is neither the length of the part nor that of the array, nor the number of its elements.
    #[error("the header says that the data part has {declared} bytes, it has {actual}")]
    Size {
        /// What the header says, in bytes.
        declared: u64,
        /// What there is, in bytes.
        actual: usize,
    },
    /// The part is not what its encoding says.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
}

impl Encoding {
    /// Not compressed.
    #[must_use]
    pub fn raw(endianness: Endianness) -> Self {
        Encoding {
            bitshuffle: None,
            lz4: false,
            endianness: Some(endianness),
        }
    }

    /// The same with another order of bytes.
    #[must_use]
    pub fn with_endianness(self, endianness: Endianness) -> Self {
        Encoding {
            endianness: Some(endianness),
            ..self
        }
    }

    /// Bits per element whose bits were transposed: 8, 16, 32, 64 or 128, or 0 where the text leaves it to the type of
    /// the array (`bslz4`); `None` when they were not.
    #[must_use]
    pub fn bitshuffle(self) -> Option<u8> {
        self.bitshuffle
    }

    /// Whether LZ4 was applied.
    #[must_use]
    pub fn lz4(self) -> bool {
        self.lz4
    }

    /// The order of the bytes of each element, once unpacked.
    #[must_use]
    pub fn endianness(self) -> Endianness {
        self.endianness.unwrap_or(Endianness::Little)
    }

    /// Whether a part has to be unpacked before it can be read.
    #[must_use]
    pub fn is_compressed(self) -> bool {
        self.lz4 || self.bitshuffle.is_some()
    }

    /// Unpacks a part into an array of `layout`; a part that is not compressed is shared, not copied. `limit` is the
    /// most bytes that the array may have; nothing is allocated before it and the part's plausibility were checked.
    ///
    /// # Errors
    /// [`LoadError::TooLarge`], [`LoadError::Length`] and [`LoadError::Decompress`].
    pub fn load(self, part: &Frame, layout: &Layout, limit: usize) -> Result<Array, LoadError> {
        let size = layout.size();
        if size > limit {
            return Err(LoadError::TooLarge { size, limit });
        }
        let data = match self.codec(part, size) {
            Some((codec, packed)) => {
                let shuffled = self.bitshuffle.filter(|&bits| bits > 0);
                let unit = shuffled.map_or(layout.element().size(), |bits| usize::from(bits / 8));
                Frame::from(codec.decompress(packed, unit, size)?)
            }
            None => part.clone(),
        };
        Array::new(layout.clone(), data).map_err(|_| LoadError::Length {
            expected: size,
            actual: part.len(),
        })
    }

    /// The same kind of packing as it is written for arrays of `layout`: bits are transposed in its elements, and the
    /// order of bytes is its own.
    #[must_use]
    pub fn for_layout(self, layout: &Layout) -> Self {
        // Elements have at most 16 bytes.
        let bits = (layout.element().size() * 8) as u8;
        Encoding {
            bitshuffle: self.bitshuffle.map(|_| bits),
            ..self.with_endianness(layout.endianness())
        }
    }

    /// Packs data, a whole number of elements of `element_size` bytes, which are also those whose bits are transposed.
    /// `lz4` becomes one bare block, as long as one takes the data.
    pub(crate) fn encode(self, data: &Frame, element_size: usize) -> Frame {
        match self.packing(data.len()) {
            Some(codec) => Frame::from(codec.compress(data, element_size)),
            None => data.clone(),
        }
    }

    /// What `len` bytes of data are packed with.
    fn packing(self, len: usize) -> Option<Codec> {
        match (self.bitshuffle, self.lz4) {
            (None, false) => None,
            (None, true) if len > Codec::MAX_LZ4_BLOCK => Some(Codec::Lz4Hdf5),
            (None, true) => Some(Codec::Lz4Block),
            (Some(_), true) => Some(Codec::BitshuffleLz4),
            (Some(_), false) => Some(Codec::Bitshuffle),
        }
    }

    /// What to unpack `size` bytes of data with, and which bytes of the part.
    fn codec(self, part: &[u8], size: usize) -> Option<(Codec, &[u8])> {
        let codec = match (self.bitshuffle, self.lz4) {
            (None, false) => return None,
            (None, true) => match Codec::detect_lz4(part, size) {
                Codec::Lz4Hdf5 if has_no_length(part, size) => {
                    return Some((Codec::Lz4Block, &part[HEADER..]));
                }
                codec => codec,
            },
            (Some(_), true) => match part.strip_prefix(&[0; HEADER]) {
                // An emulator leaves the numbers of the header at zero: no data, in blocks of the default size.
                Some(blocks) if size > 0 => return Some((Codec::BitshuffleLz4Bare, blocks)),
                _ => Codec::detect_bitshuffle_lz4(part, size),
            },
            (Some(_), false) => Codec::Bitshuffle,
        };
        Some((codec, part))
    }
}

/// Bytes of the header that the framings of HDF5's filters have: the length of the data, and that of a block.
const HEADER: usize = 12;

/// Whether a part with the header of HDF5's LZ4 filter, whose numbers an emulator leaves at zero, goes on with a block, not
/// with the length of one. A block that holds data begins with 16 or more; a length that does so is longer than the part.
fn has_no_length(part: &[u8], size: usize) -> bool {
    let announced = part.first_chunk().map(|&size| u64::from_be_bytes(size));
    let zeros = size > 0 && part.starts_with(&[0; HEADER]);
    (announced == Some(size as u64) || zeros)
        && part.len() < 16 << 24
        && part.get(HEADER).is_some_and(|&first| first >= 16)
}

/// As a header has it: `bs16-lz4<`.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bitshuffle {
            Some(0) => f.write_str("bs")?,
            Some(bits) => write!(f, "bs{bits}")?,
            None => {}
        }
        if self.lz4 {
            f.write_str(if self.bitshuffle.is_some() { "-lz4" } else { "lz4" })?;
        }
        match self.endianness {
            Some(Endianness::Little) => f.write_str("<"),
            Some(Endianness::Big) => f.write_str(">"),
            None => Ok(()),
        }
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownEncoding(text.to_owned());
        // The name that bsread has for it.
        let text = if text == "bitshuffle_lz4" { "bslz4" } else { text };
        let (rest, endianness) = match text.as_bytes().last() {
            Some(b'<') => (&text[..text.len() - 1], Some(Endianness::Little)),
            Some(b'>') => (&text[..text.len() - 1], Some(Endianness::Big)),
            _ => (text, None),
        };
        let (bits, rest) = match rest.strip_prefix("bs") {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let bitshuffle = match bits {
            None => None,
            Some("") if !rest.is_empty() => Some(0),
            Some("8") => Some(8),
            Some("16") => Some(16),
            Some("32") => Some(32),
            Some("64") => Some(64),
            Some("128") => Some(128),
            Some(_) => return Err(unknown()),
        };
        let lz4 = match rest {
            "" => false,
            "lz4" => true,
            "-lz4" => true,
            _ => return Err(unknown()),
        };
        Ok(Encoding {
            bitshuffle,
            lz4,
            endianness,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;

    #[test]
    fn every_spelling_is_read_and_written() {
        for (text, bitshuffle, lz4, endianness) in [
            ("", None, false, Endianness::Little),
            ("<", None, false, Endianness::Little),
            (">", None, false, Endianness::Big),
            ("lz4", None, true, Endianness::Little),
            ("lz4<", None, true, Endianness::Little),
            ("lz4>", None, true, Endianness::Big),
            ("bs8-lz4<", Some(8), true, Endianness::Little),
            ("bs16-lz4<", Some(16), true, Endianness::Little),
            ("bs32-lz4>", Some(32), true, Endianness::Big),
            ("bs64-lz4", Some(64), true, Endianness::Little),
            ("bs16<", Some(16), false, Endianness::Little),
            ("bs-lz4", Some(0), true, Endianness::Little),
            ("bs-lz4>", Some(0), true, Endianness::Big),
        ] {
            let encoding: Encoding = text.parse().unwrap();
            assert_eq!(
                (encoding.bitshuffle(), encoding.lz4(), encoding.endianness()),
                (bitshuffle, lz4, endianness),
                "{text}"
            );
            assert_eq!(encoding.to_string(), text);
            assert_eq!(encoding.is_compressed(), text.len() > 1);
        }
        assert_eq!("bs16lz4<".parse::<Encoding>().unwrap().to_string(), "bs16-lz4<");
        assert_eq!("-lz4<".parse::<Encoding>().unwrap().to_string(), "lz4<");
        assert_eq!("bslz4".parse::<Encoding>().unwrap().to_string(), "bs-lz4");
        assert_eq!("bitshuffle_lz4".parse::<Encoding>(), "bslz4".parse());
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for text in [
            "bs<",
            "bs",
            "bs--lz4<",
            "bs12-lz4<",
            "bs0<",
            "bs16--lz4<",
            "lz4lz4",
            "lz4-bs16",
            "zstd",
            "<<",
            "<lz4",
            "LZ4<",
            "bs16-lz4<>",
            "bs999999999999-lz4<",
            " lz4<",
            "ß<",
        ] {
            assert_eq!(text.parse::<Encoding>(), Err(UnknownEncoding(text.to_owned())));
        }
    }

    #[test]
    fn data_too_long_for_one_block_are_packed_in_several() {
        let lz4: Encoding = "lz4<".parse().unwrap();
        assert_eq!(lz4.packing(Codec::MAX_LZ4_BLOCK), Some(Codec::Lz4Block));
        assert_eq!(lz4.packing(Codec::MAX_LZ4_BLOCK + 1), Some(Codec::Lz4Hdf5));
    }

    #[test]
    fn parts_that_lie_are_errors_before_memory_is_taken() {
        let layout = |extent| Layout::new(ElementType::UInt16, Endianness::Little, &[extent]).unwrap();
        let raw = Encoding::raw(Endianness::Little);
        let part = Frame::from(vec![1; 100]);
        assert!(matches!(
            raw.load(&part, &layout(51), 1000),
            Err(LoadError::Length {
                expected: 102,
                actual: 100
            })
        ));
        for text in ["lz4<", "bs16-lz4<", "bs16<"] {
            let encoding: Encoding = text.parse().unwrap();
            let good = encoding.encode(&part, 2);
            assert_eq!(
                encoding.load(&good, &layout(50), 100).unwrap().data(),
                &part,
                "{text}"
            );
            for extent in [0, 1, 49, 51, 1 << 28] {
                assert!(
                    matches!(
                        encoding.load(&good, &layout(extent), 1 << 30),
                        Err(LoadError::Decompress(_) | LoadError::Length { .. })
                    ),
                    "{text} as {extent}"
                );
            }
            assert!(matches!(
                encoding.load(&good, &layout(1 << 40), 1 << 30),
                Err(LoadError::TooLarge { .. })
            ));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_encoding_that_comes_back_or_an_error(text in "(bs(8|16|32|64|128)?|[0-9]{0,3})-?(lz4)?[<>]?|.{0,12}") {
            if let Ok(encoding) = text.parse::<Encoding>() {
                assert_eq!(encoding.to_string().parse(), Ok(encoding));
            }
        }
    }
}
