//! Compressed parts: both ways in every framing, with honest parts and with such as lie.

use flexbond_stream::compression::{Codec, DecompressError, Lz4Error, MAX_ELEMENT_SIZE};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const ALL: [Codec; 6] = [
    Codec::Lz4Block,
    Codec::Lz4Sized,
    Codec::Lz4Hdf5,
    Codec::BitshuffleLz4,
    Codec::BitshuffleLz4Bare,
    Codec::Bitshuffle,
];
/// Those whose parts do not say how long their data are.
const SILENT: [Codec; 2] = [Codec::Lz4Block, Codec::BitshuffleLz4Bare];
const WITH_HEADER: [Codec; 2] = [Codec::Lz4Hdf5, Codec::BitshuffleLz4];
const SIZES: [usize; 8] = [1, 2, 3, 4, 5, 8, 12, 16];

/// Detector-like: small counts, now and then a bright pixel or a masked one.
fn counts(seed: u64, elements: usize, element_size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut data = Vec::with_capacity(elements * element_size);
    for _ in 0..elements {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match state >> 56 {
            0 => data.extend(vec![255; element_size]),
            1 => data.extend((0..element_size).map(|byte| (state >> (8 * (byte % 7))) as u8)),
            low => {
                data.push((low % 3) as u8);
                data.extend(vec![0; element_size - 1]);
            }
        }
    }
    data
}

fn both(codec: Codec, part: &[u8], element_size: usize, len: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = vec![0xa5; len];
    let into = codec.decompress_into(part, element_size, &mut out).map(|()| out);
    let new = codec.decompress(part, element_size, len);
    match (&into, &new) {
        (Ok(into), Ok(new)) => assert_eq!(into, new, "{codec:?}: the two ways differ"),
        (Err(_), Err(_)) => {}
        (into, new) => panic!("{codec:?}: {into:?} and {new:?}"),
    }
    new
}

#[test]
fn what_is_compressed_is_decompressed() {
    for codec in ALL {
        for size in SIZES {
            for elements in [0, 1, 5, 7, 8, 9, 16, 127, 128, 136, 1023, 4096, 4103] {
                let data = counts(elements as u64, elements, size);
                let part = codec.compress(&data, size);
                let declared = codec.declared_len(&part).unwrap();
                if SILENT.contains(&codec) {
                    assert_eq!(declared, None);
                } else {
                    assert_eq!(declared, Some(data.len()), "{codec:?}, {elements} of {size}");
                }
                assert_eq!(
                    both(codec, &part, size, data.len()),
                    Ok(data),
                    "{codec:?}, {elements} of {size}"
                );
            }
        }
    }
}

#[test]
fn noise_is_stored_and_does_not_grow_much() {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..100_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    assert_eq!(Codec::Lz4Hdf5.compress(&noise, 1).len(), noise.len() + 16);
    for codec in ALL {
        let part = codec.compress(&noise, 2);
        assert!(
            part.len() < noise.len() + noise.len() / 200 + 32,
            "{codec:?}: {} bytes",
            part.len()
        );
        assert_eq!(both(codec, &part, 2, noise.len()), Ok(noise.clone()));
    }
}

