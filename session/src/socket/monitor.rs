//! What happens to a socket's connections, as it happens.

use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_transport::Endpoint;
use flexbond_transport::pipe::{PipeReceiver, PipeSender, pipe};
use futures_core::Stream;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::limit::{LimitCounters, LimitMeter};
use super::pace::Pace;
use super::{HandshakeFailure, Limit, LimitAction, Peer};

/// Something that happened to one of a socket's connections. Its `Display` is one line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The socket listens here.
    Listening {
        /// The endpoint as bound.
        endpoint: Endpoint,
    },
    /// The socket no longer listens here.
    Unbound {
        /// The endpoint that was bound.
        endpoint: Endpoint,
    },
    /// A connection came in; its handshake begins.
    Accepted {
        /// Where it was accepted.
        endpoint: Endpoint,
        /// Where it came from.
        from: Endpoint,
    },
    /// A connection could not be accepted. The socket goes on listening.
    AcceptFailed {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        error: String,
    },
    /// A connection was made; its handshake begins.
    Connected {
        /// The endpoint connected to.
        endpoint: Endpoint,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// The endpoint connected to.
        endpoint: Endpoint,
        /// Why.
        error: String,
        /// When it will be tried again; `None`: never.
        retry_in: Option<Duration>,
    },
    /// The handshake is complete: messages flow.
    Ready {
        /// With whom.
        peer: Peer,
    },
    /// The handshake failed or took too long; the connection is closed.
    HandshakeFailed {
        /// The other end.
        endpoint: Endpoint,
        /// Why, in words.
        error: String,
        /// Why, for programs.
        failure: HandshakeFailure,
        /// When it will be tried again; `None`: never, or by the other end.
        retry_in: Option<Duration>,
    },
    /// A connection that was ready ended.
    Disconnected {
        /// With whom.
        peer: Peer,
        /// Why.
        reason: String,
        /// When it will be made again; `None`: never, or by the other end.
        retry_in: Option<Duration>,
    },
    /// Messages for one peer were dropped because it is slow. Reported at the first and then at each doubling.
    Dropped {
        /// Who missed them.
        peer: Peer,
        /// How many so far.
        total: u64,
    },
    /// A peer met a limit. What follows on it (a refusal, the end of a connection, dropped messages) is told by an event of
    /// its own, after this one. That bytes wait ([`LimitAction::Paused`], [`LimitAction::Full`]) is reported of each peer
    /// and limit at the first time and then at each doubling.
    ///
    /// Of each limit, 64 are told at once, and ten each second: who goes over one again and again does not fill the
    /// monitor. Refusals ([`LimitAction::Refused`]) that are not told have no [`AcceptFailed`](Self::AcceptFailed) either.
    /// [`Stats::limits`](super::Stats::limits) counts all.
    LimitReached {
        /// Which one.
        limit: Limit,
        /// The remote address of an accepted connection; the endpoint connected to otherwise.
        endpoint: Endpoint,
        /// Who; `None` before the handshake is complete.
        peer: Option<Peer>,
        /// What happened to it.
        action: LimitAction,
        /// How often this limit was met, by anybody, since the event before of the same limit, and not told.
        untold: u64,
    },
    /// This watcher was too slow: so many events were dropped before this one.
    Missed(u64),
    /// The socket is closed; no event follows.
    Closed,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut OneLine(f))
    }
}

/// Writes control characters, and those that turn the order of letters around, as escapes: reasons and socket types are
/// what peers say they are.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let steers = |character: char| {
            character.is_control()
                || matches!(
                    character,
                    '\u{61c}'
                        | '\u{200e}'
                        | '\u{200f}'
                        | '\u{2028}'..='\u{202e}'
                        | '\u{2066}'..='\u{2069}'
                )
        };
        let mut rest = text;
        while let Some(at) = rest.find(steers) {
            let (plain, next) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = next.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

impl Event {
    fn write(&self, f: &mut OneLine<'_, '_>) -> fmt::Result {
        let retry = |f: &mut OneLine<'_, '_>, pause: &Option<Duration>| match pause {
            Some(pause) => write!(f, "; next attempt in {pause:.0?}"),
            None => Ok(()),
        };
        match self {
            Event::Listening { endpoint } => write!(f, "listening on {endpoint}"),
            Event::Unbound { endpoint } => write!(f, "no longer listening on {endpoint}"),
            Event::Accepted { endpoint, from } => write!(f, "accepted {from} on {endpoint}"),
            Event::AcceptFailed { endpoint, error } => write!(f, "cannot accept on {endpoint}: {error}"),
            Event::Connected { endpoint } => write!(f, "connected to {endpoint}"),
            Event::ConnectFailed {
                endpoint,
                error,
                retry_in,
            } => {
                write!(f, "no connection to {endpoint}: {error}")?;
                retry(f, retry_in)
            }
            Event::Ready { peer } => write!(f, "ready: {peer}"),
            Event::HandshakeFailed {
                endpoint,
                error,
                retry_in,
                ..
            } => {
                write!(f, "handshake with {endpoint} failed: {error}")?;
                retry(f, retry_in)
            }
            Event::Disconnected {
                peer,
                reason,
                retry_in,
            } => {
                write!(f, "disconnected: {peer}: {reason}")?;
                retry(f, retry_in)
            }
            Event::Dropped { peer, total } => write!(f, "too slow: {peer}: {total} messages dropped so far"),
            Event::LimitReached {
                limit,
                endpoint,
                peer,
                action,
                untold,
            } => {
                match peer {
                    Some(peer) => write!(f, "limit {limit} reached: {peer}: {action}")?,
                    None => write!(f, "limit {limit} reached: {endpoint}: {action}")?,
                }
                match untold {
                    0 => Ok(()),
                    _ => write!(f, " (and {untold} times before that were not told)"),
                }
            }
            Event::Missed(count) => write!(f, "{count} events missed"),
            Event::Closed => f.write_str("closed"),
        }
    }
}

/// How many events wait for a slow watcher before the oldest are dropped.
const CAPACITY: usize = 1024;

/// A stream of a socket's [`Event`]s, from the moment it was made until [`Event::Closed`].
///
/// A watcher that falls behind by more than 1024 events loses the oldest and is told by [`Event::Missed`].
#[derive(Debug)]
pub struct Monitor {
    rx: PipeReceiver<Event>,
}

impl Monitor {
    /// Waits for the next event; `None` once the socket is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let _ = self.rx.fill(None);
        self.rx.pop()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.rx.poll_fill(cx).map(|_| self.rx.pop())
    }
}

