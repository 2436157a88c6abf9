//! What moves a relay: packets between it and the sockets, its store, time, and whoever asks for something.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use flexbond_session::socket::{Event, LimitMeter, Monitor, Router};
use flexbond_session::{Lookout, Moved};
use flexbond_transport::Message;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

#[cfg(feature = "federation-redb")]
use super::keeper::{Answer, Keeper};
use super::repeats::Repeats;
use super::report::{EventLevel, ServerEvent, ServerStats};
use super::ways::Ways;
use crate::federation::driver::now;
use crate::federation::name::{JobId, PartyId};
use crate::federation::relay::{Access, Relay, Routes, Way};
use crate::federation::uplink::{News, Uplink};

/// How many packets are taken at once from one connection, and how many in all before others have their turn.
const BATCH: NonZeroUsize = NonZeroUsize::new(64).unwrap();
const BUDGET: usize = 512;
/// When so many bytes have come, what there is for others goes on its way before more is taken: they have work to do
/// meanwhile.
const ROUND_BYTES: usize = 32 << 10;

/// How often an ended connection's rest is waited for, when others have more and more to say.
const ROUNDS: u32 = 512;

/// What the server is asked for from outside.
pub(super) enum Command {
    Stats(oneshot::Sender<ServerStats>),
    Reload(Box<Reload>, oneshot::Sender<()>),
    /// Whether these parties may be reached by another way; if not, one of them and the job that it is in.
    Move(BTreeSet<PartyId>, oneshot::Sender<Result<(), (PartyId, JobId)>>),
    /// To end: in good order, by then.
    Drain(Instant),
}

/// What is other in a new configuration.
pub(super) struct Reload {
    pub(super) access: Access,
    pub(super) routes: Routes,
    /// That of the lists of who is let in.
    pub(super) generation: u64,
    /// Names whose connections end, for they prove themselves otherwise now, or not at all.
    pub(super) ended: Vec<String>,
    /// Numbers of servers that are no more.
    pub(super) removed: Vec<usize>,
    /// Servers that are new, in the order of their numbers.
    pub(super) added: Vec<(String, Uplink)>,
}

pub(super) struct Driver {
    pub(super) relay: Relay,
    pub(super) router: Router,
    pub(super) monitor: Monitor,
    pub(super) limits: LimitMeter,
    pub(super) ways: Ways,
    #[cfg(feature = "federation-redb")]
    pub(super) keeper: Option<Keeper>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<ServerEvent>,
    /// Until when the server ends in good order, once it ends.
    pub(super) draining: Option<Instant>,
    pub(super) sleep: Pin<Box<Sleep>>,
    pub(super) messages: Vec<Message>,
    /// Connections that have ended, and what has come by them may not be received to its end.
    pub(super) lost: Vec<Way>,
    /// How often there was more to receive since one of these ended.
    pub(super) rounds: u32,
    pub(super) repeats: Repeats,
    pub(super) lookout: Lookout,
    /// Packets have come since it rested.
    pub(super) has_received: bool,
}

