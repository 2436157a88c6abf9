//! Items of several inputs that have the same number, put together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::epochs::{Epochs, Key};
use crate::{FrameId, Numbering};

/// How items are put together. Every field has a default.
///
/// ```
/// use std::time::Duration;
/// use flexbond_stream::Numbering;
/// use flexbond_stream::merge::AlignOptions;
///
/// let options = AlignOptions::new().numbering(Numbering::PulseId).max_pending(10);
/// assert_eq!((options.max_pending, options.wait), (10, Duration::from_secs(1)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AlignOptions {
    /// Which number counts. Default: what [`FrameId::of`] finds.
    pub numbering: Option<Numbering>,
    /// How long the first item of a set waits for the others. Default 1 s.
    pub wait: Duration,
    /// How many items of one input may wait; at least one. Default 100. An [`AlignedMerge`](super::AlignedMerge) does
    /// not read on where so many wait; an [`Aligner`] that is given more gives up the oldest set. Where so many wait for
    /// inputs that have brought nothing for [`wait`](Self::wait), the oldest set is given up at once, so that an input
    /// that is silent does not slow the others down.
    pub max_pending: usize,
    /// Whether each input is in order (default), so that nothing of it is waited for any more once it has gone beyond.
    /// An input may be out of order when it has several senders or connections.
    pub ordered: bool,
    /// How long a receive waits; `None` (default) waits for ever. The time-outs of the streams themselves do not apply.
    pub receive_timeout: Option<Duration>,
}

impl Default for AlignOptions {
    fn default() -> Self {
        AlignOptions {
            numbering: None,
            wait: Duration::from_secs(1),
            max_pending: 100,
            ordered: true,
            receive_timeout: None,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, value: $type) -> Self {
            self.$name = value.into();
            self
        }
    )*};
}

impl AlignOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        AlignOptions::default()
    }

    setters! {
        numbering: impl Into<Option<Numbering>>, wait: Duration, max_pending: usize, ordered: bool,
        receive_timeout: impl Into<Option<Duration>>,
    }
}

/// Items with the same number, one of each input at most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlignedSet<T> {
    /// The series that the number counts within.
    pub series: Option<u64>,
    /// The number.
    pub number: u64,
    /// The items, by input; `None` where it did not come in time.
    pub items: Vec<Option<T>>,
}

impl<T> AlignedSet<T> {
    /// The inputs whose item is missing.
    pub fn missing(&self) -> impl Iterator<Item = usize> {
        let items = self.items.iter().enumerate();
        items.filter_map(|(input, item)| item.is_none().then_some(input))
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.items.iter().all(Option::is_some)
    }
}

/// An item that belongs to no set, handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected<T> {
    /// Why.
    pub reason: Rejection,
    /// The item.
    pub item: T,
}

/// Why an item belongs to no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// Its set, or a later one, has been given.
    Late,
    /// Its set has an item of this input already.
    Duplicate,
    /// There is no such input.
    NoInput,
}

/// What became of the items of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlignCount {
    /// Items in sets that were given.
    pub aligned: u64,
    /// Sets that were given without an item of this input.
    pub missing: u64,
    /// Items that came too late for their set.
    pub late: u64,
    /// Items that came more than once.
    pub duplicates: u64,
    /// Items that wait for others.
    pub pending: usize,
}

/// Puts items of several inputs together by their numbers. No I/O, no clock.
///
/// Sets come in ascending order, each when it is complete, when every input that is missing has gone beyond it
/// ([`AlignOptions::ordered`]), when its first item has waited for [`AlignOptions::wait`], or when
/// [`AlignOptions::max_pending`] items wait for inputs that are silent. An input that begins to number anew does not make the others late: its items form sets of their own until the others begin anew, too.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::merge::{AlignOptions, Aligner};
/// use flexbond_stream::{FrameId, Numbering};
///
/// let now = Instant::now();
/// let mut aligner = Aligner::new(2, AlignOptions::new());
/// let frame = |number| FrameId::new(Numbering::Frame, number);
/// aligner.handle_item(now, 0, frame(7), "left 7").unwrap();
/// assert!(aligner.poll(now).is_none());
/// aligner.handle_item(now, 1, frame(7), "right 7").unwrap();
/// assert_eq!(aligner.poll(now).unwrap().items, [Some("left 7"), Some("right 7")]);
///
/// aligner.handle_item(now, 0, frame(8), "left 8").unwrap();
/// let set = aligner.poll(now + Duration::from_secs(1)).unwrap();
/// assert_eq!(set.missing().collect::<Vec<_>>(), [1]);
/// assert!(aligner.handle_item(now, 1, frame(8), "right 8").is_err(), "too late");
/// ```
#[derive(Clone, Debug)]
pub struct Aligner<T> {
    options: AlignOptions,
    epochs: Epochs,
    /// When the first item came.
    start: Option<Instant>,
    inputs: Vec<Input>,
    sets: BTreeMap<Key, Pending<T>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    count: AlignCount,
    /// When it brought its last item.
    heard: Option<Instant>,
    /// It is not read on before its items are given.
    blocked: bool,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Pending<T> {
    since: Instant,
    series: Option<u64>,
    items: Vec<Option<T>>,
}

impl<T> Aligner<T> {
    /// For so many inputs.
    #[must_use]
    pub fn new(inputs: usize, mut options: AlignOptions) -> Self {
        options.max_pending = options.max_pending.max(1);
        Aligner {
            options,
            epochs: Epochs::new(inputs),
            start: None,
            inputs: vec![Input::default(); inputs],
            sets: BTreeMap::new(),
        }
    }

