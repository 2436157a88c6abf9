//! The work of calls: that it ends with its caller, its deadline and its server, and what becomes of its panics.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Envelope, Flags, Kind};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Failure, FailureKind, Incoming, Methods, Request, Response};
use futures_util::{StreamExt, stream};
use harness::{Seen, client, until, within};
use serving::{Serving, failure_kind, header, request};
use tower::Service;

async fn a_call_has_one_answer_whatever_else_comes_with_its_number() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = server.raw();
    for call in [0, 5] {
        let begun = seen.begun.load(Ordering::SeqCst);
        raw.send(&request(call, "wait", "null")).await;
        until("its begin", || seen.begun.load(Ordering::SeqCst) == begun + 1).await;
        let before = server.stats().malformed;
        // The same number again, kinds that a server does not take, and what cannot be read.
        raw.send(&request(call, "echo", "\"x\"")).await;
        raw.send(&request(call, "none", "\"x\"")).await;
        raw.send(&Envelope::response(call, "x")).await;
        raw.send_message([header(Kind::Request, call), Vec::new(), Vec::new()])
            .await;
        let unread = match call {
            // No number at all counts as this one.
            0 => vec![0xff_u8; 3],
            _ => header(Kind::Request, call),
        };
        raw.send_message(unread).await;
        raw.send(&Envelope::stream_item(call, 0, "x")).await;
        raw.send(&Envelope::stream_end(call, 7)).await;
        raw.send(&Envelope::credit(call, u32::MAX)).await;
        assert!(raw.is_all().await, "nothing was answered");
        assert_eq!(server.stats().malformed, before + 5);
        seen.go.notify_waiters();
        let answer = raw.recv().await;
        assert_eq!((answer.header.kind, answer.header.call), (Kind::Response, call));
        // With the answer the number is free.
        raw.send(&request(call, "echo", "\"again\"")).await;
        assert_eq!(&raw.recv().await.body[..], b"\"again\"");
        assert!(raw.is_all().await);
    }
}

async fn a_cancelled_call_is_answered_no_more_and_its_number_is_free() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = server.raw();
    for n in 1..=20 {
        raw.send(&request(1, "hang", "null")).await;
        raw.send(&Envelope::cancel(1)).await;
        raw.send(&request(1, "echo", &n.to_string().replace(char::is_numeric, "1")))
            .await;
        // The echo takes texts: its answer is an error, and it is the only one.
        assert_eq!(failure_kind(&raw.recv().await), "bad_arguments");
        assert!(raw.is_all().await);
    }
    until("their end", || server.stats().in_flight == 0).await;
    assert_eq!(server.stats().cancelled, 20);
    assert_eq!(
        seen.dropped.load(Ordering::SeqCst),
        seen.begun.load(Ordering::SeqCst)
    );
}

