//! One part of a message: short bytes inline, long bytes shared.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

/// One part of a [`Message`](crate::Message): an immutable run of bytes.
///
/// Up to [`Frame::INLINE`] bytes live inside the frame itself, so a small payload costs no allocation and no
/// reference count. Anything longer is a shared [`Bytes`]: cloning it, sending it to many peers and receiving it
/// copy nothing.
///
/// ```
/// use flexbond_transport::Frame;
///
/// let small = Frame::from("hello");
/// assert_eq!(&small[..], b"hello");
///
/// let samples: Vec<u8> = vec![7; 1 << 20];
/// let address = samples.as_ptr();
/// let large = Frame::from(samples);
/// assert_eq!(large.as_ptr(), address, "a large buffer is moved in, not copied");
/// ```
#[derive(Clone)]
pub struct Frame(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, data: [u8; Frame::INLINE] },
    Shared(Bytes),
}

impl Frame {
    /// The longest payload, in bytes, that is kept inside the frame itself.
    pub const INLINE: usize = 62;

    /// An empty frame.
    #[must_use]
    pub const fn new() -> Self {
        Frame(Repr::Inline {
            len: 0,
            data: [0; Frame::INLINE],
        })
    }

    /// A frame with a copy of `payload`.
    ///
    /// Use `Frame::from(Bytes)` or `Frame::from(Vec<u8>)` to hand over a large buffer without a copy.
    #[must_use]
    #[inline]
    pub fn copy_from_slice(payload: &[u8]) -> Self {
        if payload.len() <= Self::INLINE {
            let mut data = [0; Self::INLINE];
            data[..payload.len()].copy_from_slice(payload);
            // The length fits: it was just compared with INLINE, which is below 256.
            Frame(Repr::Inline {
                len: payload.len() as u8,
                data,
            })
        } else {
            Frame(Repr::Shared(Bytes::copy_from_slice(payload)))
        }
    }

    /// A frame that borrows a static payload; nothing is copied or counted.
    #[must_use]
    pub fn from_static(payload: &'static [u8]) -> Self {
        Frame::from(Bytes::from_static(payload))
    }

    /// The payload.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, data } => &data[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The payload as shared bytes. Copies only what was inline.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { len, data } => Bytes::copy_from_slice(&data[..usize::from(len)]),
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The payload as shared bytes when it is not inline.
    #[must_use]
    pub fn as_shared(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Inline { .. } => None,
            Repr::Shared(bytes) => Some(bytes),
        }
    }

    /// The storage of an inline payload and how much of it is the payload, for codecs: a copy of constant size is
    /// cheaper than one of exact size. What lies behind the payload means nothing.
    #[must_use]
    #[inline]
    pub const fn as_inline(&self) -> Option<(&[u8; Frame::INLINE], usize)> {
        match &self.0 {
            Repr::Inline { len, data } => Some((data, *len as usize)),
            Repr::Shared(_) => None,
        }
    }

    /// A frame whose payload is the first `len` bytes of `storage`, for codecs: the counterpart of
    /// [`as_inline`](Self::as_inline).
    ///
    /// # Panics
    /// When `len` is more than [`Frame::INLINE`].
    #[must_use]
    #[inline]
    pub const fn from_inline(storage: &[u8; Frame::INLINE], len: usize) -> Self {
        assert!(len <= Frame::INLINE, "an inline payload has a limit");
        Frame(Repr::Inline {
            // Below 256, as was just checked.
            len: len as u8,
            data: *storage,
        })
    }

    /// A frame that shares a payload which is too long to be inline, for codecs.
    ///
    /// # Panics
    /// When the payload is not longer than [`Frame::INLINE`].
    #[must_use]
    #[inline]
    pub fn from_shared(payload: Bytes) -> Self {
        assert!(payload.len() > Frame::INLINE, "a short payload is inline");
        Frame(Repr::Shared(payload))
    }

    /// The payload as text, when it is UTF-8.
    ///
    /// # Errors
    /// The position of the first byte that is not UTF-8.
    pub fn to_str(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(self.as_slice())
    }

    /// A frame that owns exactly its payload.
    ///
    /// A received frame longer than [`Frame::INLINE`] is a slice of the connection's read buffer (typically
    /// 128 KiB) and keeps that whole buffer alive. That is the fastest choice for a message that is handled and
    /// dropped; call this before keeping a few out of many for long.
    #[must_use]
    pub fn detach(&self) -> Self {
        Frame::copy_from_slice(self.as_slice())
    }
}

