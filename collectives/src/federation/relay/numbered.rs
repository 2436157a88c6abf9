//! Things in the order of their numbers, where new ones come at the end and the first ones go first, nearly always.

use std::collections::VecDeque;
use std::ops::Range;

/// Values by number. What goes from between others leaves its place empty; with too many such places, the others close up.
/// So nothing is moved in a queue where all goes in turn, and little where it does not.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    /// In their order; the first and the last are there.
    places: VecDeque<(u64, Option<T>)>,
    len: usize,
}

/// So many places may be empty beside those for which there is something.
const SPARE: usize = 16;

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered {
            places: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Numbered<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.places.front().map(|(number, _)| *number)
    }

    /// The place of a number, or where it would be.
    fn place(&self, number: u64) -> Result<usize, usize> {
        let Some((first, _)) = self.places.front() else {
            return Err(0);
        };
        let Some(ahead) = number.checked_sub(*first) else {
            return Err(0);
        };
        // Where no number is missing, it is there; otherwise before.
        let guess = usize::try_from(ahead).unwrap_or(usize::MAX);
        match self.places.get(guess) {
            Some((found, _)) if *found == number => Ok(guess),
            _ if self.places.back().is_some_and(|(last, _)| *last < number) => Err(self.places.len()),
            _ => self.places.binary_search_by_key(&number, |(number, _)| *number),
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let place = self.place(number).ok()?;
        self.places[place].1.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.place(number).ok()?;
        self.places[place].1.as_mut()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
    }

    /// Adds a value; what had its number goes.
    pub(super) fn insert(&mut self, number: u64, value: T) -> &mut T {
        let place = match self.place(number) {
            Ok(place) => place,
            Err(place) => {
                self.places.insert(place, (number, None));
                place
            }
        };
        let value_place = &mut self.places[place].1;
        self.len += usize::from(value_place.is_none());
        value_place.insert(value)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.place(number).ok()?;
        let value = self.places[place].1.take()?;
        self.len -= 1;
        while self.places.pop_front_if(|(_, value)| value.is_none()).is_some() {}
        while self.places.pop_back_if(|(_, value)| value.is_none()).is_some() {}
        if self.places.len() > 2 * self.len + SPARE {
            self.places.retain(|(_, value)| value.is_some());
        }
        // What a queue took that was long for once is not kept.
        if self.places.capacity() > 8 * (self.len + SPARE) {
            self.places.shrink_to(2 * (self.len + SPARE));
        }
        Some(value)
    }

    /// All in their order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let places = self.places.iter();
        places.filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|(_, value)| value.as_mut())
    }

    /// Those with numbers in the range, in their order.
    pub(super) fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, &T)> {
        let start = self.place(numbers.start).unwrap_or_else(|place| place);
        let places = self.places.range(start..);
        places
            .take_while(move |(number, _)| *number < numbers.end)
            .filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    /// Those from a number on, in their order.
    pub(super) fn rest_mut(&mut self, start: u64) -> impl Iterator<Item = (u64, &mut T)> {
        let start = self.place(start).unwrap_or_else(|place| place);
        let places = self.places.range_mut(start..);
        places.filter_map(|(number, value)| Some((*number, value.as_mut()?)))
    }

    /// Whether there is one with this number or a higher one.
    pub(super) fn reaches(&self, number: u64) -> bool {
        self.places.back().is_some_and(|(last, _)| *last >= number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map_whatever_comes_and_goes() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut own, mut model) = (Numbered::default(), BTreeMap::new());
            let mut next = random.u64(..1 << 40);
            for step in 0..400 {
                match random.u8(..8) {
                    // At the end, with or without a gap.
                    0..=2 => {
                        next += if random.u8(..4) == 0 { random.u64(1..9) } else { 1 };
                        own.insert(next, step);
                        model.insert(next, step);
                    }
                    3 => {
                        let number = next.saturating_sub(random.u64(..32));
                        own.insert(number, step);
                        model.insert(number, step);
                    }
                    4..=5 => {
                        let first = model.keys().next().copied().unwrap_or(0);
                        assert_eq!(own.remove(first), model.remove(&first), "seed {seed}");
                    }
                    _ => {
                        let number = next.saturating_sub(random.u64(..48));
                        assert_eq!(own.remove(number), model.remove(&number), "seed {seed}");
                    }
                }
                let around = next.saturating_sub(random.u64(..64));
                assert_eq!(own.get(around), model.get(&around));
                assert_eq!(own.get_mut(around).copied(), model.get(&around).copied());
                assert_eq!(own.contains(around), model.contains_key(&around));
                assert_eq!(own.first(), model.keys().next().copied());
                assert_eq!((own.len(), own.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(own.reaches(around), model.range(around..).next().is_some());
                assert!(
                    own.iter()
                        .eq(model.iter().map(|(number, value)| (*number, value)))
                );
                assert!(
                    own.iter()
                        .rev()
                        .eq(model.iter().rev().map(|(number, value)| (*number, value)))
                );
                let part = own.range(around..around + 9);
                assert!(
                    part.eq(model
                        .range(around..around + 9)
                        .map(|(number, value)| (*number, value)))
                );
                let rest: Vec<_> = own
                    .rest_mut(around)
                    .map(|(number, value)| (number, *value))
                    .collect();
                assert!(
                    rest.into_iter()
                        .eq(model.range(around..).map(|(number, value)| (*number, *value)))
                );
                assert!(own.values_mut().map(|value| *value).eq(model.values().copied()));
            }
        }
    }

    #[test]
    fn what_stays_behind_keeps_no_room_for_what_has_gone() {
        let mut own = Numbered::default();
        own.insert(0, 0);
        for number in 1..100_000 {
            own.insert(number, number);
            assert!(own.remove(number - 1).is_some());
            own.insert(number - 1, 0);
            assert_eq!(own.remove(number - 1), Some(0));
        }
        for number in 100_000..200_000 {
            own.insert(number, number);
        }
        for number in 100_000..200_000 {
            own.remove(number);
        }
        assert_eq!(own.len(), 1);
        assert!(own.places.len() <= 2 + SPARE && own.places.capacity() < 16 * SPARE);
    }

    #[test]
    fn who_waits_at_the_front_does_not_let_it_grow() {
        let mut own = Numbered::default();
        own.insert(7, 0);
        own.insert(1 << 60, 0);
        for number in 8..10_000 {
            own.insert(number, number);
            own.remove(number);
            assert!(own.places.len() <= 2 * own.len() + SPARE);
        }
    }
}
