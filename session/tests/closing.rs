//! Closing: linger covers whatever was queued, at whatever moment, and the monitor's last word is that it is closed.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Event, SocketType};
use futures_util::FutureExt;
use harness::{brisk, event, numbered, recv, send, socket, socket_with, vacant, within};
use raw::{Raw, listen};

#[tokio::test]
async fn linger_covers_what_was_queued_within_the_handshake() {
    let (listener, endpoint) = listen().await;
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
    let mut monitor = push.monitor();
    push.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    event(&mut monitor, "Connected", |event| {
        matches!(event, Event::Connected { .. }).then_some(())
    })
    .await;
    for i in 0..5 {
        send(&push, numbered(i, 8)).await;
    }
    let closing = tokio::spawn(async move { push.close().await });
    tokio::task::yield_now().await;
    peer.handshake("PULL").await;
    for i in 0..5 {
        assert_eq!(peer.recv_message().await, Message::from(numbered(i, 8)));
    }
    drop(peer);
    assert_eq!(within("close", closing).await.unwrap().undelivered, 0);
}

#[tokio::test]
async fn linger_covers_what_was_queued_between_two_attempts() {
    let endpoint = vacant();
    let push = socket_with(
        SocketType::Push,
        brisk()
            .linger(Duration::from_secs(30))
            .reconnect_interval(Duration::from_millis(200))
            .reconnect_max(Duration::from_millis(200)),
    );
    let mut monitor = push.monitor();
    push.connect(endpoint.as_str()).unwrap();
    event(&mut monitor, "ConnectFailed", |event| {
        matches!(event, Event::ConnectFailed { .. }).then_some(())
    })
    .await;
    tokio::task::yield_now().await;
    for i in 0..5 {
        send(&push, numbered(i, 8)).await;
    }
    let closing = tokio::spawn(async move { push.close().await });
    tokio::task::yield_now().await;
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind(endpoint)).await.unwrap();
    for i in 0..5 {
        assert_eq!(recv(&pull).await, Message::from(numbered(i, 8)));
    }
    assert_eq!(within("close", closing).await.unwrap().undelivered, 0);
}

#[test]
fn inproc_lingers_for_a_peer_whose_runtime_sleeps() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (sleeper, awake) = (runtime(), runtime());
    let pull = sleeper.block_on(async {
        let pull = socket(SocketType::Pull);
        within("bind", pull.bind("inproc://sleeper"))
            .await
            .expect("bound");
        pull
    });
    let push = awake.block_on(async {
        let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
        push.connect("inproc://sleeper").expect("connecting");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        for i in 0..5 {
            send(&push, numbered(i, 8)).await;
        }
        if let Some(closed) = push.close().now_or_never() {
            assert_eq!(closed.undelivered, 0, "there is time left");
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        push
    });
    let waker = std::thread::spawn(move || awake.block_on(within("close", push.close())));
    sleeper.block_on(async {
        for i in 0..5 {
            assert_eq!(recv(&pull).await, Message::from(numbered(i, 8)));
        }
    });
    assert_eq!(waker.join().expect("closed").undelivered, 0);
}

#[tokio::test]
async fn the_monitor_of_a_dropped_socket_says_closed() {
    let mut monitor = socket(SocketType::Pull).monitor();
    event(&mut monitor, "Closed", |event| {
        matches!(event, Event::Closed).then_some(())
    })
    .await;
}
