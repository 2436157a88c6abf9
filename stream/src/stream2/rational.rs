//! Times as ratios of integers, as detectors send them.

use std::time::Duration;

/// A ratio of two integers: clock ticks over ticks per second, not necessarily in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    /// Ticks.
    pub numerator: u64,
    /// Ticks per second; constant within a series.
    pub denominator: u64,
}

impl Rational {
    /// `numerator` over `denominator`.
    #[must_use]
    pub const fn new(numerator: u64, denominator: u64) -> Self {
        Rational {
            numerator,
            denominator,
        }
    }

    /// The value in seconds; `None` where the denominator is zero.
    #[must_use]
    pub fn seconds(self) -> Option<f64> {
        (self.denominator != 0).then(|| self.numerator as f64 / self.denominator as f64)
    }

    /// The value as a duration, rounded down to nanoseconds; `None` where the denominator is zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use flexbond_stream::stream2::Rational;
    ///
    /// assert_eq!(Rational::new(999_995, 50_000_000).duration(), Some(Duration::from_nanos(19_999_900)));
    /// assert_eq!(Rational::new(1, 0).duration(), None);
    /// ```
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        let seconds = self.numerator.checked_div(self.denominator)?;
        let ticks = self.numerator % self.denominator;
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.denominator);
        // Fewer ticks than make a second are fewer nanoseconds than make one.
        Some(Duration::new(seconds, nanos as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_do_not_overflow() {
        assert_eq!(
            Rational::new(u64::MAX, 1).duration(),
            Some(Duration::from_secs(u64::MAX))
        );
        let almost = Rational::new(u64::MAX - 1, u64::MAX);
        assert_eq!(almost.duration(), Some(Duration::from_nanos(999_999_999)));
        assert_eq!(Rational::new(0, 0).seconds(), None);
        assert_eq!(Rational::new(3, 2).seconds(), Some(1.5));
    }
}
