//! Sockets from their first breath to their last: handles, closing, dropping, and calls that are given up.
#![cfg(feature = "tcp")]

mod harness;
mod raw;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{
    Event, Pull, Push, ReconnectStop, RecvError, Rep, Req, Router, SendErrorKind, SocketType, Sub,
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use harness::{
    bind, brisk, disconnected, event, numbered, peers, recv, send, socket, socket_with, until, vacant,
    within, would_block,
};
use raw::{Raw, listen, message};

#[tokio::test]
async fn a_closed_socket_says_so() {
    let pull = socket(SocketType::Pull);
    let other_handle = pull.clone();
    let waiting = tokio::spawn(async move { other_handle.recv().await });
    tokio::task::yield_now().await;
    let endpoint = bind(&pull).await;
    within("close", pull.close()).await;
    assert!(matches!(
        within("the waiting receiver", waiting).await.unwrap(),
        Err(RecvError::Closed)
    ));
    assert!(matches!(
        within("recv", pull.recv()).await,
        Err(RecvError::Closed)
    ));
    assert!(within("bind", pull.bind("tcp://127.0.0.1:0")).await.is_err());
    assert!(pull.connect(&endpoint).is_err());
    assert_eq!(within("a second close", pull.close()).await.undelivered, 0);

    let push = socket(SocketType::Push);
    let other_handle = push.clone();
    let waiting = tokio::spawn(async move { other_handle.send("x").await });
    tokio::task::yield_now().await;
    within("close", push.close()).await;
    let error = within("the waiting sender", waiting).await.unwrap().unwrap_err();
    assert_eq!(*error.kind(), SendErrorKind::Closed);
    assert_eq!(error.into_message(), Message::from("x"));
    assert_eq!(*push.try_send("y").unwrap_err().kind(), SendErrorKind::Closed);
}

#[tokio::test]
async fn a_closed_socket_gives_up_its_port() {
    for _ in 0..20 {
        let pull = socket(SocketType::Pull);
        let endpoint = bind(&pull).await;
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        peers(&pull, 1).await;
        within("close", pull.close()).await;
        peer.ended().await;
        let next = socket(SocketType::Pull);
        within("bind", next.bind(&endpoint))
            .await
            .expect("the port is free");
    }
}

#[tokio::test]
async fn the_monitor_ends_with_the_socket() {
    let pull = socket(SocketType::Pull);
    let mut monitor = pull.monitor();
    bind(&pull).await;
    event(&mut monitor, "Listening", |event| {
        matches!(event, Event::Listening { .. }).then_some(())
    })
    .await;
    within("close", pull.close()).await;
    event(&mut monitor, "Closed", |event| {
        matches!(event, Event::Closed).then_some(())
    })
    .await;
    assert!(within("the end", monitor.next()).await.is_none());
}

#[test]
fn a_socket_may_outlive_its_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let first = runtime();
    let (push, pull) = first.block_on(async {
        let (push, pull) = (Push::new(), Pull::new());
        let endpoint = pull.bind("tcp://127.0.0.1:0").await.expect("bound");
        push.connect(endpoint).expect("connecting");
        push.send("a").await.expect("sent");
        pull.recv().await.expect("received");
        (push, pull)
    });
    drop(first);
    // Nobody serves it any more; it must neither hang nor panic.
    let _ = push.try_send("b");
    assert!(pull.try_recv().is_err());
    assert!(
        push.connect("tcp://127.0.0.1:1").is_err(),
        "there is no runtime here"
    );
    runtime().block_on(async {
        within("a close without its tasks", push.close()).await;
    });
    drop((push, pull));
    drop(Req::new());
}

#[tokio::test]
async fn a_bind_that_was_given_up_leaves_nothing() {
    let pull = socket(SocketType::Pull);
    let endpoint = vacant();
    for polls in 0..3 {
        let mut binding = Box::pin(pull.bind(endpoint.as_str()));
        let mut bound = false;
        for _ in 0..polls {
            bound |= std::future::poll_fn(|cx| Poll::Ready(binding.as_mut().poll(cx).is_ready())).await;
            if bound {
                break;
            }
        }
        drop(binding);
        if bound {
            within("unbind", pull.unbind(endpoint.as_str())).await.unwrap();
        }
        assert!(pull.bound().is_empty());
        let listener = std::net::TcpListener::bind(endpoint.trim_start_matches("tcp://"));
        assert!(listener.is_ok(), "the port is free after {polls} polls");
    }
}

