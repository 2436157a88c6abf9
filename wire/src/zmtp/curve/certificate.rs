//! Keys in files: the format of czmq's `zcert` and of pyzmq's `zmq.auth` (ZPL, RFC 4).

use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyError, KeyPair, PublicKey, SecretKey};

/// The text of a file with a public key, and perhaps with its secret key.
///
/// czmq writes two files, `FILE` and `FILE_secret`, pyzmq `NAME.key` and `NAME.key_secret`: the first is for everybody, the
/// second for its owner alone. Both read what is written here.
///
/// ```
/// use flexbond_wire::zmtp::curve::{Certificate, KeyPair, SecretKey};
///
/// let keys = KeyPair::from(SecretKey::from_bytes([7; 32]));
/// let public: Certificate = Certificate::public_text(&keys).parse()?;
/// assert_eq!((public.public, public.keys), (*keys.public(), None));
/// let secret: Certificate = Certificate::secret_text(&keys).parse()?;
/// assert_eq!(secret.keys, Some(keys));
/// # Ok::<(), flexbond_wire::zmtp::curve::CertificateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The public key.
    pub public: PublicKey,
    /// Both keys, if the secret one is there.
    pub keys: Option<KeyPair>,
}

impl Certificate {
    /// The text of a file for everybody.
    #[must_use]
    pub fn public_text(keys: &KeyPair) -> String {
        format!(
            "#   CURVE public key, made by flexbond\n\
             #   For everybody who is to know its owner. Make sure that it arrives unchanged.\n\
             \n\
             metadata\n\
             curve\n    public-key = \"{}\"\n",
            keys.public()
        )
    }

    /// The text of the file that its owner keeps.
    #[must_use]
    pub fn secret_text(keys: &KeyPair) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "#   CURVE secret key, made by flexbond\n\
             #   DO NOT GIVE THIS FILE TO ANYBODY, and let nobody else read it.\n\
             \n\
             metadata\n\
             curve\n    public-key = \"{}\"\n    secret-key = \"{}\"\n",
            keys.public(),
            keys.secret().expose_z85().as_str()
        ))
    }
}

impl FromStr for Certificate {
    type Err = CertificateError;

    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let mut in_curve = false;
        let (mut public, mut secret) = (None, None);
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if !line.starts_with(char::is_whitespace) {
                in_curve = plain(trimmed) == "curve";
                continue;
            }
            let Some((name, value)) = trimmed.split_once('=').filter(|_| in_curve) else {
                continue;
            };
            let value = unquoted(value.trim());
            match name.trim() {
                "public-key" if public.is_some() => return Err(CertificateError::Twice("public-key")),
                "secret-key" if secret.is_some() => return Err(CertificateError::Twice("secret-key")),
                "public-key" => {
                    let key = value.parse::<PublicKey>();
                    public = Some(key.map_err(|error| CertificateError::Key("public-key", error))?);
                }
                "secret-key" => {
                    let key = value.parse::<SecretKey>();
                    secret = Some(key.map_err(|error| CertificateError::Key("secret-key", error))?);
                }
                _ => {}
            }
        }
        let keys = secret.map(KeyPair::from);
        let public = match (public, &keys) {
            (Some(public), Some(keys)) if public != *keys.public() => return Err(CertificateError::Mismatch),
            (Some(public), _) => public,
            (None, Some(keys)) => *keys.public(),
            (None, None) => return Err(CertificateError::NoKey),
        };
        Ok(Certificate { public, keys })
    }
}

/// A text without the comment that may follow it.
fn plain(text: &str) -> &str {
    text.split_once(" #")
        .map_or(text, |(before, _)| before)
        .trim_end()
}

/// What is between quotes, whatever follows it; without quotes, all but a comment.
fn unquoted(value: &str) -> &str {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let inside = quote.and_then(|quote| value[1..].split_once(quote));
    inside.map_or_else(|| plain(value), |(inside, _)| inside)
}

/// A text is no certificate. It does not show the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is neither `public-key` nor `secret-key` below `curve`.
    #[error("there is no public-key and no secret-key below curve")]
    NoKey,
    /// There are two of this one.
    #[error("there are two {0}s")]
    Twice(&'static str),
    /// This one is no key.
    #[error("{0}: {1}")]
    Key(&'static str, #[source] KeyError),
    /// They do not belong together.
    #[error("the public-key is not that of the secret-key")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

    #[test]
    fn what_others_write_is_read() {
        let pyzmq = format!(
            "#   ****  Generated on 2024-01-01 by pyzmq  ****\n\nmetadata\ncurve\n    public-key = \"{PUBLIC}\"\n    secret-key = \"{SECRET}\"\n"
        );
        let czmq = format!(
            "metadata\n    name = \"public-key = x\"\n    public-key = \"no\"\ncurve\n    public-key = \"{PUBLIC}\"\n\tsecret-key = '{SECRET}'\nother\n    secret-key = \"no\"\n"
        );
        let commented = format!(
            "curve # keys\n    public-key = \"{PUBLIC}\" # for all\n    secret-key = {SECRET} # mine\n"
        );
        for text in [pyzmq, czmq, commented] {
            let certificate: Certificate = text.parse().expect("a certificate");
            assert_eq!(certificate.public.to_string(), PUBLIC);
            assert_eq!(
                certificate
                    .keys
                    .expect("it is there")
                    .secret()
                    .expose_z85()
                    .as_str(),
                SECRET
            );
        }
        let alone: Certificate = format!("curve\n secret-key = {SECRET}").parse().expect("enough");
        assert_eq!(alone.public.to_string(), PUBLIC);
    }

    #[test]
    fn what_is_none_is_refused_by_what_is_wrong() {
        for (text, expected) in [
            (String::new(), CertificateError::NoKey),
            (format!("public-key = \"{PUBLIC}\""), CertificateError::NoKey),
            (
                "curve\n    public-key = \"short\"".to_owned(),
                CertificateError::Key("public-key", KeyError::Length { len: 5 }),
            ),
            (
                format!("curve\n    public-key = \"{SECRET}\"\n    secret-key = \"{SECRET}\""),
                CertificateError::Mismatch,
            ),
            (
                format!("curve\n    secret-key = \"{SECRET}\"\n    secret-key = \"{SECRET}\""),
                CertificateError::Twice("secret-key"),
            ),
            (
                format!("curve\n    public-key = \"{PUBLIC}"),
                CertificateError::Key("public-key", KeyError::Length { len: 41 }),
            ),
        ] {
            let error = text.parse::<Certificate>().expect_err("refused");
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(SECRET));
        }
    }
}
