//! What came through a stream, how fast, and what did not: plain counting, the clock is an argument.

use std::time::{Duration, Instant};

use crate::{FrameId, Header, Numbering};

mod sequence;
mod sharing;
mod snapshot;
mod sources;
mod window;

pub use sequence::Stride;
pub use sharing::{SharedSource, SharingDetector, SharingPattern};
pub use snapshot::{HtypeCount, Snapshot, SourceCount};

use sources::Sources;
use window::Window;

/// Totals and rates of one stream.
///
/// Only good messages count as messages; malformed ones have a counter of their own, and change nothing else.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::{Header, Statistics};
///
/// let start = Instant::now();
/// let mut statistics = Statistics::new();
/// for i in (0..100).filter(|&i| i != 40) {
///     statistics.handle_message(start + Duration::from_millis(10 * i), 1_000);
///     statistics.handle_header(&Header::new("array-1.0").with("frame", i), 1_000);
/// }
/// let snapshot = statistics.snapshot(start + Duration::from_secs(1));
/// assert_eq!((snapshot.totals.messages, snapshot.totals.lost_frames), (99, 1));
/// assert!((snapshot.rates.messages_per_second - 100.0).abs() < 5.0);
/// assert_eq!(snapshot.to_json()["htypes"]["array-1.0"]["messages"], 99);
/// ```
///
/// # Lost frames
///
/// Messages are numbered by their [`FrameId`]: `frame`, `pulse_id` or image id, within a series, of a source. Each
/// source counts for itself, and each of its series begins anew. A number that is left out counts as lost at once;
/// when it comes late, because several senders or connections overtake each other, it is taken off again and counts
/// as reordered. A number that came before counts as a duplicate, unless it begins the source anew: it is the first
/// one again, or far from the newest, and the next one follows on it; or it is near to the first one, and 63 others follow
/// on it with nothing between them.
///
/// Frames grow by one. How much pulse ids grow depends on the source, and is learned from its first messages
/// ([`Stride`]); [`set_stride`](Self::set_stride) says it for sure.
///
/// All of it is bounded: 32 types and 64 sources are told apart, the last four series of each source and 128 gaps in
/// each are remembered.
#[derive(Clone, Debug)]
pub struct Statistics {
    counted: Counted,
    first: Option<Instant>,
    last: Option<Instant>,
    window: Window,
    htypes: Vec<HtypeCount>,
    other_htypes: u64,
    sources: Sources,
}

/// What is counted without regard to sources.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    messages: u64,
    bytes: u64,
    malformed: u64,
    unknown: u64,
    undecodable: u64,
}

/// Counters since the beginning. Differences of two copies describe the time between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Good messages.
    pub messages: u64,
    /// Bytes of all parts of all good messages, headers included.
    pub bytes: u64,
    /// Messages that could not be understood; they are in no other counter.
    pub malformed: u64,
    /// Good messages whose `htype` is not known here; they are delivered raw.
    pub unknown: u64,
    /// Good messages whose `htype` is known and whose `encoding` is not; they are delivered raw.
    pub undecodable: u64,
    /// Numbers that were left out and have not come since: frames lost on the way, or given to another receiver. The
    /// only counter that may fall, when frames come late.
    pub lost_frames: u64,
    /// Frames that came later than others with higher numbers.
    pub reordered: u64,
    /// Frames that came more than once.
    pub duplicates: u64,
    /// How often a source began to number anew within a series.
    pub restarts: u64,
    /// Series that were seen, over all sources.
    pub series: u64,
    /// Numbered messages of further sources, beyond the bound; nothing more is known of them.
    pub untracked: u64,
}

/// How fast a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Good messages per second.
    pub messages_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
}

/// Something that the user should know, once. Its `Display` says what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Frames go missing because somebody else receives them.
    SharedSource(SharedSource),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::SharedSource(shared) => shared.fmt(f),
        }
    }
}

const MAX_HTYPES: usize = 32;
/// The longest type that is kept, in bytes.
const MAX_HTYPE: usize = 128;

impl Statistics {
    /// Nothing yet, with rates over the last second.
    #[must_use]
    pub fn new() -> Self {
        Statistics::with_window(Duration::from_secs(1))
    }

    /// Nothing yet, with rates over the last `window` (at least 10 ms, in steps of a tenth).
    #[must_use]
    pub fn with_window(window: Duration) -> Self {
        Statistics {
            counted: Counted::default(),
            first: None,
            last: None,
            window: Window::new(window),
            htypes: Vec::new(),
            other_htypes: 0,
            sources: Sources::new(),
        }
    }

    /// Says by how much numbers of one kind grow. What was learned of them is forgotten; what was counted stays.
    pub fn set_stride(&mut self, numbering: Numbering, stride: Stride) {
        self.sources.set_stride(numbering, stride);
    }

    /// Whether to warn of a second receiver (default). A subscriber shares nothing: what it misses was dropped for it.
    pub fn watch_sharing(&mut self, on: bool) {
        self.sources.watches_sharing = on;
    }

