//! Our devices between libzmq's sockets, and ours at both ends of libzmq's load.

mod harness;
mod interop;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Dealer, Proxy, Pub, Pull, Push, Router, SocketType, XPub, XSub};
use harness::{bind, brisk, number, numbered, peers, recv, send, socket, socket_with, within};
use interop::{BINDERS, Binder, Pyzmq, link};
use serde_json::json;

#[tokio::test]
async fn a_queue_stands_between_their_req_and_their_rep() {
    let (clients, workers) = (Pyzmq::start(), Pyzmq::start());
    let (front, back) = (
        Router::with_options(brisk()).unwrap(),
        Dealer::with_options(brisk()).unwrap(),
    );
    let front_end = within("bind", front.bind("tcp://127.0.0.1:0")).await.unwrap();
    let back_end = within("bind", back.bind("tcp://127.0.0.1:0")).await.unwrap();
    let capture = Pub::with_options(brisk()).unwrap();
    let tap = clients.socket(SocketType::Sub).await;
    tap.subscribe("").await;
    link(capture.as_socket(), &tap, Binder::Ours).await;
    let mut proxy = Proxy::queue(&front, &back).capture(&capture);
    let running = tokio::spawn(async move { proxy.run().await });
    let reps = [
        workers.socket(SocketType::Rep).await,
        workers.socket(SocketType::Rep).await,
    ];
    for (i, rep) in reps.iter().enumerate() {
        rep.connect(&back_end).await;
        peers(back.as_socket(), i + 1).await;
    }
    let names: Vec<_> = reps.iter().map(interop::PySocket::name).collect();
    let reqs = [
        clients.socket(SocketType::Req).await,
        clients.socket(SocketType::Req).await,
        clients.socket(SocketType::Req).await,
    ];
    let asking = async {
        for round in 0..20_u8 {
            for (i, req) in reqs.iter().enumerate() {
                if round == 0 {
                    req.connect(&front_end).await;
                }
                req.send([&[round, i as u8][..], b"", b"more"]).await;
            }
            for (i, req) in reqs.iter().enumerate() {
                assert_eq!(
                    req.recv().await,
                    Message::from([&[round, i as u8][..], b"", b"more"])
                );
            }
        }
    };
    let (served, ()) = tokio::join!(
        workers.call("serve", json!({"names": names, "count": 60})),
        asking
    );
    let served = served["served"].as_array().unwrap();
    assert_eq!(
        served.iter().filter(|name| **name == *names[0]).count(),
        30,
        "shared evenly"
    );
    assert_eq!(
        tap.recv_many(120).await.len(),
        120,
        "requests and replies were captured"
    );
    running.abort();
}

#[tokio::test]
async fn a_forwarder_stands_between_their_pub_and_their_sub() {
    let py = Pyzmq::start();
    let (front, back) = (
        XSub::with_options(brisk()).unwrap(),
        XPub::with_options(brisk()).unwrap(),
    );
    let front_end = within("bind", front.bind("tcp://127.0.0.1:0")).await.unwrap();
    let back_end = within("bind", back.bind("tcp://127.0.0.1:0")).await.unwrap();
    let mut proxy = Proxy::forwarder(&front, &back);
    let running = tokio::spawn(async move { proxy.run().await });
    let xpub = py.socket(SocketType::XPub).await;
    xpub.connect(&front_end).await;
    let sub = py.socket(SocketType::Sub).await;
    sub.subscribe("go").await;
    sub.connect(&back_end).await;
    assert_eq!(
        xpub.recv().await,
        Message::from(b"\x01go"),
        "the subscription went upstream"
    );
    for i in 0..50_u8 {
        xpub.send(["stay", "put"]).await;
        xpub.send([&b"go"[..], &[i]]).await;
    }
    for i in 0..50_u8 {
        assert_eq!(sub.recv().await, Message::from([&b"go"[..], &[i]]));
    }
    sub.unsubscribe("go").await;
    assert_eq!(xpub.recv().await, Message::from(b"\0go"));
    running.abort();
}

