//! Streams over sessions of many members, over real sockets of this machine.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use flexbond_session::group::Coordinator;
use flexbond_session::socket::{RecvError, SendErrorKind, SlowPeer};
use flexbond_stream::bsread::{Channel, DataHeader, Pulse, Sample, Timestamp};
use flexbond_stream::detector::{DetectorEnd, DetectorHeader, DetectorImage};
use flexbond_stream::stream2::{Event, Message as Stream2};
use flexbond_stream::{
    Array, Arrays, Attach, ConnectError, ConnectOptions, ConnectionEvent, ConnectionWatch, DecodeError,
    Encoding, FramingError, Header, Mode, ReceiveError, Stream, StreamMessage,
};
use flexbond_transport::{Frame, Message};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
const HERE: &str = "udp://127.0.0.1:0";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it does not take that long")
}

/// An address that no other test of this run is likely to have.
fn group() -> SocketAddr {
    SocketAddr::from(([239, 255, 78, fastrand::u8(1..)], fastrand::u16(20_000..30_000)))
}

fn publishing() -> ConnectOptions {
    ConnectOptions::new().mode(Mode::Pub).attach(Attach::Bind)
}

fn subscribing() -> ConnectOptions {
    ConnectOptions::new().mode(Mode::Sub)
}

async fn source(options: ConnectOptions) -> Stream {
    soon(Stream::connect(HERE, options)).await.expect("it is free")
}

async fn receiver(source: &Stream, options: ConnectOptions) -> Stream {
    soon(Stream::connect(source.endpoint(), options))
        .await
        .expect("it looks for the source")
}

/// Waits until so many are at the other ends.
async fn wait_for(stream: &Stream, clients: usize) {
    let mut watch = ConnectionWatch::new(stream, LIMIT);
    while watch.clients() != clients {
        soon(watch.next()).await.expect("the stream is open");
    }
}

/// A source and its receivers, all of them there.
async fn all(options: ConnectOptions, receivers: usize) -> (Stream, Vec<Stream>) {
    let source = source(options).await;
    let mut there = Vec::new();
    for _ in 0..receivers {
        there.push(receiver(&source, subscribing()).await);
    }
    wait_for(&source, receivers).await;
    (source, there)
}

fn raw(frame: u64, bytes: usize) -> StreamMessage {
    StreamMessage::raw(
        Header::new("raw-1.0").with("frame", frame),
        [vec![frame as u8; bytes].into()],
    )
}

async fn frame(receiver: &mut Stream) -> u64 {
    let message = soon(receiver.receive()).await.expect("a message");
    let frame = message.header.frame().expect("a number");
    let parts = message.parts();
    assert!(parts[0].iter().all(|byte| *byte == frame as u8));
    frame
}

#[tokio::test]
async fn every_message_comes_to_every_receiver() {
    for options in [publishing(), publishing().multicast(group())] {
        for receivers in 1..=3 {
            let (mut source, mut there) = all(options.clone(), receivers).await;
            for number in 0..200 {
                soon(source.send(raw(number, 5000))).await.expect("sent");
            }
            for receiver in &mut there {
                for number in 0..200 {
                    assert_eq!(frame(receiver).await, number);
                }
                let totals = receiver.statistics().totals();
                assert_eq!((totals.messages, totals.lost_frames), (200, 0));
                assert_eq!(receiver.socket_stats().messages_received, 200);
            }
            assert_eq!(source.statistics().totals().messages, 200);
            assert_eq!(soon(source.disconnect()).await.undelivered, 0);
        }
    }
}

