//! A password or key: wiped when dropped, never shown, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret run of bytes.
///
/// Its memory is overwritten when it is dropped, `Debug` does not show it, and two secrets are compared in a time
/// that depends on their lengths alone.
///
/// ```
/// use flexbond_wire::zmtp::Secret;
///
/// let password = Secret::from("open sesame");
/// assert_eq!(password.expose(), b"open sesame");
/// assert_eq!(format!("{password:?}"), "Secret(..)");
/// assert!(password == Secret::from("open sesame"));
/// ```
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(secret: Vec<u8>) -> Self {
        Secret(Zeroizing::new(secret))
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Secret::from(secret.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Secret::from(secret.as_bytes())
    }
}

impl From<&[u8]> for Secret {
    fn from(secret: &[u8]) -> Self {
        Secret::from(secret.to_vec())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_looks_at_every_byte() {
        assert_eq!(Secret::from("abc"), Secret::from(b"abc".as_slice()));
        assert_ne!(Secret::from("abc"), Secret::from("abd"));
        assert_ne!(Secret::from("abc"), Secret::from("abcd"));
    }

    #[test]
    fn debug_hides_the_content() {
        assert!(!format!("{:?}", Secret::from("hunter2")).contains("hunter2"));
    }
}