    /// Forgets which numbers came last, because what comes now comes from elsewhere: nothing is missing between the two.
    /// What was counted stays, and so do the strides that were set.
    ///
    /// ```
    /// let mut statistics = flexbond_stream::Statistics::new();
    /// statistics.handle_frame(7);
    /// statistics.begin_anew();
    /// statistics.handle_frame(5_000);
    /// statistics.handle_frame(5_002);
    /// assert_eq!(statistics.totals().lost_frames, 1);
    /// ```
    pub fn begin_anew(&mut self) {
        self.sources.begin_anew();
    }

    /// Counts one good message of `bytes` bytes, all parts together.
    pub fn handle_message(&mut self, now: Instant, bytes: usize) {
        let bytes = bytes as u64;
        self.counted.messages += 1;
        self.counted.bytes = self.counted.bytes.saturating_add(bytes);
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.window.add(now, bytes);
    }

    /// Notes the header of a good message (besides [`handle_message`](Self::handle_message)): its type and its number.
    pub fn handle_header(&mut self, header: &Header, bytes: usize) {
        self.handle_htype(header.htype(), bytes);
        if header.begins_series() {
            // Dectris numbers the frames of every series from zero.
            if let Some(series) = header.number("series") {
                let id = FrameId::new(Numbering::Frame, 0).series(series);
                self.sources.begin(id.source(header.source().unwrap_or_default()));
            }
        } else if let Some(id) = FrameId::of(header) {
            self.handle_frame_id(id);
        }
    }

    /// Notes the type of a good message: a part of [`handle_header`](Self::handle_header), for messages whose header
    /// is no [`Header`].
    pub fn handle_htype(&mut self, htype: &str, bytes: usize) {
        let index = match self.htypes.iter().position(|known| known.htype == htype) {
            Some(index) => index,
            None if self.htypes.len() < MAX_HTYPES && htype.len() <= MAX_HTYPE => {
                self.htypes.push(HtypeCount::new(htype));
                self.htypes.len() - 1
            }
            None => {
                self.other_htypes += 1;
                return;
            }
        };
        let count = &mut self.htypes[index];
        count.messages += 1;
        count.bytes = count.bytes.saturating_add(bytes as u64);
    }

    /// Notes the number of a good message: a part of [`handle_header`](Self::handle_header), for messages whose header
    /// is no [`Header`].
    pub fn handle_frame_id(&mut self, id: FrameId<'_>) {
        self.sources.handle(id);
    }

    /// Notes the number of a frame that says neither series nor source.
    pub fn handle_frame(&mut self, frame: u64) {
        self.handle_frame_id(FrameId::new(Numbering::Frame, frame));
    }

    /// Counts a message that could not be understood.
    pub fn handle_malformed(&mut self) {
        self.counted.malformed += 1;
    }

    /// Counts a good message whose type is not known (besides [`handle_message`](Self::handle_message)).
    pub fn handle_unknown(&mut self) {
        self.counted.unknown += 1;
    }

    /// Counts a good message whose data are packed in a way that is not known (besides
    /// [`handle_message`](Self::handle_message)).
    pub fn handle_undecodable(&mut self) {
        self.counted.undecodable += 1;
    }

    /// What the user should know and has not been told yet. It is told again when it comes back after 10,000 messages.
    pub fn poll_warning(&mut self) -> Option<Warning> {
        self.sources.poll_shared().map(Warning::SharedSource)
    }

    /// What the user should know now, told or not.
    pub fn warnings(&self) -> impl Iterator<Item = Warning> {
        self.sources
            .iter()
            .filter_map(|source| source.shared().map(Warning::SharedSource))
    }

    /// The counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            messages: self.counted.messages,
            bytes: self.counted.bytes,
            malformed: self.counted.malformed,
            unknown: self.counted.unknown,
            undecodable: self.counted.undecodable,
            untracked: self.sources.untracked,
            ..Totals::default()
        };
        for source in self.sources.iter() {
            totals.lost_frames = totals.lost_frames.saturating_add(source.tally.lost);
            totals.reordered += source.tally.reordered;
            totals.duplicates += source.tally.duplicates;
            totals.restarts += source.tally.restarts;
            totals.series += source.series;
        }
        totals
    }

    /// How fast messages came during the window that ends `now`.
    #[must_use]
    pub fn rates(&self, now: Instant) -> Rates {
        self.window.rates(now)
    }

    /// The time from the first message to the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// All of it, to be shown.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            elapsed: self.elapsed(),
            totals: self.totals(),
            rates: self.rates(now),
            htypes: self.htypes.clone(),
            other_htypes: self.other_htypes,
            sources: self.sources.iter().map(SourceCount::of).collect(),
            warnings: self.warnings().collect(),
        }
    }
}

impl Default for Statistics {
    fn default() -> Self {
        Statistics::new()
    }
}

#[cfg(test)]
mod tests;
