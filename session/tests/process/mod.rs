//! Processes that a test starts, kills or stops: its own program, told by the environment what to do.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::env;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What a process begins each of its reports with.
const MARK: &str = "process reports ";
/// How long a report may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Reports to the test that has started this process.
pub(crate) fn say(text: impl Display) {
    println!("\n{MARK}{text}");
}

/// A process; it ends with this.
pub(crate) struct Process {
    child: Child,
    reports: UnboundedReceiver<(Instant, String)>,
}

impl Process {
    /// Runs the test `name` of this program in a process of its own, with these environment variables.
    pub(crate) fn start(name: &str, told: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture"])
            .envs(told.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, reports) = unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(report) = line.strip_prefix(MARK) {
                    let _ = sender.send((Instant::now(), report.to_owned()));
                }
            }
        });
        Process { child, reports }
    }

    /// Its next report, and when it came.
    pub(crate) async fn report(&mut self) -> (Instant, String) {
        let report = tokio::time::timeout(LIMIT, self.reports.recv());
        report.await.expect("a report in time").expect("a report")
    }

    /// Its next report.
    pub(crate) async fn says(&mut self) -> String {
        self.report().await.1
    }

    /// Kills it, so that it can say nothing more to anybody.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
    }

    /// Sends it a signal, as `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
