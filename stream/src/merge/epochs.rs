//! Which numbers of several inputs belong together, although inputs begin to number anew.

use std::collections::BTreeMap;

/// A number within its series.
pub(super) type Position = (u64, u64);

/// A position among all that there were: positions before and after a new beginning do not belong together.
pub(super) type Key = (u64, Position);

/// The epochs of all inputs: each new beginning of an input leads it into the newest epoch, or into a new one if it is
/// in the newest already. So inputs that begin anew together stay together, and one that does so alone meets the others
/// again when they do. What looks like a new beginning may be a single position that came late, or twice: an input that
/// then goes on where it was is where it was.
#[derive(Clone, Debug)]
pub(super) struct Epochs {
    inputs: Vec<Input>,
    newest: u64,
    /// What was given last in each epoch.
    floors: BTreeMap<u64, Position>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    stay: Stay,
    /// Where it was before it seemed to begin anew, and how many positions more may still show that it did not.
    former: Option<(Stay, u32)>,
    /// The last position, if it was late while others had begun anew, and how many in a row were, in order.
    row: Option<(Position, u32)>,
}

/// An input in one epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    epoch: u64,
    /// The first and the highest position in this epoch.
    span: Option<(Position, Position)>,
    /// Whether anything of it came in time in this epoch.
    in_time: bool,
}

/// The position had been given, or given up, before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

/// Numbers below the first one within which an input is out of order rather than at a new beginning.
const NEAR: u64 = 16;
/// Numbers below the highest one beyond which an input begins anew rather than being out of order.
const WINDOW: u64 = 1024;
/// Positions after which a new beginning is certain.
const CERTAIN: u32 = 16;
/// Late positions in a row after which an input has begun anew with the others, and its first positions are missing.
const ROW: u32 = 3;
/// Epochs whose floors are known, at most. An input that has been left further behind is late for none of its own.
const MAX_FLOORS: usize = 64;

impl Epochs {
    pub(super) fn new(inputs: usize) -> Self {
        Epochs {
            inputs: vec![Input::default(); inputs],
            newest: 0,
            floors: BTreeMap::new(),
        }
    }

    /// Where a position of an input would belong if it did not begin anew.
    pub(super) fn key(&self, input: usize, position: Position) -> Key {
        let epoch = self.inputs.get(input).map_or(0, |input| input.stay.epoch);
        (epoch, position)
    }

    /// Where a position of an input belongs.
    pub(super) fn place(&mut self, input: usize, position: Position) -> Result<Key, Late> {
        let is_alone = self.is_alone(input);
        let Some(known) = self.inputs.get_mut(input) else {
            return Err(Late);
        };
        known.reconsider(position, is_alone);
        let before = known.stay;
        let after = match before.span {
            None => Stay::begin(self.latest(), position),
            Some((first, highest)) if begins_anew(first, highest, position) => {
                Stay::begin(self.next(before.epoch, position), position)
            }
            Some((first, highest)) => Stay {
                span: Some((first.min(position), highest.max(position))),
                ..before
            },
        };
        let after = match self.latest() {
            // It joined an epoch that was over, while the others were about to leave it.
            latest if after.epoch < latest && !after.in_time && self.is_late(after.epoch, position) => {
                Stay::begin(latest, position)
            }
            latest if after.epoch < latest && self.follows(input, after.epoch, latest, position) => {
                Stay::begin(latest, position)
            }
            _ => after,
        };
        let is_late = self.is_late(after.epoch, position);
        if let Some(known) = self.inputs.get_mut(input) {
            if before.span.is_some() && after.epoch != before.epoch {
                // Of several new beginnings in a row, what was before the first one.
                known.former = Some((known.former.map_or(before, |(former, _)| former), CERTAIN));
            }
            known.stay = Stay {
                in_time: after.in_time || !is_late,
                ..after
            };
        }
        match is_late {
            true => Err(Late),
            false => Ok((after.epoch, position)),
        }
    }

    /// Whether an input seems to have begun anew with the others, although what it began with did not come: much of it is
    /// late in its own epoch, and would not be in theirs.
    fn follows(&mut self, input: usize, epoch: u64, latest: u64, position: Position) -> bool {
        let is_like_theirs = self.is_late(epoch, position) && !self.is_late(latest, position);
        let Some(known) = self.inputs.get_mut(input) else {
            return false;
        };
        let before = known.row.take();
        if !is_like_theirs {
            return false;
        }
        let in_order = |last: Position| {
            let distance = position.1.checked_sub(last.1).filter(|_| position.0 == last.0);
            distance.is_some_and(|distance| (1..=WINDOW).contains(&distance))
        };
        let count = match before {
            Some((last, count)) if in_order(last) => count + 1,
            _ => 1,
        };
        known.row = Some((position, count)).filter(|_| count < ROW);
        count >= ROW
    }