#[tokio::test]
async fn a_close_that_was_given_up_goes_on() {
    let (listener, endpoint) = listen().await;
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
    push.connect(endpoint).unwrap();
    for i in 0..100 {
        send(&push, numbered(i, 10_000)).await;
    }
    assert!(
        push.close().now_or_never().is_none(),
        "nobody took the messages yet"
    );
    drop(push);
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
    for i in 0..100 {
        assert_eq!(peer.recv_message().await, Message::from(numbered(i, 10_000)));
    }
    peer.ended().await;
}

#[tokio::test]
async fn closing_again_waits_as_well() {
    let (listener, endpoint) = listen().await;
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
    push.connect(endpoint).unwrap();
    for i in 0..100 {
        send(&push, numbered(i, 10_000)).await;
    }
    assert!(
        push.close().now_or_never().is_none(),
        "nobody took the messages yet"
    );
    let again = push.clone();
    let mut closing = [
        tokio::spawn(async move { push.close().await }),
        tokio::spawn(async move { again.close().await }),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        closing.iter().all(|task| !task.is_finished()),
        "nobody took the messages yet"
    );
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
    for i in 0..100 {
        assert_eq!(peer.recv_message().await, Message::from(numbered(i, 10_000)));
    }
    for task in &mut closing {
        assert_eq!(within("close", task).await.unwrap().undelivered, 0);
    }
}

#[tokio::test]
async fn a_disconnect_sends_what_was_queued() {
    let (listener, endpoint) = listen().await;
    let push = socket_with(SocketType::Push, brisk().linger(Duration::from_secs(30)));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..10 {
        send(&push, numbered(i, 8)).await;
    }
    push.disconnect(endpoint.as_str()).unwrap();
    assert_eq!(
        *push.try_send("x").unwrap_err().kind(),
        SendErrorKind::WouldBlock,
        "nothing more is queued"
    );
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
    for i in 0..10 {
        assert_eq!(peer.recv_message().await, Message::from(numbered(i, 8)));
    }
    peer.ended().await;
    until("no peers", || push.peers().is_empty()).await;
}

#[tokio::test]
async fn no_more_peers_than_allowed() {
    let pull = socket_with(SocketType::Pull, brisk().max_peers(3_usize));
    let endpoint = bind(&pull).await;
    let mut allowed = Vec::new();
    for i in 0..3 {
        let mut peer = Raw::connect(&endpoint).await;
        peer.handshake("PUSH").await;
        peers(&pull, i + 1).await;
        allowed.push(peer);
    }
    for _ in 0..5 {
        Raw::connect(&endpoint).await.ended().await;
    }
    for peer in &mut allowed {
        peer.send(&message("still served")).await;
        assert_eq!(recv(&pull).await, Message::from("still served"));
    }
    drop(allowed.pop());
    peers(&pull, 2).await;
    // A peer counts until its queue was read to the end.
    assert!(harness::idle(&pull));
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake("PUSH").await;
    peers(&pull, 3).await;
}

#[tokio::test]
async fn timeouts_are_kept_and_lose_nothing() {
    let limit = Duration::from_millis(20);
    let (req, rep) = (
        Req::with_options(brisk().recv_timeout(limit)).unwrap(),
        Rep::with_options(brisk().recv_timeout(Duration::ZERO)).unwrap(),
    );
    let endpoint = within("bind", rep.bind("tcp://127.0.0.1:0")).await.unwrap();
    assert!(matches!(
        within("recv", rep.recv()).await,
        Err(RecvError::Timeout(Duration::ZERO))
    ));
    req.connect(endpoint).unwrap();
    within("send", req.send("q")).await.unwrap();
    for _ in 0..3 {
        assert!(
            matches!(within("recv", req.recv()).await, Err(RecvError::Timeout(waited)) if waited == limit)
        );
    }
    until("the request", || {
        rep.try_recv().is_ok_and(|request| request == Message::from("q"))
    })
    .await;
    within("send", rep.send("a")).await.unwrap();
    let reply = within("the reply", async {
        loop {
            if let Ok(reply) = req.recv().await {
                return reply;
            }
        }
    })
    .await;
    assert_eq!(reply, Message::from("a"));
}

#[tokio::test]
async fn a_connection_refused_again_and_again_is_tried_again_and_again() {
    let endpoint = vacant();
    let push = socket(SocketType::Push);
    let mut monitor = push.monitor();
    push.connect(endpoint.as_str()).unwrap();
    for _ in 0..5 {
        let text = event(&mut monitor, "ConnectFailed", |event| {
            matches!(
                event,
                Event::ConnectFailed {
                    retry_in: Some(_),
                    ..
                }
            )
            .then(|| event.to_string())
        })
        .await;
        assert!(text.contains(&endpoint), "{text}");
    }
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind(endpoint)).await.unwrap();
    peers(&push, 1).await;
    // Its side of the handshake may be a moment behind.
    peers(&pull, 1).await;
}

