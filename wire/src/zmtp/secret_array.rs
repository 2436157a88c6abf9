//! Secret bytes of a fixed number, which stay where they are.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::{Zeroize, Zeroizing};

/// `N` secret bytes on the heap, wiped when dropped.
///
/// A value that is moved is copied, and nobody wipes where it was; what moves here is a pointer.
#[derive(Clone)]
pub(crate) struct SecretArray<const N: usize>(Box<Zeroizing<[u8; N]>>);

impl<const N: usize> SecretArray<N> {
    /// Zeros, to be filled in.
    pub(crate) fn zeros() -> Self {
        SecretArray(Box::new(Zeroizing::new([0; N])))
    }

    /// A copy of these bytes.
    pub(crate) fn copy_of(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zeros();
        secret.copy_from_slice(bytes);
        secret
    }

    /// Takes bytes over that were passed by value, and wipes where they were passed.
    pub(crate) fn take(mut bytes: [u8; N]) -> Self {
        let secret = Self::copy_of(&bytes);
        bytes.zeroize();
        secret
    }
}

impl<const N: usize> Deref for SecretArray<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for SecretArray<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> fmt::Debug for SecretArray<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArray(..)")
    }
}
