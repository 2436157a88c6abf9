//! PUB, SUB, XPUB and XSUB with libzmq, in both roles and both bind directions.

mod harness;
mod interop;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{SlowPeer, Socket, SocketType, XpubVerbosity};
use harness::{
    bind, brisk, idle, number, numbered, peers, recv, recv_many, send, socket, socket_with, would_block,
};
use interop::{BINDERS, Binder, PySocket, Pyzmq, bytes, join, link};
use serde_json::json;

const SOON: Duration = Duration::from_millis(300);

/// Waits until our XPUB was asked for `topic`.
async fn asked(xpub: &Socket, topic: impl AsRef<[u8]>) {
    assert_eq!(recv(xpub).await, Message::from([&[1], topic.as_ref()].concat()));
}

/// Waits until their XPUB was asked for `topic`.
async fn asked_them(xpub: &PySocket<'_>, topic: impl AsRef<[u8]>) {
    assert_eq!(xpub.recv().await, Message::from([&[1], topic.as_ref()].concat()));
}

#[tokio::test]
async fn topics_are_prefixes_and_the_empty_one_is_all() {
    let py = Pyzmq::start();
    let all = ["", "a", "ab", "abc", "b"];
    for binder in BINDERS {
        for (topic, expected) in [
            ("", &all[..]),
            ("a", &all[1..4]),
            ("ab", &all[2..4]),
            ("abcd", &[]),
        ] {
            let xpub = socket(SocketType::XPub);
            let sub = py.socket(SocketType::Sub).await;
            sub.subscribe(topic).await;
            link(&xpub, &sub, binder).await;
            asked(&xpub, topic).await;
            sub.subscribe("end").await;
            if !topic.is_empty() {
                asked(&xpub, "end").await;
            }
            for text in all {
                // Only the first part counts.
                send(&xpub, [text, "abcd"]).await;
            }
            send(&xpub, "end").await;
            for text in expected {
                assert_eq!(sub.recv().await, Message::from([text, "abcd"]));
            }
            assert_eq!(sub.recv().await, Message::from("end"));

            let xpub = py.socket(SocketType::XPub).await;
            let sub = socket(SocketType::Sub);
            sub.subscribe(topic).unwrap();
            link(&sub, &xpub, binder).await;
            asked_them(&xpub, topic).await;
            sub.subscribe("end").unwrap();
            asked_them(&xpub, "end").await;
            for text in all {
                xpub.send([text, "abcd"]).await;
            }
            xpub.send("end").await;
            for text in expected {
                assert_eq!(recv(&sub).await, Message::from([*text, "abcd"]));
            }
            assert_eq!(recv(&sub).await, Message::from("end"));
        }
    }
}

