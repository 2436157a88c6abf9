//! The transposition of bits: elements in a row to rows of bits, and back.
//!
//! Of n elements (a multiple of eight) of s bytes there are 8 s rows of n / 8 bytes. Row 8 j + k holds bit k of byte j
//! of every element; bit m of its byte i is that of element 8 i + m. Bits are counted from the least significant one.
//!
//! Both ways go through planes: plane j holds byte j of every element. Between rows and planes stand only transpositions
//! of 8 by 8 bits, which are three rounds of masked exchanges between the eight rows, the same in all lanes of a
//! vector; between planes and elements stands an interleaving of bytes. A tile of eight vectors of columns is taken at
//! a time, so that a plane's piece never leaves the cache.
//!
//! Vectors are those of `fearless_simd`: it needs no `unsafe` here, chooses AVX-512, AVX2, SSE or NEON when the program
//! runs, has no dependencies, and is kept by the Linebender project.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

/// The widest vector of any instruction set, in bytes.
const WIDEST: usize = 64;
/// The most bytes of one plane that a tile has.
const TILE: usize = 8 * WIDEST;

/// Puts the elements that `rows` hold into `elements`.
///
/// Both have the same length, a multiple of eight elements of `element_size` bytes.
pub(super) fn rows_to_elements(level: Level, rows: &[u8], element_size: usize, elements: &mut [u8]) {
    check(rows, elements, element_size);
    dispatch!(level, simd => untranspose(simd, rows, element_size, elements));
}

/// Puts the rows of bits of `elements` into `rows`.
///
/// Both have the same length, a multiple of eight elements of `element_size` bytes.
pub(super) fn elements_to_rows(level: Level, elements: &[u8], element_size: usize, rows: &mut [u8]) {
    check(rows, elements, element_size);
    dispatch!(level, simd => transpose(simd, elements, element_size, rows));
}

fn check(rows: &[u8], elements: &[u8], element_size: usize) {
    // The vectorized loops read and write whole rows: other lengths would be a mistake in this crate.
    assert!(element_size > 0 && rows.len() == elements.len() && rows.len().is_multiple_of(8 * element_size));
}

#[inline(always)]
fn untranspose<S: Simd>(simd: S, rows: &[u8], element_size: usize, elements: &mut [u8]) {
    match element_size {
        1 => untranspose_tiles::<S, 1>(simd, rows, elements),
        2 => untranspose_tiles::<S, 2>(simd, rows, elements),
        4 => untranspose_tiles::<S, 4>(simd, rows, elements),
        8 => untranspose_tiles::<S, 8>(simd, rows, elements),
        _ => {
            let row = rows.len() / (8 * element_size);
            let mut plane = [0; TILE];
            let tile = 8 * S::u8s::LEN;
            for column in tiles(row, S::u8s::LEN) {
                let elements = &mut elements[8 * column * element_size..][..tile * element_size];
                for byte in 0..element_size {
                    rows_to_plane(simd, &rows[8 * byte * row + column..], row, &mut plane[..tile]);
                    for (element, &value) in elements.chunks_exact_mut(element_size).zip(&plane[..tile]) {
                        element[byte] = value;
                    }
                }
            }
        }
    }
    untranspose_narrow(rows, element_size, elements, S::u8s::LEN);
}

#[inline(always)]
fn untranspose_tiles<S: Simd, const E: usize>(simd: S, rows: &[u8], elements: &mut [u8]) {
    let row = rows.len() / (8 * E);
    let tile = 8 * S::u8s::LEN;
    let mut planes = [[0; TILE]; E];
    for column in tiles(row, S::u8s::LEN) {
        let elements = &mut elements[8 * column * E..][..tile * E];
        for (byte, plane) in planes.iter_mut().enumerate() {
            rows_to_plane(simd, &rows[8 * byte * row + column..], row, &mut plane[..tile]);
        }
        for (at, elements) in elements.chunks_exact_mut(E * S::u8s::LEN).enumerate() {
            let mut vectors = [S::u8s::splat(simd, 0); E];
            for (vector, plane) in vectors.iter_mut().zip(&planes) {
                *vector = S::u8s::from_slice(simd, &plane[at * S::u8s::LEN..][..S::u8s::LEN]);
            }
            let vectors = interleave::<S, E>(vectors);
            for (vector, to) in vectors.iter().zip(elements.chunks_exact_mut(S::u8s::LEN)) {
                vector.store_slice(to);
            }
        }
    }
}

