//! One end of a session, as the application sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flexbond_wire::group::{GoodbyeReason, RejectReason};
use tokio::sync::Mutex;

use super::error::{DeliveryError, Over, RecvError, SendError};
use super::event::{Event, Gone};
use super::flow::RecordKind;
use super::node::{Ending, GroupEnd, Node, Popped, PushError};
use super::shared::Shared;
use super::stream::StreamSender;
use super::{Counters, MemberId, at_most_ages};

/// One end of a session: what a [`Coordinator`](super::Coordinator) and a [`Member`](super::Member) have in common.
///
/// A handle: clones are the same end. When the last one is dropped, and with it all of its groups, the end leaves the
/// session by itself, once what it has sent is delivered (for at most [`Options::linger`](super::Options::linger)).
///
/// Messages of one sender arrive in the order in which they were sent, each exactly once, at everybody who was in the
/// session when the message began to be sent and stays in it. Between senders there is no order.
///
/// # Cancel safety
/// Every future may be dropped: a message that was to be sent was not, one that was to be received stays.
#[derive(Clone, Debug)]
pub struct Session(Arc<End>);

#[derive(Debug)]
struct End {
    shared: Arc<Shared>,
    linger: Duration,
    /// Held by who sends: the parts of a stream stand together.
    sending: Mutex<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        let linger = self.linger;
        self.shared.act(|node, now| node.wind_up(now, now + linger));
    }
}

/// A message, or a part of one that was streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Who sent it.
    pub from: MemberId,
    /// Its contents.
    pub body: Bytes,
    /// Whether it is the whole message.
    pub part: Part,
}

/// What of a message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first part of one that is streamed; others follow before anything else of this sender does.
    First,
    /// A further part.
    More,
    /// The last part.
    Last,
    /// Nothing: the rest will not come. Its sender has gone, or does not wait for this end.
    Cut,
}

impl Part {
    pub(super) fn kind(self) -> RecordKind {
        match self {
            Part::Whole => RecordKind::Message,
            Part::First => RecordKind::FirstChunk,
            Part::More => RecordKind::Chunk,
            Part::Last => RecordKind::LastChunk,
            Part::Cut => RecordKind::Cut,
        }
    }
}

impl From<Popped> for Received {
    fn from(popped: Popped) -> Self {
        Received {
            from: popped.from,
            body: popped.body,
            part: match popped.kind {
                RecordKind::Message => Part::Whole,
                RecordKind::FirstChunk => Part::First,
                RecordKind::Chunk => Part::More,
                RecordKind::LastChunk => Part::Last,
                RecordKind::Cut | RecordKind::End => Part::Cut,
            },
        }
    }
}

/// A message on its way. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Delivery {
    session: Session,
    channel: u16,
    /// The first part of it, if it was streamed.
    first: u64,
    /// It, or the last part of it.
    number: u64,
}

impl Delivery {
    /// The delivery of all from the first part on.
    pub(super) fn since(self, first: u64) -> Self {
        Delivery { first, ..self }
    }

    /// The number of the message or part.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until everybody who was there when the message was sent has it. (That its application has received it, it
    /// has to say itself.)
    ///
    /// # Errors
    /// [`DeliveryError::Missed`] names those who went without having confirmed it; everybody else has it.
    ///
    /// # Cancel safety
    /// May be dropped and asked for again.
    pub async fn delivered(&self) -> Result<(), DeliveryError> {
        let Delivery {
            session,
            channel,
            first,
            number,
        } = self;
        let settled = |node: &mut Node| {
            let members = (node.settled(*channel) > *number).then(|| node.missed(*channel, *first..=*number));
            match (members, node.ending()) {
                (Some(members), _) if members.is_empty() => Some(Ok(())),
                (_, Some(ending)) => Some(Err(over(ending).into())),
                (Some(members), None) => Some(Err(DeliveryError::Missed { members })),
                (None, None) => None,
            }
        };
        session.0.shared.wait(|node, _| settled(node)).await
    }
}

impl Session {
    /// The channel of what is for everybody.
    pub(super) const ALL: u16 = 0;

    pub(super) fn new(shared: Arc<Shared>, linger: Duration) -> Self {
        Session(Arc::new(End {
            shared,
            linger: at_most_ages(linger),
            sending: Mutex::new(()),
        }))
    }

    /// Who this end is.
    ///
    /// # Errors
    /// [`Over`].
    pub fn id(&self) -> Result<MemberId, Over> {
        self.shared().look(|node| match (node.me(), node.ending()) {
            (Some(me), _) => Ok(me),
            (None, ending) => Err(ending.map_or(Over::Left, over)),
        })
    }

    /// Who else is in the session, as far as this end knows: the coordinator first.
    #[must_use]
    pub fn members(&self) -> Vec<MemberId> {
        self.shared().look(|node| node.others().collect())
    }

    /// Where another end is.
    #[must_use]
    pub fn address(&self, member: MemberId) -> Option<SocketAddr> {
        self.shared().look(|node| node.address(member))
    }

