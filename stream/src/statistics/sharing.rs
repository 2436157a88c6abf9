//! Frames that go missing with regularity: somebody else receives them.

use std::fmt;

/// Finds out that a stream gets only a part of its source's messages.
///
/// A source that pushes gives each message to one receiver, in turn, and loses none over tcp, ipc and inproc. Who shares
/// it with a second receiver, by mistake usually, gets every other frame; with a third one every third, and so on; and
/// when the receivers are slower than the source, whatever the others had no room for.
///
/// Told the gap before each message, and what comes late, it finds two things: among the last [`WINDOW`](Self::WINDOW) messages a pattern that
/// repeats after one to four of them, with one in ten deviating; and losses of a third and more in each of the last four
/// [`BLOCK`](Self::BLOCK)s of messages. It is over when each of four blocks lost less than one in twenty. No clock, no
/// allocation but where there are gaps.
///
/// ```
/// use flexbond_stream::SharingDetector;
///
/// let mut detector = SharingDetector::new();
/// for _ in 0..SharingDetector::WINDOW {
///     detector.handle_gap(1);
/// }
/// let pattern = detector.pattern().unwrap();
/// assert_eq!((pattern.received, pattern.of), (1, 2));
/// ```
#[derive(Clone, Debug)]
pub struct SharingDetector {
    /// Frames left out before each of the last messages; the newest is before `next`.
    gaps: [u32; SharingDetector::WINDOW],
    next: usize,
    /// Messages so far, as far as that matters.
    filled: usize,
    /// How many in the window have a gap before them.
    with_gap: usize,
    /// Messages in the block that is not complete, and what is missing among them.
    block: (u64, u64),
    /// What is missing among the messages of each of the last blocks.
    blocks: [u64; 4],
    pattern: Option<SharingPattern>,
}

/// The part of a source's messages that arrives: `received` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharingPattern {
    /// How many arrive.
    pub received: u64,
    /// Of how many.
    pub of: u64,
    /// Whether it is always the same ones of so many; otherwise the numbers are averages.
    pub is_regular: bool,
}

/// A source whose messages seem to be shared with another receiver. Its `Display` says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedSource {
    /// The source by its own name; empty where it gives none.
    pub source: String,
    /// The part that arrives.
    pub pattern: SharingPattern,
}

impl SharingDetector {
    /// Among how many messages a regular pattern is looked for.
    pub const WINDOW: usize = 32;
    /// Among how many messages losses are added up, four times in a row.
    pub const BLOCK: u64 = 256;
    /// The longest pattern, in messages.
    const PERIODS: usize = 4;
    /// Looking costs some hundred comparisons.
    const EVERY: usize = 8;

    /// One that knows of no message.
    #[must_use]
    pub fn new() -> Self {
        SharingDetector {
            gaps: [0; Self::WINDOW],
            next: 0,
            filled: 0,
            with_gap: 0,
            block: (0, 0),
            blocks: [0; 4],
            pattern: None,
        }
    }

    /// Notes a message with `missing` frames left out before it; true when sharing has begun or ended.
    pub fn handle_gap(&mut self, missing: u64) -> bool {
        let gap = u32::try_from(missing).unwrap_or(u32::MAX);
        let slot = &mut self.gaps[self.next];
        self.with_gap -= usize::from(*slot > 0);
        self.with_gap += usize::from(gap > 0);
        *slot = gap;
        self.next = (self.next + 1) % Self::WINDOW;
        self.filled = (self.filled + 1).min(Self::WINDOW);
        self.block = (self.block.0 + 1, self.block.1.saturating_add(missing));

        let was_shared = self.pattern.is_some();
        if self.block.0 == Self::BLOCK {
            self.close_block();
        }
        if self.filled == Self::WINDOW && self.next.is_multiple_of(Self::EVERY) {
            self.pattern = self.find().or(self.pattern);
        }
        self.pattern.is_some() != was_shared
    }

