//! CBOR as JSON and JSON as CBOR, for user data and for summaries.

use minicbor::data::Type;
use serde_json::{Map, Number, Value, json};

use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written};

/// The next item as JSON; `left` is how many more values may be made. An error means that they were too many.
pub(super) fn read(reader: &mut Reader<'_>, left: &mut usize) -> Result<Value, Misfit> {
    *left = left.checked_sub(1).ok_or(Misfit::Form)?;
    reader.skip_tags()?;
    let value = match reader.kind()? {
        Type::Map | Type::MapIndef => {
            let mut map = Map::new();
            let mut count = reader.map()?;
            while reader.more(&mut count)? {
                let key = key(reader, left)?;
                map.insert(key, read(reader, left)?);
            }
            Value::Object(map)
        }
        Type::Array | Type::ArrayIndef => {
            let mut list = Vec::new();
            let mut count = reader.list()?;
            while reader.more(&mut count)? {
                list.push(read(reader, left)?);
            }
            Value::Array(list)
        }
        Type::Bytes | Type::BytesIndef => json!({ "bytes": reader.bytes()?.len() }),
        Type::String | Type::StringIndef => Value::String(reader.text()?),
        Type::Bool => Value::Bool(reader.bool()?),
        Type::F16 | Type::F32 | Type::F64 => Value::from(reader.float()?),
        Type::Simple => Value::from(reader.simple()?),
        Type::Null | Type::Undefined => {
            reader.item()?;
            Value::Null
        }
        _ => {
            let integer = reader.integer()?;
            // Below -2^63 there is no JSON integer here.
            Number::from_i128(integer).map_or_else(|| Value::from(integer as f64), Value::Number)
        }
    };
    Ok(value)
}

/// The next item as the key of an object. What holds others is written as its bytes: as JSON in JSON in JSON, each level
/// would escape the quotes of the one below, and be twice as long.
fn key(reader: &mut Reader<'_>, left: &mut usize) -> Result<String, Misfit> {
    reader.skip_tags()?;
    match reader.kind()? {
        Type::Map | Type::MapIndef | Type::Array | Type::ArrayIndef | Type::Bytes | Type::BytesIndef => {
            *left = left.checked_sub(1).ok_or(Misfit::Form)?;
            let item = reader.item()?;
            let digits = item.bytes().iter().map(|byte| format!("{byte:02x}"));
            Ok(format!("h'{}'", digits.collect::<String>()))
        }
        _ => Ok(match read(reader, left)? {
            Value::String(key) => key,
            other => other.to_string(),
        }),
    }
}

/// Writes a JSON value as CBOR.
pub(super) fn write(value: &Value, encoder: &mut Encoder) -> Written {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(value) => encoder.bool(*value)?.ok(),
        Value::String(text) => encoder.str(text)?.ok(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => encoder.u64(value)?.ok(),
            (_, Some(value)) => encoder.i64(value)?.ok(),
            // Every other number of JSON is a float.
            _ => encoder.f64(number.as_f64().unwrap_or(f64::NAN))?.ok(),
        },
        Value::Array(list) => {
            encoder.array(list.len() as u64)?;
            list.iter().try_for_each(|value| write(value, encoder))
        }
        Value::Object(map) => {
            encoder.map(map.len() as u64)?;
            map.iter().try_for_each(|(key, value)| {
                encoder.str(key)?;
                write(value, encoder)
            })
        }
    }
}
