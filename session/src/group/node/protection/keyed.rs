//! What protects a node's packets, with the feature `group-crypto`.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use flexbond_wire::group::{
    Accept, Audience, EncodeError, Envelope, Header, Join, Packet, RejectReason, SenderKey, View,
};

use super::coordinator::CoordinatorKeys;
use super::keyring::KeyRing;
use super::member::MemberKeys;
use super::{Refusal, Seals};
use crate::group::MemberId;
use crate::group::flow::Target;
use crate::group::node::NodeSettings;

/// What protects a node's packets: nothing but their checksums, or the session's key.
#[derive(Debug)]
pub(crate) struct Protection(Keys);

#[derive(Debug)]
enum Keys {
    /// There are none.
    Plain,
    Coordinator(Box<CoordinatorKeys>),
    Member(Box<MemberKeys>),
}

/// What a packet is sealed with.
pub(crate) type SealKey = SenderKey;

/// How many packets of at most [`SEALED_SIZE`](super::SEALED_SIZE) bytes may be sealed with one key.
pub(crate) const MAX_SEALED: u64 = SenderKey::MAX_SEALED;

/// The epoch in the headers of what is sealed for one alone.
pub(super) const CONTROL_EPOCH: u32 = 0;

/// Appends a packet to `out`, sealed for `target`; returns its size.
pub(crate) fn seal(
    packet: &Packet<'_>,
    header: &Header,
    key: &SealKey,
    target: Target,
    out: &mut BytesMut,
) -> Result<usize, EncodeError> {
    #[cfg(any(test, fuzzing))]
    super::ledger::note_sealed(key, header);
    packet.encode_sealed(header, key, audience(target), out)
}

/// Seals a packet for `target` that was written without its trailer.
pub(crate) fn finish_sealed(key: &SealKey, target: Target, datagram: &mut [u8]) {
    #[cfg(any(test, fuzzing))]
    if let Ok(envelope) = Header::peek(datagram) {
        super::ledger::note_sealed(key, &envelope.header);
    }
    // What is in a batch was written with this key's header just before; and what is not sealed, nobody takes.
    let _ = key.finish(datagram, audience(target));
}

fn audience(target: Target) -> Audience {
    match target {
        Target::All => Audience::All,
        Target::One(member) => Audience::One(member.0),
    }
}

impl Protection {
    /// A coordinator's: its session has a key if its settings have one.
    pub(crate) fn coordinator(session: u64, settings: &NodeSettings) -> Self {
        let Some(preshared) = settings.key.clone() else {
            return Protection(Keys::Plain);
        };
        let entropy = settings.entropy.clone();
        let keys = CoordinatorKeys::new(session, preshared, entropy, |key| {
            let me = MemberId(Header::COORDINATOR);
            let mut ring = KeyRing::new(session, me, 0, key, 2 * settings.heartbeat);
            ring.open_at_once();
            // Nobody's packets are larger than those of full segments, and what is around them.
            let size = (settings.segment + 64) as u64;
            ring.tire_after(MAX_SEALED / 2 / size.div_ceil(super::SEALED_SIZE));
            ring
        });
        Protection(Keys::Coordinator(Box::new(keys)))
    }

    /// A member's, which is admitted only where there is such a key.
    pub(crate) fn member(settings: &NodeSettings) -> Self {
        Protection(match settings.key.clone() {
            Some(preshared) => Keys::Member(Box::new(MemberKeys::new(preshared))),
            None => Keys::Plain,
        })
    }

