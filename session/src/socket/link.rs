//! One connection over a stream of bytes: moves what the protocol and the queues say, decides nothing itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use flexbond_transport::pipe::PushError;
use flexbond_transport::{ByteStream, Endpoint, Message, PeerIdentity};
use flexbond_wire::zmtp::{self, Batch, ProtocolError, SocketType};
use tokio::time::Sleep;

use super::core::{Core, ServedLane, Stop, StopWatch};
use super::handshakes::{Place, Progress};
use super::lane::Lane;
use super::lead::beginning;
use super::link_end::LinkEnd;
use super::outbound::Outbound;
use super::outbox::Bytage;
use super::pattern::Refusal;
use super::peer::Introduction;
use super::security::Judging;
use super::subscription::message_of;
use super::unread::{Room, Unread, Want};

/// Bytes that may wait for the stream before no more messages are taken from the queue.
const WRITE_BATCH: usize = 128 << 10;
/// Messages that are decoded before they are handed on.
const READ_BATCH: usize = 256;
/// Buffers that one write gathers.
const WRITE_SLICES: usize = 64;
/// Batches that are written before reading gets its turn.
const WRITES: usize = 8;
/// Rounds of reading and writing, and bytes read, before other tasks get their turn: what was read should still be
/// in the cache when the application looks at it.
const ROUNDS: usize = 32;
const READ_TURN: usize = 128 << 10;
/// How long a closing side waits for the peer to close too, so that no reset overtakes what was written.
const FAREWELL: Duration = Duration::from_millis(500);

