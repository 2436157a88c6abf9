//! Hashing of names and numbers, of which each message needs some: quick, and with a key that nobody else knows.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with a key that is drawn anew for each map, so that nobody can choose names that all lie in one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: u64,
}

/// Folds each eight bytes into what was before: they are multiplied with the key, and both halves of that are mixed.
#[derive(Debug)]
pub(crate) struct Folded {
    state: u64,
    key: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        // The keys of the standard library are random.
        let key = RandomState::new().hash_one(0_u8);
        Keyed { key: key | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.key.rotate_left(32),
            key: self.key,
        }
    }
}

impl Folded {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key);
        self.state = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // Its length tells it from one with zeros behind it.
        self.fold(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.key.rotate_left(17) | 1);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_numbers_that_differ_a_little_lie_apart() {
        let keyed = Keyed::default();
        let names = (0..20_000).map(|number| keyed.hash_one(format!("channel-{number}")));
        let numbers = (0..20_000_u32).map(|number| keyed.hash_one(number));
        let all: HashSet<u64> = names.chain(numbers).collect();
        assert!(all.len() >= 39_999, "{keyed:?}: {}", all.len());
        // Maps use the lowest bits for the place.
        let mut places = [0_u32; 256];
        all.iter().for_each(|hash| places[(hash & 255) as usize] += 1);
        let most = places.into_iter().max().unwrap();
        assert!(most < 300, "{keyed:?}: {most}");
    }

    #[test]
    fn each_map_has_its_own_key() {
        let hashes: HashSet<u64> = (0..16).map(|_| Keyed::default().hash_one("name")).collect();
        assert_eq!(hashes.len(), 16);
        let keyed = Keyed::default();
        assert_eq!(keyed.hash_one("name"), keyed.hash_one("name"));
        assert_ne!(keyed.hash_one([1_u8, 0]), keyed.hash_one([1_u8]));
    }
}