    /// Whether packets are sealed.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(self.0, Keys::Plain)
    }

    fn ring(&self) -> Option<&KeyRing> {
        match &self.0 {
            Keys::Plain => None,
            Keys::Coordinator(keys) => Some(&keys.ring),
            Keys::Member(keys) => keys.ring(),
        }
    }

    fn ring_mut(&mut self) -> Option<&mut KeyRing> {
        match &mut self.0 {
            Keys::Plain => None,
            Keys::Coordinator(keys) => Some(&mut keys.ring),
            Keys::Member(keys) => keys.ring_mut(),
        }
    }

    /// Whether a key has been used so much that the coordinator should begin a new epoch.
    pub(crate) fn is_tired(&self) -> bool {
        self.ring().is_some_and(KeyRing::is_tired)
    }

    /// As the coordinator: whether a joiner's key is right.
    pub(crate) fn check(&self, join: &Join<'_>) -> Result<(), RejectReason> {
        match &self.0 {
            Keys::Coordinator(keys) => keys.check(join),
            _ if join.proof.is_some() => Err(RejectReason::NoKey),
            _ => Ok(()),
        }
    }

    /// As the coordinator: completes an ACCEPT for this address, whose member is first named by `view`. Returns the epoch
    /// that its header must say.
    pub(crate) fn admit(&mut self, to: SocketAddr, view: u32, accept: &mut Accept) -> Option<u32> {
        match &mut self.0 {
            Keys::Coordinator(keys) => Some(keys.admit(to, view, accept)),
            _ => None,
        }
    }

    /// A view begins: from now on this node seals with what is returned.
    pub(crate) fn begin(&mut self, now: Instant, epoch: u32) -> Option<SealKey> {
        match &mut self.0 {
            Keys::Plain => {}
            Keys::Coordinator(keys) => keys.begin(now, epoch),
            Keys::Member(keys) => keys.begin(now, epoch),
        }
        self.sealing()
    }

    /// With what this node seals in its epoch.
    pub(crate) fn sealing(&self) -> Option<SealKey> {
        self.ring().map(KeyRing::sealing)
    }

    /// As the coordinator: puts the key into a part of a view for `member`, if it belongs there.
    pub(crate) fn wrap(&self, member: MemberId, view: &mut View<'_>) {
        if let Keys::Coordinator(keys) = &self.0 {
            keys.wrap(member, view);
        }
    }

    /// As the coordinator: what seals for `member` alone.
    pub(crate) fn control(&self, member: MemberId) -> Option<&SealKey> {
        match &self.0 {
            Keys::Coordinator(keys) => keys.control(member),
            _ => None,
        }
    }

    /// As the coordinator: what seals for somebody at this address who was a member until not long ago.
    pub(crate) fn departed(&self, member: MemberId, address: SocketAddr) -> Option<&SealKey> {
        match &self.0 {
            Keys::Coordinator(keys) => keys.departed(member, address),
            _ => None,
        }
    }

    /// As a member: completes a JOIN.
    pub(crate) fn prove(&self, join: &mut Join<'_>) {
        if let Keys::Member(keys) = &self.0 {
            keys.prove(join);
        }
    }

    /// As a member: takes the key in an ACCEPT. `None` if it was not made by somebody with the same pre-shared key.
    pub(crate) fn enter(&mut self, header: &Header, accept: &Accept) -> Option<Seals> {
        match &mut self.0 {
            Keys::Member(keys) => keys.enter(header, accept).ok(),
            _ => accept.key.is_none().then(Seals::default),
        }
    }

    /// As a member: takes the key in a part of a view, if it belongs there. False if it is not what it should be.
    pub(crate) fn note_part(&mut self, header: &Header, view: &View<'_>) -> bool {
        match &mut self.0 {
            Keys::Member(keys) => keys.note_part(header, view).is_ok(),
            _ => view.key.is_none(),
        }
    }

    /// A member seals in this epoch, or a newer one, since packet `number` of it.
    pub(crate) fn note_switch(&mut self, member: MemberId, epoch: u32, number: u64) {
        if let Some(ring) = self.ring_mut() {
            ring.note_switch(member, epoch, number);
        }
    }

    /// Opens a packet of somebody who is known, in place.
    pub(crate) fn open<'a>(
        &mut self,
        envelope: &Envelope,
        datagram: &'a mut [u8],
    ) -> Result<Packet<'a>, Refusal> {
        if !envelope.sealed {
            return Err(Refusal::Forged);
        }
        if envelope.kind.is_control() {
            match &mut self.0 {
                Keys::Plain => return Err(Refusal::Unreadable),
                Keys::Coordinator(keys) => keys.open_control(envelope, datagram)?,
                Keys::Member(keys) => keys.open_control(datagram)?,
            }
        } else {
            let ring = self.ring_mut().ok_or(Refusal::Unreadable)?;
            ring.open(envelope, datagram)?;
        }
        Packet::decode_opened(envelope, datagram).map_err(|_| Refusal::Malformed)
    }

    /// A member is gone; it had this address.
    pub(crate) fn remove(&mut self, member: MemberId, address: Option<SocketAddr>) {
        match &mut self.0 {
            Keys::Coordinator(keys) => keys.remove(member, address),
            _ => {
                if let Some(ring) = self.ring_mut() {
                    ring.forget(member);
                }
            }
        }
    }

    /// What would make packets look like those of `member`, as far as this node knows, and in which epoch.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn sealing_as(&self, member: MemberId) -> (u32, SealKey) {
        let ring = self.ring().expect("a session with a key");
        (ring.epoch(), ring.sealing_as(member))
    }

    /// What this node shares with the coordinator alone, as a member that is in.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn control_as(&self, member: MemberId) -> Option<SealKey> {
        match &self.0 {
            Keys::Member(keys) => keys.control_as(member),
            _ => None,
        }
    }

    /// All keys of epochs that this node has.
    #[cfg(test)]
    pub(crate) fn epoch_keys(&self) -> Vec<flexbond_wire::group::EpochKey> {
        self.ring().map(KeyRing::keys).unwrap_or_default()
    }

    /// So many packets of one sender in one epoch are enough.
    #[cfg(test)]
    pub(crate) fn tire_after(&mut self, packets: u64) {
        if let Some(ring) = self.ring_mut() {
            ring.tire_after(packets);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(ring) = self.ring_mut() {
            ring.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ring().and_then(KeyRing::poll_timeout)
    }
}
