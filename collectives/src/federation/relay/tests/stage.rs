//! A server before somebody who says what he likes.

use super::super::relay::Relay;
use super::*;
use crate::federation::core::packet::{Content, Data, Header, Hello, Item, Packet, Refusal};

pub(super) struct Stage {
    pub(super) now: Instant,
    pub(super) relay: Relay,
}

/// Somebody, with what he says he is and what he has proved to be.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    pub(super) job: JobId,
    pub(super) from: PartyId,
    pub(super) to: PartyId,
    pub(super) incarnation: u64,
    pub(super) connection: u64,
    pub(super) identity: Option<String>,
    pub(super) members: Vec<PartyId>,
    /// The number of his next item.
    pub(super) seq: u64,
    /// How many items he has acknowledged.
    pub(super) ack: u64,
}

pub(super) const SERVER: u64 = 77;

impl Stage {
    pub(super) fn new(limits: RelayLimits, access: Access) -> Stage {
        let now = Instant::now();
        let setup = RelaySetup {
            incarnation: SERVER,
            limits,
            access,
            routes: Routes::default(),
            durable: false,
            epochs: 1,
            unix_ms: 0,
        };
        Stage {
            now,
            relay: Relay::new(setup, now),
        }
    }

    pub(super) fn open() -> Stage {
        Stage::new(relay_limits(), Access::open())
    }

    pub(super) fn say_with(&mut self, voice: &Voice, content: Content, pieces: Vec<Bytes>) {
        let job = self.relay.job_ids.get(&voice.job);
        let header = Header {
            job: voice.job.clone(),
            from: voice.from.clone(),
            to: voice.to.clone(),
            mine: voice.incarnation,
            yours: job.map_or(SERVER, |job| self.relay.jobs[*job].incarnation),
            ack: voice.ack,
            content,
        };
        let packet = Packet { header, pieces }.encode();
        let way = Way::Party(voice.connection);
        self.relay
            .handle_packet(self.now, way, voice.identity.as_deref(), packet);
    }

    pub(super) fn hello(&mut self, voice: &Voice) {
        let hello = Hello {
            members: voice.members.clone(),
            window_messages: 1000,
            window_bytes: 1 << 20,
            max_message: 1 << 30,
            credit: u64::MAX,
            custody: u64::MAX,
        };
        self.say_with(voice, Content::Hello(hello), Vec::new());
    }

    /// Whether an item is taken.
    pub(super) fn takes_with(&mut self, voice: &mut Voice, item: Item, pieces: Vec<Bytes>) -> bool {
        let items = vec![item];
        let seq = voice.seq;
        self.say_with(voice, Content::Items { seq, items }, pieces);
        let half = self.half(voice);
        voice.seq = self.relay.halves[half].link.expected();
        voice.seq > seq
    }

    pub(super) fn takes(&mut self, voice: &mut Voice, item: Item) -> bool {
        self.takes_with(voice, item, Vec::new())
    }

    pub(super) fn half(&self, voice: &Voice) -> usize {
        let job = &self.relay.jobs[self.relay.job_ids[&voice.job]];
        let (from, to) = (job.member(&voice.from), job.member(&voice.to));
        job.halves[&(from.unwrap(), to.unwrap())]
    }

    /// All that the server says now.
    pub(super) fn hear(&mut self) -> Vec<(Way, Packet)> {
        let mut said = Vec::new();
        while let Some((way, message)) = self.relay.poll_transmit(self.now) {
            said.push((way, Packet::decode(message).unwrap()));
        }
        said
    }

    /// What the server says to somebody: items, each once, which he acknowledges.
    pub(super) fn items(&mut self, voice: &mut Voice) -> Vec<Item> {
        let mut all = Vec::new();
        for (way, packet) in self.hear() {
            if way == Way::Party(voice.connection)
                && packet.header.from == voice.to
                && let Content::Items { seq, items } = packet.header.content
            {
                let new = items.into_iter().zip(seq..).filter(|(_, seq)| *seq >= voice.ack);
                all.extend(new.map(|(item, _)| item));
                voice.ack += all.len() as u64;
            }
        }
        self.say_with(voice, Content::Ack { gap: false }, Vec::new());
        all
    }

    pub(super) fn refusals(&mut self) -> Vec<Refusal> {
        let said = self.hear().into_iter();
        said.filter_map(|(_, packet)| match packet.header.content {
            Content::Refused(refusal) => Some(refusal),
            _ => None,
        })
        .collect()
    }

    pub(super) fn events(&mut self) -> Vec<RelayEvent> {
        std::iter::from_fn(|| self.relay.poll_event()).collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.relay.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Whether nothing is left of anybody.
    pub(super) fn is_untouched(&self) -> bool {
        self.relay.job_ids.is_empty() && self.relay.members.is_empty() && self.relay.poll_timeout().is_none()
    }
}

impl Voice {
    /// A party of a job of `a` and `b`, on a connection that proves it.
    pub(super) fn new(from: usize, to: usize) -> Voice {
        Voice {
            job: job("job"),
            from: party(from),
            to: party(to),
            incarnation: 10 + from as u64,
            connection: 100 + from as u64,
            identity: Some(party(from).to_string()),
            members: vec![party(0), party(1)],
            seq: 0,
            ack: 0,
        }
    }

    pub(super) fn again(&self, incarnation: u64) -> Voice {
        Voice {
            incarnation,
            connection: self.connection + 1000 + incarnation,
            seq: 0,
            ack: 0,
            ..self.clone()
        }
    }
}

pub(super) fn open(flow: u32, name: &str) -> Item {
    Item::Open {
        flow,
        key: key(name),
        from: None,
    }
}

/// A whole message, in one piece.
pub(super) fn data(flow: u32, offset: u64, len: u64) -> (Item, Vec<Bytes>) {
    let pieces = vec![Bytes::from(vec![1; usize::try_from(len).unwrap()])];
    let data = Data {
        flow,
        offset,
        tag: None,
        codec: 0,
        ttl: None,
        expired: false,
        at: 0,
        parts: vec![len].into(),
        pieces: 1,
    };
    (Item::Data(data), pieces)
}

pub(super) fn nothing(flow: u32, offset: u64) -> Item {
    Item::Data(Data {
        flow,
        offset,
        tag: None,
        codec: 0,
        ttl: None,
        expired: true,
        at: 0,
        parts: Vec::new().into(),
        pieces: 0,
    })
}
