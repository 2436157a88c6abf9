//! What a node hears of others and says to them.

use std::time::Instant;

use bytes::Bytes;
use flexbond_transport::Message;

use super::{Event, Node};
use crate::federation::core::link::Heard;
use crate::federation::core::packet::{Content, Hello, Item, Packet, PacketError, Refusal};
use crate::federation::core::peer::{Burnt, bounds};

impl Node {
    /// A packet that cannot be read or is nobody's is counted and forgotten.
    pub(crate) fn handle_read(&mut self, now: Instant, packet: Result<Packet, PacketError>) {
        let Ok(Packet { header, pieces }) = packet else {
            self.foreign += 1;
            return;
        };
        let Some(index) = self
            .peer_index(&header.from)
            .filter(|_| header.to == self.setup.local)
        else {
            self.foreign += 1;
            return;
        };
        let is_ours = header.job == self.setup.job;
        let acceptable = match &header.content {
            Content::Hello(_) if !is_ours => Err(Refusal::OtherJob),
            Content::Hello(hello) if hello.members != self.members => Err(Refusal::OtherMembers),
            // A refusal may come from another job, and says so.
            Content::Hello(_) | Content::Refused(_) => Ok(()),
            _ if is_ours => Ok(()),
            _ => {
                self.foreign += 1;
                return;
            }
        };
        let bytes = pieces.iter().map(Bytes::len).sum();
        let peer = &mut self.peers[index];
        let (heard, taken) = peer.link.handle(now, &header, bytes, acceptable);
        if heard.is_new {
            peer.reset();
        }
        if let Content::Hello(hello) = &header.content
            && peer.link.is_with(header.mine)
        {
            peer.meet(hello, &self.setup.limits);
        }
        if heard != Heard::default() {
            self.note(index, &heard);
        }
        if let (Content::Items { items, .. }, Some(taken)) = (header.content, taken) {
            self.handle_items(now, index, items, taken, pieces);
        }
        self.touch(index);
    }

    fn note(&mut self, index: usize, heard: &Heard) {
        let peer = &mut self.peers[index];
        if heard.came_up {
            peer.refused = None;
            // A server is not the party for which it stands.
            if !peer.is_relayed() {
                self.saw(index);
            }
            self.tell(index);
        }
        if let Some(refusal) = heard.refused {
            self.peers[index].refused = Some(refusal);
            if refusal == Refusal::Superseded {
                self.superseded = true;
                self.events.push_back(Event::Over);
            }
        }
        self.events.push_back(Event::Peer { peer: index });
    }

    /// Takes items until there is one that cannot be taken; of these, the first `taken` were here before.
    fn handle_items(
        &mut self,
        now: Instant,
        index: usize,
        items: Vec<Item>,
        taken: usize,
        pieces: Vec<Bytes>,
    ) {
        let mut pieces = pieces.into_iter();
        for (number, item) in items.into_iter().enumerate() {
            let mut own = pieces.by_ref().take(item.pieces());
            if number < taken {
                own.for_each(drop);
                continue;
            }
            if !self.handle_item(now, index, item, &mut own) {
                return;
            }
            own.for_each(drop);
            self.peers[index].link.take();
        }
    }

