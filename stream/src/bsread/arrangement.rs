//! Where the value and the timestamp of each channel stand among the parts of a message.

use flexbond_transport::Frame;

use super::BsreadError;
use super::value::Timestamp;

/// Where values and timestamps stand after the data header.
#[derive(Clone, Debug)]
pub(super) enum Arrangement {
    /// Two parts for each channel.
    Pairs,
    /// The value of each channel, and its timestamp after it. Senders of version 1.0 have one empty part for a channel
    /// without a value, and some of them one more at the end.
    Listed(Vec<usize>),
}

impl Arrangement {
    /// Whether so many parts, both headers included, can be those of `channels`.
    pub(super) fn expect(channels: usize, parts: usize, loose: bool) -> Result<(), BsreadError> {
        // Cannot overflow: each channel took more bytes than this in the data header.
        let pairs = 2 + 2 * channels;
        let fits = match loose {
            true => (2 + channels..=pairs + 1).contains(&parts),
            false => parts == pairs,
        };
        match fits {
            true => Ok(()),
            false => Err(BsreadError::PartCount {
                channels,
                actual: parts,
            }),
        }
    }

    /// Where they stand in `parts`, of which the first is the data header. Messages of version 1.0 are `loose`.
    pub(super) fn of(channels: usize, parts: &[Frame], loose: bool) -> Result<Self, BsreadError> {
        Self::expect(channels, 1 + parts.len(), loose)?;
        let values = parts.get(1..).unwrap_or_default();
        let even = values.len() == 2 * channels;
        if even && (!loose || in_pairs(values)) {
            return Ok(Arrangement::Pairs);
        }
        match listed(channels, values) {
            Some(places) => Ok(Arrangement::Listed(places)),
            // What is wrong with them is told when they are read.
            None if even => Ok(Arrangement::Pairs),
            None => Err(BsreadError::PartCount {
                channels,
                actual: 1 + parts.len(),
            }),
        }
    }

    /// Value and timestamp of the channel at a place, in parts of which the first is the data header.
    pub(super) fn find<'a>(&self, parts: &'a [Frame], place: usize) -> Option<(&'a Frame, &'a Frame)> {
        let at = match self {
            Arrangement::Pairs => 1 + 2 * place,
            Arrangement::Listed(places) => 1 + places.get(place)?,
        };
        let data = parts.get(at)?;
        match self {
            Arrangement::Listed(_) if data.is_empty() => Some((data, data)),
            _ => Some((data, parts.get(at + 1)?)),
        }
    }
}

fn in_pairs(values: &[Frame]) -> bool {
    let (pairs, _) = values.as_chunks::<2>();
    pairs.iter().all(|[data, timestamp]| {
        timestamp.len() == Timestamp::SIZE || (data.is_empty() && timestamp.is_empty())
    })
}

/// Where each value stands when an empty one has no timestamp; `None` when the parts are not so.
fn listed(channels: usize, values: &[Frame]) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(channels);
    let mut at = 0;
    for _ in 0..channels {
        places.push(at);
        if values.get(at)?.is_empty() {
            at += 1;
        } else if values.get(at + 1)?.len() == Timestamp::SIZE {
            at += 2;
        } else {
            return None;
        }
    }
    match values.get(at..)? {
        [] => Some(places),
        [end] if end.is_empty() => Some(places),
        _ => None,
    }
}
