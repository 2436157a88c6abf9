//! The messages of a running series: each image, and the end.

use super::fields::Fields;
use super::record::record;
use super::{Channels, DateTime, DecodeError, Item, MultiDimArray, Rational};

record! {
    /// Sent for every exposure, with the data of all active channels.
    Image {
        /// The number of the series.
        series_id: u64,
        /// The unique id of the series.
        series_unique_id: String,
        /// The number of the image, from zero.
        image_id: u64,
        /// How long the image was really exposed, in seconds.
        real_time: Rational,
        /// When the series started.
        series_date: DateTime,
        /// When the image started, in seconds after `series_date`.
        start_time: Rational,
        /// When the image stopped, in seconds after `series_date`.
        stop_time: Rational,
        /// What the user has asked to be sent along (`image_appendix`).
        user_data: Item,
        /// The array of each channel.
        data: Channels<MultiDimArray>,
    }
}

record! {
    /// Sent when a series is over.
    End {
        /// The number of the series.
        series_id: u64,
        /// The unique id of the series.
        series_unique_id: String,
    }
}

impl Image {
    /// The array of a channel, such as `threshold_1`.
    #[must_use]
    pub fn channel(&self, channel: &str) -> Option<&MultiDimArray> {
        self.data.as_ref()?.get(channel)
    }

    /// As any message, but data that are no arrays are an error: an image without them means nothing.
    pub(super) fn read_strict(fields: Fields) -> Result<Self, DecodeError> {
        let image = Image::read(fields)?;
        match image.other.iter().find(|field| field.0 == "data") {
            Some((field, _)) => Err(DecodeError::Form(field.clone())),
            None => Ok(image),
        }
    }
}
