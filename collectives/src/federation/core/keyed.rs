//! Hashing of names and numbers, of which each message needs some: quick, and with a key that nobody else knows.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

/// The key of this process. That of `foldhash` itself is made of addresses and the time; the keys of the standard library are
/// random.
static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(draw()));

/// Makes hashers with a key that is drawn anew for each map, so that nobody can choose names that all lie in one place.
#[derive(Clone, Debug)]
pub(crate) struct Keyed(SeedableRandomState);

impl Default for Keyed {
    fn default() -> Self {
        Keyed(SeedableRandomState::with_seed(draw(), &SHARED))
    }
}

impl BuildHasher for Keyed {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}

fn draw() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_map_has_its_own_key() {
        let hashes: HashSet<u64> = (0..16).map(|_| Keyed::default().hash_one("name")).collect();
        assert_eq!(hashes.len(), 16);
        let keyed = Keyed::default();
        assert_eq!(keyed.hash_one("name"), keyed.hash_one("name"));
    }
}
