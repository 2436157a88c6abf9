//! Writing CBOR into memory.

use std::convert::Infallible;

use bytes::Bytes;

pub(super) type Encoder = minicbor::Encoder<Vec<u8>>;
pub(super) type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// The bytes that `write` makes, about `size` of them.
pub(super) fn to_bytes(size: usize, write: impl FnOnce(&mut Encoder) -> Written) -> Bytes {
    let mut encoder = Encoder::new(Vec::with_capacity(size));
    // A vector takes every byte, and none of the writers here has an error of its own.
    write(&mut encoder).expect("memory can be written to");
    Bytes::from(encoder.into_writer())
}