#[tokio::test]
async fn what_cannot_work_fails_at_once() {
    let sub = Sub::new();
    for endpoint in [
        "tcp://",
        "tcp://127.0.0.1",
        "nonsense",
        "smoke://signal",
        "tcp://127.0.0.1:99999",
        "",
    ] {
        assert!(sub.connect(endpoint).is_err(), "{endpoint}");
        assert!(within("bind", sub.bind(endpoint)).await.is_err(), "{endpoint}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let first = socket(SocketType::Pull);
    let _ = within("bind", first.bind(taken.as_str())).await;
    let second = socket(SocketType::Pull);
    assert!(within("bind", second.bind(taken)).await.is_err());
}

#[tokio::test]
async fn a_socket_may_be_told_not_to_try_again() {
    // After a loss.
    let (listener, endpoint) = listen().await;
    let push = socket_with(SocketType::Push, brisk().reconnect_interval(None));
    let mut monitor = push.monitor();
    push.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
    peers(&push, 1).await;
    drop(peer);
    event(&mut monitor, "Disconnected", |event| {
        matches!(event, Event::Disconnected { retry_in: None, .. }).then_some(())
    })
    .await;
    let again = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(again.is_err(), "it was told not to");

    // When nobody listens.
    let mut stop = ReconnectStop::default();
    stop.refused = true;
    let push = socket_with(SocketType::Push, brisk().reconnect_stop(stop));
    let mut monitor = push.monitor();
    push.connect(vacant()).unwrap();
    event(&mut monitor, "ConnectFailed", |event| {
        matches!(event, Event::ConnectFailed { retry_in: None, .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn subscriptions_are_heard_again_after_a_reconnect() {
    let (listener, endpoint) = listen().await;
    let sub = socket_with(SocketType::Sub, brisk());
    sub.subscribe("kept").unwrap();
    sub.subscribe("cancelled").unwrap();
    sub.connect(endpoint).unwrap();
    for round in 0..3 {
        let mut peer = Raw::accept(&listener).await;
        peer.handshake("PUB").await;
        let mut topics = Vec::new();
        for _ in 0..(if round == 0 { 2 } else { 1 }) {
            let (name, topic) = peer.recv_command().await;
            assert_eq!(name, "SUBSCRIBE");
            topics.push(String::from_utf8(topic).unwrap());
        }
        topics.sort();
        assert_eq!(
            topics,
            if round == 0 {
                vec!["cancelled", "kept"]
            } else {
                vec!["kept"]
            }
        );
        peer.send(&message("kept: text")).await;
        assert_eq!(recv(&sub).await, Message::from("kept: text"));
        if round == 0 {
            sub.unsubscribe("cancelled").unwrap();
            assert_eq!(
                peer.recv_command().await,
                ("CANCEL".to_owned(), b"cancelled".to_vec())
            );
        }
    }
    until("two reconnects", || sub.stats().reconnects == 2).await;
}

#[tokio::test]
async fn a_peer_that_refuses_is_asked_less_and_less_often() {
    let bound = socket(SocketType::Pair);
    let endpoint = bind(&bound).await;
    let first = socket(SocketType::Pair);
    first.connect(&endpoint).unwrap();
    peers(&bound, 1).await;
    let interval = Duration::from_millis(10);
    let second = socket_with(
        SocketType::Pair,
        brisk()
            .reconnect_interval(interval)
            .reconnect_max(Duration::from_secs(5)),
    );
    let mut monitor = second.monitor();
    second.connect(&endpoint).unwrap();
    event(&mut monitor, "a pause eight times as long", |event| match event {
        Event::HandshakeFailed { retry_in, .. } | Event::Disconnected { retry_in, .. } => {
            retry_in.filter(|pause| *pause > 8 * interval)
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_disconnected_endpoint_takes_no_more_messages_once_it_is_ready() {
    let (listener, endpoint) = listen().await;
    let options = brisk().linger(Duration::from_secs(30)).send_buffer(4096);
    let push = socket_with(SocketType::Push, options);
    let mut monitor = push.monitor();
    push.connect(&endpoint).unwrap();
    // More than the connection takes without being read.
    send(&push, vec![0; 32 << 20]).await;
    let mut raw = Raw::accept(&listener).await;
    push.disconnect(&endpoint).unwrap();
    assert!(would_block(&push, "x"), "right after disconnect");
    raw.handshake("PULL").await;
    event(&mut monitor, "Ready", |event| {
        matches!(event, Event::Ready { .. }).then_some(())
    })
    .await;
    assert!(would_block(&push, "x"), "after the handshake");
    raw.recv(1 << 20).await;
    assert!(would_block(&push, "x"), "while the rest is sent");
    within("close", push.close_within(Some(Duration::ZERO))).await;
}

#[tokio::test]
async fn a_clone_does_not_send_what_waits_in_the_sink_again() {
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let mut push = Push::with_options(brisk()).unwrap();
    push.connect(&endpoint).unwrap();
    within("feed", push.feed(Message::from("a"))).await.unwrap();
    let mut clone = push.clone();
    within("flush", push.flush()).await.unwrap();
    within("flush", clone.flush()).await.unwrap();
    within("send", push.send("b")).await.unwrap();
    assert_eq!(recv(&pull).await, Message::from("a"));
    assert_eq!(recv(&pull).await, Message::from("b"));
}

#[tokio::test]
async fn receives_that_were_given_up_leave_nothing_behind() {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let pull = socket(SocketType::Pull);
    bind(&pull).await;
    let mut tasks = Vec::new();
    for _ in 0..10_000 {
        let task = Arc::new(Nobody);
        tasks.push(Arc::downgrade(&task));
        let waker = Waker::from(task);
        assert!(pull.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    }
    let kept = tasks.iter().filter(|task| task.strong_count() > 0).count();
    assert!(kept < 1000, "{kept} tasks that no longer wait are remembered");
}

#[tokio::test]
async fn a_message_is_of_who_sent_it_though_the_connection_is_with_somebody_else_by_now() {
    for (kind, theirs, body) in [
        (SocketType::Pull, "PUSH", Message::from("x")),
        (SocketType::Router, "DEALER", Message::from("x")),
        (SocketType::Rep, "REQ", Message::from(["", "x"])),
        (SocketType::Sub, "PUB", Message::from("x")),
        (SocketType::XPub, "SUB", Message::from("x")),
    ] {
        let (listener, endpoint) = listen().await;
        let socket = socket(kind);
        if kind == SocketType::Sub {
            socket.subscribe("").expect("a SUB");
        }
        socket.connect(endpoint.as_str()).expect("a valid endpoint");
        let mut monitor = socket.monitor();
        for name in ["ada", "bob", "eve"] {
            let mut raw = Raw::accept(&listener).await;
            let who: [(&str, &[u8]); 2] = [("Identity", name.as_bytes()), ("X-Who", name.as_bytes())];
            raw.handshake_with(1, theirs, &who).await;
            raw.send(&message(body.clone()).repeat(2)).await;
            drop(raw);
            disconnected(&mut monitor).await;
        }
        let mut last = Raw::accept(&listener).await;
        last.handshake_with(1, theirs, &[("Identity", b"zoe")]).await;
        peers(&socket, 1).await;
        for name in ["ada", "ada", "bob", "bob", "eve", "eve"] {
            let (received, peer) = within("a message", socket.recv_from()).await.expect("received");
            assert_eq!(peer.metadata("X-Who"), Some(name.as_bytes()), "{kind}");
            assert_eq!(peer.routing_id(), name, "{kind}");
            if kind == SocketType::Router {
                assert_eq!(received[0], *name.as_bytes());
            }
            if kind == SocketType::Rep {
                send(&socket, "reply").await;
            }
        }
        assert_eq!(socket.peers()[0].peer.routing_id(), "zoe", "{kind}");
    }
}

#[tokio::test]
async fn one_batch_is_of_one_peer_though_another_came_by_the_same_way() {
    let (listener, endpoint) = listen().await;
    let router = Router::with_options(brisk()).expect("valid options");
    router.connect(endpoint.as_str()).expect("a valid endpoint");
    let mut monitor = router.monitor();
    for name in ["ada", "bob"] {
        let mut raw = Raw::accept(&listener).await;
        raw.handshake_with(1, "DEALER", &[("Identity", name.as_bytes())])
            .await;
        raw.send(&message(name).repeat(3)).await;
        drop(raw);
        disconnected(&mut monitor).await;
    }
    let mut messages = Vec::new();
    for name in ["ada", "bob"] {
        messages.clear();
        let limit = NonZeroUsize::new(100).expect("not zero");
        let route = within("a batch", router.recv_batch(&mut messages, limit))
            .await
            .expect("received");
        assert_eq!(
            messages,
            [Message::from(name), Message::from(name), Message::from(name)]
        );
        assert_eq!(route.peer().routing_id(), name);
    }
}
