//! One of three subscribers stalls: what it misses, and that the others miss nothing, is as the policy says.
#![cfg(feature = "tcp")]

mod harness;
mod raw;
mod scripted;

use std::collections::VecDeque;

use flexbond_session::Message;
use flexbond_session::socket::{Options, SlowPeer, Socket, SocketType};
use harness::{brisk, disconnected, number, numbered, peers, socket_with, until, within, would_block};
use raw::{command, greeting, ready};
use scripted::{ENDPOINT, Ends, Far, Unit, scripted};

const COUNT: u64 = 100;
const HWM: usize = 4;

/// Small and large by turns.
fn body(n: u64) -> Vec<u8> {
    numbered(n, [20, 100, 4096, 50_000][n as usize % 4])
}

/// A publisher with three subscribers; the first of them takes nothing more.
async fn publisher(kind: SocketType, options: Options) -> (Socket, Ends, Far, [Far; 2]) {
    let (registry, mut ends) = scripted();
    let publisher = socket_with(kind, options.registry(registry).send_hwm(HWM));
    let mut fars = Vec::new();
    for n in 0..3 {
        publisher.connect(format!("{ENDPOINT}/{n}")).expect("connecting");
        let far = ends.next().await;
        subscribed(&far).await;
        fars.push(far);
    }
    peers(&publisher, 3).await;
    let quick = [fars.pop(), fars.pop()].map(|far| far.expect("three of them"));
    let stalled = fars.pop().expect("three of them");
    stalled.allow(0);
    (publisher, ends, stalled, quick)
}

async fn subscribed(far: &Far) {
    far.handshake("SUB").await;
    // A PONG says that the subscription has been seen.
    far.send(&[command("SUBSCRIBE", b""), command("PING", &[0, 0])].concat());
    assert_eq!(
        far.try_recv_unit().await,
        Some(Unit::Command(b"\x04PONG".to_vec()))
    );
}

/// The next message: its number, once it is clear that it is whole.
async fn next(far: &Far) -> u64 {
    match far.try_recv_unit().await {
        Some(Unit::Message(message)) => {
            let n = number(&message[0]);
            assert!(message.len() == 1 && message[0] == body(n), "{n} is whole");
            n
        }
        other => panic!("{other:?} instead of a message"),
    }
}

/// Publishes a message and sees that the quick subscribers get it.
async fn publish(publisher: &Socket, quick: &[Far; 2], n: u64) {
    publisher.try_send(body(n)).expect("sent");
    for far in quick {
        assert_eq!(next(far).await, n);
    }
}

