//! Limits: `max_peers` and `max_subscriptions` let in as many as they say, whenever they come and go.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use flexbond_session::Message;
use flexbond_session::socket::{Event, Monitor, SocketType};
use harness::{bind, brisk, disconnected, event, peers, recv, socket, socket_with, within};
use raw::{Raw, command, greeting, ready};
use tokio::io::AsyncReadExt;

/// Waits for the next connection: that it is ready, or why it was refused.
async fn admitted(monitor: &mut Monitor) -> Result<(), String> {
    event(monitor, "Ready or AcceptFailed", |event| match event {
        Event::Ready { .. } => Some(Ok(())),
        Event::AcceptFailed { error, .. } => Some(Err(error.clone())),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn peers_that_have_gone_no_longer_count_though_nothing_is_received() {
    for (kind, other) in [
        (SocketType::Pub, SocketType::Sub),
        (SocketType::Dealer, SocketType::Dealer),
    ] {
        let bound = socket_with(kind, brisk().max_peers(4));
        let endpoint = bind(&bound).await;
        let mut monitor = bound.monitor();
        for n in 0..10 {
            let peer = socket(other);
            peer.connect(&endpoint).unwrap();
            assert_eq!(admitted(&mut monitor).await, Ok(()), "{kind}: peer {n}");
            within("close", peer.close()).await;
            disconnected(&mut monitor).await;
        }
    }
}

#[tokio::test]
async fn a_limit_of_one_lets_one_peer_in() {
    for (kind, other) in [
        (SocketType::XPub, SocketType::Sub),
        (SocketType::Pull, SocketType::Push),
    ] {
        let bound = socket_with(kind, brisk().max_peers(1));
        let endpoint = bind(&bound).await;
        let mut monitor = bound.monitor();
        let peer = socket(other);
        peer.connect(&endpoint).unwrap();
        assert_eq!(admitted(&mut monitor).await, Ok(()), "{kind}");
        let another = socket(other);
        another.connect(&endpoint).unwrap();
        assert!(admitted(&mut monitor).await.is_err(), "{kind}");
    }
}

#[tokio::test]
async fn peers_that_come_together_are_no_more_than_allowed() {
    let pull = socket_with(SocketType::Pull, brisk().max_peers(2));
    let endpoint = bind(&pull).await;
    let mut raws = Vec::new();
    for _ in 0..10 {
        raws.push(Raw::connect(&endpoint).await);
    }
    for raw in &mut raws {
        // Who was refused already may not be able to write any more.
        let _ = raw.try_send(&greeting(1, "NULL")).await;
        let _ = raw.try_send(&ready("PUSH", &[])).await;
    }
    let mut admitted = 0;
    for raw in &mut raws {
        // A greeting, and the first byte of a READY.
        let mut answer = [0; 65];
        let read = within("an answer or the end", raw.stream().read_exact(&mut answer)).await;
        admitted += usize::from(read.is_ok());
    }
    assert_eq!(admitted, 2);
    peers(&pull, 2).await;
}

#[tokio::test]
async fn subscribing_again_at_the_limit_is_no_offence() {
    let xpub = socket_with(SocketType::XPub, brisk().max_subscriptions(2));
    let endpoint = bind(&xpub).await;
    let mut monitor = xpub.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("SUB").await;
    for topic in ["a", "b", "a"] {
        raw.send(&command("SUBSCRIBE", topic.as_bytes())).await;
    }
    raw.echo().await;
    assert_eq!(recv(&xpub).await, Message::from("\u{1}a"));
    assert_eq!(recv(&xpub).await, Message::from("\u{1}b"));
    raw.echo().await;
    // A third topic is one too many.
    raw.send(&command("SUBSCRIBE", b"c")).await;
    disconnected(&mut monitor).await;
}
