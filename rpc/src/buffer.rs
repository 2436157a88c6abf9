//! Large data beside a body: sent, received and handed over without a copy.

use std::cell::RefCell;
use std::ops::Deref;

use bytes::Bytes;
use flexbond_transport::Frame;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::envelope::{Codec, MAX_BUFFERS};

/// Large data in the arguments or the answer of a call: bytes that are never copied nor encoded.
///
/// It may stand anywhere in a value. The body has its number only, as the structure `{"$buffer": 0}`, and the bytes
/// travel behind the body as a frame of their own. Outside of a call it cannot be written or read.
///
/// ```
/// use flexbond_rpc::Buffer;
/// use flexbond_rpc::envelope::Codec;
///
/// let sent = ("flat field", Buffer::from(vec![0_u8; 1 << 20]));
/// let encoded = Codec::Json.encode(&sent)?;
/// assert_eq!(&encoded.body[..], br#"["flat field",{"$buffer":0}]"#);
/// let (_, buffer): (String, Buffer) = Codec::Json.decode(&encoded.body, encoded.buffers)?;
/// assert_eq!(buffer.as_ptr(), sent.1.as_ptr());
/// # Ok::<(), flexbond_rpc::CodecError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Buffer(Bytes);

#[derive(Serialize, Deserialize)]
struct Reference {
    #[serde(rename = "$buffer")]
    buffer: u32,
}

impl Buffer {
    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl<T: Into<Bytes>> From<T> for Buffer {
    fn from(bytes: T) -> Self {
        Buffer(bytes.into())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The buffers of the value that is being written or read on this thread.
enum Beside {
    Outside,
    Collecting(Codec, Vec<Frame>),
    Lending(Codec, Vec<Frame>),
}

thread_local! {
    static BESIDE: RefCell<Beside> = const { RefCell::new(Beside::Outside) };
}

/// What was there before is there again at the end, also of a panic.
struct Restore(Option<Beside>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            BESIDE.with(|beside| *beside.borrow_mut() = before);
        }
    }
}

fn enter(now: Beside) -> Restore {
    Restore(Some(BESIDE.with(|beside| beside.replace(now))))
}

/// The codec of the value that is being written or read on this thread.
pub(crate) fn codec() -> Option<Codec> {
    BESIDE.with(|beside| match &*beside.borrow() {
        Beside::Outside => None,
        Beside::Collecting(codec, _) | Beside::Lending(codec, _) => Some(*codec),
    })
}

/// Runs `write`, which writes in this codec, and returns the buffers that it came by, too.
pub(crate) fn collect<T>(codec: Codec, write: impl FnOnce() -> T) -> (T, Vec<Frame>) {
    let _restore = enter(Beside::Collecting(codec, Vec::new()));
    let written = write();
    let beside = BESIDE.with(|beside| beside.replace(Beside::Outside));
    match beside {
        Beside::Collecting(_, buffers) => (written, buffers),
        Beside::Outside | Beside::Lending(..) => (written, Vec::new()),
    }
}

/// Runs `read`, which reads this codec and may refer to these buffers.
pub(crate) fn lend<T>(codec: Codec, buffers: Vec<Frame>, read: impl FnOnce() -> T) -> T {
    let _restore = enter(Beside::Lending(codec, buffers));
    read()
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buffer = BESIDE.with(|beside| match &mut *beside.borrow_mut() {
            Beside::Collecting(_, buffers) if buffers.len() == MAX_BUFFERS => {
                Err(S::Error::custom(format_args!("more than {MAX_BUFFERS} buffers")))
            }
            Beside::Collecting(_, buffers) => {
                buffers.push(Frame::from(self.0.clone()));
                Ok(buffers.len() - 1)
            }
            _ => Err(S::Error::custom("a buffer is written in a call only")),
        })?;
        Reference {
            buffer: buffer as u32,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Reference { buffer } = Reference::deserialize(deserializer)?;
        BESIDE.with(|beside| match &*beside.borrow() {
            Beside::Lending(_, buffers) => match buffers.get(buffer as usize) {
                Some(frame) => Ok(Buffer(frame.clone().into_bytes())),
                None => Err(D::Error::custom(format_args!(
                    "buffer {buffer} of {}: there are no more behind the body",
                    buffers.len()
                ))),
            },
            _ => Err(D::Error::custom("a buffer is read in a call only")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Codec;

    #[test]
    fn a_buffer_may_be_of_any_length() {
        for len in [0, 1, Frame::INLINE, Frame::INLINE + 1] {
            let buffer = Buffer::from(vec![7; len]);
            let encoded = Codec::Postcard.encode(&buffer).expect("can be written");
            let back: Buffer = Codec::Postcard
                .decode(&encoded.body, encoded.buffers)
                .expect("can be read");
            assert_eq!(back, buffer, "{len} bytes");
        }
    }
}
