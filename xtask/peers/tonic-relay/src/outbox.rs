//! What one side of a stream has to say: pieces at once, and marks with them or a little later.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::messages::Mark;

/// How long marks wait for something to go with.
const LATE: Duration = Duration::from_millis(10);
/// Pieces that go together, where they do.
pub(crate) const BATCH: usize = 64;
/// Marks that are told at once: so many pieces of one mailbox. Half of what it may have.
const MANY: u64 = crate::mailbox::MOST as u64 / 2;
/// Bytes that go together, unless it is one piece.
const BATCH_BYTES: usize = 1 << 20;

/// What waits to be said.
pub(crate) struct Outbox<T> {
    /// So many items go together at most.
    batch: usize,
    state: Mutex<State<T>>,
    news: Notify,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    marks: BTreeMap<u32, Mark>,
    /// What was told last.
    told: BTreeMap<u32, Mark>,
    /// When marks have to go.
    due: Option<Instant>,
    is_closed: bool,
}

/// What has a size.
pub(crate) trait Size {
    fn size(&self) -> usize;
}

/// What is said at once.
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    pub(crate) marks: Vec<Mark>,
}

impl<T: Size + Send + 'static> Outbox<T> {
    pub(crate) fn new(batch: usize) -> Arc<Self> {
        Arc::new(Outbox {
            batch,
            state: Mutex::new(State {
                items: VecDeque::new(),
                marks: BTreeMap::new(),
                told: BTreeMap::new(),
                due: None,
                is_closed: false,
            }),
            news: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        let size = item.size();
        self.lock().items.push_back((item, size));
        self.news.notify_one();
    }

    /// A newer mark of the same mailbox takes the place of one that waits.
    pub(crate) fn mark(&self, mark: Mark) {
        let mut state = self.lock();
        let waiting = state.marks.entry(mark.number).or_insert(mark);
        waiting.taken = waiting.taken.max(mark.taken);
        waiting.received = waiting.received.max(mark.received);
        let told = state.told.get(&mark.number).copied().unwrap_or_default();
        let is_much = mark.received.saturating_sub(told.received) >= MANY
            || mark.taken.saturating_sub(told.taken) >= MANY;
        if !is_much && state.due.is_some() {
            return;
        }
        let late = if is_much { Duration::ZERO } else { LATE };
        state.due = Some(Instant::now() + late);
        drop(state);
        self.news.notify_one();
    }

    /// Marks go at once: a large piece has come, and its sender may be waiting for room.
    pub(crate) fn hurry(&self) {
        let mut state = self.lock();
        if state.marks.is_empty() {
            return;
        }
        state.due = Some(Instant::now());
        drop(state);
        self.news.notify_one();
    }

    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// What there is to say; none at the end.
    async fn next(&self) -> Option<Batch<T>> {
        loop {
            let due = {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                let is_due = state.due.is_some_and(|due| due <= Instant::now());
                if !state.items.is_empty() || is_due {
                    return Some(state.take(self.batch));
                }
                state.due
            };
            match due {
                Some(due) => {
                    // Either is a reason to look again.
                    let _ = tokio::time::timeout_at(due, self.news.notified()).await;
                }
                None => self.news.notified().await,
            }
        }
    }

    /// As a stream of messages.
    pub(crate) fn stream<M>(
        self: Arc<Self>,
        message: impl Fn(Batch<T>) -> M + Send + 'static,
    ) -> impl Stream<Item = M> + Send + 'static
    where
        M: Send + 'static,
    {
        futures::stream::unfold((self, message), |(outbox, message)| async {
            let batch = outbox.next().await?;
            let next = message(batch);
            Some((next, (outbox, message)))
        })
    }
}

impl<T> State<T> {
    fn take(&mut self, batch: usize) -> Batch<T> {
        let mut bytes = 0;
        let fits = self.items.iter().take(batch).take_while(|(_, size)| {
            bytes += size;
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(1).min(self.items.len());
        let marks = std::mem::take(&mut self.marks);
        self.due = None;
        for (number, mark) in &marks {
            self.told.insert(*number, *mark);
        }
        Batch {
            items: self.items.drain(..count).map(|(item, _)| item).collect(),
            marks: marks.into_values().collect(),
        }
    }
}
