//! Publishing: subscriptions end with their connection, and a slow subscriber misses what its publisher says it may.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use std::collections::BTreeSet;

use flexbond_session::Message;
use flexbond_session::socket::{Event, SlowPeer, SocketType};
use harness::{
    bind, brisk, disconnected, event, idle, number, numbered, peers, recv, recv_many, socket, socket_with,
    within,
};
use raw::{COMMAND, Raw, command, listen};

#[tokio::test]
async fn cancellations_follow_the_subscriptions_they_end() {
    const TOPICS: usize = 20;
    let xpub = socket(SocketType::XPub);
    let endpoint = bind(&xpub).await;
    let mut monitor = xpub.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("SUB").await;
    for n in 0..TOPICS {
        raw.send(&command("SUBSCRIBE", format!("topic {n}").as_bytes()))
            .await;
    }
    raw.echo().await;
    drop(raw);
    disconnected(&mut monitor).await;
    let mut subscribed = BTreeSet::new();
    for message in recv_many(&xpub, 2 * TOPICS).await {
        let topic = message[0][1..].to_vec();
        if message[0][0] == 1 {
            assert!(subscribed.insert(topic), "subscribed twice");
        } else {
            assert!(subscribed.remove(&topic), "cancelled before it was subscribed");
        }
    }
    assert!(subscribed.is_empty(), "{subscribed:?}");
    assert!(idle(&xpub));
}

#[tokio::test]
async fn a_topic_cancelled_while_disconnected_stays_cancelled() {
    let (listener, endpoint) = listen().await;
    let xsub = socket_with(SocketType::XSub, brisk().send_buffer(4096));
    let mut monitor = xsub.monitor();
    xsub.connect(&endpoint).unwrap();
    let mut first = Raw::accept(&listener).await;
    first.handshake("PUB").await;
    peers(&xsub, 1).await;
    // More than a connection takes without being read.
    let topics: Vec<Vec<u8>> = (0..500_u32)
        .map(|n| [&n.to_be_bytes()[..], &[b't'; 50_000]].concat())
        .collect();
    for topic in &topics {
        xsub.try_send([&[1], &topic[..]].concat()).unwrap();
    }
    first.recv(1 << 20).await;
    drop(first);
    disconnected(&mut monitor).await;
    for topic in &topics {
        xsub.try_send([&[0], &topic[..]].concat()).unwrap();
    }
    let mut second = Raw::accept(&listener).await;
    second.handshake("PUB").await;
    peers(&xsub, 1).await;
    xsub.try_send("\u{1}last").unwrap();
    let mut wanted = 0_i64;
    loop {
        let frame = within("a subscription", second.recv_frame()).await;
        assert_eq!(frame.flags & COMMAND, COMMAND);
        if frame.body == b"\x09SUBSCRIBElast" {
            break;
        }
        match &frame.body[1..4] {
            b"SUB" => wanted += 1,
            b"CAN" => wanted -= 1,
            other => panic!("{:?}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!(wanted, 0, "none of the topics is wanted any longer");
}

#[tokio::test]
async fn a_waiting_send_goes_on_when_the_full_peer_unsubscribes() {
    let xpub = socket_with(
        SocketType::XPub,
        brisk().slow_peer(SlowPeer::Wait).send_hwm(1).send_buffer(4096),
    );
    let endpoint = bind(&xpub).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("SUB").await;
    raw.send(&command("SUBSCRIBE", b"t")).await;
    recv(&xpub).await;
    let message = || Message::from([b"t".to_vec(), vec![0; 32 << 20]]);
    xpub.try_send(message()).unwrap();
    let waiting = tokio::spawn({
        let xpub = xpub.clone();
        async move { xpub.send(message()).await }
    });
    // The first message is under way, and the second waits.
    raw.recv(1 << 20).await;
    assert!(!waiting.is_finished());
    raw.send(&command("CANCEL", b"t")).await;
    assert_eq!(recv(&xpub).await, Message::from("\0t"));
    xpub.try_send("t").expect("nobody wants it any longer");
    within("the waiting send", waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_oldest_keeps_the_newest() {
    const COUNT: u64 = 20_000;
    let xpub = socket_with(
        SocketType::XPub,
        brisk()
            .slow_peer(SlowPeer::DropOldest)
            .send_hwm(100)
            .send_buffer(4096),
    );
    let endpoint = bind(&xpub).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("SUB").await;
    raw.send(&command("SUBSCRIBE", b"")).await;
    recv(&xpub).await;
    for n in 0..COUNT {
        xpub.try_send(numbered(n, 1000)).unwrap();
        if n % 50 == 0 {
            // Part of it reaches the peer, which does not read.
            tokio::task::yield_now().await;
        }
    }
    assert!(xpub.stats().dropped > 0);
    let mut next = 0;
    while next < COUNT {
        let read = number(&raw.recv_message().await[0]);
        assert!(read >= next, "{read} after {next}");
        next = read + 1;
    }
}

#[tokio::test]
async fn conflation_calls_nobody_slow() {
    let publisher = socket_with(SocketType::Pub, brisk().conflate(true));
    let endpoint = bind(&publisher).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("SUB").await;
    raw.send(&command("SUBSCRIBE", b"")).await;
    peers(&publisher, 1).await;
    raw.echo().await;
    let mut monitor = publisher.monitor();
    for n in 0..10 {
        publisher.try_send(numbered(n, 8)).unwrap();
    }
    while number(&raw.recv_message().await[0]) < 9 {}
    assert_eq!(publisher.stats().messages_sent, 10);
    drop(raw);
    // The connection's end is the first thing that is said of it.
    let said = event(&mut monitor, "Dropped or Disconnected", |event| {
        matches!(event, Event::Dropped { .. } | Event::Disconnected { .. }).then(|| event.clone())
    })
    .await;
    assert!(matches!(said, Event::Disconnected { .. }), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_slow_peer_is_not_the_end_of_the_next() {
    let publisher = socket_with(
        SocketType::Pub,
        brisk().slow_peer(SlowPeer::Disconnect).send_hwm(1),
    );
    let (listener, endpoint) = listen().await;
    publisher.connect(&endpoint).unwrap();
    for _ in 0..20 {
        let mut raw = Raw::accept(&listener).await;
        raw.handshake("SUB").await;
        raw.send(&command("SUBSCRIBE", b"")).await;
        // The connection lives, though the last one was ended. What had been queued for that one may come first.
        raw.send(&command("PING", &[0, 0])).await;
        while raw.recv_frame().await.flags & COMMAND == 0 {}
        let flood = publisher.clone();
        let sender = std::thread::spawn(move || {
            // Some of these come after the end.
            for _ in 0..5000 {
                flood.try_send(vec![0; 1000]).unwrap();
            }
        });
        raw.ended().await;
        sender.join().unwrap();
    }
}
