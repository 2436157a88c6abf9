//! Requests: a REQ takes the answer of the peer it asked, the whole of it, and no other.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;
mod raw;

use std::time::{Duration, Instant};

use flexbond_session::Message;
use flexbond_session::socket::{Options, RecvError, SocketType};
use harness::{
    DEADLINE, bind, brisk, disconnected, number, numbered, peers, recv, send, socket, socket_with, within,
};
use raw::{Raw, listen, message};

#[tokio::test]
async fn a_stranger_cannot_answer_a_request() {
    let req = socket(SocketType::Req);
    let endpoint = bind(&req).await;
    let mut asked = Raw::connect(&endpoint).await;
    asked.handshake("REP").await;
    peers(&req, 1).await;
    send(&req, "question").await;
    assert_eq!(asked.recv_message().await, Message::from(["", "question"]));
    let mut stranger = Raw::connect(&endpoint).await;
    stranger.handshake("REP").await;
    peers(&req, 2).await;
    stranger.send(&message(["", "lie"])).await;
    stranger.send(&message(["", "another lie"])).await;
    asked.send(&message(["", "truth"])).await;
    assert_eq!(recv(&req).await, Message::from("truth"));
    // Nor answer before it is asked.
    send(&req, "second").await;
    assert_eq!(stranger.recv_message().await, Message::from(["", "second"]));
    stranger.send(&message(["", "fine"])).await;
    assert_eq!(recv(&req).await, Message::from("fine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relaxed_request_never_misses_a_quick_reply() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://relaxed"] {
        let options = Options::new().linger(Duration::ZERO);
        let rep = socket_with(SocketType::Rep, options.clone());
        let req = socket_with(SocketType::Req, options.req_relaxed(true));
        let bound = within("bind", rep.bind(endpoint)).await.unwrap();
        req.connect(bound).unwrap();
        tokio::spawn(async move {
            while let Ok(request) = rep.recv().await {
                if rep.send(request).await.is_err() {
                    return;
                }
            }
        });
        let asking = tokio::spawn(async move {
            for i in 0..3000 {
                req.send(numbered(i, 8)).await.unwrap();
                let reply = within("a quick reply", req.recv()).await.unwrap();
                assert_eq!(number(&reply[0]), i);
            }
        });
        asking.await.expect(endpoint);
    }
}

#[tokio::test]
async fn a_second_answer_does_not_answer_the_next_request() {
    let req = socket(SocketType::Req);
    let mut rep = Raw::connect(&bind(&req).await).await;
    rep.handshake("REP").await;
    for said_before in [true, false] {
        send(&req, "first").await;
        assert_eq!(rep.recv_message().await, Message::from(["", "first"]));
        rep.send(&message(["", "one"])).await;
        if said_before {
            rep.send(&message(["", "one again"])).await;
            rep.echo().await;
        }
        assert_eq!(recv(&req).await, Message::from("one"));
        if !said_before {
            rep.send(&message(["", "one again"])).await;
            rep.echo().await;
        }
        send(&req, "second").await;
        assert_eq!(rep.recv_message().await, Message::from(["", "second"]));
        rep.send(&message(["", "two"])).await;
        assert_eq!(recv(&req).await, Message::from("two"));
    }
}

#[tokio::test]
async fn an_answer_of_a_lost_connection_does_not_answer_the_next_request() {
    let (listener, endpoint) = listen().await;
    let req = socket(SocketType::Req);
    let mut monitor = req.monitor();
    req.connect(&endpoint).unwrap();
    let mut first = Raw::accept(&listener).await;
    first.handshake("REP").await;
    send(&req, "first").await;
    first.recv_message().await;
    first.send(&message(["", "one"])).await;
    first.echo().await;
    drop(first);
    disconnected(&mut monitor).await;
    // Nobody can answer any longer, so that another request is allowed.
    let mut second = Raw::accept(&listener).await;
    second.handshake("REP").await;
    send(&req, "second").await;
    assert_eq!(second.recv_message().await, Message::from(["", "second"]));
    second.send(&message(["", "two"])).await;
    second.echo().await;
    assert_eq!(recv(&req).await, Message::from("two"));
}

#[test]
fn a_relaxed_request_never_misses_a_reply_of_another_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let rep = socket(SocketType::Rep);
    let req = socket_with(SocketType::Req, brisk().req_relaxed(true));
    runtime.block_on(async {
        within("bind", rep.bind("inproc://spinning")).await.unwrap();
        req.connect("inproc://spinning").unwrap();
        peers(&req, 1).await;
    });
    let server = rep.clone();
    // Neither side sleeps, so that the reply may come before the call that asks has returned. Who has looked for long
    // makes room for the other: they may have one processor between them, and then no round ends otherwise before the
    // system takes it away.
    let look = |looks: u32| match looks % 1000 {
        999 => std::thread::yield_now(),
        _ => std::hint::spin_loop(),
    };
    let answering = std::thread::spawn(move || {
        let mut looks = 0;
        loop {
            match server.try_recv() {
                Ok(request) => server.try_send(request).unwrap(),
                Err(RecvError::Closed) => return,
                Err(_) => look(looks),
            }
            looks = looks.wrapping_add(1);
        }
    });
    for round in 0..3000 {
        req.try_send(numbered(round, 8)).unwrap();
        let asked = Instant::now();
        let mut looks = 0;
        let reply = loop {
            match req.try_recv() {
                Ok(reply) => break reply,
                Err(_) => look(looks),
            }
            looks = looks.wrapping_add(1);
            assert!(asked.elapsed() < DEADLINE, "round {round}: no reply");
        };
        assert_eq!(number(&reply[0]), round);
    }
    runtime.block_on(within("close", rep.close()));
    answering.join().unwrap();
}
