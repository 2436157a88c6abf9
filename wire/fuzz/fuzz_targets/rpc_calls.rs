//! The calls of a client before a server that answers anything, in any order.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| flexbond_rpc::client::fuzz::calls(data));
