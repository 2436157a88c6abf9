//! What a socket sends never keeps the other tasks of its runtime from running, nor its peers from taking it.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flexbond_session::socket::{Options, SendErrorKind, SocketType};
use harness::{bind, brisk, number, numbered, peers, recv, socket, socket_with, within};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Tokio's own way to yield leaves the sender with the worker: one that begins to block must let go of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sender_goes_on_while_its_receiver_blocks_the_worker() {
    const COUNT: u64 = 10_000;
    let (push, pull) = (socket(SocketType::Push), socket(SocketType::Pull));
    pull.bind("inproc://blocks").await.unwrap();
    push.connect("inproc://blocks").unwrap();
    peers(&push, 1).await;
    let both = tokio::spawn(async move {
        let receiving = tokio::spawn(async move {
            tokio::task::block_in_place(|| {
                Handle::current().block_on(async {
                    for n in 0..COUNT {
                        assert_eq!(number(&recv(&pull).await[0]), n);
                    }
                });
            });
        });
        for n in 0..COUNT {
            push.send(numbered(n, 256)).await.unwrap();
        }
        receiving.await.unwrap();
    });
    within("all messages", both).await.unwrap();
}

/// How many messages a ROUTER drops for two peers that take everything, one of them over tcp if `mixed`.
async fn dropped_by_router(options: Options, name: &str, mixed: bool, spawned: bool) -> u64 {
    const COUNT: u64 = 3000;
    const NAMES: [&str; 2] = ["a", "b"];
    let router = socket_with(SocketType::Router, options);
    let endpoint = format!("inproc://{name}-{mixed}-{spawned}");
    let mut endpoints = vec![router.bind(endpoint).await.unwrap(); 2];
    if mixed {
        endpoints[1] = bind(&router).await;
    }
    let mut receiving: Vec<JoinHandle<()>> = Vec::new();
    for (endpoint, name) in endpoints.iter().zip(NAMES) {
        let dealer = socket_with(SocketType::Dealer, brisk().routing_id(name.as_bytes()));
        dealer.connect(endpoint).unwrap();
        receiving.push(tokio::spawn(async move { while dealer.recv().await.is_ok() {} }));
    }
    peers(&router, 2).await;
    let sender = router.clone();
    let sending = async move {
        for n in 0..COUNT {
            for name in NAMES {
                let message = [name.as_bytes().to_vec(), numbered(n, 16)];
                sender.send(message).await.unwrap();
            }
        }
    };
    match spawned {
        true => tokio::spawn(sending).await.unwrap(),
        false => sending.await,
    }
    receiving.iter().for_each(JoinHandle::abort);
    router.stats().dropped
}

#[tokio::test]
async fn a_router_with_short_queues_drops_nothing_of_what_its_peers_take() {
    for hwm in [1_usize, 2, 3, 10, 100] {
        for (mixed, spawned) in [(false, false), (false, true), (true, false), (true, true)] {
            let dropped = dropped_by_router(brisk().hwm(hwm), &format!("short-{hwm}"), mixed, spawned).await;
            assert_eq!(dropped, 0, "mark {hwm}, mixed: {mixed}, spawned: {spawned}");
        }
    }
}

/// A task takes at most 128 messages before it is made to yield: a turn must not be longer than that.
#[tokio::test]
async fn a_router_with_the_usual_queues_drops_nothing_of_what_its_peers_take() {
    for (mixed, spawned) in [(false, false), (false, true), (true, false), (true, true)] {
        let dropped = dropped_by_router(brisk(), "usual", mixed, spawned).await;
        assert_eq!(dropped, 0, "mixed: {mixed}, spawned: {spawned}");
    }
}

#[tokio::test]
async fn a_publisher_with_the_usual_queues_drops_nothing_of_what_its_peers_take() {
    for spawned in [false, true] {
        let (publisher, subscriber) = (socket(SocketType::Pub), socket(SocketType::Sub));
        let endpoint = format!("inproc://usual-{spawned}");
        publisher.bind(&endpoint).await.unwrap();
        subscriber.subscribe("").unwrap();
        subscriber.connect(&endpoint).unwrap();
        let (first, mut subscribed) = oneshot::channel();
        let receiving = tokio::spawn(async move {
            recv(&subscriber).await;
            first.send(()).unwrap();
            while subscriber.recv().await.is_ok() {}
        });
        while subscribed.try_recv().is_err() {
            publisher.send("first").await.unwrap();
            tokio::task::yield_now().await;
        }
        let sender = publisher.clone();
        let sending = async move {
            for n in 0..5000 {
                sender.send(numbered(n, 16)).await.unwrap();
            }
        };
        match spawned {
            true => tokio::spawn(sending).await.unwrap(),
            false => sending.await,
        }
        receiving.abort();
        assert_eq!(publisher.stats().dropped, 0, "spawned: {spawned}");
    }
}

#[tokio::test]
async fn sends_that_fail_let_other_tasks_run() {
    let router = socket_with(SocketType::Router, brisk().router_mandatory(true));
    let ran = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&ran);
    tokio::spawn(async move { note.store(true, Ordering::Relaxed) });
    let mut failed = 0;
    while !ran.load(Ordering::Relaxed) {
        assert!(failed < 100_000, "nobody else ran during {failed} sends");
        let error = router.send(["peer", "text"]).await.unwrap_err();
        assert!(matches!(error.kind(), SendErrorKind::Unreachable(_)));
        failed += 1;
    }
}

/// Large messages that nobody wants take time to make: news of the peers must get through between a few of them.
#[tokio::test]
async fn a_publisher_that_nobody_listens_to_hears_of_a_subscription_soon() {
    let (publisher, subscriber) = (socket(SocketType::Pub), socket(SocketType::Sub));
    let endpoint = bind(&publisher).await;
    subscriber.subscribe("other").unwrap();
    subscriber.connect(endpoint).unwrap();
    peers(&publisher, 1).await;
    let found = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&found);
    let publishing = tokio::spawn(async move {
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        let mut published = 0;
        while !stop.load(Ordering::Relaxed) {
            publisher.send(body.clone()).await.unwrap();
            published += 1;
        }
        published
    });
    subscriber.subscribe("x").unwrap();
    recv(&subscriber).await;
    found.store(true, Ordering::Relaxed);
    let published = within("the publisher", publishing).await.unwrap();
    assert!(published < 10_000, "{published} messages of 1 MiB came before it");
}
