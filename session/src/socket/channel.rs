//! One connection over a channel of whole messages (inproc): the peers' queues are joined, nothing is encoded.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_transport::pipe::{PipeReceiver, PushError};
use flexbond_transport::{Endpoint, Message, MessageChannel};

use super::core::{Core, ServedLane, StopWatch};
use super::introduction;
use super::lane::Lane;
use super::outbox::Bytage;
use super::pattern::Refusal;
use super::peer::Introduction;
use super::{Limit, Peer};

/// Messages that one round takes from a peer.
const TURN: usize = 256;

/// Why a connection over a channel ended.
#[derive(Debug)]
pub(crate) enum ChannelEnd {
    /// The peers do not fit, or this socket does not want the other.
    Refused(String),
    /// The other went over a limit.
    Over(Limit, &'static str),
    /// The other end is gone.
    Gone,
    /// The socket is closed here.
    Stopped,
}

impl ChannelEnd {
    pub(crate) fn reason(&self) -> String {
        match self {
            ChannelEnd::Refused(reason) => reason.clone(),
            ChannelEnd::Over(_, reason) => (*reason).to_owned(),
            ChannelEnd::Gone => "the peer closed its socket".to_owned(),
            ChannelEnd::Stopped => "closed here".to_owned(),
        }
    }

    /// The limit that the other went over, if that is why.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            ChannelEnd::Over(limit, _) => Some(*limit),
            _ => None,
        }
    }
}

impl From<Refusal> for ChannelEnd {
    fn from(refusal: Refusal) -> Self {
        match refusal.limit {
            Some(limit) => ChannelEnd::Over(limit, refusal.reason),
            None => ChannelEnd::Refused(refusal.reason.to_owned()),
        }
    }
}

/// A lane whose queue is the channel itself: the fast way, without a task between the peers.
pub(crate) fn direct_lane(
    core: &Core,
    channel: MessageChannel,
    endpoint: &Endpoint,
) -> (Arc<Lane>, PipeReceiver<Message>) {
    let lane = core.new_lane(core.unknown_peer(endpoint), channel.tx);
    // A channel that is closed already shows when the introduction is awaited.
    let _ = lane
        .tx()
        .try_push(&mut introduction::compose(core.socket_type, &core.options), None);
    (lane, channel.rx)
}

/// Sees a direct lane through: introduction, life, end. `ready` is called once messages may flow.
pub(crate) async fn run_direct(
    core: &Arc<Core>,
    lane: &Arc<Lane>,
    mut rx: PipeReceiver<Message>,
    stop: &mut StopWatch,
    patience: Option<Duration>,
    ready: impl FnOnce(&Peer),
) -> ChannelEnd {
    let _nearby = core.nearby();
    let only_introduction = || lane.tx().len() <= 1;
    let introduced = stop
        .until_over(only_introduction, introduced(core, &mut rx, patience))
        .await;
    let introduction = match introduced {
        None => return ChannelEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(introduction)) => introduction,
    };
    let capacity = rx.capacity();
    rx.set_capacity(capacity.saturating_sub(1));
    lane.set_peer(Peer::new(lane.id(), lane.peer().endpoint().clone(), introduction));
    lane.set_ready(true);
    if let Err(refusal) = core.pattern.ready(lane) {
        return refusal.into();
    }
    if stop.is_stopping() {
        core.pattern.detach(lane);
    }
    lane.counters.handshakes.add(1);
    ready(&lane.peer());
    // A pattern that never receives leaves the queue here; it is kept, for closing it would end the channel.
    let gate = rx.gate();
    let _unread = core.pattern.feed(lane, rx);
    let end = tokio::select! {
        biased;
        reason = poll_fn(|cx| lane.poll_end(cx)) => ChannelEnd::Refused(reason.to_owned()),
        () = poll_fn(|cx| lane.tx().poll_closed(cx)) => ChannelEnd::Gone,
        // What is queued is in the peer's hands already.
        () = stop.stopping() => ChannelEnd::Stopped,
    };
    // Both directions, whatever the reason: others may hold the lane and its queue for long.
    lane.tx().close();
    gate.shut();
    end
}

