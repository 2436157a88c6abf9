//! One network namespace, held by a small process that ends what runs in it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::shown;

/// What the holder's argument list begins with; this process's id and the namespace's name follow.
const PREFIX: &str = "flexbond-netlab";

/// How long the holder may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The holder leads a process group, which every program joins before it is started. It waits for the end of its
/// input, which comes when the lab is dropped and also when this process dies in any way, and then ends its own group.
///
/// It never looks for processes to end: a search that goes wrong, as root, ends the machine's. Nobody is missed
/// either, since a program that comes too late finds no group to join and is not started. The kernel removes a
/// namespace with its last process, so nothing is left that could become stale.
const HOLDER: &str = "trap '' INT TERM HUP; echo ready; read -r _; kill -s KILL 0";

/// A network namespace of its own.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
    holder: Child,
}

impl Namespace {
    /// A new namespace, in which nothing is configured. `name` is for people who look at the list of processes.
    ///
    /// # Errors
    /// When the system does not let this process make one.
    pub(super) fn new(name: &str) -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", HOLDER])
            .arg(format!("{PREFIX}-{}-{name}", process::id()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what it ends is this group, and nothing else can be in it.
            .process_group(0)
            .spawn()
            .context("cannot start unshare, which is part of util-linux")?;
        let output = holder.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != "ready" {
            let output = holder.wait_with_output()?;
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("cannot make a network namespace: {why}");
        }
        Ok(Namespace {
            name: name.to_owned(),
            holder,
        })
    }

    /// The process that others can name the namespace by, and the process group of the programs in it.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs `program` in the namespace, in the group that ends with it.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.pid()))
            .arg("--")
            .arg(program);
        if let Ok(group) = i32::try_from(self.pid()) {
            command.process_group(group);
        }
        command
    }

    /// Runs `program` in the namespace with `script` as its input, and returns what it printed.
    ///
    /// # Errors
    /// When it fails; the message has what it wrote to standard error.
    pub(super) fn configure(&self, program: &str, args: &[&str], script: &str) -> Result<String> {
        let mut command = self.command(program);
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", shown(&command)))?;
        if let Some(mut input) = child.stdin.take() {
            // A program that fails stops reading, and says why below.
            let _ = input.write_all(script.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("{}: `{program}` failed: {}\n{script}", self.name, why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Tells the holder to end its group, and does not wait for it.
    pub(super) fn release(&mut self) {
        self.holder.stdin = None;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.release();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.holder.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // It was stopped, perhaps. This process must not hang as well.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
