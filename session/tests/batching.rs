//! Many messages in one call, in both directions, and receiving with open eyes.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;

use std::collections::VecDeque;
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Options, RecvError, SendErrorKind, Socket, SocketType};
use harness::{number, numbered, socket, socket_with, within};

const ENDPOINTS: [&str; 2] = ["tcp://127.0.0.1:0", "inproc://batching"];

async fn pipeline(endpoint: &str, options: &Options) -> (Socket, Socket) {
    let pull = socket_with(SocketType::Pull, options.clone());
    let push = socket_with(SocketType::Push, options.clone());
    let bound = within("bind", pull.bind(endpoint)).await.unwrap();
    push.connect(bound).unwrap();
    (push, pull)
}

fn batch(count: u64) -> VecDeque<Message> {
    (0..count)
        .map(|i| Message::from(numbered(i, [8, 100, 5000][i as usize % 3])))
        .collect()
}

#[tokio::test]
async fn what_goes_in_together_comes_out_in_order() {
    for endpoint in ENDPOINTS {
        for hwm in [1, 3, 1000] {
            let endpoint = endpoint.replace("batching", &format!("order-{hwm}"));
            let (push, pull) = pipeline(&endpoint, &Options::new().hwm(hwm)).await;
            const COUNT: u64 = 2000;
            let sending = tokio::spawn(async move {
                let mut messages = batch(COUNT);
                push.send_many(&mut messages).await.unwrap();
                assert!(messages.is_empty());
                push.send_many(&mut messages).await.unwrap();
                push
            });
            let mut received = Vec::new();
            while received.len() < COUNT as usize {
                let before = received.len();
                let count = within("messages", pull.recv_many(&mut received, 7))
                    .await
                    .unwrap();
                assert_eq!(received.len() - before, count);
                assert!((1..=7).contains(&count), "{count}");
            }
            let numbers: Vec<_> = received.iter().map(|message| number(&message[0])).collect();
            assert_eq!(
                numbers,
                (0..COUNT).collect::<Vec<_>>(),
                "{endpoint}, high-water mark {hwm}"
            );
            let push = sending.await.unwrap();
            assert_eq!(push.stats().messages_sent, COUNT);
            assert_eq!(pull.stats().messages_received, COUNT);
            assert_eq!(pull.stats().bytes_received, push.stats().bytes_sent);
        }
    }
}

