//! What comes from the members of a session as the parts of messages, whole or in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| flexbond_stream::fuzz::parts(data));
