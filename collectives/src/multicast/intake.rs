//! What comes of the messages that this rank waits for, until its receives take it. Without I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// A message that was announced, and whose receive has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Who sends it.
    pub(super) from: usize,
    pub(super) tag: u64,
    pub(super) number: u32,
    pub(super) length: usize,
    pub(super) stage: Stage,
}

/// How far a receive has come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    /// Its sender knows that this rank is ready.
    Asked,
    /// Its sender knows that the stream did not bring all of it.
    Lost,
}

/// The messages that this rank waits for.
#[derive(Debug, Default)]
pub(super) struct Intake(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing more will come.
    is_over: bool,
    /// By sender and number.
    coming: HashMap<(usize, u32), Coming>,
    /// Those whose receives were dropped wait for the next ones, by sender and tag.
    waiting: HashMap<(usize, u64), VecDeque<Announced>>,
    /// Who waits for room.
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Coming {
    length: usize,
    /// Bytes that have come.
    arrived: usize,
    /// What was not taken yet.
    parts: VecDeque<Bytes>,
    queued: usize,
    /// No more of it will come.
    has_ended: bool,
    /// Somebody receives it, and makes room.
    is_watched: bool,
    receiver: Option<Waker>,
}

/// What there is of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next parts.
    Parts(VecDeque<Bytes>),
    /// Everything was taken.
    All,
    /// The rest will not come.
    Lost,
}

impl Intake {
    /// What may wait to be taken of one message, in bytes, where somebody takes it.
    const ROOM: usize = 4 << 20;

    /// Expects a message, or goes on to.
    pub(super) fn expect(&self, announced: &Announced) {
        let mut state = self.state();
        let has_ended = state.is_over;
        let key = (announced.from, announced.number);
        let coming = state.coming.entry(key).or_insert_with(|| Coming {
            length: announced.length,
            arrived: 0,
            parts: VecDeque::new(),
            queued: 0,
            has_ended,
            is_watched: true,
            receiver: None,
        });
        coming.is_watched = true;
    }

    /// Whether a message of this length is expected.
    pub(super) fn expects(&self, from: usize, number: u32, length: u64) -> bool {
        let state = self.state();
        let coming = state.coming.get(&(from, number));
        coming.is_some_and(|coming| coming.length as u64 == length)
    }

    /// Takes a part, unless nobody wants it any more; waits while there is no room for it.
    pub(super) fn poll_put(&self, cx: &Context<'_>, from: usize, number: u32, part: &Bytes) -> Poll<()> {
        let mut state = self.state();
        let State { coming, reader, .. } = &mut *state;
        let Some(coming) = coming.get_mut(&(from, number)) else {
            return Poll::Ready(());
        };
        if coming.is_watched && coming.queued >= Self::ROOM {
            *reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if part.len() > coming.length - coming.arrived {
            // More than was announced: it is none of what is wanted.
            coming.has_ended = true;
        } else if !coming.has_ended {
            coming.arrived += part.len();
            coming.queued += part.len();
            coming.parts.push_back(part.clone());
        }
        let receiver = coming.receiver.take();
        drop(state);
        wake(receiver);
        Poll::Ready(())
    }

    /// No more of a message will come.
    pub(super) fn end(&self, from: usize, number: u32) {
        let mut state = self.state();
        let receiver = state.coming.get_mut(&(from, number)).and_then(|coming| {
            coming.has_ended = true;
            coming.receiver.take()
        });
        drop(state);
        wake(receiver);
    }

    /// Nothing more will come at all.
    pub(super) fn end_all(&self) {
        let mut state = self.state();
        state.is_over = true;
        let end = |coming: &mut Coming| {
            coming.has_ended = true;
            coming.receiver.take()
        };
        let receivers: Vec<_> = state.coming.values_mut().filter_map(end).collect();
        drop(state);
        receivers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// Takes what has come of a message. The last to be told is that everything was taken, or that the rest is lost;
    /// the message is forgotten then.
    pub(super) fn poll_take(&self, cx: &Context<'_>, from: usize, number: u32) -> Poll<Taken> {
        let mut state = self.state();
        let State { coming, reader, .. } = &mut *state;
        let Some(found) = coming.get_mut(&(from, number)) else {
            return Poll::Ready(Taken::Lost);
        };
        if !found.parts.is_empty() {
            found.queued = 0;
            let parts = std::mem::take(&mut found.parts);
            let reader = reader.take();
            drop(state);
            wake(reader);
            return Poll::Ready(Taken::Parts(parts));
        }
        let is_whole = found.arrived == found.length;
        // Its end is the stream's to say, too: until then there may be more than was announced.
        if found.has_ended {
            coming.remove(&(from, number));
            return Poll::Ready(if is_whole { Taken::All } else { Taken::Lost });
        }
        found.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A receive is dropped: what it had of the message, and the message, wait for the next one.
    pub(super) fn put_back(&self, announced: Announced, had: &[u8]) {
        let mut state = self.state();
        let key = (announced.from, announced.number);
        if let Some(coming) = state.coming.get_mut(&key) {
            coming.is_watched = false;
            coming.receiver = None;
            if !had.is_empty() {
                coming.parts.push_front(Bytes::copy_from_slice(had));
                coming.queued += had.len();
            }
        }
        let waiting = state.waiting.entry((announced.from, announced.tag)).or_default();
        waiting.push_front(announced);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// A message whose receive was dropped.
    pub(super) fn take_waiting(
        &self,
        from: usize,
        tag: u64,
        room: usize,
    ) -> Option<Result<Announced, usize>> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            return None;
        }
        let waiting = state.waiting.get_mut(&(from, tag))?;
        let length = waiting.front()?.length;
        if length > room {
            return Some(Err(length));
        }
        let announced = waiting.pop_front()?;
        if waiting.is_empty() {
            state.waiting.remove(&(from, tag));
        }
        Some(Ok(announced))
    }

    /// Forgets a message; what still comes of it is ignored.
    pub(super) fn forget(&self, from: usize, number: u32) {
        let mut state = self.state();
        state.coming.remove(&(from, number));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Forgets those messages whose receives were dropped and that nobody will ask for.
    pub(super) fn discard(&self, tags: impl Fn(u64) -> bool) -> Vec<Announced> {
        let mut state = self.state();
        let mut found = Vec::new();
        state.waiting.retain(|(_, tag), waiting| {
            let is_kept = !tags(*tag);
            if !is_kept {
                found.extend(waiting.drain(..));
            }
            is_kept
        });
        for announced in &found {
            state.coming.remove(&(announced.from, announced.number));
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made in one go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
