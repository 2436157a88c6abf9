//! Keys: what members share beforehand, what is derived of it, and how a session's key travels.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as AeadNonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use bytes::BytesMut;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::sink::Sink;
use super::{Accept, Header, Join, Nonce, SenderKey, TAG_LEN, View, WrappedKey};

/// The salt of HKDF-Extract, and so the name of this key schedule.
const SALT: &[u8] = b"flexbond group v1";

type Key = Zeroizing<[u8; 32]>;

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A pre-shared key must have at least [`PresharedKey::MIN_LEN`] bytes.
    #[error("key of {len} bytes is shorter than {} bytes", PresharedKey::MIN_LEN)]
    TooShort {
        /// Its length in bytes.
        len: usize,
    },
    /// The packet brings no key.
    #[error("packet has no key")]
    Missing,
    /// The key was wrapped with another pre-shared key or for somebody else, or the packet was changed on its way.
    #[error("wrapped key does not match")]
    Forged,
}

/// What every member of a session knows beforehand. Wiped when dropped, never shown.
///
/// It may be of any length from 16 bytes and is not stretched: take 32 random bytes, not a password that somebody
/// could guess, since a recorded JOIN lets anybody try guesses in peace.
///
/// What it gives and what it does not: outsiders can neither read nor forge nor replay. Who has the key can read
/// everything that was recorded (there is no forward secrecy), and can pretend to be any member or the coordinator.
///
/// ```
/// use flexbond_wire::group::{Join, PresharedKey};
///
/// let key: PresharedKey = "correct horse battery staple\n".parse().unwrap();
/// let mut join = Join { nonce: [1; 16], cookie: None, name: "ada", recv_budget: 1 << 26, proof: None };
/// assert!(!key.verify(&join));
/// join.proof = Some(key.prove(&join));
/// assert!(key.verify(&join));
/// join.name = "eve";
/// assert!(!key.verify(&join));
/// assert_eq!(format!("{key:?}"), "PresharedKey(..)");
/// ```
#[derive(Clone)]
pub struct PresharedKey {
    /// HKDF-Extract of what was given.
    root: Key,
}

impl PresharedKey {
    /// The shortest key, in bytes.
    pub const MIN_LEN: usize = 16;

    /// The key made of these bytes. They are the caller's to wipe.
    ///
    /// # Errors
    /// When there are fewer than [`MIN_LEN`](Self::MIN_LEN).
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() < Self::MIN_LEN {
            return Err(KeyError::TooShort { len: bytes.len() });
        }
        // HKDF-Extract is HMAC keyed with the salt (RFC 5869, section 2.2).
        let root = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SALT), bytes);
        Ok(PresharedKey {
            root: key_of(root.as_ref()),
        })
    }

    /// The proof for a JOIN: an HMAC over all that it says before the proof.
    #[must_use]
    pub fn prove(&self, join: &Join<'_>) -> [u8; 32] {
        let proof = hmac::sign(&self.proof_key(), &claim(join));
        let mut bytes = [0; 32];
        bytes.copy_from_slice(proof.as_ref());
        bytes
    }

    /// Whether a JOIN has a proof made with this key. Takes the same time wherever a wrong one differs.
    #[must_use]
    pub fn verify(&self, join: &Join<'_>) -> bool {
        join.proof
            .is_some_and(|proof| hmac::verify(&self.proof_key(), &claim(join), &proof).is_ok())
    }

    /// What protects a session's key on its way to one member: derived of this key, the nonce of the member's JOIN,
    /// and that of the coordinator's ACCEPT.
    #[must_use]
    pub fn member_key(&self, client: &Nonce, server: &Nonce) -> MemberKey {
        MemberKey {
            key: derive(&self.root, "member", &[client, server]),
        }
    }

    fn proof_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &derive(&self.root, "join proof", &[])[..])
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    /// The key made of the text's UTF-8, without white space at its ends: a file's last line break is no part of a key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        PresharedKey::new(text.trim().as_bytes())
    }
}

/// Protects a session's key on its way to one member. Wiped when dropped, never shown.
///
/// A key is wrapped for one packet: session, sender, epoch and whatever the packet says before the key go into the
/// wrapping, so that nothing of it can be changed.
#[derive(Clone)]
pub struct MemberKey {
    key: Key,
}

impl MemberKey {
    /// The `key` for an ACCEPT that is otherwise complete. Sent once more, the packet must be the same; another ACCEPT
    /// needs a new server nonce.
    #[must_use]
    pub fn wrap_for_accept(&self, header: &Header, accept: &Accept, key: &EpochKey) -> WrappedKey {
        self.wrap("accept", &accept_terms(header, accept), key)
    }

