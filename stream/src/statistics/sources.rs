//! The numbers of every source of a stream, series by series.

use std::collections::VecDeque;

use super::sequence::{Sequence, Step, Stride, Tally};
use super::sharing::{SharedSource, SharingDetector};
use crate::{FrameId, Numbering};

/// All sources that have been seen, up to a bound.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    list: Vec<Source>,
    /// Where the last message belonged: most streams have one source.
    recent: usize,
    strides: [Stride; 3],
    pub(super) untracked: u64,
    /// One of them turned out to be shared since it was asked last.
    changed: bool,
    /// Whether a source can be shared at all.
    pub(super) watches_sharing: bool,
}

/// One source.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) numbering: Numbering,
    pub(super) name: String,
    /// The newest is at the end. Frames of a series may still come when the next one has begun.
    sequences: VecDeque<(Option<u64>, Sequence)>,
    pub(super) tally: Tally,
    pub(super) series: u64,
    pub(super) last: Option<u64>,
    sharing: SharingDetector,
    /// That it is shared is news.
    fresh: bool,
    /// At which message it was no longer shared.
    shared_until: Option<u64>,
}

const MAX_SOURCES: usize = 64;
/// The longest name of a source that is kept, in bytes.
const MAX_NAME: usize = 256;
/// Messages after which it is news that a source is shared again.
const NEWS: u64 = 10_000;
const MAX_SEQUENCES: usize = 4;

fn index(numbering: Numbering) -> usize {
    match numbering {
        Numbering::Frame => 0,
        Numbering::PulseId => 1,
        Numbering::Image => 2,
    }
}

impl Sources {
    pub(super) fn new() -> Self {
        Sources {
            list: Vec::new(),
            recent: 0,
            strides: [Stride::ONE, Stride::Learned, Stride::ONE],
            untracked: 0,
            changed: false,
            watches_sharing: true,
        }
    }

    pub(super) fn set_stride(&mut self, numbering: Numbering, stride: Stride) {
        self.strides[index(numbering)] = stride;
        let numbered = self
            .list
            .iter_mut()
            .filter(|source| source.numbering == numbering);
        numbered.for_each(Source::begin_anew);
    }

    /// Forgets which numbers came last.
    pub(super) fn begin_anew(&mut self) {
        self.list.iter_mut().for_each(Source::begin_anew);
    }

    /// Notes a number.
    pub(super) fn handle(&mut self, id: FrameId<'_>) {
        let stride = self.strides[index(id.numbering)];
        let watches = self.watches_sharing;
        let Some(source) = self.find(id) else {
            self.untracked += 1;
            return;
        };
        source.last = Some(id.number);
        let sequence = source.sequence(id.series, stride, None);
        // Borrowed apart from the rest of the source.
        let Some((_, sequence)) = source.sequences.get_mut(sequence) else {
            return;
        };
        let was_shared = source.sharing.pattern().is_some();
        let sharing = &mut source.sharing;
        sequence.handle(
            id.number,
            stride == Stride::Learned,
            &mut source.tally,
            &mut |step| match step {
                _ if !watches => {}
                Step::Ahead(missing) => drop(sharing.handle_gap(missing)),
                Step::Late => sharing.handle_late(),
            },
        );
        match (was_shared, source.sharing.pattern().is_some()) {
            (false, true) => source.fresh |= source.is_news(),
            (true, false) => source.shared_until = Some(source.tally.received),
            _ => {}
        }
        let changed = source.fresh;
        self.changed |= changed;
    }

    /// Notes that a series begins, whose first number is known.
    pub(super) fn begin(&mut self, id: FrameId<'_>) {
        let stride = self.strides[index(id.numbering)];
        if let Some(source) = self.find(id) {
            source.sequence(id.series, stride, Some(id.number));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// A source that turned out to be shared since it was asked last.
    pub(super) fn poll_shared(&mut self) -> Option<SharedSource> {
        if !self.changed {
            return None;
        }
        for source in &mut self.list {
            if std::mem::take(&mut source.fresh)
                && let Some(shared) = source.shared()
            {
                return Some(shared);
            }
        }
        self.changed = false;
        None
    }

    fn find(&mut self, id: FrameId<'_>) -> Option<&mut Source> {
        let is_it = |source: &Source| source.numbering == id.numbering && source.name == id.source;
        if !self.list.get(self.recent).is_some_and(is_it) {
            self.recent = match self.list.iter().position(is_it) {
                Some(position) => position,
                None if self.list.len() < MAX_SOURCES && id.source.len() <= MAX_NAME => {
                    self.list.push(Source::new(id));
                    self.list.len() - 1
                }
                None => return None,
            };
        }
        self.list.get_mut(self.recent)
    }
}

impl Source {
    fn new(id: FrameId<'_>) -> Self {
        Source {
            numbering: id.numbering,
            name: id.source.to_owned(),
            sequences: VecDeque::new(),
            tally: Tally::default(),
            series: 0,
            last: None,
            sharing: SharingDetector::new(),
            fresh: false,
            shared_until: None,
        }
    }

    /// Forgets which numbers came last, and what they seemed to mean.
    fn begin_anew(&mut self) {
        self.sequences.clear();
        self.sharing = SharingDetector::new();
        self.fresh = false;
    }

    /// Under load, receivers that share a source may each get hundreds of messages in a row.
    fn is_news(&self) -> bool {
        let news = |until| self.tally.received - until >= NEWS;
        self.shared_until.is_none_or(news)
    }

    /// Where the sequence of a series is; a new one has `start` as its first number, where that is known.
    fn sequence(&mut self, series: Option<u64>, stride: Stride, start: Option<u64>) -> usize {
        if let Some(index) = self.sequences.iter().rposition(|(known, _)| *known == series) {
            return index;
        }
        // What was learned in one series holds for the next.
        let stride = match self.sequences.back().and_then(|(_, last)| last.stride()) {
            Some(learned) => Stride::Fixed(learned),
            None => stride,
        };
        self.series += u64::from(series.is_some());
        self.sequences.push_back((series, Sequence::new(stride, start)));
        if self.sequences.len() > MAX_SEQUENCES {
            self.sequences.pop_front();
        }
        self.sequences.len() - 1
    }

    /// The series that began last.
    pub(super) fn current_series(&self) -> Option<u64> {
        self.sequences.back().and_then(|(series, _)| *series)
    }

    /// By how much its numbers grow, once that is known.
    pub(super) fn stride(&self) -> Option<u64> {
        let (_, sequence) = self.sequences.back()?;
        sequence.stride().map(std::num::NonZeroU64::get)
    }

    pub(super) fn shared(&self) -> Option<SharedSource> {
        self.sharing.pattern().map(|pattern| SharedSource {
            source: self.name.clone(),
            pattern,
        })
    }
}
