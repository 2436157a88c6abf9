//! What a server allows: bytes and calls, for peers that do not read, too.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Envelope, Flags, Kind, Method};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Buffer, Encoded, Failure, FailureKind, Methods, Request};
use flexbond_session::Message;
use flexbond_session::socket::{self, Limit};
use futures_util::stream;
use harness::{Seen, until, within};
use serving::{Raw, Serving, failure_kind, request};
use tokio::sync::Notify;

const MIB: usize = 1 << 20;

/// Methods of the harness, and those whose answers are large.
fn methods(seen: &Arc<Seen>) -> Methods {
    let made = Arc::clone(seen);
    harness::methods(seen)
        .add("large", async |size: usize| {
            Ok::<_, Failure>(Buffer::from(vec![7; size]))
        })
        .and_then(|methods| {
            methods.add_stream("flood", move |n: u32| {
                let seen = Arc::clone(&made);
                let items = (0..n).map(move |n| {
                    seen.made.fetch_add(1, Ordering::SeqCst);
                    let mut item = vec![0; MIB];
                    item[..4].copy_from_slice(&n.to_be_bytes());
                    Ok::<_, Failure>(Buffer::from(item))
                });
                async move { Ok::<_, Failure>(stream::iter(items)) }
            })
        })
        .unwrap()
}

/// A peer whose own queue is as short as can be.
fn silent() -> socket::Options {
    socket::Options::new().recv_hwm(1_usize)
}

async fn a_stream_waits_for_a_peer_that_does_not_read_whatever_its_credit() {
    const ITEMS: u32 = 400;
    for endpoint in serving::everywhere() {
        let seen = Arc::default();
        let server = Serving::start(methods(&seen), &endpoint, Options::new()).await;
        let client = server.client();
        let raw = Raw::connect(&server.endpoint, silent());
        let flood = request(7, "flood", &ITEMS.to_string())
            .with_flags(Flags::STREAM)
            .with_count(u32::MAX);
        raw.send(&flood).await;
        until("its begin", || seen.made.load(Ordering::SeqCst) > 0).await;
        // While others are served it stands still, once the system's buffers are full.
        let mut before = 0;
        for still in 0..20 {
            for _ in 0..50 {
                within("an echo", client.call::<_, String>("echo", &"x"))
                    .await
                    .unwrap();
            }
            let made = seen.made.load(Ordering::SeqCst);
            assert!(made < 100, "{made} MiB wait for who does not read");
            if made == before && still > 3 {
                break;
            }
            before = made;
        }
        // Read, it comes whole.
        for n in 0..ITEMS {
            let item = raw.recv().await;
            assert_eq!((item.header.kind, item.header.count), (Kind::StreamItem, n));
            assert_eq!(item.buffers[0][..4], n.to_be_bytes());
        }
        assert_eq!(raw.recv().await.header.kind, Kind::StreamEnd);
        assert_eq!(server.stats().slow_peers, 0);
    }
}

async fn a_peer_that_does_not_read_large_answers_loses_its_connection_and_no_other_does() {
    for endpoint in serving::everywhere() {
        let seen = Arc::default();
        let options = Options::new().max_unread_bytes(8 * MIB);
        let server = Serving::start(methods(&seen), &endpoint, options).await;
        let client = server.client();
        let raw = Raw::connect(&server.endpoint, silent());
        let arguments = MIB.to_string();
        for call in 0..200 {
            if raw
                .dealer
                .try_send(request(call, "large", &arguments).encode().unwrap())
                .is_err()
            {
                break;
            }
        }
        until("its end", || server.stats().slow_peers == 1).await;
        let large: Buffer = within("an answer", client.call("large", &(16 * MIB)))
            .await
            .expect("one answer may always wait");
        assert_eq!(large.len(), 16 * MIB);
        // One that reads gets as much as it likes.
        for _ in 0..30 {
            let large = client.call::<_, Buffer>("large", &(3 * MIB));
            within("an answer", large).await.unwrap();
        }
        assert_eq!(server.stats().slow_peers, 1);
        assert!(server.stats().undelivered > 0);
    }
}

