//! Arbitrary messages as envelopes: what is one is written as a message that is read as the same.
#![no_main]

use flexbond_rpc::envelope::{Envelope, Header, Metadata};
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = Script(data).message();
    if let Some(header) = message
        .get(0)
        .and_then(|frame| frame.first_chunk::<{ Header::LEN }>())
        && let Ok(header) = Header::decode(header)
    {
        let bytes = header.encode().expect("it was read");
        assert_eq!(Header::decode(&bytes), Ok(header));
    }
    if let Some(frame) = message.iter().last()
        && let Ok(metadata) = Metadata::decode(frame.clone())
    {
        assert!(metadata.len() <= Metadata::MAX_ENTRIES);
        assert_eq!(Metadata::decode(metadata.to_frame()), Ok(metadata));
    }
    let size = message.size();
    if let Ok(envelope) = Envelope::decode(message) {
        assert!(envelope.size() <= size);
        let again = envelope.encode().expect("it was read");
        assert_eq!(Envelope::decode(again), Ok(envelope));
    }
});
