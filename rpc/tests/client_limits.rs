//! What a client refuses, keeps back, or gives up in time.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::{Codec, Envelope, Method};
use flexbond_rpc::{CallError, Client, Item, Items, Request, Wants, server};
use flexbond_session::Message;
use flexbond_session::socket::Router;
use futures_util::{StreamExt, stream};
use harness::{Running, client, until, vacant, within};
use tower::Service;
use tower::load::Load;

fn request(method: &str) -> Request {
    let arguments = Codec::Postcard.encode(&()).unwrap();
    Request::new(Method::new(method).unwrap(), Codec::Postcard, arguments)
}

async fn is_ready(client: &mut Client) -> bool {
    poll_fn(|cx| Poll::Ready(client.poll_ready(cx).is_ready())).await
}

#[tokio::test]
async fn a_place_is_kept_for_who_was_told_that_there_is_one() {
    let server = Running::start("inproc://client-places").await;
    let options = Options::new().max_in_flight(2);
    let mut one = Client::with_options(&server.endpoint, options).unwrap();
    let (mut two, mut three) = (one.clone(), one.clone());
    assert!(is_ready(&mut one).await && is_ready(&mut two).await);
    assert!(!is_ready(&mut three).await, "two places were promised");
    let hanging = Service::call(&mut one, request("hang"));
    assert!(!is_ready(&mut three).await);
    drop(two);
    assert!(is_ready(&mut three).await);
    let note = Service::call(&mut three, request("note"));
    assert!(!is_ready(&mut one).await, "there is no more room than before");
    let four = tokio::spawn({
        let client = one.clone();
        async move { client.call::<_, String>("echo", &"four").await }
    });
    drop(three);
    within("a note", note).await.unwrap();
    // `one` waits longest.
    within("a place", poll_fn(|cx| one.poll_ready(cx))).await.unwrap();
    drop(one);
    assert_eq!(within("an answer", four).await.unwrap().unwrap(), "four");
    drop(hanging);
}

#[tokio::test]
async fn arguments_that_panic_take_no_place() {
    struct Bad;
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("so it is")
        }
    }
    let server = Running::start("inproc://client-panics").await;
    let options = Options::new().max_in_flight(1).timeout(harness::DEADLINE);
    let client = Client::with_options(&server.endpoint, options).unwrap();
    let panicked = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, ()>("note", &Bad).await }
    });
    assert!(within("its end", panicked).await.unwrap_err().is_panic());
    within("an answer", client.call::<_, ()>("note", &()))
        .await
        .unwrap();
}

