//! Random numbers that no other process has, not even a copy of this one.

use flexbond_wire::group::Nonce;

/// What a joiner is known by. With a key, its member's keys are made of it.
pub(super) fn nonce() -> Nonce {
    bytes()
}

/// What a session is known by.
pub(super) fn session() -> u64 {
    // A joiner says 0.
    u64::from_ne_bytes(bytes()).max(1)
}

/// From the system's secure source, which does not repeat itself in what fork() makes of a process.
#[cfg(feature = "group-crypto")]
fn bytes<const N: usize>() -> [u8; N] {
    super::node::Entropy::system().draw()
}

/// Nobody need be unable to guess them where there are no keys, but two that fork() has made of one process must not draw
/// the same: so they depend on which it is, too.
#[cfg(not(feature = "group-crypto"))]
fn bytes<const N: usize>() -> [u8; N] {
    use std::hash::{BuildHasher, RandomState};
    use std::time::Instant;

    let process = RandomState::new().hash_one((std::process::id(), Instant::now()));
    let mut bytes = [0; N];
    fastrand::Rng::with_seed(fastrand::u64(..) ^ process).fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_of_others_says_nothing_about_them() {
        // As in a copy of this process, whose generator goes on from where this one is.
        let drawn = [1, 1].map(|seed| {
            fastrand::seed(seed);
            (nonce(), session())
        });
        assert!(drawn[0].0 != drawn[1].0 && drawn[0].1 != drawn[1].1);
    }
}
