//! The end of a file, to which bytes go through the page cache or past it, whichever is faster.

use std::fs::File;
use std::io::{self, IoSlice};
use std::time::Instant;

use super::aligned::{AlignedBuffer, Run};
use super::batch::Batch;
use super::chooser::{Chooser, Way};
use super::descriptor::Descriptor;
use super::lane::Lane;
use super::storage::{Reach, ReadAt, Storage};

/// A file that is written at its end.
///
/// Past the cache only whole blocks can go. So they are copied to where they are aligned, and a thread of its own writes
/// them while the next ones are copied; what is less than a block waits for the next write, or goes through the cache
/// when everything has to go. What is in the file is never written again: after half a block the other half goes
/// through the cache as well. A page that readers look at is thus never under a direct write, and no direct write waits
/// for a page.
#[derive(Debug)]
pub(super) struct DirectFile<D = File> {
    /// `None` while the lane has it.
    file: Option<D>,
    /// Bytes of the file, with those that the lane has.
    at: u64,
    chooser: Chooser,
    /// What was taken and is not in the file yet; made at the first direct write.
    buffer: Option<AlignedBuffer>,
    /// The other one.
    spare: Option<AlignedBuffer>,
    lane: Option<Lane<D>>,
    buffer_len: usize,
    /// A batch with fewer bytes goes through the cache.
    worthwhile: u64,
}

// Less is not worth a trip to the disk of its own, and too little to measure.
const WORTHWHILE: u64 = 512 << 10;
// Twice what is gathered: then a direct write has a whole batch.
const BUFFER: usize = 2 << 20;

impl<D: Descriptor> DirectFile<D> {
    /// A file that is empty, or is truncated before it is written.
    pub(super) fn new(file: D, chooser: Chooser) -> Self {
        DirectFile {
            file: Some(file),
            at: 0,
            chooser,
            buffer: None,
            spare: None,
            lane: None,
            buffer_len: BUFFER,
            worthwhile: WORTHWHILE,
        }
    }

