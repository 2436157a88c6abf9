//! DEALER and ROUTER with libzmq, in both roles and both bind directions.

mod harness;
mod interop;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{RouterNotify, SendErrorKind, SocketType};
use harness::{
    bind, brisk, number, numbered, peers, ready_peers, recv, recv_many, send, socket, socket_with, until,
    within, would_block,
};
use interop::{BINDERS, Binder, PySocket, Pyzmq, bytes, link};
use serde_json::json;

/// Connects so many sockets of this type to ours, each with a letter for its routing id.
async fn crowd(
    py: &Pyzmq,
    ours: &flexbond_session::socket::Socket,
    kind: SocketType,
    count: u8,
) -> Vec<(u8, String)> {
    let endpoint = bind(ours).await;
    let mut crowd = Vec::new();
    for letter in (b'a'..).take(usize::from(count)) {
        let theirs = py.socket_with(kind, json!({"ROUTING_ID": bytes([letter])})).await;
        theirs.connect(&endpoint).await;
        crowd.push((letter, theirs.name().to_owned()));
    }
    peers(ours, usize::from(count)).await;
    crowd
}

#[tokio::test]
async fn five_peers_are_queued_fairly() {
    let py = Pyzmq::start();
    for (ours_type, their_type) in [
        (SocketType::Router, SocketType::Dealer),
        (SocketType::Dealer, SocketType::Dealer),
        (SocketType::Pull, SocketType::Push),
    ] {
        let ours = socket(ours_type);
        let crowd = crowd(&py, &ours, their_type, 5).await;
        for (letter, name) in &crowd {
            let args = json!({
                "name": name, "first": 0, "count": 100, "size": 8, "prefix": [interop::hex(&[*letter])], "timeout": 5000
            });
            assert_eq!(py.call("send_numbered", args).await["sent"], 100);
        }
        // Everything is on its way; once all five have something waiting, they must take turns.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let messages = recv_many(&ours, 500).await;
        let letter = |message: &Message| message[message.len() - 2][0];
        for round in messages.chunks(5) {
            let heard: BTreeSet<u8> = round.iter().map(letter).collect();
            assert_eq!(
                heard.len(),
                5,
                "{ours_type}: a round without each of the five: {round:?}"
            );
        }
        let mut numbers: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        for message in &messages {
            numbers
                .entry(letter(message))
                .or_default()
                .push(number(&message[message.len() - 1]));
        }
        for (letter, numbers) in numbers {
            assert_eq!(
                numbers,
                (0..100).collect::<Vec<u64>>(),
                "{ours_type}: in order from {letter}"
            );
        }
    }
}

#[tokio::test]
async fn automatic_ids_are_unique_and_begin_with_zero() {
    let py = Pyzmq::start();
    let router = socket(SocketType::Router);
    let endpoint = bind(&router).await;
    let mut ids = BTreeSet::new();
    let mut dealers = Vec::new();
    for i in 0..5_u8 {
        let kind = if i % 2 == 0 {
            SocketType::Dealer
        } else {
            SocketType::Req
        };
        let dealer = py.socket(kind).await;
        dealer.connect(&endpoint).await;
        dealer.send([i].as_slice()).await;
        let message = recv(&router).await;
        assert_eq!(message[message.len() - 1], [i]);
        assert_eq!((message[0].len(), message[0][0]), (5, 0));
        assert!(ids.insert(message[0].to_vec()), "{ids:?}");
        dealers.push((message[0].to_vec(), dealer, kind));
    }
    for (id, dealer, kind) in &dealers {
        match kind {
            SocketType::Req => send(&router, [&id[..], b"", b"back"]).await,
            _ => send(&router, [&id[..], b"back"]).await,
        }
        assert_eq!(dealer.recv().await, Message::from("back"));
    }
    // A peer's own id is taken as it is.
    let named = py
        .socket_with(SocketType::Dealer, json!({"ROUTING_ID": bytes("named")}))
        .await;
    link(&router, &named, Binder::Theirs).await;
    named.send("x").await;
    assert_eq!(recv(&router).await, Message::from(["named", "x"]));
}

