//! What the processes write, a line at a time, on its way to where this program writes.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::lines::Lines;

/// Pieces that wait for a writer before who writes them has to wait.
const WAITING: usize = 64;
/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Where a piece is to be written.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Output,
    Error,
}

/// Reads from all processes. A thread for each target writes, so that a reader who stalls or goes keeps nobody from
/// signals, and from the other target.
pub(super) struct Relay {
    output: Writer,
    error: Writer,
    readers: Mutex<JoinSet<()>>,
}

/// A thread that writes.
struct Writer {
    pieces: mpsc::Sender<Vec<u8>>,
    written: oneshot::Receiver<()>,
}

impl Relay {
    /// Starts the writers.
    pub(super) fn start() -> io::Result<Self> {
        Ok(Relay {
            output: Writer::start("flexbond-stdout", |bytes| write(io::stdout().lock(), bytes))?,
            error: Writer::start("flexbond-stderr", |bytes| write(io::stderr().lock(), bytes))?,
            readers: Mutex::default(),
        })
    }

    /// Passes on what comes from `source`, until its end, or until nobody reads any more where it goes: then `source` is
    /// closed, and whoever writes there hears of it as in any pipe.
    pub(super) fn pass(
        &self,
        rank: u32,
        mut source: impl AsyncRead + Unpin + Send + 'static,
        target: Target,
    ) {
        let writer = match target {
            Target::Output => &self.output,
            Target::Error => &self.error,
        };
        let pieces = writer.pieces.clone();
        let reader = async move {
            let mut lines = Lines::new(format!("[{rank}] "));
            let mut buffer = vec![0; READ];
            loop {
                let (out, more) = match source.read(&mut buffer).await {
                    Ok(0) | Err(_) => (lines.finish(), false),
                    Ok(count) => (lines.push(&buffer[..count]), true),
                };
                if (!out.is_empty() && pieces.send(out).await.is_err()) || !more {
                    return;
                }
            }
        };
        if let Ok(mut readers) = self.readers.lock() {
            readers.spawn(reader);
        }
    }

    /// Waits until all was written. Whoever still holds the other end of a pipe is heard for so long.
    pub(super) async fn finish(self, limit: Duration) {
        let mut readers = self.readers.into_inner().unwrap_or_default();
        let ended = async { while readers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit, ended).await;
        readers.shutdown().await;
        for Writer { pieces, written } in [self.output, self.error] {
            drop(pieces);
            let _ = written.await;
        }
    }
}

impl Writer {
    fn start(
        name: &str,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (pieces, mut rx) = mpsc::channel::<Vec<u8>>(WAITING);
        let (done, written) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(bytes) = rx.blocking_recv() {
                if write(&bytes).is_err() {
                    // Nobody reads any more.
                    break;
                }
            }
            let _ = done.send(());
        })?;
        Ok(Writer { pieces, written })
    }
}

fn write(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
