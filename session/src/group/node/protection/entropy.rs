//! Where random bytes come from.

use std::fmt;
use std::sync::Arc;

/// A source of random bytes. A node draws none itself: it is given one of these.
#[derive(Clone)]
pub(crate) struct Entropy(Arc<Fill>);

/// Fills a slice with random bytes.
type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    /// Bytes that `fill` makes, which nobody may be able to guess.
    pub(crate) fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Entropy(Arc::new(fill))
    }

    /// The system's secure source, by way of the crypto library.
    pub(crate) fn system() -> Self {
        // It cannot fail on the systems that the library supports: it would rather end the process.
        Entropy::new(|out| aws_lc_rs::rand::fill(out).expect("the system has random bytes"))
    }

    pub(crate) fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_gives_different_bytes_each_time() {
        let entropy = Entropy::system();
        assert_ne!(entropy.draw::<32>(), entropy.draw::<32>());
    }
}
