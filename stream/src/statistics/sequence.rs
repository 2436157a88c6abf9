//! One series of numbers: what is missing in it, what came late, what came twice, and where it began anew.

use std::collections::VecDeque;
use std::num::NonZeroU64;

/// By how much the numbers of a source grow from one message to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stride {
    /// By this much; what is left out is lost.
    Fixed(NonZeroU64),
    /// By what is most common among the first [`Stride::LEARNING`] numbers of a source (the smaller one of two that are
    /// equally common). Nothing counts as lost before that. Eight steps in a row that are smaller, and equal, replace
    /// it; larger ones never do, because they cannot be told from losses: set a source's stride when it slows down. Nor
    /// can a source that has been shared with another receiver since its first number: set its stride to be sure.
    Learned,
}

impl Stride {
    /// By one.
    pub const ONE: Stride = Stride::Fixed(NonZeroU64::MIN);
    /// How many numbers it takes to learn a stride.
    pub const LEARNING: usize = 9;
}

/// What became of the numbers of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) restarts: u64,
}

/// What a number says of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is ahead, and leaves so many out.
    Ahead(u64),
    /// It had been left out before.
    Late,
}

/// One series of numbers that grow.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pace: Pace,
    /// The lowest and the highest number so far.
    span: Option<(u64, u64)>,
    /// What the series is known to begin with.
    start: Option<u64>,
    /// What is missing between them, in order; the oldest is forgotten, and stays lost, when there are too many.
    missing: VecDeque<Run>,
    /// The last number, if it may be the first of a new beginning, and how it was counted.
    suspect: Option<(u64, Suspicion)>,
    /// The last number, and how many duplicates were in order before it with nothing between them, if it was one, too.
    repeated: Option<(u64, u64)>,
    /// Steps in a row that were smaller than the stride, and equal.
    smaller: (u64, u32),
}

#[derive(Clone, Debug)]
enum Pace {
    Known(u64),
    /// The numbers so far, in the order in which they came.
    Learning(Vec<u64>),
}

/// Missing numbers: `count` of them, one stride apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    Duplicate,
    Reordered,
}

/// Gaps that are remembered, so that what comes late can be taken off the losses.
const RUNS: usize = 128;
/// Strides below the beginning within which a number is a late one rather than a new beginning.
const NEAR: u64 = 16;
/// Strides after a suspected beginning within which the next number confirms it; and how many duplicates in a row, each
/// the next number, are no duplicates.
const CONFIRMING: u64 = 64;
/// Strides beyond the first number within which such a row begins: what a receiver misses before it is connected again.
const MISSED: u64 = 256;
/// Strides below the newest number beyond which a known number is a new beginning rather than a duplicate.
const WINDOW: u64 = 1024;
/// Strides beyond which a step ahead is a new beginning rather than a loss.
const MAX_GAP: u64 = 1 << 32;
/// Smaller steps in a row that replace a learned stride.
const SMALLER: u32 = 8;

impl Sequence {
    /// A series of which nothing is known, or what it begins with.
    pub(super) fn new(stride: Stride, start: Option<u64>) -> Self {
        Sequence {
            pace: match stride {
                Stride::Fixed(stride) => Pace::Known(stride.get()),
                Stride::Learned => Pace::Learning(Vec::new()),
            },
            span: None,
            start,
            missing: VecDeque::new(),
            suspect: None,
            repeated: None,
            smaller: (0, 0),
        }
    }

    /// The stride, once it is known.
    pub(super) fn stride(&self) -> Option<NonZeroU64> {
        match self.pace {
            Pace::Known(stride) => NonZeroU64::new(stride),
            Pace::Learning(_) => None,
        }
    }

    /// Notes a number, and tells `step` what it says of those before it.
    pub(super) fn handle(
        &mut self,
        number: u64,
        learned: bool,
        tally: &mut Tally,
        step: &mut impl FnMut(Step),
    ) {
        tally.received += 1;
        match &mut self.pace {
            Pace::Known(stride) => {
                let stride = *stride;
                self.note(number, stride, learned, tally, step);
            }
            Pace::Learning(numbers) => {
                numbers.push(number);
                if numbers.len() >= Stride::LEARNING
                    && let Some(stride) = most_common_step(numbers)
                {
                    let numbers = std::mem::take(numbers);
                    self.pace = Pace::Known(stride);
                    for number in numbers {
                        self.note(number, stride, learned, tally, step);
                    }
                } else if numbers.len() >= 2 * Stride::LEARNING {
                    // Always the same number: there is nothing to learn from the older ones.
                    tally.duplicates += Stride::LEARNING as u64;
                    numbers.drain(..Stride::LEARNING);
                }
            }
        }
    }

