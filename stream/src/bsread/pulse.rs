//! One message: the values of all channels for one pulse.

use std::sync::Arc;

use flexbond_transport::Frame;
use serde_json::{Map, Value as Json};

use crate::{Body, Header, StreamMessage, json_object};

use super::BsreadError;
use super::arrangement::Arrangement;
use super::channel::Compression;
use super::data_header::{DataHeader, HeaderCache};
use super::reading::Reading;
use super::value::{EncodeError, Sample, Timestamp};

/// The values of all channels for one pulse: the parts of a `bsr_m-1.1` message.
#[derive(Clone, Debug)]
pub struct Pulse {
    pulse_id: Option<u64>,
    timestamp: Option<Timestamp>,
    hash_fits: bool,
    data_header: Arc<DataHeader>,
    arrangement: Arrangement,
    // Everything after the first part: the data header, then the parts of the channels.
    parts: Vec<Frame>,
}

impl Pulse {
    /// The `htype` of the message.
    pub const HTYPE: &str = "bsr_m-1.1";
    /// The `htype` of the older version, which is read as well.
    pub const HTYPE_1_0: &str = "bsr_m-1.0";

    /// A message to be sent: one value per channel, in order; `None` where a channel has none for this pulse.
    ///
    /// # Errors
    /// [`EncodeError`] for the first value that does not fit its channel.
    pub fn new(
        pulse_id: u64,
        timestamp: Timestamp,
        data_header: &Arc<DataHeader>,
        samples: impl IntoIterator<Item = Option<Sample>>,
    ) -> Result<Self, EncodeError> {
        let channels = data_header.channels();
        let mut parts = Vec::with_capacity(1 + 2 * channels.len());
        parts.push(data_header.part().clone());
        let mut count = 0;
        for sample in samples {
            count += 1;
            match (channels.get(count - 1), sample) {
                (Some(channel), Some(sample)) => {
                    parts.push(sample.value.encode(channel)?);
                    // A channel whose value was encoded has a byte order.
                    let endianness = channel
                        .layout()
                        .map_or(crate::Endianness::Little, crate::Layout::endianness);
                    parts.push(sample.timestamp.encode(endianness));
                }
                _ => parts.extend([Frame::new(), Frame::new()]),
            }
        }
        if count != channels.len() {
            return Err(EncodeError::Count {
                channels: channels.len(),
                values: count,
            });
        }
        Ok(Pulse {
            pulse_id: Some(pulse_id),
            timestamp: Some(timestamp),
            hash_fits: true,
            data_header: Arc::clone(data_header),
            arrangement: Arrangement::Pairs,
            parts,
        })
    }

    pub(crate) fn read(
        header: &Header,
        parts: Vec<Frame>,
        cache: &mut HeaderCache,
    ) -> Result<Self, BsreadError> {
        let compression =
            Compression::from_field(header.get("dh_compression")).map_err(BsreadError::UnknownCompression)?;
        let hash = header.text("hash");
        let loose = header.htype() == Self::HTYPE_1_0;
        let (data_header, arrangement) = cache.get(&parts, compression, hash, loose)?;
        Ok(Pulse {
            pulse_id: header.pulse_id(),
            timestamp: header
                .get("global_timestamp")
                .and_then(Json::as_object)
                .and_then(timestamp_of),
            hash_fits: hash.is_none_or(|hash| data_header.has_hash(hash)),
            data_header,
            arrangement,
            parts,
        })
    }

    /// The number of the pulse; `None` where the sender did not say: those in Java leave out 0.
    #[must_use]
    pub fn pulse_id(&self) -> Option<u64> {
        self.pulse_id
    }

    /// The time of the pulse (`global_timestamp`).
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Whether `hash` of the main header is that of the data header, or is left out.
    #[must_use]
    pub fn hash_fits(&self) -> bool {
        self.hash_fits
    }

    /// The channels.
    #[must_use]
    pub fn data_header(&self) -> &Arc<DataHeader> {
        &self.data_header
    }

    /// What came for a channel; `None` when there is no channel of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Reading<'_>> {
        self.data_header
            .position(name)
            .and_then(|place| self.reading(place))
    }

    /// What came for each channel, in order.
    pub fn iter(&self) -> impl Iterator<Item = Reading<'_>> {
        (0..self.data_header.channels().len()).filter_map(|place| self.reading(place))
    }

    /// All parts after the first, as they travel.
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        &self.parts
    }

    fn reading(&self, place: usize) -> Option<Reading<'_>> {
        let (data, timestamp) = self.arrangement.find(&self.parts, place)?;
        Some(Reading {
            channel: self.data_header.channels().get(place)?,
            data,
            timestamp,
        })
    }
}

/// Version 1.1 says `sec`, older senders `epoch`.
fn timestamp_of(fields: &Map<String, Json>) -> Option<Timestamp> {
    let number = |field: &str| i64::try_from(json_object::integer(fields.get(field)?)?).ok();
    Some(Timestamp {
        seconds: number("sec").or_else(|| number("epoch"))?,
        nanoseconds: number("ns").unwrap_or(0),
    })
}

impl From<Pulse> for StreamMessage {
    fn from(body: Pulse) -> Self {
        let mut header = Header::new(match body.arrangement {
            Arrangement::Pairs => Pulse::HTYPE,
            Arrangement::Listed(_) => Pulse::HTYPE_1_0,
        });
        if let Some(pulse_id) = body.pulse_id {
            header.set("pulse_id", pulse_id);
        }
        header.set("hash", body.data_header.hash());
        if let Some(timestamp) = body.timestamp {
            let mut fields = Map::new();
            fields.insert("sec".to_owned(), timestamp.seconds.into());
            fields.insert("ns".to_owned(), timestamp.nanoseconds.into());
            header.set("global_timestamp", fields);
        }
        header.set("dh_compression", body.data_header.compression().name());
        StreamMessage {
            header,
            body: Body::Bsread(body),
        }
    }
}
