//! The task of a client: one connection after the other, and what comes by them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_session::socket::{Dealer, Event, Monitor, OptionError, RecvError};
use flexbond_transport::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::shared::{Link, Shared, State};
use crate::envelope::{Envelope, Header, Kind};
use crate::property;

/// Answers taken at once.
const BATCH: usize = 256;

/// What the task waits for ended.
enum Happened {
    Flushed,
    Received(Result<usize, RecvError>),
    Event(Option<Event>),
    Work,
    Alarm,
}

/// What follows on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Another one.
    Another,
    /// Another one: the server drains, and has done all it had to do for this client.
    Drained,
    /// None: neither a handle nor a call is left. What was said last is to leave.
    Farewell,
    Nothing,
}

/// A socket that connects. Its messages go by one connection only: those of a call that may have run are never sent
/// again by the next.
pub(super) fn dial(shared: &Shared) -> Result<(Dealer, Monitor), OptionError> {
    let mut socket = shared.options.socket.clone();
    socket.immediate = true;
    // Calls have deadlines of their own; that there was nothing to receive is no reason to end.
    socket.recv_timeout = None;
    let said = property::of_client();
    socket.metadata.push((property::NAME.to_owned(), said.into()));
    let dealer = Dealer::with_options(socket)?;
    let monitor = dealer.monitor();
    Ok((dealer, monitor))
}

/// Runs until neither a handle nor a call is left, or no connection will ever be made.
pub(super) async fn run(shared: Arc<Shared>, first: (Dealer, Monitor)) {
    // However the task ends, with its runtime for instance: calls must not wait for it.
    let _closer = Closer(&shared);
    let mut next = Some(first);
    // The first one was connected by who made it.
    let mut pause = None;
    // Connections to servers that have drained, which may still have something to say.
    let mut closing = JoinSet::new();
    while let Some((dealer, monitor)) = next.take() {
        let begun = Instant::now();
        let mut connection = Connection {
            shared: &shared,
            dealer,
            monitor,
            answers: Vec::new(),
            wakers: Vec::new(),
            alarm: None,
            sleep: Box::pin(tokio::time::sleep_until(begun)),
            connect_at: pause.map(|pause| begun + pause),
            is_refused: false,
            is_heard: false,
        };
        let after = connection.run().await;
        let dealer = connection.dealer.clone();
        let linger = shared.options.linger;
        let ended = Instant::now();
        if after == After::Farewell {
            connection.flush().await;
        }
        drop(connection);
        while closing.try_join_next().is_some() {}
        match after {
            After::Farewell | After::Nothing => {
                // To close takes no longer than is left of the time for all that was said last.
                let left = linger.saturating_sub(ended.elapsed());
                dealer.as_socket().close_within(Some(left)).await;
                break;
            }
            // What was not sent is not to be sent later.
            After::Another => {
                dealer.as_socket().close_within(Some(Duration::ZERO)).await;
            }
            // One-way calls may still be on their way, which the next connection need not wait for.
            After::Drained => {
                closing.spawn(async move { dealer.as_socket().close_within(Some(linger)).await });
            }
        }
        pause = Some(match begun.elapsed() {
            lived if lived > LONG => Duration::ZERO,
            // A server that takes connections and drops them is not to be asked all the time.
            _ => (pause.unwrap_or_default() * 2).clamp(PAUSE, LONG),
        });
        // The first one had the same options.
        next = dial(&shared).ok();
    }
    // They began before, and have the same time each.
    while closing.join_next().await.is_some() {}
}

/// A connection that lives so long was a good one.
const LONG: Duration = Duration::from_secs(2);
/// The first pause before the next connection after one that was not.
const PAUSE: Duration = Duration::from_millis(20);

/// Closes a client when it is dropped.
struct Closer<'a>(&'a Shared);

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    dealer: Dealer,
    monitor: Monitor,
    answers: Vec<Message>,
    wakers: Vec<Waker>,
    /// When to look at the clock, at the latest; and what sleeps until then.
    alarm: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
    /// When to begin.
    connect_at: Option<Instant>,
    /// The last attempt came as far as the handshake, and failed there.
    is_refused: bool,
    /// Something came by the connection.
    is_heard: bool,
}

