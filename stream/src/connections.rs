//! Who is connected to a stream, and what to do when nobody is.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use flexbond_session::socket::Event;

use crate::Stream;
use crate::alarm::{Alarm, now};
use crate::link::{Change, Changes};

/// Counts the clients of a stream and notices when there has been none for a while. No I/O, no clock.
///
/// Clients are known by name ([`Peer::id`](flexbond_session::socket::Peer::id)), so that the count can neither be
/// negative nor drift, whatever is reported twice, or not at all.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::{ConnectionEvent, ConnectionMonitor};
///
/// let start = Instant::now();
/// let mut monitor = ConnectionMonitor::new(start, Duration::from_secs(5));
/// assert_eq!(monitor.handle_ready(start, 1), Some(ConnectionEvent::Joined { clients: 1 }));
/// assert_eq!(monitor.handle_lost(start, 1), Some(ConnectionEvent::Left { clients: 0 }));
/// assert_eq!(monitor.handle_lost(start, 1), None);
/// let end = monitor.poll_timeout().unwrap();
/// assert_eq!(end - start, Duration::from_secs(5));
/// assert!(matches!(monitor.handle_timeout(end), Some(ConnectionEvent::Abandoned { .. })));
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionMonitor {
    limit: Duration,
    /// At most as many as the socket accepts.
    clients: HashSet<u64>,
    /// Since when there is none.
    alone_since: Option<Instant>,
    abandoned: bool,
}

/// What happened to the clients of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// A client is there: its handshake is complete.
    Joined {
        /// How many are there now.
        clients: usize,
    },
    /// A client is gone.
    Left {
        /// How many are there now.
        clients: usize,
    },
    /// Nobody has been there for as long as was asked. Told once; again only after somebody was there.
    Abandoned {
        /// For how long there has been nobody.
        alone: Duration,
    },
    /// The watcher was too slow and missed something: [`ConnectionWatch::resync`] puts the count right.
    Missed,
}

impl ConnectionMonitor {
    /// Nobody is there, from `now` on; that may last for `limit`.
    #[must_use]
    pub fn new(now: Instant, limit: Duration) -> Self {
        ConnectionMonitor {
            limit,
            clients: HashSet::new(),
            alone_since: Some(now),
            abandoned: false,
        }
    }

    /// Notes what a socket reports. Events that are not about clients change nothing.
    pub fn handle_event(&mut self, now: Instant, event: &Event) -> Option<ConnectionEvent> {
        match event {
            Event::Ready { peer } => self.handle_ready(now, peer.id()),
            Event::Disconnected { peer, .. } => self.handle_lost(now, peer.id()),
            Event::Missed(_) => Some(ConnectionEvent::Missed),
            _ => None,
        }
    }

    /// Notes that a client is there.
    pub fn handle_ready(&mut self, _now: Instant, client: u64) -> Option<ConnectionEvent> {
        let is_new = self.clients.insert(client);
        self.alone_since = None;
        self.abandoned = false;
        let clients = self.clients.len();
        is_new.then_some(ConnectionEvent::Joined { clients })
    }

    /// Notes that a client is gone.
    pub fn handle_lost(&mut self, now: Instant, client: u64) -> Option<ConnectionEvent> {
        let was_there = self.clients.remove(&client);
        if self.clients.is_empty() {
            self.alone_since.get_or_insert(now);
        }
        let clients = self.clients.len();
        was_there.then_some(ConnectionEvent::Left { clients })
    }

    /// Replaces all that is known of who is there.
    pub fn handle_clients(&mut self, now: Instant, clients: impl IntoIterator<Item = u64>) {
        self.clients = clients.into_iter().collect();
        if self.clients.is_empty() {
            self.alone_since.get_or_insert(now);
        } else {
            self.alone_since = None;
            self.abandoned = false;
        }
    }

    /// Notes that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ConnectionEvent> {
        if self.poll_timeout().is_none_or(|end| now < end) {
            return None;
        }
        self.abandoned = true;
        let alone = now.saturating_duration_since(self.alone_since?);
        Some(ConnectionEvent::Abandoned { alone })
    }

    /// When there will have been nobody for long enough.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.alone_since
            .filter(|_| !self.abandoned)
            .and_then(|since| since.checked_add(self.limit))
    }

    /// How many clients are there.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }
}

/// Watches the clients of a [`Stream`]. It goes on until the stream is disconnected, and does not keep it alive.
///
#[cfg_attr(feature = "inproc", doc = "```")]
#[cfg_attr(not(feature = "inproc"), doc = "```no_run")]
/// use std::time::Duration;
/// use flexbond_stream::{Attach, ConnectOptions, ConnectionEvent, ConnectionWatch, Mode, Stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
/// let stream = Stream::connect("inproc://watched", options).await?;
/// let mut watch = ConnectionWatch::new(&stream, Duration::from_millis(250));
/// let _client = Stream::connect("inproc://watched", ConnectOptions::new()).await?;
/// assert_eq!(watch.next().await, Some(ConnectionEvent::Joined { clients: 1 }));
/// drop(_client);
/// while let Some(event) = watch.next().await {
///     if let ConnectionEvent::Abandoned { alone } = event {
///         println!("nobody for {alone:?}: stop");
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ConnectionWatch {
    changes: Changes,
    monitor: ConnectionMonitor,
    alarm: Alarm,
    closed: bool,
}