    /// Goes on with `next`, which is empty, and with what was learnt. Of this file everything is written.
    pub(super) fn followed_by(mut self, next: D) -> Self {
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(0);
        }
        DirectFile {
            file: Some(next),
            at: 0,
            ..self
        }
    }

    fn put(&mut self, batch: &Batch, reach: Reach) -> io::Result<()> {
        match self.chooser.way() {
            Way::Direct if batch.len() >= self.worthwhile => self.put_direct(batch)?,
            Way::Direct | Way::Cached => self.put_cached(batch)?,
        }
        match reach {
            Reach::Everything => self.write_waiting(),
            Reach::Blocks => Ok(()),
        }
    }

    fn put_cached(&mut self, batch: &Batch) -> io::Result<()> {
        self.write_waiting()?;
        let file = here(&mut self.file)?;
        let at = &mut self.at;
        batch.write_with(|slices| {
            let written = file.write(slices)?;
            *at += written as u64;
            Ok(written)
        })
    }

    fn put_direct(&mut self, batch: &Batch) -> io::Result<()> {
        if !self.prepare()? {
            self.chooser.handle_refused();
            return self.put_cached(batch);
        }
        for mut piece in batch.pieces() {
            while !piece.is_empty() {
                let at = self.at;
                let Some(buffer) = &mut self.buffer else { break };
                if buffer.is_empty() {
                    buffer.begin(at);
                }
                piece = &piece[buffer.take(piece)..];
                if buffer.is_full() {
                    self.write_blocks()?;
                }
            }
        }
        self.write_blocks()
    }

    /// Makes what direct writes need; `false` where there can be none.
    fn prepare(&mut self) -> io::Result<bool> {
        if self.lane.is_none() {
            let Some(align) = here(&mut self.file)?.alignment() else {
                return Ok(false);
            };
            let Ok(lane) = Lane::start() else {
                return Ok(false);
            };
            self.lane = Some(lane);
            self.buffer = Some(AlignedBuffer::new(self.buffer_len, align));
            self.spare = Some(AlignedBuffer::new(self.buffer_len, align));
        }
        Ok(true)
    }

    /// Has what reaches the end of a block written.
    fn write_blocks(&mut self) -> io::Result<()> {
        while let Some(Run::Head(_)) = self.buffer.as_ref().and_then(AlignedBuffer::run) {
            self.land()?;
            let (file, Some(buffer)) = (here(&mut self.file)?, &mut self.buffer) else {
                break;
            };
            if let Some(Run::Head(head)) = buffer.run() {
                let written = file.write(&[IoSlice::new(head)]);
                self.at += advance(buffer, written)?;
            }
        }
        let Some(Run::Blocks(blocks)) = self.buffer.as_ref().and_then(AlignedBuffer::run) else {
            return Ok(());
        };
        let len = blocks.len() as u64;
        self.land()?;
        if self.chooser.way() == Way::Cached {
            // It was refused just now.
            return self.write_waiting();
        }
        if let (Some(lane), Some(mut next)) = (&self.lane, self.spare.take())
            && let (Some(file), Some(mut buffer)) = (self.file.take(), self.buffer.take())
        {
            self.at += len;
            next.begin(self.at);
            buffer.move_tail(&mut next);
            self.buffer = Some(next);
            lane.send(file, buffer)?;
        }
        Ok(())
    }

    /// Waits for what the lane writes. What it could not write directly goes through the cache.
    fn land(&mut self) -> io::Result<()> {
        let (None, Some(lane)) = (&self.file, &mut self.lane) else {
            return Ok(());
        };
        let landed = lane.land()?;
        let file = self.file.insert(landed.file);
        let buffer = self.spare.insert(landed.buffer);
        match landed.result {
            Err(error) if is_refusal(&error) => self.chooser.handle_refused(),
            // The last messages may fit that are shorter than all of this.
            Err(error) if is_full(&error) => {}
            result => result?,
        }
        while !buffer.is_empty() {
            let written = file.write(&[IoSlice::new(buffer.waiting())]);
            advance(buffer, written)?;
        }
        Ok(())
    }

    /// Writes what was kept back, through the cache: then everything is written.
    fn write_waiting(&mut self) -> io::Result<()> {
        self.land()?;
        let (file, Some(buffer)) = (here(&mut self.file)?, &mut self.buffer) else {
            return Ok(());
        };
        while !buffer.is_empty() {
            let written = file.write(&[IoSlice::new(buffer.waiting())]);
            self.at += advance(buffer, written)?;
        }
        Ok(())
    }
}

/// Takes what was written out of the buffer.
pub(super) fn advance(buffer: &mut AlignedBuffer, written: io::Result<usize>) -> io::Result<u64> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(written) => {
            buffer.advance(written);
            Ok(written as u64)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// The file, once it has landed.
fn here<D>(file: &mut Option<D>) -> io::Result<&mut D> {
    file.as_mut().ok_or_else(away)
}

fn away() -> io::Error {
    io::Error::other("the file is still being written")
}

/// Whether the file system has no direct writes, which some tell only when one is tried.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Read once everything is written, or writing has failed.
impl<D: Descriptor> ReadAt for DirectFile<D> {
    fn size(&self) -> io::Result<u64> {
        self.file.as_ref().ok_or_else(away)?.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.as_ref().ok_or_else(away)?.read_at(buf, offset)
    }
}

impl<D: Descriptor> Storage for DirectFile<D> {
    fn write(&mut self, batch: &Batch, reach: Reach) -> io::Result<()> {
        let start = Instant::now();
        if let Err(error) = self.put(batch, reach) {
            // It is about to be read, to see what is in it.
            let _ = self.land();
            return Err(error);
        }
        if batch.len() >= self.worthwhile {
            self.chooser.handle_written(batch.len(), start.elapsed());
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // What has not landed comes after what is cut off, and so does what waits.
        let _ = self.land();
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(len);
        }
        here(&mut self.file)?.truncate(len)?;
        self.at = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        here(&mut self.file)?.sync()
    }
}

#[cfg(test)]
mod tests;
