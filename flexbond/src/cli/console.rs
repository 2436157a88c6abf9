//! Standard output of programs whose work must not stand still when nobody reads it.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::output::Stop;
use super::{Failure, quantity};

/// Reports that wait for a reader who has stopped reading; further ones are left out, and counted.
const WAITING: usize = 64;
/// The same for a line of every message: so many come before the writer has its turn.
const WAITING_LINES: usize = 8192;
/// What is written at once, in bytes, but for a single text that is longer.
const BATCH: usize = 64 << 10;
/// How long the end waits for such a reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom it is told that lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Person,
    Program,
}

impl Reader {
    /// The reader of what `--json` asks for.
    pub(crate) fn of(json: bool) -> Self {
        match json {
            true => Reader::Program,
            false => Reader::Person,
        }
    }

    /// Says how many lines are not there; nothing where none is missing.
    fn skipped(self, lines: u64) -> String {
        match self {
            _ if lines == 0 => String::new(),
            Reader::Person => format!("{} lines skipped: nobody read them\n", quantity::grouped(lines)),
            Reader::Program => format!("{}\n", json!({ "skipped_lines": lines })),
        }
    }
}

/// Standard output, written by a thread of its own.
pub(crate) struct Console {
    texts: mpsc::Sender<String>,
    /// How the writer ended, until that was told.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
    reader: Reader,
    /// Lines that were left out since the last one that was not.
    skipped: u64,
}

impl Console {
    /// Standard output, for reports now and then.
    pub(crate) fn stdout(reader: Reader) -> Result<Self, Failure> {
        Console::start(reader, WAITING)
    }

    /// Standard output, for a line of every message.
    pub(crate) fn stdout_of_lines(reader: Reader) -> Result<Self, Failure> {
        Console::start(reader, WAITING_LINES)
    }

    fn start(reader: Reader, waiting: usize) -> Result<Self, Failure> {
        Console::to(io::stdout(), reader, waiting)
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))
    }

    fn to(mut writer: impl Write + Send + 'static, reader: Reader, waiting: usize) -> io::Result<Self> {
        let (texts, mut rx) = mpsc::channel::<String>(waiting);
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("flexbond-console".to_owned())
            .spawn(move || {
                let mut result = Ok(());
                while result.is_ok()
                    && let Some(mut text) = rx.blocking_recv()
                {
                    // What has come meanwhile goes along: a write for every line is slow.
                    while text.len() < BATCH
                        && let Ok(more) = rx.try_recv()
                    {
                        text.push_str(&more);
                    }
                    result = write(&mut writer, &text);
                }
                // Before the channel closes: who finds it closed can find out why.
                let _ = done.send(result);
                drop(rx);
            })?;
        Ok(Console {
            texts,
            ended: Some(ended),
            reader,
            skipped: 0,
        })
    }

    /// Prints lines, without waiting for them to be read. Where too many wait already they are left out; the next ones
    /// that are not say how many.
    pub(crate) fn print(&mut self, text: impl Into<String>) -> Result<(), Stop> {
        let mut text = text.into();
        let refused = match self.texts.try_reserve() {
            Ok(permit) => {
                text.insert_str(0, &self.reader.skipped(self.skipped));
                self.skipped = 0;
                permit.send(text);
                return Ok(());
            }
            Err(refused) => refused,
        };
        match refused {
            TrySendError::Full(()) => {
                self.skipped += text.bytes().filter(|&byte| byte == b'\n').count() as u64;
                Ok(())
            }
            TrySendError::Closed(()) => Err(self.failure()),
        }
    }

    /// Prints one object, on one line.
    pub(crate) fn print_json(&mut self, value: &Value) -> Result<(), Stop> {
        self.print(format!("{value}\n"))
    }

    /// Waits until nothing can be written any more, and says why. Cancel safe.
    pub(crate) async fn broken(&mut self) -> Stop {
        self.texts.closed().await;
        self.failure()
    }

    /// Why the writer has ended.
    fn failure(&mut self) -> Stop {
        match self.ended.take().map(|mut ended| ended.try_recv()) {
            Some(Ok(Err(error))) => error.into(),
            _ => Stop::ReaderGone,
        }
    }

    /// Prints the last lines, and waits until all of it was written, but not long.
    pub(crate) async fn finish(self, text: String) -> Result<(), Stop> {
        let Console {
            texts,
            ended,
            reader,
            skipped,
        } = self;
        let written = async {
            // A writer that has failed says so below.
            let _ = texts.send(reader.skipped(skipped) + &text).await;
            drop(texts);
            match ended {
                Some(ended) => ended.await.unwrap_or(Ok(())),
                None => Ok(()),
            }
        };
        match timeout(PATIENCE, written).await {
            Ok(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Prints lines, of programs that do nothing else.
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    Ok(write(&mut io::stdout().lock(), text)?)
}

fn write(writer: &mut impl Write, text: &str) -> io::Result<()> {
    writer.write_all(text.as_bytes())?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as thread_channel;

    use super::*;

    /// Takes one write for every word it is given, and tells what it took; before that, nothing, when it is asked to.
    struct Stalling(thread_channel::Receiver<()>, thread_channel::Sender<Vec<u8>>);

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.send(Vec::new());
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(writer: Stalling) -> Console {
        Console::to(writer, Reader::Person, WAITING).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_stalls_holds_up_nothing() {
        let (_go, stall) = thread_channel::channel();
        let (took, _) = thread_channel::channel();
        let mut console = console(Stalling(stall, took));
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
        let mut console = console(Stalling(stall, took));
        assert!(console.print("a line\n").is_ok());
        assert!(matches!(console.broken().await, Stop::ReaderGone));
        assert!(console.print("a line\n").is_err());
        let ended = console.finish("the last\n".to_owned()).await;
        assert!(!matches!(ended, Err(Stop::Failure(_))));
    }

    #[tokio::test]
    async fn what_is_read_is_all_there() {
        let (go, stall) = thread_channel::channel();
        let (took, taken) = thread_channel::channel();
        for _ in 0..3 {
            go.send(()).unwrap();
        }
        let mut console = console(Stalling(stall, took));
        assert!(console.print("one\n").is_ok());
        assert!(console.print_json(&Value::Null).is_ok());
        assert!(console.finish("three\n".to_owned()).await.is_ok());
        let texts: Vec<_> = taken.iter().collect();
        assert_eq!(texts.concat(), b"one\nnull\nthree\n");
    }

    #[tokio::test]
    async fn what_is_skipped_is_counted_in_its_place() {
        for (reader, said) in [
            (Reader::Person, "4 lines skipped: nobody read them\n"),
            (Reader::Program, "{\"skipped_lines\":4}\n"),
        ] {
            let (go, stall) = thread_channel::channel();
            let (took, taken) = thread_channel::channel();
            let mut console = Console::to(Stalling(stall, took), reader, 1).unwrap();
            assert!(console.print("first\n").is_ok());
            // The writer is at it, so that there is room for one more, and takes no other along.
            assert_eq!(taken.recv().unwrap(), b"");
            for text in ["second\n", "third\n", "fourth\nfifth\n", "sixth\n"] {
                assert!(console.print(text).is_ok());
            }
            go.send(()).unwrap();
            go.send(()).unwrap();
            go.send(()).unwrap();
            assert!(console.finish("last\n".to_owned()).await.is_ok());
            let text = String::from_utf8(taken.iter().collect::<Vec<_>>().concat()).unwrap();
            assert_eq!(text, format!("first\nsecond\n{said}last\n"));
        }
    }
}
