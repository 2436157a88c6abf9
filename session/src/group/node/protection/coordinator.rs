//! What a coordinator does with keys: draws them, and gives them to each member by itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use flexbond_wire::group::{
    Accept, Envelope, EpochKey, Header, Join, MemberKey, Nonce, PresharedKey, RejectReason, SenderKey, View,
};

use super::keyed::CONTROL_EPOCH;
use super::keyring::KeyRing;
use super::{Entropy, Refusal};
use crate::group::MemberId;

/// What a coordinator keeps of keys.
#[derive(Debug)]
pub(super) struct CoordinatorKeys {
    session: u64,
    preshared: PresharedKey,
    entropy: Entropy,
    pub(super) ring: KeyRing,
    /// The key of the view that comes next, if somebody has come or gone since the last one: who has gone must not read
    /// on, and who has come must not read back.
    next: Option<EpochKey>,
    seats: BTreeMap<MemberId, Seat>,
    /// Who went last, the latest at the end.
    departed: VecDeque<Departed>,
}

/// What it shares with a member.
#[derive(Debug)]
struct Seat {
    key: MemberKey,
    server_nonce: Nonce,
    /// What the ACCEPT said, which is the same each time.
    admitted: (u32, EpochKey),
    opens: SenderKey,
    seals: SenderKey,
}

/// Somebody who went, and may not know it.
#[derive(Debug)]
struct Departed {
    member: MemberId,
    address: SocketAddr,
    seals: SenderKey,
}

impl CoordinatorKeys {
    const MAX_DEPARTED: usize = 64;

    /// The first key is drawn at once.
    pub(super) fn new(
        session: u64,
        preshared: PresharedKey,
        entropy: Entropy,
        ring: impl FnOnce(EpochKey) -> KeyRing,
    ) -> Self {
        let ring = ring(EpochKey::from_random(entropy.draw()));
        CoordinatorKeys {
            session,
            preshared,
            entropy,
            ring,
            next: None,
            seats: BTreeMap::new(),
            departed: VecDeque::new(),
        }
    }

    /// Whether a joiner has the pre-shared key.
    pub(super) fn check(&self, join: &Join<'_>) -> Result<(), RejectReason> {
        match join.proof {
            None => Err(RejectReason::NeedsKey),
            Some(_) if self.preshared.verify(join) => Ok(()),
            Some(_) => Err(RejectReason::WrongKey),
        }
    }

    /// Puts the key of the epoch into an ACCEPT that is otherwise complete; returns the epoch. A new member's is that of
    /// `view`, the first one that names it, which is still to come: nothing was sealed with its key yet. The same member
    /// gets the same each time.
    pub(super) fn admit(&mut self, address: SocketAddr, view: u32, accept: &mut Accept) -> u32 {
        let member = MemberId(accept.member);
        // Who is in again must not hear that it is out.
        self.departed.retain(|departed| departed.address != address);
        let seat = self.seats.entry(member).or_insert_with(|| {
            let server_nonce = self.entropy.draw();
            let next = self
                .next
                .get_or_insert_with(|| EpochKey::from_random(self.entropy.draw()));
            let key = self.preshared.member_key(&accept.nonce, &server_nonce);
            let control = key.control_key();
            Seat {
                key,
                server_nonce,
                admitted: (view, next.clone()),
                opens: control.sender_key(self.session, CONTROL_EPOCH, member.0),
                seals: control.sender_key(self.session, CONTROL_EPOCH, Header::COORDINATOR),
            }
        });
        accept.server_nonce = seat.server_nonce;
        let (epoch, key) = &seat.admitted;
        let header = Header {
            session: self.session,
            sender: Header::COORDINATOR,
            epoch: *epoch,
            number: 0,
        };
        accept.key = Some(seat.key.wrap_for_accept(&header, accept, key));
        *epoch
    }

    /// Begins the epoch of a new view: with a new key, if somebody has come or gone.
    pub(super) fn begin(&mut self, now: Instant, epoch: u32) {
        let key = self.next.take();
        let key = key.unwrap_or_else(|| self.ring.newest().clone());
        self.ring.begin(now, epoch, key);
    }

    /// Puts the key of the epoch into the first part of a view for `member`.
    pub(super) fn wrap(&self, member: MemberId, view: &mut View<'_>) {
        if view.part == 0
            && let Some(seat) = self.seats.get(&member)
        {
            let header = Header {
                session: self.session,
                sender: Header::COORDINATOR,
                epoch: CONTROL_EPOCH,
                number: 0,
            };
            let key = seat.key.wrap_for_view(&header, view, self.ring.newest());
            #[cfg(any(test, fuzzing))]
            super::ledger::note_wrapped(self.session, member, seat.server_nonce, view.view, key);
            view.key = Some(key);
        }
    }

    /// What seals for `member` alone.
    pub(super) fn control(&self, member: MemberId) -> Option<&SenderKey> {
        self.seats.get(&member).map(|seat| &seat.seals)
    }

    /// What seals for somebody who was a member, had this address, and has gone not long ago.
    pub(super) fn departed(&self, member: MemberId, address: SocketAddr) -> Option<&SenderKey> {
        let departed = self
            .departed
            .iter()
            .find(|departed| departed.member == member && departed.address == address)?;
        Some(&departed.seals)
    }

    pub(super) fn open_control(&self, envelope: &Envelope, datagram: &mut [u8]) -> Result<(), Refusal> {
        let seat = self.seats.get(&MemberId(envelope.header.sender));
        let seat = seat.ok_or(Refusal::Unreadable)?;
        let opened = seat.opens.open_in_place(datagram, Header::COORDINATOR);
        opened.map(drop).map_err(|_| Refusal::Forged)
    }

    /// A member is gone: the next view brings a new key.
    pub(super) fn remove(&mut self, member: MemberId, address: Option<SocketAddr>) {
        self.ring.forget(member);
        let Some(seat) = self.seats.remove(&member) else {
            return;
        };
        // Once more even if there is one already: it may be the one that this member was admitted with.
        self.next = Some(EpochKey::from_random(self.entropy.draw()));
        if let Some(address) = address {
            if self.departed.len() == Self::MAX_DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back(Departed {
                member,
                address,
                seals: seat.seals,
            });
        }
    }
}