#[inline(always)]
fn transpose<S: Simd>(simd: S, elements: &[u8], element_size: usize, rows: &mut [u8]) {
    match element_size {
        1 => transpose_tiles::<S, 1>(simd, elements, rows),
        2 => transpose_tiles::<S, 2>(simd, elements, rows),
        4 => transpose_tiles::<S, 4>(simd, elements, rows),
        8 => transpose_tiles::<S, 8>(simd, elements, rows),
        _ => {
            let row = rows.len() / (8 * element_size);
            let mut plane = [0; TILE];
            let tile = 8 * S::u8s::LEN;
            for column in tiles(row, S::u8s::LEN) {
                let elements = &elements[8 * column * element_size..][..tile * element_size];
                for byte in 0..element_size {
                    for (element, value) in elements.chunks_exact(element_size).zip(&mut plane[..tile]) {
                        *value = element[byte];
                    }
                    plane_to_rows(simd, &plane[..tile], &mut rows[8 * byte * row + column..], row);
                }
            }
        }
    }
    transpose_narrow(elements, element_size, rows, S::u8s::LEN);
}

#[inline(always)]
fn transpose_tiles<S: Simd, const E: usize>(simd: S, elements: &[u8], rows: &mut [u8]) {
    let row = rows.len() / (8 * E);
    let tile = 8 * S::u8s::LEN;
    let mut planes = [[0; TILE]; E];
    for column in tiles(row, S::u8s::LEN) {
        let elements = &elements[8 * column * E..][..tile * E];
        for (at, elements) in elements.chunks_exact(E * S::u8s::LEN).enumerate() {
            let mut vectors = [S::u8s::splat(simd, 0); E];
            for (vector, from) in vectors.iter_mut().zip(elements.chunks_exact(S::u8s::LEN)) {
                *vector = S::u8s::from_slice(simd, from);
            }
            let vectors = deinterleave::<S, E>(vectors);
            for (vector, plane) in vectors.iter().zip(&mut planes) {
                vector.store_slice(&mut plane[at * S::u8s::LEN..][..S::u8s::LEN]);
            }
        }
        for (byte, plane) in planes.iter().enumerate() {
            plane_to_rows(simd, &plane[..tile], &mut rows[8 * byte * row + column..], row);
        }
    }
}

/// The first column of every tile of `width` columns; none if there are fewer columns than that.
///
/// The last tile overlaps the one before where `row` is not a multiple of `width`: what it writes there again is the
/// same. The loops over tiles are no closures, which would not be compiled for the vectors' instruction set.
#[inline(always)]
fn tiles(row: usize, width: usize) -> impl Iterator<Item = usize> {
    let last = row.saturating_sub(width);
    let count = if row < width { 0 } else { row.div_ceil(width) };
    (0..count).map(move |tile| (tile * width).min(last))
}

/// Eight rows of bits, `row` bytes from one to the next, to one plane: eight vectors.
#[inline(always)]
fn rows_to_plane<S: Simd>(simd: S, rows: &[u8], row: usize, plane: &mut [u8]) {
    let mut vectors = [S::u8s::splat(simd, 0); 8];
    for (k, vector) in vectors.iter_mut().enumerate() {
        *vector = S::u8s::from_slice(simd, &rows[k * row..][..S::u8s::LEN]);
    }
    let vectors = interleave::<S, 8>(exchange_bits(simd, vectors));
    for (vector, to) in vectors.iter().zip(plane.chunks_exact_mut(S::u8s::LEN)) {
        vector.store_slice(to);
    }
}