impl ConnectionWatch {
    /// Watches from now on, beginning with the clients that are there. When there is none for `limit`,
    /// [`next`](Self::next) says so.
    #[must_use]
    pub fn new(stream: &Stream, limit: Duration) -> Self {
        let mut watch = ConnectionWatch {
            // In this order: who comes in between is seen twice, which does no harm.
            changes: stream.link().changes(),
            monitor: ConnectionMonitor::new(now(), limit),
            alarm: Alarm::default(),
            closed: false,
        };
        watch.resync(stream);
        watch
    }

    /// Counts anew who is there.
    pub fn resync(&mut self, stream: &Stream) {
        self.monitor.handle_clients(now(), stream.link().clients());
    }

    /// Waits until something happens to the clients; `None` once the stream is disconnected.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        let ConnectionWatch {
            changes,
            monitor,
            alarm,
            closed,
        } = self;
        loop {
            if *closed {
                return None;
            }
            let mut change = pin!(changes.next());
            let change = poll_fn(|cx| {
                loop {
                    if let Poll::Ready(change) = change.as_mut().poll(cx) {
                        return Poll::Ready(Ok(change));
                    }
                    if let Some(event) = monitor.handle_timeout(now()) {
                        return Poll::Ready(Err(event));
                    }
                    if alarm.poll(cx, monitor.poll_timeout()).is_pending() {
                        return Poll::Pending;
                    }
                }
            });
            let event = match change.await {
                Ok(Change::Ready(client)) => monitor.handle_ready(now(), client),
                Ok(Change::Lost(client)) => monitor.handle_lost(now(), client),
                Ok(Change::Missed) => Some(ConnectionEvent::Missed),
                Ok(Change::Closed) => {
                    *closed = true;
                    None
                }
                Err(event) => Some(event),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// How many clients are there, as far as events were taken.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.monitor.clients()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn nobody_from_the_beginning() {
        let start = Instant::now();
        let mut monitor = ConnectionMonitor::new(start, LIMIT);
        assert_eq!(monitor.handle_timeout(start + LIMIT / 2), None);
        assert_eq!(
            monitor.handle_timeout(start + LIMIT),
            Some(ConnectionEvent::Abandoned { alone: LIMIT })
        );
        assert_eq!(monitor.handle_timeout(start + 5 * LIMIT), None, "told once");
        assert_eq!(monitor.poll_timeout(), None);
    }

    #[test]
    fn somebody_comes_in_time() {
        let start = Instant::now();
        let mut monitor = ConnectionMonitor::new(start, LIMIT);
        monitor.handle_ready(start + LIMIT / 2, 7);
        assert_eq!(monitor.handle_timeout(start + 2 * LIMIT), None);
        monitor.handle_ready(start + 2 * LIMIT, 8);
        monitor.handle_lost(start + 3 * LIMIT, 7);
        assert_eq!((monitor.clients(), monitor.poll_timeout()), (1, None));
        monitor.handle_lost(start + 4 * LIMIT, 8);
        assert_eq!(monitor.poll_timeout(), Some(start + 5 * LIMIT));
        assert!(monitor.handle_timeout(start + 5 * LIMIT).is_some());
        monitor.handle_ready(start + 6 * LIMIT, 9);
        monitor.handle_lost(start + 6 * LIMIT, 9);
        assert!(monitor.handle_timeout(start + 7 * LIMIT).is_some(), "told again");
    }

    #[test]
    fn a_count_can_be_put_right() {
        let start = Instant::now();
        let mut monitor = ConnectionMonitor::new(start, LIMIT);
        monitor.handle_ready(start, 1);
        monitor.handle_clients(start + LIMIT, []);
        assert_eq!(monitor.poll_timeout(), Some(start + 2 * LIMIT));
        monitor.handle_clients(start + LIMIT, [1, 2]);
        assert_eq!((monitor.clients(), monitor.poll_timeout()), (2, None));
    }

    proptest! {
        /// Whatever is reported twice or out of order, the count is that of a set, and the time alone is exact.
        #[test]
        fn fault_10_the_count_never_goes_wrong(
            reports in prop::collection::vec((any::<bool>(), 0_u64..4, 0_u64..2_000), 0..200),
        ) {
            let mut now = Instant::now();
            let mut monitor = ConnectionMonitor::new(now, Duration::from_secs(1));
            let mut there = HashSet::new();
            let mut alone_since = Some(now);
            for (ready, client, pause) in reports {
                now += Duration::from_millis(pause);
                let expected = alone_since.take_if(|_| monitor.poll_timeout().is_some_and(|end| end <= now));
                let told = monitor.handle_timeout(now);
                prop_assert_eq!(told, expected.map(|since| ConnectionEvent::Abandoned { alone: now - since }));
                let had = there.len();
                if ready {
                    there.insert(client);
                    monitor.handle_ready(now, client);
                    alone_since = None;
                } else {
                    there.remove(&client);
                    monitor.handle_lost(now, client);
                    if had > 0 && there.is_empty() {
                        alone_since = Some(now);
                    }
                }
                prop_assert_eq!(monitor.clients(), there.len());
            }
        }
    }
}
