//! Random bytes of the system.

use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};

/// Fills `bytes`.
///
/// # Errors
/// When the system has none.
pub fn fill(bytes: &mut [u8]) -> Result<(), Unspecified> {
    SystemRandom::new().fill(bytes)
}
