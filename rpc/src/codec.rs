//! Values to and from bodies.

use std::fmt::Display;

use flexbond_transport::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::buffer;
use crate::envelope::Codec;

/// Why a value could not be written, or read. Nothing was sent or taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {reason}", .codec.name())]
pub struct CodecError {
    codec: Codec,
    reason: String,
}

impl CodecError {
    pub(crate) fn encode(codec: Codec, error: &impl Display) -> Self {
        CodecError {
            codec,
            reason: format!("cannot be written: {error}"),
        }
    }

    pub(crate) fn decode(codec: Codec, error: &impl Display) -> Self {
        CodecError {
            codec,
            reason: error.to_string(),
        }
    }

    /// The encoding.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }
}

/// A value as it is sent: its body, and the buffers beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// In the codec that was asked for.
    pub body: Frame,
    /// The [`Buffer`](crate::Buffer)s of the value, in the order in which it names them.
    pub buffers: Vec<Frame>,
}

impl Codec {
    /// The name: `postcard`, `JSON`, …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::Raw => "raw bytes",
            Codec::Postcard => "postcard",
            Codec::Json => "JSON",
            Codec::MessagePack => "MessagePack",
            Codec::Application(_) => "an application's codec",
        }
    }

    /// Writes a value. The [`Buffer`](crate::Buffer)s in it are not copied but stand beside.
    ///
    /// # Errors
    /// [`CodecError`] when the value cannot be written, and always for raw bytes and an application's codec.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Encoded, CodecError> {
        let (body, buffers) = buffer::collect(self, || self.encode_plain(value));
        Ok(Encoded { body: body?, buffers })
    }

    /// Reads a value. The [`Buffer`](crate::Buffer)s in it share the memory of `buffers`.
    ///
    /// # Errors
    /// [`CodecError`] says what is wrong and, where the codec allows, in which field; always for raw bytes and an
    /// application's codec.
    pub fn decode<T: DeserializeOwned>(self, body: &[u8], buffers: Vec<Frame>) -> Result<T, CodecError> {
        buffer::lend(self, buffers, || self.decode_plain(body))
    }

    pub(crate) fn encode_plain<T: Serialize + ?Sized>(self, value: &T) -> Result<Frame, CodecError> {
        match self {
            Codec::Postcard => {
                // What is small needs no memory of its own.
                let mut small = [0; Frame::INLINE];
                match postcard::to_slice(value, &mut small) {
                    Ok(written) => Ok(Frame::copy_from_slice(written)),
                    Err(postcard::Error::SerializeBufferFull) => postcard::to_allocvec(value)
                        .map(Frame::from)
                        .map_err(|error| CodecError::encode(self, &error)),
                    Err(error) => Err(CodecError::encode(self, &error)),
                }
            }
            Codec::Json => serde_json::to_vec(value)
                .map(Frame::from)
                .map_err(|error| CodecError::encode(self, &error)),
            Codec::MessagePack => rmp_serde::to_vec_named(value)
                .map(Frame::from)
                .map_err(|error| CodecError::encode(self, &error)),
            Codec::Raw | Codec::Application(_) => Err(self.is_not_for_values()),
        }
    }

    pub(crate) fn decode_plain<'a, T: serde::Deserialize<'a>>(self, body: &'a [u8]) -> Result<T, CodecError> {
        match self {
            Codec::Postcard => match postcard::take_from_bytes(body) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => {
                    let error = format!("{} bytes more than the value has", rest.len());
                    Err(CodecError::decode(self, &error))
                }
                Err(error) => Err(CodecError::decode(self, &error)),
            },
            Codec::Json => {
                // No arguments at all are none.
                let body = if body.is_empty() { b"null" } else { body };
                serde_json::from_slice(body).map_err(|error| {
                    // Only now, for it takes twice the time.
                    let mut json = serde_json::Deserializer::from_slice(body);
                    match serde_path_to_error::deserialize::<_, T>(&mut json) {
                        Err(at) if at.path().iter().next().is_some() => {
                            CodecError::decode(self, &format!("at {}: {}", at.path(), at.inner()))
                        }
                        _ => CodecError::decode(self, &error),
                    }
                })
            }
            Codec::MessagePack => {
                let body = if body.is_empty() { &[0xc0] } else { body };
                rmp_serde::from_slice(body).map_err(|error| {
                    let mut pack = rmp_serde::Deserializer::from_read_ref(body);
                    match serde_path_to_error::deserialize::<_, T>(&mut pack) {
                        Err(at) if at.path().iter().next().is_some() => {
                            CodecError::decode(self, &format!("at {}: {}", at.path(), at.inner()))
                        }
                        _ => CodecError::decode(self, &error),
                    }
                })
            }
            Codec::Raw | Codec::Application(_) => Err(self.is_not_for_values()),
        }
    }

    #[cold]
    fn is_not_for_values(self) -> CodecError {
        CodecError {
            codec: self,
            reason:
                "holds bytes and no values: read the body itself, or call with JSON, MessagePack or postcard"
                    .to_owned(),
        }
    }
}
