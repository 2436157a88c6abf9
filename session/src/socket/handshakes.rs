//! The connections of a bound endpoint that are in their handshake, and which of them goes when there are too many.
//!
//! Whoever can connect can be silent, and costs a place until the handshake's time is up. Places for all who come there
//! cannot be, so a full house makes room for a newcomer: the connection goes whose peer has said least, and of those the
//! oldest. Somebody who does not know a CURVE server's key can so keep out nobody who does, unless faster than the
//! other's few packets need; who waits for the application's judgement never has to go. So it is, too, when the process has
//! no file descriptor left for a newcomer.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Limit;

/// How far a handshake got. The less, the sooner it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// The peer has sent no command that its mechanism took.
    Silent,
    /// It has. Under CURVE, it knows the server's key.
    Talking,
    /// It stays: the application is asked about it, or it is in this process.
    Kept,
}

/// The handshakes under way on one endpoint.
#[derive(Debug)]
pub(crate) struct Handshakes {
    limit: usize,
    /// One permit for each connection that the socket may have, and one for each that the endpoint may.
    socket: Arc<Semaphore>,
    endpoint: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    /// First those that go first.
    entries: BTreeMap<(Progress, u64), Entry>,
}

#[derive(Debug)]
struct Entry {
    displaced: oneshot::Sender<Full>,
    admission: Admission,
}

/// What lets the socket have a connection.
#[derive(Debug)]
pub(crate) struct Admission {
    _socket: OwnedSemaphorePermit,
    _endpoint: OwnedSemaphorePermit,
}

/// Why there is no place: what there are too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Handshakes,
    Socket,
    Endpoint,
    /// The process has no descriptor for one more.
    Descriptors,
}

impl Full {
    /// The limit that was met.
    pub(crate) fn limit(self) -> Limit {
        match self {
            Full::Handshakes | Full::Descriptors => Limit::Handshakes,
            Full::Socket => Limit::Peers,
            Full::Endpoint => Limit::EndpointPeers,
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Descriptors => f.write_str("the process has no file descriptor left"),
            full => full.limit().fmt(f),
        }
    }
}

/// One connection's place, until its handshake is over.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    key: (Progress, u64),
    displaced: oneshot::Receiver<Full>,
}

impl Handshakes {
    /// At most `limit` handshakes on an endpoint that may have as many connections as `endpoint` says, of a socket that
    /// may have as many as `socket` has permits.
    pub(crate) fn new(limit: usize, endpoint: usize, socket: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Handshakes {
            limit,
            socket,
            endpoint: Arc::new(Semaphore::new(endpoint.min(Semaphore::MAX_PERMITS))),
            table: Mutex::default(),
        })
    }

    /// A place for one more connection; another's, if there is no free one.
    pub(crate) fn enter(self: &Arc<Self>, progress: Progress) -> Result<Place, Full> {
        let mut table = self.table.lock();
        let free = match table.entries.len() >= self.limit {
            true => Err(Full::Handshakes),
            false => self.admission(),
        };
        let admission = match free {
            Ok(admission) => admission,
            Err(full) => table.displace(full).ok_or(full)?,
        };
        table.last += 1;
        let key = (progress, table.last);
        let (sender, displaced) = oneshot::channel();
        table.entries.insert(
            key,
            Entry {
                displaced: sender,
                admission,
            },
        );
        Ok(Place {
            handshakes: Arc::clone(self),
            key,
            displaced,
        })
    }

    /// Makes room for a connection that the system cannot give yet; whether anybody could go.
    pub(crate) fn make_room(&self) -> bool {
        self.table.lock().displace(Full::Descriptors).is_some()
    }

    fn admission(&self) -> Result<Admission, Full> {
        let permit = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).try_acquire_owned();
        Ok(Admission {
            _endpoint: permit(&self.endpoint).map_err(|_| Full::Endpoint)?,
            _socket: permit(&self.socket).map_err(|_| Full::Socket)?,
        })
    }
}

impl Table {
    /// Takes the place of the one that goes first, for there are too many of something.
    fn displace(&mut self, full: Full) -> Option<Admission> {
        let first = self.entries.first_entry()?;
        if first.key().0 == Progress::Kept {
            return None;
        }
        let Entry { displaced, admission } = first.remove();
        // Its task is over by itself if it does not hear.
        let _ = displaced.send(full);
        Some(admission)
    }
}

