//! Arbitrary parts to be decompressed, and arbitrary data through each codec and back.
#![no_main]

use flexbond_stream::compression::Codec;
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 6] = [
    Codec::Lz4Block,
    Codec::Lz4Sized,
    Codec::Lz4Hdf5,
    Codec::BitshuffleLz4,
    Codec::BitshuffleLz4Bare,
    Codec::Bitshuffle,
];

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let codec = CODECS[usize::from(script.byte()) % CODECS.len()];
    let element_size = usize::from(script.byte());
    let len = script.word() << (script.byte() % 6);
    let part = script.0;
    let declared = codec.declared_len(part);
    if let Ok(opened) = codec.decompress(part, element_size, len) {
        assert_eq!(opened.len(), len);
        assert!(declared.is_ok_and(|declared| declared.is_none_or(|declared| declared == len)));
        let mut out = vec![0xa5; len];
        assert_eq!(codec.decompress_into(part, element_size, &mut out), Ok(()));
        assert_eq!(out, opened);
    }
    let _ = Codec::detect_lz4(part, len);
    let _ = Codec::detect_bitshuffle_lz4(part, len);
    let element_size = element_size.max(1);
    let whole = &part[..part.len() / element_size * element_size];
    let packed = codec.compress(whole, element_size);
    assert_eq!(
        codec.decompress(&packed, element_size, whole.len()).as_deref(),
        Ok(whole)
    );
});