    /// Notes that a frame has come that was left out before: late, and not to somebody else.
    pub fn handle_late(&mut self) {
        // The newest gap most likely: what overtakes is near to what it overtakes.
        let newest = (1..=Self::WINDOW)
            .map(|back| (self.next + Self::WINDOW - back) % Self::WINDOW)
            .find(|&at| self.gaps[at] > 0);
        if let Some(at) = newest {
            self.gaps[at] -= 1;
            self.with_gap -= usize::from(self.gaps[at] == 0);
        }
        match self.block.1 {
            0 => self.blocks[3] = self.blocks[3].saturating_sub(1),
            _ => self.block.1 -= 1,
        }
    }

    fn close_block(&mut self) {
        let (received, missing) = std::mem::take(&mut self.block);
        self.blocks.rotate_left(1);
        self.blocks[3] = missing;
        if self.blocks.iter().all(|&missing| missing < received / 20) {
            self.pattern = None;
        } else if self.pattern.is_none_or(|pattern| !pattern.is_regular)
            && self.blocks.iter().all(|&missing| missing >= received / 2)
        {
            let sum = self
                .blocks
                .iter()
                .fold(0_u64, |sum, &missing| sum.saturating_add(missing));
            let received = 4 * received;
            // In a hundred: nobody reads 1024 of 2051.
            let percent = u128::from(received) * 100 / (u128::from(received) + u128::from(sum));
            self.pattern = Some(SharingPattern {
                received: u64::try_from(percent).unwrap_or(100),
                of: 100,
                is_regular: false,
            });
        }
    }

    /// The pattern, while there is one.
    #[must_use]
    pub fn pattern(&self) -> Option<SharingPattern> {
        self.pattern
    }

    fn find(&self) -> Option<SharingPattern> {
        if self.with_gap < Self::WINDOW / Self::PERIODS * 9 / 10 {
            return None;
        }
        // In the order in which they came.
        let mut gaps = self.gaps;
        gaps.rotate_left(self.next);
        (1..=Self::PERIODS).find_map(|period| {
            let cycles = Self::WINDOW / period;
            let compared = Self::WINDOW - period;
            let equal = gaps.iter().zip(&gaps[period..]).filter(|(a, b)| a == b).count();
            if equal * 10 < compared * 9 {
                return None;
            }
            let mut sums: Vec<u64> = gaps
                .chunks_exact(period)
                .map(|cycle| cycle.iter().map(|&gap| u64::from(gap)).sum())
                .collect();
            sums.sort_unstable();
            // A few gaps among many messages repeat nothing, however equal the rest is.
            let with_gap = sums.iter().filter(|&&sum| sum > 0).count();
            if with_gap * 10 < cycles * 9 {
                return None;
            }
            // The median: one long outage among the gaps does not count.
            let missing = sums[sums.len() / 2];
            (missing > 0).then_some(SharingPattern {
                received: period as u64,
                of: period as u64 + missing,
                is_regular: true,
            })
        })
    }
}

