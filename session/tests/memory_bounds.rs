//! What came and was not received is bounded: whoever comes, and whatever they send, it is never more.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use flexbond_session::socket::{Event, Limit, LimitAction, Monitor, Socket, SocketType};
use harness::{bind, brisk, event, idle, peers, recv, recv_many, socket_with, until, within};
use raw::{LONG, MORE, Raw, frame, message};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What each connection may have beside, at most.
const BESIDE: usize = 8 * KIB;

async fn met(monitor: &mut Monitor, expected: Limit) -> LimitAction {
    event(monitor, expected.name(), |event| match event {
        Event::LimitReached { limit, action, .. } if *limit == expected => Some(*action),
        _ => None,
    })
    .await
}

/// Checks what is not received: as the socket counts it, and as its peers do.
fn check_unread(socket: &Socket, most: usize) {
    let (stats, peers) = (socket.stats(), socket.peers());
    assert!(
        stats.unread_bytes as usize <= most,
        "{} of {most}",
        stats.unread_bytes
    );
    let sum: usize = peers.iter().map(|peer| peer.unread_bytes as usize).sum();
    let beside = peers.len() * BESIDE + 64 * KIB;
    assert!(sum <= most + beside, "{sum} of {most} and {beside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_received_is_never_more_than_recv_memory() {
    const PEERS: usize = 40;
    const EACH: usize = 12;
    let pull = socket_with(SocketType::Pull, brisk().recv_memory(8 * MIB).recv_buffer(65_536));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut sends = Vec::new();
    // One after another, so that each finds as much as those before it have left. None sends more at once than an even part
    // of half of it, so nobody's connection may be closed.
    for peer in 0..PEERS {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        sends.push(tokio::spawn(async move {
            for number in 0..EACH {
                let size = [100, 3000, 20 * KIB, 40 * KIB, 90 * KIB][(peer + number) % 5];
                raw.send(&message(vec![peer as u8; size])).await;
            }
            raw
        }));
        tokio::task::yield_now().await;
        check_unread(&pull, 8 * MIB);
    }
    assert_eq!(met(&mut monitor, Limit::RecvMemory).await, LimitAction::Paused);
    until("nothing more to be read", || {
        check_unread(&pull, 8 * MIB);
        pull.stats().limits.get(Limit::RecvMemory) > 1
    })
    .await;
    // Who waits is read as the application makes room, and nobody loses anything.
    let mut counts = [0; PEERS];
    for _ in 0..PEERS * EACH {
        counts[usize::from(recv(&pull).await[0][0])] += 1;
        check_unread(&pull, 8 * MIB);
    }
    assert_eq!(counts, [EACH; PEERS]);
    for send in sends {
        within("all to be sent", send).await.expect("no panic");
    }
    until("an empty account", || pull.stats().unread_bytes == 0).await;
    assert!(pull.stats().limits.get(Limit::RecvMemory) > 1);
}

#[tokio::test]
async fn nobody_is_closed_while_the_application_pauses() {
    const PEERS: usize = 60;
    const EACH: usize = 4200;
    // As many as one reads when it begins, and then some.
    let options = brisk().recv_memory(512 * KIB).recv_hwm(1400);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut sends = Vec::new();
    for peer in 0..PEERS {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        sends.push(tokio::spawn(async move {
            raw.send(&message(vec![peer as u8]).repeat(EACH)).await;
            raw
        }));
    }
    // Most of it is in the read buffers: whole messages, for which the application has no place yet.
    until("more than half of it", || {
        pull.stats().unread_bytes as usize > 400 * KIB
    })
    .await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    sends.push(tokio::spawn(async move {
        raw.send(&message(vec![PEERS as u8; 150 * KIB])).await;
        raw
    }));
    until("no room", || pull.stats().unread_bytes as usize > 508 * KIB).await;
    check_unread(&pull, 512 * KIB);
    let mut counts = [0; PEERS + 1];
    for message in recv_many(&pull, PEERS * EACH + 1).await {
        counts[usize::from(message[0][0])] += 1;
    }
    assert_eq!((&counts[..PEERS], counts[PEERS]), (&[EACH; PEERS][..], 1));
    for send in sends {
        within("all to be sent", send).await.expect("no panic");
    }
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn messages_without_end_make_room_for_those_that_are_small() {
    let pull = socket_with(SocketType::Pull, brisk().recv_memory(4 * MIB).recv_buffer(65_536));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let begin = [&[LONG][..], &(1_u64 << 29).to_be_bytes(), &vec![7; 600 * KIB]].concat();
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        let begin = begin.clone();
        hoarders.push(tokio::spawn(async move {
            let _ = raw.try_send(&begin).await;
            raw
        }));
        check_unread(&pull, 4 * MIB);
    }
    // Some of them had to go, and whoever comes finds room.
    assert_eq!(
        met(&mut monitor, Limit::RecvMemory).await,
        LimitAction::Disconnected
    );
    for _ in 0..5 {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        raw.send(&message(vec![1; 100 * KIB])).await;
        assert_eq!(recv(&pull).await.size(), 100 * KIB);
        assert!(idle(&pull));
        check_unread(&pull, 4 * MIB);
    }
    for hoarder in hoarders {
        drop(within("the rest of them", hoarder).await.expect("no panic"));
    }
    peers(&pull, 0).await;
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn what_is_not_whole_counts_on_a_conflating_socket_too() {
    let pull = socket_with(SocketType::Pull, brisk().conflate(true).recv_memory(4 * MIB));
    let endpoint = bind(&pull).await;
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    // What was received does not make up for what comes then.
    for fill in 0..3 {
        raw.send(&message(vec![fill; 400 * KIB])).await;
        assert_eq!(recv(&pull).await[0][0], fill);
    }
    let begin = [&[LONG][..], &(MIB as u64).to_be_bytes(), &vec![7; 800 * KIB]].concat();
    raw.send(&begin).await;
    until("its bytes", || pull.stats().unread_bytes as usize > 790 * KIB).await;
    raw.send(&vec![7; 224 * KIB]).await;
    assert_eq!(recv(&pull).await.size(), MIB);
    until("an empty account", || pull.stats().unread_bytes == 0).await;
}

#[tokio::test]
async fn lists_of_parts_are_no_way_around_it() {
    let pull = socket_with(SocketType::Pull, brisk().recv_memory(MIB).recv_buffer(65_536));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    // 2 kB on their way, and 64 kB in a list.
    let parts = [frame(MORE, b"").repeat(999), frame(0, b"")].concat();
    let mut sends = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        let parts = parts.repeat(20);
        sends.push(tokio::spawn(async move {
            raw.send(&parts).await;
            raw
        }));
    }
    assert_eq!(met(&mut monitor, Limit::RecvMemory).await, LimitAction::Paused);
    for _ in 0..4 * 20 {
        check_unread(&pull, MIB);
        assert_eq!(recv(&pull).await.len(), 1000);
    }
    for send in sends {
        within("all to be sent", send).await.expect("no panic");
    }
}

/// Messages of several parts take more than they came in: where memory is full, decoding waits for room, too.
#[tokio::test]
async fn nobody_is_closed_for_messages_of_parts_that_the_application_has_not_received() {
    const PEERS: usize = 60;
    const EACH: usize = 3000;
    let options = brisk().recv_memory(512 * KIB).recv_hwm(10);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut sends = Vec::new();
    for peer in 0..PEERS {
        let mut raw = Raw::connect(&endpoint).await;
        raw.handshake("PUSH").await;
        sends.push(tokio::spawn(async move {
            let two = [frame(MORE, &[peer as u8]), frame(0, b"x")].concat();
            raw.send(&two.repeat(EACH)).await;
            raw
        }));
    }
    until("no room", || pull.stats().unread_bytes as usize > 500 * KIB).await;
    let mut counts = [0; PEERS];
    for _ in 0..PEERS * 8 {
        counts[usize::from(recv(&pull).await[0][0])] += 1;
        check_unread(&pull, 512 * KIB + PEERS * 62);
    }
    // Somebody else waits for room, and looks who has it.
    let mut raw = Raw::connect(&endpoint).await;
    raw.handshake("PUSH").await;
    let newcomer = tokio::spawn(async move {
        raw.send(&message(vec![PEERS as u8; 150 * KIB])).await;
        raw
    });
    let mut large = 0;
    for _ in 0..PEERS * (EACH - 8) + 1 {
        let message = recv(&pull).await;
        match counts.get_mut(usize::from(message[0][0])) {
            Some(count) => *count += 1,
            None => large += 1,
        }
    }
    assert_eq!((&counts, large), (&[EACH; PEERS], 1));
    sends.push(newcomer);
    for send in sends {
        within("all to be sent", send).await.expect("no panic");
    }
}
