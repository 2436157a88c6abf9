//! A broadcast group: the coordinator sends, some of the members receive.

use bytes::Bytes;
use tokio::sync::Mutex;

use super::coordinator::accept;
use super::error::{AcceptError, RecvError, SendError};
use super::session::{Delivery, Received, Session};
use super::stream::StreamSender;
use super::{MemberId, channel_of};

/// The sending end of a broadcast group, at the coordinator. What is sent to one group never waits for another. Dropped,
/// the group ends: members hear of it after all that was sent, which is still delivered, for at most
/// [`Options::linger`](super::Options::linger). Who has not got everything by then is told that something is missing
/// ([`RecvError::GroupCut`]), and what was sent is not [delivered](Delivery::delivered) to it.
#[derive(Debug)]
pub struct BroadcastSender {
    session: Session,
    group: u16,
    channel: u16,
    /// Which of all groups that come and go it is.
    hosting: u64,
    sending: Mutex<()>,
}

impl BroadcastSender {
    pub(super) fn new(session: Session, group: u16, hosting: u64) -> Self {
        BroadcastSender {
            session,
            group,
            channel: channel_of(group).unwrap_or_default(),
            hosting,
            sending: Mutex::new(()),
        }
    }

    /// The group's number.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// The next member that has joined the group, once for each. Nobody need wait for this: members are let in anyway.
    ///
    /// # Errors
    /// [`AcceptError`].
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn accept(&self) -> Result<MemberId, AcceptError> {
        accept(&self.session, self.group).await
    }

    /// Sends a message to all in the group, as soon as there is room for it.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send(&self, body: impl Into<Bytes>) -> Result<Delivery, SendError> {
        self.session
            .send_on(self.channel, &self.sending, body.into())
            .await
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// [`SendError`], [`SendError::WouldBlock`] among them; nothing was sent.
    pub fn try_send(&self, body: impl Into<Bytes>) -> Result<Delivery, SendError> {
        self.session
            .try_send_on(self.channel, &self.sending, &body.into())
    }

    /// Begins a message of any length that is sent in parts. Nothing else is sent to the group before it ends.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn stream(&self) -> StreamSender<'_> {
        self.session.stream_on(self.channel, &self.sending).await
    }
}

impl Drop for BroadcastSender {
    fn drop(&mut self) {
        let (channel, hosting, linger) = (self.channel, self.hosting, self.session.linger());
        self.session
            .shared()
            .act(|node, now| node.unhost(now, channel, hosting, now + linger));
    }
}

/// The receiving end of a broadcast group, at a member. Dropped, this end leaves the group.
#[derive(Debug)]
pub struct BroadcastReceiver {
    session: Session,
    group: u16,
    channel: u16,
    /// The request by which this end came in.
    request: u32,
}

impl BroadcastReceiver {
    pub(super) fn new(session: Session, group: u16, request: u32) -> Self {
        BroadcastReceiver {
            session,
            group,
            channel: channel_of(group).unwrap_or_default(),
            request,
        }
    }

    /// The group's number.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// Receives the next message of the group, or part of one that is streamed.
    ///
    /// # Errors
    /// Once all that came before was received: [`RecvError::GroupEnded`] if that is all that was sent,
    /// [`RecvError::GroupCut`] if it is not, [`RecvError::Over`].
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn recv(&self) -> Result<Received, RecvError> {
        self.session.recv_on(self.channel, Some(self.request)).await
    }

    /// Receives what has come already.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if there is nothing, or else as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Received, RecvError> {
        self.session.try_recv_on(self.channel, Some(self.request))
    }
}

impl Drop for BroadcastReceiver {
    fn drop(&mut self) {
        let (channel, request) = (self.channel, self.request);
        self.session
            .shared()
            .act(|node, now| node.leave_place(now, channel, request));
    }
}
