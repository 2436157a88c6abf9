//! One measurement: the processes of one contender, from start to result.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::case::{Case, Outcome, Side};
use super::relayed;

/// How long any one step may take beyond the measured time.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Between the last connect and the start of the traffic: handshakes and subscriptions.
pub(super) const SETTLE: Duration = Duration::from_millis(60);

/// A program that answers line by line. Killed when dropped.
pub(super) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Program {
    pub(super) fn start(program: &Path, words: &[String]) -> Result<Program> {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("no standard output")?;
        let input = child.stdin.take();
        let (tx, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    // Nobody listens once the measurement is over.
                    let _ = tx.send(value);
                }
            }
        });
        Ok(Program { child, input, lines })
    }

    /// Waits for the line that has `key`.
    pub(super) fn expect(&self, key: &str, limit: Duration) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .map_err(|_| anyhow!("no answer within {limit:?} (`{key}`)"))?;
            if let Some(error) = line["error"].as_str() {
                bail!("{}", error.lines().last().unwrap_or(error));
            }
            if !line[key].is_null() {
                return Ok(line);
            }
        }
    }

    pub(super) fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("no standard input")?;
        input.write_all(b"go\n")?;
        Ok(input.flush()?)
    }

    pub(super) fn end(&mut self) {
        self.input = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a contender can run a case: its settings (name and meaning), or why not at all.
pub(super) fn settings(program: &Path, case: &Case) -> Result<Result<Vec<(String, String)>, String>> {
    let program = Program::start(program, &words("list", case, "", &[]))?;
    let line = program
        .lines
        .recv_timeout(PATIENCE)
        .map_err(|_| anyhow!("no list of settings"))?;
    if let Some(why) = line["missing"].as_str() {
        return Ok(Err(why.to_owned()));
    }
    let list = line["settings"]
        .as_array()
        .with_context(|| format!("no list of settings but {line}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Ok(list
        .iter()
        .map(|setting| (text(&setting["name"]), text(&setting["about"])))
        .collect()))
}

pub(super) fn words(role: &str, case: &Case, endpoint: &str, more: &[String]) -> Vec<String> {
    let mut words = vec![
        role.to_owned(),
        format!("case={}", case.traffic),
        format!("transport={}", case.heading.transport),
        format!("size={}", case.heading.size),
        format!("endpoint={endpoint}"),
    ];
    // The case's own words come last: they win.
    words.extend(more.iter().chain(&case.words).cloned());
    words
}

/// Measures once. `more` are the words that say how long and with which setting.
///
/// # Errors
/// What the programs report, or that they do not answer.
pub(super) fn measure(program: &Path, case: &Case, more: &[String], folder: &Path) -> Result<Outcome> {
    let window: u64 = more
        .iter()
        .chain(&case.words)
        .filter_map(|word| word.split_once("_ms=")?.1.parse::<u64>().ok())
        .sum();
    let limit = PATIENCE + Duration::from_millis(window);
    if let Side::Parties(cast) = case.measures {
        return relayed::measure(program, case, cast, more, limit, folder);
    }
    if case.heading.transport == "inproc" {
        let mut both = Program::start(program, &words("inproc", case, "inproc://bench", more))?;
        both.expect("ready", PATIENCE)?;
        thread::sleep(SETTLE);
        both.go()?;
        return Ok(Outcome {
            measured: both.expect("seconds", limit)?,
            other: Value::Null,
        });
    }
    let socket = folder.join("bench.ipc");
    let endpoint = if case.heading.transport == "ipc" {
        // Left by a program that was killed.
        let _ = std::fs::remove_file(&socket);
        format!("ipc://{}", socket.display())
    } else {
        "tcp://127.0.0.1:0".to_owned()
    };
    let mut bind = Program::start(program, &words("bind", case, &endpoint, more))?;
    let bound = bind.expect("bound", PATIENCE)?;
    let endpoint = bound["bound"].as_str().unwrap_or_default();
    let mut connect = Program::start(program, &words("connect", case, endpoint, more))?;
    connect.expect("ready", PATIENCE)?;
    thread::sleep(SETTLE);
    bind.go()?;
    connect.go()?;
    if case.traffic == "reconnect" {
        // The first life of the bound side ends with its result; the second one is measured.
        bind.expect("seconds", limit)?;
        drop(bind);
        bind = Program::start(program, &words("bind", case, endpoint, more))?;
        bind.expect("bound", PATIENCE)?;
    }
    let (measuring, other) = match case.measures {
        Side::Bind => (&bind, &mut connect),
        Side::Connect | Side::Parties(_) => (&connect, &mut bind),
    };
    let measured = measuring.expect("seconds", limit)?;
    other.end();
    Ok(Outcome {
        measured,
        other: other.expect("messages", PATIENCE)?,
    })
}
