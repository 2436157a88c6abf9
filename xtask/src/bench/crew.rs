//! Several programs that run at once, and what they answer.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Programs that print a JSON object a line. Killed when dropped.
pub(super) struct Crew {
    children: Vec<Child>,
    inbox: Receiver<Message>,
}

/// What comes from a program, by its index.
struct Message {
    from: usize,
    /// None when it has closed its output.
    line: Option<Value>,
}

impl Crew {
    /// Starts one program after the other.
    ///
    /// # Errors
    /// When one cannot be started; those before it are killed.
    pub(super) fn start(commands: impl IntoIterator<Item = Command>) -> Result<Crew> {
        let (outbox, inbox) = channel();
        let mut crew = Crew {
            children: Vec::new(),
            inbox,
        };
        for (index, mut command) in commands.into_iter().enumerate() {
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("cannot start {}", command.get_program().display()))?;
            let output = child.stdout.take();
            crew.children.push(child);
            let outbox = outbox.clone();
            let output = output.context("no standard output")?;
            thread::spawn(move || pass_on(index, BufReader::new(output), &outbox));
        }
        Ok(crew)
    }

    /// Waits until each of the first `wanted` programs has printed a line that has `key`, and returns these.
    ///
    /// # Errors
    /// What a program reports as its error instead, that one ended without its answer, or that it took longer than
    /// `limit`.
    pub(super) fn answers(&self, key: &str, wanted: usize, limit: Duration) -> Result<Vec<Value>> {
        collect(&self.inbox, key, wanted, limit)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // All at once, and then each is waited for. They may be gone already.
        for child in &mut self.children {
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn pass_on(from: usize, output: impl BufRead, outbox: &Sender<Message>) {
    // Nobody listens once the measurement is over.
    for line in output.lines().map_while(Result::ok) {
        if let Ok(value) = serde_json::from_str(&line) {
            let line = Some(value);
            let _ = outbox.send(Message { from, line });
        }
    }
    let _ = outbox.send(Message { from, line: None });
}

fn collect(inbox: &Receiver<Message>, key: &str, wanted: usize, limit: Duration) -> Result<Vec<Value>> {
    let deadline = Instant::now() + limit;
    let mut answers: Vec<Option<Value>> = vec![None; wanted];
    while answers.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Message { from, line } = match inbox.recv_timeout(left) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => bail!("not done within {} s", limit.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("all programs have ended"),
        };
        let answer = answers.get_mut(from);
        if answer.as_ref().is_some_and(|answer| answer.is_some()) {
            // What goes wrong when it is over, for example because the others ended first, changes no figure.
            continue;
        }
        if let Some(error) = line.as_ref().and_then(|line| line["error"].as_str()) {
            bail!("{}", error.lines().last().unwrap_or(error));
        }
        let Some(answer) = answer else {
            continue;
        };
        match line {
            Some(line) if !line[key].is_null() => *answer = Some(line),
            None => bail!("process {from} ended without a result"),
            Some(_) => {}
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is collected when programs print these texts, one after the other, and end.
    fn collected(outputs: &[&str], wanted: usize) -> Result<Vec<Value>, String> {
        let (outbox, inbox) = channel();
        for (index, output) in outputs.iter().enumerate() {
            pass_on(index, output.as_bytes(), &outbox);
        }
        collect(&inbox, "seconds", wanted, Duration::from_secs(1)).map_err(|error| error.to_string())
    }

    #[test]
    fn answers_come_in_the_order_of_the_programs() {
        let ready = "{\"ready\": true}\nno object\n{\"seconds\": 2.0}\n";
        let answers = collected(&["{\"seconds\": 1.0}", ready], 2).unwrap();
        assert_eq!(answers, [json!({ "seconds": 1.0 }), json!({ "seconds": 2.0 })]);
        let one = collected(&["{\"seconds\": 1.0}", "{\"ready\": true}"], 1).unwrap();
        assert_eq!(one.len(), 1, "the other one is not asked");
        let late = collected(&["{\"seconds\": 1.0}\n{\"error\": \"too late\"}", ready], 2).unwrap();
        assert_eq!(late.len(), 2, "an error after the answer changes nothing");
    }

    #[test]
    fn errors_and_silence_are_no_answers() {
        let error = "{\"error\": \"panicked:\\nnobody answers\"}";
        assert_eq!(
            collected(&["", error], 0),
            Ok(Vec::new()),
            "nothing is waited for"
        );
        assert_eq!(
            collected(&["{\"ready\": true}", error], 1).unwrap_err(),
            "process 0 ended without a result"
        );
        assert_eq!(collected(&[error, ""], 2).unwrap_err(), "nobody answers");
        let (_outbox, inbox) = channel();
        let late = collect(&inbox, "seconds", 1, Duration::ZERO).unwrap_err();
        assert_eq!(late.to_string(), "not done within 0 s");
    }
}
