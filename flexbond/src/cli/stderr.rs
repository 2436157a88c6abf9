//! Standard error, of which a reader who has stopped reading holds up nothing: a terminal at Ctrl-S, a full pipe.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::quantity;

/// Lines that wait for such a reader; further ones are left out, and counted.
const WAITING: usize = 256;
/// How long the end of the program waits for such a reader.
const PATIENCE: Duration = Duration::from_secs(2);

static LINES: LazyLock<Lines> = LazyLock::new(|| Lines::to(io::stderr()));

/// Writes a line, and does not wait until it is read.
pub(crate) fn line(text: &str) {
    LINES.line(text);
}

/// Waits until everything is written, but not long. For the end of the program.
pub(crate) fn finish() {
    LINES.finish(PATIENCE);
}

/// Lines on their way to a writer that has a thread of its own.
struct Lines {
    shared: Arc<Shared>,
    has_thread: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: String,
    lines: usize,
    /// Lines that were left out since the last one that was not.
    skipped: u64,
    writing: bool,
}

impl Lines {
    fn to(writer: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("flexbond-stderr".to_owned())
            .spawn({
                let shared = shared.clone();
                move || write(&shared, writer)
            });
        Lines {
            shared,
            has_thread: thread.is_ok(),
        }
    }

    fn line(&self, text: &str) {
        if !self.has_thread {
            // There is nobody who could be told that this fails.
            let _ = writeln!(io::stderr(), "{text}");
            return;
        }
        let mut state = self.shared.lock();
        if state.lines >= WAITING {
            state.skipped += 1;
            return;
        }
        state.tell_skipped();
        state.waiting.push_str(text);
        state.waiting.push('\n');
        state.lines += 1;
        self.shared.changed.notify_all();
    }

    fn finish(&self, patience: Duration) {
        let mut state = self.shared.lock();
        state.tell_skipped();
        self.shared.changed.notify_all();
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.shared.changed.wait_timeout_while(state, patience, is_busy));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_skipped(&mut self) {
        if self.skipped > 0 {
            let skipped = quantity::grouped(std::mem::take(&mut self.skipped));
            self.waiting
                .push_str(&format!("{skipped} lines skipped: nobody read them\n"));
        }
    }
}

/// The thread that writes, as long as the program runs.
fn write(shared: &Shared, mut writer: impl Write) {
    let mut state = shared.lock();
    loop {
        if state.waiting.is_empty() {
            let waited = shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let text = std::mem::take(&mut state.waiting);
        state.lines = 0;
        state.writing = true;
        drop(state);
        // A reader who is gone misses it.
        let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        state = shared.lock();
        state.writing = false;
        shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// Tells what it is to write, and takes it when it is told to.
    struct Stalling(Sender<Vec<u8>>, Receiver<()>);

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            self.1.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_stalls_holds_up_nothing_and_learns_what_is_missing() {
        let ((told, tells), (go, goes)) = (channel(), channel());
        let lines = Lines::to(Stalling(told, goes));
        lines.line("first");
        assert_eq!(tells.recv_timeout(DEADLINE).unwrap(), b"first\n");
        for _ in 0..WAITING + 7 {
            lines.line("more");
        }
        let begin = Instant::now();
        lines.finish(Duration::from_millis(1));
        assert!(begin.elapsed() < DEADLINE, "it waits for the reader");
        go.send(()).unwrap();
        go.send(()).unwrap();
        let more = String::from_utf8(tells.recv_timeout(DEADLINE).unwrap()).unwrap();
        assert_eq!(
            more,
            format!("{}7 lines skipped: nobody read them\n", "more\n".repeat(WAITING))
        );
        lines.finish(DEADLINE);
        // And one who is gone, too.
        drop(go);
        lines.line("last");
        lines.finish(DEADLINE);
        assert_eq!(tells.try_recv().unwrap(), b"last\n");
    }
}
