//! `cargo xtask netlab run`: one program on every host.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Lab;

/// How long the programs have to end after Ctrl-C, before they are killed.
const GRACE: Duration = Duration::from_secs(3);
/// The exit status after Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// Runs a program on every host, with its output prefixed by the host's index.
///
/// Its environment has HOST (the host's index), HOSTS (how many there are), ADDR (the host's address) and COORDINATOR
/// (the address of host 0). It ends when the program has ended on every host, with the status of the first host that
/// failed, or after Ctrl-C, which all programs get too.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How many hosts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    hosts: usize,
    /// Lose this share of the UDP packets to every host, or to one (repeatable).
    #[arg(long, value_name = "PCT[@HOST]")]
    loss: Vec<Fault>,
    /// Deliver this share of the UDP packets to every host, or to one, twice (repeatable).
    #[arg(long, value_name = "PCT[@HOST]")]
    duplicate: Vec<Fault>,
    /// Limit every link, or that of one host, to this rate in each direction (repeatable).
    #[arg(long, value_name = "MBIT[@HOST]")]
    rate: Vec<Fault>,
    /// Turn segmentation offload off also without loss, so that a run with loss can be compared with one without.
    #[arg(long)]
    no_segmentation: bool,
    /// All hosts share one loopback interface, as processes of one machine; there are no faults then.
    #[arg(long)]
    loopback: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// How much of something, at one host or at all.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    amount: f64,
    host: Option<usize>,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (amount, host) = match text.split_once('@') {
            Some((amount, host)) => (amount, Some(host)),
            None => (text, None),
        };
        let host = host
            .map(str::parse)
            .transpose()
            .map_err(|_| format!("after the @ of `{text}` comes the index of a host"))?;
        let amount = amount
            .parse()
            .map_err(|_| format!("`{amount}` is not a number"))?;
        Ok(Fault { amount, host })
    }
}

impl Fault {
    fn hosts(&self, lab: &Lab) -> Vec<usize> {
        self.host
            .map_or_else(|| (0..lab.hosts()).collect(), |host| vec![host])
    }
}

/// What happens while the programs run.
enum Event {
    Ended(usize, io::Result<ExitStatus>),
    Interrupt,
}

/// Runs the command. Does not return when a program failed: it exits with that program's status.
///
/// # Errors
/// When the lab cannot be made or the program cannot be started.
pub(super) fn run(args: &Args) -> Result<()> {
    let (events, inbox) = mpsc::channel();
    let interrupts = events.clone();
    // Before the lab is made, so that there is no moment at which Ctrl-C would be too early for it.
    ctrlc::set_handler(move || {
        // Nobody listens when all is over.
        let _ = interrupts.send(Event::Interrupt);
    })
    .context("cannot listen to Ctrl-C")?;
    let lab = build(args)?;
    let status = programs(&lab, &args.command, &events, &inbox)?;
    drop(lab);
    if status != 0 {
        process::exit(status);
    }
    Ok(())
}

fn build(args: &Args) -> Result<Lab> {
    let mut lab = if args.loopback {
        Lab::loopback(args.hosts)?
    } else {
        Lab::new(args.hosts)?
    };
    type Commit = fn(&mut Lab, usize, f64) -> Result<()>;
    let faults: [(&[Fault], Commit); 3] = [
        (&args.loss, Lab::loss),
        (&args.duplicate, Lab::duplicate),
        (&args.rate, Lab::rate),
    ];
    for (faults, commit) in faults {
        for fault in faults {
            for host in fault.hosts(&lab) {
                commit(&mut lab, host, fault.amount)?;
            }
        }
    }
    if args.no_segmentation {
        lab.segmentation(false)?;
    }
    for host in 0..lab.hosts() {
        eprintln!(
            "host {host}: {}, shell: {}",
            lab.address(host),
            lab.shell_line(host)
        );
    }
    Ok(lab)
}

/// A program on a host.
struct Running {
    group: u32,
    has_ended: bool,
}

