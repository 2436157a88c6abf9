//! Arbitrary bytes as messages of stream V2: what is one is written as something that is read as the same, and what is in
//! it is taken out within a limit.
#![no_main]

use flexbond_stream::stream2::{Event, Message};
use libfuzzer_sys::fuzz_target;

/// Bytes that an array may have, unpacked.
const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::decode(data.to_vec()) else {
        return;
    };
    let _ = message.header();
    if let Event::Image(image) = message.event() {
        for (_, channel) in image.data.iter().flat_map(|channels| channels.iter()) {
            let _ = channel.data_within(LIMIT);
        }
    }
    let written = Message::new(message.into_event());
    let again = Message::decode(written.encode()).expect("it was written");
    // What is not a number is not equal to itself, but is written alike.
    assert_eq!(Message::new(again.into_event()).encode(), written.encode());
});