impl Connection<'_> {
    /// Runs until the connection is lost, or not wanted any more.
    async fn run(&mut self) -> After {
        loop {
            if self.connect_at.is_some_and(|at| at <= Instant::now()) {
                self.connect_at = None;
                if let Err(error) = self.dealer.connect(&self.shared.endpoint) {
                    self.lose(Link::Stopped {
                        reason: error.to_string(),
                    });
                    return After::Nothing;
                }
            }
            match self.next().await {
                // They are taken with the look that follows.
                Happened::Received(Ok(_)) => self.is_heard = true,
                Happened::Received(Err(_)) => return After::Nothing,
                Happened::Event(event) => {
                    if let Some(after) = self.note(event) {
                        return after;
                    }
                }
                Happened::Work => {
                    if self.shared.is_abandoned() {
                        return After::Farewell;
                    }
                }
                Happened::Alarm | Happened::Flushed => {}
            }
            if let Some(after) = self.look() {
                return after;
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let alarm = self.alarm.into_iter().chain(self.connect_at).min();
        if let Some(alarm) = alarm
            && alarm != self.sleep.deadline()
        {
            self.sleep.as_mut().reset(alarm);
        }
        let Connection {
            shared,
            dealer,
            monitor,
            answers,
            wakers,
            sleep,
            ..
        } = self;
        let alarmed = poll_fn(|cx| match alarm {
            Some(_) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        });
        let room = poll_fn(|cx| flush(shared, cx, wakers).unwrap_or(Poll::Pending));
        tokio::select! {
            biased;
            // First: what waits to be sent must not wait for a pause between answers.
            () = room => Happened::Flushed,
            received = dealer.recv_many(answers, BATCH) => Happened::Received(received),
            event = monitor.recv() => Happened::Event(event),
            () = shared.work.notified() => Happened::Work,
            () = alarmed => Happened::Alarm,
        }
    }

    /// Lets what was said last leave, cancellations for instance, but not for ever.
    async fn flush(&mut self) {
        let (shared, wakers) = (self.shared, &mut self.wakers);
        let flushed = poll_fn(|cx| flush(shared, cx, wakers).unwrap_or(Poll::Ready(())));
        // What has not left by then never will.
        let _ = tokio::time::timeout(shared.options.linger, flushed).await;
    }

    /// Takes note of an event; when the connection is lost, what is to follow.
    fn note(&mut self, event: Option<Event>) -> Option<After> {
        let lost = |reason: String, retry_in: Option<Duration>| match retry_in {
            Some(_) => Link::Down { reason },
            None => Link::Stopped { reason },
        };
        let (link, is_over) = match event? {
            Event::Connected { .. } => {
                // Why the last handshake failed says more than that another one has begun.
                if !self.is_refused {
                    self.shared.state.lock().await_handshake();
                }
                return None;
            }
            Event::Ready { peer } => {
                let limits = property::limits(&peer);
                let mut state = self.shared.state.lock();
                state.connected(self.dealer.clone(), limits, &mut self.wakers);
                drop(state);
                self.shared.change.notify_waiters();
                return None;
            }
            Event::Disconnected {
                mut reason, retry_in, ..
            } => {
                // A ROUTER has no other way to say so.
                if !self.is_heard && !self.shared.options.socket.routing_id.is_empty() {
                    reason.push_str("; another client may have its routing id");
                }
                (lost(reason, retry_in), true)
            }
            // It may have been the end of the connection that was missed.
            Event::Missed(count) => {
                let reason = format!("{count} events of the connection were missed");
                (Link::Down { reason }, true)
            }
            Event::ConnectFailed { error, retry_in, .. } => {
                self.is_refused = false;
                (lost(error, retry_in), retry_in.is_none())
            }
            Event::HandshakeFailed { error, retry_in, .. } => {
                self.is_refused = true;
                let reason = format!("the handshake failed: {error}");
                (lost(reason, retry_in), retry_in.is_none())
            }
            _ => return None,
        };
        // What came before it counts.
        while self.dealer.as_socket().try_recv().is_ok_and(|message| {
            self.answers.push(message);
            true
        }) {}
        let after = match &link {
            Link::Stopped { .. } => After::Nothing,
            _ if self.shared.is_abandoned() => After::Nothing,
            _ => After::Another,
        };
        self.lose(link);
        is_over.then_some(after)
    }

    /// There is no connection, for the reason in `link`.
    fn lose(&mut self, link: Link) {
        let waits = self.shared.options.wait_for_connection;
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        for message in self.answers.drain(..) {
            take(self.shared, &mut state, now, message, &mut self.wakers);
        }
        state.lose(&self.shared.endpoint, link, waits, &mut self.wakers);
        drop(state);
        self.shared.change.notify_waiters();
    }

    /// Hands the answers to their calls, looks at the clock, and whether a server that drains has done all it had to do.
    /// Then wakes all whom something concerns.
    fn look(&mut self) -> Option<After> {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        for message in self.answers.drain(..) {
            take(self.shared, &mut state, now, message, &mut self.wakers);
        }
        self.alarm = state.look_at_the_clock(now, &mut self.wakers);
        let is_drained = state.is_drained();
        if is_drained {
            // The next server may be there already; this one closes anyway.
            let reason = "the server has ended".to_owned();
            let link = Link::Down { reason };
            state.lose(&self.shared.endpoint, link, true, &mut self.wakers);
        }
        drop(state);
        self.wakers.drain(..).for_each(Waker::wake);
        if is_drained {
            self.shared.change.notify_waiters();
        }
        is_drained.then_some(After::Drained)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// Sends what waits, if anything does, and wakes whom that concerns.
fn flush(shared: &Shared, cx: &mut Context<'_>, wakers: &mut Vec<Waker>) -> Option<Poll<()>> {
    let mut state = shared.state.lock();
    if !state.has_waiting() {
        return None;
    }
    let flushed = state.poll_flush(Instant::now(), cx, wakers);
    drop(state);
    wakers.drain(..).for_each(Waker::wake);
    Some(flushed)
}

/// Hands a message to its call.
fn take(shared: &Shared, state: &mut State, now: Instant, message: Message, wakers: &mut Vec<Waker>) {
    let header = message.get(0).and_then(|first| first.first_chunk()).copied();
    let (call, server) = match Envelope::decode(message) {
        Ok(envelope) if envelope.header.kind == Kind::Draining => {
            return state.drain(&shared.endpoint, shared.options.wait_for_connection, wakers);
        }
        Ok(envelope) => {
            let call = envelope.header.call;
            (call, state.calls.answer(now, envelope, wakers))
        }
        Err(error) => {
            shared.malformed.fetch_add(1, Ordering::Relaxed);
            // What says of no call that it is its answer concerns nobody.
            let Some(header) = header else {
                return;
            };
            // That it cannot be read either does not hide the call.
            let call = Header::call_of(&header);
            let kind = Header::decode(&header).ok().map(|header| header.kind);
            (call, state.calls.malformed(call, kind, error, wakers))
        }
    };
    state.stop(call, server);
}
