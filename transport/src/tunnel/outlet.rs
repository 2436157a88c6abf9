//! The sending half of a connection: a bounded queue, and the task that empties it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use parking_lot::Mutex;

use super::framing::{Frame, MAX_FRAME, unsent_datagrams, whole_frames};
use crate::pipe::{PipeSender, PushError};
use crate::{ByteStream, Message};

/// A frame of this many bytes is written from where it is; shorter ones are joined first, if there are several.
const DIRECT: usize = 16 << 10;
/// A queue that has grown beyond this many bytes is given back once it is empty.
const KEPT: usize = 1 << 20;

/// Where the bytes of a connection go.
pub(super) enum Sink {
    Stream(Arc<dyn ByteStream>),
    /// Each message is one or more whole frames, joined.
    Channel(PipeSender<Message>),
}

/// The sending half of a connection, or of one that is to be.
pub(super) struct Outlet {
    state: Mutex<State>,
    limit: usize,
    /// Whether anything has moved on the connection, in either direction, since somebody last looked.
    moved: AtomicBool,
}

struct State {
    phase: Phase,
    /// Frames that wait, one after the other.
    queue: Vec<u8>,
    /// How many bytes of the first of them have been sent.
    begun: usize,
    /// How many bytes the task that writes has taken, and not yet written.
    held: usize,
    /// Of that task, while it waits for whatever.
    writer: Option<Waker>,
    /// Of a task that waits for the end.
    watcher: Option<Waker>,
}

enum Phase {
    /// There is no connection yet.
    Opening,
    Open(Arc<Sink>),
    /// What waits is still sent; nothing is taken any more.
    Finishing,
    /// It is over.
    Closed,
}

/// The connection takes nothing any more.
#[derive(Debug)]
pub(super) struct Closed;

/// What the task that writes does next.
enum Next {
    /// The first bytes that it has taken have been sent already.
    Write {
        begun: usize,
    },
    Finish,
    Stop,
}

impl Outlet {
    /// The outlet of a connection that is to be made. At most `limit` bytes wait in it.
    pub(super) fn opening(limit: usize) -> Self {
        Outlet {
            state: Mutex::new(State {
                phase: Phase::Opening,
                queue: Vec::new(),
                begun: 0,
                held: 0,
                writer: None,
                watcher: None,
            }),
            // A frame of the largest size must find room in an empty queue.
            limit: limit.max(MAX_FRAME),
            moved: AtomicBool::new(false),
        }
    }