fn every_format() -> Vec<Message> {
    let pixels = Array::from_elements(&[8, 16], (0..128_u16).collect()).unwrap();
    let compressed = Arrays::from(pixels.clone()).compress("bs16-lz4<".parse().unwrap());
    let data_header = Arc::new(DataHeader::new(vec![Channel::text("c")]));
    let now = Timestamp::default();
    let pulse = Pulse::new(1, now, &data_header, [Some(Sample::new("value", now))]).unwrap();
    vec![
        StreamMessage::raw(Header::new(""), ["a".into(), "".into()]).into(),
        StreamMessage::raw(Header::new(""), vec![Frame::from("part"); 1000]).into(),
        StreamMessage::arrays(Header::new(""), Arrays::from(pixels.clone())).into(),
        StreamMessage::arrays(Header::new(""), compressed).into(),
        StreamMessage::from(DetectorHeader::basic(1, Default::default())).into(),
        StreamMessage::from(DetectorImage::new(1, 0, &pixels, Encoding::default())).into(),
        StreamMessage::from(DetectorEnd::new(1)).into(),
        StreamMessage::from(pulse).into(),
        Message::from(Frame::from(Stream2::new(Event::Start(Box::default())).encode())),
        Message::from(br#"{"htype":"mine-1.0"}"#.to_vec()),
    ]
}

#[tokio::test]
async fn every_format_comes_as_it_was_sent() {
    let (mut source, mut there) = all(publishing().multicast(group()), 2).await;
    for message in every_format() {
        soon(source.send(message.clone())).await.expect("sent");
        let understood = soon(there[0].receive()).await.expect("a message");
        assert_eq!(understood.encode(), message);
        assert_eq!(soon(there[1].receive_raw()).await.expect("a message"), message);
    }
    assert_eq!(there[0].statistics().totals().malformed, 0);
    assert_eq!(there[0].statistics().totals().unknown, 1);
}

#[tokio::test]
async fn arrays_are_views_of_what_came() {
    let (mut source, mut there) = all(publishing(), 1).await;
    let pixels = Array::from_elements(&[256, 256], (0..65_536_u32).map(f64::from).collect()).unwrap();
    for pad in 0..9 {
        let header = Header::new("array-1.0").with("source", "x".repeat(pad));
        let message = StreamMessage::arrays(header, Arrays::from(pixels.clone()));
        soon(source.send(message)).await.expect("sent");
        let message = soon(there[0].receive()).await.expect("a message");
        let array = message.as_arrays().and_then(|arrays| arrays.get(0)).unwrap();
        let values = array.to_slice::<f64>().unwrap();
        assert!(matches!(values, std::borrow::Cow::Borrowed(_)), "no copy");
        assert_eq!(values[65_535], 65_535.0);
    }
}

#[tokio::test]
async fn who_comes_late_gets_what_comes_from_then_on() {
    let (mut source, mut there) = all(publishing().multicast(group()), 1).await;
    for number in 0..10 {
        soon(source.send(raw(number, 100))).await.expect("sent");
    }
    let mut late = receiver(&source, subscribing()).await;
    wait_for(&source, 2).await;
    for number in 10..20 {
        soon(source.send(raw(number, 100))).await.expect("sent");
    }
    for number in 0..20 {
        assert_eq!(frame(&mut there[0]).await, number);
    }
    for number in 10..20 {
        assert_eq!(frame(&mut late).await, number);
    }
}

#[tokio::test]
async fn a_receiver_that_goes_does_not_stop_the_others() {
    let (mut source, mut there) = all(publishing().multicast(group()), 3).await;
    let mut staying = there.pop().expect("three");
    let [leaving, dropped]: [Stream; 2] = there.try_into().expect("two");
    for number in 0..300 {
        soon(source.send(raw(number, 2000))).await.expect("sent");
        assert_eq!(frame(&mut staying).await, number);
        if number == 100 {
            break;
        }
    }
    soon(leaving.disconnect()).await;
    drop(dropped);
    for number in 101..300 {
        soon(source.send(raw(number, 2000))).await.expect("sent");
        assert_eq!(frame(&mut staying).await, number);
    }
    wait_for(&source, 1).await;
}

#[tokio::test]
async fn a_receiver_waits_for_its_source_and_looks_for_it_again() {
    // Somewhere where nobody is yet.
    let first = source(publishing()).await;
    let endpoint = first.endpoint().clone();
    soon(first.disconnect()).await;
    let mut receiver = Stream::connect(&endpoint, subscribing()).await.unwrap();
    assert!(matches!(
        receiver.try_receive(),
        Err(ReceiveError::Socket(RecvError::WouldBlock))
    ));
    for round in 0..3 {
        let mut source = soon(Stream::connect(&endpoint, publishing())).await.unwrap();
        wait_for(&source, 1).await;
        soon(source.send(raw(round, 10))).await.expect("sent");
        // Taken only after the source has gone, and while the next one comes.
        soon(source.disconnect()).await;
        assert_eq!(frame(&mut receiver).await, round);
    }
    let stats = receiver.socket_stats();
    assert_eq!((stats.handshakes, stats.reconnects), (3, 2));
}

#[tokio::test]
async fn messages_for_nobody_are_gone_at_once() {
    let mut source = source(publishing().multicast(group())).await;
    for number in 0..1000 {
        source
            .try_send(raw(number, 100_000))
            .expect("there is room for nobody");
    }
    assert_eq!(source.socket_stats().dropped, 0);
    assert_eq!(soon(source.disconnect()).await.undelivered, 0);
}

/// A source with little memory, a receiver that takes messages, and one that stands still.
async fn quick_and_still(slow_peer: SlowPeer) -> (Stream, Stream, Stream) {
    let memory = 4_usize << 20;
    let source = source(publishing().slow_peer(slow_peer).memory(memory)).await;
    let quick = receiver(&source, subscribing().memory(memory)).await;
    let still = receiver(&source, subscribing().memory(memory)).await;
    wait_for(&source, 2).await;
    (source, quick, still)
}

#[tokio::test]
async fn who_is_too_slow_skips_and_sees_the_gap() {
    for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest] {
        let (mut source, mut quick, mut still) = quick_and_still(policy).await;
        for number in 0..100 {
            soon(source.send(raw(number, 500_000))).await.expect("sent");
            assert_eq!(frame(&mut quick).await, number);
        }
        assert_eq!(quick.statistics().totals().lost_frames, 0);
        assert_eq!(source.socket_stats().dropped, 0);
        // It goes on with what is new, in order, each message whole.
        let mut last = None;
        let mut number = 100;
        while last < Some(100) {
            soon(source.send(raw(number, 10))).await.expect("sent");
            assert_eq!(frame(&mut quick).await, number);
            number += 1;
            let came = frame(&mut still).await;
            assert!(last < Some(came), "{came} after {last:?}");
            last = Some(came);
        }
        let totals = still.statistics().totals();
        assert!(totals.lost_frames > 50, "{totals:?}");
        assert_eq!((totals.malformed, totals.reordered), (0, 0));
        // Counted whether or not messages say which frame they are.
        assert_eq!(still.socket_stats().dropped, totals.lost_frames);
        assert_eq!(quick.socket_stats().dropped, 0);
    }
}