impl Stream for Monitor {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_recv(cx)
    }
}

/// All watchers of one socket.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    list: Mutex<Vec<Watcher>>,
    closed: AtomicBool,
    limits: Arc<LimitCounters>,
    /// How often each is told of.
    paces: Mutex<[Pace; Limit::ALL.len()]>,
}

#[derive(Debug)]
struct Watcher {
    tx: PipeSender<Event>,
    missed: u64,
}

impl Watchers {
    pub(crate) fn add(&self) -> Monitor {
        let (tx, rx) = pipe(CAPACITY);
        let mut list = self.list.lock();
        // A watcher of a closed socket sees the end at once.
        if !self.closed.load(Ordering::Acquire) {
            list.push(Watcher { tx, missed: 0 });
        }
        drop(list);
        Monitor { rx }
    }

    pub(crate) fn emit(&self, event: &Event) {
        tracing::debug!(target: "flexbond::socket", "{event}");
        self.list.lock().retain_mut(|watcher| watcher.tell(event.clone()));
    }

    /// Counts that somebody met a limit before the handshake was complete, and tells; whether it did.
    pub(crate) fn limit(&self, limit: Limit, action: LimitAction, endpoint: &Endpoint) -> bool {
        let untold = self.count(limit, false);
        if let Some(untold) = untold {
            self.emit(&Event::LimitReached {
                limit,
                endpoint: endpoint.clone(),
                peer: None,
                action,
                untold,
            });
        }
        untold.is_some()
    }

    /// As [`limit`](Self::limit), of a peer; unless `quietly`, for it has been told of often enough.
    pub(crate) fn peer_limit(&self, limit: Limit, action: LimitAction, peer: Peer, quietly: bool) -> bool {
        let untold = self.count(limit, quietly);
        if let Some(untold) = untold {
            self.emit(&Event::LimitReached {
                limit,
                endpoint: peer.endpoint().clone(),
                peer: Some(peer),
                action,
                untold,
            });
        }
        untold.is_some()
    }

    /// Counts that a limit was met. If that is to be told: how often it was not, before.
    fn count(&self, limit: Limit, quietly: bool) -> Option<u64> {
        self.limits.count(limit);
        self.paces.lock()[limit as usize].tell(Instant::now(), quietly)
    }

    /// How often each limit was met.
    pub(crate) fn limits(&self) -> LimitMeter {
        LimitMeter(Arc::clone(&self.limits))
    }

    /// Ends every watcher's stream.
    pub(crate) fn close(&self) {
        let mut list = self.list.lock();
        if !self.closed.swap(true, Ordering::AcqRel) {
            for watcher in &mut *list {
                let _ = watcher.tell(Event::Closed);
            }
        }
        list.clear();
    }
}

impl Watcher {
    /// False when nobody watches any more.
    fn tell(&mut self, event: Event) -> bool {
        if self.missed > 0
            && self.tx.room() >= 2
            && self.tx.try_push(Event::Missed(self.missed), None).is_ok()
        {
            self.missed = 0;
        }
        match self.tx.push_evicting(event) {
            Ok(evicted) => self.missed += u64::from(evicted.is_some()),
            Err(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(n: usize) -> Event {
        Event::Listening {
            endpoint: format!("inproc://{n}").parse().unwrap(),
        }
    }

    #[test]
    fn what_peers_say_stays_on_one_line_and_steers_no_terminal() {
        let event = Event::HandshakeFailed {
            endpoint: "inproc://x".parse().expect("an endpoint"),
            error: "no\r\nflexbond: all is well \x1b[2J\u{9b}\u{202e} ü".to_owned(),
            failure: HandshakeFailure::Other,
            retry_in: None,
        };
        let expected =
            "handshake with inproc://x failed: no\\r\\nflexbond: all is well \\u{1b}[2J\\u{9b}\\u{202e} ü";
        assert_eq!(event.to_string(), expected);
    }

    #[test]
    fn a_slow_watcher_learns_how_many_events_it_missed() {
        let watchers = Watchers::default();
        let mut monitor = watchers.add();
        for n in 0..CAPACITY + 5 {
            watchers.emit(&listening(n));
        }
        assert_eq!(monitor.try_recv().unwrap().to_string(), "listening on inproc://5");
        for _ in 1..CAPACITY {
            monitor.try_recv().unwrap();
        }
        watchers.emit(&listening(0));
        assert!(matches!(monitor.try_recv(), Some(Event::Missed(5))));
        watchers.close();
        assert!(matches!(monitor.try_recv(), Some(Event::Listening { .. })));
        assert!(matches!(monitor.try_recv(), Some(Event::Closed)));
        assert!(monitor.try_recv().is_none());
    }
}
