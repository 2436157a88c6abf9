//! Closing: linger covers whatever was queued, at whatever moment, and the monitor's last word is that it is closed.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Event, Options, Socket, SocketType};
use futures_util::FutureExt;
use harness::{bind, brisk, event, numbered, peers, recv, send, socket, socket_with, until, vacant, within};
use raw::{Raw, listen};

/// A linger that no test waits out.
fn patient() -> Options {
    brisk().linger(Duration::from_secs(30))
}

/// Lets every task of this thread do what it can without waiting.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

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

#[tokio::test]
async fn linger_covers_what_was_queued_before_an_inproc_bind() {
    let push = socket_with(SocketType::Push, patient());
    push.connect("inproc://bound-late").unwrap();
    settle().await;
    send(&push, "a").await;
    let closing = tokio::spawn(async move { push.close().await });
    settle().await;
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind("inproc://bound-late")).await.unwrap();
    assert_eq!(recv(&pull).await, Message::from("a"));
    assert_eq!(within("close", closing).await.unwrap().undelivered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linger_covers_what_was_queued_at_any_moment_of_connecting() {
    let seed = std::env::var("FLEXBOND_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a seed"));
    println!("FLEXBOND_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    for round in 0..200 {
        let push = socket_with(SocketType::Push, patient());
        push.connect(&endpoint).unwrap();
        for _ in 0..random.usize(0..1000) {
            std::hint::spin_loop();
        }
        for _ in 0..random.usize(0..10) {
            tokio::task::yield_now().await;
        }
        send(&push, numbered(round, 8)).await;
        assert_eq!(
            within("close", push.close()).await.undelivered,
            0,
            "round {round}"
        );
        assert_eq!(recv(&pull).await, Message::from(numbered(round, 8)));
    }
}

#[tokio::test]
async fn closing_at_once_does_not_wait_out_the_linger_of_a_disconnect() {
    let push = socket_with(SocketType::Push, patient());
    let endpoint = vacant();
    push.connect(&endpoint).unwrap();
    send(&push, "a").await;
    push.disconnect(&endpoint).unwrap();
    settle().await;
    let closed = within("close", push.close_within(Some(Duration::ZERO))).await;
    assert_eq!(closed.undelivered, 1);
}

#[tokio::test]
async fn closing_again_may_end_the_linger_sooner() {
    let push = socket_with(SocketType::Push, patient());
    push.connect(vacant()).unwrap();
    send(&push, "a").await;
    let other_handle = push.clone();
    let closing = tokio::spawn(async move { other_handle.close().await });
    settle().await;
    within("a second close", push.close_within(Some(Duration::ZERO))).await;
    within("the first close", closing).await.unwrap();
}

#[tokio::test]
async fn subscriptions_alone_are_not_lingered_for() {
    let (listener, endpoint) = listen().await;
    let sub = socket_with(SocketType::Sub, patient().send_buffer(4096));
    sub.connect(&endpoint).unwrap();
    let mut publisher = Raw::accept(&listener).await;
    publisher.handshake("PUB").await;
    peers(&sub, 1).await;
    // More than the connection takes without being read.
    for n in 0..500_u32 {
        let topic = [&n.to_be_bytes()[..], &[b't'; 50_000]].concat();
        sub.subscribe(topic).unwrap();
    }
    publisher.recv(1 << 20).await;
    within("close", sub.close()).await;
}

/// Two threads, and what the test itself runs on is a third.
fn two_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn closing_ends_although_another_thread_connects_again_and_again() {
    let runtime = two_threads();
    let (ask, asked) = std::sync::mpsc::sync_channel::<Socket>(0);
    let handle = runtime.handle().clone();
    let connecting = std::thread::spawn(move || {
        let _guard = handle.enter();
        while let Ok(socket) = asked.recv() {
            while socket.connect("inproc://nobody").is_ok() {}
        }
    });
    for round in 0..600 {
        let push = socket(SocketType::Push);
        ask.send(push.clone()).unwrap();
        for _ in 0..500 + 10 * (round % 100) {
            std::hint::spin_loop();
        }
        runtime.block_on(within(&format!("close in round {round}"), push.close()));
    }
    drop(ask);
    connecting.join().unwrap();
}

#[test]
fn closing_within_an_inproc_handshake_ends_the_other_side_as_well() {
    two_threads().block_on(async {
        for round in 0..1500 {
            let name = format!("inproc://closing-{round}");
            let pull = socket(SocketType::Pull);
            within("bind", pull.bind(&name)).await.unwrap();
            let push = socket(SocketType::Push);
            push.connect(&name).unwrap();
            let closer = pull.clone();
            let closing = tokio::spawn(async move {
                for _ in 0..24 * (round % 500) {
                    std::hint::spin_loop();
                }
                closer.close().await;
            });
            within("close", closing).await.unwrap();
            // A handle of the closed socket is still there.
            until(&format!("no peers in round {round}"), || push.stats().peers == 0).await;
            drop(pull);
        }
    });
}