    /// Where this end is.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared().local_addr()
    }

    /// What was ignored so far, and why.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared().look(Node::counters)
    }

    /// Sends a message to everybody in the session, as soon as there is room for it
    /// ([`Options::send_budget`](super::Options::send_budget)). Where nobody else is in the session, it is gone.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn send(&self, body: impl Into<Bytes>) -> Result<Delivery, SendError> {
        self.send_on(Self::ALL, &self.0.sending, body.into()).await
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// [`SendError`], [`SendError::WouldBlock`] among them; nothing was sent.
    pub fn try_send(&self, body: impl Into<Bytes>) -> Result<Delivery, SendError> {
        self.try_send_on(Self::ALL, &self.0.sending, &body.into())
    }

    /// Polls until a message of `size` bytes would be taken by [`try_send`](Self::try_send), and wakes the context's task
    /// when that may have changed. For who makes a message only when it can be sent.
    ///
    /// # Errors
    /// [`SendError`]: such a message will not be taken.
    pub fn poll_room(&self, cx: &mut Context<'_>, size: u64) -> Poll<Result<(), SendError>> {
        self.shared().poll_wait(cx, |node, _| room(node, size))
    }

    /// As [`poll_room`](Self::poll_room), without being woken: whether there is room now.
    ///
    /// # Errors
    /// As those of [`poll_room`](Self::poll_room).
    pub fn has_room(&self, size: u64) -> Result<bool, SendError> {
        let room = self.shared().act(|node, _| room(node, size));
        room.map_or(Ok(false), |room| room.map(|()| true))
    }

    /// How many messages of this end, and parts of streamed ones, wait to be delivered to everybody.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.shared().look(|node| node.undelivered(Self::ALL))
    }

    /// A number that changes whenever those have got more of what this end sends who are waited for
    /// ([`SlowMember`](super::SlowMember)): while there is no room and it stands still, nobody takes anything.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.shared().look(|node| node.held(Self::ALL))
    }

    /// Waits until everything that this end has sent so far is delivered to everybody who is still there, or the session
    /// is over.
    ///
    /// # Cancel safety
    /// Takes nothing.
    pub async fn settled(&self) {
        let settled = |node: &Node| node.undelivered(Self::ALL) == 0 || node.ending().is_some();
        self.shared().wait(|node, _| settled(node).then_some(())).await;
    }

    /// Begins a message of any length that is sent in parts, as they come to be known. Nothing else of this end is sent
    /// before it ends.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn stream(&self) -> StreamSender<'_> {
        self.stream_on(Self::ALL, &self.0.sending).await
    }

    /// Receives the next message of anybody, or part of one that is streamed; one sender's after the other's.
    ///
    /// # Errors
    /// [`RecvError::Over`], once all that came before was received.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn recv(&self) -> Result<Received, RecvError> {
        self.recv_on(Self::ALL, None).await
    }

    /// Polls for what [`recv`](Self::recv) gives, and wakes the context's task when there may be something.
    ///
    /// # Errors
    /// As those of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Received, RecvError>> {
        self.shared()
            .poll_wait(cx, |node, now| take(node, now, Self::ALL, None))
    }

    /// Receives what has come already.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if there is nothing.
    pub fn try_recv(&self) -> Result<Received, RecvError> {
        self.try_recv_on(Self::ALL, None)
    }

    /// The next thing that happens to the session's membership. The newest 1,024 are kept until somebody asks.
    ///
    /// # Errors
    /// [`Over`], once nothing more will happen.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was taken.
    pub async fn event(&self) -> Result<Event, Over> {
        self.shared()
            .wait(|node, _| match Event::next(node) {
                Some(event) => Some(Ok(event)),
                None => node.ending().map(|ending| Err(over(ending))),
            })
            .await
    }

    /// Waits until `count` others are in the session.
    ///
    /// # Errors
    /// [`Over`].
    ///
    /// # Cancel safety
    /// Takes nothing.
    pub async fn wait_for_members(&self, count: usize) -> Result<(), Over> {
        self.shared()
            .wait(|node, _| match node.ending() {
                Some(ending) => Some(Err(over(ending))),
                None => (node.others().count() >= count).then_some(Ok(())),
            })
            .await
    }

    /// Waits until `count` others are known to hear what this end sends to the
    /// [group address](super::Options::multicast): one packet serves all of these. It takes two
    /// [heartbeats](super::Options::heartbeat) or so to find out. A member never counts the coordinator, to which it
    /// always sends separately.
    ///
    /// # Errors
    /// [`Over`].
    ///
    /// # Cancel safety
    /// Takes nothing.
    pub async fn wait_for_multicast(&self, count: usize) -> Result<(), Over> {
        self.shared()
            .wait(|node, _| match node.ending() {
                Some(ending) => Some(Err(over(ending))),
                None => (node.reached_by_multicast() >= count).then_some(Ok(())),
            })
            .await
    }

    /// Leaves, once what was sent is delivered, or after [`Options::linger`](super::Options::linger); for all clones of
    /// this handle.
    pub(super) async fn leave(&self) {
        let linger = self.0.linger;
        self.shared().act(|node, now| node.wind_up(now, now + linger));
        self.shared().wait(|node, _| node.is_over().then_some(())).await;
    }

    pub(super) fn linger(&self) -> Duration {
        self.0.linger
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Sends a message on a channel once it has its turn there.
    pub(super) async fn send_on(
        &self,
        channel: u16,
        sending: &Mutex<()>,
        body: Bytes,
    ) -> Result<Delivery, SendError> {
        let _turn = sending.lock().await;
        self.push(channel, Part::Whole, body).await
    }

    pub(super) fn try_send_on(
        &self,
        channel: u16,
        sending: &Mutex<()>,
        body: &Bytes,
    ) -> Result<Delivery, SendError> {
        let _turn = sending.try_lock().map_err(|_| SendError::WouldBlock)?;
        let pushed = self
            .shared()
            .act(|node, _| push(node, channel, Part::Whole, body));
        let number = pushed.unwrap_or(Err(SendError::WouldBlock))?;
        Ok(self.delivery(channel, number))
    }

    pub(super) async fn stream_on<'a>(&'a self, channel: u16, sending: &'a Mutex<()>) -> StreamSender<'a> {
        StreamSender::new(self, channel, sending.lock().await)
    }

    /// Sends a part, as soon as there is room. The caller has the turn.
    pub(super) async fn push(&self, channel: u16, part: Part, body: Bytes) -> Result<Delivery, SendError> {
        tokio::task::coop::consume_budget().await;
        let number = self
            .shared()
            .wait(|node, _| push(node, channel, part, &body))
            .await?;
        Ok(self.delivery(channel, number))
    }

    fn delivery(&self, channel: u16, number: u64) -> Delivery {
        Delivery {
            session: self.clone(),
            channel,
            first: number,
            number,
        }
    }

    /// `request` is the one by which this end came into a group.
    pub(super) fn try_recv_on(&self, channel: u16, request: Option<u32>) -> Result<Received, RecvError> {
        self.shared()
            .act(|node, now| take(node, now, channel, request))
            .unwrap_or(Err(RecvError::WouldBlock))
    }

    pub(super) async fn recv_on(&self, channel: u16, request: Option<u32>) -> Result<Received, RecvError> {
        tokio::task::coop::consume_budget().await;
        self.shared()
            .wait(|node, now| take(node, now, channel, request))
            .await
    }
}