    fn note(
        &mut self,
        number: u64,
        stride: u64,
        learned: bool,
        tally: &mut Tally,
        step: &mut impl FnMut(Step),
    ) {
        let Some((lowest, highest)) = self.span else {
            self.begin(number, stride, tally, step);
            return;
        };
        let repeated = self.repeated.take();
        if let Some((suspect, suspicion)) = self.suspect.take() {
            if number == suspect {
                self.suspect = Some((suspect, suspicion));
                tally.duplicates += 1;
                return;
            }
            let confirmed = number > suspect
                && number <= highest
                && (number - suspect) / stride <= CONFIRMING
                && !self.is_missing(number, stride);
            if confirmed {
                match suspicion {
                    Suspicion::Duplicate => tally.duplicates -= 1,
                    Suspicion::Reordered => tally.reordered -= 1,
                }
                tally.restarts += 1;
                self.restart(suspect);
                self.advance(suspect, number, stride, learned, tally, step);
                return;
            }
        }
        if number > highest {
            self.advance(highest, number, stride, learned, tally, step);
        } else if self.take_missing(number, stride) {
            tally.lost = tally.lost.saturating_sub(1);
            tally.reordered += 1;
            step(Step::Late);
        } else if number < lowest && (lowest - number) / stride <= NEAR {
            tally.reordered += 1;
            let between = ((lowest - number) / stride).saturating_sub(1);
            self.miss_before(number.saturating_add(stride), between, tally);
            self.span = Some((number, highest));
        } else if number < lowest {
            tally.reordered += 1;
            self.suspect = Some((number, Suspicion::Reordered));
        } else {
            tally.duplicates += 1;
            if number == lowest || (highest - number) / stride > WINDOW {
                self.suspect = Some((number, Suspicion::Duplicate));
            }
            // A source that began anew, and whose first numbers were missed.
            let before = match repeated {
                Some((last, before)) if number.checked_sub(last) == Some(stride) => before + 1,
                _ => 0,
            };
            self.repeated = Some((number, before));
            let first = number.saturating_sub(before.saturating_mul(stride));
            if before + 1 == CONFIRMING && first.saturating_sub(lowest) / stride <= MISSED {
                tally.duplicates -= CONFIRMING;
                tally.restarts += 1;
                self.restart(number);
                self.span = Some((first, number));
            }
        }
    }

    fn begin(&mut self, number: u64, stride: u64, tally: &mut Tally, step: &mut impl FnMut(Step)) {
        self.span = Some((number, number));
        if let Some(start) = self.start.take().filter(|&start| start <= number) {
            let left_out = (number - start) / stride;
            if left_out <= MAX_GAP {
                self.miss(start, left_out, tally);
                self.span = Some((start, number));
                step(Step::Ahead(left_out));
            }
        }
    }

    fn advance(
        &mut self,
        from: u64,
        number: u64,
        stride: u64,
        learned: bool,
        tally: &mut Tally,
        step: &mut impl FnMut(Step),
    ) {
        let length = number - from;
        if length / stride > MAX_GAP {
            tally.restarts += 1;
            self.restart(number);
            return;
        }
        let left_out = (length / stride).saturating_sub(1);
        self.miss(from.saturating_add(stride), left_out, tally);
        if let Some((_, highest)) = &mut self.span {
            *highest = number;
        }
        step(Step::Ahead(left_out));
        if learned && length < stride {
            self.smaller = match self.smaller {
                (known, run) if known == length => (known, run + 1),
                _ => (length, 1),
            };
            if self.smaller.1 >= SMALLER {
                self.pace = Pace::Known(length);
                self.missing.clear();
            }
        } else {
            self.smaller = (0, 0);
        }
    }

    fn restart(&mut self, number: u64) {
        self.span = Some((number, number));
        self.missing.clear();
        (self.suspect, self.repeated) = (None, None);
    }

    fn miss(&mut self, first: u64, count: u64, tally: &mut Tally) {
        if count > 0 {
            tally.lost = tally.lost.saturating_add(count);
            self.missing.push_back(Run { first, count });
            self.forget();
        }
    }

    fn miss_before(&mut self, first: u64, count: u64, tally: &mut Tally) {
        if count > 0 {
            tally.lost = tally.lost.saturating_add(count);
            // When there is no room for more, the oldest is what is forgotten: this one.
            if self.missing.len() < RUNS {
                self.missing.push_front(Run { first, count });
            }
        }
    }

    fn forget(&mut self) {
        if self.missing.len() > RUNS {
            self.missing.pop_front();
        }
    }

    /// Where the number is: which run, and where in it.
    fn find_missing(&self, number: u64, stride: u64) -> Option<(usize, u64)> {
        let index = self
            .missing
            .partition_point(|run| run.first <= number)
            .checked_sub(1)?;
        let run = self.missing.get(index)?;
        let offset = number - run.first;
        (offset.is_multiple_of(stride) && offset / stride < run.count).then(|| (index, offset / stride))
    }

    fn is_missing(&self, number: u64, stride: u64) -> bool {
        self.find_missing(number, stride).is_some()
    }

    fn take_missing(&mut self, number: u64, stride: u64) -> bool {
        let Some((index, before)) = self.find_missing(number, stride) else {
            return false;
        };
        let Some(run) = self.missing.get_mut(index) else {
            return false;
        };
        let after = run.count - before - 1;
        run.count = before;
        if before == 0 {
            self.missing.remove(index);
        }
        if after > 0 {
            let run = Run {
                first: number + stride,
                count: after,
            };
            self.missing.insert(index + usize::from(before > 0), run);
            self.forget();
        }
        true
    }
}

/// The step that is most common between the numbers in order; the smallest one of those that are equally common.
fn most_common_step(numbers: &[u64]) -> Option<u64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut steps: Vec<u64> = sorted.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    let mut best: Option<(usize, u64)> = None;
    for group in steps.chunk_by(|a, b| a == b) {
        if best.is_none_or(|(count, _)| group.len() > count) {
            best = Some((group.len(), group[0]));
        }
    }
    best.map(|(_, step)| step)
}

#[cfg(test)]
mod tests;