#[tokio::test]
async fn pub_and_sub_filter_without_the_x() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let publisher = socket(SocketType::Pub);
        let sub = py.socket(SocketType::Sub).await;
        sub.subscribe("go").await;
        link(&publisher, &sub, binder).await;
        // A PUB does not tell of subscriptions: publish until the first is heard.
        let hearing = sub.recv();
        tokio::pin!(hearing);
        loop {
            send(&publisher, "stay").await;
            send(&publisher, "go").await;
            let pause = tokio::time::sleep(Duration::from_millis(5));
            tokio::select! {
                message = &mut hearing => {
                    assert_eq!(message, Message::from("go"));
                    break;
                }
                () = pause => {}
            }
        }
        assert_eq!(
            publisher.stats().dropped,
            0,
            "what nobody asked for is not dropped"
        );

        let publisher = py.socket(SocketType::Pub).await;
        let sub = socket(SocketType::Sub);
        sub.subscribe("go").unwrap();
        link(&sub, &publisher, binder).await;
        let mut tries = 0;
        while idle_or(&sub, "go") {
            publisher.send("stay").await;
            publisher.send("go").await;
            tries += 1;
            assert!(tries < 1000, "nothing heard");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn idle_or(sub: &Socket, expected: &str) -> bool {
    match sub.try_recv() {
        Ok(message) => {
            assert_eq!(message, Message::from(expected));
            false
        }
        Err(_) => true,
    }
}

#[tokio::test]
async fn overlapping_topics_deliver_once() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let xpub = socket(SocketType::XPub);
        let sub = py.socket(SocketType::Sub).await;
        for topic in ["a", "ab", "", "abc"] {
            sub.subscribe(topic).await;
        }
        link(&xpub, &sub, binder).await;
        for _ in 0..4 {
            recv(&xpub).await;
        }
        send(&xpub, "abcd").await;
        send(&xpub, "end").await;
        assert_eq!(
            sub.recv_many(2).await,
            [Message::from("abcd"), Message::from("end")]
        );
        // Counted, not merely noted: it takes as many cancellations.
        sub.subscribe("a").await;
        sub.unsubscribe("").await;
        sub.unsubscribe("a").await;
        assert_eq!(recv(&xpub).await, Message::from(b"\0"));
        send(&xpub, "x").await;
        send(&xpub, "axe").await;
        assert_eq!(sub.recv().await, Message::from("axe"));

        let xpub = py
            .socket_with(SocketType::XPub, json!({"XPUB_VERBOSER": 1}))
            .await;
        let sub = socket(SocketType::Sub);
        for topic in ["a", "ab", "", "abc"] {
            sub.subscribe(topic).unwrap();
        }
        link(&sub, &xpub, binder).await;
        let mut topics: Vec<_> = xpub
            .recv_many(4)
            .await
            .iter()
            .map(|message| message[0].to_vec())
            .collect();
        topics.sort();
        assert_eq!(
            topics,
            [&b"\x01"[..], b"\x01a", b"\x01ab", b"\x01abc"].map(<[u8]>::to_vec)
        );
        xpub.send("abcd").await;
        xpub.send("end").await;
        assert_eq!(
            recv_many(&sub, 2).await,
            [Message::from("abcd"), Message::from("end")]
        );
        sub.subscribe("a").unwrap();
        sub.unsubscribe("").unwrap();
        sub.unsubscribe("a").unwrap();
        // Whether the second "a" was told or not, the cancellation of "" was, and that of "a" was not.
        let mut heard = xpub.recv().await;
        if heard == Message::from(b"\x01a") {
            heard = xpub.recv().await;
        }
        assert_eq!(heard, Message::from(b"\0"));
        xpub.send("x").await;
        xpub.send("axe").await;
        assert_eq!(recv(&sub).await, Message::from("axe"));
        sub.unsubscribe("a").unwrap();
        assert_eq!(xpub.recv().await, Message::from(b"\0a"));
    }
}

#[tokio::test]
async fn an_xpub_tells_as_much_as_it_is_asked_to() {
    let py = Pyzmq::start();
    for (verbosity, subscriptions, cancellations) in [
        (XpubVerbosity::Changes, 1, 1),
        (XpubVerbosity::Verbose, 2, 1),
        (XpubVerbosity::Verboser, 2, 2),
    ] {
        let xpub = socket_with(SocketType::XPub, brisk().xpub_verbosity(verbosity));
        let endpoint = bind(&xpub).await;
        let (one, two) = (py.socket(SocketType::Sub).await, py.socket(SocketType::Sub).await);
        for (i, sub) in [&one, &two].into_iter().enumerate() {
            sub.connect(&endpoint).await;
            peers(&xpub, i + 1).await;
        }
        // A topic of its own after each step shows that the step was seen.
        let mut heard = Vec::new();
        for (sub, mark) in [(&one, "1"), (&two, "2")] {
            sub.subscribe("t").await;
            sub.subscribe(mark).await;
            collect(&xpub, &mut heard, &format!("\x01{mark}")).await;
        }
        assert_eq!(heard, vec!["\x01t"; subscriptions], "{verbosity:?}");
        heard.clear();
        for (sub, mark) in [(&one, "1"), (&two, "2")] {
            sub.unsubscribe("t").await;
            sub.unsubscribe(mark).await;
            collect(&xpub, &mut heard, &format!("\0{mark}")).await;
        }
        assert_eq!(heard, vec!["\0t"; cancellations], "{verbosity:?}");

        // And their XPUB with two of ours.
        let options = match verbosity {
            XpubVerbosity::Verbose => json!({"XPUB_VERBOSE": 1}),
            XpubVerbosity::Verboser => json!({"XPUB_VERBOSER": 1}),
            _ => json!({}),
        };
        let xpub = py.socket_with(SocketType::XPub, options).await;
        let endpoint = xpub.bind("tcp://127.0.0.1:*").await;
        let (one, two) = (socket(SocketType::Sub), socket(SocketType::Sub));
        for sub in [&one, &two] {
            sub.connect(endpoint.as_str()).unwrap();
            peers(sub, 1).await;
        }
        let mut heard = Vec::new();
        for (sub, mark) in [(&one, "1"), (&two, "2")] {
            sub.subscribe("t").unwrap();
            sub.subscribe(mark).unwrap();
            collect_theirs(&xpub, &mut heard, &format!("\x01{mark}")).await;
        }
        assert_eq!(heard, vec!["\x01t"; subscriptions], "{verbosity:?}");
        heard.clear();
        for (sub, mark) in [(&one, "1"), (&two, "2")] {
            sub.unsubscribe("t").unwrap();
            sub.unsubscribe(mark).unwrap();
            collect_theirs(&xpub, &mut heard, &format!("\0{mark}")).await;
        }
        assert_eq!(heard, vec!["\0t"; cancellations], "{verbosity:?}");
    }
}

