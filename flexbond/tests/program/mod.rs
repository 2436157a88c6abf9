//! Runs programs and talks to them as a shell would: lines in, lines out, an exit code, and a deadline for each.

#![allow(dead_code, reason = "every test target uses a part of it")]

pub(crate) mod conversation;
pub(crate) mod scrape;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who is at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The program `flexbond`.
    Ours,
    /// pyzmq, behind the same arguments.
    Pyzmq,
}

/// A running program.
pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: Option<Input>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Standard output of a program that nobody reads.
    unread: Option<ChildStdout>,
}

/// Standard input, written by a thread: who does not read would hold up the test.
struct Input {
    lines: Sender<String>,
    written: Receiver<std::io::Result<()>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    /// The lines that were not read before.
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Program {
    /// Starts `flexbond` with these arguments.
    pub(crate) fn flexbond<S: AsRef<str>>(arguments: &[S]) -> Self {
        Program::start(Command::new(env!("CARGO_BIN_EXE_flexbond")), arguments)
    }

    /// Starts a socket at either side; the arguments are those of `flexbond socket`.
    pub(crate) fn socket<S: AsRef<str>>(side: Side, arguments: &[S]) -> Self {
        match side {
            Side::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_flexbond"));
                command.arg("socket");
                Program::start(command, arguments)
            }
            Side::Pyzmq => Program::python(include_str!("peer.py"), arguments),
        }
    }

    /// Starts a Python script in the environment that `cargo xtask interop` makes.
    pub(crate) fn python<S: AsRef<str>>(script: &str, arguments: &[S]) -> Self {
        let python = std::env::var_os("FLEXBOND_PYTHON")
            .expect("FLEXBOND_PYTHON is not set: run these tests with `cargo xtask interop`");
        let mut command = Command::new(python);
        command.args(["-u", "-c", script]);
        Program::start(command, arguments)
    }

    pub(crate) fn start<S: AsRef<str>>(command: Command, arguments: &[S]) -> Self {
        let mut program = Program::unread(command, arguments);
        program.stdout = lines(program.unread.take().unwrap());
        program
    }

    /// Starts a program whose standard output is open, but never read.
    pub(crate) fn unread<S: AsRef<str>>(command: Command, arguments: &[S]) -> Self {
        Program::spawn(command, arguments, Stdio::piped())
    }

    /// Starts `flexbond` with these arguments and this standard output.
    pub(crate) fn printing_to<S: AsRef<str>>(output: impl Into<Stdio>, arguments: &[S]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_flexbond"));
        Program::spawn(command, arguments, output.into())
    }

    fn spawn<S: AsRef<str>>(mut command: Command, arguments: &[S], output: Stdio) -> Self {
        command
            .args(arguments.iter().map(AsRef::as_ref))
            .env_remove("FLEXBOND_PASSWORD");
        command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Program {
            name: arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "),
            stdin: child.stdin.take().map(input),
            stdout: channel().1,
            unread: child.stdout.take(),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => self.give_up(&format!("no line: {error}")),
        }
    }

    /// The next line of standard output, if it comes that soon.
    pub(crate) fn line_within(&mut self, time: Duration) -> Option<String> {
        match self.stdout.recv_timeout(time) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.give_up("ended instead of printing a line"),
        }
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn event(&mut self, text: &str) -> String {
        self.event_within(PATIENCE, text)
    }

    /// Waits that long for it.
    pub(crate) fn event_within(&mut self, time: Duration, text: &str) -> String {
        let deadline = Instant::now() + time;
        loop {
            match self
                .stderr
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => self.give_up(&format!("no event with {text:?}: {error}")),
            }
        }
    }

    /// Writes a line to standard input.
    pub(crate) fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_ref().expect("the input was closed before");
        // A thread that is gone has hung up the other channel, too.
        let _ = stdin.lines.send(format!("{line}\n"));
        match stdin.written.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.give_up(&format!("cannot write: {error}")),
            Err(error) => self.give_up(&format!("cannot write: {error}")),
        }
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Stops reading standard output, as `head` does when it has enough.
    pub(crate) fn close_output(&mut self) {
        let (_, closed) = channel();
        self.stdout = closed;
    }

    /// Starts to read the standard output of a program that was not read until now.
    pub(crate) fn read(&mut self) {
        self.stdout = lines(self.unread.take().expect("it is read already"));
    }

    /// From now on reads this as its standard output.
    pub(crate) fn reading(mut self, output: impl Read + Send + 'static) -> Self {
        self.stdout = lines(output);
        self
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Closes the input and waits for the end.
    pub(crate) fn end(mut self) -> End {
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if Instant::now() > deadline {
                self.give_up("does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let outputs = (rest(&self.stdout, PATIENCE), rest(&self.stderr, PATIENCE));
        let (Ok(stdout), Ok(stderr)) = outputs else {
            self.give_up("has ended, but something that it has left behind keeps its output open");
        };
        End { code, stdout, stderr }
    }

    /// Waits for the end, which must be a good one, with nothing more printed.
    pub(crate) fn done(self) {
        let name = self.name.clone();
        let end = self.end();
        assert_eq!((end.code, &end.stdout[..]), (Some(0), &[][..]), "{name}: {end:?}");
    }

    fn give_up(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let soon = Duration::from_secs(1);
        let [stdout, stderr] =
            [&self.stdout, &self.stderr].map(|lines| rest(lines, soon).unwrap_or_else(|all| all));
        panic!(
            "{}: {what}\nstandard output: {stdout:#?}\nstandard error: {stderr:#?}",
            self.name
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes until the end; the error is what came if the end does not come in time.
fn rest(lines: &Receiver<String>, time: Duration) -> Result<Vec<String>, Vec<String>> {
    let deadline = Instant::now() + time;
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => all.push(line),
            Err(RecvTimeoutError::Disconnected) => return Ok(all),
            Err(RecvTimeoutError::Timeout) => return Err(all),
        }
    }
}

fn input(mut pipe: ChildStdin) -> Input {
    let (lines, to_write) = channel::<String>();
    let (tell, written) = channel();
    std::thread::spawn(move || {
        for line in to_write {
            if tell.send(pipe.write_all(line.as_bytes())).is_err() {
                return;
            }
        }
    });
    Input { lines, written }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}
