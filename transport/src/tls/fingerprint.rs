//! A certificate in 32 bytes.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{self, SHA256};
use thiserror::Error;

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it: one certificate alone has it,
/// and its successor has another.
///
/// Written as 64 hexadecimal digits; read with colons between the bytes or without, in capital letters or small ones.
///
/// ```
/// use flexbond_transport::Fingerprint;
///
/// let fingerprint = Fingerprint::of(b"a certificate in DER");
/// assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no [`Fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, with colons between all bytes or none")]
#[non_exhaustive]
pub struct FingerprintError;

impl Fingerprint {
    /// That of this certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&SHA256, certificate).as_ref());
        Fingerprint(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Fingerprint(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.as_bytes();
        // Two digits for each byte, and the colon that may follow.
        let step = match text.len() {
            64 => 2,
            95 => 3,
            _ => return Err(FingerprintError),
        };
        let mut bytes = [0; 32];
        for (byte, chunk) in bytes.iter_mut().zip(text.chunks(step)) {
            let (digits, colon) = chunk.split_at(2);
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(FingerprintError);
            if !matches!(colon, b"" | b":") {
                return Err(FingerprintError);
            }
            *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_openssl_prints_it() {
        // printf abc | openssl sha256 -c
        let plain = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(fingerprint.to_string(), plain);
        let pairs: Vec<&str> = (0..32).map(|byte| &plain[2 * byte..][..2]).collect();
        let colons = pairs.join(":").to_uppercase();
        for text in [plain, &plain.to_uppercase(), &colons] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for wrong in [
            "",
            &plain[1..],
            &format!("{plain}:"),
            &colons.replacen(':', "0", 1),
            &colons.replacen(':', "", 1),
            &plain.replacen('b', "g", 1),
            &plain.replacen("ba", "ä", 1),
            &plain.replacen("ba", "+a", 1),
        ] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong}");
        }
    }
}
