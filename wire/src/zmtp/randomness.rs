//! Random bytes for one connection: this crate draws none itself.

use std::fmt;

use super::secret_array::SecretArray;

/// What the mechanism CURVE needs of chance for one connection: its short-term key, and what goes into nonces.
///
/// The bytes come from whoever drives the connection, and must be the operating system's (or as good), new for every
/// connection, and told to nobody. They are overwritten when this is dropped.
pub struct Randomness(SecretArray<{ Self::LEN }>);

impl Randomness {
    /// How many bytes there are.
    pub const LEN: usize = 96;

    /// Takes the bytes over. What the caller keeps of them, the caller has to wipe; [`try_fill`](Self::try_fill) leaves
    /// nothing to keep.
    #[must_use]
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Randomness(SecretArray::take(bytes))
    }

    /// Lets `fill` write the bytes where they stay.
    ///
    /// # Errors
    /// That of `fill`.
    pub fn try_fill<E>(fill: impl FnOnce(&mut [u8; Self::LEN]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = SecretArray::zeros();
        fill(&mut bytes)?;
        Ok(Randomness(bytes))
    }

    /// `N` of the bytes, from `at` on, for a secret. Each byte has one use only.
    #[cfg_attr(not(feature = "curve"), expect(dead_code, reason = "only CURVE needs any"))]
    pub(crate) fn secret<const N: usize>(&self, at: usize) -> SecretArray<N> {
        let mut part = SecretArray::zeros();
        part.copy_from_slice(&self.0[at..at + N]);
        part
    }

    /// `N` of the bytes, from `at` on, for a nonce that everybody may see.
    #[cfg_attr(not(feature = "curve"), expect(dead_code, reason = "only CURVE needs any"))]
    pub(crate) fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut part = [0; N];
        part.copy_from_slice(&self.0[at..at + N]);
        part
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness(..)")
    }
}
