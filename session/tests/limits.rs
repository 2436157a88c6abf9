//! Limits: each lets in as much as it says, and who goes over it is told of, counted, and hurts nobody else.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flexbond_session::socket::{
    Event, HandshakeFailure, Limit, LimitAction, Monitor, SlowPeer, Socket, SocketType,
};
use flexbond_session::{Endpoint, Message};
use harness::{
    bind, brisk, disconnected, event, failed_handshake, idle, number, numbered, peers, recv, recv_many, send,
    socket, socket_with, until, within, would_block,
};
use raw::{COMMAND, LONG, MORE, Raw, command, frame, greeting, listen, message, ready};
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

/// Waits until somebody meets this limit; what happened, and whether it was a peer by then.
async fn met(monitor: &mut Monitor, expected: Limit) -> (LimitAction, bool) {
    event(monitor, expected.name(), |event| match event {
        Event::LimitReached {
            limit,
            endpoint,
            peer,
            action,
            ..
        } if *limit == expected => {
            assert!(event.to_string().contains(expected.name()), "{event}");
            assert!(event.to_string().contains(&endpoint.to_string()), "{event}");
            Some((*action, peer.is_some()))
        }
        _ => None,
    })
    .await
}

/// Shows that others are served.
async fn still_serves(pull: &Socket, endpoint: &Endpoint) {
    let mut good = Raw::connect(endpoint).await;
    good.handshake("PUSH").await;
    good.send(&message("a good peer")).await;
    within("a good peer's message", async {
        while recv(pull).await != Message::from("a good peer") {}
    })
    .await;
}

#[tokio::test]
async fn one_endpoint_or_one_socket_full_of_peers_refuses_and_tells() {
    let pull = socket_with(SocketType::Pull, brisk().max_peers_per_endpoint(1).max_peers(2));
    let (first, second) = (bind(&pull).await, bind(&pull).await);
    let mut monitor = pull.monitor();
    let mut raw = Raw::connect(&first).await;
    raw.handshake("PUSH").await;
    // Complete: it makes no room for others.
    peers(&pull, 1).await;
    Raw::connect(&first).await.ended().await;
    assert_eq!(
        met(&mut monitor, Limit::EndpointPeers).await,
        (LimitAction::Refused, false)
    );
    let mut other = Raw::connect(&second).await;
    other.handshake("PUSH").await;
    peers(&pull, 2).await;
    Raw::connect(&second).await.ended().await;
    assert_eq!(
        met(&mut monitor, Limit::Peers).await,
        (LimitAction::Refused, false)
    );
    let limits = pull.stats().limits;
    assert_eq!(
        (limits.get(Limit::EndpointPeers), limits.get(Limit::Peers)),
        (1, 1)
    );
    assert_eq!(limits.total(), 2);
    // Who leaves makes room.
    drop((raw, other));
    peers(&pull, 0).await;
    still_serves(&pull, &first).await;
}

#[tokio::test]
async fn who_makes_room_does_so_for_the_limit_that_was_met() {
    for (limit, options) in [
        (Limit::Peers, brisk().max_peers(1)),
        (Limit::EndpointPeers, brisk().max_peers_per_endpoint(1)),
        (Limit::Handshakes, brisk().max_handshakes(1)),
    ] {
        let pull = socket_with(SocketType::Pull, options);
        let endpoint = bind(&pull).await;
        let mut monitor = pull.monitor();
        let mut silent = Raw::connect(&endpoint).await;
        event(&mut monitor, "Accepted", |event| {
            matches!(event, Event::Accepted { .. }).then_some(())
        })
        .await;
        still_serves(&pull, &endpoint).await;
        assert_eq!(met(&mut monitor, limit).await, (LimitAction::Displaced, false));
        let (_, failure, error) = failed_handshake(&mut monitor).await;
        assert_eq!(failure, HandshakeFailure::Displaced);
        assert!(error.contains(limit.name()), "{error}");
        silent.ended().await;
        let stats = pull.stats();
        assert_eq!((stats.limits.get(limit), stats.limits.total()), (1, 1));
        assert_eq!(stats.displaced, 1);
    }
}

