//! Calls of every kind over every transport, and what their callers are told when they fail.
#![cfg(all(feature = "inproc", feature = "ipc", feature = "tcp"))]

mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Method};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Buffer, CallError, Failure, FailureKind, MethodInfo, Request};
use futures_util::stream;
use harness::{Operands, Running, until, within};

/// A server at each kind of endpoint.
async fn everywhere(name: &str) -> Vec<Running> {
    let folder = std::env::temp_dir().join(format!("flexbond-rpc-{}-{name}", std::process::id()));
    vec![
        Running::start(&format!("inproc://rpc-{name}")).await,
        Running::start(&format!("ipc://{}", folder.display())).await,
        Running::start("tcp://127.0.0.1:0").await,
    ]
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Failure(failure) => failure,
        other => panic!("not the server's answer: {other}"),
    }
}

#[tokio::test]
async fn values_go_there_and_back_over_every_transport_and_codec() {
    for server in everywhere("values").await {
        let client = server.client();
        for codec in [Codec::Postcard, Codec::Json, Codec::MessagePack] {
            let call = || client.method("add").codec(codec);
            let sum: f64 = within("a sum", call().value(&Operands { a: 1.5, b: 2.0 }))
                .await
                .unwrap();
            assert_eq!(sum, 3.5);
            for len in [0, 1, 30, 62, 63, 4096, 4097, 1 << 20] {
                let text = "ü".repeat(len);
                let echo: String = within("an echo", client.method("echo").codec(codec).value(&text))
                    .await
                    .unwrap();
                assert_eq!(echo, text, "{codec:?} {len}");
            }
            let data = Buffer::from(vec![7_u8; 3 << 20]);
            let back: Buffer = within("a buffer", client.method("mirror").codec(codec).value(&data))
                .await
                .unwrap();
            assert_eq!(back, data);
        }
        // Names and order both do, where the codec has names.
        let sum: f64 = within("a sum", client.method("add").codec(Codec::Json).value(&(1, 2)))
            .await
            .unwrap();
        assert_eq!(sum, 3.0);
    }
}

#[tokio::test]
async fn a_thousand_calls_are_under_way_at_once_and_a_long_one_delays_none() {
    for server in everywhere("many").await {
        let client = server.client();
        let long = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, String>("wait", &()).await }
        });
        let calls = (0..1000).map(|n| {
            let client = client.clone();
            async move { client.call::<_, String>("echo", &n.to_string()).await }
        });
        let answers = within("all answers", futures_util::future::join_all(calls)).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), n.to_string());
        }
        until("the long call", || server.seen.begun.load(Ordering::SeqCst) == 1).await;
        server.seen.go.notify_waiters();
        assert_eq!(within("it", long).await.unwrap().unwrap(), "gone on");
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn failures_say_what_was_wrong() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    for codec in [Codec::Postcard, Codec::Json, Codec::MessagePack] {
        let call = |name: &str| client.method(name).codec(codec);
        let failed = call("fail")
            .value::<_, ()>(&(42, "no such star"))
            .await
            .unwrap_err();
        assert!(failed.may_have_run());
        let failed = failure(failed);
        assert_eq!((failed.kind(), failed.code()), (FailureKind::Failed, 42));
        assert_eq!(failed.message(), "no such star");

        let unknown = call("Echo").value::<_, ()>(&()).await.unwrap_err();
        assert!(!unknown.may_have_run());
        assert_eq!(failure(unknown.clone()).kind(), FailureKind::UnknownMethod);
        assert!(unknown.to_string().contains("did you mean echo?"), "{unknown}");

        let panicked = failure(call("panic").value::<_, ()>(&"oh dear").await.unwrap_err());
        assert_eq!(panicked.kind(), FailureKind::Panicked);
        assert_eq!(panicked.message(), "oh dear");
        call("panic").value::<_, ()>(&"").await.expect("the server lives");

        let shape = failure(call("count").value::<_, u32>(&3_u32).await.unwrap_err());
        assert_eq!(shape.kind(), FailureKind::BadArguments);
        assert!(shape.message().contains("ask for a stream"), "{shape}");
    }
    let wrong = client.method("add").codec(Codec::Json);
    let wrong = wrong
        .value::<_, f64>(&serde_json::json!({"a": 1, "b": "two"}))
        .await
        .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("add: JSON: at b: invalid type: string"),
        "{wrong}"
    );
    assert_eq!(failure(wrong).kind(), FailureKind::BadArguments);
    let missing = client.method("add").codec(Codec::MessagePack);
    let missing = missing
        .value::<_, f64>(&serde_json::json!({"a": 1}))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("missing field `b`"), "{missing}");
    let answer = client.call::<_, u8>("echo", &"text").await.unwrap_err();
    assert!(matches!(answer, CallError::Answer(_)), "{answer}");
    let nameless = client.call::<_, ()>("", &()).await.unwrap_err();
    assert!(matches!(nameless, CallError::Method(_)), "{nameless}");
}

