//! The values of fields: how each is read, written and summarized.

use serde_json::Value;

use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written};
use super::{DateTime, MAX_ENTRIES, Rational};

/// A value that is read from an item.
pub(super) trait Decode: Sized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit>;
}

/// A value that is written as an item.
pub(super) trait Encode {
    fn write(&self, encoder: &mut Encoder) -> Written;

    /// About how many bytes it has when written.
    fn size(&self) -> usize {
        9
    }

    /// What a summary says of it.
    fn describe(&self) -> Value;
}

impl Decode for f64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        reader.float()
    }
}

impl Encode for f64 {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.f64(*self)?.ok()
    }

    fn describe(&self) -> Value {
        Value::from(*self)
    }
}

impl Decode for u64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        reader.unsigned()
    }
}

impl Encode for u64 {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.u64(*self)?.ok()
    }

    fn describe(&self) -> Value {
        Value::from(*self)
    }
}

impl Decode for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        reader.bool()
    }
}

impl Encode for bool {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.bool(*self)?.ok()
    }

    fn describe(&self) -> Value {
        Value::from(*self)
    }
}

impl Decode for String {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        reader.text()
    }
}

impl Encode for String {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.str(self)?.ok()
    }

    fn size(&self) -> usize {
        9 + self.len()
    }

    fn describe(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Decode for DateTime {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        String::read(reader).map(DateTime::new)
    }
}

impl Encode for DateTime {
    fn write(&self, encoder: &mut Encoder) -> Written {
        // RFC 8949, section 3.4.1.
        encoder.tag(minicbor::data::Tag::new(0))?.str(self.as_str())?.ok()
    }

    fn size(&self) -> usize {
        10 + self.as_str().len()
    }

    fn describe(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Decode for Rational {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        let mut count = reader.list()?;
        reader.next(&mut count)?;
        let numerator = reader.unsigned()?;
        reader.next(&mut count)?;
        let denominator = reader.unsigned()?;
        reader.end(&mut count)?;
        Ok(Rational::new(numerator, denominator))
    }
}

impl Encode for Rational {
    fn write(&self, encoder: &mut Encoder) -> Written {
        let pair = encoder.array(2)?;
        pair.u64(self.numerator)?.u64(self.denominator)?.ok()
    }

    fn size(&self) -> usize {
        19
    }

    fn describe(&self) -> Value {
        Value::from(vec![self.numerator, self.denominator])
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        let mut list = Vec::new();
        let mut count = reader.list()?;
        while reader.more(&mut count)? {
            if list.len() == MAX_ENTRIES {
                return Err(Misfit::Form);
            }
            list.push(T::read(reader)?);
        }
        Ok(list)
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.array(self.len() as u64)?;
        self.iter().try_for_each(|value| value.write(encoder))
    }

    fn size(&self) -> usize {
        9 + self.iter().map(Encode::size).sum::<usize>()
    }

    fn describe(&self) -> Value {
        self.iter().map(Encode::describe).collect()
    }
}