async fn a_deadline_that_is_over_runs_nothing_and_one_that_passes_stops_the_work() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = server.raw();
    for call in 0..50 {
        raw.send(&request(call, "note", "null").with_deadline(Duration::ZERO))
            .await;
        assert_eq!(failure_kind(&raw.recv().await), "deadline_exceeded");
    }
    assert_eq!(seen.noted.load(Ordering::SeqCst), 0);
    assert_eq!(server.stats().refused, 50);

    let soon = Duration::from_millis(30);
    raw.send(&request(1, "hang", "null").with_deadline(soon)).await;
    assert_eq!(failure_kind(&raw.recv().await), "deadline_exceeded");
    assert_eq!(
        seen.dropped.load(Ordering::SeqCst),
        1,
        "it was dropped before that was said"
    );
    // A stream whose reader gives no leave, and one that never ends.
    for leave in [0, u32::MAX] {
        let stream = request(2, "count", "4294967295")
            .with_flags(Flags::STREAM)
            .with_count(leave)
            .with_deadline(soon);
        raw.send(&stream).await;
        let last = loop {
            let answer = raw.recv().await;
            if answer.header.kind != Kind::StreamItem {
                break answer;
            }
        };
        assert_eq!(failure_kind(&last), "deadline_exceeded");
    }
    assert!(raw.is_all().await);
    until("the end of all calls", || server.stats().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_keeps_its_caller_only() {
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = shared(blocked);
    let methods = Methods::new()
        .add("block", move |()| {
            let blocked = Arc::clone(&blocked);
            async move {
                let _ = blocked.lock().expect("nobody panics").recv();
                Ok::<_, Failure>(())
            }
        })
        .and_then(|methods| methods.add("echo", async |text: String| Ok::<_, Failure>(text)))
        .unwrap();
    let server = Serving::of(methods).await;
    let caller = server.client();
    let late = caller.method("block").timeout(Duration::from_millis(50));
    let error = within("it", late.value::<_, ()>(&())).await.unwrap_err();
    assert!(error.may_have_run());
    assert_eq!(server.stats().in_flight, 1, "nothing can stop it");
    unblock.send(()).unwrap();
    let other = server.client();
    assert_eq!(
        within("an echo", other.call::<_, String>("echo", &"x"))
            .await
            .unwrap(),
        "x"
    );
    until("its end", || server.stats().in_flight == 0).await;
}

fn shared<T>(value: T) -> Arc<std::sync::Mutex<T>> {
    Arc::new(std::sync::Mutex::new(value))
}

async fn panics_are_answered_wherever_they_come_from() {
    let items = |n: u32| {
        stream::iter(0..n).map(move |at| {
            assert!(at + 1 < n, "item {at}");
            Ok::<_, Failure>(at)
        })
    };
    let methods = Methods::new()
        .add("text", async |()| -> Result<(), Failure> {
            let what = "a text";
            panic!("{what}")
        })
        .and_then(|methods| {
            methods.add("other", async |()| -> Result<(), Failure> {
                std::panic::panic_any(42_u8)
            })
        })
        .and_then(|methods| {
            methods.add("early", |()| -> std::future::Ready<Result<(), Failure>> {
                panic!("before its future")
            })
        })
        .and_then(|methods| methods.add("drop", |()| Trap(false)))
        .and_then(|methods| {
            methods.add_stream("item", move |n: u32| {
                let items = items(n);
                async move { Ok::<_, Failure>(items) }
            })
        })
        .unwrap();
    let server = Serving::of(methods).await;
    let client = server.client();
    let mut count = 0;
    for (method, text) in [
        ("text", "a text"),
        ("other", "without a text"),
        ("early", "before its future"),
        ("drop", "in a destructor"),
    ] {
        let error = within("it", client.call::<_, ()>(method, &())).await.unwrap_err();
        let failure = error.failure().expect("the server's answer");
        assert_eq!((failure.kind(), failure.message()), (FailureKind::Panicked, text));
        assert!(error.may_have_run());
        count += 1;
        assert_eq!(server.stats().panics, count, "{method}");
    }
    for n in [1, 3] {
        let values = within("it", client.method("item").stream::<_, u32>(&n)).await;
        let error = match values {
            Err(error) => error,
            Ok(mut values) => {
                for at in 0..n - 1 {
                    assert_eq!(within("it", values.next()).await.unwrap().unwrap(), at);
                }
                within("it", values.next()).await.unwrap().unwrap_err()
            }
        };
        let failure = error.failure().expect("the server's answer");
        assert_eq!(failure.kind(), FailureKind::Panicked);
        assert_eq!(failure.message(), format!("item {}", n - 1));
    }
    let health: String = within("it", client.call("flexbond.health", &())).await.unwrap();
    assert_eq!(health, "serving");
    until("the end of all calls", || server.stats().in_flight == 0).await;
}

/// A future that panics when it is dropped.
struct Trap(bool);

impl Future for Trap {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        if self.0 {
            panic!("in a destructor");
        }
    }
}

/// A service that panics where its number says, on each second call.
struct Faulty {
    at: usize,
    turn: Arc<AtomicUsize>,
}

impl Faulty {
    fn trip(&self, at: usize) {
        if self.at == at && self.turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            panic!("at {at}");
        }
    }
}

impl Clone for Faulty {
    fn clone(&self) -> Self {
        self.trip(0);
        Faulty {
            at: self.at,
            turn: Arc::clone(&self.turn),
        }
    }
}

impl Service<Request> for Faulty {
    type Response = Response;
    type Error = Spiteful;
    type Future = std::future::Ready<Result<Response, Spiteful>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Spiteful>> {
        self.trip(1);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.trip(2);
        std::future::ready(
            match self.at == 3 && self.turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                true => Err(Spiteful),
                false => Ok(Response::with_value(request.codec, &"fine").expect("a text")),
            },
        )
    }
}

/// An error that cannot even say what it is.
#[derive(Debug)]
struct Spiteful;

impl std::error::Error for Spiteful {}

impl fmt::Display for Spiteful {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("at 3")
    }
}

async fn a_service_that_panics_outside_of_its_future_harms_one_call() {
    for at in 0..4 {
        let turn = Arc::default();
        let server = Serving::of(Faulty { at, turn }).await;
        let client = server.client();
        for n in 1..=3 {
            let error = within("it", client.call::<_, String>("any", &()))
                .await
                .unwrap_err();
            assert_eq!(error.failure().unwrap().kind(), FailureKind::Panicked, "at {at}");
            let fine = within("it", client.call::<_, String>("any", &())).await.unwrap();
            assert_eq!((fine.as_str(), server.stats().panics), ("fine", n));
        }
        until("the end of all calls", || server.stats().in_flight == 0).await;
    }
}

