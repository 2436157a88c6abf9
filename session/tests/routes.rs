//! The way back to a peer of a ROUTER, without its routing id.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use flexbond_session::Message;
use flexbond_session::socket::{Dealer, Route, Router, SendErrorKind};
use harness::{brisk, until, within};

const MOST: NonZeroUsize = NonZeroUsize::new(100).unwrap();

async fn pair(router: &Router, endpoint: &str) -> Dealer {
    let endpoint = within("bind", router.bind(endpoint)).await.expect("bound");
    let dealer = Dealer::with_options(brisk()).expect("valid options");
    dealer.connect(&endpoint).expect("connecting");
    dealer
}

async fn batch(router: &Router) -> (Route, Vec<Message>) {
    let mut messages = Vec::new();
    let route = within("a batch", router.recv_batch(&mut messages, MOST))
        .await
        .expect("received");
    (route, messages)
}

async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn each_peers_messages_come_with_the_way_back_to_it() {
    let router = Router::with_options(brisk()).unwrap();
    let far = pair(&router, "tcp://127.0.0.1:0").await;
    let near = pair(&router, "inproc://routes-near").await;
    for (dealer, name) in [(&far, "far"), (&near, "near")] {
        for n in 0..3 {
            within("send", dealer.send([name.to_owned(), n.to_string()]))
                .await
                .unwrap();
        }
    }
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let (route, messages) = batch(&router).await;
        assert!(!messages.is_empty(), "a batch has a message");
        assert!(route.is_ready());
        for message in messages {
            assert_eq!(message.len(), 2, "no routing id in front");
            route.try_send(message.clone()).expect("room");
            seen.push((route.id(), message));
        }
    }
    // Polled for, there is a batch when a message has come, and none before.
    let mut messages = Vec::new();
    assert!(
        poll_once(|cx| router.poll_recv_batch(cx, &mut messages, MOST))
            .await
            .is_none()
    );
    within("send", near.send("one more")).await.unwrap();
    let polled = poll_fn(|cx| router.poll_recv_batch(cx, &mut messages, MOST));
    let route = within("a batch", polled).await.expect("received");
    assert_eq!((messages.len(), &messages[0][0]), (1, &b"one more"[..]));
    assert!(route.is_ready());
    for dealer in [&far, &near] {
        for n in 0..3 {
            let answer = within("an answer", dealer.recv()).await.unwrap();
            assert_eq!(&answer[1], n.to_string().as_bytes(), "in order");
        }
    }
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 2, "a way for each peer: {seen:?}");
    assert_eq!(router.stats().messages_sent, 6);
    assert_eq!(router.stats().messages_received, 7);
}

#[tokio::test]
async fn a_full_queue_says_when_there_is_room_again() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://routes-full"] {
        let router = Router::with_options(brisk().send_hwm(3).recv_hwm(1)).unwrap();
        let dealer = pair(&router, endpoint).await;
        within("send", dealer.send("hello")).await.unwrap();
        let (route, _) = batch(&router).await;
        let large = Message::from(vec![1_u8; 1 << 20]);
        let mut sent = 0;
        let back = loop {
            match route.try_send(large.clone()) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(*back.kind(), SendErrorKind::WouldBlock, "{endpoint}");
        let mut waiting = Some(back.into_message());
        let (done, ()) = tokio::join!(
            within("room", poll_fn(|cx| route.poll_send(cx, &mut waiting))),
            async {
                for _ in 0..=sent {
                    assert_eq!(within("a message", dealer.recv()).await.unwrap(), large);
                }
            }
        );
        done.expect("sent after all");
        assert!(waiting.is_none());
    }
}

#[tokio::test]
async fn a_way_says_how_much_waits_and_when_some_has_left() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://routes-waiting"] {
        let router = Router::with_options(brisk().send_hwm(100)).unwrap();
        let dealer = pair(&router, endpoint).await;
        within("send", dealer.send("hello")).await.unwrap();
        let (route, _) = batch(&router).await;
        assert_eq!(route.waiting(), 0);
        // More than the buffers of the system take: some of it waits here.
        let large = Message::from(vec![1_u8; 4 << 20]);
        for _ in 0..20 {
            route.try_send(large.clone()).expect("room");
        }
        let before = route.waiting();
        assert!((1..=20).contains(&before), "{endpoint}: {before}");
        let left = poll_fn(|cx| match route.poll_waiting(cx) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        });
        tokio::join!(within("their leaving", left), async {
            for _ in 0..20 {
                assert_eq!(within("a message", dealer.recv()).await.unwrap(), large);
            }
            // Over inproc what was taken last counts until there is nothing more.
            assert!(dealer.try_recv().is_err());
        });
        for _ in 0..20 {
            route.try_send(large.clone()).expect("room");
        }
        drop(dealer);
        let gone = poll_fn(|cx| match route.poll_waiting(cx) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        });
        within("nothing waits for who is gone", gone).await;
    }
}

#[tokio::test]
async fn a_way_ends_with_its_connection_and_is_not_that_of_the_next() {
    let router = Router::with_options(brisk()).unwrap();
    let dealer = pair(&router, "tcp://127.0.0.1:0").await;
    within("send", dealer.send("one")).await.unwrap();
    let (first, _) = batch(&router).await;
    first.end("as the test wants it");
    until("the end", || !first.is_ready()).await;
    within("send", dealer.send("two")).await.unwrap();
    let (second, messages) = batch(&router).await;
    assert_eq!(messages, [Message::from("two")]);
    assert_ne!(first.id(), second.id());
    until("the queue's end", || first.try_send("lost").is_err()).await;
    let error = first.try_send("lost").unwrap_err();
    assert!(matches!(error.kind(), SendErrorKind::Unreachable(_)), "{error}");
    assert_eq!(error.into_message(), Message::from("lost"));
    second.try_send("found").expect("room");
    assert_eq!(
        within("an answer", dealer.recv()).await.unwrap(),
        Message::from("found")
    );
    router.close().await;
    let error = second.try_send("late").unwrap_err();
    assert_eq!(*error.kind(), SendErrorKind::Closed);
}

#[tokio::test]
async fn there_is_a_way_to_a_peer_that_has_sent_nothing() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://routes-silent"] {
        let router = Router::with_options(brisk()).unwrap();
        let dealer = pair(&router, endpoint).await;
        until("the connection", || router.peers().iter().any(|peer| peer.ready)).await;
        let peer = router.peers().remove(0).peer;
        let route = router.route(&peer).expect("it is connected");
        assert_eq!(route.id(), peer.id());
        route.try_send("first").expect("room");
        assert_eq!(within("it", dealer.recv()).await.unwrap(), "first".into());
        drop(dealer);
        until("its end", || router.route(&peer).is_none()).await;
    }
}