#[tokio::test]
async fn to_wait_for_a_place_counts_to_the_time_of_a_call() {
    let server = Running::start("inproc://client-turns").await;
    let options = Options::new().max_in_flight(1).timeout(Duration::from_millis(30));
    let client = Client::with_options(&server.endpoint, options).unwrap();
    let mut hang = request("hang");
    hang.timeout = Some(harness::DEADLINE);
    let hanging = client.begin(hang);
    for named in [None, Some(Duration::from_millis(20))] {
        let call = match named {
            Some(timeout) => client.method("note").timeout(timeout),
            None => client.method("note"),
        };
        let error = within("its end", call.value::<_, ()>(&())).await.unwrap_err();
        assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
        assert!(!error.may_have_run());
        let mut named_request = request("note");
        named_request.timeout = named;
        let error = within("its end", client.request(named_request))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
        assert!(!error.may_have_run());
    }
    drop(hanging);
    client.call::<_, ()>("note", &()).await.unwrap();
    assert_eq!(server.seen.noted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn calls_that_waited_for_a_server_are_not_larger_than_it_takes() {
    let endpoint = vacant();
    let client = client(&endpoint);
    let (large, small) = ("x".repeat(2000), "x".repeat(10));
    let calls = [large, small].map(|text| {
        let client = client.clone();
        tokio::spawn(async move { client.call::<_, String>("echo", &text).await })
    });
    until("both", || client.in_flight() == 2).await;
    let mut options = server::Options::new();
    options.max_request = 1000;
    let _server = Running::with_options(&endpoint.to_string(), options).await;
    let [large, small] = calls;
    let error = within("it", large).await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            CallError::TooLarge {
                limit: 1000,
                answer: false,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(within("it", small).await.unwrap().unwrap(), "x".repeat(10));
}

#[tokio::test]
async fn what_the_socket_of_a_server_would_refuse_is_not_sent() {
    let mut options = server::Options::new();
    options.socket = options.socket.max_message_size(2000_usize);
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let client = server.client();
    assert_eq!(client.call::<_, u32>("visits", &()).await.unwrap(), 1);
    // Half of it is for arguments.
    let argument = within("it", client.call::<_, String>("echo", &"x".repeat(1200))).await;
    let metadata = client
        .method("visits")
        .metadata("note", "x".repeat(2000))
        .unwrap();
    let metadata = within("it", metadata.value::<_, String>(&())).await;
    for (answer, most) in [(argument, 1000), (metadata, 2000)] {
        let error = answer.unwrap_err();
        assert!(
            matches!(error, CallError::TooLarge { limit, .. } if limit == most),
            "{error}"
        );
        assert!(!error.may_have_run());
    }
    // The connection is the same.
    assert_eq!(client.call::<_, u32>("visits", &()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_bad_item_of_streamed_arguments_ends_a_call_that_may_have_run() {
    let mut options = server::Options::new();
    options.max_request = 1000;
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let client = server.client();
    let good = Item::with_value(Codec::Postcard, &1_i64).unwrap();
    let large = Item::with_value(Codec::Postcard, &"x".repeat(2000)).unwrap();
    for bad in [Ok(large), Err(CallError::Layer("no more".to_owned()))] {
        let mut sum = request("sum");
        sum.body = Codec::Postcard.encode(&0_i64).unwrap().body;
        sum.items = Some(Items::new(stream::iter([Ok(good.clone()), bad])));
        let error = within("its end", client.request(sum)).await.unwrap_err();
        assert!(matches!(error, CallError::Upload { number: 1, .. }), "{error}");
        assert!(error.may_have_run());
    }
    until("the work's end", || {
        let stats = (server.stats)();
        stats.in_flight == 0 && stats.cancelled == 2
    })
    .await;
}

#[tokio::test]
async fn arguments_that_panic_as_they_are_sent_end_the_call_here_and_on_the_server() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let values = stream::iter(0..2_i64).map(|n| match n {
        0 => n,
        _ => panic!("so it is"),
    });
    // There is no time after which the client gives up.
    let client = Client::with_options(client.endpoint().clone(), Options::new().timeout(None)).unwrap();
    let sum = client.method("sum").upload::<_, _, i64>(&0_i64, values);
    let error = within("its end", sum).await.unwrap_err();
    assert!(matches!(error, CallError::Upload { number: 1, .. }), "{error}");
    assert!(error.may_have_run());
    until("the work's end", || {
        let stats = (server.stats)();
        stats.in_flight == 0 && stats.cancelled == 1
    })
    .await;
}

#[test]
fn a_call_with_streamed_arguments_may_begin_outside_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Running::start("inproc://client-outside"));
    let client = runtime.block_on(async { server.client() });
    let mut sum = request("sum");
    sum.body = Codec::Postcard.encode(&1_i64).unwrap().body;
    let two = Item::with_value(Codec::Postcard, &2_i64).unwrap();
    sum.items = Some(Items::new(stream::iter([Ok(two)])));
    let calling = client.begin(sum);
    let answer = runtime.block_on(async { within("an answer", calling).await });
    assert_eq!(answer.unwrap().value::<i64>().unwrap(), 3);
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn to_wait_for_a_place_counts_to_the_time_of_a_call_that_names_none() {
    let server = Running::start("inproc://client-defaults").await;
    let limit = Duration::from_secs(10);
    let options = Options::new().max_in_flight(1).timeout(limit);
    let client = Client::with_options(&server.endpoint, options).unwrap();
    for by_method in [false, true] {
        let mut first = request("hang");
        first.timeout = Some(Duration::from_secs(6));
        let first = client.begin(first);
        let begun = tokio::time::Instant::now();
        let second = async {
            match by_method {
                true => client.method("hang").value::<_, ()>(&()).await,
                false => client.request(request("hang")).await.map(drop),
            }
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err());
        let error = second.unwrap_err();
        assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
        assert!(
            begun.elapsed() < limit + Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn what_can_never_be_done_is_said_at_once() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let mut note = request("note");
    note.wants = Wants::Nothing;
    note.items = Some(Items::new(stream::empty()));
    let error = within("it", client.request(note)).await.unwrap_err();
    assert_eq!(error, CallError::OneWayItems);
    for wants in [Wants::Answer, Wants::Nothing, Wants::Stream(1)] {
        let mut note = request("note");
        note.wants = wants;
        note.timeout = Some(Duration::ZERO);
        let error = within("it", client.request(note)).await.unwrap_err();
        assert!(!error.may_have_run());
        assert!(error.to_string().contains("before it began"), "{error}");
    }
    client.call::<_, ()>("note", &()).await.unwrap();
    assert_eq!(server.seen.noted.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_long_over_an_item_is_not_punished_for_it() {
    let server = Running::start("inproc://client-slow").await;
    let client = Client::connect(&server.endpoint).unwrap();
    let slow = stream::iter(0..4_i64).then(async |n| {
        tokio::time::sleep(Duration::from_secs(100)).await;
        n
    });
    let sum = client.method("sum").upload::<_, _, i64>(&0_i64, slow).await;
    assert_eq!(sum.unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_in_the_midst_of_a_stream_is_found_out_after_a_pause_of_the_reader() {
    let router = Router::new();
    let endpoint = router.bind("inproc://client-paused").await.unwrap();
    let client = Client::connect(&endpoint).unwrap();
    let reading = tokio::spawn(async move { client.method("any").stream::<_, String>(&()).await });
    let request = router.recv().await.unwrap();
    let id = request[0].to_vec();
    let call = Envelope::decode(Message::from(request.into_frames().split_off(1))).unwrap();
    let item = Codec::Postcard.encode(&"item").unwrap().body;
    let item = Envelope::stream_item(call.header.call, 0, item).with_codec(Codec::Postcard);
    let mut item = item.encode().unwrap();
    item.push_front(id);
    router.send(item).await.unwrap();
    let mut items = reading.await.unwrap().unwrap();
    // The reader does something else for a long time, and no deadline is near.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(items.next().await.unwrap().unwrap(), "item");
    let begun = tokio::time::Instant::now();
    let next = tokio::time::timeout(Duration::from_secs(100), items.next()).await;
    let error = next.expect("not for ever").unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn as_a_load_a_client_is_its_calls_and_whether_it_is_connected() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    client.connected(harness::DEADLINE).await.unwrap();
    assert_eq!(client.load(), 0);
    let hanging = client.begin(request("hang"));
    assert_eq!(client.load(), 1);
    drop(hanging);
    server.kill().await;
    until("the loss", || client.load() > 1_000_000).await;
}

#[tokio::test]
async fn a_stream_as_long_as_its_window_needs_no_leave() {
    let router = Router::new();
    let endpoint = within("bind", router.bind("tcp://127.0.0.1:0")).await.unwrap();
    let client = client(&endpoint);
    let reading = tokio::spawn({
        let client = client.clone();
        async move {
            let numbers = client
                .method("any")
                .window(4)
                .stream::<_, u32>(&())
                .await
                .unwrap();
            StreamExt::collect::<Vec<_>>(numbers).await
        }
    });
    let request = within("a request", router.recv()).await.unwrap();
    let id = request[0].to_vec();
    let call = Envelope::decode(Message::from(request.into_frames().split_off(1))).unwrap();
    let call = call.header.call;
    let items = (0..4_u32).map(|n| {
        let body = Codec::Postcard.encode(&n).unwrap().body;
        Envelope::stream_item(call, n, body).with_codec(Codec::Postcard)
    });
    for envelope in items.chain([Envelope::stream_end(call, 4)]) {
        let mut message = envelope.encode().unwrap();
        message.push_front(id.clone());
        within("it leaves", router.send(message)).await.unwrap();
    }
    let numbers = within("all of them", reading).await.unwrap();
    assert_eq!(
        numbers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
}

#[tokio::test]
async fn a_stream_as_long_as_its_window_ends_before_any_of_it_is_read() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://client-window"] {
        let server = Running::start(endpoint).await;
        let client = server.client();
        let count = client.method("count").window(4);
        let mut numbers = within("its begin", count.stream::<_, u32>(&4_u32)).await.unwrap();
        until("its end at the server", || (server.stats)().in_flight == 0).await;
        for n in 0..4 {
            assert_eq!(within("a number", numbers.next()).await.unwrap().unwrap(), n);
        }
        assert!(within("the end", numbers.next()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn streamed_arguments_that_the_connection_does_not_take_do_not_wait_for_ever() {
    const LIMIT: Duration = Duration::from_secs(10);
    let few = flexbond_session::socket::Options::new()
        .send_hwm(1_usize)
        .recv_hwm(1_usize);
    let router = Router::with_options(few.clone()).unwrap();
    let endpoint = router.bind("inproc://client-stalls").await.unwrap();
    let options = Options::new().timeout(LIMIT).socket(few);
    let client = Client::with_options(&endpoint, options).unwrap();
    let sum = tokio::spawn(async move {
        let values = stream::iter(0..i64::MAX);
        client.method("sum").upload::<_, _, i64>(&0_i64, values).await
    });
    let request = router.recv().await.unwrap();
    let id = request[0].to_vec();
    let call = Envelope::decode(Message::from(request.into_frames().split_off(1))).unwrap();
    let mut credit = Envelope::credit(call.header.call, u32::MAX).encode().unwrap();
    credit.push_front(id);
    router.send(credit).await.unwrap();
    // It reads some, slowly, which is a sign of life, and then nothing more.
    for _ in 0..20 {
        tokio::time::sleep(LIMIT / 2).await;
        router.recv().await.unwrap();
    }
    assert!(!sum.is_finished());
    let begun = tokio::time::Instant::now();
    let error = within("its end", sum).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error}");
    assert!(error.may_have_run());
    assert!(begun.elapsed() <= LIMIT + LIMIT / 2, "{:?}", begun.elapsed());
}