    /// The key in an ACCEPT.
    ///
    /// # Errors
    /// [`KeyError::Missing`] or [`KeyError::Forged`].
    pub fn unwrap_from_accept(&self, header: &Header, accept: &Accept) -> Result<EpochKey, KeyError> {
        self.unwrap("accept", &accept_terms(header, accept), accept.key)
    }

    /// The `key` for a VIEW of this channel, kind and epoch; no two keys are ever sent to a member with one of them.
    #[must_use]
    pub fn wrap_for_view(&self, header: &Header, view: &View<'_>, key: &EpochKey) -> WrappedKey {
        self.wrap("view", &view_terms(header, view), key)
    }

    /// The key in a VIEW.
    ///
    /// # Errors
    /// [`KeyError::Missing`] or [`KeyError::Forged`].
    pub fn unwrap_from_view(&self, header: &Header, view: &View<'_>) -> Result<EpochKey, KeyError> {
        self.unwrap("view", &view_terms(header, view), view.key)
    }

    /// The key of what runs between the coordinator and this member alone: see
    /// [`Kind::is_control`](super::Kind::is_control). It counts as the key of epoch 0, whatever epochs the session goes
    /// through.
    #[must_use]
    pub fn control_key(&self) -> EpochKey {
        EpochKey {
            key: derive(&self.key, "control", &[]),
        }
    }

    fn wrap(&self, label: &str, terms: &[u8], key: &EpochKey) -> WrappedKey {
        let mut wrapped = [0; 48];
        let (content, tag) = wrapped.split_at_mut(32);
        content.copy_from_slice(&key.key[..]);
        let computed = self
            .cipher(label, terms)
            .seal_in_place_separate_tag(once(), Aad::empty(), content)
            .expect("32 bytes are within the limits of the cipher");
        tag.copy_from_slice(computed.as_ref());
        WrappedKey(wrapped)
    }

    fn unwrap(&self, label: &str, terms: &[u8], wrapped: Option<WrappedKey>) -> Result<EpochKey, KeyError> {
        let mut wrapped = Zeroizing::new(wrapped.ok_or(KeyError::Missing)?.0);
        let key = self
            .cipher(label, terms)
            .open_in_place(once(), Aad::empty(), &mut wrapped[..])
            .map_err(|_| KeyError::Forged)?;
        Ok(EpochKey { key: key_of(key) })
    }

    /// The terms are a part of the key instead of associated data: a packet with other terms never reuses a nonce.
    fn cipher(&self, label: &str, terms: &[u8]) -> LessSafeKey {
        cipher(&derive(&self.key, label, &[terms]))
    }
}

/// The only nonce that a wrapping key is used with.
fn once() -> AeadNonce {
    AeadNonce::assume_unique_for_key([0; 12])
}

/// The key of a session for some epochs, shared by all its members. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct EpochKey {
    key: Key,
}

impl EpochKey {
    /// The key made of 32 random bytes, which must come from the system's secure source.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        EpochKey {
            key: Zeroizing::new(bytes),
        }
    }

    /// The key that one sender seals with in one epoch. It differs between sessions, epochs and senders, so numbers
    /// repeat only where a sender repeats its own.
    #[must_use]
    pub fn sender_key(&self, session: u64, epoch: u32, sender: u32) -> SenderKey {
        let origin = Header {
            session,
            sender,
            epoch,
            number: 0,
        };
        let key = derive(&self.key, "sender", &[&origin.origin()]);
        SenderKey::new(cipher(&key), &origin)
    }
}

impl PartialEq for EpochKey {
    /// Takes the same time wherever the keys differ.
    fn eq(&self, other: &Self) -> bool {
        self.key.ct_eq(&*other.key).into()
    }
}

impl Eq for EpochKey {}

macro_rules! never_shown {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

never_shown!(PresharedKey MemberKey EpochKey);

/// HKDF-Expand with SHA-256, 32 bytes long; the info is the label, a zero byte, and the parts.
fn derive(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> Key {
    let mut info = label.as_bytes().to_vec();
    info.push(0);
    for part in parts {
        info.extend_from_slice(part);
    }
    let mut derived = Key::default();
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key)
        .expand(&[&info], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut derived[..]))
        .expect("32 bytes are within the limits of HKDF");
    derived
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256"))
}

fn key_of(bytes: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(bytes);
    key
}

/// What a proof is made over: a JOIN's body up to it.
fn claim(join: &Join<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    join.write_claim(&mut bytes);
    bytes
}

fn accept_terms(header: &Header, accept: &Accept) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put(&header.origin());
    accept.write_terms(&mut bytes);
    bytes
}

fn view_terms(header: &Header, view: &View<'_>) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put(&header.origin());
    view.write_terms(&mut bytes);
    bytes
}

const _: () = assert!(size_of::<WrappedKey>() == 32 + TAG_LEN);