#[tokio::test]
async fn who_is_waited_for_makes_all_wait() {
    let memory = 4_usize << 20;
    let options = publishing().slow_peer(SlowPeer::Wait).memory(memory);
    let mut source = source(options.send_timeout(Duration::from_millis(200))).await;
    let mut still = receiver(&source, subscribing().memory(memory)).await;
    wait_for(&source, 1).await;
    let mut sent = 0;
    let refused = loop {
        match soon(source.send(raw(sent, 500_000))).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1000, "nothing is bounded");
    };
    assert!(matches!(refused.kind(), SendErrorKind::Timeout(_)), "{refused}");
    let refused = source.try_send(refused.into_message()).expect_err("no room");
    assert_eq!(*refused.kind(), SendErrorKind::WouldBlock);
    for number in 0..sent {
        assert_eq!(frame(&mut still).await, number);
    }
    soon(source.send(refused.into_message()))
        .await
        .expect("room again");
    assert_eq!(frame(&mut still).await, sent);
    assert_eq!(still.statistics().totals().lost_frames, 0);
}

#[tokio::test]
async fn who_stands_still_is_sent_away_and_comes_back() {
    let (mut source, mut quick, mut still) = quick_and_still(SlowPeer::Disconnect).await;
    let mut watch = ConnectionWatch::new(&source, LIMIT);
    let mut number = 0;
    while source.socket_stats().peers == 2 {
        soon(source.send(raw(number, 500_000))).await.expect("sent");
        assert_eq!(frame(&mut quick).await, number);
        number += 1;
        assert!(number < 1000, "it is never sent away");
    }
    assert_eq!(
        soon(watch.next()).await,
        Some(ConnectionEvent::Left { clients: 1 })
    );
    // What it had got is still there, and then what is new.
    let away = number;
    let mut last = 0;
    while last < away {
        soon(source.send(raw(number, 10))).await.expect("sent");
        assert_eq!(frame(&mut quick).await, number);
        number += 1;
        while let Ok(message) = timeout(Duration::from_millis(10), still.receive()).await {
            last = message.expect("a message").header.frame().expect("a number");
        }
    }
    assert!(still.socket_stats().reconnects >= 1);
    assert_eq!(quick.statistics().totals().lost_frames, 0);
}

