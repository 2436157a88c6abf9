//! Arbitrary bodies and buffers as values, in each codec: what is one is written as something that is read as the same.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use flexbond_rpc::envelope::Codec;
use flexbond_rpc::{AnyTensor, Buffer, Tensor};
use flexbond_transport::Frame;
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

type Plain = (u64, Option<String>, Vec<(i32, bool)>, BTreeMap<String, Vec<u8>>);
type Lent = (Buffer, Vec<Buffer>, Option<String>);

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let choice = script.byte();
    let codec = [Codec::Postcard, Codec::Json, Codec::MessagePack][usize::from(choice) % 3];
    let message = script.message();
    let body = script.0;
    match choice / 3 % 5 {
        0 => check::<Plain>(codec, body, message.into_frames()),
        1 => check::<Lent>(codec, body, message.into_frames()),
        2 => check::<AnyTensor>(codec, body, message.into_frames()),
        3 => check::<Tensor<f64>>(codec, body, message.into_frames()),
        _ => check::<(Tensor<u8>, Option<AnyTensor>, Buffer)>(codec, body, message.into_frames()),
    }
});

fn check<T: Serialize + DeserializeOwned + Debug>(codec: Codec, body: &[u8], buffers: Vec<Frame>) {
    let Ok(value) = codec.decode::<T>(body, buffers) else {
        return;
    };
    let written = codec.encode(&value).expect("it was read");
    let again = codec
        .decode::<T>(&written.body, written.buffers.clone())
        .expect("it was written");
    // What is not a number is not equal to itself, but is written alike.
    assert_eq!(codec.encode(&again).expect("it was read"), written, "{value:?}");
}
