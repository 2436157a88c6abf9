//! Servers that end: who is told, and what becomes of calls that came too late to begin.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flexbond_rpc::Server;
use flexbond_rpc::envelope::{Envelope, Kind, Method};
use flexbond_rpc::server::Options;
use flexbond_session::socket;
use harness::{Seen, until, within};
use serving::{Raw, Serving, failure_kind, request};

/// A peer that says that it knows of servers that drain.
fn knowing() -> socket::Options {
    let mut options = socket::Options::new();
    options.metadata.push(("X-Flexbond-Rpc".to_owned(), "1".into()));
    options
}

async fn calls_that_were_received_already_are_refused_and_not_thrown_away() {
    for options in [socket::Options::new(), knowing()] {
        let seen: Arc<Seen> = Arc::default();
        let server = Server::new(harness::methods(&seen));
        let endpoint = within("bind", server.bind(serving::nearby())).await.unwrap();
        let raw = Raw::connect(&endpoint, options);
        for call in 0..300 {
            raw.send(&request(call, "note", "null")).await;
        }
        for _ in 0..3 {
            let note = Method::new("note").expect("a name");
            raw.send(&Envelope::one_way(0, note, "null")).await;
        }
        // It is to end before it has read anything.
        let ending = tokio::spawn(server.run_until(ready(())));
        let mut refused = 0;
        while refused < 300 {
            let answer = raw.recv().await;
            if answer.header.kind != Kind::Draining {
                assert_eq!(answer.header.call, refused);
                assert_eq!(failure_kind(&answer), "unavailable");
                refused += 1;
            }
        }
        drop(raw);
        let stopped = within("the end", ending).await.unwrap();
        assert_eq!((stopped.stats.refused, stopped.stats.calls), (303, 0));
        assert_eq!(seen.noted.load(Ordering::SeqCst), 0);
    }
}

async fn who_was_told_may_still_ask_and_cannot_hold_up_the_end() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = Raw::connect(&server.endpoint, knowing());
    assert!(raw.is_all().await);
    let ending = tokio::spawn(server.stop());
    assert_eq!(raw.recv().await.header.kind, Kind::Draining);
    raw.send(&request(1, "note", "null")).await;
    assert_eq!(failure_kind(&raw.recv().await), "unavailable");
    // It stays.
    let stopped = within("the end", ending).await.unwrap();
    assert_eq!((stopped.stats.refused, stopped.aborted), (1, 0));
    drop(raw);
}

async fn who_has_sent_nothing_yet_is_told_too() {
    for endpoint in serving::everywhere() {
        let seen: Arc<Seen> = Arc::default();
        let server = Serving::start(harness::methods(&seen), &endpoint, Options::new()).await;
        let silent = Raw::connect(&server.endpoint, knowing());
        let client = server.client();
        let last = tokio::spawn(async move { client.call::<_, String>("wait", &()).await });
        until("the last call", || seen.begun.load(Ordering::SeqCst) == 1).await;
        until("both connections", || {
            silent.dealer.peers().iter().any(|peer| peer.ready)
        })
        .await;
        let ending = tokio::spawn(server.stop());
        assert_eq!(silent.recv().await.header.kind, Kind::Draining);
        drop(silent);
        seen.go.notify_waiters();
        assert_eq!(within("it", last).await.unwrap().unwrap(), "gone on");
        assert_eq!(within("the end", ending).await.unwrap().aborted, 0);
    }
}

serving::on_both! {
    calls_that_were_received_already_are_refused_and_not_thrown_away,
    who_was_told_may_still_ask_and_cannot_hold_up_the_end,
    who_has_sent_nothing_yet_is_told_too,
}
