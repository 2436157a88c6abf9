//! The axes of a goniometer, as a start message has them.

use serde_json::{Value, json};

use super::field::{Decode, Encode};
use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written};

/// One axis: where it starts, and how far it moves per image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Axis {
    /// The step per image, in the axis' unit (degrees for rotations).
    pub increment: Option<f64>,
    /// The position at the first image.
    pub start: Option<f64>,
}

impl Axis {
    /// An axis that starts at `start` and moves by `increment` per image.
    #[must_use]
    pub fn new(start: f64, increment: f64) -> Self {
        Axis {
            increment: Some(increment),
            start: Some(start),
        }
    }
}

impl Decode for Axis {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        let mut axis = Axis::default();
        let mut count = reader.map()?;
        while reader.more(&mut count)? {
            let key = String::read(reader)?;
            let item = reader.item()?;
            let value = (!item.is_null()).then(|| f64::read(&mut item.reader()));
            match key.as_str() {
                "increment" => axis.increment = value.transpose()?,
                "start" => axis.start = value.transpose()?,
                _ => {}
            }
        }
        Ok(axis)
    }
}

impl Encode for Axis {
    fn write(&self, encoder: &mut Encoder) -> Written {
        let fields = [("increment", self.increment), ("start", self.start)];
        let count = fields.iter().filter(|field| field.1.is_some()).count();
        encoder.map(count as u64)?;
        for (key, value) in fields {
            if let Some(value) = value {
                encoder.str(key)?.f64(value)?;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        36
    }

    fn describe(&self) -> Value {
        json!({ "increment": self.increment, "start": self.start })
    }
}
