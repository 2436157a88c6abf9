//! The task of a client: one connection after the other, and what comes by them.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use flexbond_session::socket::{Dealer, Event, Monitor, OptionError, RecvError};
use flexbond_transport::Message;
use tokio::time::Instant;

use super::shared::{GRAIN, Link, Shared};
use crate::CallError;
use crate::envelope::{Envelope, Header, Kind};
use crate::property;

/// Answers taken at once.
const BATCH: usize = 256;

/// What the task waits for ended.
enum Happened {
    Received(Result<usize, RecvError>),
    Event(Option<Event>),
    Work,
    Alarm,
    Flushed,
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

/// Runs until the last handle is gone.
pub(super) async fn run(shared: Arc<Shared>, first: (Dealer, Monitor)) {
    let mut next = Some(first);
    // The first one was connected by who made it.
    let mut pause = None;
    while let Some((dealer, monitor)) = next.take() {
        let begun = Instant::now();
        let mut connection = Connection {
            shared: &shared,
            dealer,
            monitor,
            answers: Vec::new(),
            connect_at: pause.map(|pause| begun + pause),
        };
        let goes_on = connection.run().await;
        let linger = match goes_on {
            // What was not sent is not to be sent later.
            true => Duration::ZERO,
            false => shared.options.linger,
        };
        connection.dealer.as_socket().close_within(Some(linger)).await;
        if goes_on {
            pause = Some(match begun.elapsed() {
                lived if lived > LONG => Duration::ZERO,
                // A server that takes connections and drops them is not to be asked all the time.
                _ => (pause.unwrap_or_default() * 2).clamp(PAUSE, LONG),
            });
            // The first one had the same options.
            next = dial(&shared).ok();
        }
    }
    let wakers = shared.state.lock().close();
    Shared::wake(wakers);
    shared.change.notify_waiters();
}

/// A connection that lives so long was a good one.
const LONG: Duration = Duration::from_secs(2);
/// The first pause before the next connection after one that was not.
const PAUSE: Duration = Duration::from_millis(20);

struct Connection<'a> {
    shared: &'a Shared,
    dealer: Dealer,
    monitor: Monitor,
    answers: Vec<Message>,
    /// When to begin.
    connect_at: Option<Instant>,
}

impl Connection<'_> {
    /// Runs until the connection is lost; whether another one is wanted.
    async fn run(&mut self) -> bool {
        loop {
            if self.connect_at.is_some_and(|at| at <= Instant::now()) {
                self.connect_at = None;
                if let Err(error) = self.dealer.connect(&self.shared.endpoint) {
                    self.shared.state.lock().link = Link::Down {
                        reason: error.to_string(),
                    };
                    return false;
                }
            }
            match self.next().await {
                Happened::Received(Ok(_)) => self.take(),
                Happened::Received(Err(_)) => return false,
                Happened::Event(event) => {
                    if let Some(goes_on) = self.note(event) {
                        return goes_on;
                    }
                }
                Happened::Work => {
                    if self.shared.is_abandoned() {
                        return false;
                    }
                }
                Happened::Alarm | Happened::Flushed => {}
            }
            self.look_at_the_clock();
        }
    }

    async fn next(&mut self) -> Happened {
        let alarm = self.shared.state.lock().alarm;
        let alarm = alarm.into_iter().chain(self.connect_at).min();
        let alarmed = async {
            match alarm {
                Some(alarm) => tokio::time::sleep_until(alarm).await,
                None => pending().await,
            }
        };
        let room = poll_fn(|cx| {
            let mut state = self.shared.state.lock();
            match state.has_waiting() {
                true => state.poll_flush(cx),
                false => Poll::Pending,
            }
        });
        tokio::select! {
            biased;
            received = self.dealer.recv_many(&mut self.answers, BATCH) => Happened::Received(received),
            event = self.monitor.recv() => Happened::Event(event),
            () = self.shared.work.notified() => Happened::Work,
            () = alarmed => Happened::Alarm,
            () = room => Happened::Flushed,
        }
    }

    /// Hands the answers to their calls.
    fn take(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        let mut wakers = Vec::with_capacity(self.answers.len());
        for message in self.answers.drain(..) {
            let header = message.get(0).and_then(|first| first.first_chunk()).copied();
            let envelope = match Envelope::decode(message) {
                Ok(envelope) => envelope,
                Err(error) => {
                    // What says of no call that it is its answer concerns nobody.
                    let header = header.and_then(|bytes: [u8; Header::LEN]| Header::decode(&bytes).ok());
                    let malformed = CallError::Malformed(error);
                    wakers.extend(header.and_then(|header| state.calls.fail(header.call, malformed)));
                    continue;
                }
            };
            if envelope.header.kind == Kind::Draining {
                state.link = Link::Draining;
            } else {
                wakers.extend(state.calls.answer(now, envelope));
            }
        }
        drop(state);
        Shared::wake(wakers);
        self.shared.change.notify_waiters();
    }

    /// Takes note of an event; when the connection is lost, whether another one is wanted.
    fn note(&mut self, event: Option<Event>) -> Option<bool> {
        match event? {
            Event::Ready { peer } => {
                let mut state = self.shared.state.lock();
                state.link = Link::Up {
                    dealer: self.dealer.clone(),
                    max_request: property::max_request(&peer).unwrap_or(usize::MAX),
                };
                drop(state);
                self.shared.change.notify_waiters();
                None
            }
            Event::Disconnected { reason, .. } => {
                // What came before it counts.
                while self.dealer.as_socket().try_recv().is_ok_and(|message| {
                    self.answers.push(message);
                    true
                }) {}
                self.take();
                let mut state = self.shared.state.lock();
                let wakers = state.lose(&self.shared.endpoint, &reason);
                state.link = Link::Down { reason };
                drop(state);
                Shared::wake(wakers);
                self.shared.change.notify_waiters();
                Some(!self.shared.is_abandoned())
            }
            Event::ConnectFailed { error, .. } | Event::HandshakeFailed { error, .. } => {
                let mut state = self.shared.state.lock();
                state.link = Link::Down {
                    reason: error.clone(),
                };
                let wakers = match self.shared.options.wait_for_connection {
                    true => Vec::new(),
                    false => state.calls.fail_all(|_| {
                        Some(CallError::Unconnected {
                            endpoint: self.shared.endpoint.to_string(),
                            reason: error.clone(),
                        })
                    }),
                };
                drop(state);
                Shared::wake(wakers);
                self.shared.change.notify_waiters();
                None
            }
            _ => None,
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        let unconnected = state.unconnected().map(str::to_owned);
        let (cancelled, wakers) = state.calls.expire(now, unconnected.as_deref());
        state.alarm = state.calls.poll_timeout().map(|next| next.max(now + GRAIN));
        drop(state);
        Shared::wake(wakers);
        for call in cancelled {
            self.shared.send(&Envelope::cancel(call));
        }
    }
}
