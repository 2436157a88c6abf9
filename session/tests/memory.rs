//! How much memory hostile and stalled peers can make a socket use: measured as this process's resident size.
#![cfg(target_os = "linux")]

mod harness;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexbond_session::socket::SocketType;
use harness::{bind, brisk, numbered, peers, recv, socket, socket_with, until, within};
use raw::{MORE, Raw, command, frame, message};
use tokio::io::AsyncReadExt;

/// What the allocator, the kernel's view of it, and fifty connections may cost besides what is queued.
const SLACK: usize = 48 << 20;

/// One measurement at a time: they share the process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The resident size of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a resident size");
    let kibibytes: usize = line
        .split_whitespace()
        .nth(1)
        .and_then(|size| size.parse().ok())
        .expect("a number");
    kibibytes * 1024
}

/// The highest resident size so far, seen at each call.
struct Peak {
    start: usize,
    peak: usize,
}

impl Peak {
    fn start() -> Peak {
        let start = resident();
        Peak { start, peak: start }
    }

    fn look(&mut self) {
        self.peak = self.peak.max(resident());
    }

    /// Checks the growth against what is allowed.
    fn within(mut self, what: &str, allowed: usize) {
        self.look();
        let grown = self.peak - self.start;
        println!(
            "{what}: grew by {} KiB of {} KiB allowed",
            grown >> 10,
            allowed >> 10
        );
        assert!(
            grown <= allowed,
            "{what}: grew by {grown} bytes, {allowed} are allowed"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_subscriber_among_fifty_costs_its_own_queue() {
    const SIZE: usize = 64 << 10;
    const COUNT: u64 = (200 << 20) / SIZE as u64;
    const HWM: usize = 200;
    let _alone = ALONE.lock().await;
    let publisher = socket_with(SocketType::XPub, brisk().send_hwm(HWM).send_buffer(65_536));
    let endpoint = bind(&publisher).await;
    let mut stalled = Raw::connect(&endpoint).await;
    stalled.handshake("SUB").await;
    stalled.send(&command("SUBSCRIBE", b"")).await;
    recv(&publisher).await;
    let read = Arc::new(AtomicU64::new(0));
    let heard = Arc::new(AtomicUsize::new(0));
    let expected = COUNT * (9 + SIZE as u64);
    let mut readers = Vec::new();
    for _ in 0..49 {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("SUB").await;
        // A topic of its own shows that the subscription has been seen.
        let topic = format!("reader {}", readers.len());
        peer.send(&[command("SUBSCRIBE", b""), command("SUBSCRIBE", topic.as_bytes())].concat())
            .await;
        while recv(&publisher).await[0][1..] != *topic.as_bytes() {}
        let (read, heard) = (Arc::clone(&read), Arc::clone(&heard));
        readers.push(tokio::spawn(async move {
            let mut scratch = vec![0; 1 << 18];
            let mut mine = 0;
            while mine < expected {
                let count = peer.stream().read(&mut scratch).await.expect("bytes");
                assert!(count > 0, "the publisher ended the connection");
                mine += count as u64;
                read.fetch_add(count as u64, Ordering::Relaxed);
            }
            heard.fetch_add(1, Ordering::Relaxed);
            peer
        }));
    }
    peers(&publisher, 50).await;

    let mut peak = Peak::start();
    let start = Instant::now();
    for i in 0..COUNT {
        within("the publisher to send", publisher.send(numbered(i, SIZE)))
            .await
            .expect("sent");
        if i % 32 == 0 {
            peak.look();
            // Lively subscribers are given the time to keep up; the stalled one would need for ever.
            until("the lively subscribers", || {
                publisher.peers().iter().filter(|peer| peer.queued > 64).count() <= 1
            })
            .await;
        }
    }
    let mut open = Vec::new();
    for reader in readers {
        open.push(
            tokio::time::timeout(Duration::from_secs(60), reader)
                .await
                .expect("all was read")
                .expect("all"),
        );
    }
    println!("200 MiB to 49 subscribers in {:?}", start.elapsed());
    assert_eq!(
        read.load(Ordering::Relaxed),
        expected * 49,
        "each has everything and nothing else"
    );
    let lost: Vec<_> = publisher
        .peers()
        .iter()
        .map(|peer| peer.dropped)
        .filter(|dropped| *dropped > 0)
        .collect();
    assert_eq!(lost.len(), 1, "only the stalled one lost messages: {lost:?}");
    assert_eq!(lost[0], publisher.stats().dropped);
    peak.within("a stalled subscriber", HWM * SIZE + SLACK);
}

#[tokio::test]
async fn a_receiver_that_does_not_read_holds_back_its_peer() {
    const SIZE: usize = 64 << 10;
    const HWM: usize = 100;
    let _alone = ALONE.lock().await;
    let pull = socket_with(SocketType::Pull, brisk().recv_hwm(HWM).recv_buffer(65_536));
    let mut peer = Raw::connect(&bind(&pull).await).await;
    peer.handshake("PUSH").await;
    let one = message(vec![7; SIZE]);
    let peak = Peak::start();
    let mut sent = 0;
    while sent < 2000 {
        let push = tokio::time::timeout(Duration::from_millis(300), peer.try_send(&one)).await;
        match push {
            Ok(result) => result.expect("still connected"),
            Err(_) => break,
        }
        sent += 1;
    }
    println!("{sent} messages were taken");
    assert!((HWM..HWM * 2 + 200).contains(&sent), "{sent} messages were taken");
    peak.within("an unread receiver", HWM * SIZE * 2 + SLACK);
    for _ in 0..sent {
        assert_eq!(recv(&pull).await.size(), SIZE);
    }
}

#[tokio::test]
async fn a_flood_of_pings_whose_answers_are_never_read_is_bounded() {
    let _alone = ALONE.lock().await;
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    let pings = command("PING", b"\0\0sixteen bytes ...").repeat(10_000);
    let peak = Peak::start();
    let mut flood = 0;
    while flood < 100 << 20 {
        match tokio::time::timeout(Duration::from_millis(300), peer.try_send(&pings)).await {
            Ok(Ok(())) => flood += pings.len(),
            // It is no longer read, or was thrown out: either will do.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    println!("{} KiB of PINGs were taken", flood >> 10);
    peak.within("a flood of PINGs", 32 << 20);
    let mut other = Raw::connect(&endpoint).await;
    other.handshake("PUSH").await;
    other.send(&message("served")).await;
    recv(&pull).await;
}

#[tokio::test]
async fn a_message_without_end_is_bounded_by_its_parts_and_its_size() {
    let _alone = ALONE.lock().await;
    for part in [vec![], vec![7; 10_000]] {
        let pull = socket_with(
            SocketType::Pull,
            brisk()
                .max_message_size(8_usize << 20)
                .max_message_parts(10_000_usize),
        );
        let mut peer = Raw::connect(&bind(&pull).await).await;
        peer.handshake("PUSH").await;
        let parts = frame(MORE, &part).repeat(1000);
        let peak = Peak::start();
        within("the message to be refused", async {
            while peer.try_send(&parts).await.is_ok() {}
        })
        .await;
        peak.within("a message without end", (8 << 20) * 3 + (8 << 20));
    }
}

#[tokio::test]
async fn announced_lengths_are_not_allocated() {
    let _alone = ALONE.lock().await;
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut open = Vec::new();
    let peak = Peak::start();
    for _ in 0..100 {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        // Within the limit of 1 GiB, but nothing of it ever comes.
        peer.send(&[&[raw::LONG][..], &(1_u64 << 29).to_be_bytes(), b"a little"].concat())
            .await;
        open.push(peer);
    }
    peers(&pull, 100).await;
    let mut other = Raw::connect(&endpoint).await;
    other.handshake("PUSH").await;
    other.send(&message("served")).await;
    recv(&pull).await;
    peak.within("announced lengths", SLACK);
}

#[tokio::test]
async fn connections_that_come_and_go_leak_nothing() {
    let _alone = ALONE.lock().await;
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    let mut peak = None;
    for i in 0..6000 {
        if i == 1000 {
            // Everything that grows once has grown.
            until("no peers", || rep.peers().is_empty()).await;
            peak = Some(Peak::start());
        }
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("REQ").await;
        peer.send(&message(["", "question"])).await;
        recv(&rep).await;
        harness::send(&rep, "answer").await;
        peer.recv_message().await;
    }
    until("no peers", || rep.peers().is_empty()).await;
    peak.expect("started")
        .within("five thousand connections", 8 << 20);
}

#[tokio::test]
async fn sockets_that_come_and_go_leave_no_descriptors() {
    let _alone = ALONE.lock().await;
    let open = || std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    let mut before = 0;
    for i in 0..300 {
        if i == 50 {
            before = open();
        }
        let (bound, connecting) = (socket(SocketType::Pair), socket(SocketType::Pair));
        let endpoint = bind(&bound).await;
        connecting.connect(endpoint).expect("connecting");
        harness::send(&connecting, "x").await;
        recv(&bound).await;
        if i % 2 == 0 {
            within("close", connecting.close()).await;
            within("close", bound.close()).await;
        }
    }
    until("every descriptor to be closed", || open() <= before).await;
}
