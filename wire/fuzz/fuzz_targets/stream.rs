//! Arbitrary messages of a stream, one after the other, with all that they hold taken out within a limit. What was
//! understood is written as something that is understood alike.
#![no_main]

use flexbond_stream::{Body, Decoder, StreamMessage};
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

/// Bytes that an array may have, unpacked.
const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let mut decoder = Decoder::new();
    while !script.is_over() {
        let message = script.message();
        let header = StreamMessage::header_of(&message);
        if let Ok(read) = decoder.decode(&message) {
            let header = header.expect("a message that was read has one");
            assert_eq!(read.header, header);
            open(&read);
            // By who has heard the same: bsread leaves out a data header that is what it was.
            let again = decoder.decode(&read.encode()).expect("it was read");
            assert_eq!(again.header, read.header);
            assert_eq!(again.parts(), read.parts());
        }
        while decoder.poll_series_event().is_some() {}
    }
});

fn open(message: &StreamMessage) {
    match &message.body {
        Body::Arrays(arrays) => {
            for index in 0..arrays.len() {
                if let Ok(Some(array)) = arrays.to_array_within(index, LIMIT) {
                    assert_eq!(array.data().len(), array.layout().size());
                }
            }
        }
        Body::DetectorImage(image) => {
            let _ = image.times();
            if let Ok(array) = image.to_array_within(LIMIT) {
                assert_eq!(array.data().len(), image.layout().size());
            }
        }
        Body::Bsread(pulse) => {
            let _ = (pulse.timestamp(), pulse.hash_fits());
            for reading in pulse.iter() {
                let _ = reading.timestamp();
                let _ = reading.value_within(LIMIT);
            }
        }
        _ => {}
    }
}
