//! Counters: every message is counted once, whether its peer is still there or not.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::socket::SocketType;
use harness::{bind, brisk, disconnected, peers, recv, recv_many, send, socket, socket_with, within};
use raw::Raw;

#[tokio::test]
async fn messages_received_from_a_gone_peer_are_counted() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let push = socket(SocketType::Push);
    push.connect(&endpoint).unwrap();
    for _ in 0..10 {
        send(&push, "abc").await;
    }
    within("close", push.close_within(Some(Duration::from_secs(30)))).await;
    disconnected(&mut monitor).await;
    recv_many(&pull, 10).await;
    let stats = pull.stats();
    assert_eq!((stats.messages_received, stats.bytes_received), (10, 30));
}

#[tokio::test]
async fn a_reply_to_a_gone_peer_is_counted_as_dropped() {
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    let mut monitor = rep.monitor();
    let req = socket(SocketType::Req);
    req.connect(&endpoint).unwrap();
    send(&req, "question").await;
    recv(&rep).await;
    within("close", req.close()).await;
    disconnected(&mut monitor).await;
    send(&rep, "answer").await;
    assert_eq!(rep.stats().dropped, 1);
}

#[tokio::test]
async fn undelivered_is_what_was_queued_at_the_end_and_nothing_lost_before() {
    let push = socket_with(SocketType::Push, brisk().send_buffer(4096));
    let endpoint = bind(&push).await;
    let mut monitor = push.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PULL").await;
    peers(&push, 1).await;
    for _ in 0..5 {
        push.try_send(vec![0; 8 << 20]).unwrap();
    }
    // The first message is under way.
    raw.recv(1 << 20).await;
    drop(raw);
    disconnected(&mut monitor).await;
    assert!(push.stats().dropped > 0);
    assert_eq!(within("close", push.close()).await.undelivered, 0);
}
