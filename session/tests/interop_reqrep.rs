//! REQ and REP with libzmq, in both roles and both bind directions.

mod harness;
mod interop;

use std::collections::BTreeMap;
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{RecvError, SendErrorKind, Socket, SocketType};
use harness::{bind, brisk, peers, recv, send, socket, socket_with, within};
use interop::{BINDERS, Binder, Pyzmq, link};
use serde_json::json;

fn wrong_state_to_send(socket: &Socket) -> bool {
    matches!(
        socket.try_send("x").map_err(|e| e.kind().clone()),
        Err(SendErrorKind::WrongState { .. })
    )
}

fn wrong_state_to_recv(socket: &Socket) -> bool {
    matches!(socket.try_recv(), Err(RecvError::WrongState { .. }))
}

#[tokio::test]
async fn send_and_receive_take_turns() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = socket(SocketType::Req);
        let rep = py.socket(SocketType::Rep).await;
        link(&req, &rep, binder).await;
        assert!(wrong_state_to_recv(&req), "REQ: nothing was asked");
        send(&req, "q").await;
        assert!(wrong_state_to_send(&req), "REQ: a reply is due");
        assert!(matches!(
            within("an error", req.send("x"))
                .await
                .map_err(|e| e.kind().clone()),
            Err(SendErrorKind::WrongState { .. })
        ));
        assert_eq!(
            rep.try_send("x").await.unwrap_err().errno,
            "EFSM",
            "REP is pyzmq's"
        );
        rep.recv().await;
        rep.send(["re", "ply"]).await;
        assert_eq!(recv(&req).await, Message::from(["re", "ply"]));
        assert!(wrong_state_to_recv(&req), "REQ: the reply was read");
        send(&req, "again").await;

        let rep = socket(SocketType::Rep);
        let req = py.socket(SocketType::Req).await;
        link(&rep, &req, binder).await;
        assert!(wrong_state_to_send(&rep), "REP: no request to answer");
        req.send(["q", "", "2"]).await;
        assert_eq!(recv(&rep).await, Message::from(["q", "", "2"]));
        assert!(wrong_state_to_recv(&rep), "REP: the last request is unanswered");
        send(&rep, ["a", ""]).await;
        assert!(wrong_state_to_send(&rep), "REP: answered already");
        assert_eq!(req.recv().await, Message::from(["a", ""]));
    }
}

#[tokio::test]
async fn requests_go_round_five_replies() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = socket(SocketType::Req);
        let mut reps = Vec::new();
        for _ in 0..5 {
            let rep = py.socket(SocketType::Rep).await;
            link(&req, &rep, binder).await;
            reps.push(rep);
        }
        let names: Vec<_> = reps.iter().map(interop::PySocket::name).collect();
        let serving = py.call("serve", json!({"names": names, "count": 20}));
        let asking = async {
            for i in 0..20_u8 {
                send(&req, [i].as_slice()).await;
                assert_eq!(recv(&req).await, Message::from([i].as_slice()));
            }
        };
        let (served, ()) = tokio::join!(serving, asking);
        let served: Vec<_> = served["served"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let mut round: Vec<_> = served[..5].to_vec();
        assert_eq!(served, round.repeat(4), "the same order in every round");
        round.sort_unstable();
        round.dedup();
        assert_eq!(round.len(), 5, "{served:?}");
    }
}

#[tokio::test]
async fn a_request_of_libzmq_goes_round_five_of_our_replies() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = py.socket(SocketType::Req).await;
        let mut reps = Vec::new();
        for _ in 0..5 {
            let rep = socket(SocketType::Rep);
            link(&rep, &req, binder).await;
            reps.push(rep);
        }
        // pyzmq may see our READY a moment after we saw its own.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut counts = BTreeMap::new();
        for _ in 0..10 {
            req.send("q").await;
            let gets = reps
                .iter()
                .enumerate()
                .map(|(i, rep)| Box::pin(async move { (i, rep.recv().await.unwrap()) }));
            let ((i, message), _, _) = within("a request", futures_util::future::select_all(gets)).await;
            *counts.entry(i).or_insert(0) += 1;
            send(&reps[i], message).await;
            assert_eq!(req.recv().await, Message::from("q"));
        }
        assert_eq!(
            counts.values().copied().collect::<Vec<i32>>(),
            [2; 5],
            "{binder:?}"
        );
    }
}

