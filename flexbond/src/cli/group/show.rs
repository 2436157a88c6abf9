//! Lines on standard output about a session, which nobody is kept waiting by.

use std::io::{self, Write};
use std::time::Duration;

use super::over_failure;
use super::roll::Roll;
use crate::cli::Failure;
use crate::cli::output::{Output, unwritten};
use crate::cli::printable::printable;
use crate::group::{Event, Over, Session};

/// How long the end of a program waits for who reads its output.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Where lines go, and whom they are about.
///
/// A reader who stalls or is gone stops nothing: several thousand lines wait for him, and what comes then is left out,
/// which a line says once there is room again.
pub(super) struct Show {
    pub(super) roll: Roll,
    output: Output,
    left_out: u64,
}

impl Show {
    pub(super) fn new() -> Result<Self, Failure> {
        Show::to(io::stdout()).map_err(|error| unwritten(&error))
    }

    fn to(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Ok(Show {
            roll: Roll::default(),
            output: Output::lines(writer)?,
            left_out: 0,
        })
    }

    /// Waits until all was written, for a while.
    pub(super) async fn finish(&mut self) {
        self.confess();
        // A session has an end of its own, and other members.
        let _ = self.output.conclude(Some(LAST_LINES)).await;
    }

    /// A line. Parts of it may be others' words.
    pub(super) fn line(&mut self, text: &str) {
        self.confess();
        if self.left_out > 0 || !self.output.offer(&printable(text)) {
            self.left_out += 1;
        }
    }

    /// Says that lines were left out, if there is room for that.
    fn confess(&mut self) {
        let text = format!("lines left out here because nobody read: {}", self.left_out);
        if self.left_out > 0 && self.output.offer(&text) {
            self.left_out = 0;
        }
    }

    /// A line about what happened.
    pub(super) fn event(&mut self, event: Result<Event, Over>) -> Result<(), Failure> {
        let event = event.map_err(|over| over_failure(&over))?;
        self.happened(&event);
        Ok(())
    }

    fn happened(&mut self, event: &Event) {
        if let Some(line) = self.roll.note(event) {
            self.line(&line);
        }
    }

    /// Lines about all that has happened by now.
    pub(super) async fn events(&mut self, session: &Session) -> Result<(), Over> {
        loop {
            let event = tokio::select! {
                biased;
                event = session.event() => event,
                () = std::future::ready(()) => return Ok(()),
            };
            self.happened(&event?);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes when it may, to where the test reads.
    struct Stalling {
        begun: Sender<()>,
        go: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            self.go.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.written.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_who_does_not_read_and_what_is_left_out_is_counted() {
        let ((begun, begins), (go, may_go), (written, lines)) = (channel(), channel(), channel());
        let stalling = Stalling {
            begun,
            go: may_go,
            written,
        };
        let mut show = Show::to(stalling).unwrap();
        show.line("line 0");
        // From here on nothing is taken.
        begins.recv().unwrap();
        for number in 1..20_000 {
            show.line(&format!("line {number}"));
        }
        let missing = show.left_out;
        assert!((10_000..20_000).contains(&missing), "{missing}");
        for _ in 0..20_000 - missing {
            go.send(()).unwrap();
        }
        let kept: Vec<_> = (0..20_000 - missing).map(|_| lines.recv().unwrap()).collect();
        assert_eq!(kept.last(), Some(&format!("line {}\n", 20_000 - missing - 1)));
        show.line("again");
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        assert_eq!(
            lines.recv().unwrap(),
            format!("lines left out here because nobody read: {missing}\n")
        );
        assert_eq!(lines.recv().unwrap(), "again\n");
        // Who is gone takes all.
        drop(go);
        for _ in 0..20_000 {
            show.line("\u{1b}[2J");
        }
        show.finish().await;
    }
}