async fn collect(xpub: &Socket, heard: &mut Vec<String>, end: &str) {
    loop {
        let text = String::from_utf8(recv(xpub).await[0].to_vec()).unwrap();
        if text == end {
            return;
        }
        heard.push(text);
    }
}

async fn collect_theirs(xpub: &PySocket<'_>, heard: &mut Vec<String>, end: &str) {
    loop {
        let text = String::from_utf8(xpub.recv().await[0].to_vec()).unwrap();
        if text == end {
            return;
        }
        heard.push(text);
    }
}

#[tokio::test]
async fn a_lost_subscriber_is_a_cancellation() {
    let py = Pyzmq::start();
    let xpub = socket(SocketType::XPub);
    let sub = py.socket(SocketType::Sub).await;
    sub.subscribe("t").await;
    link(&xpub, &sub, Binder::Ours).await;
    asked(&xpub, "t").await;
    sub.close(Duration::ZERO).await;
    assert_eq!(recv(&xpub).await, Message::from(b"\0t"));

    let xpub = py.socket(SocketType::XPub).await;
    let sub = socket(SocketType::Sub);
    sub.subscribe("t").unwrap();
    link(&sub, &xpub, Binder::Theirs).await;
    asked_them(&xpub, "t").await;
    sub.close().await;
    assert_eq!(xpub.recv().await, Message::from(b"\0t"));
}

#[tokio::test]
async fn messages_of_an_xsub_reach_the_xpub() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let xpub = socket(SocketType::XPub);
        let xsub = py.socket(SocketType::XSub).await;
        link(&xpub, &xsub, binder).await;
        xsub.send(b"\x01t").await;
        asked(&xpub, "t").await;
        xsub.send("upstream").await;
        assert_eq!(recv(&xpub).await, Message::from("upstream"));
        send(&xpub, "text").await;
        assert_eq!(xsub.recv().await, Message::from("text"));

        let xpub = py.socket(SocketType::XPub).await;
        let xsub = socket(SocketType::XSub);
        link(&xsub, &xpub, binder).await;
        send(&xsub, b"\x01t").await;
        asked_them(&xpub, "t").await;
        send(&xsub, "upstream").await;
        assert_eq!(xpub.recv().await, Message::from("upstream"));
        xpub.send("text").await;
        assert_eq!(recv(&xsub).await, Message::from("text"));
        send(&xsub, b"\0t").await;
        assert_eq!(xpub.recv().await, Message::from(b"\0t"));
    }
}

#[tokio::test]
async fn in_manual_mode_the_application_decides() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let xpub = socket_with(SocketType::XPub, brisk().xpub_manual(true));
        // An XSUB of libzmq delivers whatever it is sent; its SUB would filter once more.
        let xsub = py.socket(SocketType::XSub).await;
        link(&xpub, &xsub, binder).await;
        xsub.send(b"\x01wish").await;
        asked(&xpub, "wish").await;
        xpub.subscribe("grant").unwrap();
        send(&xpub, "wish").await;
        send(&xpub, "grant").await;
        assert_eq!(xsub.recv().await, Message::from("grant"));
        xsub.send(b"\0wish").await;
        assert_eq!(recv(&xpub).await, Message::from(b"\0wish"));
        xpub.unsubscribe("grant").unwrap();
        xpub.subscribe("end").unwrap();
        send(&xpub, "grant").await;
        send(&xpub, "end").await;
        assert_eq!(xsub.recv().await, Message::from("end"));

        let xpub = py.socket_with(SocketType::XPub, json!({"XPUB_MANUAL": 1})).await;
        let xsub = socket(SocketType::XSub);
        link(&xsub, &xpub, binder).await;
        send(&xsub, b"\x01wish").await;
        asked_them(&xpub, "wish").await;
        xpub.subscribe("grant").await;
        xpub.send("wish").await;
        xpub.send("grant").await;
        assert_eq!(recv(&xsub).await, Message::from("grant"));
    }
}

