//! Reading the items of a message whose form has been checked: numbers, texts, and byte strings without a copy.

use bytes::{Bytes, BytesMut};
use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::number::half_to_f64;
use super::well_formed::{self, Count};
use super::{Item, ShapeError};

/// Why an item is not what it is read as.
pub(super) enum Misfit {
    /// It has another form.
    Form,
    /// It is an array, and its description and bytes do not agree.
    Array {
        /// Where below the field: empty, or `/` and the channel.
        within: String,
        error: ShapeError,
    },
}

// The items are well-formed, so all that the decoder can find is another type.
impl From<Error> for Misfit {
    fn from(_: Error) -> Self {
        Misfit::Form
    }
}

impl From<ShapeError> for Misfit {
    fn from(error: ShapeError) -> Self {
        Misfit::Array {
            within: String::new(),
            error,
        }
    }
}

/// Reads items one after the other.
pub(super) struct Reader<'a> {
    source: &'a Bytes,
    decoder: Decoder<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Bytes) -> Self {
        Reader {
            source,
            decoder: Decoder::new(source),
        }
    }

    pub(super) fn kind(&self) -> Result<Type, Misfit> {
        Ok(self.decoder.datatype()?)
    }

    pub(super) fn tag(&mut self) -> Result<u64, Misfit> {
        Ok(self.decoder.tag()?.as_u64())
    }

    pub(super) fn skip_tags(&mut self) -> Result<(), Misfit> {
        while self.kind()? == Type::Tag {
            self.tag()?;
        }
        Ok(())
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Misfit> {
        Ok(self.decoder.u64()?)
    }

    pub(super) fn integer(&mut self) -> Result<i128, Misfit> {
        Ok(self.decoder.int()?.into())
    }

    pub(super) fn bool(&mut self) -> Result<bool, Misfit> {
        Ok(self.decoder.bool()?)
    }

    /// A number of any width; an integer is one too, since writers drop the point of round numbers.
    pub(super) fn float(&mut self) -> Result<f64, Misfit> {
        match self.kind()? {
            Type::F16 => Ok(half_to_f64(well_formed::half(&mut self.decoder)?)),
            Type::F32 | Type::F64 => Ok(self.decoder.f64()?),
            _ => Ok(self.integer()? as f64),
        }
    }

    pub(super) fn simple(&mut self) -> Result<u8, Misfit> {
        Ok(self.decoder.simple()?)
    }

    pub(super) fn text(&mut self) -> Result<String, Misfit> {
        let mut text = String::new();
        for chunk in self.decoder.str_iter()? {
            text.push_str(chunk?);
        }
        Ok(text)
    }

    /// A slice of the message; only what comes in several pieces is copied together.
    pub(super) fn bytes(&mut self) -> Result<Bytes, Misfit> {
        if self.kind()? == Type::Bytes {
            let len = self.decoder.bytes()?.len();
            let end = self.decoder.position();
            return Ok(self.source.slice(end - len..end));
        }
        let mut bytes = BytesMut::new();
        for chunk in self.decoder.bytes_iter()? {
            bytes.extend_from_slice(chunk?);
        }
        Ok(bytes.freeze())
    }

    pub(super) fn list(&mut self) -> Result<Count, Misfit> {
        Ok(Count::new(self.decoder.array()?))
    }

    pub(super) fn map(&mut self) -> Result<Count, Misfit> {
        Ok(Count::new(self.decoder.map()?))
    }

    pub(super) fn more(&mut self, count: &mut Count) -> Result<bool, Misfit> {
        Ok(count.more(&mut self.decoder)?)
    }

    /// The next entry must exist.
    pub(super) fn next(&mut self, count: &mut Count) -> Result<(), Misfit> {
        if self.more(count)? {
            Ok(())
        } else {
            Err(Misfit::Form)
        }
    }

    /// No further entry may exist.
    pub(super) fn end(&mut self, count: &mut Count) -> Result<(), Misfit> {
        if self.more(count)? {
            Err(Misfit::Form)
        } else {
            Ok(())
        }
    }

    /// Whatever comes, as it is.
    pub(super) fn item(&mut self) -> Result<Item, Misfit> {
        let start = self.decoder.position();
        well_formed::item(&mut self.decoder).map_err(|_| Misfit::Form)?;
        Ok(Item::unchecked(self.source.slice(start..self.decoder.position())))
    }
}
