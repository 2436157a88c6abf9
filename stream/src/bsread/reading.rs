//! The value of one channel in a received message.

use flexbond_transport::Frame;
use thiserror::Error;

use crate::{Array, LoadError};

use super::channel::{Channel, ChannelError, ChannelType, Compression};
use super::value::{Timestamp, Value};

/// What came for one channel.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub(super) channel: &'a Channel,
    pub(super) data: &'a Frame,
    pub(super) timestamp: &'a Frame,
}

/// Why a value cannot be read. Other values of the message can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// The description of the channel is not understood.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The data are not what the description says, or too large.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The string is not UTF-8.
    #[error("the string is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    /// The timestamp is neither empty nor 16 bytes.
    #[error("the timestamp has {0} bytes, not 16")]
    Timestamp(usize),
}

impl<'a> Reading<'a> {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &'a Channel {
        self.channel
    }

    /// The data as they travel, compressed or not.
    #[must_use]
    pub fn data(&self) -> &'a Frame {
        self.data
    }

    /// Whether there is no value for this pulse. A string that is empty has a timestamp.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let text = matches!(self.channel.channel_type(), Ok(ChannelType::Text));
        self.data.is_empty() && (self.timestamp.is_empty() || !text)
    }

    /// When the value was measured; `Ok(None)` where nothing is said.
    ///
    /// # Errors
    /// [`ReadingError::Timestamp`], and [`ReadingError::Channel`] when its byte order is not known.
    pub fn timestamp(&self) -> Result<Option<Timestamp>, ReadingError> {
        if self.timestamp.is_empty() {
            return Ok(None);
        }
        let endianness = self.channel.layout()?.endianness();
        Timestamp::decode(self.timestamp, endianness)
            .map(Some)
            .ok_or(ReadingError::Timestamp(self.timestamp.len()))
    }

    /// The value, decompressed where it has to be; `Ok(None)` where there is none for this pulse. At most
    /// [`Array::DEFAULT_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn value(&self) -> Result<Option<Value>, ReadingError> {
        self.value_within(Array::DEFAULT_LIMIT)
    }

    /// As [`value`](Self::value) with another limit, in bytes of the decompressed value.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn value_within(&self, limit: usize) -> Result<Option<Value>, ReadingError> {
        if self.is_none() {
            return Ok(None);
        }
        let format = self.channel.format()?;
        if format.channel_type == ChannelType::Text {
            let text = unpack_text(self.data, format.compression, limit)?;
            return Ok(Some(Value::Text(text.to_str()?.to_owned())));
        }
        let array = self.load(limit)?;
        let layout = array.layout();
        let scalar = match layout.shape() {
            [] | [1] => Value::from_element(array.data(), layout.element(), layout.endianness()),
            _ => None,
        };
        Ok(Some(scalar.unwrap_or(Value::Array(array))))
    }

    /// The value as an array, a single number too; bytes for strings. `Ok(None)` where there is none for this pulse.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn to_array(&self) -> Result<Option<Array>, ReadingError> {
        match self.is_none() {
            true => Ok(None),
            false => self.load(Array::DEFAULT_LIMIT).map(Some),
        }
    }

    fn load(&self, limit: usize) -> Result<Array, ReadingError> {
        let format = self.channel.format()?;
        let layout = format.layout.clone();
        if format.channel_type == ChannelType::Text {
            let text = unpack_text(self.data, format.compression, limit)?;
            let layout = crate::Layout::new(layout.element(), layout.endianness(), &[text.len()])
                .map_err(ChannelError::from)?;
            return Ok(Array::new(layout, text).map_err(ChannelError::from)?);
        }
        let size = layout.size();
        if size > limit {
            return Err(LoadError::TooLarge { size, limit }.into());
        }
        let data = match format.compression.codec() {
            Some(codec) => {
                let unit = layout.element().size();
                Frame::from(codec.decompress(self.data, unit, size).map_err(LoadError::from)?)
            }
            None => self.data.clone(),
        };
        let wrong = |_| LoadError::Length {
            expected: size,
            actual: self.data.len(),
        };
        Ok(Array::new(layout, data).map_err(wrong)?)
    }
}

/// Unpacks bytes whose number only their framing says.
pub(super) fn unpack_text(part: &Frame, compression: Compression, limit: usize) -> Result<Frame, LoadError> {
    let Some(codec) = compression.codec() else {
        return match part.len() <= limit {
            true => Ok(part.clone()),
            false => Err(LoadError::TooLarge {
                size: part.len(),
                limit,
            }),
        };
    };
    if part.is_empty() {
        return Ok(Frame::new());
    }
    // Both framings say it.
    let size = codec.declared_len(part)?.unwrap_or(0);
    if size > limit {
        return Err(LoadError::TooLarge { size, limit });
    }
    Ok(Frame::from(codec.decompress(part, 1, size)?))
}
