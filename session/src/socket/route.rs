//! The way back to one peer, without its name.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use flexbond_transport::Message;

use super::core::Core;
use super::lane::Lane;
use super::pattern::Unsent;
use super::{Peer, SendError, SendErrorKind};

/// The way back to one peer of a [`Router`](super::Router): what is sent by it needs no routing id in front, and
/// looks none up. A clone is the same way.
///
/// It ends with the connection that was accepted; a peer that connects again comes by another. It does not keep the
/// socket open.
#[derive(Clone)]
pub struct Route {
    core: Arc<Core>,
    lane: Arc<Lane>,
    /// Who sent what was received by this way, if others may have done so, too.
    peer: Option<Peer>,
}

impl Route {
    pub(super) fn new(core: Arc<Core>, lane: Arc<Lane>, peer: Option<Peer>) -> Self {
        Route { core, lane, peer }
    }

    /// The number of the peer, as [`Peer::id`] has it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.lane.id()
    }

    /// Who sent what was received with this route; of one that came otherwise, who is there.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer.clone().unwrap_or_else(|| self.lane.peer())
    }

    /// Whether the peer is connected now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lane.is_ready()
    }

    /// Ends the connection. The peer may connect again; `reason` is what the monitor says.
    pub fn end(&self, reason: &'static str) {
        self.lane.end(reason);
    }

    /// Sends a message to this peer if its queue has room.
    ///
    /// # Errors
    /// [`SendError`], with the message in it: [`WouldBlock`](SendErrorKind::WouldBlock) while the queue is full,
    /// [`Unreachable`](SendErrorKind::Unreachable) when the peer is gone, [`Closed`](SendErrorKind::Closed) with the
    /// socket.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        self.push(&mut message, None).map_err(|unsent| {
            let kind = unsent.unwrap_or(SendErrorKind::WouldBlock);
            SendError::new(kind, message)
        })
    }

    /// Polls for sending to this peer. Takes the message out of `message` when it was queued or can never be; leaves
    /// it there while the queue is full, and wakes the context's task once there is room. One task waits at a time:
    /// the last one that asked.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        let Some(current) = message else {
            return Poll::Ready(Ok(()));
        };
        match self.push(current, Some(cx.waker())) {
            Ok(()) => {
                *message = None;
                Poll::Ready(Ok(()))
            }
            Err(None) => Poll::Pending,
            Err(Some(kind)) => {
                let message = message.take().unwrap_or_default();
                Poll::Ready(Err(SendError::new(kind, message)))
            }
        }
    }

    /// How many messages wait for this peer: to be written, those included that are being written, or over inproc to
    /// be taken by it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lane.tx().waiting(None)
    }

    /// As [`waiting`](Self::waiting), and wakes the context's task once some have left. One task waits at a time: the
    /// last one that asked, here or by [`poll_send`](Self::poll_send).
    pub fn poll_waiting(&self, cx: &mut Context<'_>) -> usize {
        self.lane.tx().waiting(Some(cx.waker()))
    }

    /// The error is none when the queue is full.
    fn push(&self, message: &mut Message, waker: Option<&Waker>) -> Result<(), Option<SendErrorKind>> {
        if self.core.is_closed() {
            return Err(Some(SendErrorKind::Closed));
        }
        if message.is_empty() {
            return Err(Some(SendErrorKind::Incomplete(false)));
        }
        self.core
            .pattern
            .try_send_by(&self.lane, message, waker)
            .map_err(|unsent| match unsent {
                Unsent::Full => None,
                Unsent::Failed(kind) => Some(kind),
            })
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.peer()).finish()
    }
}

/// What a message meets for which there is no peer.
pub(super) fn unreachable(lane: &Lane) -> Unsent {
    let id: Bytes = lane.alias().into_bytes();
    Unsent::Failed(SendErrorKind::Unreachable(id))
}
