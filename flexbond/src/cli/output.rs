//! Messages to standard output, a line each, written when nothing more is ready.

use std::io::{self, Write};

use super::line;
use crate::transport::Message;

/// How many bytes are collected at most before they are written.
const BUFFER: usize = 64 << 10;

/// Standard output, as lines of messages.
pub(crate) struct Output {
    buffer: Vec<u8>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Output {
            buffer: Vec::with_capacity(BUFFER),
        }
    }

    /// Adds a line.
    pub(crate) fn message(&mut self, message: &Message) -> io::Result<()> {
        line::write(message, &mut self.buffer);
        if self.buffer.len() >= BUFFER {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Adds a line of plain text.
    pub(crate) fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
    }

    /// Writes what was collected; waits as long as the reader of a pipe does.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let mut stdout = io::stdout().lock();
            let result = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER);
            result?;
        }
        Ok(())
    }
}
