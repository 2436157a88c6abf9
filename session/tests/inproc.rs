//! Connections within the process end as those of other transports do: for both sides, and with every message counted.
#![cfg(feature = "inproc")]

mod harness;

use std::time::Duration;

use flexbond_session::socket::{Event, SocketType};
use flexbond_session::{LinkOptions, Message, Registry};
use harness::{
    brisk, disconnected, event, idle, number, numbered, peers, recv, recv_many, socket, socket_with, until,
    within, would_block,
};

#[tokio::test]
async fn a_disconnect_takes_the_peer_from_who_sends() {
    let push = socket(SocketType::Push);
    within("bind", push.bind("inproc://leaving-pull")).await.unwrap();
    let pull = socket(SocketType::Pull);
    pull.connect("inproc://leaving-pull").unwrap();
    peers(&push, 1).await;
    pull.disconnect("inproc://leaving-pull").unwrap();
    until("no peers", || push.peers().is_empty()).await;
    assert!(would_block(&push, "x"), "the gone peer still takes messages");
}

#[tokio::test]
async fn a_disconnect_takes_the_peer_from_a_router() {
    let router = socket(SocketType::Router);
    within("bind", router.bind("inproc://leaving-dealer"))
        .await
        .unwrap();
    let dealer = socket(SocketType::Dealer);
    dealer.connect("inproc://leaving-dealer").unwrap();
    peers(&router, 1).await;
    dealer.disconnect("inproc://leaving-dealer").unwrap();
    until("no peers", || router.peers().is_empty()).await;
}

#[tokio::test]
async fn a_disconnect_after_a_reconnect_takes_the_new_connection() {
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
    let mut monitor = push.monitor();
    let first = socket(SocketType::Pull);
    within("bind", first.bind("inproc://again")).await.unwrap();
    push.connect("inproc://again").unwrap();
    peers(&push, 1).await;
    within("close", first.close()).await;
    disconnected(&mut monitor).await;
    let second = socket(SocketType::Pull);
    within("bind", second.bind("inproc://again")).await.unwrap();
    peers(&push, 1).await;
    push.disconnect("inproc://again").unwrap();
    assert!(would_block(&push, "x"), "took a message after disconnect");
}

#[tokio::test]
async fn a_handover_ends_the_older_connection() {
    let router = socket_with(SocketType::Router, brisk().router_handover(true));
    within("bind", router.bind("inproc://handover")).await.unwrap();
    let only_once = || brisk().routing_id("A").reconnect_interval(None);
    let old = socket_with(SocketType::Dealer, only_once());
    let mut monitor = old.monitor();
    old.connect("inproc://handover").unwrap();
    peers(&router, 1).await;
    let new = socket_with(SocketType::Dealer, only_once());
    new.connect("inproc://handover").unwrap();
    disconnected(&mut monitor).await;
    assert!(would_block(&old, "ghost"), "nobody would get it");
    peers(&new, 1).await;
    router.try_send(["A", "hello"]).unwrap();
    assert_eq!(recv(&new).await, Message::from("hello"));
}

#[tokio::test]
async fn conflation_gets_the_last_message_of_a_closed_peer() {
    const LAST: u64 = 599;
    let pull = socket_with(SocketType::Pull, brisk().conflate(true));
    within("bind", pull.bind("inproc://conflation")).await.unwrap();
    let push = socket(SocketType::Push);
    push.connect("inproc://conflation").unwrap();
    peers(&push, 1).await;
    for n in 0..=LAST {
        push.try_send(numbered(n, 8)).unwrap();
    }
    within("close", push.close_within(Some(Duration::from_secs(30)))).await;
    while number(&recv(&pull).await[0]) < LAST {}
}

#[tokio::test]
async fn an_xpub_reads_a_closed_peer_to_the_end() {
    const COUNT: usize = 600;
    let xpub = socket(SocketType::XPub);
    within("bind", xpub.bind("inproc://upstream")).await.unwrap();
    let xsub = socket(SocketType::XSub);
    xsub.connect("inproc://upstream").unwrap();
    peers(&xsub, 1).await;
    peers(&xpub, 1).await;
    let sent: Vec<_> = (0..COUNT).map(|n| Message::from(format!("up {n}"))).collect();
    for message in &sent {
        xsub.try_send(message.clone()).unwrap();
    }
    within("close", xsub.close_within(Some(Duration::from_secs(30)))).await;
    assert_eq!(recv_many(&xpub, COUNT).await, sent);
    assert!(idle(&xpub));
}

#[tokio::test]
async fn messages_for_a_peer_that_refuses_are_counted() {
    let bound = socket(SocketType::Pair);
    within("bind", bound.bind("inproc://taken")).await.unwrap();
    let first = socket(SocketType::Pair);
    first.connect("inproc://taken").unwrap();
    peers(&bound, 1).await;
    let second = socket_with(SocketType::Pair, brisk().reconnect_interval(None));
    let mut monitor = second.monitor();
    second.connect("inproc://taken").unwrap();
    for _ in 0..3 {
        second.try_send("x").unwrap();
    }
    event(&mut monitor, "the refusal", |event| {
        matches!(event, Event::HandshakeFailed { .. } | Event::Disconnected { .. }).then_some(())
    })
    .await;
    until("three messages counted", || second.stats().dropped == 3).await;
    assert!(idle(&bound));
}

/// A peer that takes the channel and never introduces itself must not hold its place for ever.
#[tokio::test]
async fn a_silent_inproc_peer_times_out_with_an_event() {
    for socket_type in [SocketType::Pull, SocketType::XPub] {
        let endpoint = format!("inproc://silent-{socket_type}");
        let bound = socket_with(socket_type, brisk().handshake_timeout(Duration::from_millis(50)));
        let mut monitor = bound.monitor();
        bound.bind(&endpoint).await.unwrap();
        let silent = Registry::standard()
            .connect(&endpoint.parse().unwrap(), &LinkOptions::default())
            .await
            .unwrap();
        let error = event(&mut monitor, "HandshakeFailed", |event| match event {
            Event::HandshakeFailed { error, .. } => Some(error.clone()),
            _ => None,
        })
        .await;
        assert_eq!(error, "the peer did not introduce itself in time");
        drop(silent);
    }
}
