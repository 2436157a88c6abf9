//! Stands in for `aws-lc-rs` in builds for fuzzing.
//!
//! AWS-LC takes minutes to compile, and nothing of it is fuzzed here: what is looked for is in the packets around it.
//! `ring` has the same interface and the same AES-256-GCM, HKDF and HMAC, and is there in seconds.

pub mod rand;

pub use ring::{aead, hkdf, hmac};
