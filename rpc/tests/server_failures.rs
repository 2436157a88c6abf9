//! What callers are told of calls that fail: above all whether anything of them ran.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;
#[path = "harness/serving.rs"]
mod serving;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexbond_rpc::client::Options as ClientOptions;
use flexbond_rpc::envelope::{Codec, Envelope, Flags, Kind};
use flexbond_rpc::server::Options;
use flexbond_rpc::{Buffer, CallError, Client, Failure, FailureKind, Incoming, Methods, Request, Response};
use futures_util::stream;
use harness::{DEADLINE, Running, within};
use serving::{Serving, failure_kind, request};
use tower::{BoxError, ServiceBuilder, ServiceExt};

fn nth(n: usize) -> Failure {
    let kind = FailureKind::all().nth(n).expect("a kind");
    Failure::new(kind, "says the handler")
}

/// Methods of every form, each of which fails with the kind of this number.
fn failing() -> Methods {
    Methods::new()
        .add("one", async |n: usize| Err::<(), _>(nth(n)))
        .and_then(|methods| {
            methods.add_stream("stream", async |n: usize| {
                Err::<stream::Empty<Result<u8, Failure>>, _>(nth(n))
            })
        })
        .and_then(|methods| {
            methods.add_stream("item", async |n: usize| {
                Ok::<_, Failure>(stream::iter([Err::<u8, _>(nth(n))]))
            })
        })
        .and_then(|methods| {
            methods.add_upload("upload", async |(n, _): (usize, Incoming<u8>)| {
                Err::<(), _>(nth(n))
            })
        })
        .and_then(|methods| {
            methods.add_conversation("conversation", async |(n, _): (usize, Incoming<u8>)| {
                Err::<stream::Empty<Result<u8, Failure>>, _>(nth(n))
            })
        })
        .and_then(|methods| {
            methods.add_raw("raw", async |request: Request| {
                Err(nth(request.arguments().expect("a number")))
            })
        })
        .expect("names are names, and differ")
}

async fn what_a_handler_fails_with_never_says_that_nothing_ran() {
    let server = Serving::of(failing()).await;
    let client = server.client();
    let none = || stream::empty::<u8>();
    for (n, kind) in FailureKind::all().enumerate() {
        for codec in [Codec::Postcard, Codec::Json, Codec::MessagePack] {
            let call = |method| client.method(method).codec(codec);
            let errors = [
                within("one", call("one").value::<_, ()>(&n)).await.unwrap_err(),
                within("raw", call("raw").value::<_, ()>(&n)).await.unwrap_err(),
                within("stream", call("stream").stream::<_, u8>(&n))
                    .await
                    .unwrap_err(),
                within("item", call("item").stream::<_, u8>(&n))
                    .await
                    .unwrap_err(),
                within("upload", call("upload").upload::<_, _, ()>(&n, none()))
                    .await
                    .unwrap_err(),
                within("talk", call("conversation").converse::<_, _, u8>(&n, none()))
                    .await
                    .unwrap_err(),
            ];
            for error in errors {
                let failure = error.failure().expect("the server's answer");
                assert_eq!((failure.kind(), failure.message()), (kind, "says the handler"));
                assert!(error.may_have_run(), "{error}");
            }
        }
    }
}

async fn what_a_handler_passes_on_from_another_server_is_its_own_failure() {
    let inner = Running::start(&serving::nearby()).await;
    let behind = inner.client();
    let outer = Methods::new()
        .add("outer", move |()| {
            let behind = behind.clone();
            async move { behind.call::<_, ()>("none", &()).await }
        })
        .unwrap();
    let server = Serving::of(outer).await;
    let error = within("it", server.client().call::<_, ()>("outer", &()))
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::UnknownMethod);
    assert!(error.may_have_run(), "the outer one has run");
    // A server that only passes calls on has not: what it is told, it tells.
    let server = Serving::of(inner.client()).await;
    let client = server.client();
    let error = within("it", client.call::<_, ()>("none", &())).await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::UnknownMethod);
    assert!(!error.may_have_run());
    let error = within("it", client.call::<_, ()>("fail", &(1, "x")))
        .await
        .unwrap_err();
    assert!(error.may_have_run());
}

async fn what_is_refused_before_it_runs_says_so() {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let also = Arc::clone(&ran);
    let methods = Methods::new()
        .add_stream("numbers", move |n: u32| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Failure>(stream::iter((0..n).map(Ok::<_, Failure>))) }
        })
        .and_then(|methods| {
            methods.add_conversation("talk", move |(n, _): (u32, Incoming<u32>)| {
                also.fetch_add(1, Ordering::SeqCst);
                async move { Ok::<_, Failure>(stream::iter((0..n).map(Ok::<_, Failure>))) }
            })
        })
        .unwrap();
    let server = Serving::start(methods, "tcp://127.0.0.1:0", Options::new().max_request(1000)).await;
    let client = server.client();
    // A stream where one answer is asked for.
    for error in [
        client.call::<_, u32>("numbers", &3_u32).await.unwrap_err(),
        client.method("talk").value::<_, u32>(&3_u32).await.unwrap_err(),
        client
            .method("numbers")
            .stream::<_, u32>(&"three")
            .await
            .unwrap_err(),
        client.call::<_, u32>("number", &3_u32).await.unwrap_err(),
    ] {
        assert!(!error.may_have_run(), "{error}");
    }
    // A peer that does not know the limit.
    let raw = server.raw();
    raw.send(&request(1, "numbers", &"7".repeat(1001))).await;
    let answer = raw.recv().await;
    assert_eq!(failure_kind(&answer), "too_large");
    assert_eq!(answer.header.flags, Flags::NONE);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

