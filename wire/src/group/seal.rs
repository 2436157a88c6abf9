//! The trailer of a sealed datagram: AES-256-GCM, with the header and whom it is for as associated data.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::{DecodeError, EncodeError, Envelope, Header, TAG_LEN};

/// Whom a sealed datagram is for. It is not on the wire, but nobody else can open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everybody who has the key.
    All,
    /// The member with this id, or [`Header::COORDINATOR`], alone.
    One(u32),
}

/// What one sender seals with in one epoch, and what its receivers open with. Never shown.
///
/// ```
/// use bytes::BytesMut;
/// use flexbond_wire::group::{Arrive, Audience, DecodeError, EpochKey, Header, Packet};
///
/// let epoch_key = EpochKey::from_random([7; 32]); // from the system's secure source, in earnest
/// let key = epoch_key.sender_key(1, 2, 3);
/// let header = Header { session: 1, epoch: 2, sender: 3, number: 4 };
/// let packet = Packet::Arrive(Arrive { channel: 5, round: 6 });
/// let mut datagram = BytesMut::new();
/// packet.encode_sealed(&header, &key, Audience::One(0), &mut datagram).unwrap();
///
/// assert_eq!(Packet::decode(&datagram), Err(DecodeError::Sealed));
/// assert_eq!(Packet::decode_sealed(&mut datagram.clone(), &key, 9), Err(DecodeError::Forged));
/// assert_eq!(Packet::decode_sealed(&mut datagram, &key, 0), Ok((header, packet)));
/// ```
pub struct SenderKey {
    key: LessSafeKey,
    /// Whose key it is; the number is not looked at.
    origin: Header,
}

impl SenderKey {
    /// How many datagrams of at most 2 KiB may be sealed with one key (RFC 9001, appendix B.1.1). A new epoch, even
    /// with the same epoch key, makes new sender keys.
    pub const MAX_SEALED: u64 = 1 << 28;

    pub(super) const fn new(key: LessSafeKey, origin: &Header) -> Self {
        SenderKey { key, origin: *origin }
    }

    /// Opens a sealed datagram where it is, as the receiver with this id: afterwards its body is readable, and header
    /// and tag are as they were. [`Packet::decode_opened`](super::Packet::decode_opened) takes the body apart.
    ///
    /// # Errors
    /// When it is plain, was not sealed with this key, is for another receiver alone, or was changed since. The bytes
    /// after the header are undefined then.
    #[inline]
    pub fn open_in_place(&self, datagram: &mut [u8], receiver: u32) -> Result<Envelope, DecodeError> {
        let envelope = Header::peek(datagram)?;
        if !envelope.sealed {
            return Err(DecodeError::NotSealed);
        }
        if envelope.kind.is_handshake() {
            return Err(DecodeError::MustBePlain { kind: envelope.kind });
        }
        if !self.belongs_to(&envelope.header) {
            return Err(DecodeError::Forged);
        }
        let (header, sealed) = datagram.split_at_mut(Header::LEN);
        let audience = match envelope.for_one {
            true => Audience::One(receiver),
            false => Audience::All,
        };
        self.key
            .open_in_place(
                nonce(&envelope.header),
                Associated::new(header, audience).aad(),
                sealed,
            )
            .map_err(|_| DecodeError::Forged)?;
        Ok(envelope)
    }

    /// Completes a datagram that [`Packet::encode_unfinished`](super::Packet::encode_unfinished) has begun, for those who
    /// may open it; as when it is encoded at once, its number must never have been used with this key.
    ///
    /// # Errors
    /// When it is none that is to be sealed with this key; it is as it was.
    #[inline]
    pub fn finish(&self, datagram: &mut [u8], audience: Audience) -> Result<(), EncodeError> {
        let envelope = Header::peek(datagram).map_err(|_| EncodeError::ForeignKey)?;
        if !envelope.sealed {
            return Err(EncodeError::ForeignKey);
        }
        self.check(&envelope.header)?;
        self.seal(&envelope.header, audience, datagram);
        Ok(())
    }

    /// Seals header, body and room for the tag.
    #[inline]
    pub(super) fn seal(&self, header: &Header, audience: Audience, datagram: &mut [u8]) {
        let (start, rest) = datagram.split_at_mut(Header::LEN);
        Header::mark(start, matches!(audience, Audience::One(_)));
        let end = rest.len() - TAG_LEN;
        let (body, room) = rest.split_at_mut(end);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(header), Associated::new(start, audience).aad(), body)
            .expect("a datagram is within the limits of the cipher");
        room.copy_from_slice(tag.as_ref());
    }

    /// Whether a datagram with this header is to be sealed with this key.
    #[inline]
    pub(super) fn check(&self, header: &Header) -> Result<(), EncodeError> {
        if self.belongs_to(header) {
            Ok(())
        } else {
            Err(EncodeError::ForeignKey)
        }
    }

    #[inline]
    fn belongs_to(&self, header: &Header) -> bool {
        let Header {
            session,
            sender,
            epoch,
            number: _,
        } = self.origin;
        (session, sender, epoch) == (header.session, header.sender, header.epoch)
    }
}

/// What is sealed without being hidden: the header, and the receiver if there is one alone.
struct Associated {
    bytes: [u8; Header::LEN + size_of::<u32>()],
    len: usize,
}

impl Associated {
    #[inline]
    fn new(header: &[u8], audience: Audience) -> Self {
        let mut bytes = [0; Header::LEN + size_of::<u32>()];
        let (start, receiver) = bytes.split_at_mut(Header::LEN);
        start.copy_from_slice(header);
        let len = match audience {
            Audience::All => Header::LEN,
            Audience::One(id) => {
                receiver.copy_from_slice(&id.to_be_bytes());
                Header::LEN + receiver.len()
            }
        };
        Associated { bytes, len }
    }

    #[inline]
    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.bytes[..self.len])
    }
}

/// The sender, which is part of the key already, and the number, which never repeats.
#[inline]
fn nonce(header: &Header) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&header.sender.to_be_bytes());
    bytes[4..].copy_from_slice(&header.number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SenderKey(..)")
    }
}