#[test]
fn a_part_cut_off_anywhere_is_an_error() {
    for codec in ALL {
        for size in [1, 2, 3, 4] {
            let data = counts(3, 139, size);
            let part = codec.compress(&data, size);
            for end in 0..part.len() {
                let error = both(codec, &part[..end], size, data.len()).unwrap_err();
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn bytes_after_the_data_are_an_error() {
    for codec in ALL {
        let data = counts(4, 300, 2);
        let mut part = codec.compress(&data, 2);
        part.push(0);
        let error = both(codec, &part, 2, data.len()).unwrap_err();
        if WITH_HEADER.contains(&codec) {
            assert_eq!(error, DecompressError::TrailingBytes { count: 1 });
        }
    }
}

#[test]
fn another_length_than_expected_is_an_error() {
    for codec in ALL {
        let data = counts(5, 300, 2);
        let part = codec.compress(&data, 2);
        for len in [0, 2, data.len() - 2, data.len() + 2, data.len() * 2] {
            let error = both(codec, &part, 2, len).unwrap_err();
            if !SILENT.contains(&codec) {
                assert_eq!(
                    error,
                    DecompressError::Length {
                        declared: data.len() as u64,
                        expected: len
                    }
                );
            }
        }
    }
}

/// A header with what follows it.
fn framed(len: u64, block: u32, rest: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], &block.to_be_bytes(), rest].concat()
}

#[test]
fn sizes_that_cannot_be_are_refused_before_memory_is_taken() {
    for codec in WITH_HEADER {
        for len in [u64::MAX, i64::MIN as u64, 1 << 62, 1 << 40, 1 + 255 * 10] {
            let part = framed(len, 0, &[0; 10]);
            let error = DecompressError::Implausible {
                len,
                part: part.len(),
            };
            assert_eq!(codec.declared_len(&part), Err(error.clone()));
            if let Ok(len) = usize::try_from(len) {
                assert_eq!(codec.decompress(&part, 1, len), Err(error));
            }
        }
    }
    let part = [0xff, 0xff, 0xff, 0xff, 0, 0];
    let error = DecompressError::Implausible {
        len: 0xffff_ffff,
        part: 6,
    };
    assert_eq!(Codec::Lz4Sized.declared_len(&part), Err(error));
    // Where the part does not say, the caller's length is what is checked.
    let error = DecompressError::Implausible {
        len: usize::MAX as u64,
        part: 6,
    };
    for codec in SILENT {
        assert_eq!(
            codec.decompress(&part, 1, usize::MAX),
            Err(error.clone()),
            "{codec:?}"
        );
    }
}

#[test]
fn a_header_that_cannot_be_is_not_taken_for_a_block() {
    let len = 4096;
    let part = framed(1 << 62, 8192, &[7; 43]);
    let codec = Codec::detect_bitshuffle_lz4(&part, len);
    assert_eq!(
        codec.decompress(&part, 2, len).unwrap_err().to_string(),
        "4611686018427387904 bytes of data cannot come out of a part of 55 bytes"
    );
    // A block that is cut off stays one.
    let bare = Codec::BitshuffleLz4Bare.compress(&vec![9; len], 2);
    assert_eq!(
        Codec::detect_bitshuffle_lz4(&bare[..8], len),
        Codec::BitshuffleLz4Bare
    );
}

#[test]
fn block_sizes_that_cannot_be_are_refused() {
    let data = counts(6, 64, 2);
    let honest = Codec::BitshuffleLz4.compress(&data, 2);
    for (block, element_size) in [(1, 2), (15, 2), (17, 2), (24, 2), (u32::MAX, 1), (1 << 31, 1)] {
        let part = framed(128, block, &honest[12..]);
        let error = DecompressError::BlockSize { block, element_size };
        assert_eq!(both(Codec::BitshuffleLz4, &part, 2, 128), Err(error), "{block}");
    }
    // Longer than the data: there is one block, as long as the data. Zero: the default.
    for block in [0, 128, 144, 1 << 30] {
        let part = framed(128, block, &honest[12..]);
        assert_eq!(
            both(Codec::BitshuffleLz4, &part, 2, 128).as_ref(),
            Ok(&data),
            "{block}"
        );
    }
    let part = framed(128, 0, &Codec::Lz4Hdf5.compress(&data, 2)[12..]);
    let error = DecompressError::BlockSize {
        block: 0,
        element_size: 1,
    };
    assert_eq!(both(Codec::Lz4Hdf5, &part, 2, 128), Err(error));
}

#[test]
fn a_block_that_lies_is_named() {
    let data = counts(7, 8192, 2);
    let part = Codec::BitshuffleLz4.compress(&data, 2);
    let second = 16 + u32::from_be_bytes(part[12..16].try_into().unwrap()) as usize + 4;

    // A token without literals asks for a copy of what is not there.
    let mut broken = part.clone();
    broken[second] = 0x00;
    match both(Codec::BitshuffleLz4, &broken, 2, data.len()) {
        Err(DecompressError::Block {
            position,
            len: 8192,
            source: Lz4Error::Offset { written: 0, .. },
        }) => {
            assert_eq!(position, second);
        }
        other => panic!("{other:?}"),
    }

    for length in [0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff_u32] {
        let mut broken = part.clone();
        broken[second - 4..second].copy_from_slice(&length.to_be_bytes());
        assert!(
            both(Codec::BitshuffleLz4, &broken, 2, data.len()).is_err(),
            "{length:x}"
        );
    }
}

#[test]
fn sizes_of_elements_are_checked() {
    for codec in [Codec::BitshuffleLz4, Codec::BitshuffleLz4Bare, Codec::Bitshuffle] {
        let data = counts(8, 100, 2);
        let part = codec.compress(&data, 2);
        for element_size in [0, MAX_ELEMENT_SIZE + 1, usize::MAX] {
            let error = DecompressError::ElementSize { element_size };
            assert_eq!(both(codec, &part, element_size, 200), Err(error));
        }
        let error = DecompressError::NotWholeElements {
            len: 200,
            element_size: 3,
        };
        assert_eq!(both(codec, &part, 3, 200), Err(error));
        let data = counts(9, 9, MAX_ELEMENT_SIZE);
        let part = codec.compress(&data, MAX_ELEMENT_SIZE);
        assert!(codec.decompress(&part, MAX_ELEMENT_SIZE, data.len()).unwrap() == data);
    }
}

#[test]
fn both_forms_of_dectris_lz4_are_detected() {
    for elements in [0, 1, 2, 8, 13, 100, 5000] {
        for data in [
            counts(10, elements, 4),
            vec![0; elements * 4],
            vec![255; elements * 4],
        ] {
            for codec in [Codec::Lz4Block, Codec::Lz4Hdf5] {
                let part = codec.compress(&data, 4);
                assert_eq!(Codec::detect_lz4(&part, data.len()), codec, "{elements}");
                // Not even another length than the one that was announced makes one the other.
                if !data.is_empty() {
                    assert_eq!(Codec::detect_lz4(&part, 17), codec, "{elements}");
                }
            }
        }
    }
    for short in 0..12 {
        assert_eq!(Codec::detect_lz4(&vec![0; short], 0), Codec::Lz4Block);
    }
}

#[test]
fn both_forms_of_dectris_bitshuffle_are_detected() {
    for elements in [1, 7, 8, 9, 100, 5000, 100_000] {
        for data in [
            counts(10, elements, 2),
            vec![0; elements * 2],
            vec![255; elements * 2],
        ] {
            let framed = Codec::BitshuffleLz4.compress(&data, 2);
            let bare = Codec::BitshuffleLz4Bare.compress(&data, 2);
            assert_eq!(bare, framed[12..]);
            for (part, codec) in [(&framed, Codec::BitshuffleLz4), (&bare, Codec::BitshuffleLz4Bare)] {
                assert_eq!(
                    Codec::detect_bitshuffle_lz4(part, data.len()),
                    codec,
                    "{elements}"
                );
            }
        }
    }
    // A header that lies about the data is a header all the same.
    let framed = Codec::BitshuffleLz4.compress(&counts(11, 100, 2), 2);
    assert_eq!(Codec::detect_bitshuffle_lz4(&framed, 300), Codec::BitshuffleLz4);
}

proptest! {
    #[test]
    fn any_data_come_back(
        codec in select(&ALL[..]),
        element_size in select(&SIZES[..]),
        seed in any::<u64>(),
        elements in 0_usize..1200,
    ) {
        let data = counts(seed, elements, element_size);
        let part = codec.compress(&data, element_size);
        prop_assert_eq!(both(codec, &part, element_size, data.len()), Ok(data));
    }

    #[test]
    fn any_bytes_are_an_answer(
        codec in select(&ALL[..]),
        element_size in 0_usize..20,
        part in vec(any::<u8>(), 0..400),
        len in 0_usize..2000,
    ) {
        let _ = both(codec, &part, element_size, len);
        let _ = codec.declared_len(&part);
        let _ = Codec::detect_lz4(&part, len);
    }

    #[test]
    fn any_blocks_are_an_answer(
        codec in select(&WITH_HEADER[..]),
        element_size in 1_usize..20,
        block in prop_oneof![Just(0_u32), (0_u32..40).prop_map(|n| n * 8), any::<u32>()],
        rest in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..400),
        len in 0_usize..2000,
    ) {
        let _ = both(codec, &framed(len as u64, block, &rest), element_size, len);
    }

    #[test]
    fn any_damage_is_an_answer(
        codec in select(&ALL[..]),
        element_size in select(&SIZES[..]),
        elements in 0_usize..3000,
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let data = counts(11, elements, element_size);
        let mut part = codec.compress(&data, element_size);
        for (at, byte) in damage {
            if !part.is_empty() {
                let at = at.index(part.len());
                part[at] = byte;
            }
        }
        let _ = both(codec, &part, element_size, data.len());
    }
}
