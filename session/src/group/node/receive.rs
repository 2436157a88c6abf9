//! Packets on their way in: what is believed of them, and what is not.

use std::net::SocketAddr;
use std::time::Instant;

use flexbond_transport::Received;
use flexbond_wire::group::{Data, Envelope, Goodbye, GoodbyeReason, Header, Packet};

use super::landing::Spot;
use super::protection::Refusal;
use super::{Node, Role};
use crate::group::MemberId;

#[cfg(test)]
thread_local! {
    /// What all nodes of a test read into.
    pub(super) static LANDING: std::cell::RefCell<super::landing::Landing> =
        std::cell::RefCell::new(super::landing::Landing::new());
}

/// Where packets come from.
struct Origin {
    from: SocketAddr,
    /// Whether they were sent to the group's address.
    multicast: bool,
    /// Whose the last one was, if nothing has changed since for those of the same sender.
    last: Option<MemberId>,
}

impl Node {
    /// A datagram has come; `multicast` if it was sent to the group's address. A sealed one is opened where it is, so
    /// that its bytes mean nothing any more afterwards.
    #[cfg(test)]
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        multicast: bool,
        datagram: &mut [u8],
    ) {
        let size = datagram.len();
        self.handle_joined(now, from, multicast, datagram, size);
    }

    /// Datagrams of this size, but for the last, have come joined; where they are expected, they land.
    #[cfg(test)]
    pub(super) fn handle_joined(
        &mut self,
        now: Instant,
        from: SocketAddr,
        multicast: bool,
        datagrams: &mut [u8],
        size: usize,
    ) {
        use std::io::{IoSliceMut, Read};
        use std::task::Poll;

        let mut received = Received::new(from, datagrams.len());
        received.segment_size = size;
        let mut come = &datagrams[..];
        let spread = |slices: &mut [IoSliceMut<'_>]| {
            Poll::Ready(come.read_vectored(slices).map(|len| {
                assert_eq!(len, received.len, "there is room for all");
                received
            }))
        };
        let landed = LANDING
            .with_borrow_mut(|landing| self.receive_landing(now, multicast, landing, spread))
            .is_some();
        if !landed {
            self.handle_datagrams(now, &received, multicast, received.packets_mut(datagrams));
        }
    }

    /// Datagrams have come together, as the system joins those of one sender and describes them; `multicast` if they were
    /// sent to the group's address. Sealed ones are opened where they are, so that their bytes mean nothing any more afterwards.
    pub(crate) fn handle_datagrams<'a>(
        &mut self,
        now: Instant,
        received: &Received,
        multicast: bool,
        datagrams: impl Iterator<Item = &'a mut [u8]>,
    ) {
        let mut origin = Origin {
            from: received.source,
            multicast,
            last: None,
        };
        let at = received
            .destination
            .filter(|_| self.settings.is_anywhere && !multicast);
        self.outbox.begin_answers(received.source, at);
        for datagram in datagrams {
            self.handle_next(now, &mut origin, datagram);
        }
        self.outbox.end_answers();
    }

    fn handle_next(&mut self, now: Instant, origin: &mut Origin, datagram: &mut [u8]) {
        if self.protection.is_on()
            && let Ok(envelope) = Header::peek(datagram)
            && !envelope.kind.is_handshake()
        {
            return self.handle_sealed(now, origin, &envelope, datagram);
        }
        if !self.protection.is_on()
            && let Some((header, data)) = Data::decode(datagram)
        {
            return self.handle_segment(now, origin, &header, &data, datagram.len());
        }
        let Ok((header, packet)) = Packet::decode(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        if packet.kind().is_handshake() {
            return self.handle_handshake(now, origin.from, &header, packet);
        }
        if !self.is_of_peer(now, origin, &header, datagram.len()) {
            return;
        }
        if !self.peers.accept(now, MemberId(header.sender), header.number) {
            self.counters.replayed += 1;
            return;
        }
        self.handle_genuine(now, origin, &header, packet);
    }

    /// A segment has come that is not sealed: what there is most of.
    fn handle_segment(
        &mut self,
        now: Instant,
        origin: &mut Origin,
        header: &Header,
        data: &Data<'_>,
        len: usize,
    ) {
        if !self.is_of_peer(now, origin, header, len) {
            return;
        }
        let sender = MemberId(header.sender);
        if !self.peers.accept(now, sender, header.number) {
            self.counters.replayed += 1;
            return;
        }
        if origin.last != Some(sender) {
            self.note_heard(now, sender, origin.multicast);
            origin.last = Some(sender);
        }
        self.spot = Some(Spot {
            channel: data.channel,
            from: sender,
            multicast: origin.multicast,
        });
        self.handle_data(now, header, data);
    }

    /// Whether the sender that a header names belongs to the session, and is where this comes from, in `len` bytes.
    fn is_of_peer(&mut self, now: Instant, origin: &Origin, header: &Header, len: usize) -> bool {
        let sender = MemberId(header.sender);
        if header.session != self.outbox.session() || self.outbox.me() == sender {
            self.counters.foreign += 1;
            return false;
        }
        if origin.last != Some(sender) && !self.peers.knows(sender, origin.from) {
            self.counters.foreign += 1;
            self.handle_stranger(now, origin.from, sender, len);
            return false;
        }
        true
    }

    /// A packet of somebody who belongs to the session, which is as it was sent.
    fn handle_genuine(&mut self, now: Instant, origin: &mut Origin, header: &Header, packet: Packet<'_>) {
        let sender = MemberId(header.sender);
        if origin.last != Some(sender) {
            self.note_heard(now, sender, origin.multicast);
        }
        // Others than these may change who belongs to the session, and where.
        origin.last = matches!(packet, Packet::Data(_)).then_some(sender);
        self.handle_packet(now, origin.from, header, packet);
    }

    /// What should be sealed has come. What costs most to find out is asked last, and nothing is believed before.
    fn handle_sealed(&mut self, now: Instant, origin: &mut Origin, envelope: &Envelope, datagram: &mut [u8]) {
        let header = envelope.header;
        let sender = MemberId(header.sender);
        if !self.is_of_peer(now, origin, &header, datagram.len()) {
            return;
        }
        if !self.peers.is_fresh(sender, header.number) {
            self.counters.replayed += 1;
            return;
        }
        match self.protection.open(envelope, datagram) {
            Ok(packet) => {
                self.peers.accept(now, sender, header.number);
                self.handle_genuine(now, origin, &header, packet);
            }
            Err(Refusal::Forged) => self.counters.forged += 1,
            Err(Refusal::Unreadable) => self.counters.unreadable += 1,
            Err(Refusal::Malformed) => self.counters.malformed += 1,
        }
    }

    /// Somebody who is no member, or not any more, may not know that. It is told in no more bytes than it has used: what
    /// seems to come from somewhere need not, and nobody is to be flooded through this node.
    fn handle_stranger(&mut self, now: Instant, from: SocketAddr, sender: MemberId, len: usize) {
        if let Role::Coordinator(coordinator) = &mut self.role
            && coordinator.was_member(sender)
            // Somebody else is there now, or somebody says so: it must not take for itself what is said to who has gone.
            && !self.peers.is_at(from)
        {
            let seal = self.protection.departed(sender, from);
            if seal.is_none() && self.protection.is_on() {
                // It could not tell what is said to it from what anybody says.
                return;
            }
            let goodbye = Packet::Goodbye(Goodbye {
                reason: GoodbyeReason::Evicted,
                text: "",
            });
            if goodbye.encoded_len(seal.is_some()) > len || !coordinator.reminders.take(now, from) {
                self.counters.unanswered += 1;
                return;
            }
            self.outbox.push_control(from, seal, &goodbye);
        }
    }

    pub(super) fn note_heard(&mut self, now: Instant, sender: MemberId, multicast: bool) {
        match &mut self.role {
            Role::Coordinator(coordinator) => coordinator.roster.handle_heard(now, sender),
            Role::Member(member) if sender.0 == Header::COORDINATOR => {
                member.enrolment.handle_heard(now);
                member.hears_multicast |= multicast;
            }
            Role::Member(_) => {}
        }
    }
}