#[tokio::test]
async fn who_meets_a_limit_again_and_again_does_not_fill_the_monitor() {
    let pull = socket_with(SocketType::Pull, brisk().max_peers(1));
    let endpoint = bind(&pull).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    peers(&pull, 1).await;
    let mut monitor = pull.monitor();
    let start = Instant::now();
    for _ in 0..300 {
        Raw::connect(&endpoint).await.ended().await;
    }
    let limits = pull.stats().limits;
    assert_eq!(limits.get(Limit::Peers), 300);
    let most = 64 + usize::try_from(start.elapsed().as_millis() / 100).expect("not for ever") + 1;
    let (mut told, mut untold, mut refused) = (0, 0, 0);
    while let Some(event) = monitor.try_recv() {
        match event {
            Event::LimitReached { untold: more, .. } => {
                told += 1;
                untold += more;
            }
            Event::AcceptFailed { .. } => refused += 1,
            other => panic!("unexpected {other}"),
        }
    }
    assert!((64..=most).contains(&told), "{told} of at most {most}");
    assert_eq!(refused, told);
    assert!(untold <= 300 - told as u64);
    // The next that is told of says how many were not.
    within("one more", async {
        loop {
            Raw::connect(&endpoint).await.ended().await;
            if let Some(Event::LimitReached { untold: more, .. }) = monitor.try_recv() {
                let all = pull.stats().limits.get(Limit::Peers);
                assert_eq!(told as u64 + 1 + untold + more, all);
                return;
            }
        }
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let pull = socket_with(SocketType::Pull, brisk().max_peers_per_address(3));
    let (first, second) = (bind(&pull).await, bind(&pull).await);
    let mut monitor = pull.monitor();
    let mut same = Vec::new();
    // Also those that say nothing, and whichever endpoint they come to.
    for endpoint in [&first, &second, &first] {
        same.push(Raw::connect(endpoint).await);
        event(&mut monitor, "Accepted", |event| {
            matches!(event, Event::Accepted { .. }).then_some(())
        })
        .await;
    }
    Raw::connect(&second).await.ended().await;
    assert_eq!(
        met(&mut monitor, Limit::AddressPeers).await,
        (LimitAction::Refused, false)
    );
    assert_eq!(pull.stats().limits.get(Limit::AddressPeers), 1);
    let mut other = Raw::connect_from("127.0.0.2", &second).await;
    other.handshake("PUSH").await;
    peers(&pull, 1).await;
    drop(same.pop());
    within("room for one more", async {
        loop {
            let mut again = Raw::connect(&first).await;
            let mut greeting = [0; 10];
            if again.stream().read_exact(&mut greeting).await.is_ok() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn handshakes_that_are_too_many_or_too_slow_are_told_of() {
    let options = brisk().max_handshakes(1_usize);
    let pull = socket_with(
        SocketType::Pull,
        options.handshake_timeout(Duration::from_millis(200)),
    );
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut first = Raw::connect(&endpoint).await;
    event(&mut monitor, "Accepted", |event| {
        matches!(event, Event::Accepted { .. }).then_some(())
    })
    .await;
    let mut second = Raw::connect(&endpoint).await;
    assert_eq!(
        met(&mut monitor, Limit::Handshakes).await,
        (LimitAction::Displaced, false)
    );
    first.ended().await;
    assert_eq!(
        met(&mut monitor, Limit::HandshakeTime).await,
        (LimitAction::Disconnected, false)
    );
    second.ended().await;
    let limits = pull.stats().limits;
    assert_eq!(
        (limits.get(Limit::Handshakes), limits.get(Limit::HandshakeTime)),
        (1, 1)
    );
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn messages_and_commands_beyond_their_limits_end_the_connection_after_what_was_whole() {
    let options = brisk()
        .max_message_size(100_000_usize)
        .max_message_parts(10_usize);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let too_long = [&[LONG][..], &100_001_u64.to_be_bytes()].concat();
    let command = [&[LONG | COMMAND][..], &65_537_u64.to_be_bytes()].concat();
    for (limit, bytes) in [
        (Limit::MessageSize, too_long),
        (Limit::MessageParts, frame(MORE, b"part").repeat(11)),
        (Limit::CommandSize, command),
    ] {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        raw.send(&[message("whole"), bytes].concat()).await;
        assert_eq!(met(&mut monitor, limit).await, (LimitAction::Disconnected, true));
        assert!(disconnected(&mut monitor).await.contains("limit") || limit == Limit::MessageParts);
        raw.ended().await;
        assert_eq!(recv(&pull).await, Message::from("whole"));
        assert_eq!(pull.stats().limits.get(limit), 1);
    }
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn topics_are_limited_in_number_and_in_bytes() {
    let options = brisk()
        .max_subscriptions(3_usize)
        .max_subscription_bytes(100_usize);
    let publisher = socket_with(SocketType::Pub, options);
    let endpoint = bind(&publisher).await;
    let mut monitor = publisher.monitor();
    let subscribe = |topic: &str| command("SUBSCRIBE", topic.as_bytes());
    let mut good = Raw::connect(&endpoint).await;
    good.handshake("SUB").await;
    good.send(&subscribe("good")).await;
    good.echo().await;
    let long = |letter: &str| letter.repeat(50);
    for (limit, last) in [
        (Limit::Subscriptions, "b".to_owned()),
        (Limit::SubscriptionBytes, long("b") + "!"),
    ] {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("SUB").await;
        // What was cancelled counts no more, and what is there already counts once.
        raw.send(&subscribe(&long("a"))).await;
        raw.send(&subscribe(&long("b"))).await;
        raw.send(&subscribe(&long("b"))).await;
        raw.send(&command("CANCEL", long("b").as_bytes())).await;
        if limit == Limit::Subscriptions {
            raw.send(&[subscribe("1"), subscribe("2")].concat()).await;
        }
        raw.echo().await;
        raw.send(&subscribe(&last)).await;
        assert_eq!(met(&mut monitor, limit).await, (LimitAction::Disconnected, true));
        assert!(disconnected(&mut monitor).await.contains(limit.name()));
        raw.ended().await;
        assert_eq!(publisher.stats().limits.get(limit), 1);
    }
    send(&publisher, "good news").await;
    assert_eq!(good.recv_message().await, Message::from("good news"));
}

#[tokio::test]
async fn the_topics_of_all_have_a_bound_and_who_has_most_goes() {
    let options = brisk().subscription_memory(100_000_usize);
    let publisher = socket_with(SocketType::XPub, options);
    let endpoint = bind(&publisher).await;
    let mut monitor = publisher.monitor();
    let topic = |number: usize| format!("{number:0>1000}");
    let subscribe = |topics: std::ops::Range<usize>| -> Vec<u8> {
        topics
            .flat_map(|number| command("SUBSCRIBE", topic(number).as_bytes()))
            .collect()
    };
    // 2,400 bytes each: 36 take 86,400.
    let mut large = Raw::connect(&endpoint).await;
    large.handshake("SUB").await;
    large.send(&subscribe(0..36)).await;
    large.echo().await;
    let mut small = Raw::connect(&endpoint).await;
    small.handshake("SUB").await;
    small.send(&subscribe(100..105)).await;
    // What is there already is no more than it was, and what was cancelled makes room.
    small.send(&command("CANCEL", topic(104).as_bytes())).await;
    small.send(&subscribe(100..105)).await;
    small.echo().await;
    assert_eq!(publisher.stats().limits.total(), 0);
    // The sixth is one too many, but another has more.
    small.send(&subscribe(105..106)).await;
    assert_eq!(
        met(&mut monitor, Limit::SubscriptionMemory).await,
        (LimitAction::Disconnected, true)
    );
    assert!(disconnected(&mut monitor).await.contains("subscription_memory"));
    large.ended().await;
    small.echo().await;
    // It may have what that one had, and then it is the one that has most itself.
    small.send(&subscribe(0..35)).await;
    small.echo().await;
    assert_eq!(publisher.stats().limits.get(Limit::SubscriptionMemory), 1);
    let mut other = Raw::connect(&endpoint).await;
    other.handshake("SUB").await;
    other.send(&command("SUBSCRIBE", b"other")).await;
    other.echo().await;
    small.send(&subscribe(35..36)).await;
    disconnected(&mut monitor).await;
    assert_eq!(publisher.stats().limits.get(Limit::SubscriptionMemory), 2);
    small.ended().await;
    send(&publisher, "other news").await;
    assert_eq!(other.recv_message().await, Message::from("other news"));
    // The application has heard of every end.
    drop(other);
    peers(&publisher, 0).await;
    let mut topics = HashMap::new();
    while let Ok(message) = publisher.try_recv() {
        let (change, topic) = message[0].split_first().expect("a subscription");
        *topics.entry(topic.to_vec()).or_insert(0) += if *change == 1 { 1 } else { -1 };
    }
    assert_eq!(topics.len(), 36 + 6 + 1);
    assert!(
        topics.values().all(|count| *count == 0),
        "each has begun and ended"
    );
}

#[tokio::test]
async fn a_peer_whose_bytes_are_not_received_is_held_back_and_loses_nothing() {
    const SIZE: usize = 64 << 10;
    const COUNT: usize = 100;
    let options = brisk().recv_hwm_bytes(1_usize << 20).recv_buffer(65_536);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    let sends = tokio::spawn(async move {
        for _ in 0..COUNT {
            raw.send(&message(vec![7; SIZE])).await;
        }
        raw
    });
    assert_eq!(
        met(&mut monitor, Limit::PeerRecvBytes).await,
        (LimitAction::Paused, true)
    );
    let waiting = pull.peers()[0].unread_bytes as usize;
    assert!((1 << 20..(1 << 20) + 3 * SIZE).contains(&waiting), "{waiting}");
    // Another one is not held back.
    let mut other = Raw::connect(&endpoint).await;
    other.handshake("PUSH").await;
    other.send(&message("another")).await;
    within("another's message", async {
        while pull.peers().iter().all(|peer| peer.unread_bytes != 7) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut sizes: Vec<_> = recv_many(&pull, COUNT + 1)
        .await
        .iter()
        .map(Message::size)
        .collect();
    sizes.sort_unstable();
    assert_eq!((sizes[0], sizes[1], sizes[COUNT]), (7, SIZE, SIZE));
    let raw = within("the last to be sent", sends).await.expect("sent");
    assert!(pull.stats().limits.get(Limit::PeerRecvBytes) >= 1);
    assert!(pull.peers().iter().all(|peer| peer.unread_bytes == 0));
    drop((raw, other));
    peers(&pull, 0).await;
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn many_empty_parts_are_not_for_nothing() {
    let options = brisk().recv_hwm_bytes(1_usize << 20).recv_buffer(65_536);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    // Each needs 64 kB to be kept.
    let parts = [frame(MORE, b"").repeat(999), frame(0, b"")].concat();
    raw.send(&parts.repeat(40)).await;
    assert_eq!(
        met(&mut monitor, Limit::PeerRecvBytes).await,
        (LimitAction::Paused, true)
    );
    assert!(
        recv_many(&pull, 40)
            .await
            .iter()
            .all(|message| message.len() == 1000)
    );
}

#[tokio::test]
async fn of_messages_in_part_the_heaviest_makes_room() {
    const MIB: usize = 1 << 20;
    let options = brisk().recv_memory(8 * MIB).recv_buffer(65_536);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let begin = |mib: usize| [&[LONG][..], &(64 * MIB as u64).to_be_bytes(), &vec![7; mib * MIB]].concat();
    let mut heavy = Raw::connect(&endpoint).await;
    heavy.handshake("PUSH").await;
    heavy.send(&begin(5)).await;
    until("its bytes", || {
        pull.stats().unread_bytes as usize >= 5 * MIB - 4096
    })
    .await;
    // There is no room for all of the second, and nothing of the first can be received.
    let mut light = Raw::connect(&endpoint).await;
    light.handshake("PUSH").await;
    light.send(&begin(4)).await;
    assert_eq!(
        met(&mut monitor, Limit::RecvMemory).await,
        (LimitAction::Disconnected, true)
    );
    assert!(disconnected(&mut monitor).await.contains("recv_memory"));
    heavy.ended().await;
    until("the other's bytes", || {
        let unread = pull.stats().unread_bytes as usize;
        (4 * MIB - 4096..=8 * MIB).contains(&unread)
    })
    .await;
    still_serves(&pull, &endpoint).await;
    drop(light);
    peers(&pull, 0).await;
    until("an empty account", || pull.stats().unread_bytes == 0).await;
    // Whether the second was held up for a moment or not.
    assert!((1..=2).contains(&pull.stats().limits.get(Limit::RecvMemory)));
}

#[tokio::test]
async fn what_gone_peers_left_takes_memory_until_it_is_received() {
    const MIB: usize = 1 << 20;
    const SIZE: usize = 2 * MIB - 10_000;
    let pull = socket_with(SocketType::Pull, brisk().recv_memory(8 * MIB));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    for _ in 0..3 {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        raw.send(&message(vec![7; SIZE])).await;
        drop(raw);
        disconnected(&mut monitor).await;
    }
    assert_eq!(pull.stats().unread_bytes as usize, 3 * SIZE);
    // Of the next, no more is read than what is left.
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    let sent = tokio::spawn(async move {
        raw.send(&message(vec![7; 2 * SIZE])).await;
        raw.send(&message("last")).await;
        raw
    });
    assert_eq!(
        met(&mut monitor, Limit::RecvMemory).await,
        (LimitAction::Paused, true)
    );
    assert!(pull.stats().unread_bytes as usize <= 8 * MIB);
    assert!(
        recv_many(&pull, 5)
            .await
            .iter()
            .any(|last| *last == Message::from("last"))
    );
    drop(within("all to be sent", sent).await.expect("no panic"));
    peers(&pull, 0).await;
    assert!(idle(&pull));
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn a_queue_full_of_bytes_is_full_and_loses_nothing() {
    const MIB: usize = 1 << 20;
    let options = brisk()
        .send_hwm_bytes(4 * MIB)
        .send_buffer(65_536)
        .unsent_buffer(65_536);
    let push = socket_with(SocketType::Push, options);
    let endpoint = bind(&push).await;
    let mut monitor = push.monitor();
    let mut raw = Raw::connect_small("127.0.0.1", &endpoint).await;
    raw.handshake("PULL").await;
    peers(&push, 1).await;
    let mut sent = 0;
    while !would_block(&push, numbered(sent, MIB)) {
        sent += 1;
        assert!(sent < 20, "nothing holds it back");
        tokio::task::yield_now().await;
    }
    assert_eq!(
        met(&mut monitor, Limit::PeerSendBytes).await,
        (LimitAction::Full, true)
    );
    assert!(push.peers()[0].queued_bytes as usize <= 5 * MIB);
    assert_eq!(push.stats().limits.get(Limit::PeerSendBytes), 1);
    let waits = {
        let push = push.clone();
        tokio::spawn(async move { push.send(numbered(sent, MIB)).await })
    };
    for expected in 0..=sent {
        assert_eq!(number(&raw.recv_message().await[0]), expected);
    }
    within("the one that waited", waits)
        .await
        .expect("no panic")
        .expect("sent");
    until("an empty account", || push.stats().queued_bytes == 0).await;
}

#[tokio::test]
async fn what_subscribers_share_counts_once_and_one_that_stalls_leaves_the_others_their_part() {
    const MIB: usize = 1 << 20;
    for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest] {
        let options = brisk()
            .send_memory(16 * MIB)
            .send_buffer(65_536)
            .slow_peer(policy);
        let publisher = socket_with(SocketType::XPub, options.unsent_buffer(65_536));
        let endpoint = bind(&publisher).await;
        let mut monitor = publisher.monitor();
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::connect_small("127.0.0.1", &endpoint).await;
            raw.handshake("SUB").await;
            raw.send(&command("SUBSCRIBE", b"")).await;
            stalled.push(raw);
        }
        let mut quick = Raw::connect(&endpoint).await;
        quick.handshake("SUB").await;
        quick.send(&command("SUBSCRIBE", b"quick")).await;
        within("all subscriptions", async {
            while recv(&publisher).await != Message::from("\u{1}quick") {}
        })
        .await;
        until("all subscribers", || publisher.peers().len() == 5).await;
        // Seven for each of four, which would be far too many if each had its own.
        for number in 0..7 {
            send(&publisher, numbered(number, MIB)).await;
        }
        assert_eq!(publisher.stats().dropped, 0, "{policy:?}");
        assert!(publisher.stats().queued_bytes as usize <= 8 * MIB);
        for number in 7..40 {
            send(&publisher, numbered(number, MIB)).await;
        }
        assert_eq!(
            met(&mut monitor, Limit::SendMemory).await,
            (LimitAction::Full, true)
        );
        assert!(publisher.stats().queued_bytes as usize <= 16 * MIB, "{policy:?}");
        assert!(publisher.stats().dropped >= 4 * 20, "{policy:?}");
        for _ in 0..10 {
            send(&publisher, "quick").await;
            assert_eq!(quick.recv_message().await, Message::from("quick"));
        }
        drop(stalled);
        peers(&publisher, 1).await;
        until("an empty account", || publisher.stats().queued_bytes < 65_536).await;
    }
}

#[tokio::test]
async fn what_was_received_takes_no_memory_though_its_sender_is_silent() {
    const MIB: usize = 1 << 20;
    let pull = socket_with(SocketType::Pull, brisk().recv_memory(8 * MIB));
    let endpoint = bind(&pull).await;
    let mut silent = Vec::new();
    // Never more than one message waits, and all of them together are more than the memory.
    for _ in 0..10 {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        raw.send(&message(vec![7; MIB])).await;
        until("the message", || {
            pull.peers().iter().any(|peer| peer.unread_bytes > 0) || pull.stats().limits.total() > 0
        })
        .await;
        assert_eq!(pull.stats().limits.total(), 0, "after {} messages", silent.len());
        assert_eq!(recv(&pull).await.size(), MIB);
        assert!(idle(&pull));
        silent.push(raw);
    }
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn what_was_received_takes_no_memory_though_its_connection_is_not_made_again() {
    const MIB: usize = 1 << 20;
    let (listener, endpoint) = listen().await;
    let pull = socket_with(SocketType::Pull, brisk());
    pull.connect(endpoint.as_str()).expect("a valid endpoint");
    let mut monitor = pull.monitor();
    let mut raw = Raw::accept(&listener).await;
    raw.handshake("PUSH").await;
    raw.send(&message(vec![7; MIB])).await;
    until("the message", || {
        pull.peers().iter().any(|peer| peer.unread_bytes > 0)
    })
    .await;
    drop((raw, listener));
    disconnected(&mut monitor).await;
    assert!(pull.stats().unread_bytes as usize >= MIB, "it still waits");
    assert_eq!(recv(&pull).await.size(), MIB);
    assert!(idle(&pull));
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn a_message_in_part_has_no_more_than_its_part_whatever_may_wait_for_each_peer() {
    const MIB: usize = 1 << 20;
    let options = brisk().recv_memory(4 * MIB).recv_hwm_bytes(64_usize << 10);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    // One message may be larger than what may wait.
    raw.send(&message(vec![7; MIB])).await;
    assert_eq!(recv(&pull).await.size(), MIB);
    assert!(idle(&pull));
    let begin = [&[LONG][..], &(64 * MIB as u64).to_be_bytes(), &vec![7; 16 * MIB]].concat();
    let _ = raw.try_send(&begin).await;
    assert_eq!(
        met(&mut monitor, Limit::RecvMemory).await,
        (LimitAction::Disconnected, true)
    );
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn what_nobody_receives_takes_no_memory() {
    let push = socket(SocketType::Push);
    let endpoint = bind(&push).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PULL").await;
    raw.send(&message(vec![7; 1 << 20])).await;
    raw.echo().await;
    assert_eq!(push.peers()[0].unread_bytes, 0);
    assert_eq!(push.stats().unread_bytes, 0);
}