impl Default for SharingDetector {
    fn default() -> Self {
        SharingDetector::new()
    }
}

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharingPattern {
            received,
            of,
            is_regular,
        } = self.pattern;
        let about = if is_regular { "" } else { "about " };
        write!(f, "only {about}{received} of every {of} frames")?;
        if !self.source.is_empty() {
            // Debug: a name from the network may hold anything.
            write!(f, " of {:?}", self.source)?;
        }
        f.write_str(
            " arrive: another PULL receiver seems to be connected to the same source and to get the others. Stop it, or \
             let the source publish (PUB) and subscribe (SUB), or put m_split between the source and its receivers. If \
             the source leaves frames out on purpose, or has slowed down, set the stride of its numbers",
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern_of(gaps: impl IntoIterator<Item = u64>) -> Option<(u64, u64)> {
        let mut detector = SharingDetector::new();
        for gap in gaps {
            detector.handle_gap(gap);
        }
        detector.pattern().map(|pattern| (pattern.received, pattern.of))
    }

    #[test]
    fn receivers_that_take_turns_are_found() {
        assert_eq!(pattern_of([1; 32]), Some((1, 2)));
        assert_eq!(pattern_of([2; 40]), Some((1, 3)));
        assert_eq!(pattern_of([9; 64]), Some((1, 10)));
        // Two of three connections are ours, or one of four is not.
        assert_eq!(pattern_of([0, 1].repeat(16)), Some((2, 3)));
        assert_eq!(pattern_of([0, 0, 1].repeat(16)), Some((3, 4)));
        // A deviation does not matter.
        let mut gaps = [1; 32];
        gaps[11] = 100_000;
        assert_eq!(pattern_of(gaps), Some((1, 2)));
    }

    #[test]
    fn losses_are_no_pattern() {
        assert_eq!(pattern_of([0; 100]), None);
        assert_eq!(pattern_of([1; 31]), None, "too early to say");
        let mut gaps = [0; 64];
        for burst in [[40, 41], [50, 52]] {
            burst.into_iter().for_each(|at| gaps[at] = 3);
        }
        assert_eq!(pattern_of(gaps), None);
    }

    #[test]
    fn what_comes_late_was_not_for_others() {
        // Two connections that overtake each other, by one and by five.
        for overtaken in [1, 5] {
            let mut detector = SharingDetector::new();
            for _ in 0..2_000 {
                assert!(!detector.handle_gap(overtaken), "{overtaken}");
                (0..overtaken).for_each(|_| detector.handle_late());
            }
        }
        // Some of what is late does not make up for the rest.
        let mut detector = SharingDetector::new();
        for message in 0..100 {
            detector.handle_gap(2);
            (0..message % 2).for_each(|_| detector.handle_late());
        }
        assert!(detector.pattern().is_some());
    }

    #[test]
    fn it_says_when_sharing_begins_and_ends() {
        let mut detector = SharingDetector::new();
        let changes = |detector: &mut SharingDetector, gaps: &mut dyn Iterator<Item = u64>| {
            gaps.filter(|&gap| detector.handle_gap(gap)).count()
        };
        assert_eq!(changes(&mut detector, &mut std::iter::repeat_n(0, 50)), 0);
        // With pauses, which are not its end.
        let shared = [[1; 50].as_slice(), &[0; 40]].concat();
        assert_eq!(changes(&mut detector, &mut shared.repeat(20).into_iter()), 1);
        assert!(detector.pattern().is_some());
        assert_eq!(changes(&mut detector, &mut std::iter::repeat_n(0, 1_600)), 1);
        assert!(detector.pattern().is_none());
    }

    #[test]
    fn bursts_are_found_when_they_go_on() {
        // Receivers slower than their source: each has what fitted into its queue.
        let mut burst = vec![0; 97];
        burst.push(90);
        let found = |bursts: usize| {
            let mut detector = SharingDetector::new();
            for gap in burst.repeat(bursts) {
                detector.handle_gap(gap);
            }
            detector.pattern()
        };
        assert_eq!(found(9), None);
        let pattern = found(20).unwrap();
        assert!(
            !pattern.is_regular && (48..=56).contains(&pattern.received),
            "{pattern:?}"
        );
        // One long outage is none.
        assert_eq!(
            pattern_of([vec![0; 500], vec![1_000_000], vec![0; 2_000]].concat()),
            None
        );
    }

    #[test]
    fn the_text_says_what_to_do() {
        let text = SharedSource {
            source: "X06SA".to_owned(),
            pattern: SharingPattern {
                received: 1,
                of: 2,
                is_regular: true,
            },
        }
        .to_string();
        assert!(
            text.starts_with("only 1 of every 2 frames of \"X06SA\" arrive"),
            "{text}"
        );
        assert!(text.contains("m_split"), "{text}");
    }

    proptest! {
        #[test]
        fn random_losses_below_a_third_are_no_pattern(
            lost in prop::collection::vec(0_u32..100, 600), percent in 0_u32..33,
        ) {
            let mut detector = SharingDetector::new();
            let mut missing = 0;
            let mut found = 0;
            for die in lost {
                if die < percent {
                    missing += 1;
                } else {
                    detector.handle_gap(missing);
                    missing = 0;
                    found += usize::from(detector.pattern().is_some());
                }
            }
            // One chance hit in a while is possible in principle; a state that stays is not.
            prop_assert!(found <= 2 * 8, "{found}");
        }

        #[test]
        fn any_gaps_do_no_harm(gaps: Vec<u64>) {
            pattern_of(gaps);
        }
    }
}
