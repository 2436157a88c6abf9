//! Which arrays of a message are exported.

use crate::bsread::ChannelType;
use crate::stream2::{Channels, Event};
use crate::{Body, StreamMessage};

use super::ExportError;
use super::names::Names;
use super::plane::Plane;

/// Which arrays of each message are exported: those of `array-1.0`, the image of `dimage-1.0`, one channel of an image of
/// stream V2, and, where it is named, one channel of a bsread message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    channel: Option<String>,
}

impl Selection {
    /// Of stream V2 the first channel of the first image; of bsread nothing.
    #[must_use]
    pub fn new() -> Self {
        Selection::default()
    }

    /// Of stream V2 and bsread the channel of this name.
    #[must_use]
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.channel = Some(name.into());
        self
    }

    /// The channel that is exported, as far as it is known.
    pub(super) fn name(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    /// The arrays of a message; `None` for each that has no data. The channels that there are are noted in `names`.
    ///
    /// # Errors
    /// [`ExportError::Text`].
    pub(super) fn planes<'a>(
        &mut self,
        message: &'a StreamMessage,
        names: &mut Names,
    ) -> Result<Vec<Option<Plane<'a>>>, ExportError> {
        Ok(match &message.body {
            Body::Arrays(arrays) => (0..arrays.len())
                .map(|index| Plane::of_buffer(arrays, index))
                .collect(),
            Body::DetectorImage(image) => vec![Some(Plane::of_image(image))],
            Body::Stream2(message) => match message.event() {
                Event::Image(image) => {
                    let channels = image.data.as_ref();
                    for (name, _) in channels.into_iter().flat_map(Channels::iter) {
                        names.add(name);
                    }
                    if self.channel.is_none() {
                        // Images of other channels are not to be mixed with it.
                        self.channel = channels
                            .and_then(|channels| channels.iter().next())
                            .map(|(name, _)| name.to_owned());
                    }
                    let channel = self.channel.as_ref().and_then(|name| image.channel(name));
                    channel
                        .map(|array| Some(Plane::of_channel(array)))
                        .into_iter()
                        .collect()
                }
                _ => Vec::new(),
            },
            Body::Bsread(pulse) => {
                for reading in pulse.iter() {
                    names.add(reading.channel().name());
                }
                let named = self.channel.as_ref().and_then(|name| pulse.get(name));
                if let Some(reading) = &named
                    && reading.channel().channel_type() == Ok(ChannelType::Text)
                {
                    return Err(ExportError::Text {
                        channel: reading.channel().name().to_owned(),
                    });
                }
                named.map(Plane::of_reading).into_iter().collect()
            }
            _ => Vec::new(),
        })
    }
}
