//! What becomes of a client's calls when a server drains, the client's handles go, or no connection will ever be made.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::{Codec, Envelope, Header, Kind, Method};
use flexbond_rpc::{CallError, Client, Request};
use flexbond_session::Message;
use flexbond_session::socket::{self, Router};
use futures_util::{FutureExt, stream};
use harness::{DEADLINE, Running, client, until, vacant, within};
use tokio::sync::mpsc;

/// A stream of what is sent to it.
fn fed<T: Send + 'static>() -> (
    mpsc::UnboundedSender<T>,
    impl futures_util::Stream<Item = T> + Send + 'static,
) {
    let (tx, rx) = mpsc::unbounded_channel();
    let items = stream::unfold(rx, async |mut rx: mpsc::UnboundedReceiver<T>| {
        let item = rx.recv().await?;
        Some((item, rx))
    });
    (tx, items)
}

#[tokio::test]
async fn while_a_server_drains_streams_uploads_and_cancellations_go_on() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://client-drains"] {
        let server = Running::start(endpoint).await;
        let seen = server.seen.clone();
        let client = server.client();
        let mut numbers = client
            .method("count")
            .window(4)
            .stream::<_, u32>(&100_u32)
            .await
            .unwrap();
        let (values, items) = fed::<i64>();
        let sum = tokio::spawn({
            let client = client.clone();
            async move { client.method("sum").upload::<_, _, i64>(&0_i64, items).await }
        });
        let hanging = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, ()>("hang", &()).await }
        });
        until("all of them", || {
            seen.begun.load(Ordering::SeqCst) == 1 && (server.stats)().in_flight == 3
        })
        .await;
        let endpoint = server.endpoint.clone();
        let ended = server.stop();
        until("the news of it", || {
            client.trouble().is_some_and(|trouble| trouble.contains("ends"))
        })
        .await;
        // The next server takes its place while the first still has work.
        let next = Running::start(&endpoint.to_string()).await;
        let held = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, String>("echo", &"held").await }
        });
        for n in 0..100 {
            assert_eq!(within("a number", numbers.next()).await.unwrap().unwrap(), n);
        }
        assert!(within("the end", numbers.next()).await.is_none());
        for value in 0..100 {
            values.send(value).unwrap();
        }
        drop(values);
        assert_eq!(within("the sum", sum).await.unwrap().unwrap(), 4950);
        assert!(!held.is_finished());
        hanging.abort();
        let stopped = within("the end", ended).await.unwrap();
        assert_eq!((stopped.aborted, stopped.stats.cancelled), (0, 1));
        assert_eq!(within("the answer", held).await.unwrap().unwrap(), "held");
        assert_eq!((next.stats)().calls, 1);
    }
}

#[tokio::test]
async fn a_client_leaves_a_server_that_drains_when_none_of_its_calls_is_left() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let seen = server.seen.clone();
    let (client, other) = (server.client(), server.client());
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
    let long = tokio::spawn(async move { other.call::<_, String>("wait", &()).await });
    until("the other's call", || seen.begun.load(Ordering::SeqCst) == 1).await;
    let endpoint = server.endpoint.clone();
    let ended = server.stop();
    until("the news of it", || !client.is_connected()).await;
    // The first server still waits for the other client.
    let next = Running::start(&endpoint.to_string()).await;
    let answer = within("an answer", client.call::<_, String>("echo", &"y")).await;
    assert_eq!(answer.unwrap(), "y");
    assert_eq!((next.stats)().calls, 1);
    assert!(!ended.is_finished());
    seen.go.notify_waiters();
    assert_eq!(within("it", long).await.unwrap().unwrap(), "gone on");
    within("the end", ended).await.unwrap();
}

