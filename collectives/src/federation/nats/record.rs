//! What is kept in the streams: a version (one byte, 1), a record in postcard, and for messages their bytes.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::federation::name::{PartyId, Tag};

const VERSION: u8 = 1;
/// Of so many expired messages it is remembered that they were.
const MAX_EXPIRED: usize = 64;

/// Messages and pieces of messages of one flow. The content follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// Which numbering the flow has.
    pub(super) epoch: u64,
    /// The first offset of that numbering.
    pub(super) first: u64,
    /// All messages with lower offsets are in the stream, or were.
    pub(super) next: u64,
    pub(super) entries: Vec<Entry>,
}

/// A message, or a piece of one; see the packets' `Data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) tag: Option<Tag>,
    pub(super) codec: u8,
    /// How many milliseconds it may wait from when it is stored.
    pub(super) ttl: Option<u64>,
    pub(super) expired: bool,
    pub(super) at: u64,
    /// The lengths of all parts; with the first piece only.
    pub(super) parts: Vec<u64>,
    /// How many bytes of the content are its own.
    pub(super) len: u64,
}

/// How far a receiver is: what its program has received, and what it will never have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    pub(super) epoch: u64,
    /// All lower offsets are settled.
    pub(super) next: u64,
    /// Settled offsets above.
    above: BTreeSet<u64>,
    /// The last of the settled ones that had expired.
    expired: VecDeque<u64>,
}

/// As it is written: offsets that follow each other are a start and a count.
#[derive(Serialize, Deserialize)]
struct Written {
    epoch: u64,
    next: u64,
    above: Vec<(u64, u64)>,
    expired: Vec<u64>,
}

/// Which process a party is, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// Another number each time that the program starts.
    pub(super) incarnation: u64,
    /// All parties of the job, sorted.
    pub(super) members: Vec<PartyId>,
    /// Whether it sees all others.
    pub(super) is_ready: bool,
    /// When it has ended in good order: for each party that it has sent to, the place of the last message.
    pub(super) left: Option<Vec<(PartyId, u64)>>,
}

/// The end of the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Abort {
    pub(super) by: PartyId,
    pub(super) reason: String,
}

pub(super) fn write<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_extend(record, vec![VERSION]).expect("names and numbers always have a representation")
}

/// The record and what follows it; none when it cannot be read.
pub(super) fn read<T: DeserializeOwned>(payload: &Bytes) -> Option<(T, Bytes)> {
    let (version, rest) = payload.split_first()?;
    if *version != VERSION {
        return None;
    }
    let (record, rest) = postcard::take_from_bytes(rest).ok()?;
    Some((record, payload.slice_ref(rest)))
}

impl Batch {
    /// The batch and the content of each entry; none when they do not fit together.
    pub(super) fn read(payload: &Bytes) -> Option<(Batch, Vec<Bytes>)> {
        let (batch, mut content): (Batch, Bytes) = read(payload)?;
        let mut contents = Vec::with_capacity(batch.entries.len());
        for entry in &batch.entries {
            let len = usize::try_from(entry.len).ok()?;
            if len > content.len() {
                return None;
            }
            contents.push(content.split_to(len));
        }
        content.is_empty().then_some((batch, contents))
    }
}

impl Progress {
    pub(super) fn new(epoch: u64, next: u64) -> Self {
        Progress {
            epoch,
            next,
            ..Progress::default()
        }
    }

    pub(super) fn is_settled(&self, offset: u64) -> bool {
        offset < self.next || self.above.contains(&offset)
    }

    /// Whether more is settled than in the other: both are of one receiver, at different times.
    pub(super) fn is_beyond(&self, other: &Progress) -> bool {
        (self.next, self.above.len()) > (other.next, other.above.len())
    }

    pub(super) fn was_expired(&self, offset: u64) -> bool {
        self.expired.contains(&offset)
    }

    /// Whether that is news.
    pub(super) fn settle(&mut self, offset: u64, expired: bool) -> bool {
        if self.is_settled(offset) {
            return false;
        }
        if expired {
            if self.expired.len() == MAX_EXPIRED {
                self.expired.pop_front();
            }
            self.expired.push_back(offset);
        }
        self.above.insert(offset);
        while self.above.remove(&self.next) {
            self.next += 1;
        }
        true
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut above: Vec<(u64, u64)> = Vec::new();
        for offset in &self.above {
            match above.last_mut() {
                Some((start, count)) if *start + *count == *offset => *count += 1,
                _ => above.push((*offset, 1)),
            }
        }
        write(&Written {
            epoch: self.epoch,
            next: self.next,
            above,
            expired: self.expired.iter().copied().collect(),
        })
    }

    pub(super) fn read(payload: &Bytes) -> Option<Progress> {
        let (written, _): (Written, _) = read(payload)?;
        let mut above = BTreeSet::new();
        for (start, count) in written.above {
            // No window is larger, and no more starts fit in one.
            if count > MAX_SPAN || above.len() as u64 + count > MAX_SPAN {
                return None;
            }
            above.extend(start..start.checked_add(count)?);
        }
        Some(Progress {
            epoch: written.epoch,
            next: written.next,
            above,
            expired: written.expired.into_iter().take(MAX_EXPIRED).collect(),
        })
    }

    /// The offsets below `end` that are not settled; none when there are more than there can be.
    pub(super) fn unsettled(&self, end: u64) -> Option<Vec<u64>> {
        if end.saturating_sub(self.next) > MAX_SPAN {
            return None;
        }
        Some(
            (self.next..end)
                .filter(|offset| !self.above.contains(offset))
                .collect(),
        )
    }
}

/// So many messages of a flow at most are between the first that is not settled and the last.
const MAX_SPAN: u64 = 1 << 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn progress_is_read_as_it_was(offsets in prop::collection::vec((0..90_u64, any::<bool>()), 0..60)) {
            let mut progress = Progress::new(7, 3);
            for (offset, expired) in offsets {
                progress.settle(offset, expired);
            }
            let read = Progress::read(&progress.write().into()).unwrap();
            prop_assert_eq!(&read, &progress);
            let unsettled = read.unsettled(90).unwrap();
            prop_assert!((0..90).all(|offset| unsettled.contains(&offset) != progress.is_settled(offset)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_ours: bool) {
            if is_ours {
                bytes.insert(0, VERSION);
            }
            let bytes = Bytes::from(bytes);
            let _ = (Batch::read(&bytes), Progress::read(&bytes), read::<Claim>(&bytes), read::<Abort>(&bytes));
        }

        #[test]
        fn batches_are_read_as_they_were(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let entries = contents.iter().zip(5..).map(|(content, offset)| Entry {
                offset, tag: None, codec: 1, ttl: Some(4), expired: false, at: 0,
                parts: vec![content.len() as u64], len: content.len() as u64,
            });
            let batch = Batch { epoch: 1, first: 5, next: 9, entries: entries.collect() };
            let mut payload = write(&batch);
            payload.extend(contents.concat());
            let (read, parts) = Batch::read(&payload.clone().into()).unwrap();
            prop_assert_eq!(read, batch);
            prop_assert!(parts.iter().eq(contents.iter()));
            payload.push(0);
            prop_assert!(Batch::read(&payload.into()).is_none());
        }
    }
}
