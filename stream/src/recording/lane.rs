//! A thread that writes past the page cache, so that the next bytes are made ready while the disk works.

use std::io;
use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;

use super::aligned::{AlignedBuffer, Run};
use super::descriptor::Descriptor;
use super::direct_file::advance;

/// Takes a file and whole blocks for its end, and gives both back once the blocks are written. One at a time: meanwhile
/// nobody else has the file.
#[derive(Debug)]
pub(super) struct Lane<D> {
    to: mpsc::SyncSender<(D, AlignedBuffer)>,
    // Never locked: it lets a `Writer` be `Sync`.
    from: Mutex<mpsc::Receiver<Landed<D>>>,
}

/// What comes back.
#[derive(Debug)]
pub(super) struct Landed<D> {
    pub(super) file: D,
    /// With what was not written, after an error and after a write that ended within a block.
    pub(super) buffer: AlignedBuffer,
    pub(super) result: io::Result<()>,
}

impl<D: Descriptor> Lane<D> {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (to, loads) = mpsc::sync_channel::<(D, AlignedBuffer)>(1);
        let (back, from) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("flexbond-direct".to_owned())
            .spawn(move || {
                for (mut file, mut buffer) in loads {
                    let result = write(&mut file, &mut buffer);
                    if back.send(Landed { file, buffer, result }).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Lane {
            to,
            from: Mutex::new(from),
        })
    }

    /// Has the blocks of `buffer` written; what was sent before has landed.
    pub(super) fn send(&self, file: D, buffer: AlignedBuffer) -> io::Result<()> {
        self.to.send((file, buffer)).map_err(|_| gone())
    }

    /// Waits for what was sent.
    pub(super) fn land(&mut self) -> io::Result<Landed<D>> {
        self.from.get_mut().recv().map_err(|_| gone())
    }
}

fn write(file: &mut impl Descriptor, buffer: &mut AlignedBuffer) -> io::Result<()> {
    while let Some(Run::Blocks(blocks)) = buffer.run() {
        let written = file.write_direct(blocks);
        advance(buffer, written)?;
    }
    Ok(())
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes to the disk is gone")
}
