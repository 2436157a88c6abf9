//! Proofs of an address that the coordinator need not keep.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flexbond_wire::group::{Cookie, Nonce};

#[cfg(feature = "group-crypto")]
use super::Entropy;
use super::NodeSettings;

/// Makes and checks cookies: what only somebody can show who receives what is sent to an address.
///
/// A cookie is a keyed hash (SipHash, with a key of this process) of a secret, the address and the joiner's nonce. The
/// secret is another one every half a minute, and is good for as long again; with the feature `group-crypto` it is drawn
/// from the system's source, without it made of the one before. It costs the coordinator no memory, until
/// somebody was admitted with it and has gone: then the nonce is remembered for as long as the cookie is good, so that a
/// copy of the packet admits nobody.
#[derive(Debug)]
pub(super) struct Cookies {
    hasher: RandomState,
    #[cfg(feature = "group-crypto")]
    entropy: Entropy,
    began: Instant,
    /// The newest one, that of the step before, and which step the newest is of.
    secrets: [Secret; 2],
    step: u64,
    /// Nonces whose cookies are good no more, and the step in which they came to be so.
    spent: VecDeque<(u64, Nonce)>,
}

/// What changes in a cookie when time passes. Never shown.
#[derive(Clone, Copy, Default)]
struct Secret([u64; 4]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Cookies {
    const STEP: Duration = Duration::from_secs(30);
    const MAX_SPENT: usize = 256;

    #[cfg_attr(
        not(feature = "group-crypto"),
        expect(unused_variables, reason = "there is no source of secrets in it")
    )]
    pub(super) fn new(now: Instant, hasher: RandomState, settings: &NodeSettings) -> Self {
        let mut cookies = Cookies {
            hasher,
            #[cfg(feature = "group-crypto")]
            entropy: settings.entropy.clone(),
            began: now,
            secrets: [Secret::default(); 2],
            step: 0,
            spent: VecDeque::new(),
        };
        cookies.renew();
        cookies
    }

    pub(super) fn make(&mut self, now: Instant, address: SocketAddr, nonce: &Nonce) -> Cookie {
        self.rotate(now);
        self.with(self.secrets[0], address, nonce)
    }

    /// Whether the cookie was made for this address and nonce, in this step of time or the one before.
    pub(super) fn check(
        &mut self,
        now: Instant,
        address: SocketAddr,
        nonce: &Nonce,
        cookie: &Cookie,
    ) -> Proof {
        self.rotate(now);
        let [newest, before] = self
            .secrets
            .map(|secret| is_same(&self.with(secret, address, nonce), cookie));
        match newest | before {
            false => Proof::Missing,
            true if self.spent.iter().any(|(_, spent)| spent == nonce) => Proof::Spent,
            true => Proof::Good,
        }
    }

    /// No cookie for this nonce is good any more. When there are too many such nonces, no cookie at all is: who shows
    /// one is given another.
    pub(super) fn spend(&mut self, now: Instant, nonce: Nonce) {
        self.rotate(now);
        if self.spent.len() == Self::MAX_SPENT {
            self.renew();
        } else {
            self.spent.push_back((self.step, nonce));
        }
    }

    /// Goes on to the secret of this time.
    fn rotate(&mut self, now: Instant) {
        let step = now.saturating_duration_since(self.began).as_secs() / Self::STEP.as_secs();
        let passed = step.saturating_sub(self.step);
        if passed == 0 {
            return;
        }
        self.step = step;
        match passed {
            1 => self.secrets = [self.draw(), self.secrets[0]],
            _ => self.renew(),
        }
        self.spent.retain(|(spent, _)| spent + 1 >= step);
    }

    /// Makes all cookies worthless, so that those that were spent need not be remembered.
    fn renew(&mut self) {
        self.secrets[0] = self.draw();
        self.secrets[1] = self.draw();
        self.spent.clear();
    }

    fn draw(&self) -> Secret {
        #[cfg(feature = "group-crypto")]
        let fresh: [u8; 32] = self.entropy.draw();
        #[cfg(not(feature = "group-crypto"))]
        let fresh = ();
        let [newest, _] = self.secrets;
        Secret(std::array::from_fn(|index| {
            self.hasher
                .hash_one(("secret", index, self.step, newest.0, fresh))
        }))
    }

    fn with(&self, secret: Secret, address: SocketAddr, nonce: &Nonce) -> Cookie {
        let mut cookie = [0; 32];
        for (index, part) in cookie.chunks_exact_mut(8).enumerate() {
            let hash = self.hasher.hash_one((secret.0, index, address, nonce));
            part.copy_from_slice(&hash.to_be_bytes());
        }
        cookie
    }
}

/// Takes the same time wherever they differ: how far a guess was right is nobody's business.
fn is_same(one: &Cookie, other: &Cookie) -> bool {
    let pairs = one.iter().zip(other);
    std::hint::black_box(pairs.fold(0, |differs, (one, other)| differs | (one ^ other))) == 0
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
    use crate::group::node::tests::settings;

    #[test]
    fn a_cookie_is_good_for_its_address_nonce_and_time_only() {
        let now = Instant::now();
        let mut cookies = Cookies::new(now, RandomState::new(), &settings(false));
        let (address, other) = (
            SocketAddr::from(([10, 0, 0, 1], 1)),
            SocketAddr::from(([10, 0, 0, 1], 2)),
        );
        let cookie = cookies.make(now, address, &[1; 16]);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cookies.check(now, other, &[1; 16], &cookie), Proof::Missing);
        assert_eq!(cookies.check(now, address, &[2; 16], &cookie), Proof::Missing);
        let mut another = Cookies::new(now, RandomState::new(), &settings(false));
        assert_eq!(another.check(now, address, &[1; 16], &cookie), Proof::Missing);
        for bit in 0..8 * cookie.len() {
            let mut changed = cookie;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cookies.check(now, address, &[1; 16], &changed), Proof::Missing);
        }
        assert_eq!(cookies.check(later(31), address, &[1; 16], &cookie), Proof::Good);
        assert_eq!(
            cookies.check(later(61), address, &[1; 16], &cookie),
            Proof::Missing
        );
    }

    #[test]
    fn secrets_change_with_time_and_none_comes_again() {
        let now = Instant::now();
        let mut cookies = Cookies::new(now, RandomState::new(), &settings(false));
        let mut known = std::collections::HashSet::new();
        for step in [0, 1, 2, 3, 7, 8, 1000] {
            cookies.rotate(now + step * Cookies::STEP);
            let kept = known.contains(&cookies.secrets[1].0);
            assert_eq!(kept, [1, 2, 3, 8].contains(&step), "step {step}");
            assert!(known.insert(cookies.secrets[0].0), "step {step}");
        }
        assert!(!format!("{cookies:?}").contains(&cookies.secrets[0].0[0].to_string()));
    }

    #[test]
    fn a_cookie_that_was_spent_is_good_no_more_and_memory_for_that_is_bounded() {
        let now = Instant::now();
        let mut cookies = Cookies::new(now, RandomState::new(), &settings(false));
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
        cookies.spend(now + Duration::from_secs(90), last);
        assert_eq!(cookies.spent, [(3, last)]);
    }
}
