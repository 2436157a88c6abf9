//! `cargo xtask netlab run` as its users see it, with real namespaces where the machine allows them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use xtask::netlab::{Access, NEEDS, access};
use xtask::setup;

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a lab can be made here; says so aloud when not.
fn is_possible() -> bool {
    let missing = setup::missing(&NEEDS);
    if !missing.is_empty() {
        eprintln!(
            "NOT CHECKED, packages are missing: {}",
            setup::install_line(&missing)
        );
        return false;
    }
    if let Access::Denied(why) = access() {
        eprintln!("NOT CHECKED, network namespaces cannot be made here: {why}");
        return false;
    }
    true
}

fn netlab(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["netlab", "run"]).args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    let mut command = netlab(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(command.spawn().expect("xtask runs"));
    let pipes = (child.0.stdout.take(), child.0.stderr.take());
    let (stdout, stderr) = (pipes.0.expect("piped"), pipes.1.expect("piped"));
    let outputs = [all(stdout), all(stderr)];
    let status = ended(&mut child.0);
    let [stdout, stderr] = outputs.map(|all| all.recv_timeout(PATIENCE).expect("the end of its output"));
    Output {
        status,
        stdout,
        stderr,
    }
}

/// A program that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What comes until the end.
fn all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    told
}

/// Waits for its end.
fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

fn lines(output: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(output)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// Starts programs that last, and returns when all have.
fn started(hosts: usize) -> Killed {
    let script = "echo up; exec sleep 1000";
    let mut command = netlab(&["--hosts", &hosts.to_string(), "--", "sh", "-c", script]);
    let mut child = Killed(command.stdout(Stdio::piped()).spawn().expect("xtask runs"));
    let stdout = child.0.stdout.take().expect("piped");
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    for _ in 0..hosts {
        let line = told.recv_timeout(PATIENCE).expect("every host starts");
        assert!(line.ends_with("] up"), "{line}");
    }
    child
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
        .arg(child.id().to_string())
        .status();
    assert!(sent.expect("sh runs").success());
}

/// Whether a process of the lab that process `pid` made is alive.
fn remains(pid: u32) -> bool {
    let name = format!("flexbond-netlab-{pid}-");
    let processes = fs::read_dir("/proc").expect("proc is mounted");
    processes
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&name))
}

fn expect_gone(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while remains(pid) {
        assert!(
            Instant::now() < deadline,
            "the lab of process {pid} is still there"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_host_runs_the_program_and_knows_the_others() {
    if !is_possible() {
        return;
    }
    let script = "echo $HOST of $HOSTS, $ADDR to $COORDINATOR; echo aside >&2";
    let output = output(&["--hosts", "2", "--", "sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines(&output.stdout),
        [
            "[0] 0 of 2, 10.77.0.1 to 10.77.0.1",
            "[1] 1 of 2, 10.77.0.2 to 10.77.0.1"
        ]
    );
    let errors = lines(&output.stderr);
    for line in ["[0] aside", "[1] aside"] {
        assert!(
            errors.iter().any(|found| found == line),
            "{line} is not in {errors:?}"
        );
    }
}

#[test]
fn hosts_may_share_a_loopback_interface() {
    if !is_possible() {
        return;
    }
    let output = output(&["--hosts", "2", "--loopback", "--", "sh", "-c", "echo $ADDR"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&output.stdout), ["[0] 127.0.0.1", "[1] 127.0.0.1"]);
    let output = self::output(&["--loopback", "--loss", "5", "--", "true"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && errors.contains("no faults"),
        "{errors}"
    );
}

#[test]
fn a_failure_is_the_status_of_all() {
    if !is_possible() {
        return;
    }
    let script = "exit $((HOST * 7))";
    let output = output(&["--hosts", "2", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn an_interruption_ends_everything() {
    if !is_possible() {
        return;
    }
    let mut lab = started(2);
    signal("INT", &lab.0);
    assert_eq!(ended(&mut lab.0).code(), Some(130));
    expect_gone(lab.0.id());
}

#[test]
fn a_killed_lab_takes_its_programs_with_it() {
    if !is_possible() {
        return;
    }
    let mut lab = started(2);
    lab.0.kill().expect("it runs");
    ended(&mut lab.0);
    expect_gone(lab.0.id());
}