    /// Whether the item was taken.
    fn handle_item(
        &mut self,
        now: Instant,
        index: usize,
        item: Item,
        pieces: &mut impl Iterator<Item = Bytes>,
    ) -> bool {
        let is_over = self.aborted.is_some();
        let limits = &self.setup.limits;
        let peer = &mut self.peers[index];
        match item {
            Item::Abort { by, reason } => {
                // It knows: who leaves need not wait until it has heard of it.
                peer.is_abort_told = true;
                self.abort(by, reason);
            }
            Item::Leave => {
                peer.has_left = true;
                // It goes when it is sure that this side knows.
                peer.link.hurry();
                self.events.push_back(Event::Peer { peer: index });
            }
            // What others still send is of no use any more.
            _ if is_over => {}
            Item::Open { .. } | Item::Data(_) if !peer.has_room_for_answers(limits) => {
                peer.wrong += 1;
                return false;
            }
            Item::Open { flow, key, from } => {
                // An incarnation is drawn anew by each process, as the numbering of a flow has to be.
                if !peer.open(flow, &key, from, self.setup.incarnation, limits) {
                    peer.wrong += 1;
                    return false;
                }
            }
            Item::Opened {
                flow,
                epoch,
                next,
                held,
            } => {
                let Some(key) = peer.opened(flow, epoch, next, &held) else {
                    peer.wrong += 1;
                    return false;
                };
                self.events.push_back(Event::Moved { peer: index, key });
            }
            Item::Declined { flow, limit } => {
                let Some(key) = peer.declined(flow, limit) else {
                    peer.wrong += 1;
                    return false;
                };
                self.events.push_back(Event::Moved { peer: index, key });
            }
            Item::Data(data) => match peer.arrived(now, data, pieces, bounds(limits)) {
                Some((key, true)) => self.events.push_back(Event::Arrived { peer: index, key }),
                Some((_, false)) => {}
                None => {
                    peer.wrong += 1;
                    return false;
                }
            },
            Item::Settled {
                flow,
                offset,
                expired,
            } => {
                if let Some(key) = peer.settled(flow, offset, expired) {
                    self.events.push_back(Event::Moved { peer: index, key });
                }
            }
            Item::Ready => {
                if !std::mem::replace(&mut peer.is_ready, true) {
                    self.unready -= 1;
                    self.check_ready();
                }
            }
            Item::Seen { is_up } if peer.see(now, is_up) => {
                if is_up {
                    self.saw(index);
                }
                self.events.push_back(Event::Peer { peer: index });
            }
            Item::Credit { total } if peer.grant(total) => {}
            Item::Rewind { flow, offset } if peer.rewind(flow, offset) => {}
            // Said by no server, or to none.
            Item::Seen { .. } | Item::Credit { .. } | Item::Rewind { .. } | Item::Want { .. } => {
                peer.wrong += 1;
                return false;
            }
        }
        true
    }

    /// The way to a peer is broken.
    pub(crate) fn handle_lost(&mut self, peer: usize) {
        self.peers[peer].link.lost();
        self.events.push_back(Event::Peer { peer });
        self.touch(peer);
    }

    /// The next packet for a peer.
    pub(crate) fn poll_transmit(&mut self, now: Instant, index: usize) -> Option<Message> {
        self.peers[index].fill(now, self.setup.piece);
        if self.is_leaving {
            self.tell(index);
        }
        let Node {
            setup,
            members,
            peers,
            ..
        } = self;
        let peer = &mut peers[index];
        let hello = || Hello {
            members: members.clone(),
            window_messages: setup.limits.window_messages,
            window_bytes: setup.limits.window_bytes,
            max_message: setup.limits.max_message,
            credit: u64::MAX,
            custody: u64::MAX,
        };
        let said = peer.link.poll_transmit(now, hello);
        let packet = said.map(|said| said.write(&setup.job, &setup.local, &peer.id, setup.incarnation));
        self.set_alarm(index);
        packet
    }

    /// When [`handle_timeout`](Node::handle_timeout) has to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let first = self.alarms.first().map(|(at, _)| *at);
        first.filter(|_| !self.superseded)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.kept.look(now);
        let messages = self.setup.limits.window_messages;
        while let Some((at, index)) = self.alarms.pop_first() {
            if at > now {
                self.alarms.insert((at, index));
                return;
            }
            let peer = &mut self.peers[index];
            peer.alarm = None;
            for burnt in peer.handle_timeout(now, messages) {
                self.events.push_back(match burnt {
                    Burnt::Out(key) => Event::Moved { peer: index, key },
                    Burnt::In(key) => Event::Arrived { peer: index, key },
                });
            }
            self.touch(index);
        }
    }
}

/// As a whole, for tests.
#[cfg(any(test, fuzzing))]
impl Node {
    pub(crate) fn handle_packet(&mut self, now: Instant, message: Message) {
        self.handle_read(now, Packet::decode(message));
    }
}