async fn a_call_that_loses_its_connection_as_it_begins_ends() {
    let seen = Arc::default();
    let options = Options::new().max_unread_bytes(8 << 10);
    let server = Serving::start(methods(&seen), &serving::nearby(), options).await;
    let raw = Raw::connect(&server.endpoint, socket::Options::new());
    raw.send(&request(1, "large", "8192")).await;
    until("an answer that nobody reads", || server.stats().calls == 1).await;
    // The leave for its first items is too much for who does not read.
    let upload = request(2, "hang", "null").with_flags(Flags::UPLOAD);
    raw.send(&upload).await;
    until("the end of the connection", || server.stats().slow_peers == 1).await;
    until("the end of the call", || server.stats().in_flight == 0).await;
    assert_eq!(server.stats().cancelled, 1);
}

async fn arguments_of_all_calls_together_are_bounded_in_bytes() {
    let seen: Arc<Seen> = Arc::default();
    let options = Options::new().max_in_flight_bytes(2 * MIB);
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", options).await;
    let (one, other) = (server.client(), server.client());
    let hanging: Vec<_> = [&one, &other]
        .into_iter()
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move {
                let padded = Encoded {
                    body: (" ".repeat(MIB - 4) + "null").into(),
                    buffers: Vec::new(),
                };
                let hang = Request::new(Method::new("hang").unwrap(), Codec::Json, padded);
                client.request(hang).await.map(drop)
            })
        })
        .collect();
    until("both", || seen.begun.load(Ordering::SeqCst) == 2).await;
    let error = one.call::<_, String>("echo", &"x").await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::Overloaded);
    assert!(!error.may_have_run());
    hanging[0].abort();
    until("its end", || seen.dropped.load(Ordering::SeqCst) == 1).await;
    until("room again", || server.stats().in_flight == 1).await;
    assert_eq!(one.call::<_, String>("echo", &"x").await.unwrap(), "x");
    hanging[1].abort();
    until("its end", || server.stats().in_flight == 0).await;
    // One call may always be.
    let size: Buffer = one.call("mirror", &Buffer::from(vec![0; 5 * MIB])).await.unwrap();
    assert_eq!(size.len(), 5 * MIB);
}

async fn items_that_a_handler_does_not_read_count() {
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let methods = Methods::new()
        .add_upload(
            "later",
            move |(_, mut items): ((), flexbond_rpc::Incoming<Buffer>)| {
                let go = Arc::clone(&waits);
                async move {
                    go.notified().await;
                    let mut size = 0;
                    while let Some(item) = items.next().await {
                        size += item?.len();
                    }
                    Ok::<_, Failure>(size)
                }
            },
        )
        .unwrap();
    let options = Options::new().max_in_flight_bytes(4 * MIB);
    let items = |n: usize| stream::iter((0..n).map(|_| Buffer::from(vec![0; MIB - 100])));
    let server = Serving::start(methods.clone(), "tcp://127.0.0.1:0", options.clone()).await;
    let client = server.client();
    let call = || client.method("later").codec(Codec::Json);
    let error = within("its end", call().upload::<_, _, usize>(&(), items(5)))
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::Overloaded);
    assert!(error.may_have_run(), "it had begun");
    until("its end", || server.stats().in_flight == 0).await;
    // With a window that fits, they come one after the other.
    let server = Serving::start(methods, "tcp://127.0.0.1:0", options.upload_window(3)).await;
    let client = server.client();
    let call = || client.method("later").codec(Codec::Json);
    go.notify_one();
    let size: usize = within("a sum", call().upload(&(), items(50))).await.unwrap();
    assert_eq!(size, 50 * (MIB - 100));
}