fn programs(lab: &Lab, command: &[String], events: &Sender<Event>, inbox: &Receiver<Event>) -> Result<i32> {
    let [program, args @ ..] = command else {
        bail!("no program is given");
    };
    let mut running = Vec::new();
    let mut copies = Vec::new();
    for host in 0..lab.hosts() {
        let mut child = lab
            .command(host, program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start nsenter, which is part of util-linux")?;
        copies.extend(copy_output(host, &mut child));
        running.push(Running {
            group: lab.group(host),
            has_ended: false,
        });
        let events = events.clone();
        thread::spawn(move || events.send(Event::Ended(host, child.wait())));
    }
    let status = wait(&mut running, inbox)?;
    // What the programs left running holds on to their output; it is not waited for.
    let deadline = Instant::now() + Duration::from_millis(500);
    while copies.iter().any(|copy| !copy.is_finished()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    Ok(status)
}

/// Until all programs have ended; returns the status to exit with.
fn wait(running: &mut [Running], inbox: &Receiver<Event>) -> Result<i32> {
    let mut status = 0;
    let mut deadline: Option<Instant> = None;
    while running.iter().any(|program| !program.has_ended) {
        let event = match deadline {
            None => inbox.recv().map_err(RecvTimeoutError::from),
            Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Ended(host, ended)) => {
                running[host].has_ended = true;
                let ended = ended.with_context(|| format!("host {host}"))?;
                if !ended.success() && deadline.is_none() {
                    eprintln!("host {host}: {ended}");
                    status = if status == 0 { shell_status(ended) } else { status };
                }
            }
            Ok(Event::Interrupt) if deadline.is_none() => {
                eprintln!("interrupted; once more kills the programs");
                status = INTERRUPTED;
                deadline = Some(Instant::now() + GRACE);
                signal("INT", running);
            }
            Ok(Event::Interrupt) | Err(RecvTimeoutError::Timeout) => {
                signal("KILL", running);
                deadline = Some(Instant::now() + GRACE);
            }
            Err(RecvTimeoutError::Disconnected) => bail!("nobody is left to wait for"),
        }
    }
    Ok(status)
}

/// Signals the programs that still run, and what they have started. KILL ends their hosts as well.
fn signal(name: &str, running: &[Running]) {
    for program in running.iter().filter(|program| !program.has_ended) {
        // It may end at this very moment.
        let _ = Command::new("sh")
            .args(["-c", "kill -s \"$1\" -- \"-$2\"", "sh", name])
            .arg(program.group.to_string())
            .stderr(Stdio::null())
            .status();
    }
}

/// The status as shells have it, which is never 0 here.
fn shell_status(ended: ExitStatus) -> i32 {
    ended
        .code()
        .or_else(|| ended.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

fn copy_output(host: usize, child: &mut Child) -> Vec<JoinHandle<()>> {
    let output = child.stdout.take().map(|from| copy(host, from, io::stdout()));
    let errors = child.stderr.take().map(|from| copy(host, from, io::stderr()));
    output.into_iter().chain(errors).collect()
}

fn copy(host: usize, from: impl Read + Send + 'static, to: impl Write + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || prefix(host, from, to))
}

/// Copies line by line, each with the host in front, until the end.
fn prefix(host: usize, from: impl Read, mut to: impl Write) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(format!("[{host}] ").as_bytes());
        let prefix = line.len();
        if !from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            return;
        }
        if line.len() > prefix && line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // As one write, so that lines of several hosts do not mix. A reader that went away stops nobody.
        let _ = to.write_all(&line).and_then(|()| to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let fault = |text: &str| text.parse::<Fault>().map(|fault| (fault.amount, fault.host));
        assert_eq!(fault("5"), Ok((5.0, None)));
        assert_eq!(fault("0.5@2"), Ok((0.5, Some(2))));
        for wrong in ["", "x", "5@", "5@x", "@1"] {
            assert!(fault(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_line_has_its_host() {
        let mut to = Vec::new();
        prefix(12, &b"one\n\nthree"[..], &mut to);
        assert_eq!(String::from_utf8(to).unwrap(), "[12] one\n[12] \n[12] three\n");
    }

    #[test]
    fn a_status_is_what_a_shell_would_say() {
        assert_eq!(shell_status(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(shell_status(ExitStatus::from_raw(9)), 137);
    }
}
