//! Which messages of a recording are played, and how often.

use std::num::NonZeroU64;

use super::{Recording, SourceError};
use crate::recording::{Recorded, Timestamp};

/// The messages that are played. Every field that is `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Range {
    /// The number of the first message.
    pub first: Option<u64>,
    /// The number after that of the last message.
    pub end: Option<u64>,
    /// Messages that arrived before are left out.
    pub from: Option<Timestamp>,
    /// Messages that arrived then or later are left out.
    pub until: Option<Timestamp>,
}

impl Range {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Range::default()
    }

    /// Messages by number: `10..20` are ten.
    #[must_use]
    pub fn numbers(range: std::ops::Range<u64>) -> Self {
        Range {
            first: Some(range.start),
            end: Some(range.end),
            ..Range::default()
        }
    }

    /// Messages by time of arrival, the end not included.
    #[must_use]
    pub fn times(range: std::ops::Range<Timestamp>) -> Self {
        Range {
            from: Some(range.start),
            until: Some(range.end),
            ..Range::default()
        }
    }

    fn has(&self, recorded: &Recorded) -> bool {
        self.first.is_none_or(|first| recorded.number >= first)
            && self.from.is_none_or(|from| recorded.time >= from)
            && !self.is_past(recorded, true)
    }

    /// Whether the message `number` is after the range by its number.
    fn is_over(&self, number: u64) -> bool {
        self.end.is_some_and(|end| number >= end)
    }

    /// Whether `recorded` is after the range, and all that follows with it; by its number alone where times may go back.
    fn is_past(&self, recorded: &Recorded, times_rise: bool) -> bool {
        self.is_over(recorded.number) || times_rise && self.until.is_some_and(|until| recorded.time >= until)
    }
}

/// How often a range is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// So many times; a range without a message once.
    Times(NonZeroU64),
    /// Until it is stopped; a range without a message once.
    Forever,
}

impl Repeat {
    /// Once.
    pub const ONCE: Self = Repeat::Times(NonZeroU64::MIN);
}

impl Default for Repeat {
    fn default() -> Self {
        Repeat::ONCE
    }
}

/// The messages of a range, as often as they are to be played.
#[derive(Debug)]
pub struct Playlist {
    recording: Recording,
    range: Range,
    repeat: Repeat,
    round: u64,
    // In this round.
    played: u64,
    // The number after the last one that was read in this round.
    next: u64,
    started: bool,
    finished: bool,
}

impl Playlist {
    /// Plays `range` of `recording` as often as `repeat` says.
    #[must_use]
    pub fn new(recording: Recording, range: Range, repeat: Repeat) -> Self {
        Playlist {
            recording,
            range,
            repeat,
            round: 0,
            played: 0,
            next: 0,
            started: false,
            finished: false,
        }
    }

    /// The round that the last message was of, from zero.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The next message; `None` when all rounds are over.
    ///
    /// # Errors
    /// [`SourceError`]; where [`SourceError::is_passed`], the next call goes on after it.
    pub fn next_message(&mut self) -> Result<Option<Recorded>, SourceError> {
        while !self.finished {
            if !self.started {
                self.start()?;
            }
            // What is behind the range is not looked at: it may be damaged, or gone.
            if self.range.is_over(self.next) {
                self.end_round();
                continue;
            }
            let recorded = match self.recording.next_message() {
                Err(error) if error.number().is_some_and(|number| self.range.is_over(number)) => None,
                read => read?,
            };
            let Some(recorded) = recorded else {
                self.end_round();
                continue;
            };
            self.next = recorded.number.saturating_add(1);
            if self.range.has(&recorded) {
                self.played += 1;
                return Ok(Some(recorded));
            }
            if self.range.is_past(&recorded, self.recording.times_rise()) {
                self.end_round();
            }
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<(), SourceError> {
        match (self.range.first, self.range.from) {
            (Some(first), _) => self.recording.seek_number(first)?,
            (None, Some(from)) => self.recording.seek_time(from)?,
            (None, None) => self.recording.rewind(),
        }
        self.started = true;
        self.next = 0;
        Ok(())
    }

    fn end_round(&mut self) {
        let over = match self.repeat {
            Repeat::Times(times) => self.round + 1 >= times.get(),
            Repeat::Forever => false,
        };
        // What has no message has none the next time either.
        if over || self.played == 0 {
            self.finished = true;
        } else {
            self.round += 1;
            self.played = 0;
            self.started = false;
        }
    }
}

impl Iterator for Playlist {
    type Item = Result<Recorded, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose()
    }
}
