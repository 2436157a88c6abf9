//! The fields of a message, before they are given their types.

use minicbor::Decoder;
use minicbor::data::Type;

use bytes::Bytes;

use super::field::Decode;
use super::reader::Misfit;
use super::well_formed::{self, Count, malformed};
use super::{DecodeError, Item, MAX_ENTRIES};

/// The tag that says "this is CBOR" (RFC 8949, section 3.4.6).
pub(super) const SELF_DESCRIBED: u64 = 55799;

/// The entries of the map, in the order in which they came.
pub(super) struct Fields {
    entries: Vec<(String, Item)>,
}

impl Fields {
    /// Reads the map that a whole message is, and checks all that is in it.
    pub(super) fn read(message: &Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(message);
        let mut count = start(&mut decoder)?;
        let mut entries: Vec<(String, Item)> = Vec::new();
        while more(&mut count, &mut decoder)? {
            if entries.len() == MAX_ENTRIES {
                return Err(DecodeError::too_many());
            }
            let key = next(message, &mut decoder)?;
            let mut reader = key.reader();
            if !matches!(reader.kind(), Ok(Type::String | Type::StringIndef)) {
                return Err(DecodeError::NotAMap);
            }
            let key = reader.text().map_err(|_| DecodeError::NotAMap)?;
            if entries.iter().any(|entry| entry.0 == key) {
                return Err(DecodeError::DuplicateField(key));
            }
            entries.push((key, next(message, &mut decoder)?));
        }
        match message.len() - decoder.position() {
            0 => Ok(Fields { entries }),
            more => Err(DecodeError::Trailing(more)),
        }
    }

    /// Takes a field out. One that is null is dropped, and one of another form stays where it is: both are `None`.
    pub(super) fn take<T: Decode>(&mut self, key: &str) -> Result<Option<T>, DecodeError> {
        let Some(index) = self.entries.iter().position(|entry| entry.0 == key) else {
            return Ok(None);
        };
        let item = &self.entries[index].1;
        let value = if item.is_null() {
            None
        } else {
            match T::read(&mut item.reader()) {
                Ok(value) => Some(value),
                Err(Misfit::Form) => return Ok(None),
                Err(Misfit::Array { within, error }) => {
                    let field = format!("{key}{within}");
                    return Err(DecodeError::Array { field, error });
                }
            }
        };
        self.entries.remove(index);
        Ok(value)
    }

    /// What has not been taken out.
    pub(super) fn rest(self) -> Vec<(String, Item)> {
        self.entries
    }
}

fn start(decoder: &mut Decoder<'_>) -> Result<Count, DecodeError> {
    let fail = |error: minicbor::decode::Error, decoder: &Decoder<'_>| malformed(&error, decoder.position());
    loop {
        match decoder.datatype().map_err(|error| fail(error, decoder))? {
            Type::Tag => {
                let tag = decoder.tag().map_err(|error| fail(error, decoder))?;
                if tag.as_u64() != SELF_DESCRIBED {
                    return Err(DecodeError::NotAMap);
                }
            }
            Type::Map | Type::MapIndef => {
                let len = decoder.map().map_err(|error| fail(error, decoder))?;
                return Ok(Count::new(len));
            }
            _ => return Err(DecodeError::NotAMap),
        }
    }
}

fn more(count: &mut Count, decoder: &mut Decoder<'_>) -> Result<bool, DecodeError> {
    count
        .more(decoder)
        .map_err(|error| malformed(&error, decoder.position()))
}

fn next(message: &Bytes, decoder: &mut Decoder<'_>) -> Result<Item, DecodeError> {
    let start = decoder.position();
    well_formed::item(decoder)?;
    Ok(Item::unchecked(message.slice(start..decoder.position())))
}
