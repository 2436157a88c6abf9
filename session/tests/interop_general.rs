//! Closing, flooding and dying, with libzmq on the other side, in both roles and both bind directions.

mod harness;
mod interop;

use std::time::{Duration, Instant};

use flexbond_session::Message;
use flexbond_session::socket::{SocketType, XpubVerbosity};
use harness::{
    bind, brisk, number, numbered, peers, ready_peers, recv, recv_many, send, socket, socket_with, until,
    vacant, within,
};
use interop::{BINDERS, Pyzmq, link};
use serde_json::json;

#[tokio::test]
async fn linger_zero_drops_at_once_what_waits() {
    let py = Pyzmq::start();
    let endpoint = vacant();
    let push = socket_with(SocketType::Push, brisk().linger(Duration::ZERO));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..10 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let start = Instant::now();
    let closed = within("a close without linger", push.close()).await;
    assert_eq!(closed.undelivered, 10);
    assert!(start.elapsed() < Duration::from_secs(1));
    let pull = py.socket(SocketType::Pull).await;
    pull.bind(&endpoint).await;
    assert!(pull.recv_within(Duration::from_millis(200)).await.is_none());
}

#[tokio::test]
async fn a_finite_linger_waits_that_long_and_no_longer() {
    let py = Pyzmq::start();
    let linger = Duration::from_millis(200);
    let push = socket_with(SocketType::Push, brisk().linger(linger));
    push.connect(vacant()).unwrap();
    push.try_send("nobody comes").unwrap();
    let start = Instant::now();
    assert_eq!(within("the end of linger", push.close()).await.undelivered, 1);
    let waited = start.elapsed();
    assert!(waited >= linger && waited < linger * 10, "{waited:?}");

    // In time is in time.
    let endpoint = vacant();
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(60)));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..100 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let pull = py.socket(SocketType::Pull).await;
    let (closed, numbers) = tokio::join!(within("the flush", push.close()), async {
        pull.bind(&endpoint).await;
        pull.drain_exactly(100, 0).await
    });
    assert_eq!((closed.undelivered, numbers), (0, (0..100).collect()));
}

#[tokio::test]
async fn an_infinite_linger_waits_for_the_peer() {
    let py = Pyzmq::start();
    let endpoint = vacant();
    let push = socket_with(SocketType::Push, brisk().linger(None));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..100 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let closing = tokio::spawn(async move { push.close().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!closing.is_finished(), "nobody took the messages yet");
    let pull = py.socket(SocketType::Pull).await;
    pull.bind(&endpoint).await;
    assert_eq!(pull.drain_exactly(100, 0).await, (0..100).collect::<Vec<_>>());
    assert_eq!(within("the flush", closing).await.unwrap().undelivered, 0);
}

#[tokio::test]
async fn all_that_was_sent_arrives_when_the_sender_closes_at_once() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        for dropped in [true, false] {
            let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
            let pull = py.socket(SocketType::Pull).await;
            link(&push, &pull, binder).await;
            for i in 0..500 {
                send(&push, numbered(i, 10_000)).await;
            }
            if dropped {
                drop(push);
                assert_eq!(pull.drain_exactly(500, 0).await, (0..500).collect::<Vec<_>>());
            } else {
                let (closed, numbers) =
                    tokio::join!(within("the flush", push.close()), pull.drain_exactly(500, 0));
                assert_eq!((closed.undelivered, numbers), (0, (0..500).collect()));
            }
        }

        let pull = socket(SocketType::Pull);
        let push = py.socket(SocketType::Push).await;
        link(&pull, &push, binder).await;
        push.send_numbered(0, 500, 10_000, Duration::from_secs(5)).await;
        let (messages, ()) = tokio::join!(recv_many(&pull, 500), push.close(Duration::from_secs(30)));
        assert!(
            messages
                .iter()
                .enumerate()
                .all(|(i, message)| number(&message[0]) == i as u64)
        );
    }
}

#[tokio::test]
async fn what_arrived_before_the_peer_went_can_still_be_read() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let pull = socket(SocketType::Pull);
        let push = py.socket(SocketType::Push).await;
        link(&pull, &push, binder).await;
        push.send_numbered(0, 100, 8, Duration::from_secs(5)).await;
        push.close(Duration::from_secs(30)).await;
        peers(&pull, 0).await;
        let numbers: Vec<_> = recv_many(&pull, 100)
            .await
            .iter()
            .map(|message| number(&message[0]))
            .collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_suspended_subscriber_stops_nobody() {
    let (stalled, lively) = (Pyzmq::start(), Pyzmq::start());
    let publisher = socket_with(
        SocketType::XPub,
        brisk().send_hwm(100_usize).xpub_verbosity(XpubVerbosity::Verbose),
    );
    let endpoint = bind(&publisher).await;
    let one = stalled.socket(SocketType::Sub).await;
    let two = lively.socket_with(SocketType::Sub, json!({"RCVHWM": 0})).await;
    for sub in [&one, &two] {
        sub.subscribe("").await;
        sub.connect(&endpoint).await;
        recv(&publisher).await;
    }
    stalled.suspend().await;
    let count = 3000;
    let sending = async {
        for i in 0..count {
            send(&publisher, numbered(i, 10_000)).await;
            // The lively one keeps up if it is given the time; the stalled one's queue stays full.
            until("the lively subscriber", || {
                publisher.peers().iter().any(|peer| peer.queued <= 20)
            })
            .await;
        }
    };
    let (numbers, ()) = tokio::join!(two.drain_exactly(count as usize, 0), within("the flood", sending));
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert!(
        publisher.stats().dropped > 0,
        "the stalled one is the only one to lose messages"
    );
    stalled.resume().await;
}

#[tokio::test]
async fn a_killed_peer_stops_nobody() {
    let (doomed, other) = (Pyzmq::start(), Pyzmq::start());
    let router = socket(SocketType::Router);
    let endpoint = bind(&router).await;
    let one = doomed.socket(SocketType::Dealer).await;
    let two = other.socket(SocketType::Dealer).await;
    one.connect(&endpoint).await;
    two.connect(&endpoint).await;
    peers(&router, 2).await;
    one.send_numbered(0, 100, 100_000, Duration::ZERO).await;
    drop(one);
    doomed.kill().await;
    peers(&router, 1).await;
    two.send("alive").await;
    // Messages of the dead one may come before and after, each of them whole.
    within("the living", async {
        loop {
            let message = recv(&router).await;
            assert_eq!(message.len(), 2);
            if message[1] == *b"alive" {
                return;
            }
            assert_eq!(message[1].len(), 100_000);
        }
    })
    .await;
    assert_eq!(ready_peers(&router), 1);
}

#[tokio::test]
async fn a_hundred_peers_come_and_go() {
    let py = Pyzmq::start();
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    for i in 0..100_u8 {
        let req = py.socket(SocketType::Req).await;
        req.connect(&endpoint).await;
        req.send([i].as_slice()).await;
        let request = recv(&rep).await;
        send(&rep, request).await;
        assert_eq!(req.recv().await, Message::from([i].as_slice()));
        req.close(Duration::ZERO).await;
    }
    peers(&rep, 0).await;
    assert!(rep.peers().is_empty());
}