/// Nothing waits any more once everybody reads, and there is room for as much as before.
async fn recovered(publisher: &Socket, fars: [&Far; 3]) {
    until("empty queues", || {
        publisher.peers().iter().all(|peer| peer.queued == 0)
    })
    .await;
    let dropped = publisher.stats().dropped;
    for n in 0..HWM as u64 {
        publisher.try_send(body(n)).expect("sent");
    }
    for far in fars {
        for n in 0..HWM as u64 {
            assert_eq!(next(far).await, n);
        }
    }
    assert_eq!(publisher.stats().dropped, dropped, "there was room");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_newest_leaves_the_oldest() {
    let (publisher, _ends, stalled, quick) = publisher(SocketType::Pub, brisk()).await;
    for n in 0..COUNT {
        publish(&publisher, &quick, n).await;
    }
    assert_eq!(publisher.stats().dropped, COUNT - HWM as u64);
    stalled.allow(usize::MAX);
    for n in 0..HWM as u64 {
        assert_eq!(next(&stalled).await, n);
    }
    recovered(&publisher, [&stalled, &quick[0], &quick[1]]).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_oldest_leaves_the_newest() {
    let options = brisk().slow_peer(SlowPeer::DropOldest);
    let (publisher, _ends, stalled, quick) = publisher(SocketType::Pub, options).await;
    for n in 0..COUNT {
        publish(&publisher, &quick, n).await;
    }
    let dropped = publisher.stats().dropped;
    assert_eq!(dropped, COUNT - HWM as u64);
    stalled.allow(usize::MAX);
    // What the writer had taken comes first; the newest is always there.
    let mut got = Vec::new();
    while got.last() != Some(&(COUNT - 1)) {
        got.push(next(&stalled).await);
    }
    assert_eq!(got.len(), HWM);
    assert!(got.is_sorted() && got[1] >= COUNT - HWM as u64, "{got:?}");
    recovered(&publisher, [&stalled, &quick[0], &quick[1]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_disconnected_and_may_come_back() {
    let (publisher, mut ends, stalled, quick) =
        publisher(SocketType::Pub, brisk().slow_peer(SlowPeer::Disconnect)).await;
    let mut monitor = publisher.monitor();
    for n in 0..COUNT {
        publish(&publisher, &quick, n).await;
    }
    let reason = disconnected(&mut monitor).await;
    assert!(reason.contains("too slow"), "{reason}");
    assert_eq!(stalled.try_recv(1).await, None, "nothing was written");
    let back = ends.next().await;
    subscribed_again(&back).await;
    peers(&publisher, 3).await;
    recovered(&publisher, [&back, &quick[0], &quick[1]]).await;
}

/// As [`subscribed`], and whatever waited for the connection before.
async fn subscribed_again(far: &Far) {
    far.handshake("SUB").await;
    far.send(&[command("SUBSCRIBE", b""), command("PING", &[0, 0])].concat());
    while !matches!(far.try_recv_unit().await, Some(Unit::Command(_))) {}
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_slow_peer_loses_nothing_for_anybody() {
    let (publisher, _ends, stalled, quick) =
        publisher(SocketType::Pub, brisk().slow_peer(SlowPeer::Wait)).await;
    for n in 0..HWM as u64 {
        publish(&publisher, &quick, n).await;
    }
    assert!(would_block(&publisher, body(HWM as u64)));
    let sending = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            for n in HWM as u64..COUNT {
                publisher.send(body(n)).await.expect("sent");
            }
        }
    });
    stalled.allow(30);
    stalled.blocked().await;
    assert!(!sending.is_finished());
    stalled.allow(usize::MAX);
    for n in 0..COUNT {
        assert_eq!(next(&stalled).await, n);
    }
    for far in &quick {
        for n in HWM as u64..COUNT {
            assert_eq!(next(far).await, n);
        }
    }
    within("the sender", sending).await.expect("all sent");
    assert_eq!(publisher.stats().dropped, 0);
    recovered(&publisher, [&stalled, &quick[0], &quick[1]]).await;
}

#[tokio::test(start_paused = true)]
async fn conflation_leaves_the_message_under_way_and_the_last() {
    let (publisher, _ends, stalled, quick) = publisher(SocketType::Pub, brisk().conflate(true)).await;
    for n in 0..COUNT {
        publish(&publisher, &quick, n).await;
    }
    stalled.allow(usize::MAX);
    assert_eq!(next(&stalled).await, 0);
    assert_eq!(next(&stalled).await, COUNT - 1);
    assert_eq!(publisher.stats().dropped, COUNT - 2);
    until("empty queues", || {
        publisher.peers().iter().all(|peer| peer.queued == 0)
    })
    .await;
}

/// Sees that a peer that reads at once gets everything, though it is more than the high-water mark of a thousand.
async fn nobody_is_slow(
    kind: SocketType,
    theirs: SocketType,
    send: impl AsyncFn(&Socket, VecDeque<Message>),
) {
    const COUNT: u64 = 5000;
    let (registry, mut ends) = scripted();
    let socket = socket_with(kind, brisk().registry(registry));
    socket.connect(ENDPOINT).expect("connecting");
    let far = ends.next().await;
    far.send(
        &[
            greeting(1, "NULL"),
            ready(theirs.as_str(), &[("Identity", b"peer")]),
        ]
        .concat(),
    );
    far.recv(64).await;
    far.try_recv_unit().await.expect("READY");
    far.send(&[command("SUBSCRIBE", b""), command("PING", &[0, 0])].concat());
    far.try_recv_unit()
        .await
        .expect("a PONG, so that a subscription has been seen");
    let mut expected: VecDeque<_> = (0..COUNT).map(|n| Message::from(numbered(n, 16))).collect();
    let mut messages = expected.clone();
    if kind == SocketType::Router {
        messages.iter_mut().for_each(|message| message.push_front("peer"));
    }
    send(&socket, messages).await;
    assert_eq!(
        socket.stats().dropped,
        0,
        "{kind}: dropped, though nobody was slow"
    );
    while let Some(message) = expected.pop_front() {
        assert_eq!(far.try_recv_unit().await, Some(Unit::Message(message)));
    }
}

async fn one_by_one(socket: &Socket, messages: VecDeque<Message>) {
    for message in messages {
        socket.send(message).await.expect("sent");
    }
}

async fn together(socket: &Socket, mut messages: VecDeque<Message>) {
    socket.send_many(&mut messages).await.expect("sent");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_at_once_gets_all_that_is_sent_one_by_one() {
    nobody_is_slow(SocketType::Pub, SocketType::Sub, one_by_one).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_at_once_gets_all_that_is_sent_together() {
    nobody_is_slow(SocketType::Pub, SocketType::Sub, together).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_s_peer_that_reads_at_once_gets_all_that_is_sent_one_by_one() {
    nobody_is_slow(SocketType::Router, SocketType::Dealer, one_by_one).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_s_peer_that_reads_at_once_gets_all_that_is_sent_together() {
    nobody_is_slow(SocketType::Router, SocketType::Dealer, together).await;
}
