//! Peers that are hostile, broken, slow or dying: they hurt themselves and nobody else.

mod harness;
mod raw;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Options, SlowPeer, SocketType};
use harness::{
    bind, brisk, disconnected, handshake_failed, idle, number, numbered, peers, ready_peers, recv, send,
    socket, socket_with, until, within, would_block,
};
use raw::{COMMAND, LONG, MORE, Raw, command, frame, greeting, listen, message};

/// Shows that a socket that is bound still serves those who behave.
async fn still_serves(pull: &flexbond_session::socket::Socket, endpoint: &flexbond_session::Endpoint) {
    let mut peer = Raw::connect(endpoint).await;
    peer.handshake("PUSH").await;
    peer.send(&message("a good peer")).await;
    within("the message of a good peer", async {
        // Garbage may have passed for a message of a very old peer.
        while recv(pull).await != Message::from("a good peer") {}
    })
    .await;
}

#[tokio::test]
async fn garbage_instead_of_a_greeting() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let pull = socket_with(
        SocketType::Pull,
        brisk().handshake_timeout(Duration::from_millis(500)),
    );
    let endpoint = bind(&pull).await;
    let mut garbage: Vec<Vec<u8>> = (0..100)
        .map(|i| {
            let mut bytes: Vec<u8> = (0..rng.usize(1..5000)).map(|_| rng.u8(..)).collect();
            match i % 4 {
                0 => bytes[0] = 0xFF,
                1 => bytes.splice(..0, greeting(rng.u8(..), "NULL")).for_each(drop),
                2 => bytes
                    .splice(..0, [greeting(1, "NULL"), raw::ready("PUSH", &[])].concat())
                    .for_each(drop),
                _ => {}
            }
            bytes
        })
        .collect();
    garbage.push(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    garbage.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    garbage.push(vec![0; 10_000]);
    garbage.push(vec![0xFF; 10_000]);
    for bytes in garbage {
        let mut peer = Raw::connect(&endpoint).await;
        // It may well be thrown out before it has said everything.
        let _ = peer.try_send(&bytes).await;
    }
    still_serves(&pull, &endpoint).await;
    peers(&pull, 0).await;
}

#[tokio::test]
async fn half_greetings_then_silence() {
    let pull = socket_with(
        SocketType::Pull,
        brisk().handshake_timeout(Duration::from_millis(300)),
    );
    let endpoint = bind(&pull).await;
    let mut silent = Vec::new();
    for size in 0..64 {
        let mut peer = Raw::connect(&endpoint).await;
        peer.send(&greeting(1, "NULL")[..size]).await;
        silent.push(peer);
    }
    still_serves(&pull, &endpoint).await;
    for peer in &mut silent {
        peer.ended().await;
    }
}

#[tokio::test]
async fn more_half_greetings_than_are_allowed_leave_room_for_others_in_time() {
    let options = brisk()
        .max_handshakes(4_usize)
        .handshake_timeout(Duration::from_millis(200));
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Raw::connect(&endpoint).await);
    }
    // Good peers wait their turn, or try again: within the deadline they are served.
    within("a good peer to be served", async {
        loop {
            let mut peer = Raw::connect(&endpoint).await;
            let attempt = async {
                peer.try_send(&greeting(1, "NULL")).await?;
                peer.try_send(&raw::ready("PUSH", &[])).await?;
                peer.try_send(&message("made it")).await
            };
            if attempt.await.is_ok()
                && let Ok(Ok(got)) = tokio::time::timeout(Duration::from_secs(1), pull.recv()).await
            {
                assert_eq!(got, Message::from("made it"));
                return;
            }
        }
    })
    .await;
    drop(silent);
}

