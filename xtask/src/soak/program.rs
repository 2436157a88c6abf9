//! A program under test: its lines, its signals, its end, and what it holds meanwhile.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::stage::Clock;
use super::usage::Usage;

/// Lines of standard error that are kept.
const KEPT: usize = 400;

/// A running program. Killed when dropped.
pub(super) struct Program {
    name: String,
    clock: Clock,
    child: Child,
    stdin: Option<ChildStdin>,
    pub(super) output: Lines,
    pub(super) errors: Lines,
    /// Open, and never read.
    unread: Option<ChildStdout>,
    /// It leads a process group, which ends with it.
    leads: bool,
}

/// Whether somebody reads what a program prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Present,
    /// The pipe fills, and stays full.
    Absent,
}

impl Program {
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        reader: Reader,
        leads: bool,
        clock: Clock,
    ) -> Result<Program> {
        let mut child = command
            .env_remove("FLEXBOND_PASSWORD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let output = Lines::default();
        let errors = Lines::keeping(KEPT);
        let mut unread = child.stdout.take();
        if reader == Reader::Present
            && let Some(stdout) = unread.take()
        {
            output.follow(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            errors.follow(stderr);
        }
        Ok(Program {
            name: name.to_owned(),
            clock,
            stdin: child.stdin.take(),
            child,
            output,
            errors,
            unread,
            leads,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// When it has ended.
    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid()).with_context(|| self.troubles())
    }

    /// The next line of standard output.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub(super) fn line(&self, limit: Duration) -> Result<String> {
        self.next(&self.output, limit, |_| true)
            .with_context(|| format!("no line on standard output {}", self.troubles()))
    }

    /// Passes over lines of standard output until one has `text`, and returns it.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub(super) fn says(&self, text: &str, limit: Duration) -> Result<String> {
        self.next(&self.output, limit, |line| line.contains(text))
            .with_context(|| format!("no line `{text}` {}", self.troubles()))
    }

    /// The same on standard error.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub(super) fn reports(&self, text: &str, limit: Duration) -> Result<String> {
        self.next(&self.errors, limit, |line| line.contains(text))
            .with_context(|| format!("no report `{text}` {}", self.troubles()))
    }

    fn next(&self, lines: &Lines, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            self.clock.check()?;
            match lines.pop(Duration::from_millis(50)) {
                Popped::Line(line) if wanted(&line) => return Ok(line),
                Popped::Line(_) => {}
                Popped::End => bail!("it has ended"),
                Popped::Nothing if Instant::now() > deadline => bail!("nothing within {limit:?}"),
                Popped::Nothing => {}
            }
        }
    }

    /// The address in the next line of standard output, an endpoint like `tcp://127.0.0.1:4711`.
    ///
    /// # Errors
    /// When the line is none.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        let line = self.line(Duration::from_secs(20))?;
        let address = line.rsplit_once("://").map_or(&*line, |(_, address)| address);
        address
            .trim()
            .parse()
            .with_context(|| format!("no address in `{line}`"))
    }

    /// Writes a line to its standard input; waits while that is full.
    ///
    /// # Errors
    /// When it no longer reads.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            bail!("the input of {} has ended", self.name);
        };
        let written = stdin.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| format!("no longer reads {}", self.troubles()))
    }

    /// The input, for a thread that writes.
    pub(super) fn take_input(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Begins to read what nobody has read so far.
    pub(super) fn read_at_last(&mut self) {
        if let Some(stdout) = self.unread.take() {
            self.output.follow(stdout);
        }
    }

    /// Sends a signal by name: INT, KILL, STOP, CONT.
    ///
    /// # Errors
    /// When it has ended before.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
            .arg(self.pid().to_string())
            .status()
            .context("cannot start sh")?;
        if !status.success() {
            bail!("no signal {name} for {}", self.troubles());
        }
        Ok(())
    }

    /// `kill -9`, and waits until the system has cleared it away.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Closes its input and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit`.
    pub(super) fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        drop(self.stdin.take());
        let deadline = Instant::now() + limit;
        loop {
            self.clock.check()?;
            if let Some(status) = self.child.try_wait()? {
                self.output.wait_for_end(Duration::from_secs(2));
                self.errors.wait_for_end(Duration::from_secs(2));
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("not ended within {limit:?} {}", self.troubles());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, which must be with this exit code.
    ///
    /// # Errors
    /// When it does not end within `limit`, or otherwise.
    pub(super) fn ends_with(&mut self, code: i32, limit: Duration) -> Result<()> {
        let status = self.end(limit)?;
        if status.code() != Some(code) {
            let how = status
                .signal()
                .map_or_else(|| format!("{status}"), |signal| format!("signal {signal}"));
            bail!("ended with {how}, not with {code} {}", self.troubles());
        }
        Ok(())
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Who it is and what it said last on standard error, for errors.
    pub(super) fn troubles(&self) -> String {
        let said = self.errors.last(6);
        let said: String = said.iter().map(|line| format!("\n    {line}")).collect();
        format!("({}){said}", self.name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already. What it has started ends with it, before its number can be another's.
        if self.leads && matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("sh")
                .args(["-c", "kill -s KILL -- \"-$1\"", "sh"])
                .arg(self.pid().to_string())
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that a program printed and nobody has taken yet.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    lines: VecDeque<String>,
    /// The last few, taken or not.
    last: VecDeque<String>,
    /// How many untaken ones are kept; 0: all.
    most: usize,
    has_begun: bool,
    has_ended: bool,
}

/// What there is to take.
pub(super) enum Popped {
    Line(String),
    /// Not yet.
    Nothing,
    /// And there will be nothing.
    End,
}

impl Lines {
    fn keeping(most: usize) -> Self {
        let lines = Lines::default();
        lines.lock().most = most;
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, from: impl Read + Send + 'static) {
        let lines = self.clone();
        lines.lock().has_begun = true;
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                let mut printed = lines.lock();
                if printed.most > 0 && printed.lines.len() >= printed.most {
                    printed.lines.pop_front();
                }
                if printed.last.len() >= 8 {
                    printed.last.pop_front();
                }
                printed.last.push_back(text.chars().take(300).collect());
                printed.lines.push_back(text);
                drop(printed);
                lines.0.1.notify_all();
            }
            lines.lock().has_ended = true;
            lines.0.1.notify_all();
        });
    }

    /// The next line, if it comes that soon.
    pub(super) fn pop(&self, limit: Duration) -> Popped {
        let printed = self.lock();
        let (mut printed, _) = self
            .0
            .1
            .wait_timeout_while(printed, limit, |printed| {
                printed.lines.is_empty() && !printed.has_ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        match printed.lines.pop_front() {
            Some(line) => Popped::Line(line),
            None if printed.has_ended => Popped::End,
            None => Popped::Nothing,
        }
    }

    /// All that are there now.
    pub(super) fn take(&self) -> Vec<String> {
        self.lock().lines.drain(..).collect()
    }

    fn last(&self, count: usize) -> Vec<String> {
        let printed = self.lock();
        let skipped = printed.last.len().saturating_sub(count);
        printed.last.iter().skip(skipped).cloned().collect()
    }

    fn wait_for_end(&self, limit: Duration) {
        let printed = self.lock();
        let waiting = |printed: &mut Printed| printed.has_begun && !printed.has_ended;
        drop(self.0.1.wait_timeout_while(printed, limit, waiting));
    }
}
