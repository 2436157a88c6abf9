//! Whether bytes are CBOR at all: every length within what is there, every nesting within bounds.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::{DecodeError, MAX_DEPTH};

/// Passes over one item of any kind and all that is in it.
pub(super) fn item(decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    nested(decoder, MAX_DEPTH).map_err(|fault| match fault {
        Fault::Cbor(error) => malformed(&error, decoder.position()),
        Fault::TooDeep => DecodeError::TooDeep {
            position: decoder.position(),
        },
    })
}

/// What is said of an error at a position, where it does not say its own.
pub(super) fn malformed(error: &Error, position: usize) -> DecodeError {
    DecodeError::Malformed {
        position: error.position().unwrap_or(position),
        problem: error.to_string(),
    }
}

/// How many entries of a list or map are still to come.
pub(super) struct Count {
    // None: until the break.
    left: Option<u64>,
}

impl Count {
    pub(super) fn new(len: Option<u64>) -> Self {
        Count { left: len }
    }

    /// Whether another entry follows. Passes over the break that ends a list or map of indefinite length.
    pub(super) fn more(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Error> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if decoder.datatype()? == Type::Break => {
                decoder.set_position(decoder.position() + 1);
                self.left = Some(0);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

enum Fault {
    Cbor(Error),
    TooDeep,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Cbor(error)
    }
}

/// `depth` is how many more levels may follow. A declared length costs nothing: entries that are not there end the
/// loop.
fn nested(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), Fault> {
    match decoder.datatype()? {
        Type::Tag => {
            decoder.tag()?;
            nested(decoder, deeper(depth)?)?;
        }
        Type::Array | Type::ArrayIndef => {
            let depth = deeper(depth)?;
            let mut count = Count::new(decoder.array()?);
            while count.more(decoder)? {
                nested(decoder, depth)?;
            }
        }
        Type::Map | Type::MapIndef => {
            let depth = deeper(depth)?;
            let mut count = Count::new(decoder.map()?);
            while count.more(decoder)? {
                nested(decoder, depth)?;
                nested(decoder, depth)?;
            }
        }
        Type::Bytes | Type::BytesIndef => {
            for chunk in decoder.bytes_iter()? {
                chunk?;
            }
        }
        Type::String | Type::StringIndef => {
            for chunk in decoder.str_iter()? {
                chunk?;
            }
        }
        Type::F16 => {
            half(decoder)?;
        }
        Type::F32 | Type::F64 => {
            decoder.f64()?;
        }
        Type::Bool => {
            decoder.bool()?;
        }
        Type::Null => decoder.null()?,
        Type::Undefined => decoder.undefined()?,
        Type::Simple => {
            decoder.simple()?;
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => {
            decoder.int()?;
        }
        kind @ (Type::Break | Type::Unknown(_)) => {
            return Err(Error::message(format_args!("{kind} where a value is due")).into());
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    depth.checked_sub(1).ok_or(Fault::TooDeep)
}

/// The bits of a half-precision number, for which the decoder would need one more crate.
pub(super) fn half(decoder: &mut Decoder<'_>) -> Result<u16, Error> {
    let start = decoder.position();
    match decoder.input().get(start..start.saturating_add(3)) {
        Some(&[0xf9, high, low]) => {
            decoder.set_position(start + 3);
            Ok(u16::from_be_bytes([high, low]))
        }
        _ => Err(Error::end_of_input()),
    }
}
