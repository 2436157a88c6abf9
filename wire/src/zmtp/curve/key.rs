//! Public and secret keys.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::z85;
use crate::zmtp::secret_array::SecretArray;

/// The half of a key pair that everybody may know: 32 bytes, or 40 characters of Z85 (RFC 32).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        PublicKey(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        read(text).map(|bytes| PublicKey(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&*z85::encode(&self.0)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The half of a key pair that its owner tells nobody.
///
/// Its memory is overwritten when it is dropped, `Debug` does not show it, and two of them are compared in constant
/// time.
#[derive(Clone)]
pub struct SecretKey(SecretArray<32>);

impl SecretKey {
    /// The key of these bytes: any 32 that nobody can guess, the operating system's random numbers for instance.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        SecretKey(SecretArray::take(bytes))
    }

    /// Lets `fill` write the bytes where they stay: [`from_bytes`](Self::from_bytes) cannot wipe what its caller keeps.
    ///
    /// # Errors
    /// That of `fill`.
    pub fn try_fill<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = SecretArray::zeros();
        fill(&mut bytes)?;
        Ok(SecretKey(bytes))
    }

    /// The key of these bytes.
    pub(crate) const fn from_secret(bytes: SecretArray<32>) -> Self {
        SecretKey(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its 40 characters of Z85, as they stand in a certificate file.
    #[must_use]
    pub fn expose_z85(&self) -> Zeroizing<String> {
        Zeroizing::new(String::from_utf8_lossy(&*z85::encode(&self.0)).into_owned())
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        read(text).map(SecretKey)
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A secret key and the public key that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    public: PublicKey,
    secret: SecretKey,
}

impl KeyPair {
    /// The half that everybody may know.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The half that nobody else may know.
    #[must_use]
    pub const fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl From<SecretKey> for KeyPair {
    fn from(secret: SecretKey) -> Self {
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*secret.expose()));
        KeyPair {
            public: PublicKey(public.to_bytes()),
            secret,
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A text is not a key. It does not show the text, which may be nearly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key in Z85 has 40 characters.
    #[error("a key has 40 characters of Z85, not {len} bytes")]
    Length {
        /// The bytes of the text.
        len: usize,
    },
    /// A character that Z85 does not have, or not there.
    #[error("character {position} is not one that a key in Z85 can have there")]
    Character {
        /// Which one it is, from 1 on.
        position: usize,
    },
}

fn read(text: &str) -> Result<SecretArray<32>, KeyError> {
    let digits = text
        .as_bytes()
        .try_into()
        .map_err(|_| KeyError::Length { len: text.len() })?;
    z85::decode(digits).map_err(|position| KeyError::Character {
        position: position + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_keys_are_refused_and_not_repeated() {
        let short = "abc".parse::<SecretKey>().expect_err("too short");
        assert_eq!(short, KeyError::Length { len: 3 });
        assert!(!short.to_string().contains("abc"));
        let mut text = "0".repeat(39);
        text.push('"');
        let wrong = text.parse::<PublicKey>().expect_err("not of the alphabet");
        assert_eq!(wrong, KeyError::Character { position: 40 });
        assert!("ü".repeat(20).parse::<PublicKey>().is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = KeyPair::from(SecretKey::from_bytes([7; 32]));
        let text = keys.secret().expose_z85();
        assert!(!format!("{keys:?} {:?}", keys.secret()).contains(text.as_str()));
        assert_eq!(text.parse::<SecretKey>().as_ref(), Ok(keys.secret()));
    }
}
