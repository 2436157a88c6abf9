//! What a member does with keys: proves that it has the pre-shared one, and takes those that it is given.

use std::time::{Duration, Instant};

use flexbond_wire::group::{
    Accept, EpochKey, Header, Join, KeyError, MemberKey, PresharedKey, SenderKey, View,
};

use super::keyed::CONTROL_EPOCH;
use super::keyring::KeyRing;
use super::{Refusal, Seals};
use crate::group::MemberId;

/// What a member keeps of keys.
#[derive(Debug)]
pub(super) struct MemberKeys {
    preshared: PresharedKey,
    admitted: Option<Admitted>,
}

/// What it has once it is in.
#[derive(Debug)]
struct Admitted {
    key: MemberKey,
    /// Opens what the coordinator says to this member alone.
    opens: SenderKey,
    ring: KeyRing,
    /// The key of a view of which parts may be missing.
    gathered: Option<(u32, EpochKey)>,
}

impl MemberKeys {
    pub(super) fn new(preshared: PresharedKey) -> Self {
        MemberKeys {
            preshared,
            admitted: None,
        }
    }

    pub(super) fn ring(&self) -> Option<&KeyRing> {
        self.admitted.as_ref().map(|admitted| &admitted.ring)
    }

    pub(super) fn ring_mut(&mut self) -> Option<&mut KeyRing> {
        self.admitted.as_mut().map(|admitted| &mut admitted.ring)
    }

    /// Proves to have the key, once the coordinator is known to listen.
    pub(super) fn prove(&self, join: &mut Join<'_>) {
        if join.cookie.is_some() {
            join.proof = Some(self.preshared.prove(join));
        }
    }

    /// Takes the key in an ACCEPT that answers this member.
    pub(super) fn enter(&mut self, header: &Header, accept: &Accept) -> Result<Seals, KeyError> {
        let key = self.preshared.member_key(&accept.nonce, &accept.server_nonce);
        let epoch_key = key.unwrap_from_accept(header, accept)?;
        let control = key.control_key();
        let grace = 2 * Duration::from_millis(accept.heartbeat.into());
        let me = MemberId(accept.member);
        let ring = KeyRing::new(header.session, me, header.epoch, epoch_key, grace);
        let seals = Seals {
            own: Some(ring.sealing()),
            control: Some(control.sender_key(header.session, CONTROL_EPOCH, accept.member)),
        };
        self.admitted = Some(Admitted {
            key,
            opens: control.sender_key(header.session, CONTROL_EPOCH, Header::COORDINATOR),
            ring,
            gathered: None,
        });
        Ok(seals)
    }

    /// Takes note of the key in a part of a view.
    pub(super) fn note_part(&mut self, header: &Header, view: &View<'_>) -> Result<(), KeyError> {
        if view.part != 0 {
            return Ok(());
        }
        let admitted = self.admitted.as_mut().ok_or(KeyError::Missing)?;
        let key = admitted.key.unwrap_from_view(header, view)?;
        admitted.gathered = Some((view.view, key));
        Ok(())
    }

    /// Begins the epoch of a view whose parts have all come.
    pub(super) fn begin(&mut self, now: Instant, epoch: u32) {
        if let Some(admitted) = &mut self.admitted
            && let Some((_, key)) = admitted.gathered.take_if(|(view, _)| *view == epoch)
        {
            admitted.ring.begin(now, epoch, key);
        }
    }

    /// What seals what is said between this member and the coordinator, as one of the two.
    #[cfg(any(test, fuzzing))]
    pub(super) fn control_as(&self, member: MemberId) -> Option<SenderKey> {
        let admitted = self.admitted.as_ref()?;
        let control = admitted.key.control_key();
        Some(control.sender_key(admitted.ring.session(), CONTROL_EPOCH, member.0))
    }

    pub(super) fn open_control(&self, datagram: &mut [u8]) -> Result<(), Refusal> {
        let admitted = self.admitted.as_ref().ok_or(Refusal::Unreadable)?;
        let opened = admitted.opens.open_in_place(datagram, admitted.ring.me().0);
        opened.map(drop).map_err(|_| Refusal::Forged)
    }
}