/// Sees a channel through whose messages pass a task, because the socket looks into or conflates them.
pub(crate) async fn run_served(
    core: &Arc<Core>,
    served: &mut ServedLane,
    mut channel: MessageChannel,
    stop: &mut StopWatch,
    patience: Option<Duration>,
    ready: impl FnOnce(&Peer),
) -> ChannelEnd {
    let _nearby = core.nearby();
    let ours = introduction::compose(core.socket_type, &core.options);
    if channel.tx.try_push(ours, None).is_err() {
        return ChannelEnd::Gone;
    }
    let lane = Arc::clone(&served.lane);
    let drained = || served.outbound.is_empty();
    let introduction = match stop
        .until_over(drained, introduced(core, &mut channel.rx, patience))
        .await
    {
        None => return ChannelEnd::Stopped,
        Some(Err(end)) => return end,
        Some(Ok(introduction)) => introduction,
    };
    lane.set_peer(Peer::new(lane.id(), lane.peer().endpoint().clone(), introduction));
    lane.renew();
    lane.set_ready(true);
    if let Err(refusal) = core.pattern.ready(&lane) {
        return refusal.into();
    }
    if stop.is_stopping() {
        core.pattern.detach(&lane);
    }
    lane.counters.handshakes.add(1);
    ready(&lane.peer());
    loop {
        let draining = stop.is_stopping();
        tokio::select! {
            biased;
            reason = poll_fn(|cx| lane.poll_end(cx)) => return ChannelEnd::Refused(reason.to_owned()),
            end = poll_fn(|cx| poll_served(cx, core, served, &mut channel, draining)) => return end,
            () = stop.advance(draining) => if draining { return ChannelEnd::Stopped },
        }
    }
}

/// The peer's first message. Who connects may have to wait for somebody to bind; who accepts has `patience`.
async fn introduced(
    core: &Core,
    rx: &mut PipeReceiver<Message>,
    patience: Option<Duration>,
) -> Result<Introduction, ChannelEnd> {
    let arrival = poll_fn(|cx| rx.poll_fill(cx));
    let arrived = match patience {
        None => Ok(arrival.await),
        Some(patience) => tokio::time::timeout(patience, arrival).await,
    };
    match arrived {
        Ok(true) => {}
        Ok(false) => return Err(ChannelEnd::Gone),
        Err(_) => {
            return Err(ChannelEnd::Over(
                Limit::HandshakeTime,
                "the peer did not introduce itself in time",
            ));
        }
    }
    let first = rx.pop().unwrap_or_default();
    introduction::read(core.socket_type, first).map_err(ChannelEnd::Refused)
}

fn poll_served(
    cx: &mut Context<'_>,
    core: &Core,
    served: &mut ServedLane,
    channel: &mut MessageChannel,
    draining: bool,
) -> Poll<ChannelEnd> {
    if let Err(end) = poll_inbound(cx, core, served, channel) {
        return Poll::Ready(end);
    }
    if let Err(end) = poll_outbound(cx, served, channel) {
        return Poll::Ready(end);
    }
    if draining && served.outbound.is_empty() {
        Poll::Ready(ChannelEnd::Stopped)
    } else {
        Poll::Pending
    }
}

fn poll_inbound(
    cx: &mut Context<'_>,
    core: &Core,
    served: &mut ServedLane,
    channel: &mut MessageChannel,
) -> Result<(), ChannelEnd> {
    let conflates = core.options.conflates(core.socket_type);
    // A pattern that never receives has closed its queue: what comes is looked into and dropped.
    let inbound = served.lane.inbound().filter(|inbound| !inbound.is_closed());
    for _ in 0..TURN {
        if let Some(inbound) = inbound
            && !conflates
            && !inbound.has_room_or_register(cx.waker())
        {
            return Ok(());
        }
        let Some(message) = channel.rx.pop() else {
            match channel.rx.poll_fill(cx) {
                Poll::Ready(true) => continue,
                Poll::Ready(false) => return Err(ChannelEnd::Gone),
                Poll::Pending => return Ok(()),
            }
        };
        let message = match core.pattern.inspects() {
            true => core.pattern.inspect(&served.lane, message)?,
            false => Some(message),
        };
        let (Some(message), Some(inbound)) = (message, inbound) else {
            continue;
        };
        if conflates {
            let _ = inbound.push_replacing(message);
        } else {
            // There is room, for nobody else pushes here.
            let _ = inbound.try_push(message, None);
        }
    }
    // A full turn was used: others on this thread go first.
    cx.waker().wake_by_ref();
    Ok(())
}

fn poll_outbound(
    cx: &mut Context<'_>,
    served: &mut ServedLane,
    channel: &mut MessageChannel,
) -> Result<(), ChannelEnd> {
    while let Poll::Ready(Some(message)) = served.outbound.poll_next(cx) {
        match channel.tx.try_push(message, Some(cx.waker())) {
            Ok(()) => served.outbound.written(1, Bytage::default()),
            Err(PushError::Full(message)) => {
                served.outbound.undo(message);
                break;
            }
            Err(PushError::Closed(message)) => {
                served.outbound.undo(message);
                return Err(ChannelEnd::Gone);
            }
        }
    }
    match channel.tx.poll_closed(cx) {
        // What it sent before comes first; the end of that is an end as well.
        Poll::Ready(()) if channel.rx.is_empty() => Err(ChannelEnd::Gone),
        _ => Ok(()),
    }
}
