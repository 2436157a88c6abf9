//! A whole session, plain or with a key, whose members do what the bytes say, on a network that does what they say: loss,
//! what was said before, what was changed, what anybody says from anywhere, and what a member with the keys makes up in
//! its own name or another's. Nothing may panic, no key may seal twice under one number, and what waits is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // What is longer says nothing else, slower.
    if data.len() <= 2048 {
        flexbond_session::group::fuzz::session(data);
    }
});
