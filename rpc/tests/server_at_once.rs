//! Calls that end when their handlers are polled first: where they run, and that nothing else is different.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flexbond_rpc::envelope::Kind;
use flexbond_rpc::server::Options;
use flexbond_rpc::{CallError, Failure, FailureKind, Methods, Server};
use flexbond_session::socket;
use harness::{Seen, until, within};
use serving::{Raw, Serving, failure_kind, request};
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;

/// The task that this runs in.
fn task() -> Option<String> {
    tokio::task::try_id().map(|id| id.to_string())
}

/// Methods that say in which task they run: at once, and after they waited.
fn tasks() -> Methods {
    Methods::new()
        .add("now", async |()| Ok::<_, Failure>(task()))
        .and_then(|methods| {
            methods.add("later", async |()| {
                let before = task();
                tokio::task::yield_now().await;
                Ok::<_, Failure>((before, task()))
            })
        })
        .expect("names of their own")
}

type Place = Option<String>;

#[tokio::test]
async fn on_one_thread_a_call_that_ends_at_once_needs_no_task() {
    let server = Serving::of(tasks()).await;
    let client = server.client();
    let first: Place = within("a call", client.call("now", &())).await.unwrap();
    let second: Place = within("a call", client.call("now", &())).await.unwrap();
    assert!(first.is_some());
    assert_eq!(first, second);
    let (begun, ended): (Place, Place) = within("a call", client.call("later", &())).await.unwrap();
    assert_eq!(begun, first, "it is tried, too");
    assert_ne!(ended, first, "and goes on elsewhere");
    assert_eq!(server.stop().await.stats.calls, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_more_each_call_has_a_task() {
    let server = Serving::of(tasks()).await;
    let client = server.client();
    let first: Place = within("a call", client.call("now", &())).await.unwrap();
    let second: Place = within("a call", client.call("now", &())).await.unwrap();
    assert!(first.is_some() && second.is_some());
    assert_ne!(first, second);
}

#[tokio::test]
async fn what_fails_or_panics_at_once_is_told_and_counted() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let client = server.client();
    for round in 1..=3 {
        let failed = client.call::<_, ()>("fail", &(7, "no"));
        let Err(CallError::Failure(failure)) = within("a failure", failed).await else {
            panic!("it fails");
        };
        assert_eq!(failure.kind(), FailureKind::Failed);
        let panics = client.call::<_, ()>("panic", &"at once");
        let Err(CallError::Failure(failure)) = within("a panic", panics).await else {
            panic!("it panics");
        };
        assert_eq!(failure.kind(), FailureKind::Panicked);
        assert!(failure.to_string().contains("at once"), "{failure}");
        let stats = server.stats();
        assert_eq!(
            (stats.calls, stats.failures, stats.panics),
            (2 * round, 2 * round, round)
        );
        assert_eq!(stats.in_flight, 0);
    }
}

#[tokio::test]
async fn one_way_calls_run_at_once_and_are_not_answered() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let client = server.client();
    for _ in 0..20 {
        let sent = client.method("note").one_way(&());
        within("it to be sent", sent).await.unwrap();
    }
    until("all to run", || seen.noted.load(Ordering::SeqCst) == 20).await;
    let stopped = server.stop().await;
    assert_eq!((stopped.stats.calls, stopped.stats.failures), (20, 0));
}

#[tokio::test]
async fn a_call_that_waits_is_counted_cancelled_and_drained_as_ever() {
    let seen: Arc<Seen> = Arc::default();
    let mut options = Options::new();
    options.max_in_flight = 2;
    let server = Serving::start(harness::methods(&seen), "inproc://waits-after-its-trial", options).await;
    let client = server.client();
    let hang = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, ()>("hang", &()).await }
    });
    until("it to begin", || seen.begun.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.stats().in_flight, 1);
    // The last place serves one call after the other.
    for _ in 0..5 {
        let echo = client.call::<_, String>("echo", &"x");
        assert_eq!(within("an echo", echo).await.unwrap(), "x");
    }
    hang.abort();
    until("its work to stop", || seen.dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.stats().cancelled, 1);
    let wait = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, String>("wait", &()).await }
    });
    until("it to begin", || seen.begun.load(Ordering::SeqCst) == 2).await;
    let stopping = tokio::spawn(server.stop());
    seen.go.notify_one();
    assert_eq!(within("its answer", wait).await.unwrap().unwrap(), "gone on");
    assert_eq!(within("the end", stopping).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn a_service_that_is_not_ready_gets_the_call_when_it_is() {
    let seen: Arc<Seen> = Arc::default();
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(harness::methods(&seen));
    let server = Serving::of(service).await;
    let client = server.client();
    let wait = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, String>("wait", &()).await }
    });
    until("it to begin", || seen.begun.load(Ordering::SeqCst) == 1).await;
    let echo = tokio::spawn(async move { client.call::<_, String>("echo", &"after it").await });
    until("both to be under way", || server.stats().in_flight == 2).await;
    seen.go.notify_one();
    assert_eq!(within("the first", wait).await.unwrap().unwrap(), "gone on");
    assert_eq!(within("the second", echo).await.unwrap().unwrap(), "after it");
}

/// Keeps the thread for longer than handlers may in one turn.
fn keep_the_thread(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn other_tasks_have_their_turn_between_the_calls_of_many_connections() {
    let turns = Arc::new(AtomicUsize::new(0));
    let (told, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let seen = Arc::clone(&turns);
    let methods = Methods::new()
        .add("slow", move |()| {
            told.send((task(), seen.load(Ordering::SeqCst)))
                .expect("the test lives");
            keep_the_thread(Duration::from_millis(2));
            async { Ok::<_, Failure>(()) }
        })
        .unwrap();
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind("inproc://turns-between-calls"))
        .await
        .unwrap();
    // All have called before the server looks.
    let peers = [(); 4].map(|()| Raw::connect(&endpoint, socket::Options::new()));
    for peer in &peers {
        peer.send(&request(1, "slow", "null")).await;
    }
    let other = tokio::spawn(async move {
        loop {
            turns.fetch_add(1, Ordering::SeqCst);
            // There is always something to run, and it waits for nobody but its turn.
            tokio::spawn(async {}).await.expect("it does nothing");
        }
    });
    let running = tokio::spawn(server.run());
    let first = within("a call", begun.recv()).await.unwrap();
    let mut last = first.1;
    for _ in 1..peers.len() {
        let (task, turn) = within("a call", begun.recv()).await.unwrap();
        assert_eq!(task, first.0, "it is tried at once");
        assert!(turn > last, "nobody else had a turn");
        last = turn;
    }
    other.abort();
    running.abort();
}

#[tokio::test]
async fn a_call_whose_deadline_passed_while_others_were_tried_does_not_run() {
    let seen: Arc<Seen> = Arc::default();
    let methods = harness::methods(&seen)
        .add("slow", async |()| {
            keep_the_thread(Duration::from_millis(20));
            Ok::<_, Failure>(())
        })
        .unwrap();
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind("inproc://late-behind-slow"))
        .await
        .unwrap();
    let raw = Raw::connect(&endpoint, socket::Options::new());
    raw.send(&request(1, "slow", "null")).await;
    let late = request(2, "note", "null").with_deadline(Duration::from_millis(5));
    raw.send(&late).await;
    let running = tokio::spawn(server.run());
    assert_eq!(raw.recv().await.header.kind, Kind::Response);
    assert_eq!(failure_kind(&raw.recv().await), "deadline_exceeded");
    assert_eq!(seen.noted.load(Ordering::SeqCst), 0);
    running.abort();
}