#[tokio::test]
async fn the_envelope_of_several_hops_is_restored() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let rep = socket(SocketType::Rep);
        let dealer = py.socket(SocketType::Dealer).await;
        link(&rep, &dealer, binder).await;
        dealer.send(["hop 1", "hop 2", "", "body", "", "more"]).await;
        assert_eq!(recv(&rep).await, Message::from(["body", "", "more"]));
        send(&rep, ["answer", ""]).await;
        assert_eq!(
            dealer.recv().await,
            Message::from(["hop 1", "hop 2", "", "answer", ""])
        );

        let dealer = socket(SocketType::Dealer);
        let rep = py.socket(SocketType::Rep).await;
        link(&dealer, &rep, binder).await;
        send(&dealer, ["hop 1", "hop 2", "", "body"]).await;
        rep.echo(1).await;
        assert_eq!(recv(&dealer).await, Message::from(["hop 1", "hop 2", "", "body"]));
    }

    // pyzmq REQ - our ROUTER - our DEALER - pyzmq ROUTER - our REP, by hand.
    let (req, router) = (py.socket(SocketType::Req).await, socket(SocketType::Router));
    let (dealer, far) = (socket(SocketType::Dealer), py.socket(SocketType::Router).await);
    link(&router, &req, Binder::Ours).await;
    link(&dealer, &far, Binder::Theirs).await;
    req.send("ping").await;
    let request = recv(&router).await;
    assert_eq!((request.len(), &request[2]), (3, &b"ping"[..]));
    send(&dealer, request).await;
    let mut request = far.recv().await;
    assert_eq!(request.len(), 4);
    let _ = request.split_off(3);
    request.push_back("pong");
    far.send(request).await;
    let reply = recv(&dealer).await;
    send(&router, reply).await;
    assert_eq!(req.recv().await, Message::from("pong"));
}

#[tokio::test]
async fn a_malformed_reply_is_skipped() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = socket(SocketType::Req);
        let router = py.socket(SocketType::Router).await;
        link(&req, &router, binder).await;
        send(&req, "q").await;
        let request = router.recv().await;
        assert_eq!(
            (request.len(), &request[1], &request[2]),
            (3, &b""[..], &b"q"[..])
        );
        let id = &request[0];
        router.send([id, b"no delimiter"]).await;
        router.send([id, b"none", b"here", b"either"]).await;
        router.send([id, b""]).await;
        router.send([id, b"", b"good"]).await;
        let reply = recv(&req).await;
        // An empty part alone may be read as a delimiter without a body, or as an empty body; never as the answer.
        assert_eq!(reply, Message::from("good"));
        send(&req, "next").await;
        assert_eq!(router.recv().await[2], *b"next");
    }
}

#[tokio::test]
async fn a_malformed_request_is_skipped() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let rep = socket(SocketType::Rep);
        let dealer = py.socket(SocketType::Dealer).await;
        link(&rep, &dealer, binder).await;
        dealer.send(["no", "delimiter"]).await;
        dealer.send(["", "good"]).await;
        assert_eq!(recv(&rep).await, Message::from("good"));
        send(&rep, "answer").await;
        assert_eq!(dealer.recv().await, Message::from(["", "answer"]));
    }
}

#[tokio::test]
async fn correlation_rejects_a_wrong_number() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = socket_with(SocketType::Req, brisk().req_correlate(true));
        let router = py.socket(SocketType::Router).await;
        link(&req, &router, binder).await;
        send(&req, "q").await;
        let request = router.recv().await;
        assert_eq!(
            (request.len(), request[1].len(), &request[2]),
            (4, 4, &b""[..]),
            "[id, number, empty, body]"
        );
        let (id, number) = (&request[0], &request[1]);
        let wrong: Vec<u8> = number.iter().map(|byte| !byte).collect();
        router.send([id, &wrong, b"", b"wrong number"]).await;
        router.send([id, b"", b"no number"]).await;
        router.send([id, number, b"", b"right"]).await;
        assert_eq!(recv(&req).await, Message::from("right"));
        send(&req, "q").await;
        let next = router.recv().await;
        assert_ne!(&next[1], number, "a new number for a new request");

        // A plain REP gives the number back.
        let rep = py.socket(SocketType::Rep).await;
        let req = socket_with(SocketType::Req, brisk().req_correlate(true));
        link(&req, &rep, binder).await;
        send(&req, ["a", "b"]).await;
        rep.echo(1).await;
        assert_eq!(recv(&req).await, Message::from(["a", "b"]));

        // And so does ours to theirs.
        let rep = socket(SocketType::Rep);
        let req = py.socket_with(SocketType::Req, json!({"REQ_CORRELATE": 1})).await;
        link(&rep, &req, binder).await;
        req.send(["a", "b"]).await;
        assert_eq!(recv(&rep).await, Message::from(["a", "b"]));
        send(&rep, "c").await;
        assert_eq!(req.recv().await, Message::from("c"));
    }
}

