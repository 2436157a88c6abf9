//! What comes once per channel: image data, masks, flat fields, threshold energies.

use serde_json::Value;

use super::MAX_ENTRIES;
use super::field::{Decode, Encode};
use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written};

/// A map from channel names, such as `threshold_1`, to values, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels<T> {
    entries: Vec<(String, T)>,
}

impl<T> Channels<T> {
    /// The value of a channel.
    #[must_use]
    pub fn get(&self, channel: &str) -> Option<&T> {
        let found = self.entries.iter().find(|entry| entry.0 == channel);
        found.map(|entry| &entry.1)
    }

    /// Each channel with its value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries
            .iter()
            .map(|(channel, value)| (channel.as_str(), value))
    }

    /// How many channels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Of values for the same channel the last one counts.
impl<N: Into<String>, T> FromIterator<(N, T)> for Channels<T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(entries: I) -> Self {
        let mut channels = Channels { entries: Vec::new() };
        for (channel, value) in entries {
            let channel = channel.into();
            match channels.entries.iter_mut().find(|entry| entry.0 == channel) {
                Some(entry) => entry.1 = value,
                None => channels.entries.push((channel, value)),
            }
        }
        channels
    }
}

impl<T: Decode> Decode for Channels<T> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.skip_tags()?;
        let mut entries: Vec<(String, T)> = Vec::new();
        let mut count = reader.map()?;
        while reader.more(&mut count)? {
            let channel = String::read(reader)?;
            if entries.len() == MAX_ENTRIES || entries.iter().any(|entry| entry.0 == channel) {
                return Err(Misfit::Form);
            }
            match T::read(reader) {
                Ok(value) => entries.push((channel, value)),
                Err(Misfit::Array { within, error }) => {
                    let within = format!("/{channel}{within}");
                    return Err(Misfit::Array { within, error });
                }
                Err(Misfit::Form) => return Err(Misfit::Form),
            }
        }
        Ok(Channels { entries })
    }
}

impl<T: Encode> Encode for Channels<T> {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.map(self.entries.len() as u64)?;
        for (channel, value) in &self.entries {
            encoder.str(channel)?;
            value.write(encoder)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let entries = self.entries.iter();
        9 + entries
            .map(|(channel, value)| 9 + channel.len() + value.size())
            .sum::<usize>()
    }

    fn describe(&self) -> Value {
        self.iter()
            .map(|(channel, value)| (channel.to_owned(), value.describe()))
            .collect()
    }
}
