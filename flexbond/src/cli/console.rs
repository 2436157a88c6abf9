//! Standard output of programs whose work must not stand still when nobody reads it.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Failure;
use super::report::Silent;

/// Reports that wait for a reader who has stopped reading; further ones are left out.
const WAITING: usize = 64;
/// How long the end waits for such a reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Standard output, written by a thread of its own.
pub(crate) struct Console {
    texts: mpsc::Sender<String>,
    /// How the writer ended, until that was told.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Console {
    /// Starts the writer.
    pub(crate) fn stdout() -> Result<Self, Failure> {
        Console::to(io::stdout()).map_err(|error| Failure::new(format!("cannot start a thread: {error}")))
    }

    fn to(mut writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (texts, mut rx) = mpsc::channel::<String>(WAITING);
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("flexbond-console".to_owned())
            .spawn(move || {
                let mut result = Ok(());
                while result.is_ok()
                    && let Some(text) = rx.blocking_recv()
                {
                    result = write(&mut writer, &text);
                }
                // Before the channel closes: who finds it closed can find out why.
                let _ = done.send(result);
                drop(rx);
            })?;
        let ended = Some(ended);
        Ok(Console { texts, ended })
    }

    /// Prints lines, without waiting for them to be read.
    pub(crate) fn print(&mut self, text: impl Into<String>) -> Result<(), Silent> {
        match self.texts.try_send(text.into()) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => match self.ended.take().map(|mut ended| ended.try_recv()) {
                Some(Ok(Err(error))) => Err(silent(&error)),
                _ => Err(Silent::ReaderGone),
            },
        }
    }

    /// Prints one object, on one line.
    pub(crate) fn print_json(&mut self, value: &Value) -> Result<(), Silent> {
        self.print(format!("{value}\n"))
    }

    /// Prints the last lines, and waits until all of it was written, but not long.
    pub(crate) async fn finish(self, text: String) -> Result<(), Silent> {
        let Console { texts, ended } = self;
        let written = async {
            // A writer that has failed says so below.
            let _ = texts.send(text).await;
            drop(texts);
            match ended {
                Some(ended) => ended.await.unwrap_or(Ok(())),
                None => Ok(()),
            }
        };
        match timeout(PATIENCE, written).await {
            Ok(Err(error)) => Err(silent(&error)),
            _ => Ok(()),
        }
    }
}

/// Prints lines, of programs that do nothing else.
pub(crate) fn print(text: &str) -> Result<(), Silent> {
    write(&mut io::stdout().lock(), text).map_err(|error| silent(&error))
}

fn write(writer: &mut impl Write, text: &str) -> io::Result<()> {
    writer.write_all(text.as_bytes())?;
    writer.flush()
}

fn silent(error: &io::Error) -> Silent {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Silent::ReaderGone,
        _ => Silent::Failure(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as thread_channel;

    use super::*;

    /// Takes one write for every word it is given, and tells what it took.
    struct Stalling(thread_channel::Receiver<()>, thread_channel::Sender<Vec<u8>>);

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_stalls_holds_up_nothing() {
        let (_go, stall) = thread_channel::channel();
        let (took, _) = thread_channel::channel();
        let mut console = Console::to(Stalling(stall, took)).unwrap();
        for _ in 0..10 * WAITING {
            assert!(console.print("a line\n").is_ok());
        }
        assert!(console.finish("the last\n".to_owned()).await.is_ok());
    }

    #[tokio::test]
    async fn a_reader_who_is_gone_is_noticed() {
        let (go, stall) = thread_channel::channel();
        let (took, _) = thread_channel::channel();
        drop(go);
        let mut console = Console::to(Stalling(stall, took)).unwrap();
        while console.print("a line\n").is_ok() {
            tokio::task::yield_now().await;
        }
        let ended = console.finish("the last\n".to_owned()).await;
        assert!(!matches!(ended, Err(Silent::Failure(_))));
    }

    #[tokio::test]
    async fn what_is_read_is_all_there() {
        let (go, stall) = thread_channel::channel();
        let (took, taken) = thread_channel::channel();
        for _ in 0..3 {
            go.send(()).unwrap();
        }
        let mut console = Console::to(Stalling(stall, took)).unwrap();
        assert!(console.print("one\n").is_ok());
        assert!(console.print_json(&Value::Null).is_ok());
        assert!(console.finish("three\n".to_owned()).await.is_ok());
        let texts: Vec<_> = taken.iter().collect();
        assert_eq!(texts.concat(), b"one\nnull\nthree\n");
    }
}