#[tokio::test]
async fn calls_and_streams_outlive_the_last_handle() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let wait = Method::new("wait").unwrap();
    let calling = client.begin(Request::new(
        wait,
        Codec::Postcard,
        Codec::Postcard.encode(&()).unwrap(),
    ));
    let mut numbers = client
        .method("count")
        .window(2)
        .stream::<_, u32>(&50_u32)
        .await
        .unwrap();
    until("the call", || server.seen.begun.load(Ordering::SeqCst) == 1).await;
    drop(client);
    for n in 0..50 {
        assert_eq!(within("a number", numbers.next()).await.unwrap().unwrap(), n);
    }
    assert!(within("the end", numbers.next()).await.is_none());
    server.seen.go.notify_waiters();
    let answer = within("the answer", calling).await.unwrap();
    assert_eq!(answer.value::<String>().unwrap(), "gone on");
    until("the connection's end", || (server.stats)().connections == 0).await;
}

#[test]
fn what_was_said_last_has_left_when_a_client_is_closed() {
    let servers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = servers.block_on(Running::start("tcp://127.0.0.1:0"));
    let theirs = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    theirs.block_on(async {
        let client = client(&server.endpoint);
        for _ in 0..1000 {
            client.method("note").one_way(&()).await.unwrap();
        }
        let other = client.clone();
        let mut closing = pin!(client.close());
        assert_eq!((&mut closing).now_or_never(), None, "there is another handle");
        drop(other);
        within("the end", closing).await;
    });
    // Nothing of the client is left that could send.
    drop(theirs);
    let noted = || server.seen.noted.load(Ordering::SeqCst);
    servers.block_on(until("the calls", || noted() == 1000));
}

#[tokio::test]
async fn calls_end_with_the_runtime_of_their_client() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let endpoint = server.endpoint.clone();
    let (begun, sent) = tokio::sync::oneshot::channel();
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let theirs = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = client(&endpoint);
            client.connected(DEADLINE).await.unwrap();
            begun.send(client).ok().unwrap();
            tokio::task::spawn_blocking(move || is_over.recv()).await.ok();
        });
    });
    let client = within("the client", sent).await.unwrap();
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, ()>("hang", &()).await }
    });
    until("the call", || server.seen.begun.load(Ordering::SeqCst) == 1).await;
    over.send(()).unwrap();
    let error = within("its end", hanging).await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Disconnected { sent: true, .. }),
        "{error}"
    );
    let error = client.call::<_, ()>("hang", &()).await.unwrap_err();
    assert_eq!(error, CallError::Closed);
    theirs.join().unwrap();
}

#[tokio::test]
async fn when_no_other_attempt_is_made_calls_fail_with_the_reason() {
    let endpoint = vacant();
    let mut stop = socket::ReconnectStop::default();
    stop.refused = true;
    let options = Options::new().timeout(None);
    let client = Client::with_options(
        &endpoint,
        options.socket(socket::Options::new().reconnect_stop(stop)),
    )
    .unwrap();
    for _ in 0..2 {
        let error = within("its end", client.call::<_, ()>("any", &()))
            .await
            .unwrap_err();
        let CallError::Unconnected { reason, .. } = error else {
            panic!("{error}");
        };
        assert!(reason.contains("refused"), "{reason}");
    }
    let error = within("its end", client.connected(Duration::MAX))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");

    // The same when a connection is lost that is not to be made again.
    let server = Running::start("tcp://127.0.0.1:0").await;
    let options = Options::new().timeout(None);
    let once = socket::Options::new().reconnect_interval(None);
    let client = Client::with_options(&server.endpoint, options.socket(once)).unwrap();
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
    server.kill().await;
    until("the loss", || !client.is_connected()).await;
    let error = within("its end", client.call::<_, ()>("any", &()))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unconnected { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_sends_nonsense_is_told_to_stop() {
    let router = Router::new();
    let endpoint = within("bind", router.bind("tcp://127.0.0.1:0")).await.unwrap();
    let client = client(&endpoint);
    for n in 0..4 {
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.method("any").stream::<_, u32>(&()).await }
        });
        let request = within("a request", router.recv()).await.unwrap();
        let id = request[0].to_vec();
        let call = Envelope::decode(Message::from(request.into_frames().split_off(1))).unwrap();
        let call = call.header.call;
        let mut answer = match n {
            0 => Envelope::stream_item(call, 7, "").encode().unwrap(),
            1 => {
                let mut cut = Header::new(Kind::StreamItem, call).encode().unwrap().to_vec();
                cut.push(9);
                Message::from(cut)
            }
            // Of another version, or a kind that there is not: only the number of the call can be read.
            _ => {
                let mut unknown = Header::new(Kind::StreamItem, call).encode().unwrap().to_vec();
                unknown[n - 2] = 77;
                Message::from([unknown, Vec::new(), Vec::new()])
            }
        };
        answer.push_front(id.clone());
        within("it leaves", router.send(answer)).await.unwrap();
        let error = within("its end", calling).await.unwrap().map(drop).unwrap_err();
        assert!(error.may_have_run(), "{error}");
        let told = within("what it is told", router.recv()).await.unwrap();
        let told = Envelope::decode(Message::from(told.into_frames().split_off(1))).unwrap();
        assert_eq!((told.header.kind, told.header.call), (Kind::Cancel, call));
        assert_eq!(client.malformed(), 3 * n as u64);
        // Of no call at all.
        for nonsense in [vec![1, 2, 3], vec![9; Header::LEN]] {
            let nonsense = Message::from([id.clone(), nonsense]);
            within("it leaves", router.send(nonsense)).await.unwrap();
        }
    }
    assert_eq!(client.in_flight(), 0);
}