#[tokio::test]
async fn our_routing_id_is_known_to_their_router() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        for kind in [SocketType::Dealer, SocketType::Req, SocketType::Router] {
            let ours = socket_with(kind, brisk().routing_id(vec![7; 255]));
            let theirs = py
                .socket_with(SocketType::Router, json!({"ROUTING_ID": bytes("they")}))
                .await;
            link(&ours, &theirs, binder).await;
            match kind {
                SocketType::Router => send(&ours, ["they", "x"]).await,
                _ => send(&ours, "x").await,
            }
            let message = theirs.recv().await;
            assert_eq!(
                (&message[0], &message[message.len() - 1]),
                (&[7; 255][..], &b"x"[..]),
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn mandatory_an_unknown_peer_is_unreachable() {
    let py = Pyzmq::start();
    let router = socket_with(SocketType::Router, brisk().router_mandatory(true));
    let dealer = py
        .socket_with(SocketType::Dealer, json!({"ROUTING_ID": bytes("known")}))
        .await;
    link(&router, &dealer, Binder::Ours).await;
    let error = within("an error", router.send(["unknown", "x"]))
        .await
        .unwrap_err();
    assert_eq!(
        *error.kind(),
        SendErrorKind::Unreachable(b"unknown".as_slice().into())
    );
    assert_eq!(
        error.into_message(),
        Message::from(["unknown", "x"]),
        "it comes back whole"
    );
    send(&router, ["known", "x"]).await;
    assert_eq!(dealer.recv().await, Message::from("x"));
    dealer.close(Duration::ZERO).await;
    peers(&router, 0).await;
    let error = router.try_send(["known", "x"]).unwrap_err();
    assert_eq!(
        *error.kind(),
        SendErrorKind::Unreachable(b"known".as_slice().into())
    );

    // Not mandatory: dropped, and counted.
    let router = socket(SocketType::Router);
    send(&router, ["unknown", "x"]).await;
    assert_eq!(router.stats().dropped, 1);
}

#[tokio::test]
async fn mandatory_a_full_peer_would_block() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let router = socket_with(
            SocketType::Router,
            brisk()
                .router_mandatory(true)
                .send_hwm(2_usize)
                .send_buffer(65_536),
        );
        let options = json!({"ROUTING_ID": bytes("slow"), "RCVHWM": 1, "RCVBUF": 65_536});
        let dealer = py.socket_with(SocketType::Dealer, options).await;
        let quick = py
            .socket_with(SocketType::Dealer, json!({"ROUTING_ID": bytes("quick")}))
            .await;
        link(&router, &dealer, binder).await;
        link(&router, &quick, binder).await;
        let mut sent = 0;
        // What is in the kernel's hands grows for a while yet after the first refusal.
        let mut refusals = 0;
        while refusals < 50 {
            if would_block(&router, [&b"slow"[..], &numbered(sent, 65_536)]) {
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                sent += 1;
                assert!(sent < 1000, "never full");
            }
        }
        // Others are not concerned.
        send(&router, ["quick", "x"]).await;
        assert_eq!(quick.recv().await, Message::from("x"));
        // And it is a matter of time only.
        let (numbers, ()) = tokio::join!(dealer.drain_exactly(sent as usize + 1, 0), async {
            send(&router, [&b"slow"[..], &numbered(sent, 65_536)]).await;
        });
        assert_eq!(numbers, (0..=sent).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_routing_id_in_use_is_handed_over_if_so_told() {
    let py = Pyzmq::start();
    for handover in [false, true] {
        let router = socket_with(SocketType::Router, brisk().router_handover(handover));
        let endpoint = bind(&router).await;
        let options = json!({"ROUTING_ID": bytes("same")});
        let old = py.socket_with(SocketType::Dealer, options.clone()).await;
        old.connect(&endpoint).await;
        old.send("old").await;
        assert_eq!(recv(&router).await, Message::from(["same", "old"]));
        let new = py.socket_with(SocketType::Dealer, options).await;
        new.connect(&endpoint).await;
        new.send("new").await;
        if handover {
            assert_eq!(recv(&router).await, Message::from(["same", "new"]));
            send(&router, ["same", "x"]).await;
            assert_eq!(new.recv().await, Message::from("x"));
        } else {
            // The first goes on as if nothing had happened.
            for i in 0..5_u8 {
                old.send([i].as_slice()).await;
                assert_eq!(recv(&router).await, Message::from([&b"same"[..], &[i]]));
                send(&router, [&b"same"[..], &[i]]).await;
                assert_eq!(old.recv().await, Message::from([i].as_slice()));
            }
            assert_eq!(ready_peers(&router), 1);
        }
    }
}

#[tokio::test]
async fn their_router_takes_ours_over() {
    let py = Pyzmq::start();
    let router = py
        .socket_with(SocketType::Router, json!({"ROUTER_HANDOVER": 1}))
        .await;
    let endpoint = router.bind("tcp://127.0.0.1:*").await;
    let old = socket_with(SocketType::Dealer, brisk().routing_id(&b"same"[..]));
    old.connect(endpoint.as_str()).unwrap();
    send(&old, "old").await;
    router.recv().await;
    let new = socket_with(SocketType::Dealer, brisk().routing_id(&b"same"[..]));
    new.connect(endpoint.as_str()).unwrap();
    send(&new, "new").await;
    assert_eq!(router.recv().await, Message::from(["same", "new"]));
}

#[tokio::test]
async fn a_probe_is_an_empty_message() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        for kind in [SocketType::Dealer, SocketType::Router] {
            let ours = socket_with(kind, brisk().probe_router(true).routing_id(&b"me"[..]));
            let theirs = py.socket(SocketType::Router).await;
            link(&ours, &theirs, binder).await;
            assert_eq!(
                theirs.recv().await,
                Message::from(["me", ""]),
                "{kind} {binder:?}"
            );

            let ours = socket(SocketType::Router);
            let options = json!({"PROBE_ROUTER": 1, "ROUTING_ID": bytes("they")});
            let theirs = py.socket_with(kind, options).await;
            link(&ours, &theirs, binder).await;
            assert_eq!(
                recv(&ours).await,
                Message::from(["they", ""]),
                "{kind} {binder:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_router_tells_of_peers_that_come_and_go() {
    let py = Pyzmq::start();
    let router = socket_with(SocketType::Router, brisk().router_notify(RouterNotify::Both));
    let dealer = py
        .socket_with(SocketType::Dealer, json!({"ROUTING_ID": bytes("guest")}))
        .await;
    link(&router, &dealer, Binder::Ours).await;
    assert_eq!(recv(&router).await, Message::from(["guest", ""]));
    dealer.send("x").await;
    assert_eq!(recv(&router).await, Message::from(["guest", "x"]));
    dealer.close(Duration::ZERO).await;
    assert_eq!(recv(&router).await, Message::from(["guest", ""]));
}

#[tokio::test]
async fn the_connecting_side_may_name_its_peer() {
    let py = Pyzmq::start();
    for kind in [SocketType::Dealer, SocketType::Router] {
        let ours = socket_with(
            SocketType::Router,
            brisk()
                .connect_routing_id(&b"server"[..])
                .router_mandatory(true)
                .routing_id(&b"me"[..]),
        );
        let theirs = py
            .socket_with(kind, json!({"ROUTING_ID": bytes("its own name")}))
            .await;
        link(&ours, &theirs, Binder::Theirs).await;
        send(&ours, ["server", "x"]).await;
        match kind {
            SocketType::Router => {
                assert_eq!(theirs.recv().await, Message::from(["me", "x"]));
                theirs.send(["me", "y"]).await;
            }
            _ => {
                assert_eq!(theirs.recv().await, Message::from("x"));
                theirs.send("y").await;
            }
        }
        assert_eq!(recv(&ours).await, Message::from(["server", "y"]));
    }

    let ours = socket(SocketType::Router);
    let endpoint = bind(&ours).await;
    let theirs = py.socket(SocketType::Router).await;
    theirs.set("CONNECT_ROUTING_ID", bytes("server")).await;
    theirs.connect(&endpoint).await;
    peers(&ours, 1).await;
    theirs.send(["server", "x"]).await;
    let request = recv(&ours).await;
    send(&ours, [&request[0], b"y"]).await;
    assert_eq!(theirs.recv().await, Message::from(["server", "y"]));
}

#[tokio::test]
async fn a_send_waits_while_there_are_no_peers() {
    let py = Pyzmq::start();
    for (ours_type, their_type) in [
        (SocketType::Dealer, SocketType::Dealer),
        (SocketType::Push, SocketType::Pull),
        (SocketType::Req, SocketType::Rep),
        (SocketType::Pair, SocketType::Pair),
    ] {
        let short = Duration::from_millis(20);
        let hasty = socket_with(ours_type, brisk().send_timeout(short));
        bind(&hasty).await;
        let error = within("the send timeout", hasty.send("x")).await.unwrap_err();
        assert_eq!(*error.kind(), SendErrorKind::Timeout(short), "{ours_type}");
        assert_eq!(error.into_message(), Message::from("x"));

        for binder in BINDERS {
            let ours = socket(ours_type);
            bind(&ours).await;
            assert!(would_block(&ours, "x"), "{ours_type}");
            let theirs = py.socket(their_type).await;
            let (sent, ()) = tokio::join!(
                within("a peer to send to", ours.send("x")),
                link(&ours, &theirs, binder)
            );
            sent.unwrap();
            assert_eq!(theirs.recv().await, Message::from("x"));
        }
    }
}

#[tokio::test]
async fn dealers_share_the_load() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let ours = socket(SocketType::Dealer);
        let mut theirs: Vec<PySocket<'_>> = Vec::new();
        for _ in 0..3 {
            let dealer = py.socket(SocketType::Dealer).await;
            link(&ours, &dealer, binder).await;
            theirs.push(dealer);
        }
        for i in 0..30 {
            send(&ours, numbered(i, 8)).await;
        }
        for dealer in &theirs {
            assert_eq!(dealer.drain_exactly(10, 0).await.len(), 10);
        }
        until("nothing queued", || {
            ours.peers().iter().all(|peer| peer.queued == 0)
        })
        .await;
    }
}
