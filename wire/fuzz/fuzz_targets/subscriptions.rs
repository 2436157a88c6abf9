//! Subscriptions and cancellations beside a plain list of them, and what sockets of one process say of themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| flexbond_session::socket::fuzz::subscriptions(data));