#[tokio::test]
async fn a_streamer_stands_between_their_push_and_their_pull() {
    let (producers, workers) = (Pyzmq::start(), Pyzmq::start());
    let (front, back) = (
        Pull::with_options(brisk()).unwrap(),
        Push::with_options(brisk()).unwrap(),
    );
    let front_end = within("bind", front.bind("tcp://127.0.0.1:0")).await.unwrap();
    let back_end = within("bind", back.bind("tcp://127.0.0.1:0")).await.unwrap();
    let mut proxy = Proxy::streamer(&front, &back);
    let running = tokio::spawn(async move { proxy.run().await });
    let push = producers.socket(SocketType::Push).await;
    push.connect(&front_end).await;
    let pull = workers.socket(SocketType::Pull).await;
    pull.connect(&back_end).await;
    let (sent, numbers) = tokio::join!(
        push.send_numbered(0, 20_000, 1000, Duration::from_secs(5)),
        pull.drain_exactly(20_000, 0)
    );
    assert_eq!((sent, numbers), (20_000, (0..20_000).collect()));
    running.abort();
}

#[tokio::test]
async fn thousands_of_topics_each_find_their_subscriber() {
    let py = Pyzmq::start();
    let xpub = socket_with(SocketType::XPub, brisk().hwm(100_000));
    let sub = py
        .socket_with(SocketType::Sub, json!({"RCVHWM": 0, "SNDHWM": 0}))
        .await;
    link(&xpub, &sub, Binder::Ours).await;
    for i in 0..2000 {
        sub.subscribe(format!("{i:04}/")).await;
    }
    for _ in 0..2000 {
        recv(&xpub).await;
    }
    for i in 0..2500 {
        send(&xpub, [format!("{i:04}/x").as_bytes(), &numbered(i, 8)]).await;
    }
    for i in 0..2000 {
        assert_eq!(number(&sub.recv().await[1]), i);
    }
    assert!(sub.recv_within(Duration::from_millis(200)).await.is_none());
}

#[tokio::test]
async fn a_hundred_mebibytes_in_one_message() {
    let py = Pyzmq::start();
    let size = 100 << 20;
    for binder in BINDERS {
        let (ours, theirs) = (socket(SocketType::Pair), py.socket(SocketType::Pair).await);
        link(&ours, &theirs, binder).await;
        let sent = theirs.send_numbered(7, 1, size, Duration::from_secs(5)).await;
        assert_eq!(sent, 1);
        let message = recv(&ours).await;
        assert_eq!((message.size(), number(&message[0])), (size, 7));
        send(&ours, message).await;
        assert_eq!(theirs.drain_exactly(1, 0).await, [7]);
    }
}

#[tokio::test]
async fn work_goes_on_while_libzmq_comes_and_goes() {
    let py = Pyzmq::start();
    // Ours connects, theirs is restarted at the same place: what is delivered is whole, in order, and never double.
    let push = socket_with(SocketType::Push, brisk().send_hwm(50));
    let first = py.socket(SocketType::Pull).await;
    let endpoint = first.bind("tcp://127.0.0.1:*").await;
    first.close(Duration::ZERO).await;
    push.connect(endpoint.as_str()).unwrap();
    let sender = push.clone();
    let sending = tokio::spawn(async move {
        let mut next = 0;
        while sender.send(numbered(next, 5000)).await.is_ok() {
            next += 1;
        }
    });
    let mut last = None;
    for _ in 0..10 {
        let pull = py.socket_with(SocketType::Pull, json!({"RCVHWM": 10})).await;
        let args = json!({"name": pull.name(), "endpoint": endpoint});
        within("the port to be free again", async {
            while py.try_call("bind", args.clone()).await.is_err() {}
        })
        .await;
        for number in pull.drain_exactly(200, 0).await {
            assert!(Some(number) > last, "{number} after {last:?}");
            last = Some(number);
        }
        pull.close(Duration::ZERO).await;
    }
    within("close", push.close()).await;
    within("the sender", sending).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_requests_are_under_way_at_once() {
    let py = Pyzmq::start();
    let router = socket_with(SocketType::Router, brisk().hwm(20_000));
    let endpoint = bind(&router).await;
    let dealer = py
        .socket_with(SocketType::Dealer, json!({"SNDHWM": 0, "RCVHWM": 0}))
        .await;
    dealer.connect(&endpoint).await;
    assert_eq!(
        dealer.send_numbered(0, 10_000, 100, Duration::from_secs(5)).await,
        10_000
    );
    for i in 0..10_000 {
        let request = recv(&router).await;
        assert_eq!(number(&request[1]), i);
        send(&router, request).await;
    }
    assert_eq!(
        dealer.drain_exactly(10_000, 0).await,
        (0..10_000).collect::<Vec<_>>()
    );
}
