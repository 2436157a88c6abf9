//! The same behaviour over every transport, with our sockets on both sides.
#![cfg(any(feature = "inproc", feature = "ipc", feature = "tcp"))]

mod harness;

use std::time::{Duration, Instant};

use flexbond_session::socket::{
    Dealer, Options, Pair, Pub, Pull, Push, Rep, Req, Router, SendErrorKind, Sub, XPub, XSub,
};
use flexbond_session::{Endpoint, Message};
use futures_util::{SinkExt, StreamExt};
use harness::{brisk, number, numbered, until, within};

/// Endpoints of one scheme for one test.
struct Place {
    scheme: &'static str,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(scheme: &'static str) -> Place {
        Place {
            scheme,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Something to bind; names are unique across tests because the folder's is.
    fn named(&self, name: &str) -> String {
        let path = self.folder.path().join(name).display().to_string();
        match self.scheme {
            "tcp" => "tcp://127.0.0.1:0".to_owned(),
            "ipc" => format!("ipc://{path}"),
            "abstract" => format!("ipc://@{path}"),
            _ => format!("inproc://{path}"),
        }
    }

    /// Something to connect to before it is bound.
    fn vacant(&self, name: &str) -> String {
        if self.scheme == "tcp" {
            harness::vacant()
        } else {
            self.named(name)
        }
    }
}

macro_rules! linked {
    ($place:expr, $bound:expr, $connecting:expr) => {{
        let endpoint: Endpoint = within("bind", $bound.bind($place.named("linked"))).await.unwrap();
        $connecting.connect(&endpoint).unwrap();
        endpoint
    }};
}

async fn requests_are_answered(place: Place) {
    for turn in [false, true] {
        let (req, rep) = (Req::new(), Rep::new());
        if turn {
            linked!(place, req, rep);
        } else {
            linked!(place, rep, req);
        }
        for size in [0, 1, 63, 255, 256, 4096, 100_000] {
            let body = vec![7; size];
            within("send", req.send([&body[..], b""])).await.unwrap();
            let request = within("a request", rep.recv()).await.unwrap();
            assert_eq!(request, Message::from([&body[..], b""]));
            within("send", rep.send(request)).await.unwrap();
            assert_eq!(
                within("a reply", req.recv()).await.unwrap(),
                Message::from([&body[..], b""])
            );
        }
        within("close", req.close()).await;
        within("close", rep.close()).await;
    }
}

async fn envelopes_route(place: Place) {
    let router = Router::new();
    let dealer = Dealer::with_options(Options::new().routing_id(&b"dealer"[..])).unwrap();
    let endpoint = linked!(place, router, dealer);
    within("send", dealer.send(["a", "b"])).await.unwrap();
    assert_eq!(
        within("recv", router.recv()).await.unwrap(),
        Message::from(["dealer", "a", "b"])
    );
    within("send", router.send(["dealer", "c"])).await.unwrap();
    assert_eq!(within("recv", dealer.recv()).await.unwrap(), Message::from("c"));
    let req = Req::new();
    req.connect(&endpoint).unwrap();
    within("send", req.send("question")).await.unwrap();
    let request = within("recv", router.recv()).await.unwrap();
    assert_eq!(
        (request[0].len(), request[0][0], &request[1], &request[2]),
        (5, 0, &b""[..], &b"question"[..])
    );
    within("send", router.send([&request[0], b"", b"answer"]))
        .await
        .unwrap();
    assert_eq!(within("recv", req.recv()).await.unwrap(), Message::from("answer"));
}

async fn topics_filter(place: Place) {
    let (publisher, sub) = (XPub::new(), Sub::new());
    sub.subscribe("a").unwrap();
    let endpoint = linked!(place, publisher, sub);
    assert_eq!(
        within("recv", publisher.recv()).await.unwrap(),
        Message::from(b"\x01a")
    );
    let xsub = XSub::new();
    xsub.connect(&endpoint).unwrap();
    within("send", xsub.send(b"\x01b")).await.unwrap();
    assert_eq!(
        within("recv", publisher.recv()).await.unwrap(),
        Message::from(b"\x01b")
    );
    for text in ["a1", "b1", "c1", "a2", "b2"] {
        within("send", publisher.send(text)).await.unwrap();
    }
    for (a, b) in [("a1", "b1"), ("a2", "b2")] {
        assert_eq!(within("recv", sub.recv()).await.unwrap(), Message::from(a));
        assert_eq!(within("recv", xsub.recv()).await.unwrap(), Message::from(b));
    }
    sub.unsubscribe("a").unwrap();
    assert_eq!(
        within("recv", publisher.recv()).await.unwrap(),
        Message::from(b"\0a")
    );
    within("close", xsub.close()).await;
    assert_eq!(
        within("recv", publisher.recv()).await.unwrap(),
        Message::from(b"\0b")
    );

    // The publisher may be the one that connects.
    let (publisher, sub) = (Pub::new(), Sub::new());
    sub.subscribe("").unwrap();
    let endpoint = within("bind", sub.bind(place.named("sub"))).await.unwrap();
    publisher.connect(endpoint).unwrap();
    within("the first message", async {
        loop {
            publisher.send("x").await.unwrap();
            if tokio::time::timeout(Duration::from_millis(5), sub.recv())
                .await
                .is_ok()
            {
                return;
            }
        }
    })
    .await;
}

async fn subscriptions_are_exempt_from_the_mark(place: Place) {
    for early in [true, false] {
        let publisher = XPub::with_options(brisk().hwm(2)).unwrap();
        let sub = Sub::with_options(brisk().hwm(2)).unwrap();
        let topics: Vec<_> = (0..3000).map(|i| format!("{early} {i:04}")).collect();
        if early {
            topics.iter().for_each(|topic| sub.subscribe(topic).unwrap());
        }
        let endpoint = within("bind", publisher.bind(place.named(&early.to_string())))
            .await
            .unwrap();
        sub.connect(endpoint).unwrap();
        if !early {
            until("a peer", || sub.peers().iter().any(|peer| peer.ready)).await;
            topics.iter().for_each(|topic| sub.subscribe(topic).unwrap());
        }
        for _ in 0..3000 {
            assert_eq!(within("a subscription", publisher.recv()).await.unwrap()[0][0], 1);
        }
        within("send", publisher.send(&topics[2999][..])).await.unwrap();
        assert_eq!(
            within("recv", sub.recv()).await.unwrap(),
            Message::from(&topics[2999][..])
        );
    }
}

async fn work_is_shared(place: Place) {
    let push = Push::new();
    let endpoint = within("bind", push.bind(place.named("work"))).await.unwrap();
    let pulls = [Pull::new(), Pull::new(), Pull::new()];
    for pull in &pulls {
        pull.connect(&endpoint).unwrap();
    }
    until("three peers", || {
        push.peers().iter().filter(|peer| peer.ready).count() == 3
    })
    .await;
    for i in 0..300 {
        within("send", push.send(numbered(i, 8))).await.unwrap();
    }
    let mut all = Vec::new();
    for pull in &pulls {
        let mut last = None;
        for _ in 0..100 {
            let next = Some(number(&within("recv", pull.recv()).await.unwrap()[0]));
            assert!(next > last, "in order");
            last = next;
            all.extend(next);
        }
        assert!(pull.try_recv().is_err());
    }
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

async fn pairs_talk(place: Place) {
    let (one, two) = (Pair::new(), Pair::new());
    let endpoint = linked!(place, one, two);
    within("send", one.send(["", "a", ""])).await.unwrap();
    within("send", two.send("b")).await.unwrap();
    assert_eq!(
        within("recv", two.recv()).await.unwrap(),
        Message::from(["", "a", ""])
    );
    assert_eq!(within("recv", one.recv()).await.unwrap(), Message::from("b"));
    let third = Pair::with_options(brisk()).unwrap();
    third.connect(&endpoint).unwrap();
    for i in 0..20_u8 {
        within("send", one.send([i].as_slice())).await.unwrap();
        assert_eq!(
            within("recv", two.recv()).await.unwrap(),
            Message::from([i].as_slice())
        );
    }
    assert!(third.try_recv().is_err(), "a third is one too many");
}

async fn streams_and_sinks(place: Place) {
    let (mut push, mut pull) = (Push::new(), Pull::new());
    linked!(place, pull, push);
    for i in 0..100 {
        within("feed", push.feed(Message::from(numbered(i, 8))))
            .await
            .unwrap();
    }
    within("flush", SinkExt::<Message>::flush(&mut push))
        .await
        .unwrap();
    for i in 0..100 {
        let message = within("next", pull.next()).await.expect("open").unwrap();
        assert_eq!(number(&message[0]), i);
    }
    let handle = pull.clone();
    within("close", handle.close()).await;
    assert!(within("the end of the stream", pull.next()).await.is_none());
}

async fn connecting_may_come_first(place: Place) {
    let name = place.vacant("later");
    let push = Push::with_options(brisk().send_hwm(10_usize)).unwrap();
    push.connect(&name[..]).unwrap();
    for i in 0..10 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let error = push.try_send("one too many").unwrap_err();
    assert_eq!(*error.kind(), SendErrorKind::WouldBlock, "the mark is exact");
    assert_eq!(error.into_message(), Message::from("one too many"));
    let pull = Pull::new();
    within("bind", pull.bind(&name[..])).await.unwrap();
    for i in 0..10 {
        assert_eq!(number(&within("recv", pull.recv()).await.unwrap()[0]), i);
    }
    assert!(pull.try_recv().is_err());
}

async fn a_restarted_peer_is_found_again(place: Place) {
    let name = place.vacant("restarted");
    let push = Push::with_options(brisk()).unwrap();
    push.connect(&name[..]).unwrap();
    for i in 0..5 {
        let pull = Pull::with_options(brisk()).unwrap();
        within("bind", pull.bind(&name[..])).await.unwrap();
        within("send", push.send(numbered(i, 8))).await.unwrap();
        assert_eq!(
            number(&within("recv", pull.recv()).await.unwrap()[0]),
            i,
            "queued while nobody was there, too"
        );
        within("close", pull.close()).await;
        until("the loss to be noticed", || {
            push.peers().iter().all(|peer| !peer.ready)
        })
        .await;
    }
}

async fn endpoints_come_and_go(place: Place) {
    let pull = Pull::with_options(brisk()).unwrap();
    let first = within("bind", pull.bind(place.named("first"))).await.unwrap();
    let second = within("bind", pull.bind(place.named("second"))).await.unwrap();
    assert_eq!(pull.bound(), [first.clone(), second.clone()]);
    let push = Push::with_options(brisk()).unwrap();
    push.connect(&first).unwrap();
    push.connect(&second).unwrap();
    until("two peers", || {
        push.peers().iter().filter(|peer| peer.ready).count() == 2
    })
    .await;
    push.disconnect(&first).unwrap();
    until("one peer", || push.peers().len() == 1).await;
    assert!(push.disconnect(&first).is_err(), "not connected there any more");
    within("send", push.send("by the second")).await.unwrap();
    assert_eq!(
        within("recv", pull.recv()).await.unwrap(),
        Message::from("by the second")
    );

    within("unbind", pull.unbind(&first)).await.unwrap();
    assert_eq!(pull.bound(), std::slice::from_ref(&second));
    assert!(
        within("unbind", pull.unbind(&first)).await.is_err(),
        "not bound there any more"
    );
    // It is free for another.
    let other = Pull::with_options(brisk()).unwrap();
    within("bind", other.bind(&first)).await.unwrap();
    assert!(within("bind", other.bind(&second)).await.is_err(), "taken");
    push.connect(&first).unwrap();
    until("two peers", || {
        push.peers().iter().filter(|peer| peer.ready).count() == 2
    })
    .await;
    for i in 0..10 {
        within("send", push.send(numbered(i, 8))).await.unwrap();
    }
    for _ in 0..5 {
        within("recv", pull.recv()).await.unwrap();
        within("recv", other.recv()).await.unwrap();
    }
}

async fn linger_is_kept(place: Place) {
    let waiting = |linger: Option<Duration>, name: &str| {
        let push = Push::with_options(brisk().linger(linger)).unwrap();
        push.connect(&place.vacant(name)[..]).unwrap();
        for i in 0..7 {
            push.try_send(numbered(i, 8)).unwrap();
        }
        push
    };
    let start = Instant::now();
    assert_eq!(
        within("close", waiting(Some(Duration::ZERO), "zero").close())
            .await
            .undelivered,
        7
    );
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "zero: {:?}",
        start.elapsed()
    );

    let linger = Duration::from_millis(100);
    let start = Instant::now();
    assert_eq!(
        within("close", waiting(Some(linger), "finite").close())
            .await
            .undelivered,
        7
    );
    let waited = start.elapsed();
    assert!(
        waited >= linger && waited < Duration::from_secs(2),
        "finite: {waited:?}"
    );

    let name = place.vacant("infinite");
    let push = Push::with_options(brisk().linger(None)).unwrap();
    push.connect(&name[..]).unwrap();
    for i in 0..7 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    let closing = tokio::spawn(async move { push.close().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!closing.is_finished(), "nobody took the messages yet");
    let pull = Pull::new();
    within("bind", pull.bind(&name[..])).await.unwrap();
    for i in 0..7 {
        assert_eq!(number(&within("recv", pull.recv()).await.unwrap()[0]), i);
    }
    assert_eq!(within("close", closing).await.unwrap().undelivered, 0);
}

async fn the_last_handle_closes_in_the_background(place: Place) {
    let pull = Pull::new();
    let endpoint = within("bind", pull.bind(place.named("background")))
        .await
        .unwrap();
    let push = Push::new();
    push.connect(&endpoint).unwrap();
    for i in 0..500 {
        within("send", push.send(numbered(i, 1000))).await.unwrap();
    }
    drop(push);
    for i in 0..500 {
        assert_eq!(number(&within("recv", pull.recv()).await.unwrap()[0]), i);
    }
    until("the peer to go", || pull.peers().is_empty()).await;
}

async fn marks_are_kept(place: Place) {
    // Over a byte stream the kernel holds some; large messages keep that to a few.
    let (push, pull) = (
        Push::with_options(brisk().send_hwm(3_usize)).unwrap(),
        Pull::with_options(brisk().recv_hwm(5_usize)).unwrap(),
    );
    linked!(place, pull, push);
    until("a peer", || push.peers().iter().any(|peer| peer.ready)).await;
    let mut sent = 0;
    let mut refusals = 0;
    while refusals < 50 {
        match push.try_send(numbered(sent, 1 << 20)) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(*error.kind(), SendErrorKind::WouldBlock);
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(sent < 100, "never full");
    }
    assert!(sent >= 8, "both marks count: {sent}");
    if place.scheme == "inproc" {
        assert!(sent <= 8 + 1, "nothing is in between: {sent}");
    }
    for i in 0..sent {
        let message = within("recv", pull.recv()).await.unwrap();
        assert_eq!((number(&message[0]), message.size()), (i, 1 << 20));
    }
}

macro_rules! suite {
    ($($scheme:ident, $feature:literal: $($test:ident),*;)*) => {$(
        #[cfg(feature = $feature)]
        mod $scheme {
            use super::Place;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Place::new(super::scheme_of(module_path!()))).await;
                }
            )*
        }
    )*};
}

fn scheme_of(module: &'static str) -> &'static str {
    match module.rsplit("::").next() {
        Some("tcp") => "tcp",
        Some("ipc_path") => "ipc",
        Some("ipc_abstract") => "abstract",
        _ => "inproc",
    }
}

macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        suite! {
            tcp, "tcp": $($test),*;
            ipc_path, "ipc": $($test),*;
            ipc_abstract, "ipc": $($test),*;
            inproc, "inproc": $($test),*;
        }
    };
}

everywhere!(
    requests_are_answered,
    envelopes_route,
    topics_filter,
    subscriptions_are_exempt_from_the_mark,
    work_is_shared,
    pairs_talk,
    streams_and_sinks,
    connecting_may_come_first,
    a_restarted_peer_is_found_again,
    endpoints_come_and_go,
    linger_is_kept,
    the_last_handle_closes_in_the_background,
    marks_are_kept,
);
