//! What the processes write, a line at a time, on its way to where this program writes.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::lines::Lines;

/// Pieces that wait for the writer before who writes them has to wait.
const WAITING: usize = 64;
/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Where a piece is to be written.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Output,
    Error,
}

/// Reads from all processes; one thread writes, so that a reader who stalls keeps nobody from signals.
pub(super) struct Relay {
    pieces: mpsc::Sender<(Target, Vec<u8>)>,
    readers: Mutex<JoinSet<()>>,
    written: oneshot::Receiver<()>,
}

impl Relay {
    /// Starts the writer.
    pub(super) fn start() -> io::Result<Self> {
        let (pieces, mut rx) = mpsc::channel::<(Target, Vec<u8>)>(WAITING);
        let (done, written) = oneshot::channel();
        std::thread::Builder::new()
            .name("flexbond-relay".to_owned())
            .spawn(move || {
                while let Some((target, bytes)) = rx.blocking_recv() {
                    let result = match target {
                        Target::Output => write(io::stdout().lock(), &bytes),
                        Target::Error => write(io::stderr().lock(), &bytes),
                    };
                    if result.is_err() {
                        // Nobody reads any more; the processes hear of it when they write.
                        break;
                    }
                }
                let _ = done.send(());
            })?;
        Ok(Relay {
            pieces,
            readers: Mutex::default(),
            written,
        })
    }

    /// Passes on what comes from `source`, until its end.
    pub(super) fn pass(
        &self,
        rank: u32,
        mut source: impl AsyncRead + Unpin + Send + 'static,
        target: Target,
    ) {
        let pieces = self.pieces.clone();
        let reader = async move {
            let mut lines = Lines::new(format!("[{rank}] "));
            let mut buffer = vec![0; READ];
            loop {
                let (out, more) = match source.read(&mut buffer).await {
                    Ok(0) | Err(_) => (lines.finish(), false),
                    Ok(count) => (lines.push(&buffer[..count]), true),
                };
                if (!out.is_empty() && pieces.send((target, out)).await.is_err()) || !more {
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
        let Relay {
            pieces,
            readers,
            written,
        } = self;
        let mut readers = readers.into_inner().unwrap_or_default();
        let ended = async { while readers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit, ended).await;
        readers.shutdown().await;
        drop(pieces);
        let _ = written.await;
    }
}

fn write(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