/// One plane to eight rows of bits, the reverse of [`rows_to_plane`].
#[inline(always)]
fn plane_to_rows<S: Simd>(simd: S, plane: &[u8], rows: &mut [u8], row: usize) {
    let mut vectors = [S::u8s::splat(simd, 0); 8];
    for (vector, from) in vectors.iter_mut().zip(plane.chunks_exact(S::u8s::LEN)) {
        *vector = S::u8s::from_slice(simd, from);
    }
    let vectors = exchange_bits(simd, deinterleave::<S, 8>(vectors));
    for (k, vector) in vectors.iter().enumerate() {
        vector.store_slice(&mut rows[k * row..][..S::u8s::LEN]);
    }
}

/// Bit b of byte i of vector a becomes bit a of byte i of vector b.
#[inline(always)]
fn exchange_bits<S: Simd>(simd: S, vectors: [S::u8s; 8]) -> [S::u8s; 8] {
    let mut words = [S::u64s::splat(simd, 0); 8];
    for (word, vector) in words.iter_mut().zip(vectors) {
        *word = vector.bitcast();
    }
    // Written out: a loop over the rounds is not unrolled, and then all eight vectors live in memory, each exchange waiting
    // for what the one before has stored.
    let [a, b, c, d, e, f, g, h] = words;
    let mask = S::u64s::splat(simd, 0x5555_5555_5555_5555);
    let (a, b) = exchange::<S, 1>(a, b, mask);
    let (c, d) = exchange::<S, 1>(c, d, mask);
    let (e, f) = exchange::<S, 1>(e, f, mask);
    let (g, h) = exchange::<S, 1>(g, h, mask);
    let mask = S::u64s::splat(simd, 0x3333_3333_3333_3333);
    let (a, c) = exchange::<S, 2>(a, c, mask);
    let (b, d) = exchange::<S, 2>(b, d, mask);
    let (e, g) = exchange::<S, 2>(e, g, mask);
    let (f, h) = exchange::<S, 2>(f, h, mask);
    let mask = S::u64s::splat(simd, 0x0f0f_0f0f_0f0f_0f0f);
    let (a, e) = exchange::<S, 4>(a, e, mask);
    let (b, f) = exchange::<S, 4>(b, f, mask);
    let (c, g) = exchange::<S, 4>(c, g, mask);
    let (d, h) = exchange::<S, 4>(d, h, mask);
    let words = [a, b, c, d, e, f, g, h];
    let mut vectors = vectors;
    for (vector, word) in vectors.iter_mut().zip(words) {
        *vector = word.bitcast();
    }
    vectors
}

/// The bits of `low` that are `DISTANCE` above those of the mask change places with those of `high` that are in it.
#[inline(always)]
fn exchange<S: Simd, const DISTANCE: u32>(low: S::u64s, high: S::u64s, mask: S::u64s) -> (S::u64s, S::u64s) {
    let differ = ((low >> DISTANCE) ^ high) & mask;
    (low ^ (differ << DISTANCE), high ^ differ)
}

/// The bytes of K vectors, one of each in turn. K is a power of two.
#[inline(always)]
fn interleave<S: Simd, const K: usize>(mut vectors: [S::u8s; K]) -> [S::u8s; K] {
    let mut round = 1;
    while round < K {
        let from = vectors;
        for pair in 0..K / 2 {
            (vectors[2 * pair], vectors[2 * pair + 1]) = from[pair].interleave(from[pair + K / 2]);
        }
        round *= 2;
    }
    vectors
}

/// The reverse of [`interleave`].
#[inline(always)]
fn deinterleave<S: Simd, const K: usize>(mut vectors: [S::u8s; K]) -> [S::u8s; K] {
    let mut round = 1;
    while round < K {
        let from = vectors;
        for pair in 0..K / 2 {
            (vectors[pair], vectors[pair + K / 2]) = from[2 * pair].deinterleave(from[2 * pair + 1]);
        }
        round *= 2;
    }
    vectors
}

