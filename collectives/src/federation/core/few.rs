//! Lists that nearly always have one element, which then needs no place of its own in memory.

use std::ops::{Deref, DerefMut};
use std::{fmt, option, slice, vec};

use serde::{Serialize, Serializer};

/// A list, mostly of one element.
#[derive(Clone)]
pub(crate) enum Few<T> {
    One(T),
    /// Any number, also none and one.
    Many(Vec<T>),
}

impl<T> Few<T> {
    pub(crate) const fn new() -> Self {
        Few::Many(Vec::new())
    }

    pub(crate) fn push(&mut self, element: T) {
        match std::mem::take(self) {
            Few::Many(list) if list.capacity() == 0 => *self = Few::One(element),
            Few::Many(mut list) => {
                list.push(element);
                *self = Few::Many(list);
            }
            Few::One(first) => *self = Few::Many(vec![first, element]),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        match std::mem::take(self) {
            Few::One(element) => Some(element),
            Few::Many(mut list) => {
                let last = list.pop();
                *self = Few::Many(list);
                last
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Few::new();
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Few::One(element) => vec![element],
            Few::Many(list) => list,
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few::new()
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::One(element) => slice::from_ref(element),
            Few::Many(list) => list,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::One(element) => slice::from_mut(element),
            Few::Many(list) => list,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(list: Vec<T>) -> Self {
        Few::Many(list)
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        let Some(first) = elements.next() else {
            return Few::new();
        };
        let Some(second) = elements.next() else {
            return Few::One(first);
        };
        let mut list = Vec::with_capacity(2 + elements.size_hint().0);
        list.extend([first, second]);
        list.extend(elements);
        Few::Many(list)
    }
}

/// The elements of a [`Few`].
#[derive(Debug)]
pub(crate) enum IntoIter<T> {
    One(option::IntoIter<T>),
    Many(vec::IntoIter<T>),
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            IntoIter::One(element) => element.next(),
            IntoIter::Many(list) => list.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            IntoIter::One(element) => element.size_hint(),
            IntoIter::Many(list) => list.size_hint(),
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        match self {
            Few::One(element) => IntoIter::One(Some(element).into_iter()),
            Few::Many(list) => IntoIter::Many(list.into_iter()),
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.iter()
    }
}

impl<T: Serialize> Serialize for Few<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut few = Few::new();
        assert!(few.is_empty() && few.pop().is_none());
        for count in 1..5 {
            few.push(count);
            assert_eq!(matches!(few, Few::One(_)), count == 1);
            assert_eq!(few, (1..=count).collect::<Few<_>>());
            assert_eq!(few, Few::from((1..=count).collect::<Vec<_>>()));
            assert!(few.clone().into_iter().eq(1..=count));
            assert_eq!(few.clone().into_vec().len(), few.len());
            assert_eq!(few.iter().sum::<i32>(), count * (count + 1) / 2);
        }
        few[3] = 9;
        assert_eq!(format!("{few:?}"), "[1, 2, 3, 9]");
        assert_eq!((few.pop(), few.pop(), few.len()), (Some(9), Some(3), 2));
        few.clear();
        assert_eq!(few.into_iter().size_hint(), (0, Some(0)));
    }
}