async fn the_end_of_a_stream_and_its_failure_need_no_leave() {
    let seen = Arc::default();
    let server = Serving::of(methods(&seen)).await;
    let raw = server.raw();
    for (call, method, n, leave, items) in [
        (1, "count", 2, 2, 2),
        (2, "count", 0, 0, 0),
        (3, "break", 2, 2, 2),
        (4, "break", 0, 0, 0),
        (5, "count", 3, 1, 1),
    ] {
        let stream = request(call, method, &n.to_string())
            .with_flags(Flags::STREAM)
            .with_count(leave);
        raw.send(&stream).await;
        for number in 0..items {
            let item = raw.recv().await;
            assert_eq!(
                (item.header.kind, item.header.call, item.header.count),
                (Kind::StreamItem, call, number)
            );
        }
        match (method, call) {
            (_, 5) => {
                assert!(raw.is_all().await, "no more without leave");
                raw.send(&Envelope::credit(call, 2)).await;
                for _ in 0..2 {
                    assert_eq!(raw.recv().await.header.kind, Kind::StreamItem);
                }
                assert_eq!(raw.recv().await.header.kind, Kind::StreamEnd);
            }
            ("count", _) => {
                let end = raw.recv().await;
                assert_eq!((end.header.kind, end.header.count), (Kind::StreamEnd, n));
            }
            _ => assert_eq!(failure_kind(&raw.recv().await), "failed"),
        }
    }
}

async fn an_item_with_leave_is_not_held_back_for_the_next() {
    let (first, next) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let (go, asked) = (Arc::clone(&first), Arc::clone(&next));
    let methods = Methods::new()
        .add_stream("slow", move |()| {
            let (go, asked) = (Arc::clone(&go), Arc::clone(&asked));
            let items = stream::unfold(0_u32, move |n| {
                let (go, asked) = (Arc::clone(&go), Arc::clone(&asked));
                async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    if n > 0 {
                        go.notified().await;
                    }
                    (n < 2).then_some((Ok::<_, Failure>(n), n + 1))
                }
            });
            async move { Ok::<_, Failure>(items) }
        })
        .unwrap();
    let server = Serving::of(methods).await;
    let client = server.client();
    let mut values = within("the first", client.method("slow").window(1).stream::<_, u32>(&()))
        .await
        .unwrap();
    assert_eq!(within("it", values.next()).await.unwrap().unwrap(), 0);
    until("the next one is made ahead", || next.load(Ordering::SeqCst) == 2).await;
    first.notify_one();
    assert_eq!(within("it", values.next()).await.unwrap().unwrap(), 1);
    first.notify_one();
    assert!(within("the end", values.next()).await.is_none());
}

async fn one_way_calls_count_go_on_without_their_connection_and_end_with_the_server() {
    let seen: Arc<Seen> = Arc::default();
    let options = Options::new()
        .max_in_flight_per_connection(2)
        .drain_timeout(Duration::from_millis(50));
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", options).await;
    let raw = server.raw();
    let one_way =
        |method: &str| Envelope::one_way(0, Method::new(method).unwrap(), "null").with_codec(Codec::Json);
    for _ in 0..3 {
        raw.send(&one_way("hang")).await;
    }
    until("two of them", || {
        let stats = server.stats();
        (stats.in_flight, stats.refused) == (2, 1)
    })
    .await;
    raw.send(&request(1, "note", "null")).await;
    assert_eq!(failure_kind(&raw.recv().await), "overloaded");
    drop(raw);
    until("the connection's end", || server.stats().connections == 0).await;
    // There is room again for another one's, and theirs go on.
    let raw = server.raw();
    raw.send(&one_way("wait")).await;
    until("the third", || seen.begun.load(Ordering::SeqCst) == 3).await;
    seen.go.notify_waiters();
    until("its end", || server.stats().in_flight == 2).await;
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 0);
    for _ in 0..5 {
        raw.send(&one_way("note")).await;
        raw.send(&Envelope::ping(9)).await;
        assert_eq!(raw.recv().await.header.kind, Kind::Pong);
        until("room", || server.stats().in_flight == 2).await;
    }
    assert_eq!(seen.noted.load(Ordering::SeqCst), 5);
    let stopped = server.stop().await;
    assert_eq!(stopped.aborted, 2);
    until("their end", || seen.dropped.load(Ordering::SeqCst) == 2).await;
}

