//! A socket that waits costs no processor time, whatever it waits for: measured as this process's own time.
#![cfg(target_os = "linux")]

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::socket::{Event, SocketType};
use harness::{bind, brisk, event, numbered, peers, send, socket, socket_with, vacant, would_block};
use raw::{Raw, command, listen, message};

/// Processor time of this process so far, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Fields are counted after the program's name, which may itself contain spaces.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum()
}

async fn costs_nothing(what: &str) {
    // What was under way comes to rest.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = ticks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = ticks() - before;
    assert!(spent <= 10, "{what} took {spent}0 ms of 500");
}

/// One test, because the process is measured as a whole.
#[tokio::test]
async fn waiting_is_free() {
    let bound = socket(SocketType::Pull);
    let endpoint = bind(&bound).await;
    let mut open = Vec::new();
    for _ in 0..50 {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        open.push(peer);
    }
    peers(&bound, 50).await;
    costs_nothing("fifty idle peers").await;

    let receiving = bound.clone();
    let receiver = tokio::spawn(async move { receiving.recv().await });
    costs_nothing("a receiver that waits").await;
    receiver.abort();

    let pull = socket_with(SocketType::Pull, brisk().recv_hwm(2_usize));
    let mut peer = Raw::connect(&bind(&pull).await).await;
    peer.handshake("PUSH").await;
    while tokio::time::timeout(
        Duration::from_millis(50),
        peer.try_send(&message(vec![7; 65_536])),
    )
    .await
    .is_ok()
    {}
    costs_nothing("a full receiver").await;
    drop(peer);
    costs_nothing("a full receiver whose peer has gone").await;

    let push = socket_with(SocketType::Push, brisk().send_hwm(2_usize));
    let mut peer = Raw::connect(&bind(&push).await).await;
    peer.handshake("PULL").await;
    peers(&push, 1).await;
    while !would_block(&push, numbered(0, 1 << 20)) {
        tokio::task::yield_now().await;
    }
    let sending = push.clone();
    let sender = tokio::spawn(async move { sending.send(numbered(0, 8)).await });
    costs_nothing("a sender that waits").await;
    sender.abort();
    let closing = tokio::spawn(async move { push.close_within(None).await });
    costs_nothing("a close that lingers for a peer that does not read").await;
    closing.abort();

    let push = socket_with(SocketType::Push, brisk().reconnect_max(Duration::from_secs(5)));
    push.connect(vacant()).expect("connecting");
    send(&push, "x").await;
    costs_nothing("connecting to nobody").await;
    let closing = tokio::spawn(async move { push.close_within(None).await });
    costs_nothing("a close that lingers for nobody").await;
    closing.abort();

    // Its peer never says a word.
    let (listener, endpoint) = listen().await;
    let mute = socket(SocketType::Push);
    mute.connect(endpoint).expect("connecting");
    let _silent = Raw::accept(&listener).await;
    costs_nothing("a handshake that waits").await;
    let closing = tokio::spawn(async move { mute.close_within(None).await });
    costs_nothing("a close within a handshake").await;
    closing.abort();

    // A peer that has closed its sending direction only.
    let publisher = socket(SocketType::Pub);
    let mut peer = Raw::connect(&bind(&publisher).await).await;
    peer.handshake("SUB").await;
    peer.send(&command("SUBSCRIBE", b"")).await;
    tokio::io::AsyncWriteExt::shutdown(peer.stream())
        .await
        .expect("shut down");
    costs_nothing("half a connection").await;

    let quiet = socket_with(
        SocketType::Pull,
        brisk().heartbeat_interval(Duration::from_millis(50)),
    );
    let mut monitor = quiet.monitor();
    let mut peer = Raw::connect(&bind(&quiet).await).await;
    peer.handshake("PUSH").await;
    event(&mut monitor, "Disconnected", |event| {
        matches!(event, Event::Disconnected { .. }).then_some(())
    })
    .await;
    costs_nothing("after a lost heartbeat").await;
    if cfg!(feature = "inproc") {
        let (push, pull) = (
            socket(SocketType::Push),
            socket_with(SocketType::Pull, brisk().recv_hwm(1_usize)),
        );
        pull.bind("inproc://idle").await.expect("bound");
        push.connect("inproc://idle").expect("connected");
        push.connect("inproc://nobody").expect("connecting");
        costs_nothing("inproc").await;
    }
}
