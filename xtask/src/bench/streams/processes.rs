//! Processes of a measurement: those that run until it is over, and those that answer and end.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::shown;

/// How long a line may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take that writes as many bytes as one does here, on a slow disk.
const LIMIT: Duration = Duration::from_secs(240);

/// A process that ends when it is not needed any more.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        command.stderr(Stdio::inherit());
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        Ok(Running(child))
    }

    /// What it writes to its standard output, line by line.
    pub(super) fn lines(&mut self) -> Result<Receiver<String>> {
        let stdout = self.0.stdout.take().context("the output was taken already")?;
        let (tx, rx) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                if tx.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(rx)
    }

    /// Waits for its end, until `deadline`.
    fn end(&mut self, deadline: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("not done within {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and returns the last JSON object that it printed, and how long it took from its start to
/// its end.
pub(super) fn answer(command: &mut Command) -> Result<(Value, f64)> {
    let begin = Instant::now();
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let lines = running.lines()?;
    let mut last = Value::Null;
    let deadline = begin + LIMIT;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => last = serde_json::from_str(&line).unwrap_or(last),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!("{}: not done within {LIMIT:?}", shown(command)),
        }
    }
    let status = running.end(deadline)?;
    let seconds = begin.elapsed().as_secs_f64();
    if let Some(error) = last["error"].as_str() {
        bail!("{error}");
    }
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok((last, seconds))
}

/// A port that nobody has just now: mflow does not say which one it got.
pub(super) fn spare_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no spare port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_last_object_is_the_answer() {
        let (answer, seconds) = answer(&mut shell(r#"echo '{"a":1}'; echo '{"a":2}'; echo done"#)).unwrap();
        assert_eq!(answer["a"], 2);
        assert!(seconds > 0.0);
    }

    #[test]
    fn failures_say_what_failed() {
        let error = answer(&mut shell(r#"echo '{"error":"no room"}'"#)).unwrap_err();
        assert_eq!(error.to_string(), "no room");
        let error = answer(&mut shell("exit 3")).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
