//! Arbitrary payloads for the codecs: what decodes must encode to something that decodes to the same.
#![no_main]

use std::collections::BTreeMap;

use flexbond_wire::codec::{Codec, Json, Postcard};
use libfuzzer_sys::fuzz_target;

type Value = (u64, Option<String>, Vec<(i32, bool)>, BTreeMap<String, Vec<u8>>);

fn check<C: Codec>(codec: &C, payload: &[u8]) {
    if let Ok(value) = codec.decode::<Value>(payload) {
        let frame = codec
            .encode(&value)
            .expect("every value of this type can be written");
        assert_eq!(codec.decode::<Value>(&frame).expect("just written"), value);
    }
}

fuzz_target!(|payload: &[u8]| {
    check(&Postcard, payload);
    check(&Json, payload);
});
