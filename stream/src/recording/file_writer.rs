//! One recording file being written: whole blocks go out, and what cannot go out is cut off again.

use std::io;

use flexbond_transport::Message;

use super::batch::Batch;
use super::encoder::{EncodeError, Encoder};
use super::storage::{Reach, Storage};
use super::survey::Survey;
use super::{OpenError, Timestamp};

/// One file, at its end.
#[derive(Debug)]
pub(super) struct FileWriter<S> {
    storage: S,
    encoder: Encoder,
    batch: Batch,
}

/// What a file holds after it could not be written any more.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Messages that are whole in the file.
    pub(super) kept: u64,
    /// Messages that are not.
    pub(super) lost: u64,
    /// Whether there was room for the footer.
    pub(super) closed: bool,
    pub(super) error: io::Error,
}

// So many bytes are gathered before they are written.
const BATCH: u64 = 1 << 20;

impl<S: Storage> FileWriter<S> {
    /// Begins a file; `batch` has its preamble, which is written at once, so that the file is a recording from the start.
    pub(super) fn begin(mut storage: S, encoder: Encoder, batch: Batch) -> io::Result<Self> {
        storage.write(&batch, Reach::Everything)?;
        let mut writer = FileWriter {
            storage,
            encoder,
            batch,
        };
        writer.batch.clear();
        Ok(writer)
    }

    /// Goes on with a file that was looked over; what is torn off its end is cut.
    pub(super) fn resume(mut storage: S, survey: Survey) -> Result<Self, OpenError> {
        let preamble = survey.preamble.ok_or(OpenError::Damaged)?;
        storage.truncate(survey.end)?;
        let encoder = Encoder::resume(preamble, survey.end, survey.chunks, survey.entries, survey.totals);
        Ok(FileWriter {
            storage,
            encoder,
            batch: Batch::new(),
        })
    }

    pub(super) fn into_storage(self) -> S {
        self.storage
    }

    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    pub(super) fn encoder_mut(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Takes one message; it is in the file after the next [`flush`](Self::flush).
    pub(super) fn push(&mut self, message: &Message, time: Timestamp) -> Result<u64, EncodeError> {
        self.encoder.encode(message, time, &mut self.batch)
    }

    /// Whether enough was gathered to be written.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH
    }

    /// Hands everything to the operating system.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        self.write(Reach::Everything)
    }

    /// Writes what was gathered, for more is about to come.
    pub(super) fn write_blocks(&mut self) -> Result<(), Stopped> {
        self.write(Reach::Blocks)
    }

    fn write(&mut self, reach: Reach) -> Result<(), Stopped> {
        let written = self.storage.write(&self.batch, reach);
        self.batch.clear();
        written.map_err(|error| self.stop(error))
    }

    /// Has everything that was flushed put on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Stopped> {
        // What a failed sync has lost cannot be known; the file is read again to see what it holds.
        self.storage.sync().map_err(|error| self.stop(error))
    }

    /// Writes the footer.
    pub(super) fn finish(&mut self) -> Result<(), Stopped> {
        self.encoder.finish(&mut self.batch);
        self.flush()
    }

    /// Cuts off what is not whole, and closes the file if there is room for that.
    fn stop(&mut self, error: io::Error) -> Stopped {
        let pushed = self.encoder.messages();
        let (kept, closed) = self.salvage().unwrap_or((0, false));
        Stopped {
            kept,
            lost: pushed.saturating_sub(kept),
            closed,
            error,
        }
    }

    fn salvage(&mut self) -> Result<(u64, bool), OpenError> {
        let survey = Survey::of(&self.storage)?;
        let (kept, end) = (survey.totals.messages, survey.end);
        if survey.closed {
            return Ok((kept, true));
        }
        // From here on the messages are safe whatever happens: those that are whole are before `end`.
        if self.storage.truncate(end).is_err() {
            return Ok((kept, false));
        }
        let Some(preamble) = survey.preamble else {
            return Ok((kept, false));
        };
        self.encoder = Encoder::resume(preamble, end, survey.chunks, survey.entries, survey.totals);
        self.batch.clear();
        self.encoder.finish(&mut self.batch);
        let closed = self.storage.write(&self.batch, Reach::Everything).is_ok();
        self.batch.clear();
        if !closed {
            // The file is readable either way; without half a footer it is also whole.
            let _ = self.storage.truncate(end);
        }
        let _ = self.storage.sync();
        Ok((kept, closed))
    }
}