impl Default for Frame {
    fn default() -> Self {
        Frame::new()
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Borrow<[u8]> for Frame {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Frame {}

macro_rules! equals_payload {
    ($($payload:ty),*) => {$(
        impl PartialEq<$payload> for Frame {
            fn eq(&self, other: &$payload) -> bool {
                let other: &[u8] = other.as_ref();
                self.as_slice() == other
            }
        }
    )*};
}

equals_payload!([u8], &[u8], str, &str, Vec<u8>, String, Bytes);

impl Hash for Frame {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

/// Shows at most the first 64 bytes; a frame may be large.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let bytes = self.as_slice();
        write!(f, "b\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii())?;
        if bytes.len() > SHOWN {
            write!(f, "… ({} bytes)", bytes.len())?;
        }
        Ok(())
    }
}

impl From<Bytes> for Frame {
    fn from(payload: Bytes) -> Self {
        if payload.len() <= Self::INLINE {
            Frame::copy_from_slice(&payload)
        } else {
            Frame(Repr::Shared(payload))
        }
    }
}

impl From<BytesMut> for Frame {
    fn from(payload: BytesMut) -> Self {
        Frame::from(payload.freeze())
    }
}

impl From<Vec<u8>> for Frame {
    fn from(payload: Vec<u8>) -> Self {
        if payload.len() <= Self::INLINE {
            Frame::copy_from_slice(&payload)
        } else {
            Frame(Repr::Shared(Bytes::from(payload)))
        }
    }
}

impl From<String> for Frame {
    fn from(payload: String) -> Self {
        Frame::from(payload.into_bytes())
    }
}

impl From<&str> for Frame {
    fn from(payload: &str) -> Self {
        Frame::copy_from_slice(payload.as_bytes())
    }
}

impl From<&[u8]> for Frame {
    fn from(payload: &[u8]) -> Self {
        Frame::copy_from_slice(payload)
    }
}

impl<const N: usize> From<&[u8; N]> for Frame {
    fn from(payload: &[u8; N]) -> Self {
        Frame::copy_from_slice(payload)
    }
}

impl From<Frame> for Bytes {
    fn from(frame: Frame) -> Self {
        frame.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_cache_line() {
        assert_eq!(size_of::<Frame>(), 64);
    }

    #[test]
    fn payloads_around_the_inline_limit_survive() {
        for len in [0, 1, 61, 62, 63, 64, 4096] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            for frame in [
                Frame::from(payload.clone()),
                Frame::copy_from_slice(&payload),
                Frame::from(Bytes::from(payload.clone())),
            ] {
                assert_eq!(frame, payload);
                assert_eq!(frame.as_shared().is_some(), len > Frame::INLINE);
                assert_eq!(frame.clone().into_bytes(), payload);
                assert_eq!(frame.detach(), frame);
            }
        }
    }

    #[test]
    fn a_shared_payload_is_cloned_by_reference() {
        let frame = Frame::from(vec![1; 4096]);
        assert_eq!(frame.clone().as_ptr(), frame.as_ptr());
    }

    #[test]
    fn debug_is_bounded() {
        let shown = format!("{:?}", Frame::from(vec![b'x'; 1 << 20]));
        assert!(shown.len() < 128, "{shown}");
        assert!(shown.contains("1048576 bytes"));
    }
}