#[tokio::test]
async fn a_relaxed_resend_discards_the_stale_reply() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let req = socket_with(SocketType::Req, brisk().req_relaxed(true).req_correlate(true));
        let router = py.socket(SocketType::Router).await;
        link(&req, &router, binder).await;
        send(&req, "first").await;
        let first = router.recv().await;
        send(&req, "second").await;
        let second = router.recv().await;
        assert_eq!((&first[3], &second[3]), (&b"first"[..], &b"second"[..]));
        router.send([&first[0], &first[1], b"", b"stale"]).await;
        router.send([&second[0], &second[1], b"", b"fresh"]).await;
        assert_eq!(recv(&req).await, Message::from("fresh"));

        // Theirs asks us.
        let router = socket(SocketType::Router);
        let req = py
            .socket_with(SocketType::Req, json!({"REQ_RELAXED": 1, "REQ_CORRELATE": 1}))
            .await;
        link(&router, &req, binder).await;
        req.send("first").await;
        let first = recv(&router).await;
        req.send("second").await;
        let second = recv(&router).await;
        send(&router, [&first[0], &first[1], b"", b"stale"]).await;
        send(&router, [&second[0], &second[1], b"", b"fresh"]).await;
        assert_eq!(req.recv().await, Message::from("fresh"));
    }
}

#[tokio::test]
async fn a_reply_to_a_gone_peer_does_not_fail() {
    let py = Pyzmq::start();
    let rep = socket(SocketType::Rep);
    let endpoint = bind(&rep).await;
    let gone = py.socket(SocketType::Req).await;
    gone.connect(&endpoint).await;
    gone.send("q").await;
    recv(&rep).await;
    gone.close(Duration::ZERO).await;
    peers(&rep, 0).await;
    send(&rep, "to nobody").await;
    let next = py.socket(SocketType::Req).await;
    next.connect(&endpoint).await;
    next.send("q2").await;
    assert_eq!(recv(&rep).await, Message::from("q2"));
    send(&rep, "a2").await;
    assert_eq!(next.recv().await, Message::from("a2"));

    // The other way round: our REQ goes, their REP lives on.
    let rep = py.socket(SocketType::Rep).await;
    let endpoint = rep.bind("tcp://127.0.0.1:*").await;
    let gone = socket(SocketType::Req);
    gone.connect(endpoint.as_str()).unwrap();
    send(&gone, "q").await;
    rep.recv().await;
    gone.close().await;
    rep.send("to nobody").await;
    let next = socket(SocketType::Req);
    next.connect(endpoint.as_str()).unwrap();
    send(&next, "q2").await;
    rep.echo(1).await;
    assert_eq!(recv(&next).await, Message::from("q2"));
}

#[tokio::test]
async fn a_request_lost_with_its_peer_is_an_error_and_not_a_hang() {
    let py = Pyzmq::start();
    let req = socket(SocketType::Req);
    let first = py.socket(SocketType::Rep).await;
    link(&req, &first, Binder::Theirs).await;
    send(&req, "q").await;
    first.recv().await;
    first.close(Duration::ZERO).await;
    match within("the loss to be told", req.recv()).await {
        Err(RecvError::PeerLost(peer)) => assert_eq!(peer.socket_type(), Some(SocketType::Rep)),
        other => panic!("{other:?}"),
    }
    let second = py.socket(SocketType::Rep).await;
    link(&req, &second, Binder::Theirs).await;
    // The endpoint that has gone still takes its turn: give up what it had.
    for endpoint in req
        .peers()
        .iter()
        .filter(|stats| !stats.ready)
        .map(|stats| stats.peer.endpoint().clone())
    {
        req.disconnect(endpoint).unwrap();
    }
    send(&req, "q2").await;
    second.echo(1).await;
    assert_eq!(recv(&req).await, Message::from("q2"));
}