    /// Whether no other input is in the same epoch.
    fn is_alone(&self, input: usize) -> bool {
        let epoch = |input: &Input| input.stay.span.map(|_| input.stay.epoch);
        let own = self.inputs.get(input).and_then(epoch);
        let mut others = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != input);
        !others.any(|(_, other)| epoch(other) == own)
    }

    /// The newest epoch that an input is in.
    fn latest(&self) -> u64 {
        let there = self.inputs.iter().filter(|input| input.stay.span.is_some());
        there.map(|input| input.stay.epoch).max().unwrap_or(self.newest)
    }

    /// Where an input goes that begins anew.
    fn next(&mut self, epoch: u64, position: Position) -> u64 {
        let latest = self.latest();
        let has_passed = |floor: &Position| is_far_below(position, *floor);
        if epoch < latest && !self.floors.get(&latest).is_some_and(has_passed) {
            return latest;
        }
        self.newest += 1;
        self.newest
    }

    /// Whether what is given in an epoch is at or beyond a position.
    fn is_late(&self, epoch: u64, position: Position) -> bool {
        self.floors.get(&epoch).is_some_and(|floor| position <= *floor)
    }

    /// Whether an input has gone beyond a position.
    pub(super) fn has_passed(&self, input: usize, key: Key) -> bool {
        self.inputs.get(input).is_some_and(|Input { stay, .. }| {
            stay.span.is_some_and(|(_, highest)| (stay.epoch, highest) > key)
        })
    }

    /// Notes that a position is given: whatever comes for it is late.
    pub(super) fn give(&mut self, (epoch, position): Key) {
        self.floors.insert(epoch, position);
        let oldest = self.inputs.iter().map(|input| input.stay.epoch).min();
        self.floors.retain(|&epoch, _| Some(epoch) >= oldest);
        // An input that never sends anything stays in the first epoch.
        while self.floors.len() > MAX_FLOORS {
            self.floors.pop_first();
        }
    }
}

impl Stay {
    fn begin(epoch: u64, position: Position) -> Self {
        Stay {
            epoch,
            span: Some((position, position)),
            in_time: false,
        }
    }
}

impl Input {
    /// Goes back to where it was if a position follows on that rather than on what seemed to be a new beginning. Where
    /// others have begun anew as well, it was one.
    fn reconsider(&mut self, position: Position, is_alone: bool) {
        let Some((former, left)) = self.former.take().filter(|_| is_alone) else {
            return;
        };
        let (Some((_, before)), Some((_, now))) = (former.span, self.stay.span) else {
            return;
        };
        let ahead = |of: Position| position.1.checked_sub(of.1).filter(|_| position.0 == of.0);
        let goes_on = ahead(before).is_some_and(|distance| {
            // Nearer to the former numbers, which it has all behind it.
            (1..=WINDOW).contains(&distance) && ahead(now).is_none_or(|other| distance < other)
        });
        if goes_on {
            self.stay = former;
        } else if left > 1 {
            self.former = Some((former, left - 1));
        }
    }
}

fn begins_anew(first: Position, highest: Position, position: Position) -> bool {
    let near = position.0 == first.0 && first.1.abs_diff(position.1) <= NEAR;
    position < highest && (position == first || position < first && !near || is_far_below(position, highest))
}

