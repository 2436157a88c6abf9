//! How connections, servers and clients end, and what becomes of the calls under way.
#![cfg(all(feature = "inproc", feature = "tcp"))]

mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use flexbond_rpc::client::Options;
use flexbond_rpc::envelope::{Codec, Envelope, Header, Kind, Method};
use flexbond_rpc::{CallError, Client};
use flexbond_session::Message;
use flexbond_session::socket::{Dealer, Req, Router};
use futures_util::stream;
use harness::{Running, client, until, vacant, within};

#[tokio::test]
async fn a_call_whose_server_dies_may_have_run_and_the_next_waits_for_its_successor() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://rpc-dies"] {
        let server = Running::start(endpoint).await;
        let client = server.client();
        let hanging = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, ()>("hang", &()).await }
        });
        let mut numbers = client
            .method("count")
            .window(4)
            .stream::<_, u32>(&u32::MAX)
            .await
            .unwrap();
        until("its begin", || server.seen.begun.load(Ordering::SeqCst) == 1).await;
        let seen = server.seen.clone();
        let endpoint = server.kill().await;
        let error = within("its end", hanging).await.unwrap().unwrap_err();
        assert!(
            matches!(error, CallError::Disconnected { sent: true, .. }),
            "{error}"
        );
        assert!(error.may_have_run());
        let error = loop {
            match within("the stream's end", numbers.next())
                .await
                .expect("an error, not an end")
            {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
        assert!(numbers.next().await.is_none());
        drop(seen);

        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, String>("echo", &"still there").await }
        });
        until("the call", || client.in_flight() == 1).await;
        let _next = Running::start(&endpoint.to_string()).await;
        assert_eq!(
            within("the answer", waiting).await.unwrap().unwrap(),
            "still there"
        );
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn without_a_server_a_call_ends_with_the_reason() {
    let endpoint = vacant();
    let waiting = Client::connect(&endpoint).unwrap();
    let is_refused = || {
        waiting
            .trouble()
            .is_some_and(|trouble| trouble.contains("refused"))
    };
    until("the first attempt", is_refused).await;
    let error = waiting
        .method("echo")
        .timeout(Duration::from_millis(200))
        .value::<_, String>(&"x")
        .await
        .unwrap_err();
    assert!(!error.may_have_run());
    assert!(error.to_string().contains("refused"), "{error}");
    let error = waiting.connected(Duration::from_millis(20)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");

    let hasty = Client::with_options(&endpoint, Options::new().wait_for_connection(false)).unwrap();
    let error = within("it", hasty.call::<_, String>("echo", &"x"))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unconnected { .. }), "{error}");

    assert!(Client::connect("tcp://nowhere").is_err());
    assert!(Client::connect("carrier-pigeon://roof").is_err());
}

#[tokio::test]
async fn a_server_that_drains_lets_calls_end_and_takes_no_more() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://rpc-drains"] {
        let server = Running::start(endpoint).await;
        let seen = server.seen.clone();
        let client = server.client();
        let last = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, String>("wait", &()).await }
        });
        until("the last call", || seen.begun.load(Ordering::SeqCst) == 1).await;
        let ended = server.stop();
        until("the news of it", || {
            client.trouble().is_some_and(|trouble| trouble.contains("ends"))
        })
        .await;
        let late = client.method("echo").timeout(Duration::from_millis(50));
        let error = within("it", late.value::<_, String>(&"late")).await.unwrap_err();
        assert!(!error.may_have_run(), "{error}");
        seen.go.notify_waiters();
        assert_eq!(within("it", last).await.unwrap().unwrap(), "gone on");
        let stopped = within("the end", ended).await.unwrap();
        assert_eq!((stopped.aborted, stopped.undelivered), (0, 0));
        assert_eq!(stopped.stats.in_flight, 0);
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let mut options = flexbond_rpc::server::Options::new();
    options.drain_timeout = Duration::from_millis(50);
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let seen = server.seen.clone();
    let client = server.client();
    let hanging = tokio::spawn(async move { client.call::<_, ()>("hang", &()).await });
    until("the call", || seen.begun.load(Ordering::SeqCst) == 1).await;
    let stopped = within("the end", server.stop()).await.unwrap();
    assert_eq!(stopped.aborted, 1);
    until("the work's end", || seen.dropped.load(Ordering::SeqCst) == 1).await;
    assert!(within("it", hanging).await.unwrap().is_err());
}