/// Queues a part, if there is room.
fn push(node: &mut Node, channel: u16, part: Part, body: &Bytes) -> Option<Result<u64, SendError>> {
    let pushed = node.push(channel, part.kind(), body);
    unless_full(node, pushed)
}

/// Whether there is room for a message to everybody.
fn room(node: &mut Node, size: u64) -> Option<Result<(), SendError>> {
    let room = node.make_room(Session::ALL, size);
    unless_full(node, room)
}

fn unless_full<T>(node: &Node, result: Result<T, PushError>) -> Option<Result<T, SendError>> {
    match result {
        Ok(value) => Some(Ok(value)),
        Err(PushError::Full) => None,
        Err(PushError::NotIn) => Some(Err(node.ending().map_or(Over::Left, over).into())),
        Err(PushError::NoChannel) => Some(Err(SendError::NoGroup)),
        Err(PushError::TooLarge { size, limit, member }) => {
            Some(Err(SendError::TooLarge { size, limit, member }))
        }
    }
}

/// Takes the next message of a channel, if there is one or will be none.
fn take(
    node: &mut Node,
    now: std::time::Instant,
    channel: u16,
    request: Option<u32>,
) -> Option<Result<Received, RecvError>> {
    let end = |node: &Node| request.and_then(|request| node.place_end(channel, request));
    // Nothing is taken of another group that this end has joined since.
    let popped = match end(node) {
        None => node.pop(now, channel),
        Some(_) => None,
    };
    match (popped, end(node)) {
        (Some(popped), _) => Some(Ok(popped.into())),
        (None, Some(GroupEnd::Whole)) => Some(Err(RecvError::GroupEnded)),
        (None, Some(GroupEnd::Cut)) => Some(Err(RecvError::GroupCut)),
        (None, None) => node.ending().map(|ending| Err(over(ending).into())),
    }
}

/// Why a session is over, for the application.
pub(super) fn over(ending: &Ending) -> Over {
    match ending {
        Ending::Left => Over::Left,
        Ending::Dismissed(GoodbyeReason::Closed) | Ending::Rejected(RejectReason::Closing, _) => Over::Closed,
        Ending::Dismissed(GoodbyeReason::Dead) => Over::Dismissed { why: Gone::Dead },
        Ending::Dismissed(GoodbyeReason::Left) => Over::Left,
        Ending::Dismissed(_) | Ending::Rejected(..) => Over::Dismissed { why: Gone::Evicted },
        Ending::NoAnswer | Ending::CoordinatorDead => Over::CoordinatorDead,
        Ending::Unusable(reason) => Over::Broken {
            reason: reason.clone(),
        },
    }
}
