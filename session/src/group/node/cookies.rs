//! Proofs of an address that the coordinator need not keep.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flexbond_wire::group::{Cookie, Nonce};

/// Makes and checks cookies: what only somebody can show who receives what is sent to an address.
///
/// A cookie is a keyed hash (SipHash, with a key of this process) of the address, the joiner's nonce and the time in
/// steps of half a minute. It costs the coordinator no memory.
#[derive(Debug)]
pub(super) struct Cookies {
    hasher: RandomState,
    began: Instant,
}

impl Cookies {
    const STEP: Duration = Duration::from_secs(30);

    pub(super) fn new(now: Instant, hasher: RandomState) -> Self {
        Cookies { hasher, began: now }
    }

    pub(super) fn make(&self, now: Instant, address: SocketAddr, nonce: &Nonce) -> Cookie {
        self.at(self.step(now), address, nonce)
    }

    /// Whether the cookie was made for this address and nonce, in this step of time or the one before.
    pub(super) fn check(&self, now: Instant, address: SocketAddr, nonce: &Nonce, cookie: &Cookie) -> bool {
        let step = self.step(now);
        [step, step.saturating_sub(1)]
            .into_iter()
            .any(|step| self.at(step, address, nonce) == *cookie)
    }

    fn step(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / Self::STEP.as_secs()
    }

    fn at(&self, step: u64, address: SocketAddr, nonce: &Nonce) -> Cookie {
        let mut cookie = [0; 32];
        for (index, part) in cookie.chunks_exact_mut(8).enumerate() {
            let hash = self.hasher.hash_one((index, step, address, nonce));
            part.copy_from_slice(&hash.to_be_bytes());
        }
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_address_nonce_and_time_only() {
        let now = Instant::now();
        let cookies = Cookies::new(now, RandomState::new());
        let (address, other) = (
            SocketAddr::from(([10, 0, 0, 1], 1)),
            SocketAddr::from(([10, 0, 0, 1], 2)),
        );
        let cookie = cookies.make(now, address, &[1; 16]);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(cookies.check(later(31), address, &[1; 16], &cookie));
        assert!(!cookies.check(later(61), address, &[1; 16], &cookie));
        assert!(!cookies.check(now, other, &[1; 16], &cookie));
        assert!(!cookies.check(now, address, &[2; 16], &cookie));
        assert!(!Cookies::new(now, RandomState::new()).check(now, address, &[1; 16], &cookie));
    }
}
