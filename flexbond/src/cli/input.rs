//! Messages from standard input, read by a thread of its own with a bound on what waits.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

use tokio::sync::mpsc;

use super::{Failure, line};
use crate::transport::Message;

/// The longest line that is read, in bytes. A 32 MiB part in hexadecimal fits.
const MAX_LINE: usize = 80 << 20;
/// How many bytes of lines are handed over at once, unless one line alone is longer.
const BATCH: usize = 64 << 10;
/// How many batches wait for the socket.
const BATCHES: usize = 2;

/// One line of input.
pub(crate) struct Line {
    /// Counted from one.
    pub(crate) number: u64,
    pub(crate) message: Message,
}

/// The lines of standard input.
pub(crate) struct Input {
    batches: mpsc::Receiver<Vec<Result<Line, Failure>>>,
    waiting: VecDeque<Result<Line, Failure>>,
}

impl Input {
    /// Starts to read standard input.
    ///
    /// The thread cannot be ended while it waits for input; it ends with the process.
    pub(crate) fn stdin() -> io::Result<Self> {
        let (tx, batches) = mpsc::channel(BATCHES);
        std::thread::Builder::new()
            .name("flexbond-stdin".to_owned())
            .spawn(move || read(BufReader::with_capacity(BATCH, io::stdin()), &tx))?;
        Ok(Input {
            batches,
            waiting: VecDeque::new(),
        })
    }

    /// The next line; `None` at the end. After a failure there are no more lines.
    ///
    /// Cancel safe: a line that was not returned is returned by the next call.
    pub(crate) async fn next(&mut self) -> Option<Result<Line, Failure>> {
        if self.waiting.is_empty() {
            self.waiting = self.batches.recv().await?.into();
        }
        self.waiting.pop_front()
    }
}

fn read<R: Read>(mut input: BufReader<R>, tx: &mpsc::Sender<Vec<Result<Line, Failure>>>) {
    let mut text = Vec::new();
    let mut batch = Vec::new();
    let (mut number, mut bytes) = (0_u64, 0);
    loop {
        text.clear();
        let result = input
            .by_ref()
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut text);
        number += 1;
        let ended = match result {
            Ok(0) => true,
            Ok(_) if text.len() > MAX_LINE => {
                batch.push(Err(Failure::usage(format!(
                    "input line {number}: longer than {} MiB",
                    MAX_LINE >> 20
                ))));
                true
            }
            Ok(_) if text.iter().all(u8::is_ascii_whitespace) => false,
            Ok(_) => match line::parse(&text) {
                Ok(message) => {
                    bytes += text.len();
                    batch.push(Ok(Line { number, message }));
                    false
                }
                Err(error) => {
                    batch.push(Err(bad_line(number, &error)));
                    true
                }
            },
            Err(error) => {
                batch.push(Err(Failure::new(format!("cannot read standard input: {error}"))));
                true
            }
        };
        // A large line must not leave its buffer behind.
        text.shrink_to(BATCH);
        let more = !ended && bytes < BATCH && input.buffer().contains(&b'\n');
        if !more && !batch.is_empty() {
            bytes = 0;
            if tx.blocking_send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

fn bad_line(number: u64, error: &line::LineError) -> Failure {
    let place = match error.column {
        0 => format!("input line {number}"),
        column => format!("input line {number}, column {column}"),
    };
    Failure::usage(format!("{place}: {}", error.what))
        .hint(r#"each line is one JSON array of parts, such as ["text", {"hex": "00ff"}]"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Result<(u64, Message), Failure>> {
        let (tx, mut rx) = mpsc::channel(1000);
        read(BufReader::with_capacity(8, input), &tx);
        drop(tx);
        let mut lines = Vec::new();
        while let Some(batch) = rx.blocking_recv() {
            lines.extend(
                batch
                    .into_iter()
                    .map(|line| line.map(|line| (line.number, line.message))),
            );
        }
        lines
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_skipped() {
        let lines = lines(b"[\"a\"]\r\n\n  \n[\"b\",\"c\"]");
        let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        assert_eq!(lines, [(1, Message::from("a")), (4, Message::from(["b", "c"]))]);
    }

    #[test]
    fn reading_stops_at_the_first_bad_line() {
        let lines = lines(b"[\"a\"]\n[5]\n[\"b\"]\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].is_ok());
        assert_eq!(lines[1].as_ref().unwrap_err().exit().code(), 2);
    }

    #[test]
    fn an_endless_line_is_refused_with_bounded_memory() {
        let (tx, mut rx) = mpsc::channel(10);
        read(BufReader::new(io::repeat(b' ').take(1 << 40)), &tx);
        assert!(rx.blocking_recv().unwrap()[0].is_err());
    }
}
