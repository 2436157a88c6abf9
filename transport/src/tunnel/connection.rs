//! A connection between two tunnels, and which of several is sent on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::counters::Slot;
use super::outlet::Outlet;

/// How long nothing is sent to an address after the first failure to connect to it.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// A connection to another tunnel.
pub(super) struct Connection {
    pub(super) id: u64,
    /// That of the peer.
    pub(super) address: SocketAddr,
    /// The number that the peer has drawn.
    pub(super) instance: u64,
    /// Whether it was this side that connected.
    pub(super) dialed: bool,
    pub(super) outlet: Arc<Outlet>,
    /// For how many ticks nothing has moved.
    pub(super) quiet: AtomicU8,
    /// Which of its halves have ended.
    ended: AtomicU8,
    pub(super) _slot: Slot,
}

/// One half of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Half {
    Receiving = 1,
    Sending = 2,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        address: SocketAddr,
        instance: u64,
        dialed: bool,
        outlet: Arc<Outlet>,
        slot: Slot,
    ) -> Arc<Self> {
        Arc::new(Connection {
            id,
            address,
            instance,
            dialed,
            outlet,
            quiet: AtomicU8::new(0),
            ended: AtomicU8::new(0),
            _slot: slot,
        })
    }

    /// Notes that a half has ended; whether both have.
    pub(super) fn end(&self, half: Half) -> bool {
        let both = Half::Receiving as u8 | Half::Sending as u8;
        self.ended.fetch_or(half as u8, Ordering::AcqRel) | half as u8 == both
    }
}

/// How an address is reached.
#[derive(Default)]
pub(super) struct Route {
    /// What is sent on now.
    pub(super) sending: Option<Arc<Connection>>,
    /// A connection that is being made.
    pub(super) opening: Option<Opening>,
    failures: u32,
    /// When to connect again at the earliest.
    retry_at: Option<Instant>,
}

/// A connection that is being made, and what waits for it.
pub(super) struct Opening {
    pub(super) outlet: Arc<Outlet>,
    pub(super) task: AbortHandle,
}

impl Route {
    /// Whether connecting has failed a moment ago.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// Whether there is nothing to be remembered.
    pub(super) fn is_unused(&self, now: Instant) -> bool {
        self.sending.is_none() && self.opening.is_none() && !self.is_resting(now)
    }

    /// Connecting has failed again.
    pub(super) fn rest(&mut self, now: Instant, longest: Duration) {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = (self.failures + 1).min(31);
        self.retry_at = now.checked_add(FIRST_BACKOFF.saturating_mul(factor).min(longest));
    }

    /// Connecting has succeeded.
    pub(super) fn recover(&mut self) {
        (self.failures, self.retry_at) = (0, None);
    }

    /// There is a further connection to the address. Chooses which one to send on, and returns one that is to be finished:
    /// what waits there is still sent.
    ///
    /// Who was connected to listens at the address, for certain; of others, who came first is believed. So nobody takes
    /// from another what is sent to it, and all are heard.
    ///
    /// When two tunnels connect to each other at once, the one with the lower number finishes the connection that the
    /// other one has made. The other one sends there until it hears of that from the very peer that it has connected to,
    /// and then on the one that is left.
    pub(super) fn settle(&mut self, new: &Arc<Connection>, own: u64) -> Option<Arc<Connection>> {
        let Some(old) = self.sending.take().filter(|old| old.outlet.is_open()) else {
            self.sending = Some(Arc::clone(new));
            return None;
        };
        // A tunnel that sends to itself needs both ends of the connection.
        let at_once = old.instance == new.instance && old.dialed != new.dialed && new.instance != own;
        let (dialed, accepted) = if new.dialed { (new, &old) } else { (&old, new) };
        let finished = (at_once && own < dialed.instance).then(|| Arc::clone(accepted));
        let kept = if new.dialed && !old.dialed { new } else { &old };
        self.sending = Some(Arc::clone(kept));
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::counters::Quota;

    fn connection(id: u64, instance: u64, dialed: bool) -> Arc<Connection> {
        let slot = Quota::new(1).take().expect("room");
        let outlet = Arc::new(Outlet::opening(0));
        Connection::new(id, ([127, 0, 0, 1], 1).into(), instance, dialed, outlet, slot)
    }

    /// Which one is sent on, and which is finished, by the order in which they came.
    fn settle(own: u64, first: (u64, bool), second: (u64, bool)) -> (u64, Option<u64>) {
        let mut route = Route::default();
        assert!(route.settle(&connection(1, first.0, first.1), own).is_none());
        let finished = route.settle(&connection(2, second.0, second.1), own);
        (
            route.sending.expect("one of them").id,
            finished.map(|finished| finished.id),
        )
    }

    #[test]
    fn who_has_the_lower_number_finishes_what_the_other_has_made() {
        // Tunnels 3 and 8 have connected to each other; at each, either may be noticed first.
        assert_eq!(settle(3, (8, true), (8, false)), (1, Some(2)));
        assert_eq!(settle(3, (8, false), (8, true)), (2, Some(1)));
        assert_eq!(settle(8, (3, true), (3, false)), (1, None));
        assert_eq!(settle(8, (3, false), (3, true)), (2, None));
    }

    #[test]
    fn who_connects_again_waits_until_the_old_one_has_ended() {
        assert_eq!(settle(3, (8, false), (8, false)), (1, None));
    }

    #[test]
    fn nobody_takes_the_place_of_another() {
        assert_eq!(settle(3, (8, false), (9, false)), (1, None));
        assert_eq!(settle(3, (8, true), (9, false)), (1, None));
        assert_eq!(settle(3, (8, false), (9, true)), (2, None));
    }

    #[test]
    fn a_tunnel_may_send_to_itself() {
        assert_eq!(settle(3, (3, true), (3, false)), (1, None));
    }

    #[test]
    fn a_broken_one_is_replaced() {
        let mut route = Route::default();
        let first = connection(1, 8, true);
        assert!(route.settle(&first, 3).is_none());
        first.outlet.close();
        assert!(route.settle(&connection(2, 9, false), 3).is_none());
        assert_eq!(route.sending.expect("the new one").id, 2);
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let (mut route, start, longest) = (Route::default(), Instant::now(), Duration::from_secs(2));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            route.rest(start, longest);
            pauses.push((1..=2000).find(|&ms| !route.is_resting(start + Duration::from_millis(ms))));
        }
        assert_eq!(pauses[..4], [Some(20), Some(40), Some(80), Some(160)]);
        assert_eq!(pauses[39], Some(2000));
        route.recover();
        assert!(route.is_unused(start));
    }

    #[test]
    fn a_connection_is_over_when_both_halves_are() {
        let connection = connection(1, 8, true);
        assert!(!connection.end(Half::Sending));
        assert!(!connection.end(Half::Sending));
        assert!(connection.end(Half::Receiving));
    }
}
