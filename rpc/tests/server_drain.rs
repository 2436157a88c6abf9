//! Servers that end: who is told, and what becomes of calls that came too late to begin.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Envelope, Flags, Kind, Method};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Failure, FailureKind, Methods, Server};
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
        let (end, told) = tokio::sync::oneshot::channel::<()>();
        let dealer = raw.dealer.clone();
        // Sent by the server's own task, to a connection that stands: they are there before it reads any, and it ends
        // before that.
        let ending = tokio::spawn(server.run_until(async move {
            let _ = told.await;
            let send = |envelope: &Envelope| {
                let message = envelope.encode().expect("an envelope");
                dealer.try_send(message).expect("room");
            };
            for call in 0..300 {
                send(&request(call, "note", "null"));
            }
            for _ in 0..3 {
                let note = Method::new("note").expect("a name");
                send(&Envelope::one_way(0, note, "null"));
            }
        }));
        assert!(raw.is_all().await);
        end.send(()).expect("it runs");
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

async fn calls_that_take_too_long_are_answered() {
    for endpoint in serving::everywhere() {
        let seen: Arc<Seen> = Arc::default();
        let options = Options::new().drain_timeout(Duration::ZERO);
        let server = Serving::start(harness::methods(&seen), &endpoint, options).await;
        let raw = server.raw();
        // One whose answer is far off, and one whose caller gives leave for no more than an item.
        raw.send(&request(1, "hang", "null")).await;
        let stream = request(2, "count", "9").with_flags(Flags::STREAM).with_count(1);
        raw.send(&stream).await;
        assert_eq!(raw.recv().await.header.kind, Kind::StreamItem);
        let hang = Method::new("hang").expect("a name");
        raw.send(&Envelope::one_way(0, hang, "null").with_codec(Codec::Json))
            .await;
        let client = server.client();
        let called = tokio::spawn(async move { client.call::<_, ()>("hang", &()).await });
        until("all calls", || seen.begun.load(Ordering::SeqCst) == 3).await;
        let stopped = server.stop().await;
        assert_eq!((stopped.aborted, stopped.undelivered), (4, 0));
        let mut answered = [raw.recv().await, raw.recv().await].map(|answer| {
            assert_eq!(failure_kind(&answer), "cancelled");
            answer.header.call
        });
        answered.sort_unstable();
        assert_eq!(answered, [1, 2]);
        let error = within("its end", called).await.unwrap().unwrap_err();
        let kind = error.failure().map(Failure::kind);
        assert_eq!(
            (kind, error.may_have_run()),
            (Some(FailureKind::Cancelled), true),
            "{error}"
        );
        until("the ends of the handlers", || {
            seen.dropped.load(Ordering::SeqCst) == 3
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_those_are_answered_whose_handlers_never_wait() {
    let (go, gone_on) = std::sync::mpsc::channel::<()>();
    let gone_on = Arc::new(std::sync::Mutex::new(gone_on));
    let seen: Arc<Seen> = Arc::default();
    let begun = Arc::clone(&seen);
    let methods = Methods::new()
        .add("block", move |()| {
            begun.begun.fetch_add(1, Ordering::SeqCst);
            let _ = gone_on.lock().expect("nobody panicked").recv();
            async { Ok::<_, Failure>(()) }
        })
        .expect("a name");
    let options = Options::new().drain_timeout(Duration::ZERO);
    let server = Serving::start(methods, "tcp://127.0.0.1:0", options).await;
    let raw = server.raw();
    raw.send(&request(1, "block", "null")).await;
    until("the call", || seen.begun.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.stop().await.aborted, 1);
    assert_eq!(failure_kind(&raw.recv().await), "cancelled");
    drop(go);
}

#[tokio::test(start_paused = true)]
async fn who_reads_is_told_of_all_its_stopped_calls_however_few_answers_may_wait() {
    const CALLS: u64 = 2000;
    let seen: Arc<Seen> = Arc::default();
    let mut options = Options::new().max_unread(10).drain_timeout(Duration::ZERO);
    options.socket = options.socket.send_hwm(100_usize);
    let server = Server::with_options(harness::methods(&seen), options).expect("valid options");
    let endpoint = within("bind", server.bind(serving::nearby())).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    let raw = Raw::connect(&endpoint, socket::Options::new().recv_hwm(100_usize));
    for call in 0..CALLS {
        raw.send(&request(call, "hang", "null")).await;
    }
    while seen.begun.load(Ordering::SeqCst) < CALLS as usize {
        tokio::task::yield_now().await;
    }
    let _ = stop.send(());
    let mut answered = Vec::new();
    while answered.len() < CALLS as usize {
        let answer = within("an answer", raw.dealer.recv()).await.expect("an answer");
        let answer = Envelope::decode(answer).expect("an envelope");
        assert_eq!(failure_kind(&answer), "cancelled");
        answered.push(answer.header.call);
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..CALLS));
    let stopped = running.await.expect("no panic");
    assert_eq!((stopped.aborted, stopped.undelivered), (CALLS, 0));
    assert_eq!(stopped.stats.slow_peers, 0);
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_answers_does_not_hold_up_the_end_of_stopped_calls() {
    const LIMIT: Duration = Duration::from_secs(30);
    const LINGER: Duration = Duration::from_secs(5);
    let seen: Arc<Seen> = Arc::default();
    // However few may wait otherwise: all count.
    let mut options = Options::new().drain_timeout(LIMIT).max_unread(10);
    options.socket = options.socket.send_hwm(1_usize).linger(LINGER);
    let server = Server::with_options(harness::methods(&seen), options).expect("valid options");
    let endpoint = within("bind", server.bind(serving::nearby())).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    let raw = Raw::connect(&endpoint, socket::Options::new().recv_hwm(1_usize));
    for call in 0..100 {
        raw.send(&request(call, "hang", "null")).await;
    }
    // No time passes while anybody can go on.
    while seen.begun.load(Ordering::SeqCst) < 100 {
        tokio::task::yield_now().await;
    }
    let start = tokio::time::Instant::now();
    let _ = stop.send(());
    let stopped = running.await.expect("no panic");
    let took = start.elapsed();
    assert!(
        took >= LIMIT && took <= LIMIT + Duration::from_secs(1) + LINGER,
        "{took:?}"
    );
    assert_eq!(stopped.aborted, 100);
    // The socket of the peer takes one or two.
    assert!((98..=99).contains(&stopped.undelivered), "{stopped:?}");
    drop(raw);
}

serving::on_both! {
    calls_that_take_too_long_are_answered,
    calls_that_were_received_already_are_refused_and_not_thrown_away,
    who_was_told_may_still_ask_and_cannot_hold_up_the_end,
    who_has_sent_nothing_yet_is_told_too,
}
