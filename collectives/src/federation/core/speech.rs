//! What a link says next. It is written from where it lies: its items stay in the link until they are acknowledged.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::ops::Range;

use bytes::Bytes;
use flexbond_transport::Message;
use serde::{Serialize, Serializer};

use super::few::Few;
use super::packet::{Hello, Item, Refusal, write};
use crate::federation::name::{JobId, PartyId};

/// An item of a link, and the content of its message that goes with it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) item: Item,
    pub(crate) pieces: Few<Bytes>,
    pub(crate) bytes: usize,
}

/// A packet without its addresses.
#[derive(Debug)]
pub(crate) struct Speech<'a> {
    /// The incarnation that it is for.
    pub(crate) yours: u64,
    pub(crate) ack: u64,
    pub(crate) saying: Saying<'a>,
}

/// As [`Content`](super::packet::Content) is written.
#[derive(Debug, Serialize)]
pub(crate) enum Saying<'a> {
    Hello(Hello),
    Refused(Refusal),
    Ack { gap: bool },
    Items { seq: u64, items: Run<'a> },
}

/// Items of a queue that follow each other.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    queue: &'a VecDeque<Queued>,
    range: Range<usize>,
}

/// As [`Header`](super::packet::Header) is written.
#[derive(Serialize)]
struct Addressed<'a> {
    job: &'a JobId,
    from: &'a PartyId,
    to: &'a PartyId,
    mine: u64,
    yours: u64,
    ack: u64,
    saying: &'a Saying<'a>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(queue: &'a VecDeque<Queued>, range: Range<usize>) -> Self {
        Run { queue, range }
    }

    fn iter(&self) -> Iter<'a, Queued> {
        self.queue.range(self.range.clone())
    }
}

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|queued| &queued.item))
    }
}

impl Speech<'_> {
    /// Writes it, from one to another. `mine` is the incarnation of the speaker.
    pub(crate) fn write(&self, job: &JobId, from: &PartyId, to: &PartyId, mine: u64) -> Message {
        let header = Addressed {
            job,
            from,
            to,
            mine,
            yours: self.yours,
            ack: self.ack,
            saying: &self.saying,
        };
        match &self.saying {
            Saying::Items { items, .. } => write(
                &header,
                items.range.len(),
                items.iter().flat_map(|queued| &queued.pieces),
            ),
            _ => write(&header, 1, std::iter::empty()),
        }
    }
}

/// As values of their own.
#[cfg(test)]
impl Speech<'_> {
    pub(crate) fn content(&self) -> super::packet::Content {
        use super::packet::Content;

        match &self.saying {
            Saying::Hello(hello) => Content::Hello(hello.clone()),
            Saying::Refused(refusal) => Content::Refused(*refusal),
            Saying::Ack { gap } => Content::Ack { gap: *gap },
            Saying::Items { seq, items } => Content::Items {
                seq: *seq,
                items: items.iter().map(|queued| queued.item.clone()).collect(),
            },
        }
    }

    pub(crate) fn pieces(&self) -> Vec<Bytes> {
        match &self.saying {
            Saying::Items { items, .. } => items.iter().flat_map(|queued| queued.pieces.clone()).collect(),
            _ => Vec::new(),
        }
    }
}
