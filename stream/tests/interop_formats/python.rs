//! Runs a Python script in the environment that `cargo xtask interop` makes: lines in, lines out, a deadline for each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a line may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running script; killed when dropped. What it writes to standard error is shown with the test's output.
pub(crate) struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Python {
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let python = std::env::var_os("FLEXBOND_PYTHON")
            .expect("FLEXBOND_PYTHON is not set: run these tests with `cargo xtask interop`");
        let mut child = Command::new(python)
            .args(["-u", "-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("FLEXBOND_PYTHON runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Python {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    /// The next line that it prints. Blocks the thread; the streams have others.
    pub(crate) fn line(&mut self) -> String {
        tokio::task::block_in_place(|| self.lines.recv_timeout(PATIENCE)).expect("the peer prints a line")
    }

    pub(crate) fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not closed yet");
        writeln!(stdin, "{line}").expect("the peer reads");
    }

    /// Closes the input and waits for a good end.
    pub(crate) fn end(mut self) {
        self.stdin = None;
        // It has printed everything when its output ends; then it only has to leave.
        let rest: Vec<String> = tokio::task::block_in_place(|| {
            std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect()
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the peer ends");
            std::thread::yield_now();
        };
        assert!(status.success() && rest.is_empty(), "{status}: {rest:?}");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