#[tokio::test]
async fn a_deadline_ends_a_call_on_both_sides() {
    for server in everywhere("deadline").await {
        let client = server.client();
        within("a connection", client.connected(harness::DEADLINE))
            .await
            .unwrap();
        let hang = client.method("hang").timeout(Duration::from_millis(300));
        let error = within("the deadline", hang.value::<_, ()>(&()))
            .await
            .unwrap_err();
        assert!(
            error
                == CallError::DeadlineExceeded {
                    timeout: Duration::from_millis(300),
                    unconnected: None
                }
                || failure(error.clone()).kind() == FailureKind::DeadlineExceeded,
            "{error}"
        );
        until("the work's end", || {
            server.seen.dropped.load(Ordering::SeqCst) == 1
        })
        .await;
        let left: Option<Duration> = client
            .method("left")
            .timeout(Duration::from_secs(9))
            .value(&())
            .await
            .unwrap();
        let left = left.expect("there is a deadline");
        assert!(
            left <= Duration::from_secs(9) && left > Duration::from_secs(1),
            "{left:?}"
        );
        let over = client.method("hang").timeout(Duration::ZERO);
        let error = within("it", over.value::<_, ()>(&())).await.unwrap_err();
        assert!(
            matches!(error, CallError::DeadlineExceeded { .. } | CallError::Failure(_)),
            "{error}"
        );
        // The answer to a later call comes after that one was seen to: it did not even begin.
        client.call::<_, ()>("note", &()).await.unwrap();
        assert_eq!(server.seen.begun.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_dropped_call_stops_its_work() {
    for server in everywhere("dropped").await {
        let client = server.client();
        {
            let hanging = client.call::<_, ()>("hang", &());
            tokio::pin!(hanging);
            tokio::select! {
                _ = &mut hanging => panic!("it never ends"),
                () = until("its begin", || server.seen.begun.load(Ordering::SeqCst) == 1) => {}
            }
        }
        until("the work's end", || {
            server.seen.dropped.load(Ordering::SeqCst) == 1
        })
        .await;
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn streams_come_whole_in_order_and_only_as_they_are_read() {
    for server in everywhere("streams").await {
        let client = server.client();
        let count = client.method("count").window(8);
        let mut numbers = within("the stream", count.stream::<_, u32>(&1000_u32))
            .await
            .unwrap();
        for n in 0..1000 {
            let made = server.seen.made.load(Ordering::SeqCst);
            assert!(made <= n + 9, "{made} were made when {n} were read");
            assert_eq!(within("a number", numbers.next()).await.unwrap().unwrap(), n);
        }
        assert!(within("the end", numbers.next()).await.is_none());
        let mut none = within("the stream", client.method("count").stream::<_, u32>(&0_u32))
            .await
            .unwrap();
        assert!(within("the end", none.next()).await.is_none());

        let mut broken = within("the stream", client.method("break").stream::<_, u32>(&2_u32))
            .await
            .unwrap();
        assert_eq!(broken.next().await.unwrap().unwrap(), 0);
        assert_eq!(broken.next().await.unwrap().unwrap(), 1);
        let error = failure(within("the failure", broken.next()).await.unwrap().unwrap_err());
        assert_eq!((error.code(), error.message()), (7, "broken"));
        assert!(broken.next().await.is_none());
        let early = client.method("break").stream::<_, u32>(&0_u32).await.unwrap_err();
        assert_eq!(failure(early).code(), 7);
        // One answer is a stream of one.
        let mut one = client.method("echo").stream::<_, String>(&"x").await.unwrap();
        assert_eq!(one.next().await.unwrap().unwrap(), "x");
        assert!(one.next().await.is_none());
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_dropped_stream_stops_its_work() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let mut numbers = client
        .method("count")
        .window(4)
        .stream::<_, u32>(&u32::MAX)
        .await
        .unwrap();
    assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
    drop(numbers);
    assert_eq!(client.in_flight(), 0);
    // The answer to a later call comes after the cancellation was handled.
    client.call::<_, ()>("note", &()).await.unwrap();
    let made = server.seen.made.load(Ordering::SeqCst);
    assert!(made <= 8, "{made}");
}

#[tokio::test]
async fn arguments_come_as_streams_too() {
    for server in everywhere("uploads").await {
        let client = server.client();
        for n in [0_i64, 1, 15, 16, 17, 1000] {
            let sum: i64 = within("a sum", client.method("sum").upload(&100_i64, stream::iter(0..n)))
                .await
                .unwrap();
            assert_eq!(sum, 100 + n * (n - 1) / 2);
        }
        let wrong = client.method("sum").codec(Codec::Json);
        let wrong = within("it", wrong.upload::<_, _, i64>(&0, stream::iter(["one"]))).await;
        assert_eq!(failure(wrong.unwrap_err()).kind(), FailureKind::BadArguments);

        let talk = client.method("double").window(4);
        let mut doubled = within(
            "the stream",
            talk.converse::<_, _, i64>(&(), stream::iter(0..500_i64)),
        )
        .await
        .unwrap();
        for n in 0..500 {
            assert_eq!(within("a value", doubled.next()).await.unwrap().unwrap(), 2 * n);
        }
        assert!(within("the end", doubled.next()).await.is_none());
    }
}

#[tokio::test]
async fn one_way_calls_run_and_batches_keep_their_order() {
    for server in everywhere("one-way").await {
        let client = server.client();
        for _ in 0..100 {
            within("it leaves", client.method("note").one_way(&()))
                .await
                .unwrap();
        }
        let note = |name: &str| {
            let arguments = Codec::Postcard.encode(&name).unwrap();
            Request::new(Method::new("echo").unwrap(), Codec::Postcard, arguments)
        };
        let mut batch: Vec<_> = ["a", "b", "c"].into_iter().map(note).collect();
        batch.insert(
            1,
            Request::new(
                Method::new("none").unwrap(),
                Codec::Postcard,
                Codec::Postcard.encode(&()).unwrap(),
            ),
        );
        let answers = within("the batch", client.batch(batch)).await;
        let texts: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.and_then(flexbond_rpc::Response::value::<String>).ok())
            .collect();
        assert_eq!(
            texts,
            [Some("a".into()), None, Some("b".into()), Some("c".into())]
        );
        drop(client);
        until("all notes", || server.seen.noted.load(Ordering::SeqCst) == 100).await;
    }
}

#[tokio::test]
async fn each_connection_has_state_of_its_own() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let (one, other) = (server.client(), server.client());
    for n in 1..4_u32 {
        assert_eq!(one.call::<_, u32>("visits", &()).await.unwrap(), n);
        one.clone().call::<_, u32>("left", &()).await.unwrap_err();
    }
    assert_eq!(other.call::<_, u32>("visits", &()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_says_what_it_has_and_how_it_is() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let methods: Vec<MethodInfo> = client.call("flexbond.methods", &()).await.unwrap();
    let add = methods.iter().find(|info| info.name == "add").unwrap();
    assert_eq!(add.signature, "(Operands) -> f64");
    assert!(
        methods
            .iter()
            .any(|info| info.name == "count" && info.streams && !info.uploads)
    );
    assert!(
        methods
            .iter()
            .any(|info| info.name == "double" && info.streams && info.uploads)
    );
    let health: String = client.call("flexbond.health", &()).await.unwrap();
    assert_eq!(health, "serving");
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_refused() {
    let mut options = Options::new();
    options.max_request = 1000;
    options.max_response = 2000;
    options.max_in_flight_per_connection = 2;
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let client = server.client();
    within("a connection", client.connected(harness::DEADLINE))
        .await
        .unwrap();
    let error = client
        .call::<_, Buffer>("mirror", &Buffer::from(vec![0; 1001]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            CallError::TooLarge {
                size: 1002,
                limit: 1000,
                answer: false
            }
        ),
        "{error}"
    );
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call::<_, ()>("hang", &()).await })
        })
        .collect();
    until("both", || server.seen.begun.load(Ordering::SeqCst) == 2).await;
    let error = client.call::<_, String>("echo", &"x").await.unwrap_err();
    assert!(!error.may_have_run());
    assert_eq!(failure(error).kind(), FailureKind::Overloaded);
    for task in hanging {
        task.abort();
    }
    until("their end", || server.seen.dropped.load(Ordering::SeqCst) == 2).await;
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
}