/// Messages that a socket keeps, for the two tests below.
const FEW: usize = 10;

/// So large that the system does not take a [`FEW`] of them from a client whose peer does not read.
fn large() -> String {
    "x".repeat(4 << 20)
}

/// A peer that reads when it is asked to, and what connects to it.
async fn narrow(linger: Duration) -> (Router, Client) {
    let few = socket::Options::new().send_hwm(FEW).recv_hwm(1_usize);
    let router = Router::with_options(few.clone()).unwrap();
    let endpoint = within("bind", router.bind("tcp://127.0.0.1:0")).await.unwrap();
    let options = Options::new().linger(linger).socket(few);
    let client = Client::with_options(&endpoint, options).unwrap();
    client.connected(DEADLINE).await.unwrap();
    (router, client)
}

#[tokio::test]
async fn a_client_closes_within_its_linger_and_no_longer() {
    const LINGER: Duration = Duration::from_secs(2);
    let (router, client) = narrow(LINGER).await;
    let arguments = Codec::Postcard.encode(&large()).unwrap();
    let request = Request::new(Method::new("any").unwrap(), Codec::Postcard, arguments);
    let calls: Vec<_> = (0..FEW)
        .map(|_| client.begin(request.try_clone().unwrap()))
        .collect();
    // They were sent, and are cancelled, for which there is no room; nor does what was sent leave.
    drop(calls);
    let begun = std::time::Instant::now();
    within("the end", client.close()).await;
    let took = begun.elapsed();
    assert!(took >= LINGER && took < 2 * LINGER, "{took:?}");
    drop(router);
}

#[test]
fn what_was_said_last_to_a_server_that_drains_has_left_when_a_client_is_closed() {
    let servers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let theirs = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (go, told) = tokio::sync::oneshot::channel::<()>();
    let (router, other) = servers.block_on(narrow(DEADLINE));
    let reading = servers.spawn(async move {
        let first = router.recv().await.unwrap();
        let mut draining = Envelope::draining().encode().unwrap();
        draining.push_front(first[0].to_vec());
        router.send(draining).await.unwrap();
        let _ = told.await;
        for _ in 1..FEW {
            router.recv().await.unwrap();
        }
    });
    theirs.block_on(async {
        // One of its own runtime.
        let client = Client::with_options(other.endpoint(), other.options().clone()).unwrap();
        for _ in 0..FEW {
            client.method("note").one_way(&large()).await.unwrap();
        }
        until("the news of it", || !client.is_connected()).await;
        let _ = go.send(());
        within("the end", client.close()).await;
    });
    // Nothing of the client is left that could send.
    drop(theirs);
    servers.block_on(async { within("all of it", reading).await.unwrap() });
}