#[tokio::test]
async fn a_send_that_was_given_up_leaves_what_it_did_not_send() {
    for endpoint in ENDPOINTS {
        let (push, pull) = pipeline(endpoint, &Options::new().hwm(2)).await;
        let mut messages = batch(3000);
        let mut received = Vec::new();
        let mut cuts = 0;
        while received.len() < 3000 {
            // Polled once, then dropped.
            tokio::select! {
                biased;
                sent = push.send_many(&mut messages) => sent.unwrap(),
                () = std::future::ready(()) => cuts += 1,
            }
            // It may have been given up before it sent anything.
            if push.stats().messages_sent > received.len() as u64 {
                within("some", pull.recv_many(&mut received, 5)).await.unwrap();
            }
        }
        assert!(cuts > 0, "nothing was given up");
        let numbers: Vec<_> = received.iter().map(|message| number(&message[0])).collect();
        assert_eq!(numbers, (0..3000).collect::<Vec<_>>(), "{endpoint}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_is_named_and_the_rest_stays() {
    let (push, pull) = pipeline(ENDPOINTS[0], &Options::new()).await;
    let mut messages = VecDeque::from([Message::from("a"), Message::new(), Message::from("b")]);
    let error = push.send_many(&mut messages).await.unwrap_err();
    assert_eq!(*error.kind(), SendErrorKind::Incomplete(false));
    assert!(error.into_message().is_empty());
    assert_eq!(messages, [Message::from("b")]);
    assert_eq!(within("a", pull.recv()).await.unwrap(), Message::from("a"));
}

#[tokio::test]
async fn a_send_timeout_takes_one_message_and_leaves_the_others() {
    let options = Options::new().hwm(1).send_timeout(Duration::from_millis(20));
    let push = socket_with(SocketType::Push, options);
    let mut messages = batch(3);
    let error = push.send_many(&mut messages).await.unwrap_err();
    assert!(matches!(error.kind(), SendErrorKind::Timeout(_)));
    assert_eq!(number(&error.into_message()[0]), 0);
    assert_eq!(messages.len(), 2);
}

#[tokio::test]
async fn nothing_to_receive_and_nothing_asked_for() {
    let (_push, pull) = pipeline(
        ENDPOINTS[0],
        &Options::new().recv_timeout(Duration::from_millis(20)),
    )
    .await;
    let mut messages = Vec::new();
    assert_eq!(pull.recv_many(&mut messages, 0).await.unwrap(), 0);
    let timeout = pull.recv_many(&mut messages, 9).await;
    assert!(matches!(timeout, Err(RecvError::Timeout(_))), "{timeout:?}");
    let push = socket(SocketType::Push);
    let unsupported = push.recv_many(&mut messages, 9).await;
    assert!(
        matches!(unsupported, Err(RecvError::Unsupported(_))),
        "{unsupported:?}"
    );
    pull.close().await;
    assert!(matches!(
        pull.recv_many(&mut messages, 9).await,
        Err(RecvError::Closed)
    ));
    assert!(messages.is_empty());
}

#[tokio::test]
async fn a_replier_gets_one_request_however_many_it_asks_for() {
    let rep = socket(SocketType::Rep);
    let bound = rep.bind(ENDPOINTS[0]).await.unwrap();
    let reqs: Vec<_> = (0..3).map(|_| socket(SocketType::Req)).collect();
    for req in &reqs {
        req.connect(&bound).unwrap();
        req.send("question").await.unwrap();
    }
    for _ in &reqs {
        let mut requests = Vec::new();
        assert_eq!(within("one", rep.recv_many(&mut requests, 9)).await.unwrap(), 1);
        assert!(matches!(
            rep.recv_many(&mut requests, 9).await,
            Err(RecvError::WrongState { .. })
        ));
        rep.send("answer").await.unwrap();
    }
    for req in &reqs {
        assert_eq!(
            within("an answer", req.recv()).await.unwrap(),
            Message::from("answer")
        );
    }
}

#[tokio::test]
async fn a_subscriber_gets_many_of_its_topics_and_none_of_others() {
    for endpoint in ["tcp://127.0.0.1:0", "inproc://many-topics"] {
        let publisher = socket(SocketType::XPub);
        let subscriber = socket(SocketType::Sub);
        let bound = publisher.bind(endpoint).await.unwrap();
        subscriber.subscribe("a").unwrap();
        subscriber.subscribe("b").unwrap();
        subscriber.connect(bound).unwrap();
        for _ in 0..2 {
            within("a subscription", publisher.recv()).await.unwrap();
        }
        for _ in 0..100 {
            publisher.send("a").await.unwrap();
            publisher.send("b").await.unwrap();
        }
        // What is on its way when a topic is cancelled is not delivered any more.
        subscriber.unsubscribe("b").unwrap();
        publisher.send("a: last").await.unwrap();
        let mut received = Vec::new();
        while received.last() != Some(&Message::from("a: last")) {
            within("more", subscriber.recv_many(&mut received, 64))
                .await
                .unwrap();
        }
        assert_eq!(received.len(), 101);
        assert!(received.iter().all(|message| message[0].starts_with(b"a")));
    }
}

#[tokio::test]
async fn a_receiver_with_open_eyes_lets_the_others_on_its_thread_work() {
    for endpoint in ENDPOINTS {
        let options = Options::new().spin(Options::MAX_SPIN);
        let (push, pull) = pipeline(endpoint, &options).await;
        let sending = tokio::spawn(async move {
            for i in 0..100 {
                push.send(numbered(i, 8)).await.unwrap();
                tokio::task::yield_now().await;
            }
            push
        });
        for i in 0..100 {
            let message = match i % 2 {
                0 => within("a message", pull.recv()).await.unwrap(),
                _ => within("a message", pull.recv_from()).await.unwrap().0,
            };
            assert_eq!(number(&message[0]), i);
        }
        let _push = sending.await.unwrap();
    }
}

#[tokio::test]
async fn open_eyes_close_at_the_receive_timeout_and_at_the_limit() {
    let options = Options::new().spin(Options::MAX_SPIN);
    let pull = socket_with(
        SocketType::Pull,
        options.clone().recv_timeout(Duration::from_millis(1)),
    );
    for _ in 0..10 {
        assert!(matches!(pull.recv().await, Err(RecvError::Timeout(_))));
    }
    let beyond = options.spin(Options::MAX_SPIN + Duration::from_nanos(1));
    let error = Socket::with_options(SocketType::Pull, beyond).unwrap_err();
    assert!(error.to_string().contains("spin"), "{error}");
}
