//! PUSH, PULL and PAIR with libzmq, in both roles and both bind directions.

mod harness;
mod interop;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::SocketType;
use harness::{
    bind, brisk, idle, number, numbered, peers, ready_peers, recv, recv_many, send, socket, socket_with,
    until, vacant, within, would_block,
};
use interop::{BINDERS, Binder, PySocket, Pyzmq, link};
use serde_json::json;

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn nothing_is_lost_or_reordered_in_bulk() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        for (count, size) in [(20_000, 16), (2_000, 1000), (200, 100_000), (10, 3_000_000)] {
            let (push, pull) = (socket(SocketType::Push), py.socket(SocketType::Pull).await);
            link(&push, &pull, binder).await;
            let sending = async {
                for i in 0..count {
                    send(&push, numbered(i, size)).await;
                }
            };
            let (numbers, ()) = tokio::join!(pull.drain_exactly(count as usize, 0), sending);
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());

            let (pull, push) = (socket(SocketType::Pull), py.socket(SocketType::Push).await);
            link(&pull, &push, binder).await;
            let receiving = async {
                for i in 0..count {
                    let message = recv(&pull).await;
                    assert_eq!((number(&message[0]), message[0].len()), (i, size));
                }
            };
            let (sent, ()) = tokio::join!(
                push.send_numbered(0, count, size, Duration::from_secs(5)),
                receiving
            );
            assert_eq!(sent, count);
        }
    }
}

#[tokio::test]
async fn odd_sizes_arrive_as_they_were() {
    let py = Pyzmq::start();
    let sizes = [
        0,
        1,
        62,
        63,
        254,
        255,
        256,
        257,
        4095,
        4096,
        65_535,
        65_536,
        131_071,
        131_072,
        (1 << 20) + 1,
    ];
    for binder in BINDERS {
        let (ours, theirs) = (socket(SocketType::Pair), py.socket(SocketType::Pair).await);
        link(&ours, &theirs, binder).await;
        for size in sizes {
            let body: Vec<u8> = (0..size).map(|i| (i * 7 + i / 256) as u8).collect();
            let whole = Message::from([&body[..], b"", &body[..size / 2], &body]);
            for message in [Message::from(&body[..]), whole] {
                let (got, ()) = tokio::join!(theirs.recv(), send(&ours, message.clone()));
                assert!(got == message, "{size} bytes to libzmq");
                theirs.send(message.clone()).await;
                assert!(recv(&ours).await == message, "{size} bytes from libzmq");
            }
        }
    }
}

#[tokio::test]
async fn a_full_peer_is_passed_over() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let push = socket_with(SocketType::Push, brisk().send_hwm(2_usize).send_buffer(65_536));
        let mut pulls: Vec<PySocket<'_>> = Vec::new();
        for hwm in [1, 100_000, 100_000] {
            let pull = py
                .socket_with(SocketType::Pull, json!({"RCVHWM": hwm, "RCVBUF": 65_536}))
                .await;
            link(&push, &pull, binder).await;
            pulls.push(pull);
        }
        // The first never reads: it takes what its queues hold, and then no more.
        for i in 0..600 {
            send(&push, numbered(i, 65_536)).await;
        }
        let mut all = Vec::new();
        for pull in &pulls {
            all.push(pull.drain(SOON, 0).await);
        }
        assert!(all[0].len() < 100, "the full one took {}", all[0].len());
        assert!(
            all[1].len() > 200 && all[2].len() > 200,
            "{} {}",
            all[1].len(),
            all[2].len()
        );
        let mut numbers = all.concat();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>(), "each once");
    }
}

#[tokio::test]
async fn a_full_one_of_ours_is_passed_over_by_theirs() {
    let py = Pyzmq::start();
    let push = py
        .socket_with(SocketType::Push, json!({"SNDHWM": 2, "SNDBUF": 65_536}))
        .await;
    let full = socket_with(SocketType::Pull, brisk().recv_hwm(2_usize).recv_buffer(65_536));
    let quick = socket(SocketType::Pull);
    for pull in [&full, &quick] {
        push.connect(&bind(pull).await).await;
        peers(pull, 1).await;
    }
    let reading = async {
        let mut count = 0;
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), quick.recv()).await {
            count += 1;
        }
        count
    };
    let (sent, quick_count) = tokio::join!(
        push.send_numbered(0, 400, 65_536, Duration::from_secs(5)),
        reading
    );
    assert_eq!(sent, 400);
    assert!(quick_count >= 300, "the quick one got {quick_count}");
    let rest = recv_many(&full, 400 - quick_count).await;
    assert!(
        rest.windows(2)
            .all(|pair| number(&pair[0][0]) < number(&pair[1][0]))
    );
    assert!(idle(&full) && idle(&quick));
}

