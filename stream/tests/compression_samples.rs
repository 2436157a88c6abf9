//! Parts that other programs wrote, byte for byte: what they hold is what it must be.
//!
//! They come from PyPI `hdf5plugin` 7.1.0 (the chunk of a dataset `x` of the data, one chunk, read with
//! `read_direct_chunk` of `h5py` 3.16.0, with `Bitshuffle(nelems=…, cname='lz4')` or `LZ4(nbytes=…)`), `bitshuffle`
//! 0.5.2 (`bitshuffle(data)`), `lz4` 4.4.5 (`lz4.block.compress(data, store_size=False)`) and `psi-bsread` 2.0.1 (the
//! data frame of a channel, as it came out of the socket). The data of all are [`data`].

use flexbond_stream::compression::Codec;

/// Element i is i² 7919 / 8 modulo 5, but all ones for every 61st; little-endian.
fn data(elements: u64, element_size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for i in 0..elements {
        if i % 61 == 60 {
            data.extend(vec![0xff; element_size]);
        } else {
            data.push((i * i * 7919 / 8 % 5) as u8);
            data.extend(vec![0; element_size - 1]);
        }
    }
    data
}

/// Byte i is the low byte of i² 40503 / 128.
fn noise(len: u64) -> Vec<u8> {
    (0..len).map(|i| ((i * i * 40503) >> 7) as u8).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .collect::<String>()
        .as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

fn check(codec: Codec, hex: &str, element_size: usize, data: &[u8]) {
    let part = bytes(hex);
    if codec != Codec::Lz4Block {
        assert_eq!(codec.declared_len(&part), Ok(Some(data.len())));
    }
    let mut out = vec![0xa5; data.len()];
    assert_eq!(codec.decompress_into(&part, element_size, &mut out), Ok(()));
    assert_eq!(out, data);
    assert_eq!(
        codec.decompress(&part, element_size, data.len()).as_deref(),
        Ok(data)
    );
    for end in 0..part.len() {
        assert!(
            codec.decompress(&part[..end], element_size, data.len()).is_err(),
            "cut off at {end}"
        );
    }
}

#[test]
fn hdf5plugin_bitshuffle_u16_in_blocks_of_64() {
    // 171 elements: two blocks, one of 40 elements, three elements as they are.
    let part = "
        0000000000000156000000800000002bf20ab8a0830b3ab8a0939835835933983593060a6ca0c0060a7c000100121007
        000f0800425000000000100000002bf20a0b3ab8a0830b3aba593398358359339aa0c0060a6ca0c00600010012020700
        0f0800425000000000020000001bff01a0830b3ab835835933980a6ca0c00600010028500000000000020004000200";
    check(Codec::BitshuffleLz4, part, 2, &data(171, 2));
}

#[test]
fn hdf5plugin_bitshuffle_u32_in_one_block_of_the_default_size() {
    let part = "
        000000000000022c000020000000004680b8a0830b3ab8a0930500d0830b3abaa098358359339835930500d08359339a
        35060a6ca0c0060a7c0500010a00120001001210070023000208000f1100ffbf50000000020003000000030000000400
        0000";
    check(Codec::BitshuffleLz4, part, 4, &data(139, 4));
}

#[test]
fn hdf5plugin_bitshuffle_u8() {
    let part = "
        000000000000004d000020000000002ef20db8a0830b3ab8a0930b983583593398359359060a6ca0c0060a7ca0000100
        121007000f0900075000000010000203000103";
    check(Codec::BitshuffleLz4, part, 1, &data(77, 1));
}

#[test]
fn hdf5plugin_bitshuffle_u64_in_blocks_of_8() {
    let part = "
        00000000000000a8000000400000000e4fb89806000100245000000000000000000e4fa0350a00010024500000000000
        03000000000000000300000000000000040000000000000004000000000000000000000000000000";
    check(Codec::BitshuffleLz4, part, 8, &data(21, 8));
}

#[test]
fn hdf5plugin_bitshuffle_elements_of_three_bytes() {
    let part = "
        000000000000008700000030000000117fb8a09835060a00010011500000000000000000117f830b83596ca000010011
        5000000000000000000d4b3a33c0000100500000000000000000040000040000030000030000";
    check(Codec::BitshuffleLz4, part, 3, &data(45, 3));
}

#[test]
fn bitshuffle_without_compression_is_the_same_both_ways() {
    let part = "
        b8a0830b3a9835835933060a6ca0c0000000000000000000000000000000000000000000000000000000000000000000
        0000000000000000000000000000000000000000000000000000000000000000000004000400";
    let data = data(43, 2);
    check_both(part, 2, &data);
    let part = "
        b8a083983583060a6c000000000000000000000000000000000000000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000030000010000000000";
    check_both(part, 3, &self::data(27, 3));
}

fn check_both(part: &str, element_size: usize, data: &[u8]) {
    check(Codec::Bitshuffle, part, element_size, data);
    assert_eq!(Codec::Bitshuffle.compress(data, element_size), bytes(part));
}

#[test]
fn hdf5plugin_lz4_in_blocks_of_100_bytes() {
    let part = "
        0000000000000168000000640000003b53000000000404001303040010011500030c0013021c00080800002800000200
        002800000c00000400044400000200040c008003000000030000000000004722010001009b0300000002000000040800
        001800000200002800000c00000400002400000400000200000800000400001800000400002800000200000c00800200
        000004000000000000488002000000040000000800220300010013010c00001000001c0000040040ffffffff08000004
        00001800000400002800000200000c00004000001c000808008003000000000000000000002753010000000304001304
        0400000200040c00041c00002800000200001000800200000004000000";
    check(Codec::Lz4Hdf5, part, 4, &data(90, 4));
    assert_eq!(Codec::detect_lz4(&bytes(part), 360), Codec::Lz4Hdf5);
}

#[test]
fn hdf5plugin_lz4_of_noise_is_stored() {
    let part = "
        00000000000000500000004000000040003cf11fc6e67f911b1e9a8ffde4441c6e387b376b193fdff7889215108572d8
        b80fe02aec28dc09afce6576ff027d71dec322f94912540f43f015b3ca5a63e500000010e0533fa482d9a9f2b3eda0cc
        718f2635";
    check(Codec::Lz4Hdf5, part, 2, &noise(80));
    assert_eq!(Codec::Lz4Hdf5.compress(&noise(80), 2)[16..], noise(80));
}

#[test]
fn lz4_block() {
    let part = "
        53000000000404001303040010011500030c0013021c0008080011031e000228000434000444000f50008d44ffffffff
        ac0004bc000ff0004c500004000000";
    check(Codec::Lz4Block, part, 4, &data(90, 4));
    assert_eq!(Codec::detect_lz4(&bytes(part), 360), Codec::Lz4Block);
}

#[test]
fn bsread_lz4() {
    // The length is little-endian for channels of either encoding.
    let part = "
        6801000053000000000404001303040010011500030c0013021c0008080011031e000228000434000444000f50008d44
        ffffffffac0004bc000ff0004c500004000000";
    check(Codec::Lz4Sized, part, 4, &data(90, 4));
    check(
        Codec::Lz4Sized,
        "08000000 80 0700000008000000",
        4,
        &[7, 0, 0, 0, 8, 0, 0, 0],
    );
    // As another sender may write it.
    check(
        Codec::Lz4Sized,
        "00000008 80 0700000008000000",
        4,
        &[7, 0, 0, 0, 8, 0, 0, 0],
    );
}

#[test]
fn a_length_that_could_be_read_both_ways_is_what_the_block_holds() {
    // 65,792 is the same in three bytes either way; 66,048 and 131,328 are each other's.
    for (len, other) in [(0x0001_0200_u32, 0x0002_0100_u32), (0x0002_0100, 0x0001_0200)] {
        let data: Vec<u8> = noise(u64::from(len));
        let little = Codec::Lz4Sized.compress(&data, 1);
        assert_eq!(little[..4], len.to_le_bytes());
        assert_eq!(u32::from_be_bytes(little[..4].try_into().unwrap()), other);
        let mut big = little.clone();
        big[..4].copy_from_slice(&len.to_be_bytes());
        for part in [little, big] {
            assert_eq!(Codec::Lz4Sized.declared_len(&part), Ok(Some(data.len())));
            assert!(Codec::Lz4Sized.decompress(&part, 1, data.len()).unwrap() == data);
        }
    }
}

#[test]
fn bsread_bitshuffle_lz4() {
    let part = "
        00000000000001680000200000000038f213b8a0830b3ab8a0930b3ab89835835933983593593398060a6ca0c0060a7c
        a0c006000100121007000002000f0b00ff165000100000000200000004000000";
    check(Codec::BitshuffleLz4, part, 4, &data(90, 4));
    let part = "0000000000000008 00002000 0700000008000000";
    check(Codec::BitshuffleLz4, part, 4, &[7, 0, 0, 0, 8, 0, 0, 0]);
}
