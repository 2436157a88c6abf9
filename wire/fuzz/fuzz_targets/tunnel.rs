//! What a tunnel reads from a connection, cut anywhere: the same packets, and none larger than one may be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| flexbond_transport::fuzz::tunnel(data));
