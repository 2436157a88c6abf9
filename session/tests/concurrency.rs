//! Many tasks share one socket: no message is lost or doubled, and nobody sleeps through a wake-up.
#![cfg(all(feature = "tcp", feature = "ipc", feature = "inproc"))]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Options, SlowPeer, Socket, SocketType};
use harness::{number, numbered, socket_with, within};

const SCHEMES: [&str; 3] = ["tcp", "ipc", "inproc"];

fn place(scheme: &str, folder: &tempfile::TempDir, name: &str) -> String {
    let path = folder.path().join(name).display().to_string();
    match scheme {
        "tcp" => "tcp://127.0.0.1:0".to_owned(),
        _ => format!("{scheme}://{path}"),
    }
}

fn tight(hwm: usize) -> Options {
    Options::new().hwm(hwm).linger(Duration::ZERO)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_senders_and_four_receivers_share_two_sockets() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in SCHEMES {
        for hwm in [1_usize, 2, 1000] {
            let (push, pull) = (
                socket_with(SocketType::Push, tight(hwm)),
                socket_with(SocketType::Pull, tight(hwm)),
            );
            let endpoint = pull
                .bind(place(scheme, &folder, &format!("four-{hwm}")))
                .await
                .unwrap();
            push.connect(&endpoint).unwrap();
            const EACH: u64 = 2000;
            let left = Arc::new(AtomicU64::new(4 * EACH));
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let (pull, left) = (pull.clone(), Arc::clone(&left));
                    tokio::spawn(async move {
                        let mut got = Vec::new();
                        while left.load(Ordering::SeqCst) > 0 {
                            // The last message goes to one of the four; the others must not wait for ever.
                            match tokio::time::timeout(Duration::from_millis(50), pull.recv()).await {
                                Ok(message) => {
                                    got.push(number(&message.unwrap()[0]));
                                    left.fetch_sub(1, Ordering::SeqCst);
                                }
                                Err(_) => continue,
                            }
                        }
                        got
                    })
                })
                .collect();
            let senders: Vec<_> = (0..4)
                .map(|sender| {
                    let push = push.clone();
                    tokio::spawn(async move {
                        for i in 0..EACH {
                            push.send(numbered(sender * EACH + i, 64)).await.unwrap();
                        }
                    })
                })
                .collect();
            let what = format!("the senders over {scheme} with a mark of {hwm}");
            for sender in senders {
                within(&what, sender).await.unwrap();
            }
            let mut all = Vec::new();
            for receiver in receivers {
                all.extend(within(&what, receiver).await.unwrap());
            }
            all.sort_unstable();
            assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>(), "{scheme} {hwm}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_publisher_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in SCHEMES {
        let xpub = socket_with(SocketType::XPub, tight(2).slow_peer(SlowPeer::Wait));
        let endpoint = xpub.bind(place(scheme, &folder, "publisher")).await.unwrap();
        let subs: Vec<Socket> = (0..3).map(|_| socket_with(SocketType::Sub, tight(2))).collect();
        for sub in &subs {
            sub.subscribe("all").unwrap();
            sub.connect(&endpoint).unwrap();
        }
        within("the subscriptions to be known", async {
            let mut heard = [false; 3];
            while heard != [true; 3] {
                xpub.send("all: hello").await.unwrap();
                for (sub, heard) in subs.iter().zip(&mut heard) {
                    if let Ok(message) = tokio::time::timeout(Duration::from_millis(20), sub.recv()).await {
                        assert_eq!(message.unwrap(), Message::from("all: hello"));
                        *heard = true;
                    }
                }
            }
        })
        .await;
        const COUNT: u64 = 1000;
        let readers: Vec<_> = subs
            .into_iter()
            .map(|sub| {
                tokio::spawn(async move {
                    let mut next = 0;
                    while next < COUNT {
                        let message = sub.recv().await.unwrap();
                        if message.len() == 2 {
                            assert_eq!(number(&message[1]), next);
                            next += 1;
                        }
                    }
                })
            })
            .collect();
        let publisher = xpub.clone();
        let sending = tokio::spawn(async move {
            for i in 0..COUNT {
                // Some are given up and made again.
                while tokio::time::timeout(
                    Duration::from_micros(50),
                    publisher.send(Message::from([&b"all"[..], &numbered(i, 64)])),
                )
                .await
                .is_err()
                {}
            }
        });
        within("the publisher", sending).await.unwrap();
        for reader in readers {
            within("a subscriber", reader).await.unwrap();
        }
        assert_eq!(xpub.stats().dropped, 0, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requesters_and_one_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in SCHEMES {
        let router = socket_with(SocketType::Router, tight(1000));
        let endpoint = router.bind(place(scheme, &folder, "answers")).await.unwrap();
        // Two tasks serve one ROUTER.
        for _ in 0..2 {
            let router = router.clone();
            tokio::spawn(async move {
                while let Ok(request) = router.recv().await {
                    if router.send(request).await.is_err() {
                        return;
                    }
                }
            });
        }
        let requesters: Vec<_> = (0..50_u64)
            .map(|i| {
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    let req = socket_with(SocketType::Req, tight(1));
                    req.connect(&endpoint).unwrap();
                    for j in 0..40 {
                        let body = numbered(i * 1000 + j, 8 + (j as usize) * 50);
                        req.send(body.clone()).await.unwrap();
                        assert_eq!(req.recv().await.unwrap(), Message::from(body));
                    }
                    req.close().await;
                })
            })
            .collect();
        for requester in requesters {
            within(&format!("a requester over {scheme}"), requester)
                .await
                .unwrap();
        }
        within("close", router.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_come_and_go_while_messages_flow() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in SCHEMES {
        // Pullers connect, take some messages, read their queue to its end, and leave; each message goes to one of
        // them or is counted as dropped with its peer.
        let push = socket_with(SocketType::Push, tight(5));
        let endpoint = push.bind(place(scheme, &folder, "coming")).await.unwrap();
        let sender = push.clone();
        let sending = tokio::spawn(async move {
            let mut count = 0_u64;
            while sender.send(numbered(count, 32)).await.is_ok() {
                count += 1;
            }
            count
        });
        let mut got = Vec::new();
        for _ in 0..100 {
            let pull = socket_with(SocketType::Pull, tight(5));
            pull.connect(&endpoint).unwrap();
            for _ in 0..10 {
                got.push(number(&within("a message", pull.recv()).await.unwrap()[0]));
            }
            within("close", pull.close()).await;
        }
        within("close", push.close()).await;
        let count = within("the sender", sending).await.unwrap();
        assert!(got.len() == 1000 && got.iter().all(|number| *number < count));
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), 1000, "{scheme}: none twice");
    }
}