impl Driver {
    /// Moves all that can be moved; ready when the server has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ways.register(cx);
        if self.obey(cx) {
            return Poll::Ready(());
        }
        // Before what was sent is received: what comes last by a connection is told before its end.
        self.watch(cx);
        let mut is_busy = self.receive(cx);
        self.rounds = if is_busy && !self.lost.is_empty() {
            self.rounds + 1
        } else {
            0
        };
        // Connections take turns: after so many, what an ended one had left was received, too.
        if !is_busy || self.rounds >= ROUNDS {
            self.rounds = 0;
            for way in self.lost.drain(..) {
                self.relay.handle_lost(way);
            }
        }
        is_busy |= self.hear(cx);
        is_busy |= self.keep(cx);
        while let Some(way) = self.ways.next_ready() {
            self.relay.set_blocked(way, false);
        }
        is_busy |= self.transmit();
        // What was received may be for the store.
        is_busy |= self.keep(cx);
        self.tell();
        if self.is_over() {
            return Poll::Ready(());
        }
        if is_busy {
            cx.waker().wake_by_ref();
        } else {
            self.wait(cx);
            let moved = match std::mem::take(&mut self.has_received) {
                true => Moved::In,
                false => Moved::Nothing,
            };
            self.lookout.rest(cx, moved);
        }
        Poll::Pending
    }

    /// Does what was asked for; whether nobody can ask any more.
    fn obey(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Command::Stats(reply))) => {
                    // Who has asked may be gone.
                    let _ = reply.send(self.stats());
                }
                Poll::Ready(Some(Command::Reload(reload, done))) => {
                    self.reload(*reload);
                    let _ = done.send(());
                }
                Poll::Ready(Some(Command::Move(parties, reply))) => {
                    let _ = reply.send(self.relay.let_move(&parties));
                }
                Poll::Ready(Some(Command::Drain(until))) => {
                    self.draining = Some(self.draining.map_or(until, |before| before.min(until)));
                    self.relay.drain();
                }
            }
        }
    }

    fn reload(&mut self, reload: Reload) {
        for number in reload.removed {
            self.ways.remove(number);
            self.relay.handle_lost(Way::Server(number));
        }
        for (name, uplink) in reload.added {
            self.ways.add(&name, uplink);
        }
        for way in self.ways.end(reload.ended, reload.generation) {
            self.relay.handle_lost(way);
        }
        self.relay.set_access(reload.access);
        self.relay.set_routes(reload.routes);
    }

    pub(super) fn stats(&self) -> ServerStats {
        ServerStats {
            relay: self.relay.stats(),
            connections: self.ways.connections(),
            servers: self.ways.connected_servers(),
            is_draining: self.draining.is_some(),
            #[cfg(feature = "federation-redb")]
            store: self.keeper.as_ref().map(|keeper| keeper.status.stats()),
            #[cfg(not(feature = "federation-redb"))]
            store: None,
            limits: self.limits.counts(),
        }
    }

    /// Takes packets of connections; whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut taken, mut bytes) = (0, 0);
        while taken < BUDGET && bytes < ROUND_BYTES {
            let received = self.router.poll_recv_batch(cx, &mut self.messages, BATCH);
            // The socket is closed by nobody but this one.
            let Poll::Ready(Ok(route)) = received else {
                return false;
            };
            self.has_received = true;
            taken += self.messages.len();
            bytes += self.messages.iter().map(Message::size).sum::<usize>();
            let Some((way, identity)) = self.ways.accept(route) else {
                self.messages.clear();
                continue;
            };
            let now = now();
            for packet in self.messages.drain(..) {
                self.relay.handle_packet(now, way, identity.as_deref(), packet);
            }
        }
        true
    }

    /// Looks which connections have ended.
    fn watch(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(event)) = self.monitor.poll_next_unpin(cx) {
            match event {
                Event::Disconnected { peer, reason, .. } => {
                    self.ways.forget(&peer);
                    self.lost.push(Way::Party(peer.id()));
                    let fields = vec![("peer", peer.to_string()), ("reason", reason.clone())];
                    let text = format!("disconnected: {peer}: {reason}");
                    self.say(ServerEvent::new(EventLevel::Debug, "disconnected", fields, text));
                }
                Event::Missed(_) => self.lost.extend(self.ways.sweep()),
                Event::Ready { peer } => {
                    // Known before it says anything, so that it can be ended.
                    if let Some(route) = self.router.route(&peer) {
                        self.ways.accept(route);
                    }
                    let identity = peer.user_id().unwrap_or_default().to_owned();
                    let fields = vec![("peer", peer.to_string()), ("identity", identity)];
                    let text = format!("connected: {peer}");
                    self.say(ServerEvent::new(EventLevel::Debug, "connected", fields, text));
                }
                Event::HandshakeFailed { endpoint, error, .. } => {
                    let fields = vec![("peer", endpoint.to_string()), ("reason", error.clone())];
                    let text = format!("{endpoint} is not let in: {error}");
                    self.say(ServerEvent::new(EventLevel::Warn, "rejected", fields, text));
                }
                event @ (Event::LimitReached { .. } | Event::AcceptFailed { .. }) => {
                    let text = event.to_string();
                    self.say(ServerEvent::new(EventLevel::Warn, "limited", Vec::new(), text));
                }
                _ => {}
            }
        }
    }

    /// Takes packets of other servers; whether there may be more.
    fn hear(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for number in 0..self.ways.server_count() {
            for turn in 0..BATCH.get() {
                let Some((server, news)) = self.ways.poll_server(cx, number) else {
                    break;
                };
                is_busy |= turn + 1 == BATCH.get();
                self.heard(number, &server, news);
            }
        }
        is_busy
    }

    fn heard(&mut self, number: usize, server: &str, news: News) {
        let way = Way::Server(number);
        let (level, name, text) = match news {
            News::Packet(packet) => {
                self.has_received = true;
                return self.relay.handle_packet(now(), way, Some(server), packet);
            }
            News::Connected => {
                let text = format!("connected to server {server}");
                (EventLevel::Info, "server_connected", text)
            }
            News::Lost => {
                self.relay.handle_lost(way);
                let text = format!("the connection to server {server} is lost");
                (EventLevel::Warn, "server_lost", text)
            }
            News::Refused(reason) => {
                let text = format!("server {server} does not let this one in: {reason}");
                (EventLevel::Error, "server_refuses", text)
            }
        };
        self.say(ServerEvent::new(
            level,
            name,
            vec![("server", server.to_owned())],
            text,
        ));
    }

    /// Asks the store and hears it; whether it has said something.
    #[cfg(feature = "federation-redb")]
    fn keep(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut keeper) = self.keeper.take() else {
            return false;
        };
        let mut budget = BUDGET;
        while budget > 0
            && let Poll::Ready(Some(answer)) = keeper.poll_answer(cx)
        {
            budget -= 1;
            match answer {
                Answer::Committed { batch, .. } => self.relay.handle_committed(batch),
                Answer::Loaded { piece, content } => self.relay.handle_loaded(piece, content),
                Answer::Gone { piece } => self.relay.handle_missing(piece),
                Answer::Trouble { is_full, text } => {
                    let name = if is_full { "store_full" } else { "store_trouble" };
                    let more = "; nothing new is acknowledged until that is over";
                    let fields = vec![("reason", text.clone())];
                    self.say(ServerEvent::new(EventLevel::Error, name, fields, text + more));
                }
                Answer::Well => {
                    let text = "the store can be used again";
                    self.say(ServerEvent::new(EventLevel::Info, "store_well", Vec::new(), text));
                }
            }
        }
        while keeper.has_room()
            && let Some(request) = self.relay.poll_store()
        {
            keeper.ask(request);
        }
        self.keeper = Some(keeper);
        // What was heard may be something to send.
        budget < BUDGET
    }

    #[cfg(not(feature = "federation-redb"))]
    #[expect(clippy::unused_self, reason = "there is no store")]
    fn keep(&self, _: &Context<'_>) -> bool {
        false
    }

    /// Sends what there is to send; whether there may be more.
    fn transmit(&mut self) -> bool {
        let now = now();
        for _ in 0..BUDGET {
            let Some((way, packet)) = self.relay.poll_transmit(now) else {
                return false;
            };
            if !self.ways.send(way, packet) {
                self.relay.set_blocked(way, true);
            }
        }
        true
    }

    fn tell(&mut self) {
        while let Some(event) = self.relay.poll_event() {
            self.say(event.into());
        }
    }

    fn say(&mut self, mut event: ServerEvent) {
        if !self.repeats.tell(now(), &mut event) {
            return;
        }
        match event.level {
            EventLevel::Error => tracing::error!(name = event.name, "{event}"),
            EventLevel::Warn => tracing::warn!(name = event.name, "{event}"),
            EventLevel::Info => tracing::info!(name = event.name, "{event}"),
            EventLevel::Debug => tracing::debug!(name = event.name, "{event}"),
        }
        // Who does not read them misses some.
        let _ = self.events.try_send(event);
    }

    /// Whether all is done that is done before the end.
    fn is_over(&self) -> bool {
        let Some(until) = self.draining else {
            return false;
        };
        #[cfg(feature = "federation-redb")]
        let is_kept = self.keeper.as_ref().is_none_or(Keeper::is_idle);
        #[cfg(not(feature = "federation-redb"))]
        let is_kept = true;
        (self.relay.is_drained() && is_kept) || now() >= until
    }

    fn wait(&mut self, cx: &mut Context<'_>) {
        let timeout = self.relay.poll_timeout().into_iter().chain(self.draining).min();
        let Some(timeout) = timeout else {
            return;
        };
        let timeout = tokio::time::Instant::from_std(timeout);
        if self.sleep.deadline() != timeout {
            self.sleep.as_mut().reset(timeout);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            self.relay.handle_timeout(now());
            cx.waker().wake_by_ref();
        }
    }
}