#[tokio::test]
async fn connecting_before_binding_queues_up_to_the_mark() {
    let py = Pyzmq::start();
    let endpoint = vacant();
    let push = socket_with(SocketType::Push, brisk().send_hwm(10_usize));
    push.connect(endpoint.as_str()).unwrap();
    for i in 0..10 {
        push.try_send(numbered(i, 8)).unwrap();
    }
    assert!(would_block(&push, numbered(10, 8)), "the mark is ten");
    let pull = py.socket(SocketType::Pull).await;
    pull.bind(&endpoint).await;
    assert_eq!(pull.drain_exactly(10, 0).await, (0..10).collect::<Vec<_>>());

    // Theirs connects first.
    let endpoint = vacant();
    let push = py
        .socket_with(SocketType::Push, json!({"RECONNECT_IVL": 10}))
        .await;
    push.connect(&endpoint).await;
    assert_eq!(push.send_numbered(0, 10, 8, Duration::ZERO).await, 10);
    let pull = socket(SocketType::Pull);
    within("bind", pull.bind(endpoint)).await.unwrap();
    let got: Vec<_> = recv_many(&pull, 10)
        .await
        .iter()
        .map(|message| number(&message[0]))
        .collect();
    assert_eq!(got, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn immediate_sends_to_live_peers_only() {
    let py = Pyzmq::start();
    for immediate in [true, false] {
        let dead = vacant();
        let push = socket_with(SocketType::Push, brisk().immediate(immediate));
        push.connect(dead.as_str()).unwrap();
        assert_eq!(
            would_block(&push, numbered(0, 8)),
            immediate,
            "nobody is there yet"
        );
        let first = u64::from(!immediate);
        let pull = py.socket(SocketType::Pull).await;
        let live = pull.bind("tcp://127.0.0.1:*").await;
        push.connect(live.as_str()).unwrap();
        peers(&push, 1).await;
        for i in first..20 {
            send(&push, numbered(i, 8)).await;
        }
        let expected = if immediate { 20 } else { 10 };
        assert_eq!(pull.drain_exactly(expected, 0).await.len(), expected);
        assert!(pull.recv_within(SOON).await.is_none());
        let late = py.socket(SocketType::Pull).await;
        late.bind(&dead).await;
        peers(&push, 2).await;
        if immediate {
            assert!(late.recv_within(SOON).await.is_none());
            for i in 0..2 {
                send(&push, numbered(i, 8)).await;
            }
            late.recv().await;
        } else {
            assert_eq!(late.drain_exactly(10, 0).await.len(), 10, "what waited for it");
        }
    }
}

#[tokio::test]
async fn a_multipart_message_survives_a_disconnect_whole_or_not_at_all() {
    // Theirs is killed while it sends.
    for binder in BINDERS {
        let py = Pyzmq::start();
        let pull = socket(SocketType::Pull);
        let push = py.socket_with(SocketType::Push, json!({"SNDHWM": 0})).await;
        link(&pull, &push, binder).await;
        let sent = push
            .send_numbered_with(0, 300, 20_000, Duration::from_secs(5), json!({"parts": 7}))
            .await;
        assert_eq!(sent, 300);
        let first = recv(&pull).await;
        drop(push);
        py.kill().await;
        peers(&pull, 0).await;
        let mut got = vec![first];
        while let Ok(message) = pull.try_recv() {
            got.push(message);
        }
        for (i, message) in got.iter().enumerate() {
            assert_eq!(message.len(), 7);
            assert!(
                message.iter().all(|part| **part == *numbered(i as u64, 20_000)),
                "message {i}"
            );
        }
    }

    // Ours sends while theirs comes and goes.
    let py = Pyzmq::start();
    let push = socket(SocketType::Push);
    let endpoint = bind(&push).await;
    let mut next = 0;
    for _ in 0..5 {
        let pull = py.socket(SocketType::Pull).await;
        pull.connect(&endpoint).await;
        peers(&push, 1).await;
        let target = next + 100;
        while next < target && ready_peers(&push) == 1 {
            match push.try_send(Message::from([(); 7].map(|()| numbered(next, 20_000)))) {
                Ok(()) => next += 1,
                Err(_) => break,
            }
        }
        for _ in 0..3 {
            let message = pull.recv().await;
            assert_eq!(message.len(), 7);
            assert!(message.iter().all(|part| part == &message[0]));
        }
        pull.close(Duration::ZERO).await;
        peers(&push, 0).await;
    }
}

#[tokio::test]
async fn pair_refuses_a_second_peer() {
    let py = Pyzmq::start();
    let ours = socket(SocketType::Pair);
    let endpoint = bind(&ours).await;
    let first = py.socket(SocketType::Pair).await;
    first.connect(&endpoint).await;
    peers(&ours, 1).await;
    let second = py
        .socket_with(SocketType::Pair, json!({"RECONNECT_IVL": 10}))
        .await;
    second.monitor().await;
    second.connect(&endpoint).await;
    second.event("DISCONNECTED").await;
    second.try_send("intruder").await.ok();
    for i in 0..10_u8 {
        send(&ours, [i].as_slice()).await;
        assert_eq!(first.recv().await, Message::from([i].as_slice()));
        first.send([i].as_slice()).await;
        assert_eq!(recv(&ours).await, Message::from([i].as_slice()));
    }
    assert_eq!(ready_peers(&ours), 1);
    second.close(Duration::ZERO).await;
    // Once the first is gone, another may come.
    first.close(Duration::ZERO).await;
    peers(&ours, 0).await;
    let third = py.socket(SocketType::Pair).await;
    third.connect(&endpoint).await;
    third.send("third").await;
    assert_eq!(recv(&ours).await, Message::from("third"));

    // Theirs refuses our second.
    let theirs = py.socket(SocketType::Pair).await;
    let endpoint = theirs.bind("tcp://127.0.0.1:*").await;
    let first = socket(SocketType::Pair);
    first.connect(endpoint.as_str()).unwrap();
    send(&first, "one").await;
    assert_eq!(theirs.recv().await, Message::from("one"));
    let second = socket(SocketType::Pair);
    second.connect(endpoint.as_str()).unwrap();
    send(&second, "intruder").await;
    send(&first, "two").await;
    assert_eq!(theirs.recv().await, Message::from("two"));
    theirs.send("back").await;
    assert_eq!(recv(&first).await, Message::from("back"));
}

#[tokio::test]
async fn ipc_and_tcp_serve_one_socket() {
    let py = Pyzmq::start();
    let folder = tempfile::tempdir().unwrap();
    let pull = socket(SocketType::Pull);
    let mut endpoints = vec![bind(&pull).await.to_string()];
    if cfg!(feature = "ipc") {
        let path = folder.path().join("socket").display().to_string();
        for name in [format!("ipc://{path}"), format!("ipc://@{path}")] {
            endpoints.push(within("bind", pull.bind(name)).await.unwrap().to_string());
        }
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let push = py.socket(SocketType::Push).await;
        push.connect(endpoint).await;
        push.send(endpoint.as_str()).await;
        assert_eq!(recv(&pull).await, Message::from(endpoint.as_str()));
        assert_eq!(ready_peers(&pull), 1, "{i}");
        push.close(Duration::ZERO).await;
        peers(&pull, 0).await;
    }

    let theirs = py.socket(SocketType::Pull).await;
    let path = folder.path().join("theirs").display().to_string();
    let mut endpoints = vec![theirs.bind("tcp://127.0.0.1:*").await];
    if cfg!(feature = "ipc") {
        endpoints.push(theirs.bind(&format!("ipc://{path}")).await);
        endpoints.push(theirs.bind(&format!("ipc://@{path}")).await);
    }
    let push = socket(SocketType::Push);
    for endpoint in &endpoints {
        push.connect(endpoint.as_str()).unwrap();
    }
    peers(&push, endpoints.len()).await;
    for i in 0..30 {
        send(&push, numbered(i, 8)).await;
    }
    assert_eq!(theirs.drain_exactly(30, 0).await.len(), 30);
    until("an even share", || {
        push.peers()
            .iter()
            .all(|p| p.messages_sent == 30 / endpoints.len() as u64)
    })
    .await;
}

#[tokio::test]
async fn unbind_and_disconnect_work_at_run_time() {
    let py = Pyzmq::start();
    let pull = socket(SocketType::Pull);
    let endpoint = bind(&pull).await;
    let push = py
        .socket_with(SocketType::Push, json!({"RECONNECT_IVL": 10}))
        .await;
    push.connect(&endpoint).await;
    push.send("a").await;
    assert_eq!(recv(&pull).await, Message::from("a"));
    peers(&pull, 1).await;
    push.disconnect(&endpoint).await;
    peers(&pull, 0).await;
    push.connect(&endpoint).await;
    peers(&pull, 1).await;
    within("unbind", pull.unbind(&endpoint)).await.unwrap();
    assert!(pull.bound().is_empty());
    // The port is free for anyone.
    let other = py.socket(SocketType::Pull).await;
    let args = json!({"name": other.name(), "endpoint": endpoint.to_string()});
    if let Err(error) = py.try_call("bind", args).await {
        panic!("somebody else holds the port: {}", error.text);
    }

    let theirs = py.socket(SocketType::Pull).await;
    let endpoint = theirs.bind("tcp://127.0.0.1:*").await;
    let push = socket(SocketType::Push);
    push.connect(endpoint.as_str()).unwrap();
    send(&push, "b").await;
    assert_eq!(theirs.recv().await, Message::from("b"));
    push.disconnect(endpoint.as_str()).unwrap();
    until("no peers", || push.peers().is_empty()).await;
    assert!(would_block(&push, "c"));
    link(&push, &theirs, Binder::Theirs).await;
    send(&push, "d").await;
    assert_eq!(theirs.recv().await, Message::from("d"));
}
