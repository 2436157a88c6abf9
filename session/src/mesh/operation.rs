//! What a send and a receive have in common: whose they are, and how they wait.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::epoch::Epoch;
use super::error::MeshError;
use super::hub::Hub;
use super::link::Link;
use crate::spin::{Next, Watch};

/// One operation of an epoch with one peer.
pub(super) struct Operation<'a> {
    pub(super) hub: &'a Arc<Hub>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) peer: usize,
    pub(super) watch: Watch,
    /// It does not look before it sleeps.
    pub(super) is_patient: bool,
    pub(super) is_done: bool,
}

/// What to do about a connection that has nothing, or takes nothing, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Try again.
    Again,
    /// The task will be polled again.
    Later,
}

impl<'a> Operation<'a> {
    pub(super) fn new(hub: &'a Arc<Hub>, peer: usize) -> Self {
        Operation {
            hub,
            epoch: hub.current(),
            peer,
            watch: Watch::default(),
            is_patient: false,
            is_done: false,
        }
    }

    /// The peer, unless the epoch is over or has no such rank.
    pub(super) fn link(&self) -> Result<&Arc<Link>, MeshError> {
        if let Some(outcome) = self.epoch.outcome() {
            return Err(outcome);
        }
        match self.epoch.seats.get(self.peer) {
            Some(seat) => Ok(&seat.link),
            None => Err(MeshError::NoSuchRank {
                rank: self.peer,
                size: self.epoch.seats.len(),
            }),
        }
    }

    pub(super) fn is_own(&self) -> bool {
        self.peer == self.epoch.rank
    }

    /// Whether to ask the system itself, rather than the runtime for what it knows.
    pub(super) fn is_direct(&self) -> bool {
        !self.is_patient && self.watch.is_direct(&self.hub.spin)
    }

    /// Waits for anything but bytes; ready if `changed` or the epoch ended meanwhile.
    pub(super) fn park(&self, cx: &mut Context<'_>, changed: impl Fn() -> bool) -> Poll<()> {
        self.hub.parked.register(cx.waker());
        match changed() || self.epoch.outcome().is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Waits for the connection. `direct`: it was asked past the runtime, and so would not wake anybody; `moved`: a part
    /// of what is waited for has passed.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, direct: bool, moved: bool) -> Turn {
        let next = match self.is_patient {
            true => Next::Sleep,
            false => self.watch.next(&self.hub.spin, moved),
        };
        match next {
            Next::Look => Turn::Again,
            Next::Pass => {
                cx.waker().wake_by_ref();
                Turn::Later
            }
            Next::Sleep if direct => Turn::Again,
            Next::Sleep => match self.park(cx, || false) {
                Poll::Ready(()) => Turn::Again,
                Poll::Pending => Turn::Later,
            },
        }
    }

    pub(super) fn finish(&mut self, found: bool) {
        self.is_done = true;
        self.watch.finish(&self.hub.spin, found);
    }
}