/// Rows shorter than a vector (`width` bytes), column by column.
fn untranspose_narrow(rows: &[u8], element_size: usize, elements: &mut [u8], width: usize) {
    let row = rows.len() / (8 * element_size);
    if row >= width {
        return;
    }
    for (column, elements) in elements.chunks_exact_mut(8 * element_size).enumerate() {
        for byte in 0..element_size {
            let mut bits = [0; 8];
            for (k, bits) in bits.iter_mut().enumerate() {
                *bits = rows[(8 * byte + k) * row + column];
            }
            let bytes = exchange_bits_of_word(u64::from_le_bytes(bits)).to_le_bytes();
            for (element, value) in elements.chunks_exact_mut(element_size).zip(bytes) {
                element[byte] = value;
            }
        }
    }
}

/// The reverse of [`untranspose_narrow`].
fn transpose_narrow(elements: &[u8], element_size: usize, rows: &mut [u8], width: usize) {
    let row = rows.len() / (8 * element_size);
    if row >= width {
        return;
    }
    for (column, elements) in elements.chunks_exact(8 * element_size).enumerate() {
        for byte in 0..element_size {
            let mut bytes = [0; 8];
            for (value, element) in bytes.iter_mut().zip(elements.chunks_exact(element_size)) {
                *value = element[byte];
            }
            let bits = exchange_bits_of_word(u64::from_le_bytes(bytes)).to_le_bytes();
            for (k, bits) in bits.into_iter().enumerate() {
                rows[(8 * byte + k) * row + column] = bits;
            }
        }
    }
}

/// Bit b of byte a becomes bit a of byte b (the transposition of 8 by 8 bits of Warren, Hacker's Delight, 7-3).
fn exchange_bits_of_word(mut word: u64) -> u64 {
    for (distance, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let differ = (word ^ (word >> distance)) & mask;
        word ^= differ ^ (differ << distance);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn rows_of(elements: &[u8], element_size: usize) -> Vec<u8> {
        let row = elements.len() / (8 * element_size);
        let mut rows = vec![0; elements.len()];
        for (e, element) in elements.chunks(element_size).enumerate() {
            for (j, byte) in element.iter().enumerate() {
                for k in 0..8 {
                    rows[(8 * j + k) * row + e / 8] |= (byte >> k & 1) << (e % 8);
                }
            }
        }
        rows
    }

    /// All instruction sets that this machine has.
    fn levels() -> Vec<Level> {
        let best = Level::new();
        let mut levels = vec![Level::baseline(), best];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(best.as_sse4_2().map(Simd::level));
            levels.extend(best.as_avx2().map(Simd::level));
        }
        levels
    }

    #[test]
    fn every_instruction_set_transposes_as_defined() {
        for element_size in [1, 2, 3, 4, 5, 7, 8, 12, 16] {
            // Shorter than a vector, of one vector, and of several with a rest, whatever the vector's width.
            for columns in [0, 1, 2, 7, 15, 16, 17, 32, 33, 64, 65, 100, 128, 341] {
                let len = columns * 8 * element_size;
                let seed = (element_size * 1000 + columns) as u64;
                let elements: Vec<u8> = bytes(seed, len);
                let expected = rows_of(&elements, element_size);
                for level in levels() {
                    let mut rows = vec![0x55; len];
                    elements_to_rows(level, &elements, element_size, &mut rows);
                    assert_eq!(
                        rows, expected,
                        "{level:?}, {columns} columns of {element_size} bytes"
                    );
                    let mut back = vec![0xaa; len];
                    rows_to_elements(level, &rows, element_size, &mut back);
                    assert_eq!(
                        back, elements,
                        "{level:?}, {columns} columns of {element_size} bytes"
                    );
                }
            }
        }
    }

    fn bytes(mut state: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        for _ in 0..len {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.push((state >> 56) as u8);
        }
        bytes
    }
}