#[tokio::test]
async fn a_caller_that_goes_takes_its_work_with_it() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.call::<_, ()>("hang", &()).await }
    });
    let uploading = tokio::spawn({
        let client = client.clone();
        let values = stream::once(std::future::pending::<i64>());
        async move { client.method("sum").upload::<_, _, i64>(&0_i64, values).await }
    });
    until("both", || {
        server.seen.begun.load(Ordering::SeqCst) == 1 && client.in_flight() == 2
    })
    .await;
    hanging.abort();
    uploading.abort();
    let _ = (hanging.await, uploading.await);
    drop(client);
    until("the work's end", || {
        server.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn a_thousand_callers_of_a_server_that_restarts_all_get_their_answers() {
    let mut server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let callers: Vec<_> = (0..50_u32)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                for k in 0..20 {
                    let text = format!("{n} {k}");
                    loop {
                        // What may have run is sound to repeat here.
                        match client.call::<_, String>("echo", &text).await {
                            Ok(echo) => break assert_eq!(echo, text),
                            Err(CallError::Disconnected { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..3 {
        client.call::<_, String>("echo", &"between").await.ok();
        let endpoint = server.kill().await;
        server = Running::start(&endpoint.to_string()).await;
    }
    for caller in callers {
        within("a caller", caller).await.expect("all its answers");
    }
}

#[tokio::test]
async fn garbage_is_answered_and_harms_nobody() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let client = server.client();
    let stranger = Dealer::new();
    stranger.connect(&server.endpoint).unwrap();
    let header = |kind: Kind| Header::new(kind, 77).encode().unwrap().to_vec();
    let mut version = header(Kind::Request);
    version[0] = 9;
    for message in [
        Message::from("not an envelope"),
        Message::from(["", "", ""]),
        Message::from(vec![0xff_u8; 100]),
        Message::from([version, b"echo".to_vec(), b"\"x\"".to_vec()]),
        Message::from([header(Kind::Request), Vec::new(), Vec::new()]),
        Message::from([header(Kind::Response), Vec::new(), Vec::new()]),
    ] {
        within("it leaves", stranger.send(message)).await.unwrap();
        let answer = within("an answer", stranger.recv()).await.unwrap();
        let answer = Envelope::decode(answer).unwrap();
        assert_eq!(answer.header.kind, Kind::Error, "{answer:?}");
        assert!(
            String::from_utf8_lossy(&answer.body).contains("malformed"),
            "{answer:?}"
        );
    }
    // What belongs to no call is nothing to answer.
    for kind in [Kind::Cancel, Kind::Credit, Kind::StreamItem, Kind::StreamEnd] {
        let message = Message::from([header(kind), Vec::new(), Vec::new()]);
        within("it leaves", stranger.send(message)).await.unwrap();
    }
    let ping = Message::from([header(Kind::Ping), Vec::new(), Vec::new()]);
    within("it leaves", stranger.send(ping)).await.unwrap();
    let pong = Envelope::decode(within("an answer", stranger.recv()).await.unwrap()).unwrap();
    assert_eq!((pong.header.kind, pong.header.call), (Kind::Pong, 77));
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_plain_req_socket_and_json_are_enough() {
    let server = Running::start("tcp://127.0.0.1:0").await;
    let req = Req::new();
    req.connect(&server.endpoint).unwrap();
    for n in 0..3_u64 {
        let mut header = Header::new(Kind::Request, n);
        header.codec = Codec::Json;
        let header = header.encode().unwrap().to_vec();
        let message = Message::from([header, b"add".to_vec(), br#"{"a": 1, "b": 2.5}"#.to_vec()]);
        within("it leaves", req.send(message)).await.unwrap();
        let answer = Envelope::decode(within("an answer", req.recv()).await.unwrap()).unwrap();
        assert_eq!((answer.header.kind, answer.header.call), (Kind::Response, n));
        assert_eq!(&answer.body[..], b"3.5");
    }
}

#[tokio::test]
async fn a_server_that_sends_nonsense_is_an_error_and_no_more() {
    let router = Router::new();
    let endpoint = within("bind", router.bind("tcp://127.0.0.1:0")).await.unwrap();
    let client = client(&endpoint);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.method("any").stream::<_, u32>(&()).await })
        })
        .collect();
    for n in 0..4 {
        let request = within("a request", router.recv()).await.unwrap();
        let id = request[0].to_vec();
        let call = Envelope::decode(Message::from(request.into_frames().split_off(1))).unwrap();
        let call = call.header.call;
        let answers = match n {
            0 => vec![Envelope::stream_item(call, 5, "")],
            1 => vec![Envelope::stream_end(call, 9)],
            2 => {
                // The length of a method's name that is not there.
                let mut cut = Header::new(Kind::Response, call).encode().unwrap().to_vec();
                cut.push(9);
                within("it leaves", router.send([id.clone(), cut])).await.unwrap();
                vec![]
            }
            _ => vec![
                Envelope::error(call, "no body of an error"),
                Envelope::response(call, "late"),
            ],
        };
        for answer in answers {
            let mut message = answer.encode().unwrap();
            message.push_front(id.clone());
            within("it leaves", router.send(message)).await.unwrap();
        }
        for nonsense in [Message::from("?"), Envelope::response(99, "").encode().unwrap()] {
            let mut message = nonsense;
            message.push_front(id.clone());
            within("it leaves", router.send(message)).await.unwrap();
        }
    }
    for call in calls {
        let error = within("its end", call).await.unwrap().map(drop).unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Incomplete { .. } | CallError::Answer(_) | CallError::Malformed(_)
            ),
            "{error}"
        );
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_caller_that_reads_nothing_costs_the_others_nothing() {
    let mut options = flexbond_rpc::server::Options::new();
    options.max_unread = 100;
    options.socket = options.socket.send_hwm(10_usize);
    let server = Running::with_options("tcp://127.0.0.1:0", options).await;
    let client = server.client();
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
    // Calls and never reads: its answers pile up until the server ends the connection.
    let options = flexbond_session::socket::Options::new();
    let silent = Dealer::with_options(options.recv_hwm(1_usize).send_hwm(10_usize)).unwrap();
    silent.connect(&server.endpoint).unwrap();
    let text = Codec::Postcard.encode(&"x".repeat(64 << 10)).unwrap().body;
    let flood = async {
        for n in 0..u64::MAX {
            let echo = Envelope::request(n, Method::new("echo").unwrap(), text.clone());
            let echo = echo.with_codec(Codec::Postcard).encode().unwrap();
            if silent.send(echo).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = flood => panic!("it was let"),
        () = until("both", || (server.stats)().connections == 2) => {}
    }
    let flood = async {
        // Each is answered as malformed.
        while silent.send(Message::from(vec![0; 100])).await.is_ok() {}
    };
    tokio::select! {
        () = flood => panic!("it was let"),
        () = until("its end", || (server.stats)().connections == 1) => {}
    }
    assert_eq!(client.call::<_, String>("echo", &"x").await.unwrap(), "x");
    let stopped = within("the end", server.stop()).await.unwrap();
    assert_eq!(stopped.aborted, 0);
}