#[tokio::test]
async fn without_drops_a_full_subscriber_would_block() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let options = brisk()
            .slow_peer(SlowPeer::Wait)
            .send_hwm(2_usize)
            .send_buffer(65_536);
        let xpub = socket_with(SocketType::XPub, options);
        let sub = py
            .socket_with(SocketType::Sub, json!({"RCVHWM": 1, "RCVBUF": 65_536}))
            .await;
        sub.subscribe("").await;
        link(&xpub, &sub, binder).await;
        asked(&xpub, "").await;
        let mut sent = 0;
        let mut refusals = 0;
        while refusals < 50 {
            if would_block(&xpub, numbered(sent, 65_536)) {
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                sent += 1;
                assert!(sent < 1000, "never full");
            }
        }
        let (numbers, ()) = tokio::join!(
            sub.drain_exactly(sent as usize + 1, 0),
            send(&xpub, numbered(sent, 65_536))
        );
        assert_eq!(numbers, (0..=sent).collect::<Vec<_>>(), "nothing lost");
        assert_eq!(xpub.stats().dropped, 0);
    }
}

#[tokio::test]
async fn a_full_subscriber_loses_the_newest_or_the_oldest() {
    let py = Pyzmq::start();
    for (policy, kept) in [(SlowPeer::DropNewest, 0), (SlowPeer::DropOldest, 999)] {
        let options = brisk().slow_peer(policy).send_hwm(4_usize).send_buffer(65_536);
        let xpub = socket_with(SocketType::XPub, options);
        let sub = py
            .socket_with(SocketType::Sub, json!({"RCVHWM": 1, "RCVBUF": 65_536}))
            .await;
        sub.subscribe("").await;
        link(&xpub, &sub, Binder::Ours).await;
        asked(&xpub, "").await;
        for i in 0..1000 {
            send(&xpub, numbered(i, 65_536)).await;
        }
        let numbers = sub.drain(SOON, 0).await;
        assert!(numbers.contains(&kept), "{policy:?}: {numbers:?}");
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "{policy:?}: {numbers:?}"
        );
        assert_eq!(
            numbers.len() as u64 + xpub.stats().dropped,
            1000,
            "each is delivered or counted"
        );
        assert_eq!(
            xpub.peers()[0].dropped,
            xpub.stats().dropped,
            "and counted at its peer"
        );
    }
}

#[tokio::test]
async fn a_welcome_comes_first() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let xpub = socket_with(
            SocketType::XPub,
            brisk().xpub_welcome(bytes::Bytes::from_static(b"welcome")),
        );
        let sub = py.socket(SocketType::Sub).await;
        sub.subscribe("").await;
        link(&xpub, &sub, binder).await;
        asked(&xpub, "").await;
        send(&xpub, "news").await;
        assert_eq!(
            sub.recv_many(2).await,
            [Message::from("welcome"), Message::from("news")]
        );

        let xpub = py
            .socket_with(SocketType::XPub, json!({"XPUB_WELCOME_MSG": bytes("welcome")}))
            .await;
        let sub = socket(SocketType::Sub);
        sub.subscribe("").unwrap();
        link(&sub, &xpub, binder).await;
        asked_them(&xpub, "").await;
        xpub.send("news").await;
        assert_eq!(
            recv_many(&sub, 2).await,
            [Message::from("welcome"), Message::from("news")]
        );
    }
}

