//! Connections that break: what was sent whole is done with, everything else goes out again, once, whole, in order.
#![cfg(feature = "tcp")]

mod harness;
mod raw;
mod scripted;

use std::collections::VecDeque;

use flexbond_session::Message;
use flexbond_session::socket::{RecvError, Socket, SocketType};
use harness::{brisk, number, numbered, peers, recv, send, socket_with, until, within, would_block};
use raw::{command, greeting, message, ready};
use scripted::{ENDPOINT, Ends, Far, Unit, scripted};
use tokio::sync::mpsc;

/// A PING without a time to live: a protocol error, and the end of the connection.
fn nonsense() -> Vec<u8> {
    command("PING", b"")
}

fn connected(kind: SocketType, hwm: usize) -> (Socket, Ends) {
    let (registry, ends) = scripted();
    let socket = socket_with(kind, brisk().registry(registry).hwm(hwm));
    socket.connect(ENDPOINT).expect("connecting");
    (socket, ends)
}

/// A connection that takes nothing after the handshake.
async fn stalled(socket: &Socket, ends: &mut Ends, theirs: &str) -> Far {
    let far = ends.next().await;
    far.handshake(theirs).await;
    peers(socket, 1).await;
    far.allow(0);
    far
}

#[tokio::test(start_paused = true)]
async fn messages_written_after_a_protocol_error_give_their_room_back() {
    let (push, mut ends) = connected(SocketType::Push, 2);
    let far = stalled(&push, &mut ends, "PULL").await;
    send(&push, "one").await;
    send(&push, "two").await;
    far.blocked().await;
    far.send_and_allow(&nonsense());
    for text in ["one", "two"] {
        assert_eq!(
            far.try_recv_unit().await,
            Some(Unit::Message(Message::from(text)))
        );
    }
    let again = ends.next().await;
    again.handshake("PULL").await;
    peers(&push, 1).await;
    assert_eq!(push.peers()[0].queued, 0, "both were sent whole");
    for text in ["three", "four"] {
        push.try_send(text).expect("there is room for two");
    }
    for text in ["three", "four"] {
        assert_eq!(
            again.try_recv_unit().await,
            Some(Unit::Message(Message::from(text)))
        );
    }
    let closed = within("an empty socket to close", push.close_within(None)).await;
    assert_eq!(closed.undelivered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_written_after_a_protocol_error_is_lost_with_its_peer() {
    let (req, mut ends) = connected(SocketType::Req, 10);
    let far = stalled(&req, &mut ends, "REP").await;
    send(&req, "question").await;
    far.blocked().await;
    far.send_and_allow(&nonsense());
    assert_eq!(
        far.try_recv_unit().await,
        Some(Unit::Message(Message::from(["", "question"])))
    );
    let lost = within("the loss to be noticed", req.recv()).await;
    assert!(matches!(lost, Err(RecvError::PeerLost(_))), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn whole_messages_before_a_protocol_error_are_received() {
    for (kind, theirs) in [(SocketType::Pull, "PUSH"), (SocketType::XPub, "SUB")] {
        let (socket, mut ends) = connected(kind, 10);
        let far = stalled(&socket, &mut ends, theirs).await;
        far.send(&[message("\u{1}one"), message(["two", "parts"]), nonsense()].concat());
        assert_eq!(recv(&socket).await, Message::from("\u{1}one"), "{kind}");
        assert_eq!(recv(&socket).await, Message::from(["two", "parts"]), "{kind}");
    }
}

/// Which peers a socket meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    V1_0,
    V2_0,
    V3_0,
    V3_1,
}

impl Age {
    async fn handshake(self, far: &Far, kind: SocketType, theirs: SocketType) {
        match self {
            Age::V1_0 => {
                far.send(&[1, 0]);
                far.recv(10).await;
            }
            Age::V2_0 => {
                far.send(
                    &[
                        b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01"[..].to_vec(),
                        vec![theirs.code(), 0, 0],
                    ]
                    .concat(),
                );
                let ours = far.recv(12).await;
                assert_eq!(ours[11], kind.code());
                far.try_recv_frame().await.expect("an identity");
            }
            Age::V3_0 | Age::V3_1 => {
                let minor = u8::from(self == Age::V3_1);
                far.send(&[greeting(minor, "NULL"), ready(theirs.as_str(), &[])].concat());
                far.recv(64).await;
                far.try_recv_frame().await.expect("READY");
            }
        }
    }

    async fn next(self, far: &Far) -> Option<Unit> {
        match self {
            Age::V1_0 => far.try_recv_elder().await,
            _ => far.try_recv_unit().await,
        }
    }
}

/// One to ten parts around every size at which something changes; the first says which message it is.
fn parcel(n: u64) -> Message {
    const SIZES: [usize; 16] = [
        0, 1, 62, 63, 253, 254, 255, 256, 4095, 4096, 4097, 32_767, 32_768, 65_535, 131_072, 200_000,
    ];
    let mut message = Message::from([b"m".to_vec(), n.to_be_bytes().to_vec()].concat());
    let parts = if n.is_multiple_of(7) { 9 } else { n % 4 };
    for part in 0..parts {
        message.push_back(vec![
            n as u8;
            SIZES[((n * 5 + part * 3) % SIZES.len() as u64) as usize]
        ]);
    }
    message
}

async fn every_message_once(rng: &mut fastrand::Rng, age: Age, kind: SocketType, theirs: SocketType) {
    const COUNT: u64 = 60;
    let (socket, mut ends) = connected(kind, 100);
    let mut far = ends.next().await;
    age.handshake(&far, kind, theirs).await;
    peers(&socket, 1).await;
    far.allow(0);
    if kind == SocketType::XSub {
        socket.try_send("\u{1}topic").expect("subscribed");
    }
    for n in 0..COUNT {
        socket.try_send(parcel(n)).expect("room for all");
    }
    far.allow_and_break(rng.usize(..300_000), rng.fork());
    let (mut next, mut breaks) = (0, 0);
    while next < COUNT {
        let mut pings = 0;
        while next < COUNT {
            if age == Age::V3_1 && pings < 20 && rng.u8(..4) == 0 {
                pings += 1;
                far.send(&command("PING", &[0, 0, pings]));
            }
            match age.next(&far).await {
                Some(Unit::Message(message)) if message[0].starts_with(b"m") => {
                    assert!(
                        message == parcel(next),
                        "{age:?} {kind}: expected {next}, got {} in {} parts after {breaks} breaks",
                        number(&message[0][1..]),
                        message.len()
                    );
                    next += 1;
                }
                Some(Unit::Message(message)) => {
                    assert_eq!(message, Message::from("\u{1}topic"), "{age:?} {kind}");
                }
                Some(Unit::Command(body)) if body.starts_with(b"\x04PONG") => {}
                Some(Unit::Command(body)) => assert_eq!(body, b"\x09SUBSCRIBEtopic"),
                None => break,
            }
        }
        if next < COUNT {
            breaks += 1;
            far = ends.next().await;
            // Enough for the handshake. Most connections break in the middle of something; the last one must not.
            let room = if breaks < 40 {
                rng.usize(200..300_000)
            } else {
                usize::MAX
            };
            far.allow_and_break(room, rng.fork());
            age.handshake(&far, kind, theirs).await;
        }
    }
    assert!(breaks > 5, "{age:?} {kind}: only {breaks} breaks");
    if kind == SocketType::Push {
        far.allow(usize::MAX);
        let closed = within("an empty socket to close", socket.close_within(None)).await;
        assert_eq!(closed.undelivered, 0);
        assert_eq!(socket.stats().dropped, 0);
    }
}

/// The generator of all that is random in one test.
fn seeded() -> fastrand::Rng {
    let seed = std::env::var("FLEXBOND_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("FLEXBOND_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Hands on what a peer gets until its connection breaks; the peer, if it does not.
async fn read(far: Far, arrivals: mpsc::UnboundedSender<Message>) {
    far.send(&[greeting(1, "NULL"), ready("PULL", &[])].concat());
    if far.try_recv(64).await.is_none() {
        return;
    }
    while let Some(unit) = far.try_recv_unit().await {
        if let Unit::Message(message) = unit {
            arrivals.send(message).expect("the test goes on");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_for_room_go_on_however_often_their_peers_break() {
    const COUNT: u64 = 200;
    const BREAKS: usize = 60;
    let mut rng = seeded();
    for hwm in 1..=5 {
        let (push, mut ends) = connected(SocketType::Push, hwm);
        push.connect(ENDPOINT).expect("a second peer");
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (push, mut rng) = (push.clone(), rng.fork());
                tokio::spawn(async move {
                    let mut waiting: VecDeque<_> = (0..COUNT).map(|n| parcel(2 * n + sender)).collect();
                    while !waiting.is_empty() {
                        let mut some = waiting.drain(..rng.usize(1..9).min(waiting.len())).collect();
                        push.send_many(&mut some).await.expect("sent");
                        if let Some(message) = waiting.pop_front() {
                            push.send(message).await.expect("sent");
                        }
                    }
                })
            })
            .collect();
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let (mut seen, mut count, mut breaks) = (vec![false; 2 * COUNT as usize], 0, 0);
        while count < seen.len() {
            let arrival = async {
                tokio::select! {
                    far = ends.next() => Ok(far),
                    message = arrivals.recv() => Err(message.expect("a sender is here")),
                }
            };
            match within("a message or a connection", arrival).await {
                Ok(far) => {
                    let room = if breaks < BREAKS {
                        rng.usize(..200_000)
                    } else {
                        usize::MAX
                    };
                    breaks += 1;
                    far.allow_and_break(room, rng.fork());
                    tokio::spawn(read(far, arrived.clone()));
                }
                Err(message) => {
                    let n = number(&message[0][1..]);
                    assert!(message == parcel(n), "{n} is not whole");
                    assert!(!std::mem::replace(&mut seen[n as usize], true), "{n} came twice");
                    count += 1;
                }
            }
        }
        for sender in senders {
            within("a sender", sender).await.expect("all sent");
        }
        assert!(breaks > BREAKS / 2, "only {breaks} connections");
        assert_eq!((push.stats().messages_sent, push.stats().dropped), (2 * COUNT, 0));
        until("queues that know that all is sent", || {
            push.peers().iter().all(|peer| peer.queued == 0)
        })
        .await;
        for _ in 0..2 * hwm {
            push.try_send("room").expect("as much room as in the beginning");
        }
        assert!(would_block(&push, "more"), "and no more");
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_arrives_once_whole_and_in_order_however_often_the_connection_breaks() {
    let mut rng = seeded();
    for age in [Age::V1_0, Age::V2_0, Age::V3_0, Age::V3_1] {
        for (kind, theirs) in [
            (SocketType::Push, SocketType::Pull),
            (SocketType::XSub, SocketType::XPub),
        ] {
            every_message_once(&mut rng, age, kind, theirs).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_behind_the_message_under_way() {
    const SIZE: usize = 10 << 20;
    let (push, mut ends) = connected(SocketType::Push, 10);
    let far = stalled(&push, &mut ends, "PULL").await;
    far.allow(SIZE / 2);
    for n in 0..3 {
        send(&push, [numbered(n, SIZE), numbered(n, 4096)]).await;
    }
    far.blocked().await;
    for n in 0..5 {
        far.send(&command("PING", &[0, 0, n]));
        far.allow(1);
        far.blocked().await;
    }
    far.allow(usize::MAX);
    let whole = |n| {
        Some(Unit::Message(Message::from([
            numbered(n, SIZE),
            numbered(n, 4096),
        ])))
    };
    assert!(
        far.try_recv_unit().await == whole(0),
        "the message under way first"
    );
    for n in 0..5 {
        assert_eq!(
            far.try_recv_unit().await,
            Some(Unit::Command([b"\x04PONG", &[n][..]].concat()))
        );
    }
    assert!(far.try_recv_unit().await == whole(1));
    assert!(far.try_recv_unit().await == whole(2));
}
