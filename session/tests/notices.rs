//! Notices of a ROUTER: they tell of every peer that came or went, in this order, and of nobody else.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;

use flexbond_session::Message;
use flexbond_session::socket::{RouterNotify, SocketType};
use harness::{brisk, disconnected, handshake_failed, idle, peers, recv, socket_with, within};

#[tokio::test]
async fn nothing_is_said_of_a_peer_that_was_refused() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://strangers"] {
        let router = socket_with(SocketType::Router, brisk().router_notify(RouterNotify::Both));
        let mut monitor = router.monitor();
        let endpoint = within("bind", router.bind(endpoint)).await.unwrap();
        let wrong = socket_with(SocketType::Push, brisk().reconnect_interval(None));
        wrong.connect(&endpoint).unwrap();
        handshake_failed(&mut monitor).await;
        let dealer = socket_with(SocketType::Dealer, brisk().routing_id("A"));
        dealer.connect(&endpoint).unwrap();
        assert_eq!(recv(&router).await, Message::from(["A", ""]), "comes");
        within("close", dealer.close()).await;
        assert_eq!(recv(&router).await, Message::from(["A", ""]), "goes");
        disconnected(&mut monitor).await;
        assert!(idle(&router));
    }
}

#[tokio::test]
async fn after_a_handover_nobody_is_said_to_have_gone() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://handover"] {
        let options = brisk()
            .router_handover(true)
            .router_notify(RouterNotify::Disconnect);
        let router = socket_with(SocketType::Router, options);
        let endpoint = within("bind", router.bind(endpoint)).await.unwrap();
        let only_once = || brisk().routing_id("A").reconnect_interval(None);
        let old = socket_with(SocketType::Dealer, only_once());
        old.connect(&endpoint).unwrap();
        peers(&router, 1).await;
        let mut monitor = router.monitor();
        let new = socket_with(SocketType::Dealer, only_once());
        new.connect(&endpoint).unwrap();
        disconnected(&mut monitor).await;
        peers(&new, 1).await;
        router.try_send(["A", "hello"]).unwrap();
        assert_eq!(recv(&new).await, Message::from("hello"), "A is there");
        assert!(idle(&router));
        within("close", new.close()).await;
        assert_eq!(recv(&router).await, Message::from(["A", ""]), "gone now");
        disconnected(&mut monitor).await;
        assert!(idle(&router));
    }
}
