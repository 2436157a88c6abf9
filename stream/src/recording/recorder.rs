//! A recording that is written by a thread of its own, so that receiving goes on while the disk works.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use flexbond_transport::Message;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use super::queue::{Queue, Refused};
use super::{ArrivalClock, Summary, TornTail, WriteError, WriteOptions, Writer};

/// What happens to a message for which there is no room in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The caller waits, and with it whoever sends. The default: nothing is lost here.
    #[default]
    Wait,
    /// The message is left out, and counted; its number shows as missing in the recording.
    DropNewest,
}

/// How a [`Recorder`] queues. Every field has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueOptions {
    /// Messages that wait at most, 1 at least. Default 10,000.
    pub messages: usize,
    /// Payload bytes that wait at most; a longer message waits alone. Default 256 MiB.
    pub bytes: usize,
    /// What happens when there is no room. Default: the caller waits.
    pub overflow: Overflow,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions {
            messages: 10_000,
            bytes: 256 << 20,
            overflow: Overflow::Wait,
        }
    }
}

impl QueueOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        QueueOptions::default()
    }

    /// Sets `messages`.
    #[must_use]
    pub fn messages(mut self, messages: usize) -> Self {
        self.messages = messages;
        self
    }

    /// Sets `bytes`.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets `overflow`.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

/// How a recording gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderStats {
    /// Messages that were written, or are gathered to be written together (a few MiB at most, and only while more come).
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Messages that wait or are being written.
    pub queued: usize,
    /// Their payload bytes.
    pub queued_bytes: usize,
    /// Messages that were left out ([`Overflow::DropNewest`]).
    pub dropped: u64,
    /// How often a message had to wait for room ([`Overflow::Wait`]).
    pub waited: u64,
    /// Messages that do not fit the format, and were left out.
    pub refused: u64,
}

/// Why a message was not recorded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The recording is over: the disk is full, or fails. What was written before is kept.
    #[error(transparent)]
    Stopped(Arc<WriteError>),
}

/// Records messages through a bounded queue and a thread that writes.
///
/// Dropping it closes the recording in the background and does not wait; [`close`](Self::close) does.
#[derive(Debug)]
pub struct Recorder {
    queue: Arc<Queue>,
    clock: ArrivalClock,
    overflow: Overflow,
    shared: Arc<Shared>,
    done: Option<oneshot::Receiver<Result<Summary, Arc<WriteError>>>>,
}

#[derive(Debug, Default)]
struct Shared {
    summary: Mutex<Summary>,
    refused: AtomicU64,
    error: Mutex<Option<Arc<WriteError>>>,
}

impl Recorder {
    /// Begins a recording; see [`Writer::create`].
    ///
    /// # Errors
    /// Those of [`Writer::create`], and [`WriteError::Thread`].
    pub fn create(
        path: impl Into<PathBuf>,
        options: WriteOptions,
        queue: QueueOptions,
    ) -> Result<Self, WriteError> {
        Self::start(queue, || Writer::create(path, options))
    }

    /// Goes on with a recording; see [`Writer::append`].
    ///
    /// # Errors
    /// Those of [`Writer::append`], and [`WriteError::Thread`].
    pub fn append(
        path: impl Into<PathBuf>,
        options: WriteOptions,
        torn: TornTail,
        queue: QueueOptions,
    ) -> Result<Self, WriteError> {
        Self::start(queue, || Writer::append(path, options, torn))
    }

    /// The thread comes first: where it cannot be started there is no file yet.
    fn start(
        options: QueueOptions,
        open: impl FnOnce() -> Result<Writer, WriteError>,
    ) -> Result<Self, WriteError> {
        let queue = Queue::new(options.messages.max(1), options.bytes);
        let shared = Arc::new(Shared::default());
        let (hand_over, opened) = mpsc::sync_channel::<Writer>(1);
        let (finished, done) = oneshot::channel();
        thread::Builder::new()
            .name("flexbond-record".to_owned())
            .spawn({
                let (queue, shared) = (queue.clone(), shared.clone());
                move || {
                    let _over = AbandonOnDrop(&queue);
                    // Without a file nobody waits for the thread.
                    let Ok(writer) = opened.recv() else { return };
                    let before = writer.summary().messages;
                    let result = write_all(writer, &queue, &shared)
                        .map_err(|error| fail(error, before, &queue, &shared));
                    // Nobody may be waiting.
                    let _ = finished.send(result);
                }
            })
            .map_err(|source| WriteError::Thread { source })?;
        let writer = open()?;
        *shared.summary.lock() = writer.summary();
        // The thread waits for it, and there is room.
        let _ = hand_over.send(writer);
        Ok(Recorder {
            queue,
            clock: ArrivalClock::start(),
            overflow: options.overflow,
            shared,
            done: Some(done),
        })
    }

