//! Somebody who knows all that can be known, and says what he likes.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use flexbond_transport::Message;

use super::{NAMES, job, party};
use crate::federation::core::packet::{Content, Header, Hello, Item, Packet, Refusal};
use crate::federation::fuzz::{item, number};
use crate::federation::name::{JobId, PartyId};
use crate::federation::relay::relay::Relay;

pub(super) struct Voice {
    index: usize,
    incarnation: u64,
    pub(super) connection: u64,
    /// How many items he has heard, by job and who has said them.
    heard: BTreeMap<(JobId, PartyId), u64>,
    packets: u64,
}

impl Voice {
    pub(super) fn new(index: usize, number: u64) -> Self {
        Voice {
            index,
            incarnation: number,
            connection: number,
            heard: BTreeMap::new(),
            packets: 0,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        NAMES[self.index]
    }

    /// Another process, on another connection.
    pub(super) fn begin_anew(&mut self, number: u64) {
        *self = Voice::new(self.index, number);
    }

    /// Something that a server says, perhaps to him.
    pub(super) fn hear(&mut self, message: &Message) {
        let packet = Packet::decode(message.clone()).expect("what is sent can be read");
        let header = packet.header;
        if header.to == party(self.index)
            && let Content::Items { seq, items } = &header.content
        {
            let heard = self.heard.entry((header.job, header.from)).or_default();
            *heard = (*heard).max(seq + items.len() as u64);
        }
    }

    /// What he says: as one who knows what would be taken; it need not be the truth.
    pub(super) fn packet(
        &mut self,
        relay: &Relay,
        is_wild: bool,
        step: u8,
        which: u8,
        count: u8,
        body: &[u8],
    ) -> Message {
        self.packets += 1;
        let to = party(usize::from(which >> 2) % NAMES.len());
        let name = ["job", "job", "spam", "more"][usize::from(which >> 5) % 4];
        // Who may say so says that he is another.
        let from = match step >> 4 {
            14 => party(usize::from(count) % NAMES.len()),
            _ => party(self.index),
        };
        let job = job(name);
        let known = relay.job_ids.get(&job).and_then(|index| relay.jobs.get(*index));
        let half = known.and_then(|job| {
            let (from, to) = job.member(&from).zip(job.member(&to))?;
            relay.halves.get(*job.halves.get(&(from, to))?)
        });
        let expected = half.map_or(0, |half| half.link.expected());
        let mut pieces = Vec::new();
        let content = match step % 16 {
            12 => Content::Hello(self.hello(name, step, count, body)),
            13 if step >> 4 > 12 => {
                let refusals = [Refusal::InUse, Refusal::NoRoom, Refusal::Superseded];
                Content::Refused(refusals[usize::from(count) % 3])
            }
            13 if step >> 4 > 10 => Content::Ack { gap: count & 1 != 0 },
            _ => {
                let seq = if step >> 4 == 15 { number(body) } else { expected };
                // In the job of others nobody ends it for them.
                let (own, rest) = body.split_first().unwrap_or((&0, &[]));
                let epoch = 100 + u64::from(*own % 4);
                let item = item(10 + step / 16 % 6, which, count, rest, epoch, &mut pieces);
                let is_end = matches!(item, Item::Abort { .. }) && name == "job";
                let item = if is_end && !is_wild { Item::Ready } else { item };
                Content::Items {
                    seq,
                    items: vec![item],
                }
            }
        };
        let heard = self.heard.get(&(job.clone(), to.clone()));
        let ack = match step >> 4 {
            13 => u64::from(count),
            _ => heard.copied().unwrap_or(0),
        };
        let header = Header {
            yours: known.map_or(0, |job| job.incarnation),
            job,
            from,
            to,
            mine: self.incarnation,
            ack,
            content,
        };
        Packet { header, pieces }.encode()
    }

    fn hello(&self, job: &str, step: u8, count: u8, body: &[u8]) -> Hello {
        let members = match (job, step >> 4) {
            (_, 15) => 0..usize::from(count) % 6,
            ("job", _) => 0..4,
            ("spam", _) => 3..5,
            _ => 0..5,
        };
        Hello {
            members: members.filter(|index| *index < NAMES.len()).map(party).collect(),
            window_messages: u32::from(count),
            window_bytes: number(body) | u64::from(count & 1) << 20,
            max_message: number(body.get(4..).unwrap_or_default()),
            credit: match step >> 4 {
                8..14 => u64::from(count) * 64,
                _ => u64::MAX,
            },
            custody: match step >> 4 {
                4..12 => u64::MAX,
                _ => u64::from(count),
            },
        }
    }
}

/// The message with other bytes in it, and fewer perhaps.
pub(super) fn altered(message: &Message, changes: &[u8]) -> Message {
    let mut frames: Vec<BytesMut> = message.iter().map(|frame| BytesMut::from(&frame[..])).collect();
    for change in changes.chunks_exact(2) {
        let count = frames.len();
        let frame = &mut frames[usize::from(change[1] & 3) % count];
        if frame.is_empty() {
            continue;
        }
        let at = usize::from(change[0]) % frame.len();
        if change[1] == 0xff {
            frame.truncate(at);
        } else {
            frame[at] = frame[at].wrapping_add(change[1] >> 2);
        }
    }
    frames
        .into_iter()
        .map(BytesMut::freeze)
        .collect::<Vec<Bytes>>()
        .into_iter()
        .collect()
}