/// One connection over a stream of bytes.
pub(crate) struct Link {
    core: Arc<Core>,
    stream: Box<dyn ByteStream>,
    /// The other end.
    endpoint: Endpoint,
    /// Whom the transport has proved it to be.
    identity: Option<PeerIdentity>,
    zmtp: zmtp::Connection,
    /// Only in the handshake.
    judging: Judging,
    /// Decoded messages on their way to the application.
    decoded: VecDeque<Message>,
    unread: Unread,
    /// Bytes read in this turn.
    read: usize,
    /// There may be more messages in what was read.
    undecoded: bool,
    /// There are, but no room for them.
    is_held: bool,
    /// There was, a moment ago.
    is_newly_held: bool,
    /// The stream itself holds nothing back.
    flushed: bool,
    paused: bool,
    read_error: Option<LinkEnd>,
    write_error: Option<LinkEnd>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Link {
    pub(crate) fn new(
        core: Arc<Core>,
        stream: Box<dyn ByteStream>,
        endpoint: Endpoint,
        identity: Option<PeerIdentity>,
    ) -> Self {
        let zmtp = connection(&core);
        Link {
            unread: Unread::default(),
            core,
            stream,
            endpoint,
            identity,
            zmtp,
            judging: Judging::default(),
            decoded: VecDeque::new(),
            read: 0,
            undecoded: true,
            is_held: false,
            is_newly_held: false,
            flushed: true,
            paused: false,
            read_error: None,
            write_error: None,
            timer: None,
        }
    }

    /// Brings the handshake to its end, or to that of its place among those that were accepted.
    pub(crate) async fn handshake(&mut self, mut place: Option<&mut Place>) -> Result<Introduction, LinkEnd> {
        let outcome = poll_fn(|cx| {
            if let Some(place) = place.as_deref_mut()
                && let Poll::Ready(full) = place.poll_displaced(cx)
            {
                return Poll::Ready(Err(LinkEnd::Displaced(full)));
            }
            let outcome = self.poll_handshake(cx);
            if let Some(place) = place.as_deref_mut() {
                place.reached(self.progress());
            }
            outcome
        })
        .await;
        if outcome.is_err() {
            // What the protocol has to say about the failure, if the stream takes it at once.
            let _ = self.flush_some();
        }
        let judging = std::mem::take(&mut self.judging);
        match (outcome, judging.denial) {
            (Err(LinkEnd::Protocol(ProtocolError::Denied { .. })), Some(denial)) => {
                Err(LinkEnd::Denied(denial))
            }
            (Err(LinkEnd::Eof), _) if self.core.is_curve_client() => Err(LinkEnd::ClosedInHandshake),
            (outcome, _) => {
                let mut introduction = outcome?;
                introduction.auth_metadata = judging.metadata;
                introduction.identity = self.identity.take();
                Ok(introduction)
            }
        }
    }

    /// Moves messages both ways until the connection, the peer or the socket ends.
    pub(crate) async fn run(&mut self, served: &mut ServedLane, stop: &mut StopWatch) -> LinkEnd {
        let ServedLane { lane, outbound } = served;
        self.unread.begin(lane);
        let end = loop {
            let draining = stop.is_stopping();
            tokio::select! {
                biased;
                reason = poll_fn(|cx| lane.poll_end(cx)) => break LinkEnd::Refused(Refusal::new(reason)),
                end = poll_fn(|cx| self.poll_run(cx, lane, outbound, draining)) => match end {
                    Ok(()) => {
                        self.unread.pass();
                        self.farewell(stop).await;
                        break LinkEnd::Stopped;
                    }
                    Err(end) => break end,
                },
                () = stop.advance(draining) => if draining { break LinkEnd::Stopped },
            }
        };
        self.unread
            .leave(lane, self.decoded.drain(..).map(|lost| lost.footprint()).sum());
        if matches!(end, LinkEnd::Protocol(_)) {
            let _ = self.flush_some();
            self.note_written(outbound);
        }
        end
    }

    /// How far the handshake got.
    fn progress(&self) -> Progress {
        if self.judging.is_under_way() {
            Progress::Kept
        } else if self.zmtp.heard_command() {
            Progress::Talking
        } else {
            Progress::Silent
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<Introduction, LinkEnd>> {
        loop {
            if let Poll::Ready(verdict) = self.judging.poll(cx) {
                self.zmtp.handle_verdict(verdict);
            }
            match self.zmtp.poll_event(now())? {
                Some(zmtp::Event::Authenticate(credentials)) => {
                    let identity = self.identity.clone();
                    self.judging
                        .ask(&self.core.options, &self.endpoint, identity, credentials);
                    continue;
                }
                Some(zmtp::Event::Ready(info)) => return Poll::Ready(Ok(info.into())),
                Some(_) => continue,
                None => {}
            }
            let _ = self.poll_flush(cx)?;
            match self.stream.poll_read(cx, self.zmtp.read_buffer())? {
                Poll::Ready(0) => return Poll::Ready(Err(LinkEnd::Eof)),
                Poll::Ready(_) => self.zmtp.handle_read(now()),
                Poll::Pending => {
                    if self.poll_timer(cx)? {
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// `Ok` once everything is written and `draining` is set.
    fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        lane: &Arc<Lane>,
        outbound: &mut Outbound,
        draining: bool,
    ) -> Poll<Result<(), LinkEnd>> {
        self.read = 0;
        for _ in 0..ROUNDS {
            let reading = self.poll_inbound(cx, lane)?;
            let writing = self.poll_outbound(cx, outbound, reading)?;
            if draining && self.is_drained(outbound) {
                return self.stream.poll_flush(cx).map_err(LinkEnd::from);
            }
            if reading {
                // The turn is over. Where reading waits for the application instead, this task does too.
                break;
            }
            if !writing && !self.poll_timer(cx)? {
                return Poll::Pending;
            }
        }
        self.poll_timer(cx)?;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether closing has nothing to wait for. Nobody misses the subscriptions of a SUB that is closed.
    fn is_drained(&mut self, outbound: &Outbound) -> bool {
        self.core.socket_type == SocketType::Sub || (outbound.is_empty() && self.zmtp.transmit().is_empty())
    }

    /// Reads, decodes and hands on, until it has to wait (false) or its turn is over (true).
    fn poll_inbound(&mut self, cx: &mut Context<'_>, lane: &Arc<Lane>) -> Result<bool, LinkEnd> {
        loop {
            if self.undecoded {
                let was_held = self.is_held;
                let decoded = self.decode(lane);
                self.is_newly_held = self.is_held && !was_held;
                match decoded {
                    Ok(all) => {
                        self.undecoded = !all;
                        if self.decoded.back().is_some_and(|last| last.size() >= READ_TURN) {
                            // The application may be done with it before the memory for the next one is needed: at
                            // 1 MiB, fresh memory for each costs the receiver as much as all the rest.
                            self.read = READ_TURN;
                        }
                    }
                    // Reported once what came before is in the application's hands.
                    Err(end) => self.read_error = Some(end),
                }
            }
            self.unread.tell(lane, self.zmtp.incomplete(), self.excused());
            if !self.hand_on(cx, lane) || self.unread.is_over(lane, cx.waker()) {
                // It is woken when the application has received something, which makes room.
                self.unread
                    .excuse(if self.undecoded { self.zmtp.undecoded() } else { 0 });
                self.unread.pass();
                return Ok(self.pause());
            }
            if self.is_held && self.window(cx, lane, Want::lists(self.zmtp.undecoded()))? == 0 {
                return Ok(self.pause());
            }
            if self.paused && (self.undecoded || self.read_error.is_some()) {
                self.resume();
            }
            if let Some(end) = self.read_error.take() {
                return Err(end);
            }
            if self.undecoded {
                continue;
            }
            if self.read >= READ_TURN {
                return Ok(true);
            }
            let want = Want {
                ahead: self.zmtp.receives_body(),
                undecoded: 0,
                bytes: spare(self.zmtp.read_buffer()),
            };
            let window = self.window(cx, lane, want)?;
            if window == 0 {
                return Ok(self.pause());
            }
            if self.paused {
                self.resume();
            }
            match self.stream.poll_read(cx, self.zmtp.read_buffer_within(window))? {
                Poll::Ready(0) => return Err(LinkEnd::Eof),
                Poll::Ready(count) => {
                    self.read += count;
                    self.zmtp.handle_read(now());
                    self.undecoded = true;
                }
                Poll::Pending => {
                    // What was reserved for the read is for others.
                    self.unread.tell(lane, self.zmtp.incomplete(), 0);
                    return Ok(false);
                }
            }
        }
    }

    /// Decodes a batch of messages; true if that used up all bytes.
    fn decode(&mut self, lane: &Arc<Lane>) -> Result<bool, LinkEnd> {
        let pattern = &self.core.pattern;
        let now = now();
        // Lists of parts may need more than what was read.
        let incomplete = self.zmtp.incomplete();
        let budget = incomplete.saturating_add(self.unread.beside(lane, incomplete));
        self.zmtp.allow(budget);
        if !pattern.inspects() {
            // What is not a message says nothing to a pattern that does not look.
            let decoded = loop {
                match self.zmtp.poll_messages(now, &mut self.decoded, READ_BATCH) {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(self.decoded.len() < READ_BATCH && !self.zmtp.is_held()),
                    Err(error) => break Err(error.into()),
                }
            };
            self.is_held = self.zmtp.is_held();
            let arrived = self.zmtp.take_decoded();
            if !self.core.options.conflates(self.core.socket_type) {
                lane.counters.arrived(arrived);
            }
            return decoded;
        }
        let mut arrived = 0;
        while self.decoded.len() < READ_BATCH {
            // What was made of it counts as what it was made of did.
            self.is_held = arrived > 0 && arrived + self.zmtp.incomplete() > budget;
            if self.is_held {
                break;
            }
            self.zmtp.allow(budget - arrived);
            let message = match self.zmtp.poll_event(now)? {
                Some(zmtp::Event::Message(message)) => message,
                Some(zmtp::Event::Subscription { subscribe, topic }) => message_of(subscribe, &topic),
                Some(_) => continue,
                None => {
                    self.is_held = self.zmtp.is_held();
                    return Ok(!self.is_held);
                }
            };
            match pattern.inspect(lane, message) {
                Ok(message) => {
                    let bytes = message.as_ref().map_or(0, Message::footprint);
                    lane.counters.arrived(bytes);
                    arrived += bytes;
                    self.decoded.extend(message);
                }
                Err(refusal) => return Err(LinkEnd::Refused(refusal)),
            }
        }
        Ok(false)
    }

    /// How much of what was read may be whole messages, for which the application has to make a place first. Whether it can
    /// for one that is held is seen when [room](Self::window) is looked for; until then it is as it was, or as before it was
    /// held.
    fn excused(&self) -> usize {
        match self.undecoded && (!self.is_held || self.is_newly_held || self.unread.is_excused()) {
            true => self.zmtp.undecoded(),
            false => 0,
        }
    }

    /// How much of what would be read there is room for. If there is none, this task is woken when there may be.
    fn window(&mut self, cx: &mut Context<'_>, lane: &Lane, want: Want) -> Result<usize, LinkEnd> {
        match self.unread.room(&self.core, lane, want, cx.waker()) {
            Room::Some(window) => Ok(window),
            Room::None => Ok(0),
            Room::Never => Err(LinkEnd::Heavy),
        }
    }

    /// Nothing is read until it is resumed. False: the turn ends here.
    fn pause(&mut self) -> bool {
        if !self.paused {
            self.paused = true;
            self.zmtp.pause();
        }
        false
    }

    fn resume(&mut self) {
        self.paused = false;
        self.zmtp.resume(now());
    }

    /// Moves decoded messages to the application's queue; true if all of them fitted.
    fn hand_on(&mut self, cx: &mut Context<'_>, lane: &Lane) -> bool {
        let Some(inbound) = lane.inbound() else {
            self.decoded.clear();
            return true;
        };
        if self.core.options.conflates(self.core.socket_type) {
            if let Some(last) = self.decoded.drain(..).next_back() {
                let _ = inbound.push_replacing(last);
            }
            return true;
        }
        if self.decoded.is_empty() {
            return true;
        }
        match inbound.try_push_batch(&mut self.decoded, cx.waker()) {
            Ok(_) => self.decoded.is_empty(),
            Err(PushError::Closed(()) | PushError::Full(())) => {
                // The pattern does not receive.
                self.decoded.clear();
                lane.counters.none_unread();
                true
            }
        }
    }

    /// Takes and writes, until it has to wait or its turn is over; true if it could go on.
    ///
    /// A stream that can no longer be written may still hold messages from the peer: the error is reported only
    /// once there is nothing more to read (`reading` is false).
    fn poll_outbound(
        &mut self,
        cx: &mut Context<'_>,
        outbound: &mut Outbound,
        reading: bool,
    ) -> Result<bool, LinkEnd> {
        for _ in 0..WRITES {
            if self.write_error.is_some() {
                break;
            }
            self.take(cx, outbound);
            if self.zmtp.transmit().is_empty() && self.flushed {
                return Ok(false);
            }
            let flushed = self.poll_flush(cx);
            self.flushed = matches!(flushed, Poll::Ready(Ok(())));
            self.note_written(outbound);
            match flushed {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => self.write_error = Some(error),
            }
        }
        match self.write_error.take() {
            None => Ok(true),
            Some(error) if !reading && !self.paused => Err(error),
            error => {
                self.write_error = error;
                Ok(false)
            }
        }
    }

    /// Takes what waits, unless enough is on its way already.
    fn take(&mut self, cx: &mut Context<'_>, outbound: &mut Outbound) {
        let queued = self.zmtp.transmit().len();
        if queued >= WRITE_BATCH || (queued > 0 && outbound.is_evicting()) {
            return;
        }
        if let Some(outgoing) = self.zmtp.outgoing() {
            let _ = outbound.poll_take(cx, outgoing);
        } else {
            // Each gets a copy, sealed or in an older format: of no more than is written soon, and it counts.
            let mut taken = Batch::default();
            let _ = outbound.poll_take_within(cx, &mut taken, WRITE_BATCH - queued);
            if !taken.is_empty() {
                self.zmtp.send_batch(&mut taken);
                outbound.hold(Bytage::of_connection(&self.zmtp));
            }
        }
    }

    fn note_written(&mut self, outbound: &mut Outbound) {
        let written = self.zmtp.take_written();
        outbound.written(written, Bytage::of_connection(&self.zmtp));
    }

    /// What the peer cannot have received whole.
    pub(crate) fn take_unsent(&mut self) -> Batch {
        self.zmtp.take_unsent()
    }

    /// Writes all that is encoded.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        let transmit = self.zmtp.transmit();
        while !transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = transmit.slices(&mut slices);
            let written = match beginning(&slices[..count], self.stream.lead()) {
                Some(beginning) => ready!(self.stream.poll_write(cx, &beginning))?,
                None => ready!(self.stream.poll_write(cx, &slices[..count]))?,
            };
            transmit.advance(written);
        }
        Poll::Ready(Ok(ready!(self.stream.poll_flush(cx))?))
    }

    /// Writes what the stream takes without waiting.
    fn flush_some(&mut self) -> io::Result<()> {
        let transmit = self.zmtp.transmit();
        while !transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = transmit.slices(&mut slices);
            let written = self.stream.try_write(&slices[..count])?;
            transmit.advance(written);
        }
        Ok(())
    }

    /// Sees to the protocol's timers; true if one of them fired.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkEnd> {
        let Some(due) = self.zmtp.poll_timeout() else {
            self.timer = None;
            return Ok(false);
        };
        let sleep = match &mut self.timer {
            Some((set, sleep)) => {
                if *set != due {
                    *set = due;
                    sleep.as_mut().reset(due.into());
                }
                sleep
            }
            None => {
                &mut self
                    .timer
                    .insert((due, Box::pin(tokio::time::sleep_until(due.into()))))
                    .1
            }
        };
        if sleep.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.timer = None;
        self.zmtp.handle_timeout(now().max(due))?;
        Ok(true)
    }

    /// Ends the writing direction and waits a little for the peer to do the same: a connection closed with unread
    /// bytes is reset, and a reset can destroy what the peer has not read yet.
    async fn farewell(&mut self, stop: &StopWatch) {
        let mut patience = FAREWELL;
        if let Stop::Drain(Some(until)) = stop.get() {
            patience = patience.min(until.saturating_duration_since(tokio::time::Instant::now()));
        }
        if patience.is_zero() {
            return;
        }
        let read_to_end = poll_fn(|cx| {
            let mut shut = self.stream.poll_shutdown(cx).is_ready();
            loop {
                let mut scrap = bytes::BytesMut::with_capacity(4096);
                match self.stream.poll_read(cx, &mut scrap) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => shut = shut || self.stream.poll_shutdown(cx).is_ready(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = tokio::time::timeout(patience, read_to_end).await;
    }
}

/// The protocol's side of a new connection.
fn connection(core: &Core) -> zmtp::Connection {
    let config = Arc::clone(&core.zmtp);
    // Without, the connection ends when it is needed, and the event says so.
    #[cfg(feature = "curve")]
    if config.security.needs_randomness()
        && let Ok(randomness) = super::security::randomness()
    {
        return zmtp::Connection::with_randomness(config, randomness, now());
    }
    zmtp::Connection::new(config, now())
}

/// The room that a buffer has.
fn spare(buffer: &bytes::BytesMut) -> usize {
    buffer.capacity() - buffer.len()
}

/// The runtime's clock, which tests may stop and move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