async fn what_fails_after_the_handler_began_says_so() {
    let options = Options::new();
    let mut options = options.max_response(1000);
    options.upload_window = 2;
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let client = server.client();
    let item = client.method("sum").codec(Codec::Json);
    let item = within("it", item.upload::<_, _, i64>(&0, stream::iter(["one"])))
        .await
        .unwrap_err();
    let large = client
        .call::<_, Buffer>("mirror", &Buffer::from(vec![0; 1001]))
        .await
        .unwrap_err();
    for (error, kind) in [(item, FailureKind::BadArguments), (large, FailureKind::TooLarge)] {
        assert_eq!(error.failure().unwrap().kind(), kind);
        assert!(error.may_have_run(), "{error}");
    }
    // Items out of order, and without leave.
    let raw = Serving::of(harness::methods(&server.seen)).await;
    let raw = raw.raw();
    for (call, number) in [(1, 1), (2, 0)] {
        let upload = request(call, "hang", "null").with_flags(Flags::UPLOAD);
        raw.send(&upload).await;
        assert_eq!(raw.recv().await.header.kind, Kind::Credit);
        let items = if call == 1 { 1 } else { 17 };
        for item in 0..items {
            raw.send(&Envelope::stream_item(call, number + item, "1").with_codec(Codec::Json))
                .await;
        }
        let answer = raw.recv().await;
        assert_eq!(
            (answer.header.call, failure_kind(&answer).as_str()),
            (call, "malformed")
        );
        assert_eq!(answer.header.flags, Flags::BEGUN);
        assert!(raw.is_all().await, "one answer");
    }
}

async fn a_stream_that_a_service_answers_with_unasked_has_run() {
    let service = tower::service_fn(async |request: Request| {
        let items = flexbond_rpc::Items::new(stream::empty());
        Ok::<_, Failure>(Response::from_items(request.codec, items))
    });
    let server = Serving::of(service).await;
    let error = server.client().call::<_, ()>("any", &()).await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::BadArguments);
    assert!(error.may_have_run());
}

async fn layers_in_front_of_the_handlers_say_what_they_mean() {
    let server = Running::start(&serving::nearby()).await;
    let methods = || harness::methods(&server.seen);

    let timed = ServiceBuilder::new()
        .timeout(Duration::from_millis(20))
        .service(methods());
    let timed = Serving::of(timed).await;
    let error = within("it", timed.client().call::<_, ()>("hang", &()))
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::DeadlineExceeded);
    assert!(error.may_have_run());

    // No room, ever.
    let full = tower::util::service_fn(async |_: Request| Ok::<Response, Failure>(Response::default()));
    let full = ServiceBuilder::new().load_shed().service(Never(full));
    let full = Serving::of(full).await;
    let error = within("it", full.client().call::<_, ()>("any", &()))
        .await
        .unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::Overloaded);
    assert!(!error.may_have_run());

    for kind in [
        FailureKind::Unauthenticated,
        FailureKind::PermissionDenied,
        FailureKind::Overloaded,
    ] {
        let guarded = ServiceBuilder::new()
            .layer_fn(|inner: Methods| {
                tower::service_fn(move |request: Request| {
                    let inner = inner.clone();
                    async move {
                        match request.metadata.get("authorization") {
                            None => Err(BoxError::from(Failure::new(kind, "who are you?"))),
                            Some(_) => inner.oneshot(request).await.map_err(Into::into),
                        }
                    }
                })
            })
            .service(methods());
        let guarded = Serving::of(guarded).await;
        let client = guarded.client();
        let error = within("it", client.call::<_, String>("echo", &"x"))
            .await
            .unwrap_err();
        assert_eq!(error.failure().unwrap().kind(), kind);
        assert!(!error.may_have_run(), "{error}");
        let known = client.method("echo").metadata("authorization", "me").unwrap();
        assert_eq!(within("it", known.value::<_, String>(&"x")).await.unwrap(), "x");
    }
}

/// A service that is never ready.
#[derive(Clone)]
struct Never<S>(S);

impl<S: tower::Service<Request>> tower::Service<Request> for Never<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        std::task::Poll::Pending
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

async fn layers_of_tower_around_a_client_say_what_they_mean() {
    let server = Running::start(&serving::nearby()).await;
    let options = ClientOptions::new().timeout(DEADLINE);
    let client = Client::with_options(&server.endpoint, options).unwrap();
    let timed = ServiceBuilder::new()
        .timeout(Duration::from_millis(20))
        .service(client.clone());
    let error = flexbond_rpc::Call::new(timed, "hang").value::<_, ()>(&());
    let error = within("it", error).await.unwrap_err();
    let is_late = match &error {
        CallError::DeadlineExceeded { .. } => true,
        other => other
            .failure()
            .is_some_and(|failure| failure.kind() == FailureKind::DeadlineExceeded),
    };
    assert!(is_late, "{error}");
    assert!(error.may_have_run());
}

serving::on_both! {
    what_a_handler_fails_with_never_says_that_nothing_ran,
    what_a_handler_passes_on_from_another_server_is_its_own_failure,
    what_is_refused_before_it_runs_says_so,
    what_fails_after_the_handler_began_says_so,
    a_stream_that_a_service_answers_with_unasked_has_run,
    layers_in_front_of_the_handlers_say_what_they_mean,
    layers_of_tower_around_a_client_say_what_they_mean,
}
