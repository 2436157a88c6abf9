//! Messages to standard output, a line each, written by a thread of its own when nothing more is ready.

use std::io::{self, Write};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::line;
use crate::transport::Message;

/// How many bytes are collected before they are handed to the writer.
const BUFFER: usize = 64 << 10;
/// How many handed-over buffers wait for the writer.
const BUFFERS: usize = 2;
/// How many lines wait for the writer where nobody waits for him.
const LINES: usize = 8192;

/// Standard output, as lines of messages.
///
/// A reader who stalls holds up what is printed, and with it what is received, but neither signals nor time-outs.
pub(crate) struct Output {
    buffer: Vec<u8>,
    buffers: Option<mpsc::Sender<Vec<u8>>>,
    /// How the writer ended.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
}

/// Why something that is printed stopped before its end.
pub(crate) enum Stop {
    /// Nobody reads standard output any more: a clean end.
    ReaderGone,
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failure(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::ReaderGone,
            _ => Stop::Failure(unwritten(&error)),
        }
    }
}

/// What was to be printed was not.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to standard output: {error}"))
}

impl Output {
    /// Starts the writer.
    pub(crate) fn stdout() -> io::Result<Self> {
        Output::to(io::stdout(), BUFFERS)
    }

    /// As [`stdout`](Self::stdout), for [`offer`](Self::offer).
    pub(crate) fn lines(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Output::to(writer, LINES)
    }

    fn to(mut writer: impl Write + Send + 'static, buffers: usize) -> io::Result<Self> {
        let (tx, mut rx) = mpsc::channel::<Vec<u8>>(buffers);
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("flexbond-stdout".to_owned())
            .spawn(move || {
                let mut result = Ok(());
                while result.is_ok()
                    && let Some(bytes) = rx.blocking_recv()
                {
                    result = writer.write_all(&bytes).and_then(|()| writer.flush());
                }
                let _ = done.send(result);
            })?;
        Ok(Output {
            buffer: Vec::new(),
            buffers: Some(tx),
            ended: Some(ended),
        })
    }

    /// Adds a line.
    ///
    /// Cancel safe: the line is added before anything is waited for.
    pub(crate) async fn message(&mut self, message: &Message) -> io::Result<()> {
        line::write(message, &mut self.buffer);
        if self.buffer.len() >= BUFFER {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Adds a line of plain text.
    pub(crate) fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
    }

    /// Hands over a line of plain text, unless too many wait already: whether it did. A reader who is gone takes all.
    pub(crate) fn offer(&mut self, text: &str) -> bool {
        let Some(buffers) = &self.buffers else {
            return true;
        };
        let line = [text.as_bytes(), b"\n"].concat();
        !matches!(buffers.try_send(line), Err(TrySendError::Full(_)))
    }

    /// Hands over what was collected; waits while the reader does not read.
    ///
    /// Cancel safe: what was not handed over stays collected.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let Some(buffers) = &self.buffers else {
            return Ok(());
        };
        match buffers.reserve().await {
            Ok(permit) => {
                permit.send(std::mem::take(&mut self.buffer));
                Ok(())
            }
            // The writer has failed; it says why before it goes, and only once.
            Err(_) => match self.ended.take() {
                Some(ended) => ended
                    .await
                    .unwrap_or(Ok(()))
                    .and(Err(io::ErrorKind::BrokenPipe.into())),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }

    /// Waits until everything was written, at most for `limit`; a reader who does not read has it no longer.
    ///
    /// # Errors
    /// Why something could not be written, unless that was told before. That a reader is gone is no error.
    pub(crate) async fn conclude(&mut self, limit: Option<Duration>) -> Result<(), Failure> {
        match self.finish(limit).await.map_err(Stop::from) {
            Err(Stop::Failure(failure)) => Err(failure),
            Ok(()) | Err(Stop::ReaderGone) => Ok(()),
        }
    }

    /// The same, with the error as it is.
    async fn finish(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let written = async {
            self.flush().await?;
            self.buffers = None;
            match self.ended.take() {
                Some(ended) => ended.await.unwrap_or(Ok(())),
                None => Ok(()),
            }
        };
        match limit {
            Some(limit) => tokio::time::timeout(limit, written).await.unwrap_or(Ok(())),
            None => written.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as thread_channel;

    use super::*;

    /// Takes one write for every word it is given.
    struct Stalling(thread_channel::Receiver<()>);

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_who_stalls_does_not_stop_the_clock() {
        let (_go, stall) = thread_channel::channel();
        let mut output = Output::to(Stalling(stall), BUFFERS).unwrap();
        let endless = async {
            loop {
                output.message(&Message::from(vec![b'x'; BUFFER])).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_millis(20), endless)
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn a_reader_who_is_gone_is_reported() {
        let (go, stall) = thread_channel::channel();
        drop(go);
        let mut output = Output::to(Stalling(stall), BUFFERS).unwrap();
        let error = loop {
            output.text("line");
            if let Err(error) = output.flush().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(
            output.finish(None).await.is_err(),
            "there is still something to write"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_written_at_the_end_is_reported() {
        let (go, stall) = thread_channel::channel();
        drop(go);
        let mut output = Output::to(Stalling(stall), BUFFERS).unwrap();
        output.text("the only line");
        let error = output.finish(None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