impl Place {
    /// Takes note how far the handshake got.
    pub(crate) fn reached(&mut self, progress: Progress) {
        if self.key.0 == progress {
            return;
        }
        let mut table = self.handshakes.table.lock();
        if let Some(entry) = table.entries.remove(&self.key) {
            self.key.0 = progress;
            table.entries.insert(self.key, entry);
        }
    }

    /// Ready once the connection had to make room, with what there were too many of.
    pub(crate) fn poll_displaced(&mut self, cx: &mut Context<'_>) -> Poll<Full> {
        let displaced = Pin::new(&mut self.displaced).poll(cx);
        // Who is asked again has been told.
        displaced.map(|full| full.unwrap_or(Full::Handshakes))
    }

    /// The handshake is over; what lets the socket have the connection. An error when it had to make room just now.
    pub(crate) fn leave(mut self) -> Result<Admission, Full> {
        let entry = self.handshakes.table.lock().entries.remove(&self.key);
        match entry {
            Some(entry) => Ok(entry.admission),
            None => Err(self.displaced.try_recv().unwrap_or(Full::Handshakes)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.table.lock().entries.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_displaced(place: &mut Place) -> bool {
        place
            .poll_displaced(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn places<const N: usize>(handshakes: &Arc<Handshakes>) -> [Place; N] {
        std::array::from_fn(|_| handshakes.enter(Progress::Silent).expect("there is room"))
    }

    #[test]
    fn whoever_said_least_goes_first_and_then_the_oldest() {
        let handshakes = Handshakes::new(3, 9, Arc::new(Semaphore::new(9)));
        let [mut first, mut second, mut third] = places(&handshakes);
        first.reached(Progress::Talking);
        let mut fourth = handshakes.enter(Progress::Silent).expect("the second goes");
        assert_eq!(
            [&mut first, &mut second, &mut third].map(is_displaced),
            [false, true, false]
        );
        third.reached(Progress::Kept);
        fourth.reached(Progress::Talking);
        let mut fifth = handshakes.enter(Progress::Silent).expect("the first goes");
        assert_eq!(
            [&mut first, &mut third, &mut fourth].map(is_displaced),
            [true, false, false]
        );
        fourth.reached(Progress::Kept);
        fifth.reached(Progress::Kept);
        assert_eq!(handshakes.enter(Progress::Silent).err(), Some(Full::Handshakes));
        third.reached(Progress::Talking);
        assert!(handshakes.enter(Progress::Silent).is_ok());
        assert!(is_displaced(&mut third));
        assert_eq!(second.leave().err(), Some(Full::Handshakes));
    }

    #[test]
    fn who_said_least_gives_its_descriptor_and_who_stays_does_not() {
        let handshakes = Handshakes::new(9, 9, Arc::new(Semaphore::new(9)));
        let [mut first, mut second, mut third] = places(&handshakes);
        first.reached(Progress::Kept);
        second.reached(Progress::Talking);
        assert!(handshakes.make_room());
        assert_eq!(third.displaced.try_recv(), Ok(Full::Descriptors));
        assert!(handshakes.make_room(), "who talks goes next");
        assert!(!handshakes.make_room() && !is_displaced(&mut first));
        assert_eq!(second.leave().err(), Some(Full::Descriptors));
    }

    #[test]
    fn a_socket_full_of_silence_has_room_too_and_one_full_of_peers_has_none() {
        full_of_silence(2, 9, Full::Socket);
        full_of_silence(9, 2, Full::Endpoint);
    }

    fn full_of_silence(socket: usize, endpoint: usize, expected: Full) {
        let admissions = Arc::new(Semaphore::new(socket));
        let handshakes = Handshakes::new(9, endpoint, Arc::clone(&admissions));
        let [first, mut second] = places(&handshakes);
        let peer = first.leave();
        assert!(peer.is_ok());
        let third = handshakes.enter(Progress::Silent).expect("the second goes");
        assert_eq!(second.displaced.try_recv(), Ok(expected));
        let other = third.leave();
        assert!(other.is_ok());
        assert_eq!(handshakes.enter(Progress::Silent).err(), Some(expected));
        drop((peer, other, second));
        assert_eq!(admissions.available_permits(), socket);
        drop(handshakes.enter(Progress::Silent));
        assert_eq!(
            admissions.available_permits(),
            socket,
            "who leaves before the end leaves nothing"
        );
    }
}