#[tokio::test]
async fn who_was_sent_away_comes_back_when_it_has_read_what_it_had() {
    let (mut source, mut quick, mut still) = quick_and_still(SlowPeer::Disconnect).await;
    soon(source.send(raw(0, 10))).await.expect("sent");
    assert_eq!((frame(&mut quick).await, frame(&mut still).await), (0, 0));
    let mut number = 1;
    while source.socket_stats().peers == 2 {
        soon(source.send(raw(number, 500_000))).await.expect("sent");
        assert_eq!(frame(&mut quick).await, number);
        number += 1;
        assert!(number < 1000, "it is never sent away");
    }
    // It would be back long before.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(500) {
        soon(source.send(raw(number, 10))).await.expect("sent");
        assert_eq!(frame(&mut quick).await, number);
        number += 1;
    }
    assert_eq!(
        source.socket_stats().handshakes,
        2,
        "it would only be sent away again"
    );
    let mut next = 1;
    let new = loop {
        soon(source.send(raw(number, 10))).await.expect("sent");
        assert_eq!(frame(&mut quick).await, number);
        number += 1;
        if let Ok(message) = timeout(Duration::from_millis(10), still.receive()).await {
            let came = message.expect("a message").header.frame().expect("a number");
            if came != next {
                break came;
            }
            next += 1;
        }
    };
    assert!(new > next && source.socket_stats().handshakes == 3, "{new}");
}