async fn a_server_that_is_dropped_takes_its_work_with_it() {
    for endpoint in serving::everywhere() {
        let seen: Arc<Seen> = Arc::default();
        let server = Serving::start(harness::methods(&seen), &endpoint, Options::new()).await;
        let client = client(&server.endpoint);
        let hanging = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, ()>("hang", &()).await }
        });
        within("it leaves", client.method("hang").one_way(&()))
            .await
            .unwrap();
        until("both", || seen.begun.load(Ordering::SeqCst) == 2).await;
        server.kill().await;
        until("their end", || seen.dropped.load(Ordering::SeqCst) == 2).await;
        assert!(within("it", hanging).await.unwrap().is_err());
    }
}

async fn uploads_and_streams_end_with_their_connection() {
    let seen: Arc<Seen> = Arc::default();
    let server = Serving::of(harness::methods(&seen)).await;
    let raw = server.raw();
    let sum = request(1, "sum", "0").with_flags(Flags::UPLOAD);
    raw.send(&sum).await;
    let count = request(2, "count", "4294967295")
        .with_flags(Flags::STREAM)
        .with_count(1);
    raw.send(&count).await;
    until("both", || server.stats().in_flight == 2).await;
    raw.send(&Envelope::stream_item(1, 0, "1").with_codec(Codec::Json))
        .await;
    drop(raw);
    until("their end", || server.stats().in_flight == 0).await;
    assert_eq!(server.stats().cancelled, 2);
}

/// Where the handler reads in a task of its own, which does not end with the call.
async fn an_upload_that_breaks_off_does_not_look_complete() {
    let (told, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let methods = Methods::new()
        .add_upload("keep", move |((), mut values): ((), Incoming<i64>)| {
            let (began, told) = (began.clone(), told.clone());
            async move {
                let reading = tokio::spawn(async move {
                    began.send(()).expect("the test lives");
                    let mut count = 0;
                    let end = loop {
                        match values.next().await {
                            Some(Ok(_)) => count += 1,
                            Some(Err(failure)) => break Some(failure.kind()),
                            None => break None,
                        }
                    };
                    let after = values.next().await.is_some();
                    told.send((count, end, after)).expect("the test lives");
                });
                reading
                    .await
                    .map_err(|error| Failure::failed(1, error.to_string()))
            }
        })
        .unwrap();
    let server = Serving::of(methods).await;
    let raw = server.raw();
    // The credit comes before the method first runs, and a call that ends
    // before then has nobody who could see its end.
    let mut begin = async |call| {
        raw.send(&request(call, "keep", "null").with_flags(Flags::UPLOAD))
            .await;
        assert_eq!(raw.recv().await.header.kind, Kind::Credit);
        within("the method", begun.recv()).await.unwrap();
        raw.send(&Envelope::stream_item(call, 0, "1").with_codec(Codec::Json))
            .await;
    };
    begin(1).await;
    raw.send(&Envelope::stream_end(1, 1)).await;
    let outcome = within("the end", outcomes.recv()).await.unwrap();
    assert_eq!(outcome, (1, None, false));
    assert_eq!(raw.recv().await.header.kind, Kind::Response);
    let cancelled = (1, Some(FailureKind::Cancelled), false);
    begin(2).await;
    raw.send(&Envelope::cancel(2)).await;
    assert_eq!(within("its end", outcomes.recv()).await.unwrap(), cancelled);
    // Out of turn: the call fails.
    begin(3).await;
    raw.send(&Envelope::stream_item(3, 7, "1").with_codec(Codec::Json))
        .await;
    assert_eq!(within("its end", outcomes.recv()).await.unwrap(), cancelled);
    assert_eq!(failure_kind(&raw.recv().await), "malformed");
    begin(4).await;
    drop(raw);
    let (count, end, after) = within("its end", outcomes.recv()).await.unwrap();
    assert!(count <= 1, "the item may be lost with the connection");
    assert_eq!((end, after), (Some(FailureKind::Cancelled), false));
}

serving::on_both! {
    an_upload_that_breaks_off_does_not_look_complete,
    a_call_has_one_answer_whatever_else_comes_with_its_number,
    a_cancelled_call_is_answered_no_more_and_its_number_is_free,
    a_deadline_that_is_over_runs_nothing_and_one_that_passes_stops_the_work,
    panics_are_answered_wherever_they_come_from,
    a_service_that_panics_outside_of_its_future_harms_one_call,
    a_server_that_is_dropped_takes_its_work_with_it,
    uploads_and_streams_end_with_their_connection,
}
