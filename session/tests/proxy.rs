//! Proxies and devices: what goes in on one side comes out on the other, once and whole.

#![cfg(feature = "inproc")]

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{
    Dealer, Options, Pair, Proxy, ProxyError, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// An inproc endpoint of this test's own.
fn endpoint(name: &str) -> String {
    format!("inproc://proxy-{name}")
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {PATIENCE:?}"))
}

#[tokio::test]
async fn a_queue_spreads_requests_and_brings_replies_back() {
    let (clients, workers) = (Router::new(), Dealer::new());
    let front = clients.bind(endpoint("queue-front")).await.unwrap();
    let back = workers.bind(endpoint("queue-back")).await.unwrap();
    tokio::spawn(async move { Proxy::queue(&clients, &workers).run().await });

    for name in ["one", "two"] {
        let worker = Rep::new();
        worker.connect(&back).unwrap();
        tokio::spawn(async move {
            while let Ok(request) = worker.recv().await {
                worker.send([&request[0], name.as_bytes()]).await.unwrap();
            }
        });
    }
    let mut tasks = Vec::new();
    for client in 0..3 {
        let req = Req::new();
        req.connect(&front).unwrap();
        tasks.push(tokio::spawn(async move {
            let mut answered_by = std::collections::BTreeSet::new();
            for i in 0..50 {
                let text = format!("{client}-{i}");
                req.send(text.as_str()).await.unwrap();
                let reply = within("a reply", req.recv()).await.unwrap();
                assert_eq!(reply[0], *text.as_bytes());
                answered_by.insert(reply[1].to_vec());
            }
            answered_by.len()
        }));
    }
    for task in tasks {
        assert!(task.await.unwrap() >= 1);
    }
}

#[tokio::test]
async fn a_forwarder_passes_subscriptions_up_and_messages_down() {
    let (publishers, subscribers) = (XSub::new(), XPub::new());
    let front = publishers.bind(endpoint("forwarder-front")).await.unwrap();
    let back = subscribers.bind(endpoint("forwarder-back")).await.unwrap();
    tokio::spawn(async move { Proxy::forwarder(&publishers, &subscribers).run().await });

    // An XPUB as publisher can wait until the subscription has come all the way.
    let publisher = XPub::new();
    publisher.connect(&front).unwrap();
    let subscriber = Sub::new();
    subscriber.subscribe("weather").unwrap();
    subscriber.connect(&back).unwrap();
    let subscription = within("the subscription", publisher.recv()).await.unwrap();
    assert_eq!(subscription, Message::from("\u{1}weather"));

    publisher.send(["traffic", "jam"]).await.unwrap();
    publisher.send(["weather", "sun"]).await.unwrap();
    let message = within("a message", subscriber.recv()).await.unwrap();
    assert_eq!(message, Message::from(["weather", "sun"]));
}

#[tokio::test]
async fn a_streamer_with_capture_copies_every_message() {
    let (producers, workers, capture) = (Pull::new(), Push::new(), Push::new());
    let front = producers.bind(endpoint("streamer-front")).await.unwrap();
    let back = workers.bind(endpoint("streamer-back")).await.unwrap();
    let tap = capture.bind(endpoint("streamer-tap")).await.unwrap();
    tokio::spawn(async move {
        Proxy::streamer(&producers, &workers)
            .capture(&capture)
            .run()
            .await
    });

    let (producer, worker, log) = (Push::new(), Pull::new(), Pull::new());
    producer.connect(&front).unwrap();
    worker.connect(&back).unwrap();
    log.connect(&tap).unwrap();
    for i in 0..500 {
        producer.send([i.to_string(), "body".to_owned()]).await.unwrap();
    }
    for i in 0..500 {
        let expected = Message::from([i.to_string(), "body".to_owned()]);
        assert_eq!(within("the work", worker.recv()).await.unwrap(), expected);
        assert_eq!(within("the copy", log.recv()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_monitored_queue_marks_the_direction() {
    let (front, back, monitor) = (Router::new(), Dealer::new(), Pub::new());
    let front_at = front.bind(endpoint("monitored-front")).await.unwrap();
    let back_at = back.bind(endpoint("monitored-back")).await.unwrap();
    let watch = Sub::new();
    watch.subscribe("").unwrap();
    watch
        .connect(monitor.bind(endpoint("monitored-watch")).await.unwrap())
        .unwrap();
    let mut events = monitor.monitor();
    let ready = async {
        while !matches!(
            events.recv().await,
            Some(flexbond_session::socket::Event::Ready { .. })
        ) {}
    };
    if monitor.peers().iter().all(|peer| !peer.ready) {
        within("the watcher", ready).await;
    }
    tokio::spawn(async move {
        Proxy::monitored_queue(&front, &back, &monitor, "in", "out")
            .run()
            .await
    });

    let client = Req::with_options(Options::new().routing_id("client")).unwrap();
    client.connect(front_at).unwrap();
    let worker = Rep::new();
    worker.connect(back_at).unwrap();
    client.send("question").await.unwrap();
    assert_eq!(
        within("the question", worker.recv()).await.unwrap(),
        Message::from("question")
    );
    worker.send("answer").await.unwrap();
    assert_eq!(
        within("the answer", client.recv()).await.unwrap(),
        Message::from("answer")
    );
    let seen = within("the first copy", watch.recv()).await.unwrap();
    assert_eq!(seen, Message::from(["in", "client", "", "question"]));
    let seen = within("the second copy", watch.recv()).await.unwrap();
    assert_eq!(seen, Message::from(["out", "client", "", "answer"]));
}

#[tokio::test]
async fn between_two_routers_the_ids_change_places() {
    let (left, right, monitor) = (Router::new(), Router::new(), Pub::new());
    let left_at = left.bind(endpoint("routers-left")).await.unwrap();
    let right_at = right.bind(endpoint("routers-right")).await.unwrap();
    let a = Dealer::with_options(Options::new().routing_id("a")).unwrap();
    let b = Dealer::with_options(Options::new().routing_id("b")).unwrap();
    a.connect(left_at).unwrap();
    b.connect(right_at).unwrap();
    // `right` knows b only after b's introduction; a first message from b proves that.
    b.send(["a", "hello"]).await.unwrap();
    let first = within("b's message", right.recv()).await.unwrap();
    assert_eq!(first, Message::from(["b", "a", "hello"]));
    tokio::spawn(async move {
        Proxy::monitored_queue(&left, &right, &monitor, "in", "out")
            .run()
            .await
    });
    a.send(["b", "question"]).await.unwrap();
    assert_eq!(
        within("the message", b.recv()).await.unwrap(),
        Message::from(["a", "question"])
    );
}

#[tokio::test]
async fn control_pauses_resumes_reports_and_ends() {
    let (producers, workers) = (Pull::new(), Push::new());
    let front = producers.bind(endpoint("control-front")).await.unwrap();
    let back = workers.bind(endpoint("control-back")).await.unwrap();
    let (ours, theirs) = (Pair::new(), Pair::new());
    ours.connect(theirs.bind(endpoint("control")).await.unwrap())
        .unwrap();
    let mut proxy = Proxy::streamer(&producers, &workers).control(&theirs);
    let ended = tokio::spawn(async move { proxy.run().await });

    let (producer, worker) = (Push::new(), Pull::new());
    producer.connect(&front).unwrap();
    worker.connect(&back).unwrap();
    producer.send("first").await.unwrap();
    assert_eq!(
        within("the first", worker.recv()).await.unwrap(),
        Message::from("first")
    );

    ours.send("PAUSE").await.unwrap();
    ours.send("STATISTICS").await.unwrap();
    let numbers = within("the statistics", ours.recv()).await.unwrap();
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|frame| u64::from_ne_bytes(frame.as_slice().try_into().unwrap()))
        .collect();
    assert_eq!(numbers, [1, 5, 0, 0, 0, 0, 1, 5]);

    // STATISTICS was answered after PAUSE, so the proxy is paused now.
    producer.send("second").await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(worker.try_recv().is_err(), "a paused proxy passes nothing");
    ours.send("RESUME").await.unwrap();
    assert_eq!(
        within("the second", worker.recv()).await.unwrap(),
        Message::from("second")
    );
    ours.send("TERMINATE").await.unwrap();
    let traffic = within("the end", ended).await.unwrap().unwrap();
    assert_eq!((traffic.forward.messages, traffic.forward.bytes), (2, 11));
}

#[tokio::test]
async fn a_cancelled_run_loses_nothing() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (producers, workers) = (Pull::new(), Push::with_options(Options::new().hwm(3)).unwrap());
    let front = producers.bind(endpoint("cancel-front")).await.unwrap();
    let back = workers.bind(endpoint("cancel-back")).await.unwrap();
    let mut proxy = Proxy::streamer(&producers, &workers);
    tokio::spawn(async move {
        loop {
            let turns = random.usize(0..4);
            let cut = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                ended = proxy.run() => return ended,
                () = cut => tokio::task::yield_now().await,
            }
        }
    });
    let (producer, worker) = (Push::new(), Pull::with_options(Options::new().hwm(2)).unwrap());
    producer.connect(&front).unwrap();
    worker.connect(&back).unwrap();
    tokio::spawn(async move {
        for i in 0..2000 {
            producer.send(i.to_string()).await.unwrap();
        }
        producer.close().await;
    });
    for i in 0..2000 {
        assert_eq!(
            within("a message", worker.recv()).await.unwrap(),
            Message::from(i.to_string())
        );
    }
}

#[tokio::test]
async fn between_rep_and_req_one_exchange_follows_another() {
    let (clients, servers) = (Rep::new(), Req::new());
    let front = clients.bind(endpoint("exchange-front")).await.unwrap();
    let back = servers.bind(endpoint("exchange-back")).await.unwrap();
    tokio::spawn(async move { Proxy::new(clients, servers).run().await });
    let server = Rep::new();
    server.connect(&back).unwrap();
    tokio::spawn(async move {
        while let Ok(request) = server.recv().await {
            server.send(request).await.unwrap();
        }
    });
    let client = Req::new();
    client.connect(&front).unwrap();
    for n in 0..5 {
        let question = Message::from(format!("question {n}"));
        within("the question", client.send(question.clone()))
            .await
            .unwrap();
        assert_eq!(within("the answer", client.recv()).await.unwrap(), question);
    }
}

#[tokio::test]
async fn closing_a_side_ends_the_proxy_and_names_it() {
    let (producers, workers) = (Pull::new(), Push::new());
    let closing = producers.clone();
    let mut proxy = Proxy::streamer(&producers, &workers);
    let ended = tokio::spawn(async move { proxy.run().await });
    tokio::task::yield_now().await;
    closing.close().await;
    let error = within("the end", ended).await.unwrap().unwrap_err();
    assert!(
        matches!(error, ProxyError::Closed { side: "frontend" }),
        "{error}"
    );
}

#[tokio::test]
async fn two_sides_that_only_receive_are_refused() {
    let error = Proxy::new(Pull::new(), Sub::new()).run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a PULL and a SUB socket have nothing to pass to each other"
    );
}