    /// There is a connection now, on which [`run`](Self::run) is about to write.
    pub(super) fn open(&self, sink: &Arc<Sink>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Opening) {
            state.phase = Phase::Open(Arc::clone(sink));
        }
    }

    /// Sends frames, at once where nothing waits before them; returns how many datagrams found no room.
    ///
    /// A full queue drops rather than making the sender wait: the task that sends serves all peers, and one of them
    /// that has stopped must not stop the others. Those who send reliably bound what is under way, by less than what
    /// a queue holds.
    ///
    /// # Errors
    /// [`Closed`]; none was taken.
    pub(super) fn push<'a>(&self, frames: impl Iterator<Item = Frame<'a>>) -> Result<u64, Closed> {
        // Woken once the lock is free again: who is woken may run at once.
        let mut readers = Vec::new();
        let mut state = self.state.lock();
        let sink = match &state.phase {
            Phase::Finishing | Phase::Closed => return Err(Closed),
            Phase::Open(sink) => Some(Arc::clone(sink)),
            Phase::Opening => None,
        };
        // Not while the task that writes waits for room.
        let mut sink = sink.filter(|_| state.held == 0);
        let mut dropped = 0;
        let mut frames = frames.peekable();
        while let Some(frame) = frames.next() {
            let mut written = 0;
            if let Some(free) = &sink
                && state.queued() == 0
                && (frame.len() >= DIRECT || frames.peek().is_none())
            {
                // Of an error, the task that writes hears as well, and closes.
                written = free.try_write(&frame, &mut readers).unwrap_or(0);
                if written == frame.len() {
                    continue;
                }
                sink = None;
            }
            if state.queued() + frame.len() > self.limit {
                dropped += frame.datagrams as u64;
                continue;
            }
            if state.queue.is_empty() {
                state.begun = written;
            }
            frame.append_to(&mut state.queue);
        }
        if let Some(free) = sink {
            state.flush(&free, &mut readers);
        }
        if state.queue.is_empty() {
            self.touch();
        }
        state.unlock_and_wake_for_more();
        readers.into_iter().for_each(Waker::wake);
        Ok(dropped)
    }

    /// Queues frames that had waited elsewhere, as far as there is room; returns how many datagrams found none.
    pub(super) fn push_queued(&self, frames: &[u8]) -> u64 {
        let mut state = self.state.lock();
        let room = match &state.phase {
            Phase::Opening | Phase::Open(_) => self.limit.saturating_sub(state.queued()),
            Phase::Finishing | Phase::Closed => 0,
        };
        // The first frame is counted whatever its size.
        let fitting = Some(whole_frames(frames, room))
            .filter(|&len| len <= room)
            .unwrap_or(0);
        state.queue.extend_from_slice(&frames[..fitting]);
        state.unlock_and_wake_for_more();
        unsent_datagrams(frames, fitting)
    }

    /// Takes nothing any more, sends what waits, and then ends the connection's sending direction.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Opening | Phase::Open(_)) {
            state.phase = Phase::Finishing;
            state.unlock_and_wake();
        }
    }

    /// Ends at once; returns the frames that waited and had not been taken to be written. The first of them may have
    /// begun to be sent.
    pub(super) fn close(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        let phase = std::mem::replace(&mut state.phase, Phase::Closed);
        let queue = std::mem::take(&mut state.queue);
        state.begun = 0;
        let watcher = state.watcher.take();
        state.unlock_and_wake();
        watcher.into_iter().for_each(Waker::wake);
        // Dropping the way to the peer wakes it.
        drop(phase);
        queue
    }

    /// Waits until all was sent, or it was closed. One task may wait.
    pub(super) async fn closed(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.is_closed() {
                return Poll::Ready(());
            }
            state.watcher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether it takes frames.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Opening | Phase::Open(_))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().queued() == 0
    }

    /// Notes that something has moved on the connection.
    pub(super) fn touch(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Whether something has moved since this was last asked.
    pub(super) fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }

    /// Writes what is pushed until the outlet is finished or closed, or the connection breaks; returns how many
    /// datagrams could not be sent.
    pub(super) async fn run(&self, sink: &Sink) -> u64 {
        let mut taken = Vec::new();
        loop {
            let mut written = match poll_fn(|cx| self.poll_take(cx, &mut taken)).await {
                Next::Write { begun } => begun,
                Next::Finish => {
                    poll_fn(|cx| self.poll_shutdown(cx, sink)).await;
                    self.close();
                    return 0;
                }
                Next::Stop => return 0,
            };
            let result = poll_fn(|cx| self.poll_write(cx, sink, &taken, &mut written)).await;
            if result.is_err() {
                return unsent_datagrams(&taken, written) + unsent_datagrams(&self.close(), 0);
            }
        }
    }

    /// Takes all that waits.
    fn poll_take(&self, cx: &mut Context<'_>, taken: &mut Vec<u8>) -> Poll<Next> {
        taken.clear();
        if taken.capacity() > KEPT {
            *taken = Vec::new();
        }
        let mut state = self.state.lock();
        state.held = 0;
        if state.is_closed() {
            return Poll::Ready(Next::Stop);
        }
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, taken);
            let begun = std::mem::take(&mut state.begun);
            state.held = taken.len() - begun;
            return Poll::Ready(Next::Write { begun });
        }
        if matches!(state.phase, Phase::Finishing) {
            return Poll::Ready(Next::Finish);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes the rest of what was taken.
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        sink: &Sink,
        taken: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < taken.len() {
            // Before the attempt, so that closing wakes whatever it waits for.
            let mut state = self.state.lock();
            if state.is_closed() {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            state.held = taken.len() - *written;
            state.writer = Some(cx.waker().clone());
            drop(state);
            *written += ready!(sink.poll_write(cx, &taken[*written..]))?;
            self.touch();
        }
        sink.poll_flush(cx)
    }

    /// Ends the sending direction, unless the peer has gone, or it is closed meanwhile.
    fn poll_shutdown(&self, cx: &mut Context<'_>, sink: &Sink) -> Poll<()> {
        let mut state = self.state.lock();
        if state.is_closed() {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        drop(state);
        match sink {
            Sink::Stream(stream) => stream.poll_shutdown(cx).map(drop),
            Sink::Channel(tx) => {
                tx.close();
                Poll::Ready(())
            }
        }
    }
}

impl State {
    /// How many bytes wait.
    fn queued(&self) -> usize {
        self.queue.len() - self.begun + self.held
    }

    /// Writes what can be written at once of what waits.
    fn flush(&mut self, sink: &Sink, readers: &mut Vec<Waker>) {
        while self.begun < self.queue.len() {
            match sink.try_write_frames(&self.queue[self.begun..], readers) {
                Ok(count) => self.begun += count,
                // Of an error, the task that writes hears as well, and closes.
                Err(_) => return,
            }
        }
        self.queue.clear();
        self.begun = 0;
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }
}

/// Waking may run the task that is woken, so that no lock must be held meanwhile.
trait Unlock {
    fn unlock_and_wake(self);
    /// As above, but only if the task has nothing to do and now has.
    fn unlock_and_wake_for_more(self);
}

impl Unlock for parking_lot::MutexGuard<'_, State> {
    fn unlock_and_wake(mut self) {
        let writer = self.writer.take();
        drop(self);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn unlock_and_wake_for_more(self) {
        if self.held == 0 && !self.queue.is_empty() {
            self.unlock_and_wake();
        }
    }
}

impl Sink {
    /// Writes what can be written of a frame at once; adds who is to be woken for it.
    fn try_write(&self, frame: &Frame<'_>, readers: &mut Vec<Waker>) -> io::Result<usize> {
        match self {
            Sink::Stream(stream) => {
                let slices = [IoSlice::new(&frame.header), IoSlice::new(frame.contents)];
                stream.try_write(&slices)
            }
            Sink::Channel(tx) => {
                if tx.room() == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let mut bytes = Vec::with_capacity(frame.len());
                frame.append_to(&mut bytes);
                readers.extend(push(tx, bytes, None)?);
                Ok(frame.len())
            }
        }
    }

    /// As [`try_write`](Self::try_write), for what waits.
    fn try_write_frames(&self, bytes: &[u8], readers: &mut Vec<Waker>) -> io::Result<usize> {
        match self {
            Sink::Stream(stream) => stream.try_write(&[IoSlice::new(bytes)]),
            Sink::Channel(tx) => {
                if tx.room() == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let len = whole_frames(bytes, MAX_FRAME);
                readers.extend(push(tx, bytes[..len].to_vec(), None)?);
                Ok(len)
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Sink::Stream(stream) => stream.poll_write(cx, &[IoSlice::new(bytes)]),
            Sink::Channel(tx) => {
                if !tx.has_room_or_register(cx.waker()) {
                    return Poll::Pending;
                }
                let len = whole_frames(bytes, MAX_FRAME);
                match push(tx, bytes[..len].to_vec(), Some(cx.waker())) {
                    Ok(reader) => {
                        reader.into_iter().for_each(Waker::wake);
                        Poll::Ready(Ok(len))
                    }
                    // Nobody else pushes while something waits; in any case the waker is known.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Sink::Stream(stream) => stream.poll_flush(cx),
            Sink::Channel(_) => Poll::Ready(Ok(())),
        }
    }
}

fn push(tx: &PipeSender<Message>, bytes: Vec<u8>, waker: Option<&Waker>) -> io::Result<Option<Waker>> {
    tx.try_push_asleep(Message::from(Bytes::from(bytes)), waker)
        .map_err(|error| match error {
            PushError::Full(_) => ErrorKind::WouldBlock.into(),
            PushError::Closed(_) => ErrorKind::BrokenPipe.into(),
        })
}