#[tokio::test]
async fn topics_around_the_edge_of_a_short_frame() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        for size in [0, 1, 244, 245, 246, 247, 248, 249, 253, 254, 255, 256, 257, 1000] {
            let topic = vec![b't'; size];
            let text = [&topic[..], b"x"].concat();

            let xpub = socket(SocketType::XPub);
            let sub = py.socket(SocketType::Sub).await;
            sub.subscribe(&topic).await;
            link(&xpub, &sub, binder).await;
            asked(&xpub, &topic).await;
            send(&xpub, &text[..]).await;
            assert_eq!(sub.recv().await, Message::from(&text[..]), "{size}");
            sub.unsubscribe(&topic).await;
            assert_eq!(
                recv(&xpub).await,
                Message::from([&[0], &topic[..]].concat()),
                "{size}"
            );

            let xpub = py.socket(SocketType::XPub).await;
            let sub = socket(SocketType::Sub);
            link(&sub, &xpub, binder).await;
            sub.subscribe(&topic).unwrap();
            asked_them(&xpub, &topic).await;
            xpub.send(&text[..]).await;
            assert_eq!(recv(&sub).await, Message::from(&text[..]), "{size}");
            sub.unsubscribe(&topic).unwrap();
            assert_eq!(
                xpub.recv().await,
                Message::from([&[0], &topic[..]].concat()),
                "{size}"
            );
        }
    }
}

#[tokio::test]
async fn conflation_keeps_the_last() {
    let py = Pyzmq::start();
    // What we send, while nobody is there to take it.
    let endpoint = harness::vacant();
    let push = socket_with(SocketType::Push, brisk().conflate(true));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..100 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let pull = py.socket(SocketType::Pull).await;
    pull.bind(&endpoint).await;
    assert_eq!(number(&pull.recv().await[0]), 99);

    for binder in BINDERS {
        for (ours_type, their_type) in [
            (SocketType::Pull, SocketType::Push),
            (SocketType::Sub, SocketType::XPub),
        ] {
            // What we receive, while nobody reads it.
            let ours = socket_with(ours_type, brisk().conflate(true));
            let theirs = py.socket(their_type).await;
            if ours_type == SocketType::Sub {
                ours.subscribe("").unwrap();
            }
            link(&ours, &theirs, binder).await;
            if ours_type == SocketType::Sub {
                asked_them(&theirs, "").await;
            }
            theirs.send_numbered(0, 100, 8, Duration::from_secs(5)).await;
            tokio::time::sleep(SOON).await;
            assert_eq!(number(&recv(&ours).await[0]), 99, "{ours_type} {binder:?}");
            assert!(idle(&ours));
        }
        // Theirs conflates what ours sends.
        let push = socket(SocketType::Push);
        let pull = py.socket_with(SocketType::Pull, json!({"CONFLATE": 1})).await;
        link(&push, &pull, binder).await;
        for i in 0..100 {
            send(&push, numbered(i, 8)).await;
        }
        let mut last = number(&pull.recv().await[0]);
        while last != 99 {
            let next = number(&pull.recv().await[0]);
            assert!(next > last);
            last = next;
        }
    }
}

#[tokio::test]
async fn subscriptions_are_made_again_after_a_reconnect_beyond_the_mark() {
    let py = Pyzmq::start();
    let xpub = py.socket(SocketType::XPub).await;
    let endpoint = xpub.bind("tcp://127.0.0.1:*").await;
    let sub = socket_with(SocketType::Sub, brisk().send_hwm(1_usize));
    for i in 0..3000 {
        sub.subscribe(format!("topic {i:04}")).unwrap();
    }
    sub.connect(endpoint.as_str()).unwrap();
    for _ in 0..2 {
        let messages = xpub.recv_many(3000).await;
        assert!(messages.iter().all(|message| message[0][0] == 1));
        xpub.send("topic 2999: text").await;
        assert_eq!(recv(&sub).await, Message::from("topic 2999: text"));
        // The peer ends the connection, and takes it up again.
        if sub.stats().reconnects == 0 {
            xpub.unbind(&endpoint).await;
            peers(&sub, 0).await;
            assert_eq!(xpub.recv_many(3000).await.len(), 3000, "cancellations");
            let args = json!({"name": xpub.name(), "endpoint": endpoint});
            until_bound(&py, args).await;
        }
    }
}

async fn until_bound(py: &Pyzmq, args: serde_json::Value) {
    harness::within("the port to be free again", async {
        while py.try_call("bind", args.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn inverted_matching_is_inverted() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let publisher = socket_with(SocketType::XPub, brisk().invert_matching(true));
        let sub = py
            .socket_with(SocketType::Sub, json!({"INVERT_MATCHING": 1}))
            .await;
        sub.subscribe("no").await;
        join(&publisher, &sub, binder).await;
        asked(&publisher, "no").await;
        send(&publisher, "no news").await;
        send(&publisher, "good news").await;
        assert_eq!(sub.recv().await, Message::from("good news"));
    }
}
