//! How often those are told that they are members no more who go on as if they were.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often those are told that they are members no more who go on as if they were. Anybody can seem to be one of
/// them, from any address: so they share few places, each of which is told something now and then.
#[derive(Debug)]
pub(super) struct Reminders {
    hasher: RandomState,
    /// When something was last said to an address that belongs here.
    said: Vec<Option<Instant>>,
}

impl Reminders {
    const PLACES: usize = 64;
    /// How long nobody else of the same place is told anything.
    const PAUSE: Duration = Duration::from_millis(100);

    pub(super) fn new(hasher: RandomState) -> Self {
        Reminders {
            hasher,
            said: vec![None; Self::PLACES],
        }
    }

    /// Whether it is time to say something to this address.
    pub(super) fn take(&mut self, now: Instant, to: SocketAddr) -> bool {
        let place = self.hasher.hash_one(to) % Self::PLACES as u64;
        let said = &mut self.said[place as usize];
        let is_due = said.is_none_or(|said| now >= said + Self::PAUSE);
        if is_due {
            *said = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_again_after_a_while() {
        let (now, mut reminders) = (Instant::now(), Reminders::new(RandomState::new()));
        let address = SocketAddr::from(([192, 0, 2, 1], 7));
        assert!(reminders.take(now, address) && !reminders.take(now, address));
        assert!(!reminders.take(now + Reminders::PAUSE / 2, address));
        assert!(reminders.take(now + Reminders::PAUSE, address));
        let all = (0..10_000).map(|port| SocketAddr::from(([192, 0, 2, 2], port)));
        let told = all.filter(|address| reminders.take(now, *address)).count();
        assert!((1..Reminders::PLACES).contains(&told), "{told}");
    }
}
