//! The pieces of a message that are here, in their order.

use std::collections::VecDeque;

use crate::federation::core::few::Few;
use bytes::Bytes;

/// Nearly always one, which needs no place of its own in memory.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// There if there is any.
    first: Option<Piece>,
    others: VecDeque<Piece>,
}

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) len: u64,
    /// What it takes of a credit.
    pub(super) cost: u64,
    pub(super) content: Content,
    /// The batch in which the store gets it.
    pub(super) batch: u64,
}

#[derive(Debug)]
pub(super) enum Content {
    Memory(Few<Bytes>),
    Stored,
    /// The store was asked for it.
    Loading,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.at + self.len
    }
}

impl Pieces {
    /// Adds one that comes behind all others.
    pub(super) fn push(&mut self, piece: Piece) {
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.others.push_back(piece),
        }
    }

    pub(super) fn first(&self) -> Option<&Piece> {
        self.first.as_ref()
    }

    /// Takes the first one if it begins at `at` or before.
    pub(super) fn pop_to(&mut self, at: u64) -> Option<Piece> {
        let first = self.first.take_if(|piece| piece.at <= at)?;
        self.first = self.others.pop_front();
        Some(first)
    }

    /// The one that begins at `at`.
    pub(super) fn get_mut(&mut self, at: u64) -> Option<&mut Piece> {
        match &mut self.first {
            Some(first) if first.at == at => Some(first),
            _ => {
                let place = self.others.binary_search_by_key(&at, |piece| piece.at).ok()?;
                self.others.get_mut(place)
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Pieces::default();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.first.iter().chain(&self.others)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// The one that `at` lies in, and those behind it.
    pub(super) fn rest_mut(&mut self, at: u64) -> impl Iterator<Item = &mut Piece> {
        let start = self.others.partition_point(|piece| piece.end() <= at);
        let first = self.first.iter_mut().filter(move |piece| piece.end() > at);
        first.chain(self.others.range_mut(start..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_order() {
        let mut pieces = Pieces::default();
        assert!(pieces.first().is_none() && pieces.pop_to(u64::MAX).is_none());
        for at in [0, 10, 20, 30] {
            pieces.push(Piece {
                at,
                len: 10,
                cost: at,
                content: Content::Stored,
                batch: 0,
            });
        }
        assert!(pieces.iter().map(|piece| piece.at).eq([0, 10, 20, 30]));
        assert!(pieces.rest_mut(0).map(|piece| piece.at).eq([0, 10, 20, 30]));
        assert!(pieces.rest_mut(10).map(|piece| piece.at).eq([10, 20, 30]));
        assert!(pieces.rest_mut(19).map(|piece| piece.at).eq([10, 20, 30]));
        for at in 0..40 {
            assert_eq!(
                pieces.get_mut(at).map(|piece| piece.cost),
                (at % 10 == 0).then_some(at)
            );
        }
        pieces.iter_mut().for_each(|piece| piece.batch = 1);
        assert_eq!(pieces.pop_to(10).map(|piece| piece.at), Some(0));
        assert_eq!(pieces.pop_to(10).map(|piece| piece.batch), Some(1));
        assert!(pieces.pop_to(10).is_none());
        assert_eq!(pieces.first().map(|piece| piece.at), Some(20));
        pieces.clear();
        assert_eq!(pieces.iter().count(), 0);
    }
}
