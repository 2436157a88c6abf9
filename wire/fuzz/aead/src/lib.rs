//! Stands in for `aws-lc-rs` in builds for fuzzing.
//!
//! AWS-LC takes minutes to compile, and nothing of it is fuzzed here: what is looked for is in the packets around it.
//! `ring` has the same interface and the same AES-256-GCM, HKDF and HMAC, and is there in seconds.

pub use ring::{aead, hkdf, hmac};

/// Random bytes of the system.
pub mod rand {
    use ring::error::Unspecified;
    use ring::rand::{SecureRandom, SystemRandom};

    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the system has none.
    pub fn fill(bytes: &mut [u8]) -> Result<(), Unspecified> {
        SystemRandom::new().fill(bytes)
    }
}