    /// Records a message that arrives now. When there is no room it waits, or leaves the message out, as
    /// [`QueueOptions::overflow`] says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the message out, whole.
    ///
    /// # Errors
    /// [`RecordError::Stopped`] when the recording is over.
    pub async fn record(&self, message: Message) -> Result<(), RecordError> {
        let time = self.clock.at(Instant::now());
        let taken = match self.overflow {
            Overflow::Wait => self.queue.push(message, time).await,
            Overflow::DropNewest => match self.queue.try_push(message, time) {
                Err(Refused::Full(_)) => {
                    self.queue.drop_one();
                    Ok(())
                }
                taken => taken,
            },
        };
        // `push` waits, so what is left is a queue that was closed by an error.
        taken.map_err(|_| self.stopped())
    }

    /// Waits until at most so many payload bytes wait or are being written, or the recording is over: for who would
    /// rather have few messages wait than take all that there is room for.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn shrunk_to(&self, bytes: usize) {
        self.queue.shrunk_to(bytes).await;
    }

    /// How the recording gets on.
    #[must_use]
    pub fn stats(&self) -> RecorderStats {
        let (counts, summary) = (self.queue.counts(), *self.shared.summary.lock());
        RecorderStats {
            messages: summary.messages,
            bytes: summary.bytes,
            files: summary.files,
            queued: counts.queued,
            queued_bytes: counts.queued_bytes,
            dropped: counts.dropped,
            waited: counts.waited,
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    /// Writes what waits, closes the recording and waits until that is done.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    ///
    /// # Errors
    /// [`RecordError::Stopped`]: how much is kept and how much is lost.
    pub async fn close(mut self) -> Result<Summary, RecordError> {
        self.queue.close();
        let Some(done) = self.done.take() else {
            return Err(self.stopped());
        };
        match done.await {
            Ok(result) => result.map_err(RecordError::Stopped),
            // The thread is gone without a word.
            Err(_) => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> RecordError {
        let error = self.shared.error.lock().clone();
        RecordError::Stopped(error.unwrap_or_else(|| Arc::new(WriteError::Over)))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Lets nobody wait for a thread that is gone, however it went.
struct AbandonOnDrop<'a>(&'a Queue);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The writing thread.
fn write_all(mut writer: Writer, queue: &Queue, shared: &Shared) -> Result<Summary, WriteError> {
    while let Some(taken) = queue.take(writer.sync_deadline()) {
        for waiting in &taken.messages {
            writer.skip(waiting.dropped);
            match writer.push(&waiting.message, waiting.time) {
                Ok(_) => {}
                Err(WriteError::Message(_)) => {
                    writer.skip(1);
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        writer.flush_group(queue.has_more())?;
        *shared.summary.lock() = writer.summary();
        queue.release(taken);
    }
    writer.skip(queue.dropped_last());
    let summary = writer.finish()?;
    *shared.summary.lock() = summary;
    Ok(summary)
}

/// Ends the recording for all who record. `before` is how many messages the file had when this recording began.
fn fail(mut error: WriteError, before: u64, queue: &Queue, shared: &Shared) -> Arc<WriteError> {
    // Held until the reason is there, so that whoever is refused finds it.
    let mut reason = shared.error.lock();
    queue.abandon();
    if let WriteError::Stopped { kept, lost, .. } = &mut error {
        let refused = shared.refused.load(Ordering::Relaxed);
        *lost = queue
            .counts()
            .taken
            .saturating_sub(refused)
            .saturating_sub(kept.saturating_sub(before));
    }
    let error = Arc::new(error);
    *reason = Some(error.clone());
    error
}