#[tokio::test]
async fn endless_greetings() {
    let pull = socket_with(
        SocketType::Pull,
        brisk().handshake_timeout(Duration::from_millis(500)),
    );
    let endpoint = bind(&pull).await;
    let endless = [
        // An identity of 2^62 bytes from a peer of ZMTP 1.0.
        b"\xFF\x40\0\0\0\0\0\0\0\0".to_vec(),
        // One of 254, the most that its short form can say, and beyond.
        vec![0xFE; 64],
        greeting(1, "NULL"),
        // A peer of 2.0 with an identity of 2^62 bytes.
        b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x08\x02\x40\0\0\0\0\0\0\0".to_vec(),
        // A READY of 2^62 bytes.
        [greeting(1, "NULL"), b"\x06\x40\0\0\0\0\0\0\0".to_vec()].concat(),
    ];
    for start in endless {
        let mut peer = Raw::connect(&endpoint).await;
        within("an endless greeting to be cut short", async {
            let mut next = peer.try_send(&start).await;
            while next.is_ok() {
                next = peer.try_send(&[0xA5; 4096]).await;
            }
        })
        .await;
    }
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn lengths_beyond_reason_end_the_connection_before_they_are_allocated() {
    let pull = socket_with(SocketType::Pull, brisk().max_message_size(1000_usize));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    for length in [
        1001_u64,
        1 << 31,
        u64::from(u32::MAX),
        1 << 62,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 8,
        u64::MAX,
    ] {
        for flags in [LONG, LONG | MORE, LONG | COMMAND] {
            if flags & COMMAND != 0 && length < 1 << 31 {
                continue; // commands have a limit of their own
            }
            let mut peer = Raw::connect(&endpoint).await;
            peer.handshake("PUSH").await;
            peer.send(&[&[flags][..], &length.to_be_bytes()].concat()).await;
            let text = disconnected(&mut monitor).await;
            assert!(text.contains("exceeds") || text.contains("malformed"), "{text}");
            peer.ended().await;
        }
    }
    // The limit itself is within the limit.
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    peer.send(&message(&[1; 1000][..])).await;
    assert_eq!(recv(&pull).await.size(), 1000);
    // And it counts all parts together.
    peer.send(&message([&[1; 600][..], &[2; 600][..]])).await;
    disconnected(&mut monitor).await;
    assert!(idle(&pull));
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn reserved_flags_and_nonsense_commands() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    // Unknown commands are passed over, as libzmq does; impossible ones end the connection.
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    peer.send(&command("NEWS", b"from the future")).await;
    peer.send(&message("fine")).await;
    assert_eq!(recv(&pull).await, Message::from("fine"));
    for nonsense in [
        frame(COMMAND, b""),
        frame(COMMAND, b"\xFFshort"),
        command("PING", b"\0"),
        command("ERROR", b"\x06reason"),
    ] {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        peer.send(&nonsense).await;
        disconnected(&mut monitor).await;
        peer.ended().await;
    }
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn nonsense_instead_of_ready() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    for nonsense in [
        message("too early"),
        command("PING", b"\0\0"),
        command("READY", b"\x0bSocket-Type\0\0\0\xFFPUSH"),
        command("READY", b"\x0bSocket-Type\xFF\xFF\xFF\xFFPUSH"),
        command("READY", b"\xFFSocket-Type"),
        command("ERROR", b"\x04sent"),
        frame(COMMAND, b""),
        raw::ready("PUSH", &[("Identity", &[7; 256])]),
    ] {
        let mut peer = Raw::connect(&endpoint).await;
        peer.greet(1).await;
        peer.send(&nonsense).await;
        handshake_failed(&mut monitor).await;
        peer.ended().await;
    }
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn a_message_without_end_is_bounded() {
    let options = Options::new().max_message_parts(100_usize).linger(Duration::ZERO);
    let pull = socket_with(SocketType::Pull, options);
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    // A hundred parts are allowed.
    peer.send(&message(Message::from_iter((0..100).map(|_| "part"))))
        .await;
    assert_eq!(recv(&pull).await.len(), 100);
    let _ = peer.try_send(&frame(MORE, b"part").repeat(101)).await;
    disconnected(&mut monitor).await;
    peer.ended().await;
    assert!(idle(&pull));
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn a_flood_of_subscriptions_is_bounded() {
    for commands in [true, false] {
        let options = brisk().max_subscriptions(100_usize).recv_hwm(10_000_usize);
        let xpub = socket_with(SocketType::XPub, options);
        let endpoint = bind(&xpub).await;
        let mut monitor = xpub.monitor();
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("SUB").await;
        let subscription = |i: u32| {
            let topic = format!("topic {i:05}");
            if commands {
                command("SUBSCRIBE", topic.as_bytes())
            } else {
                message(format!("\x01{topic}"))
            }
        };
        for i in 0..100 {
            peer.send(&subscription(i)).await;
        }
        for i in 0..100 {
            assert_eq!(recv(&xpub).await, Message::from(format!("\x01topic {i:05}")));
        }
        // The same again is nothing more.
        peer.send(&subscription(7)).await;
        send(&xpub, "topic 00099").await;
        assert_eq!(peer.recv_message().await, Message::from("topic 00099"));
        assert_eq!(ready_peers(&xpub), 1);
        let flood: Vec<u8> = (100..20_000).flat_map(subscription).collect();
        let _ = peer.try_send(&flood).await;
        disconnected(&mut monitor).await;
        peer.ended().await;
        peers(&xpub, 0).await;

        let mut other = Raw::connect(&endpoint).await;
        other.handshake("SUB").await;
        other.send(&command("SUBSCRIBE", b"fine")).await;
        within("the subscription of a good peer", async {
            while recv(&xpub).await != Message::from("\x01fine") {}
        })
        .await;
        send(&xpub, "fine").await;
        assert_eq!(other.recv_message().await, Message::from("fine"));
    }
}

#[tokio::test]
async fn one_that_never_reads_among_fifty_subscribers_disturbs_nobody() {
    for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest, SlowPeer::Disconnect] {
        let options = brisk().send_hwm(50_usize).slow_peer(policy).send_buffer(65_536);
        let publisher = socket_with(SocketType::Pub, options);
        let endpoint = bind(&publisher).await;
        let mut subscribers = Vec::new();
        for _ in 0..50 {
            let mut peer = Raw::connect(&endpoint).await;
            peer.handshake("SUB").await;
            peer.send(&command("SUBSCRIBE", b"")).await;
            subscribers.push(peer);
        }
        peers(&publisher, 50).await;
        let mut stalled = subscribers.pop().unwrap();
        // What the first message finds shows that each subscription was seen.
        until("fifty subscriptions", || {
            publisher.try_send("hello").unwrap();
            publisher.peers().iter().all(|peer| peer.messages_sent > 0)
        })
        .await;
        let count = 300;
        let readers: Vec<_> = subscribers
            .into_iter()
            .map(|mut peer| {
                tokio::spawn(async move {
                    let mut next = 0;
                    while next < count {
                        let message = peer.recv_message().await;
                        if message != Message::from("hello") {
                            assert_eq!(number(&message[0]), next);
                            next += 1;
                        }
                    }
                    peer
                })
            })
            .collect();
        for i in 0..count {
            within("the publisher to send", publisher.send(numbered(i, 40_000)))
                .await
                .unwrap();
            // No faster than the others read.
            until("the lively subscribers", || {
                publisher.peers().iter().filter(|peer| peer.queued > 10).count() <= 1
            })
            .await;
        }
        let mut open = Vec::new();
        for reader in readers {
            open.push(within("a lively subscriber", reader).await.unwrap());
        }
        if policy == SlowPeer::Disconnect {
            peers(&publisher, 49).await;
            stalled.ended().await;
        } else {
            assert!(
                publisher.stats().dropped > 0,
                "{policy:?}: what it missed was counted"
            );
            assert_eq!(ready_peers(&publisher), 50);
        }
    }
}

#[tokio::test]
async fn death_in_the_middle_of_a_message() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let whole = message([&b"one"[..], b"two", &[3; 1000]]);
    for cut in [1, 2, 4, 5, 6, 10, 11, 15, 19, 20, 100, whole.len() - 1] {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        peer.send(&whole).await;
        peer.send(&whole[..cut]).await;
        drop(peer);
        assert_eq!(recv(&pull).await.size(), 1006);
        peers(&pull, 0).await;
        assert!(idle(&pull), "nothing of the half message");
    }
    still_serves(&pull, &endpoint).await;
}

#[tokio::test]
async fn death_while_we_send() {
    let (listener, endpoint) = listen().await;
    let push = socket(SocketType::Push);
    push.connect(endpoint).unwrap();
    for round in 0..5_u64 {
        let mut peer = Raw::accept(&listener).await;
        peer.handshake("PULL").await;
        for i in 0..10 {
            send(
                &push,
                [numbered(round * 10 + i, 100_000), numbered(round * 10 + i, 8)],
            )
            .await;
        }
        // A part of the first message it is sent, and no more.
        peer.recv(5).await;
    }
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
    send(&push, [numbered(u64::MAX, 100_000), numbered(u64::MAX, 8)]).await;
    loop {
        // What the dead had not taken may come first.
        let message = peer.recv_message().await;
        assert_eq!(
            (message.len(), number(&message[0])),
            (2, number(&message[1])),
            "the parts of one message"
        );
        if number(&message[0]) == u64::MAX {
            return;
        }
    }
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    for i in 0..1000_u32 {
        let mut peer = Raw::connect(&endpoint).await;
        if i % 3 == 0 {
            continue;
        }
        peer.handshake("REQ").await;
        if i % 3 == 1 {
            peer.send(&message(["", "question"])).await;
            assert_eq!(recv(&rep).await, Message::from("question"));
            send(&rep, "answer").await;
            assert_eq!(peer.recv_message().await, Message::from(["", "answer"]));
        }
    }
    until("no peers", || rep.peers().is_empty()).await;
    assert_eq!(rep.stats().peers, 0);

    // And on the side that connects.
    let (listener, endpoint) = listen().await;
    let push = socket(SocketType::Push);
    for _ in 0..200 {
        push.connect(endpoint.as_str()).unwrap();
        let mut peer = Raw::accept(&listener).await;
        peer.handshake("PULL").await;
        push.disconnect(endpoint.as_str()).unwrap();
        peer.ended().await;
    }
    until("no peers", || push.peers().is_empty()).await;
}

#[tokio::test]
async fn two_messages_split_at_every_byte() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let first = Message::from([&b"a"[..], b"", &[7; 300]]);
    let second = Message::from("zz");
    let bytes = [message(first.clone()), message(second.clone())].concat();
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    for cut in 0..=bytes.len() {
        peer.send(&bytes[..cut]).await;
        // Without delay on either side, both halves are segments of their own.
        tokio::task::yield_now().await;
        peer.send(&bytes[cut..]).await;
        assert_eq!(recv(&pull).await, first);
        assert_eq!(recv(&pull).await, second);
    }

    // The handshake as well, byte by byte.
    let mut peer = Raw::connect(&endpoint).await;
    for byte in [greeting(1, "NULL"), raw::ready("PUSH", &[]), bytes].concat() {
        peer.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(recv(&pull).await, first);
    assert_eq!(recv(&pull).await, second);
}

#[tokio::test]
async fn large_messages_in_pieces_of_every_kind() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let pull = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&pull).await).await;
    peer.handshake("PUSH").await;
    let body: Vec<u8> = (0..400_000_u32).map(|i| (i % 253) as u8).collect();
    let large = Message::from([&body[..], b"", &body[..131_072], b"end"]);
    let bytes = [message("before"), message(large.clone()), message("after")].concat();
    for round in 0..60 {
        let largest = [10_usize, 1000, 70_000, 500_000][round % 4];
        let sending = async {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = if rest.len() + 100 > bytes.len() || rest.len() < 100 {
                    7
                } else {
                    largest.max(2000)
                };
                let (piece, later) = rest.split_at(rng.usize(1..=most.min(rest.len())));
                peer.send(piece).await;
                tokio::task::yield_now().await;
                rest = later;
            }
        };
        let ((), messages) = tokio::join!(sending, harness::recv_many(&pull, 3));
        assert!(
            messages == [Message::from("before"), large.clone(), Message::from("after")],
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn odd_sizes() {
    let pair = socket(SocketType::Pair);
    let endpoint = bind(&pair).await;
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PAIR").await;
    for size in [
        0,
        1,
        62,
        63,
        254,
        255,
        256,
        257,
        4095,
        4096,
        65_535,
        65_536,
        131_071,
        131_072,
        131_073,
        (1 << 20) + 1,
    ] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let both = Message::from([&body[..], &body]);
        let bytes = [message(&body[..]), message(both.clone())].concat();
        let (first, second, ()) = async {
            let ((first, second), ()) = tokio::join!(
                async { (recv(&pair).await, recv(&pair).await) },
                peer.send(&bytes)
            );
            (first, second, ())
        }
        .await;
        assert!(
            first == Message::from(&body[..]) && second == both,
            "{size} bytes received"
        );
        let (got, ()) = tokio::join!(peer.recv(bytes.len()), async {
            send(&pair, &body[..]).await;
            send(&pair, both).await;
        });
        assert!(got == bytes, "{size} bytes sent");
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_fills_its_own_queue_and_no_other() {
    let push = socket_with(SocketType::Push, brisk().send_hwm(5_usize).send_buffer(65_536));
    let endpoint = bind(&push).await;
    let mut stalled = Raw::connect(&endpoint).await;
    stalled.handshake("PULL").await;
    peers(&push, 1).await;
    let mut sent = 0;
    let mut refusals = 0;
    while refusals < 50 {
        if would_block(&push, numbered(sent, 65_536)) {
            refusals += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            sent += 1;
            assert!(sent < 1000, "never full");
        }
    }
    assert_eq!(push.peers()[0].queued, 5, "the mark");
    let mut lively = Raw::connect(&endpoint).await;
    lively.handshake("PULL").await;
    for i in 0..20 {
        let body = numbered(i, 65_536);
        let (message, ()) = tokio::join!(lively.recv_message(), send(&push, body.clone()));
        assert!(message[0] == body);
    }
    // It did not lose its share.
    for i in 0..sent {
        assert_eq!(number(&stalled.recv_message().await[0]), i);
    }
}

#[tokio::test]
async fn a_request_in_a_thousand_pieces_does_not_hold_up_others() {
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    let mut slow = Raw::connect(&endpoint).await;
    slow.handshake("REQ").await;
    let mut quick = Raw::connect(&endpoint).await;
    quick.handshake("REQ").await;
    let request = message([&b""[..], &[7; 1000]]);
    for (i, byte) in request.iter().enumerate() {
        slow.send(&[*byte]).await;
        if i % 100 == 0 && i + 1 < request.len() {
            quick.send(&message(["", "quick"])).await;
            assert_eq!(recv(&rep).await, Message::from("quick"));
            send(&rep, "answer").await;
            assert_eq!(quick.recv_message().await, Message::from(["", "answer"]));
        }
    }
    assert_eq!(recv(&rep).await.size(), 1000);
}

#[tokio::test]
async fn a_peer_that_floods_starves_neither_others_nor_the_application() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let address = endpoint.to_string().trim_start_matches("tcp://").to_owned();
    // From a thread of its own, as fast as it can.
    let flooder = std::thread::spawn(move || {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        stream
            .write_all(&[greeting(1, "NULL"), raw::ready("PUSH", &[])].concat())
            .expect("written");
        // The runtime waits for who joins this thread, also after a test that has failed.
        let limit = Some(harness::DEADLINE);
        stream.set_write_timeout(limit).expect("a limit");
        let flood = message("x").repeat(20_000);
        while stream.write_all(&flood).is_ok() {}
    });
    peers(&pull, 1).await;
    let mut modest = Raw::connect(&endpoint).await;
    modest.handshake("PUSH").await;
    peers(&pull, 2).await;
    let receiver = pull.clone();
    let receiving = tokio::spawn(async move {
        let mut others = 0;
        let mut heard = 0;
        while heard < 100 {
            match recv(&receiver).await {
                message if message == Message::from("x") => others += 1,
                _ => heard += 1,
            }
        }
        others
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for i in 0..100 {
        // The application's other tasks, and the clock, go on.
        within("a tick", ticks.tick()).await;
        modest.send(&message(numbered(i, 8))).await;
    }
    let others = within("the modest peer to be heard", receiving).await.unwrap();
    println!("{others} messages of the flood came between");
    within("close", pull.close()).await;
    within(
        "the flooder to be thrown out",
        tokio::task::spawn_blocking(|| flooder.join()),
    )
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test]
async fn noise_after_the_handshake_harms_no_pattern() {
    static PANICS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Tasks catch panics; nothing else would tell.
        PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        before(info);
    }));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for kind in SocketType::ALL {
        let theirs = SocketType::ALL
            .into_iter()
            .find(|theirs| kind.accepts(*theirs))
            .expect("some type");
        let ours = socket_with(kind, brisk().recv_hwm(100_000_usize));
        let endpoint = bind(&ours).await;
        for round in 0..40 {
            let mut peer = Raw::connect(&endpoint).await;
            peer.handshake_with(rng.u8(..2), theirs.as_str(), &[]).await;
            let mut noise = Vec::new();
            for _ in 0..rng.usize(1..60) {
                let body: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..4)).collect();
                match rng.u8(..10) {
                    0 => noise.extend(command("SUBSCRIBE", &body)),
                    1 => noise.extend(command("CANCEL", &body)),
                    2 => noise.extend(command("PING", &body)),
                    3 => noise.extend(message([&b""[..], &body])),
                    4 => noise.extend(message([&b""[..], b""])),
                    5 => noise.extend(frame(MORE, &body)),
                    6 => noise.extend(message(&[&[rng.u8(..2)][..], &body].concat()[..])),
                    7 if round % 4 == 0 => noise.extend(frame(rng.u8(..), &body)),
                    _ => noise.extend(message(&body[..])),
                }
            }
            let _ = peer.try_send(&noise).await;
            // Some of the time the socket is used meanwhile.
            let _ = ours.try_send(["", "x"]);
            while ours.try_recv().is_ok() {
                let _ = ours.try_send("answer");
            }
        }
        peers(&ours, 0).await;
        while ours.try_recv().is_ok() {
            let _ = ours.try_send("answer");
        }
        let mut good = Raw::connect(&endpoint).await;
        good.handshake(theirs.as_str()).await;
        peers(&ours, 1).await;
    }
    assert_eq!(
        PANICS.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "seed {seed}"
    );
}