fn is_far_below(position: Position, other: Position) -> bool {
    position.0 == other.0 && other.1.saturating_sub(position.1) > WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(epochs: &mut Epochs, input: usize, number: u64) -> Result<u64, Late> {
        epochs.place(input, (0, number)).map(|(epoch, _)| epoch)
    }

    #[test]
    fn inputs_that_begin_anew_together_stay_together() {
        let mut epochs = Epochs::new(2);
        for number in 0..5 {
            assert_eq!(placed(&mut epochs, 0, number), Ok(0));
            assert_eq!(placed(&mut epochs, 1, number), Ok(0));
        }
        epochs.give((0, (0, 4)));
        for number in 0..3 {
            assert_eq!(placed(&mut epochs, 0, number), Ok(1));
        }
        assert!(epochs.has_passed(0, (0, (0, 1_000))));
        assert!(!epochs.has_passed(1, (0, (0, 1_000))));
        assert_eq!(placed(&mut epochs, 1, 5), Ok(0));
        assert_eq!(placed(&mut epochs, 1, 0), Ok(1));
    }

    #[test]
    fn one_that_begins_anew_alone_meets_the_others_again() {
        let mut epochs = Epochs::new(2);
        for number in 0..2_000 {
            placed(&mut epochs, 0, number).unwrap();
            placed(&mut epochs, 1, number).unwrap();
            epochs.give((0, (0, number)));
        }
        // Twice alone.
        for epoch in [1, 2] {
            for number in 0..3 {
                assert_eq!(placed(&mut epochs, 0, number), Ok(epoch));
                epochs.give((epoch, (0, number)));
            }
        }
        assert_eq!(placed(&mut epochs, 1, 2_000), Ok(0));
        // Then both: the one that was behind is first, and cannot know which epoch is meant.
        assert_eq!(placed(&mut epochs, 1, 0), Err(Late));
        assert_eq!(placed(&mut epochs, 0, 0), Ok(3));
        assert_eq!(placed(&mut epochs, 1, 1), Ok(3));
        assert_eq!(placed(&mut epochs, 0, 1), Ok(3));
    }

    #[test]
    fn one_whose_beginning_is_missing_follows_the_others() {
        let mut epochs = Epochs::new(2);
        for number in 0..300 {
            placed(&mut epochs, 0, number).unwrap();
            placed(&mut epochs, 1, number).unwrap();
            epochs.give((0, (0, number)));
        }
        for number in 0..20 {
            assert_eq!(placed(&mut epochs, 0, number), Ok(1));
        }
        // Which may be anything, at first.
        assert_eq!(placed(&mut epochs, 1, 5), Err(Late));
        assert_eq!(placed(&mut epochs, 1, 6), Err(Late));
        for number in 7..300 {
            assert_eq!(placed(&mut epochs, 1, number), Ok(1));
        }
        // One that is only late stays where it is.
        let mut epochs = Epochs::new(2);
        for number in 0..200 {
            placed(&mut epochs, 0, number).unwrap();
            placed(&mut epochs, 1, number).unwrap();
            epochs.give((0, (0, number)));
        }
        assert_eq!(placed(&mut epochs, 0, 0), Ok(1));
        for number in [198, 199] {
            assert_eq!(placed(&mut epochs, 1, number), Err(Late));
            assert_eq!(placed(&mut epochs, 1, number + 50), Ok(0));
        }
        assert_eq!(placed(&mut epochs, 1, 0), Ok(1));
    }

    #[test]
    fn one_position_that_comes_late_or_twice_is_no_new_beginning() {
        // Numbers in order, one that is odd, and the next one.
        let cases: [(&[Position], Position, Position); 4] = [
            // The first one again, soon and late.
            (&[(0, 0), (0, 1)], (0, 0), (0, 2)),
            (&[(0, 0), (0, 1), (0, 500)], (0, 0), (0, 501)),
            // Far behind.
            (&[(0, 90), (0, 5_000)], (0, 100), (0, 5_001)),
            // By another connection, of the series before.
            (&[(5, 0)], (4, 99), (5, 1)),
        ];
        for (before, odd, after) in cases {
            let mut epochs = Epochs::new(2);
            for &position in before {
                assert_eq!(epochs.place(0, position), Ok((0, position)));
                assert_eq!(epochs.place(1, position), Ok((0, position)));
                epochs.give((0, position));
            }
            // Wherever it belongs.
            let _ = epochs.place(0, odd);
            assert_eq!(epochs.place(1, after), Ok((0, after)), "{odd:?}");
            assert_eq!(epochs.place(0, after), Ok((0, after)), "{odd:?}");
            epochs.give((0, after));
            // Who comes only now belongs to the others, and so do all that begin anew.
            let next = (after.0, after.1 + 1);
            let mut epochs = Epochs {
                inputs: [&epochs.inputs[..], &[Input::default()]].concat(),
                ..epochs
            };
            for input in 0..3 {
                assert_eq!(epochs.place(input, next), Ok((0, next)), "{odd:?}");
            }
            epochs.give((0, next));
            let begin = (0, 0);
            let Ok((epoch, _)) = epochs.place(2, begin) else {
                // Too near for a new beginning.
                assert!(next.1 < 16, "{odd:?}");
                continue;
            };
            assert_eq!(epochs.place(0, begin), Ok((epoch, begin)), "{odd:?}");
        }
    }

    #[test]
    fn a_new_beginning_stays_one_when_it_is_past_the_former_end() {
        let mut epochs = Epochs::new(1);
        for number in [0, 1, 2, 3] {
            assert_eq!(placed(&mut epochs, 0, number), Ok(0));
        }
        for number in 0..40 {
            assert_eq!(placed(&mut epochs, 0, number), Ok(1));
        }

        // Even if it lacks what would tell, when the other one begins anew as well.
        let mut epochs = Epochs::new(2);
        let both = |epochs: &mut Epochs, number| [placed(epochs, 0, number), placed(epochs, 1, number)];
        for number in 0..10 {
            assert_eq!(both(&mut epochs, number), [Ok(0), Ok(0)]);
        }
        for number in [0, 1, 2, 10, 11, 12] {
            assert_eq!(both(&mut epochs, number), [Ok(1), Ok(1)], "{number}");
        }
    }

    #[test]
    fn floors_are_bounded_though_an_input_never_sends() {
        let mut epochs = Epochs::new(2);
        for _ in 0..1_000 {
            for number in 0..2 {
                let key = epochs.place(0, (0, number)).unwrap();
                epochs.give(key);
            }
        }
        assert!(epochs.floors.len() <= MAX_FLOORS);
    }

    #[test]
    fn what_is_out_of_order_is_no_new_beginning() {
        let mut epochs = Epochs::new(1);
        for number in [5, 4, 7, 6, 8] {
            assert_eq!(placed(&mut epochs, 0, number), Ok(0));
        }
        epochs.give((0, (0, 8)));
        assert_eq!(placed(&mut epochs, 0, 7), Err(Late));
        assert_eq!(placed(&mut epochs, 0, 9), Ok(0));
        // A frame of the series before.
        assert_eq!(epochs.place(0, (1, 0)), Ok((0, (1, 0))));
        assert_eq!(placed(&mut epochs, 0, 10), Ok(0));
    }
}
