//! Proofs of an address that the coordinator need not keep.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flexbond_wire::group::{Cookie, Nonce};

/// Makes and checks cookies: what only somebody can show who receives what is sent to an address.
///
/// A cookie is a keyed hash (SipHash, with a key of this process) of the address, the joiner's nonce and the time in
/// steps of half a minute. It costs the coordinator no memory, until somebody was admitted with it and has gone: then the
/// nonce is remembered for as long as the cookie is good, so that a copy of the packet admits nobody.
#[derive(Debug)]
pub(super) struct Cookies {
    hasher: RandomState,
    began: Instant,
    /// Nonces whose cookies are good no more, and the step in which they came to be so.
    spent: VecDeque<(u64, Nonce)>,
    /// How often too many were to be remembered. A part of every cookie.
    era: u64,
}

impl Cookies {
    const STEP: Duration = Duration::from_secs(30);
    const MAX_SPENT: usize = 256;

    pub(super) fn new(now: Instant, hasher: RandomState) -> Self {
        Cookies {
            hasher,
            began: now,
            spent: VecDeque::new(),
            era: 0,
        }
    }

    pub(super) fn make(&self, now: Instant, address: SocketAddr, nonce: &Nonce) -> Cookie {
        self.at(self.step(now), address, nonce)
    }

    /// Whether the cookie was made for this address and nonce, in this step of time or the one before.
    pub(super) fn check(&self, now: Instant, address: SocketAddr, nonce: &Nonce, cookie: &Cookie) -> Proof {
        let step = self.step(now);
        let fits = [step, step.saturating_sub(1)]
            .into_iter()
            .any(|step| self.at(step, address, nonce) == *cookie);
        match fits {
            false => Proof::Missing,
            true if self.spent.iter().any(|(_, spent)| spent == nonce) => Proof::Spent,
            true => Proof::Good,
        }
    }

    /// No cookie for this nonce is good any more. When there are too many such nonces, no cookie at all is: who shows
    /// one is given another.
    pub(super) fn spend(&mut self, now: Instant, nonce: Nonce) {
        let step = self.step(now);
        while self.spent.front().is_some_and(|(spent, _)| spent + 1 < step) {
            self.spent.pop_front();
        }
        if self.spent.len() == Self::MAX_SPENT {
            self.spent.clear();
            self.era += 1;
        } else {
            self.spent.push_back((step, nonce));
        }
    }

    fn step(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / Self::STEP.as_secs()
    }

    fn at(&self, step: u64, address: SocketAddr, nonce: &Nonce) -> Cookie {
        let mut cookie = [0; 32];
        for (index, part) in cookie.chunks_exact_mut(8).enumerate() {
            let hash = self.hasher.hash_one((self.era, index, step, address, nonce));
            part.copy_from_slice(&hash.to_be_bytes());
        }
        cookie
    }
}

/// What a cookie proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing.
    Missing,
    /// Whose address it is, for a nonce with which nobody is admitted any more.
    Spent,
    /// Whose address it is.
    Good,
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
        assert_eq!(cookies.check(later(31), address, &[1; 16], &cookie), Proof::Good);
        assert_eq!(
            cookies.check(later(61), address, &[1; 16], &cookie),
            Proof::Missing
        );
        assert_eq!(cookies.check(now, other, &[1; 16], &cookie), Proof::Missing);
        assert_eq!(cookies.check(now, address, &[2; 16], &cookie), Proof::Missing);
        let another = Cookies::new(now, RandomState::new());
        assert_eq!(another.check(now, address, &[1; 16], &cookie), Proof::Missing);
    }

    #[test]
    fn a_cookie_that_was_spent_is_good_no_more_and_memory_for_that_is_bounded() {
        let now = Instant::now();
        let mut cookies = Cookies::new(now, RandomState::new());
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let nonce = |index: usize| {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&index.to_be_bytes());
            nonce
        };
        let (first, last) = (nonce(0), nonce(Cookies::MAX_SPENT));
        let cookie = cookies.make(now, address, &first);
        let later = now + Duration::from_secs(59);
        for index in 0..Cookies::MAX_SPENT {
            let made = cookies.make(now, address, &last);
            assert_eq!(cookies.check(now, address, &last, &made), Proof::Good);
            cookies.spend(now, nonce(index));
            assert_eq!(cookies.check(later, address, &first, &cookie), Proof::Spent);
        }
        let unspent = cookies.make(now, address, &last);
        cookies.spend(now, last);
        assert!(cookies.spent.is_empty());
        assert_eq!(cookies.check(later, address, &first, &cookie), Proof::Missing);
        assert_eq!(cookies.check(now, address, &last, &unspent), Proof::Missing);
        cookies.spend(now, first);
        cookies.spend(now + Duration::from_secs(60), last);
        assert_eq!(cookies.spent, [(2, last)]);
    }
}
