//! The end of a file, to which bytes go through the page cache or past it, whichever is faster.

use std::fs::File;
use std::io::{self, IoSlice};
use std::time::Instant;

use super::aligned::{AlignedBuffer, Run};
use super::batch::Batch;
use super::chooser::{Chooser, DirectWrites, Way};
use super::descriptor::Descriptor;
use super::storage::{Reach, ReadAt, Storage};

/// A file that is written at its end.
///
/// Past the cache only whole blocks can go. So they are copied to where they are aligned; what is less than a block
/// waits for the next write, or goes through the cache when everything has to go. What is in the file is never written
/// again: after half a block the other half goes through the cache as well. A page that readers look at is thus never
/// under a direct write, and no direct write waits for a page.
#[derive(Debug)]
pub(super) struct DirectFile<D = File> {
    file: D,
    /// Bytes of the file.
    at: u64,
    chooser: Chooser,
    /// What was taken and is not in the file yet; made at the first direct write.
    buffer: Option<AlignedBuffer>,
}

// Less is not worth a trip to the disk of its own, and too little to measure.
const WORTHWHILE: u64 = 512 << 10;
// Twice what is gathered: then a direct write has a whole batch.
const BUFFER: usize = 2 << 20;

impl<D: Descriptor> DirectFile<D> {
    /// A file that is empty, or is truncated before it is written.
    pub(super) fn new(file: D, policy: DirectWrites) -> Self {
        DirectFile {
            file,
            at: 0,
            chooser: Chooser::new(policy),
            buffer: None,
        }
    }

    /// Goes on with `next`, which is empty, and with what was learnt.
    pub(super) fn followed_by(mut self, next: D) -> Self {
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(0);
        }
        DirectFile {
            file: next,
            at: 0,
            ..self
        }
    }

    fn write_cached(&mut self, batch: &Batch) -> io::Result<()> {
        self.write_waiting()?;
        let (file, at) = (&mut self.file, &mut self.at);
        batch.write_with(|slices| {
            let written = file.write(slices)?;
            *at += written as u64;
            Ok(written)
        })
    }

    fn write_direct(&mut self, batch: &Batch) -> io::Result<()> {
        if self.buffer.is_none() {
            let Some(align) = self.file.alignment() else {
                self.chooser.handle_refused();
                return self.write_cached(batch);
            };
            self.buffer = Some(AlignedBuffer::new(BUFFER, align));
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

    /// Writes what reaches the end of a block.
    fn write_blocks(&mut self) -> io::Result<()> {
        let Some(buffer) = &mut self.buffer else {
            return Ok(());
        };
        while let Some(run) = buffer.run() {
            let file = &mut self.file;
            let written = match run {
                Run::Blocks(blocks) if self.chooser.way() == Way::Direct => match file.write_direct(blocks) {
                    Err(error) if is_refusal(&error) => {
                        self.chooser.handle_refused();
                        file.write(&[IoSlice::new(blocks)])
                    }
                    // The last messages may fit that are shorter than all of this.
                    Err(error) if is_full(&error) => file.write(&[IoSlice::new(blocks)]),
                    written => written,
                },
                Run::Head(bytes) | Run::Blocks(bytes) => file.write(&[IoSlice::new(bytes)]),
            };
            self.at += advance(buffer, written)?;
        }
        buffer.compact();
        Ok(())
    }

    /// Writes what was kept back, through the cache.
    fn write_waiting(&mut self) -> io::Result<()> {
        let Some(buffer) = &mut self.buffer else {
            return Ok(());
        };
        while !buffer.is_empty() {
            let written = self.file.write(&[IoSlice::new(buffer.waiting())]);
            self.at += advance(buffer, written)?;
        }
        Ok(())
    }
}

/// Takes what was written out of the buffer.
fn advance(buffer: &mut AlignedBuffer, written: io::Result<usize>) -> io::Result<u64> {
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

impl<D: Descriptor> ReadAt for DirectFile<D> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
}

impl<D: Descriptor> Storage for DirectFile<D> {
    fn write(&mut self, batch: &Batch, reach: Reach) -> io::Result<()> {
        let worthwhile = batch.len() >= WORTHWHILE;
        let start = Instant::now();
        match self.chooser.way() {
            Way::Direct if worthwhile => self.write_direct(batch)?,
            Way::Direct | Way::Cached => self.write_cached(batch)?,
        }
        if reach == Reach::Everything {
            self.write_waiting()?;
        }
        if worthwhile {
            self.chooser.handle_written(batch.len(), start.elapsed());
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // What waits comes after what is cut off.
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(len);
        }
        self.file.truncate(len)?;
        self.at = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        self.file.sync()
    }
}
