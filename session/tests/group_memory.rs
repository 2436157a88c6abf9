//! How much memory a stream that is far longer than all budgets takes at its sender and at its receivers: processes, at
//! their highest resident size.
#![cfg(target_os = "linux")]

mod process;

use std::env;
use std::time::{Duration, Instant};

use flexbond_session::group::{Coordinator, Member, Options, Part};
use process::{Process, say};

const MIB: u64 = 1 << 20;
const ENDPOINT: &str = "FLEXBOND_TEST_GROUP";
const ROLE: &str = "FLEXBOND_TEST_GROUP_ROLE";
/// Bytes that are streamed: `FLEXBOND_STREAM_MIB` mebibytes, or as many as do not take long without optimization.
const FEW: u64 = 192 * MIB;
const SEND_BUDGET: u64 = 8 * MIB;
const RECV_BUDGET: u64 = 8 * MIB;
const WINDOW: u64 = 4 * MIB;
/// What a process takes beside its budgets: its code, its threads' stacks, the allocator's reserve, the driver's buffers
/// (1 MiB), and packets on their way to and from the kernel.
const SLACK: u64 = 32 * MIB;

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
async fn role() {
    let (Ok(endpoint), Ok(role)) = (env::var(ENDPOINT), env::var(ROLE)) else {
        return;
    };
    match role.as_str() {
        "send" => send(&endpoint).await,
        _ => receive(&endpoint).await,
    }
    say(highest());
}

async fn send(endpoint: &str) {
    let coordinator = Coordinator::bind(endpoint, options()).await.expect("it is free");
    say(coordinator.endpoint());
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

/// The highest resident size of a process, in bytes, when it is done.
async fn highest_of(process: &mut Process) -> u64 {
    process.says().await.parse().expect("a number")
}

async fn stays_within_its_budgets(endpoint: &'static str) {
    let begun = Instant::now();
    let start = |endpoint: &str, role| Process::start("role", &[(ENDPOINT, endpoint), (ROLE, role)]);
    let mut sender = start(endpoint, "send");
    let at = sender.says().await;
    let mut receivers = [(); 2].map(|()| start(&at, "receive"));
    let sender = highest_of(&mut sender).await;
    let [one, other] = &mut receivers;
    let receivers = [highest_of(one).await, highest_of(other).await];
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
