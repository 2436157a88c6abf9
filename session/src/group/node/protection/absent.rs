//! Nodes without the feature `group-crypto`: no session has a key.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use flexbond_wire::group::{Accept, EncodeError, Envelope, Header, Join, Packet, RejectReason, View};

use super::{Refusal, Seals};
use crate::group::MemberId;
use crate::group::flow::Target;
use crate::group::node::NodeSettings;

/// What protects a node's packets: nothing.
#[derive(Debug)]
pub(crate) struct Protection;

/// There is none.
#[derive(Debug)]
pub(crate) enum SealKey {}

pub(crate) const MAX_SEALED: u64 = u64::MAX;

pub(crate) fn seal(
    _: &Packet<'_>,
    _: &Header,
    key: &SealKey,
    _: Target,
    _: &mut BytesMut,
) -> Result<usize, EncodeError> {
    match *key {}
}

pub(crate) fn finish_sealed(key: &SealKey, _: Target, _: &mut [u8]) {
    match *key {}
}

impl Protection {
    pub(crate) fn coordinator(_: u64, _: &NodeSettings) -> Self {
        Protection
    }

    pub(crate) fn member(_: &NodeSettings) -> Self {
        Protection
    }

    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn is_tired(&self) -> bool {
        false
    }

    pub(crate) fn check(&self, join: &Join<'_>) -> Result<(), RejectReason> {
        match join.proof {
            None => Ok(()),
            Some(_) => Err(RejectReason::NoKey),
        }
    }

    pub(crate) fn admit(&mut self, _: SocketAddr, _: u32, _: &mut Accept) -> Option<u32> {
        None
    }

    pub(crate) fn begin(&mut self, _: Instant, _: u32) -> Option<SealKey> {
        None
    }

    pub(crate) fn sealing(&self) -> Option<SealKey> {
        None
    }

    pub(crate) fn wrap(&self, _: MemberId, _: &mut View<'_>) {}

    pub(crate) fn control(&self, _: MemberId) -> Option<&SealKey> {
        None
    }

    pub(crate) fn departed(&self, _: MemberId, _: SocketAddr) -> Option<&SealKey> {
        None
    }

    pub(crate) fn prove(&self, _: &mut Join<'_>) {}

    pub(crate) fn enter(&mut self, _: &Header, accept: &Accept) -> Option<Seals> {
        accept.key.is_none().then(Seals::default)
    }

    pub(crate) fn note_part(&mut self, _: &Header, view: &View<'_>) -> bool {
        view.key.is_none()
    }

    pub(crate) fn note_switch(&mut self, _: MemberId, _: u32, _: u64) {}

    pub(crate) fn open<'a>(&mut self, _: &Envelope, _: &'a mut [u8]) -> Result<Packet<'a>, Refusal> {
        Err(Refusal::Unreadable)
    }

    pub(crate) fn remove(&mut self, _: MemberId, _: Option<SocketAddr>) {}

    pub(crate) fn handle_timeout(&mut self, _: Instant) {}

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
