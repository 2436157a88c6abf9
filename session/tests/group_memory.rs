//! How much memory a stream that is far longer than all budgets takes at its sender and at its receivers: processes, at
//! their highest resident size.
#![cfg(target_os = "linux")]

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flexbond_session::group::{Coordinator, Member, Options, Part};
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
const ENDPOINT: &str = "FLEXBOND_TEST_GROUP";
const ROLE: &str = "FLEXBOND_TEST_GROUP_ROLE";
/// What a process begins its report with.
const MARK: &str = "process reports ";
/// Bytes that are streamed: `FLEXBOND_STREAM_MIB` mebibytes, or as many as do not take long without optimization.
const FEW: u64 = 192 * MIB;
const SEND_BUDGET: u64 = 8 * MIB;
const RECV_BUDGET: u64 = 8 * MIB;
const WINDOW: u64 = 4 * MIB;
/// What a process takes beside its budgets: its code, its threads' stacks, the allocator's reserve, the driver's buffers
/// (1 MiB), and packets on their way to and from the kernel.
const SLACK: u64 = 32 * MIB;
const LIMIT: Duration = Duration::from_secs(120);

fn length() -> u64 {
    let mebibytes = env::var("FLEXBOND_STREAM_MIB")
        .ok()
        .and_then(|text| text.parse().ok());
    mebibytes.map_or(FEW, |mebibytes: u64| mebibytes * MIB)
}

fn options() -> Options {
    Options::new()
        .send_budget(SEND_BUDGET)
        .recv_budget(RECV_BUDGET)
        .window(WINDOW as usize)
        .dead_after(Duration::from_secs(10))
}

/// The highest resident size of this process so far, in bytes.
fn highest() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.expect("a number") << 10
}

/// Not a test by itself: what each process of the others runs.
#[tokio::test]
async fn process() {
    let (Ok(endpoint), Ok(role)) = (env::var(ENDPOINT), env::var(ROLE)) else {
        return;
    };
    match role.as_str() {
        "send" => send(&endpoint).await,
        _ => receive(&endpoint).await,
    }
    println!("\n{MARK}{}", highest());
}

async fn send(endpoint: &str) {
    let coordinator = Coordinator::bind(endpoint, options()).await.expect("it is free");
    println!("\n{MARK}{}", coordinator.endpoint());
    coordinator.wait_for_members(2).await.expect("all in");
    let mut stream = coordinator.stream().await;
    for _ in 0..length() / MIB {
        stream.send(vec![1; MIB as usize]).await.expect("sent");
    }
    let delivery = stream.finish("").await.expect("sent");
    delivery.delivered().await.expect("delivered");
    coordinator.close().await;
}

async fn receive(endpoint: &str) {
    let member = Member::join(endpoint, options()).await.expect("admitted");
    let mut bytes = 0;
    loop {
        let received = member.recv().await.expect("a part");
        bytes += received.body.len() as u64;
        if received.part == Part::Last {
            break;
        }
    }
    assert_eq!(bytes, length());
    member.leave().await;
}

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(endpoint: &str, role: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", "process", "--nocapture"])
            .env(ENDPOINT, endpoint)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdout = child.stdout.take().expect("it is piped");
        Process {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    fn report(&mut self) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines
            .find_map(|line| line.strip_prefix(MARK).map(str::to_owned))
            .expect("a report")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn stays_within_its_budgets(endpoint: &'static str) {
    let begun = Instant::now();
    let work = tokio::task::spawn_blocking(move || {
        let mut sender = Process::start(endpoint, "send");
        let endpoint = sender.report();
        let mut receivers = [(); 2].map(|()| Process::start(&endpoint, "receive"));
        let highest = |process: &mut Process| process.report().parse::<u64>().expect("a number");
        (highest(&mut sender), receivers.each_mut().map(highest))
    });
    let (sender, receivers) = timeout(LIMIT, work).await.expect("in time").expect("no panic");
    println!(
        "{endpoint}: {} MiB in {:?}: at most {} MiB at the sender, {:?} MiB at the receivers",
        length() / MIB,
        begun.elapsed(),
        sender / MIB,
        receivers.map(|bytes| bytes / MIB)
    );
    // It has one part in its hands beside.
    assert!(sender < SEND_BUDGET + MIB + SLACK, "{sender} bytes");
    for receiver in receivers {
        assert!(receiver < RECV_BUDGET + WINDOW + SLACK, "{receiver} bytes");
    }
}

#[tokio::test]
async fn a_stream_over_udp_stays_within_its_budgets() {
    stays_within_its_budgets("udp://127.0.0.1:0").await;
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn a_stream_over_tcp_stays_within_its_budgets() {
    stays_within_its_budgets("tcp://127.0.0.1:0").await;
}