#[tokio::test]
async fn a_source_is_not_held_up_for_ever_where_nobody_takes_anything() {
    let memory = 4_usize << 20;
    let mut source = source(publishing().memory(memory)).await;
    let mut still = receiver(&source, subscribing().memory(memory)).await;
    wait_for(&source, 1).await;
    let begin = Instant::now();
    for number in 0..1000 {
        soon(source.send(raw(number, 100_000)))
            .await
            .expect("never refused");
    }
    assert!(begin.elapsed() < LIMIT / 2, "{:?}", begin.elapsed());
    let dropped = source.socket_stats().dropped;
    assert!(dropped > 500, "{dropped}");
    // It takes what there is, and then what is new.
    let mut number = 1000;
    loop {
        source.try_send(raw(number, 10)).ok();
        if frame(&mut still).await >= 1000 {
            break;
        }
        number += 1;
    }
    assert!(still.statistics().totals().lost_frames >= 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_100_mebibytes_comes_whole() {
    // On a busy machine one receiver may be so far behind the other that it would have to skip.
    let waiting = publishing().slow_peer(SlowPeer::Wait);
    let (mut source, mut there) = all(waiting.multicast(group()), 2).await;
    let sent: Message = raw(7, 100 << 20).into();
    soon(source.send(sent.clone())).await.expect("sent");
    let mut second = there.pop().expect("two");
    let second = tokio::spawn(async move { second.receive_raw().await });
    assert_eq!(soon(there[0].receive_raw()).await.expect("a message"), sent);
    assert_eq!(soon(second).await.unwrap().expect("a message"), sent);
}

#[tokio::test]
async fn a_message_larger_than_all_memory_comes_in_pieces() {
    for slow_peer in [SlowPeer::DropNewest, SlowPeer::Wait] {
        let memory = 1_usize << 20;
        let mut source = source(publishing().slow_peer(slow_peer).memory(memory)).await;
        let mut receiver = receiver(&source, subscribing().memory(memory)).await;
        wait_for(&source, 1).await;
        for number in 0..3 {
            soon(source.send(raw(2 * number, 20 << 20))).await.expect("sent");
            let small: Message = raw(2 * number + 1, 100).into();
            // Not before the large one is through.
            let (sent, first) = soon(async { tokio::join!(source.send(small), receiver.receive()) }).await;
            sent.expect("sent");
            let first = first.expect("a message");
            assert_eq!(first.header.frame(), Some(2 * number));
            assert_eq!(first.parts()[0].len(), 20 << 20);
            assert_eq!(frame(&mut receiver).await, 2 * number + 1);
        }
        assert_eq!(receiver.statistics().totals().lost_frames, 0);
    }
}

#[tokio::test]
async fn a_connecting_source_sends_more_than_the_memory_of_who_binds() {
    let options = subscribing().attach(Attach::Bind).memory(1_usize << 20);
    let mut bound = soon(Stream::connect(HERE, options)).await.unwrap();
    let connecting = publishing().attach(Attach::Connect);
    let mut source = soon(Stream::connect(bound.endpoint(), connecting)).await.unwrap();
    wait_for(&bound, 1).await;
    wait_for(&source, 1).await;
    for number in 0..3 {
        soon(source.send(raw(number, 20 << 20))).await.expect("sent");
        assert_eq!(frame(&mut bound).await, number);
    }
    assert_eq!(source.socket_stats().reconnects, 0);
}

#[tokio::test]
async fn no_largest_size_is_a_size_too() {
    let options = publishing().max_message_size(usize::MAX);
    let mut source = source(options).await;
    let options = subscribing().max_message_size(usize::MAX).memory(1_usize << 20);
    let mut receiver = receiver(&source, options).await;
    wait_for(&source, 1).await;
    soon(source.send(raw(0, 20 << 20))).await.expect("sent");
    assert_eq!(frame(&mut receiver).await, 0);
}

#[tokio::test]
async fn a_message_has_a_largest_size_at_both_ends() {
    let (mut source, _) = all(publishing().max_message_size(1000_usize), 0).await;
    let mut strict = receiver(&source, subscribing().max_message_size(500_usize)).await;
    wait_for(&source, 1).await;
    let refused = soon(source.send(raw(1, 1000))).await.expect_err("too large");
    assert!(
        matches!(refused.kind(), SendErrorKind::TooLarge { limit: 1000, .. }),
        "{refused}"
    );
    let refused = source.try_send(Message::new()).expect_err("nothing to send");
    assert!(matches!(refused.kind(), SendErrorKind::Incomplete(_)));
    let parts: Message = vec![Frame::from(""); 65_537].into();
    let refused = source.try_send(parts).expect_err("too many");
    assert!(
        matches!(refused.kind(), SendErrorKind::TooManyParts { .. }),
        "{refused}"
    );
    soon(source.send(raw(1, 600))).await.expect("sent");
    soon(source.send(raw(2, 100))).await.expect("sent");
    assert!(matches!(
        soon(strict.receive()).await,
        Err(ReceiveError::Malformed {
            error: DecodeError::Framing(FramingError::TooLarge { limit: 500, .. }),
            ..
        })
    ));
    assert_eq!(frame(&mut strict).await, 2);
}

#[cfg(feature = "multicast-crypto")]
#[tokio::test]
async fn only_who_has_the_key_hears_anything() {
    use flexbond_session::group::{JoinError, PresharedKey, RejectReason};

    let key = |text: &str| -> PresharedKey { text.parse().expect("a key") };
    let right = key("a key of which nobody knows");
    let mut source = source(publishing().multicast(group()).key(right.clone())).await;
    let mut friend = receiver(&source, subscribing().key(right)).await;
    let strangers = [
        (
            receiver(&source, subscribing().key(key("another key, a wrong one"))).await,
            RejectReason::WrongKey,
        ),
        (receiver(&source, subscribing()).await, RejectReason::NeedsKey),
    ];
    wait_for(&source, 1).await;
    soon(source.send(raw(1, 1000))).await.expect("sent");
    assert_eq!(frame(&mut friend).await, 1);
    assert!(friend.refusal().is_none());
    for (mut stranger, expected) in strangers {
        let refused = async {
            loop {
                if let Some(refusal) = stranger.refusal() {
                    return refusal;
                }
                tokio::task::yield_now().await;
            }
        };
        let refusal = soon(refused).await;
        assert!(
            matches!(&*refusal, JoinError::Rejected { why, .. } if *why == expected),
            "{refusal}"
        );
        assert!(matches!(
            stranger.try_receive(),
            Err(ReceiveError::Socket(RecvError::WouldBlock))
        ));
    }
}

#[tokio::test]
async fn messages_are_not_dealt_out_where_all_get_them() {
    for (mode, attach, hint) in [
        (Mode::Push, Attach::Bind, "-m pub"),
        (Mode::Push, Attach::Connect, "-m pub"),
        (Mode::Pull, Attach::Connect, "-m sub"),
        (Mode::Pull, Attach::Bind, "-m sub"),
    ] {
        let refused = Stream::connect(HERE, ConnectOptions::new().mode(mode).attach(attach)).await;
        let error = refused.expect_err("not here");
        assert!(matches!(error, ConnectError::NotForAll { .. }), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    let unicast = publishing().multicast("10.0.0.1:5000".parse::<SocketAddr>().unwrap());
    let refused = Stream::connect(HERE, unicast).await.expect_err("no group");
    assert!(matches!(refused, ConnectError::Session(_)), "{refused}");
    let refused = Stream::connect(HERE, publishing().memory(1000_usize)).await;
    let error = refused.expect_err("too little").to_string();
    assert!(error.contains("memory") && error.contains("65536"), "{error}");
    let (taken, _) = all(publishing(), 0).await;
    let refused = Stream::connect(taken.endpoint(), publishing()).await;
    assert!(matches!(refused, Err(ConnectError::Session(_))));
}

#[tokio::test]
async fn what_is_no_message_is_handed_over_and_harms_nothing() {
    let coordinator = Coordinator::bind(HERE, flexbond_session::group::Options::new())
        .await
        .expect("it is free");
    let mut receiver = soon(Stream::connect(coordinator.endpoint(), subscribing()))
        .await
        .unwrap();
    soon(coordinator.wait_for_members(1)).await.expect("it comes");
    soon(coordinator.send("something else")).await.expect("sent");
    let mut pieces = coordinator.stream().await;
    soon(pieces.send(vec![1; 100])).await.expect("sent");
    soon(pieces.finish(vec![2; 100])).await.expect("sent");
    // One message of one part, "{}", by hand.
    let mut good = b"fbp\x02\x01\0\0\0\x22\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    good.extend(b"\x02\0\0\0\0\0\0\0{}");
    let mut long = good.clone();
    long.push(0);
    soon(coordinator.send(long)).await.expect("sent");
    let mut pieces = coordinator.stream().await;
    soon(pieces.send(good[..28].to_vec())).await.expect("sent");
    // Dropped: it ends where it is.
    drop(pieces);
    soon(coordinator.send(good)).await.expect("sent");
    let mut errors = Vec::new();
    let message = loop {
        match soon(receiver.receive()).await {
            Err(ReceiveError::Malformed {
                error: DecodeError::Framing(error),
                message,
            }) => {
                assert!(!message.is_empty());
                errors.push(error);
            }
            other => break other,
        }
    };
    assert_eq!(
        errors,
        [
            FramingError::Foreign,
            FramingError::Foreign,
            FramingError::Length {
                announced: 34,
                came: 35
            },
            FramingError::Length {
                announced: 34,
                came: 28
            },
        ]
    );
    // Its header has no htype, which is another matter.
    assert!(matches!(
        message,
        Err(ReceiveError::Malformed {
            error: DecodeError::Header(_),
            ..
        })
    ));
    assert_eq!(receiver.statistics().totals().malformed, 5);
}

#[tokio::test]
async fn receiving_can_be_tried_polled_and_limited() {
    let mut source = source(publishing()).await;
    let limited = subscribing().receive_timeout(Duration::from_millis(20));
    let mut receiver = receiver(&source, limited).await;
    wait_for(&source, 1).await;
    assert!(matches!(
        receiver.receive().await,
        Err(ReceiveError::Socket(RecvError::Timeout(_)))
    ));
    assert!(matches!(
        receiver.try_receive(),
        Err(ReceiveError::Socket(RecvError::WouldBlock))
    ));
    let mut message = Some(raw(3, 10).into());
    std::future::poll_fn(|cx| source.poll_send(cx, &mut message))
        .await
        .expect("sent");
    assert!(message.is_none());
    let polled = std::future::poll_fn(|cx| receiver.poll_receive(cx));
    assert_eq!(soon(polled).await.expect("a message").header.frame(), Some(3));
    // A future that is dropped takes nothing.
    for number in 4..50 {
        {
            let mut begun = std::pin::pin!(receiver.receive());
            let waits = std::future::poll_fn(|cx| Poll::Ready(begun.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
        }
        soon(source.send(raw(number, 10))).await.expect("sent");
        let received = async {
            loop {
                match receiver.try_receive() {
                    Ok(message) => return message.header.frame(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        assert_eq!(soon(received).await, Some(number));
    }
    let wrong = receiver.try_send(raw(1, 1)).expect_err("it receives");
    assert!(matches!(wrong.kind(), SendErrorKind::Unsupported(_)));
    let wrong = source.try_receive().expect_err("it sends");
    assert!(matches!(wrong, ReceiveError::Socket(RecvError::Unsupported(_))));
    assert!(source.monitor().is_none());
}

#[tokio::test]
async fn receivers_choose_by_how_the_header_begins() {
    let mut source = source(publishing().multicast(group())).await;
    let topics = vec![br#"{"htype":"raw-1.0","camera":"b""#.to_vec()];
    let mut some = receiver(&source, subscribing().topics(topics)).await;
    let mut every = receiver(&source, subscribing()).await;
    wait_for(&source, 2).await;
    for number in 0..30_u64 {
        let camera = ["a", "b", "c"][number as usize % 3];
        let header = Header::new("raw-1.0")
            .with("camera", camera)
            .with("frame", number);
        soon(source.send(StreamMessage::raw(header, [])))
            .await
            .expect("sent");
    }
    for number in 0..30 {
        let message = soon(every.receive()).await.expect("a message");
        assert_eq!(message.header.frame(), Some(number));
    }
    for number in (1..30).step_by(3) {
        let message = soon(some.receive()).await.expect("a message");
        assert_eq!(message.header.frame(), Some(number));
    }
    assert_eq!(some.socket_stats().messages_received, 10);
}

#[tokio::test]
async fn many_sources_send_to_whoever_is_there() {
    let mut bound = soon(Stream::connect(HERE, subscribing().attach(Attach::Bind)))
        .await
        .unwrap();
    let connecting = publishing().attach(Attach::Connect);
    let mut sources = Vec::new();
    for _ in 0..2 {
        sources.push(
            soon(Stream::connect(bound.endpoint(), connecting.clone()))
                .await
                .unwrap(),
        );
    }
    wait_for(&bound, 2).await;
    for source in &sources {
        wait_for(source, 1).await;
    }
    for number in 0..50 {
        for (index, source) in sources.iter_mut().enumerate() {
            let header = Header::new("raw-1.0")
                .with("source", format!("camera {index}"))
                .with("frame", number);
            soon(source.send(StreamMessage::raw(header, [])))
                .await
                .expect("sent");
        }
    }
    for _ in 0..100 {
        soon(bound.receive()).await.expect("a message");
    }
    let totals = bound.statistics().totals();
    assert_eq!((totals.messages, totals.lost_frames), (100, 0));
    for source in sources {
        assert_eq!(soon(source.disconnect()).await.undelivered, 0);
    }
}

#[tokio::test]
async fn only_those_at_the_other_end_are_counted() {
    let mut bound = soon(Stream::connect(HERE, subscribing().attach(Attach::Bind)))
        .await
        .unwrap();
    let connecting = publishing().attach(Attach::Connect);
    let address = bound.endpoint().clone();
    let first = soon(Stream::connect(&address, connecting.clone())).await.unwrap();
    let other = soon(Stream::connect(&address, subscribing())).await.unwrap();
    wait_for(&first, 1).await;
    wait_for(&other, 1).await;
    let mut second = soon(Stream::connect(&address, connecting.clone())).await.unwrap();
    wait_for(&second, 1).await;
    soon(second.send(raw(7, 10))).await.expect("sent");
    assert_eq!(frame(&mut bound).await, 7);
    let stats = bound.socket_stats();
    assert_eq!((stats.peers, stats.handshakes), (2, 2));

    // A source that nobody receives from but another source has nobody.
    let source = source(publishing()).await;
    let _other = soon(Stream::connect(source.endpoint(), connecting))
        .await
        .unwrap();
    wait_for(&_other, 1).await;
    let _receiver = receiver(&source, subscribing()).await;
    wait_for(&source, 1).await;
    assert_eq!(source.socket_stats().handshakes, 1);
}

#[tokio::test]
async fn large_messages_of_several_sources_have_one_limit() {
    let options = subscribing().attach(Attach::Bind).memory(1_usize << 20);
    let options = options.max_message_size(30_usize << 20);
    let mut bound = soon(Stream::connect(HERE, options)).await.unwrap();
    let connecting = publishing().attach(Attach::Connect).slow_peer(SlowPeer::Wait);
    let mut sources = Vec::new();
    for _ in 0..2 {
        let source = soon(Stream::connect(bound.endpoint(), connecting.clone())).await;
        sources.push(source.unwrap());
    }
    wait_for(&bound, 2).await;
    for source in &mut sources {
        wait_for(source, 1).await;
        soon(source.send(raw(3, 20 << 20))).await.expect("sent");
    }
    let refused = soon(bound.receive()).await.expect_err("both are too much");
    let ReceiveError::Malformed {
        error: DecodeError::Framing(error),
        ..
    } = refused
    else {
        panic!("{refused}");
    };
    let FramingError::NoRoom { size, others, limit } = error else {
        panic!("{error}");
    };
    assert!(size == others && size < limit && size + others > limit, "{error}");
    // The other one comes, and so does what comes alone.
    assert_eq!(frame(&mut bound).await, 3);
    for source in &mut sources {
        soon(source.send(raw(4, 20 << 20))).await.expect("sent");
        assert_eq!(frame(&mut bound).await, 4);
    }
    assert_eq!(bound.statistics().totals().malformed, 1);
}

#[tokio::test]
async fn leaving_waits_until_everything_is_delivered() {
    let (mut source, mut there) = all(publishing(), 1).await;
    let mut receiver = there.pop().expect("one");
    for number in 0..50 {
        soon(source.send(raw(number, 100_000))).await.expect("sent");
    }
    assert_eq!(soon(source.disconnect()).await.undelivered, 0);
    for number in 0..50 {
        assert_eq!(frame(&mut receiver).await, number);
    }
    // Who is dropped sends what it has in the background.
    let (mut source, mut there) = all(publishing(), 1).await;
    for number in 0..50 {
        soon(source.send(raw(number, 100_000))).await.expect("sent");
    }
    drop(source);
    for number in 0..50 {
        assert_eq!(frame(&mut there[0]).await, number);
    }
}

#[tokio::test]
async fn leaving_waits_no_longer_than_it_may() {
    let memory = 1_usize << 20;
    for linger in [Duration::ZERO, Duration::from_millis(100)] {
        let options = publishing().slow_peer(SlowPeer::Wait).memory(memory);
        let mut source = source(options).await;
        let _still = receiver(&source, subscribing().memory(memory)).await;
        wait_for(&source, 1).await;
        let mut sent = 0;
        while timeout(Duration::from_millis(100), source.send(raw(sent, 100_000)))
            .await
            .is_ok()
        {
            sent += 1;
        }
        let begin = Instant::now();
        let closed = soon(source.disconnect_within(Some(linger))).await;
        assert!(closed.undelivered > 0 && closed.undelivered <= sent, "{closed:?}");
        assert!(begin.elapsed() < LIMIT / 4, "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn what_is_not_delivered_is_counted_in_messages() {
    let memory = 1_usize << 20;
    let options = publishing().slow_peer(SlowPeer::Wait).memory(memory);
    let mut source = source(options).await;
    let _still = receiver(&source, subscribing().memory(memory)).await;
    wait_for(&source, 1).await;
    soon(source.send(raw(0, 20 << 20))).await.expect("sent");
    let waits = timeout(Duration::from_millis(100), source.send(raw(1, 10))).await;
    assert!(waits.is_err(), "the first one is not through");
    let closed = soon(source.disconnect_within(Some(Duration::ZERO))).await;
    assert_eq!(closed.undelivered, 1);
}

#[tokio::test]
async fn a_watch_tells_who_comes_and_goes() {
    let (source, _) = all(publishing(), 0).await;
    let mut watch = ConnectionWatch::new(&source, Duration::from_millis(10));
    assert!(matches!(
        soon(watch.next()).await,
        Some(ConnectionEvent::Abandoned { .. })
    ));
    let first = receiver(&source, subscribing()).await;
    assert_eq!(
        soon(watch.next()).await,
        Some(ConnectionEvent::Joined { clients: 1 })
    );
    let mut there = ConnectionWatch::new(&first, LIMIT);
    while there.clients() == 0 {
        soon(there.next()).await.expect("it is open");
    }
    soon(first.disconnect()).await;
    assert_eq!(
        soon(watch.next()).await,
        Some(ConnectionEvent::Left { clients: 0 })
    );
    let ended = async { while there.next().await.is_some() {} };
    soon(ended).await;
    watch.resync(&source);
    assert_eq!(watch.clients(), 0);
    soon(source.disconnect()).await;
    let ended = async { while watch.next().await.is_some() {} };
    soon(ended).await;
}

#[tokio::test]
async fn gaps_of_the_source_are_counted() {
    let (mut source, mut there) = all(publishing(), 1).await;
    for number in [0, 1, 2, 5, 6, 9] {
        soon(source.send(raw(number, 10))).await.expect("sent");
        assert_eq!(frame(&mut there[0]).await, number);
    }
    assert_eq!(there[0].statistics().totals().lost_frames, 4);
}