async fn what_is_larger_than_allowed_is_answered_as_far_as_it_is_read() {
    let seen = Arc::default();
    let options = Options::new().max_request(MIB);
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", options).await;
    let raw = server.raw();
    for buffers in [0, 1] {
        let mut large = request(3, "echo", &"x".repeat(64 * MIB));
        if buffers == 1 {
            large = request(3, "echo", "null").with_buffer(vec![0; 64 * MIB]);
        }
        raw.send(&large).await;
        let answer = raw.recv().await;
        assert_eq!(
            (answer.header.call, failure_kind(&answer).as_str()),
            (3, "too_large")
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("1048576"), "it says the limit: {text}");
    }
    raw.send(&request(4, "echo", "\"x\"")).await;
    assert_eq!(&raw.recv().await.body[..], b"\"x\"");
    // A socket that reads less than that says so, too.
    let small = socket::Options::new().max_message_size(100_000_usize);
    let options = Options::new().socket(small);
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", options).await;
    let client = server.client();
    within("a connection", client.connected(harness::DEADLINE))
        .await
        .unwrap();
    let error = client
        .call::<_, String>("echo", &"x".repeat(99_000))
        .await
        .unwrap_err();
    assert!(
        matches!(error, flexbond_rpc::CallError::TooLarge { answer: false, .. }),
        "{error}"
    );
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
}

async fn answers_that_cannot_leave_are_counted_at_the_end() {
    let seen: Arc<Seen> = Arc::default();
    let mut options = Options::new().drain_timeout(Duration::from_millis(50));
    options.socket = options.socket.send_hwm(1_usize).linger(Duration::ZERO);
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", options).await;
    let raw = Raw::connect(&server.endpoint, silent());
    for call in 0..60 {
        raw.send(&request(call, "large", &MIB.to_string())).await;
    }
    until("all answers", || {
        let stats = server.stats();
        (stats.calls, stats.in_flight) == (60, 0)
    })
    .await;
    let stopped = server.stop().await;
    assert_eq!(stopped.aborted, 0);
    assert!(stopped.undelivered > 10, "{}", stopped.undelivered);
}

async fn who_meets_a_limit_of_the_socket_is_counted_and_others_are_answered() {
    let seen = Arc::default();
    let socket = Options::new()
        .socket
        .max_message_parts(100_usize)
        .max_peers_per_address(2_usize);
    let server = Serving::start(methods(&seen), "tcp://127.0.0.1:0", Options::new().socket(socket)).await;
    let client = server.client();
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
    let raw = server.raw();
    raw.send(&request(1, "echo", "\"x\"")).await;
    assert_eq!(&raw.recv().await.body[..], b"\"x\"");
    let third = server.raw();
    let met = |limit| server.stats().limits.get(limit);
    until("the third is refused", || met(Limit::AddressPeers) > 0).await;
    raw.send_message(Message::from_iter((0..101).map(|_| "part")))
        .await;
    until("the second is sent away", || met(Limit::MessageParts) > 0).await;
    assert_eq!(client.call::<_, String>("echo", &"y").await.unwrap(), "y");
    drop(third);
}

serving::on_both! {
    who_meets_a_limit_of_the_socket_is_counted_and_others_are_answered,
    a_call_that_loses_its_connection_as_it_begins_ends,
    a_stream_waits_for_a_peer_that_does_not_read_whatever_its_credit,
    a_peer_that_does_not_read_large_answers_loses_its_connection_and_no_other_does,
    arguments_of_all_calls_together_are_bounded_in_bytes,
    items_that_a_handler_does_not_read_count,
    the_end_of_a_stream_and_its_failure_need_no_leave,
    an_item_with_leave_is_not_held_back_for_the_next,
    one_way_calls_count_go_on_without_their_connection_and_end_with_the_server,
    what_is_larger_than_allowed_is_answered_as_far_as_it_is_read,
    answers_that_cannot_leave_are_counted_at_the_end,
}
