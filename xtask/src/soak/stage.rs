//! What a case has at hand: its time, its programs, and the sheet that it fills.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::build::Programs;
use super::judge::{Bound, Sheet};
use super::program::{Program, Reader};
use super::usage::Usage;

/// How long anything may take that is to happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long memory and descriptors have to come back to where they began.
const SETTLING: Duration = Duration::from_secs(10);
/// Over which the processor time of an idle program is taken.
const IDLE: Duration = Duration::from_millis(700);

/// When a case's time is up, and whether all is over.
#[derive(Clone)]
pub(super) struct Clock {
    until: Instant,
    stop: Arc<AtomicBool>,
}

impl Clock {
    /// # Errors
    /// After Ctrl-C.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_stopped() {
            bail!("interrupted");
        }
        Ok(())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether there is time for another round.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until && !self.is_stopped()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// After Ctrl-C.
    pub(super) fn pass(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    /// Waits until something is so.
    ///
    /// # Errors
    /// When it is not so within `limit`.
    pub(super) fn until(&self, what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        while !is_so() {
            self.check()?;
            if Instant::now() > end {
                bail!("{what}: not within {limit:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// What a case has at hand.
pub(super) struct Stage<'a> {
    case: &'static str,
    programs: &'a Programs,
    pub(super) clock: Clock,
    pub(super) sheet: Sheet,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        case: &'static str,
        programs: &'a Programs,
        share: Duration,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        Stage {
            case,
            programs,
            clock: Clock {
                until: Instant::now() + share,
                stop: Arc::clone(stop),
            },
            sheet: Sheet::default(),
        }
    }

    /// The same with this share of the time that is left, for one of several parts.
    pub(super) fn part(&self, share: f64) -> Clock {
        let left = self.clock.until.saturating_duration_since(Instant::now());
        Clock {
            until: Instant::now() + left.mul_f64(share),
            stop: Arc::clone(&self.clock.stop),
        }
    }

    /// Ends the case; its files go.
    pub(super) fn conclude(self) -> Sheet {
        let _ = fs::remove_dir_all(&self.programs.scratch);
        self.sheet
    }

    /// A folder of the case's own, empty at first.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.programs.scratch.join(self.case).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    pub(super) fn flexbond_path(&self) -> &Path {
        &self.programs.flexbond
    }

    pub(super) fn calculator_path(&self) -> &Path {
        &self.programs.calculator
    }

    pub(super) fn ledger_path(&self) -> &Path {
        &self.programs.ledger
    }

    /// Starts `flexbond` with these arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn flexbond<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Program> {
        self.start(self.command(&self.programs.flexbond, arguments), Reader::Present)
    }

    /// The same with nobody who reads its output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn flexbond_unread<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Program> {
        self.start(self.command(&self.programs.flexbond, arguments), Reader::Absent)
    }

    /// Starts the example that serves small functions, and returns where it listens.
    ///
    /// # Errors
    /// When it does not listen.
    pub(super) fn calculator(&self, bind: &str) -> Result<(Program, SocketAddr)> {
        let program = self.start(
            self.command(&self.programs.calculator, &["--bind", bind]),
            Reader::Present,
        )?;
        let address = program.address()?;
        Ok((program, address))
    }

    /// Starts a program in a shell that first does `before`, such as to set a limit. `$0` and on are the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn shell<S: AsRef<str>>(
        &self,
        before: &str,
        program: &Path,
        arguments: &[S],
    ) -> Result<Program> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(program);
        command.args(arguments.iter().map(AsRef::as_ref));
        self.start(command, Reader::Present)
    }

    /// Starts any program, in a process group of its own: Ctrl-C in the terminal is for this command alone, which then
    /// ends them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&self, mut command: Command, reader: Reader) -> Result<Program> {
        command.process_group(0);
        let name = crate::process::shown(&command);
        Program::start(&name, command, reader, true, self.clock.clone())
    }

    /// The same in the process group that the command has.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_in_group(&self, command: Command, reader: Reader) -> Result<Program> {
        let name = crate::process::shown(&command);
        Program::start(&name, command, reader, false, self.clock.clone())
    }

    fn command<S: AsRef<str>>(&self, program: &Path, arguments: &[S]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    /// A socket that is bound to a port of this machine, and its address.
    ///
    /// # Errors
    /// When it does not bind.
    pub(super) fn bound(&self, pattern: &str, more: &[&str]) -> Result<(Program, SocketAddr)> {
        let mut arguments = vec![
            "socket",
            pattern,
            "--bind",
            "tcp://127.0.0.1:0",
            "--print-endpoint",
        ];
        arguments.extend(more);
        let program = self.flexbond(&arguments)?;
        let address = program.address()?;
        Ok((program, address))
    }

    /// Calls a function of a server with `flexbond call`; its answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) fn call(&self, address: SocketAddr, method: &str, arguments: &str) -> Result<String> {
        let endpoint = format!("tcp://{address}");
        let mut call = self.flexbond(&["call", &endpoint, method, arguments])?;
        call.ends_with(0, PATIENCE)?;
        Ok(call.output.take().join("\n"))
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn private(&self, path: &Path, text: &str) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(file.write_all(text.as_bytes())?)
    }

    pub(super) fn told(&mut self, name: impl Into<String>, value: f64) {
        self.sheet.add(self.case, name, value, Bound::Any);
    }

    pub(super) fn none(&mut self, name: impl Into<String>, count: usize) {
        self.sheet.add(self.case, name, count as f64, Bound::Exactly(0.0));
    }

    pub(super) fn at_most(&mut self, name: impl Into<String>, value: f64, bound: f64) {
        self.sheet.add(self.case, name, value, Bound::AtMost(bound));
    }

    pub(super) fn at_least(&mut self, name: impl Into<String>, value: f64, bound: f64) {
        self.sheet.add(self.case, name, value, Bound::AtLeast(bound));
    }

    pub(super) fn note(&mut self, text: &str) {
        self.sheet.notes.push(format!("{}: {text}", self.case));
    }

    /// Judges what a program holds now that all is over. It has a while to come back to where it began: connections end
    /// when their ends are noticed.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn settled(&mut self, name: &str, program: &Program, before: Usage) -> Result<()> {
        let deadline = Instant::now() + SETTLING;
        while program.usage()?.descriptors > before.descriptors && Instant::now() < deadline {
            self.clock.pass(Duration::from_millis(20))?;
        }
        let begin = Instant::now();
        let used = program.usage()?.processor;
        self.clock.pass(IDLE)?;
        let after = program.usage()?;
        let share = (after.processor - used) / begin.elapsed().as_secs_f64();
        self.sheet.growth(self.case, name, before, after);
        self.sheet.idle(self.case, name, share);
        Ok(())
    }
}