    /// Takes an item. Of its number, the source does not matter: it is the input that tells items apart.
    ///
    /// # Errors
    /// [`Rejected`] hands the item back that belongs to no set; it is counted.
    pub fn handle_item(
        &mut self,
        now: Instant,
        input: usize,
        id: FrameId<'_>,
        item: T,
    ) -> Result<(), Rejected<T>> {
        let count = self.inputs.len();
        let Some(known) = self.inputs.get_mut(input) else {
            return Err(Rejected {
                reason: Rejection::NoInput,
                item,
            });
        };
        self.start.get_or_insert(now);
        known.heard = Some(now);
        let position = (id.series.unwrap_or(0), id.number);
        let has_item = |set: &Pending<T>| set.items.get(input).is_some_and(Option::is_some);
        // Looked at first: what waits twice is no new beginning.
        let repeated = self
            .sets
            .get(&self.epochs.key(input, position))
            .is_some_and(has_item);
        if repeated {
            known.count.duplicates += 1;
            return Err(Rejected {
                reason: Rejection::Duplicate,
                item,
            });
        }
        let Ok(key) = self.epochs.place(input, position) else {
            known.count.late += 1;
            return Err(Rejected {
                reason: Rejection::Late,
                item,
            });
        };
        let set = self.sets.entry(key).or_insert_with(|| Pending {
            since: now,
            series: id.series,
            items: std::iter::repeat_with(|| None).take(count).collect(),
        });
        match set.items.get_mut(input) {
            Some(slot) if slot.is_none() => {
                *slot = Some(item);
                known.count.pending += 1;
                Ok(())
            }
            // Its number has led the input into another epoch, where it had this number before.
            _ => {
                known.count.duplicates += 1;
                Err(Rejected {
                    reason: Rejection::Duplicate,
                    item,
                })
            }
        }
    }

    /// The next set that can be given now.
    pub fn poll(&mut self, now: Instant) -> Option<AlignedSet<T>> {
        let entry = self.sets.first_entry()?;
        let (key, set) = (*entry.key(), entry.get());
        let most = self.inputs.iter().map(|input| input.count.pending).max();
        let is_full = most >= Some(self.options.max_pending) || self.inputs.iter().any(|input| input.blocked);
        let is_over = |since: Option<Instant>| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= self.options.wait)
        };
        let nobody_missing = set
            .items
            .iter()
            .zip(&self.inputs)
            .enumerate()
            .all(|(index, (item, input))| {
                item.is_some()
                    || input.ended
                    || self.options.ordered && self.epochs.has_passed(index, key)
                    || is_full && is_over(input.heard.or(self.start))
            });
        let is_overfull = most > Some(self.options.max_pending);
        if !nobody_missing && !is_over(Some(set.since)) && !is_overfull {
            return None;
        }
        let set = entry.remove();
        self.epochs.give(key);
        for (input, item) in self.inputs.iter_mut().zip(&set.items) {
            match item {
                Some(_) => {
                    input.count.aligned += 1;
                    input.count.pending -= 1;
                }
                None => input.count.missing += 1,
            }
        }
        Some(AlignedSet {
            series: set.series,
            number: key.1.1,
            items: set.items,
        })
    }

    /// When to poll again if nothing comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, set) = self.sets.first_key_value()?;
        set.since.checked_add(self.options.wait)
    }

    /// Whether another item of this input can wait without an older one being given up.
    #[must_use]
    pub fn has_room(&self, input: usize) -> bool {
        self.inputs
            .get(input)
            .is_some_and(|input| input.count.pending < self.options.max_pending)
    }

    /// Says that an input is not read on before all of its items are given, as if it had no room; or that it is again.
    pub(super) fn block(&mut self, input: usize, blocked: bool) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.blocked = blocked;
        }
    }

    /// Whether nothing of this input waits.
    #[must_use]
    pub fn is_empty(&self, input: usize) -> bool {
        self.inputs
            .get(input)
            .is_none_or(|input| input.count.pending == 0)
    }

    /// Waits for nothing of an input from now on.
    pub fn end(&mut self, input: usize) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.ended = true;
        }
    }

    /// Whether [`end`](Self::end) was said of an input.
    #[must_use]
    pub fn has_ended(&self, input: usize) -> bool {
        self.inputs.get(input).is_none_or(|input| input.ended)
    }

    /// Whether no input is left. Sets may still wait.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inputs.iter().all(|input| input.ended)
    }

    /// The counters of each input.
    pub fn counts(&self) -> impl Iterator<Item = AlignCount> {
        self.inputs.iter().map(|input| input.count)
    }
}

#[cfg(test)]
mod tests;
