//! Handshakes and heartbeats with libzmq, in both roles and both bind directions.

mod harness;
mod interop;

use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{PlainServer, PlainUser, SocketType};
use flexbond_wire::zmtp::Version;
use harness::{
    brisk, disconnected, handshake_failed, peers, ready_peers, recv, send, socket, socket_with, until,
};
use interop::{BINDERS, Binder, Pyzmq, bytes, join, link};
use serde_json::json;

const TYPES: [SocketType; 11] = SocketType::ALL;

#[tokio::test]
async fn every_compatible_pair_shakes_hands_in_both_bind_directions() {
    let py = Pyzmq::start();
    for ours_type in TYPES {
        for their_type in TYPES.into_iter().filter(|theirs| ours_type.accepts(*theirs)) {
            for binder in BINDERS {
                let ours = socket(ours_type);
                let theirs = py.socket(their_type).await;
                theirs.monitor().await;
                link(&ours, &theirs, binder).await;
                theirs.event("HANDSHAKE_SUCCEEDED").await;
                let peer = ours.peers()[0].peer.clone();
                assert_eq!(
                    peer.version(),
                    Some(Version::V3_1),
                    "{ours_type} {their_type} {binder:?}"
                );
                assert_eq!(peer.socket_type(), Some(their_type));
                theirs.close(Duration::ZERO).await;
            }
        }
    }
}

#[tokio::test]
async fn libzmq_of_3_1_takes_our_subscription_commands() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let theirs = py.socket(SocketType::XPub).await;
        let ours = socket(SocketType::Sub);
        ours.subscribe("early").unwrap();
        link(&ours, &theirs, binder).await;
        assert_eq!(theirs.recv().await, Message::from(b"\x01early"));
        ours.subscribe("late").unwrap();
        assert_eq!(theirs.recv().await, Message::from(b"\x01late"));
        ours.unsubscribe("early").unwrap();
        assert_eq!(theirs.recv().await, Message::from(b"\x00early"));
    }
}

#[tokio::test]
async fn mechanisms_must_match() {
    let py = Pyzmq::start();
    py.call("zap", json!({"users": {"ada": "lovelace"}})).await;
    let user = PlainUser::new("ada", "lovelace");
    for binder in BINDERS {
        for (options, their_options) in [
            (brisk(), json!({"PLAIN_SERVER": 1})),
            (
                brisk(),
                json!({"PLAIN_USERNAME": bytes("ada"), "PLAIN_PASSWORD": bytes("lovelace")}),
            ),
            (brisk().plain_client(user.clone()), json!({})),
            (
                brisk().plain_server(PlainServer::new().user("ada", "lovelace")),
                json!({}),
            ),
        ] {
            let ours = socket_with(SocketType::Pull, options);
            let mut monitor = ours.monitor();
            let theirs = py.socket_with(SocketType::Push, their_options).await;
            join(&ours, &theirs, binder).await;
            // Why depends on who finds out first: the other one sees the connection end.
            handshake_failed(&mut monitor).await;
            assert_eq!(ready_peers(&ours), 0);
        }
    }
}

#[tokio::test]
async fn plain_admits_who_is_known_and_nobody_else() {
    let py = Pyzmq::start();
    py.call("zap", json!({"users": {"ada": "lovelace"}})).await;
    for binder in BINDERS {
        // We are the client.
        let theirs = py.socket_with(SocketType::Pull, json!({"PLAIN_SERVER": 1})).await;
        let ours = socket_with(
            SocketType::Push,
            brisk().plain_client(PlainUser::new("ada", "lovelace")),
        );
        link(&ours, &theirs, binder).await;
        send(&ours, "in").await;
        let (message, properties) = theirs.recv_with(&["User-Id"]).await;
        assert_eq!(
            (message, properties["User-Id"].as_str()),
            (Message::from("in"), Some("ada"))
        );

        let theirs = py.socket_with(SocketType::Pull, json!({"PLAIN_SERVER": 1})).await;
        theirs.monitor().await;
        let ours = socket_with(
            SocketType::Push,
            brisk().plain_client(PlainUser::new("ada", "wrong")),
        );
        let mut monitor = ours.monitor();
        join(&ours, &theirs, binder).await;
        let text = handshake_failed(&mut monitor).await;
        assert!(text.contains("400"), "the status that libzmq reports: {text}");
        theirs.event("HANDSHAKE_FAILED_AUTH").await;

        // We are the server.
        let users = PlainServer::new().user("ada", "lovelace");
        let ours = socket_with(SocketType::Pull, brisk().plain_server(users.clone()));
        let theirs = py
            .socket_with(
                SocketType::Push,
                json!({"PLAIN_USERNAME": bytes("ada"), "PLAIN_PASSWORD": bytes("lovelace")}),
            )
            .await;
        link(&ours, &theirs, binder).await;
        theirs.send("in").await;
        let (message, peer) = harness::within("a message", ours.recv_from()).await.unwrap();
        assert_eq!((message, peer.user_id()), (Message::from("in"), Some("ada")));

        let ours = socket_with(SocketType::Pull, brisk().plain_server(users));
        let mut monitor = ours.monitor();
        let theirs = py
            .socket_with(
                SocketType::Push,
                json!({"PLAIN_USERNAME": bytes("ada"), "PLAIN_PASSWORD": bytes("wrong")}),
            )
            .await;
        theirs.monitor().await;
        join(&ours, &theirs, binder).await;
        handshake_failed(&mut monitor).await;
        // Whichever of libzmq's two events it is, it must be one of a refused handshake.
        theirs.event("DISCONNECTED").await;
        assert_eq!(ready_peers(&ours), 0);
    }
}

#[tokio::test]
async fn incompatible_types_are_refused_by_both_sides() {
    let py = Pyzmq::start();
    for (ours_type, their_type) in [
        (SocketType::Req, SocketType::Pub),
        (SocketType::Pull, SocketType::Pull),
        (SocketType::Sub, SocketType::Push),
        (SocketType::Pair, SocketType::Dealer),
        (SocketType::Router, SocketType::Rep),
    ] {
        for binder in BINDERS {
            let ours = socket(ours_type);
            let mut monitor = ours.monitor();
            let theirs = py.socket(their_type).await;
            theirs.monitor().await;
            join(&ours, &theirs, binder).await;
            handshake_failed(&mut monitor).await;
            theirs.event("DISCONNECTED").await;
            assert_eq!(ready_peers(&ours), 0, "{ours_type} {their_type} {binder:?}");
        }
    }
}

#[tokio::test]
async fn heartbeats_of_both_sides_keep_the_connection() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let beat = Duration::from_millis(30);
        let options = brisk()
            .heartbeat_interval(beat)
            .heartbeat_timeout(beat * 10)
            .heartbeat_ttl(beat * 20);
        let ours = socket_with(SocketType::Dealer, options);
        let their_options = json!({"HEARTBEAT_IVL": 30, "HEARTBEAT_TIMEOUT": 300, "HEARTBEAT_TTL": 600});
        let theirs = py.socket_with(SocketType::Router, their_options).await;
        link(&ours, &theirs, binder).await;
        // Long enough for either to give up, if it had a reason.
        tokio::time::sleep(beat * 25).await;
        assert_eq!(ready_peers(&ours), 1);
        assert_eq!(ours.stats().reconnects, 0);
        send(&ours, "still here").await;
        let request = theirs.recv().await;
        theirs.send(request).await;
        assert_eq!(recv(&ours).await, Message::from("still here"));
    }
}

#[tokio::test]
async fn a_suspended_libzmq_is_given_up_and_found_again() {
    for binder in BINDERS {
        let py = Pyzmq::start();
        let beat = Duration::from_millis(50);
        let ours = socket_with(
            SocketType::Dealer,
            brisk().heartbeat_interval(beat).heartbeat_timeout(beat * 3),
        );
        let mut monitor = ours.monitor();
        let theirs = py
            .socket_with(SocketType::Dealer, json!({"RECONNECT_IVL": 10}))
            .await;
        link(&ours, &theirs, binder).await;
        py.suspend().await;
        let text = disconnected(&mut monitor).await;
        assert!(text.contains("heartbeat"), "{text}");
        py.resume().await;
        peers(&ours, 1).await;
        theirs.send("back").await;
        assert_eq!(recv(&ours).await, Message::from("back"));
    }
}

#[tokio::test]
async fn the_time_to_live_that_libzmq_announces_is_enforced() {
    for binder in BINDERS {
        let py = Pyzmq::start();
        let ours = socket(SocketType::Pull);
        let mut monitor = ours.monitor();
        let their_options = json!({"HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 10_000, "HEARTBEAT_TTL": 300});
        let theirs = py.socket_with(SocketType::Push, their_options).await;
        link(&ours, &theirs, binder).await;
        // One message after the connection stood for several beats: surely a PING came before it.
        tokio::time::sleep(Duration::from_millis(150)).await;
        theirs.send("x").await;
        recv(&ours).await;
        py.suspend().await;
        let text = disconnected(&mut monitor).await;
        assert!(text.contains("time to live"), "{text}");
        py.resume().await;
    }
}

#[tokio::test]
async fn libzmq_gives_us_up_by_our_own_time_to_live_never_while_we_live() {
    let py = Pyzmq::start();
    let beat = Duration::from_millis(40);
    let ours = socket_with(
        SocketType::Push,
        brisk().heartbeat_interval(beat).heartbeat_ttl(beat * 10),
    );
    let theirs = py.socket(SocketType::Pull).await;
    theirs.monitor().await;
    link(&ours, &theirs, Binder::Theirs).await;
    tokio::time::sleep(beat * 30).await;
    assert_eq!((ready_peers(&ours), ours.stats().reconnects), (1, 0));
    send(&ours, "x").await;
    assert_eq!(theirs.recv().await, Message::from("x"));
}

#[tokio::test]
async fn metadata_travels_both_ways() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let ours = socket_with(
            SocketType::Dealer,
            brisk().metadata("X-Color", "red").routing_id(&b"me"[..]),
        );
        let theirs = py.socket_with(
            SocketType::Dealer,
            json!({"METADATA": bytes("X-Shape:round"), "ROUTING_ID": bytes("they")}),
        );
        let theirs = theirs.await;
        link(&ours, &theirs, binder).await;
        send(&ours, "a").await;
        let (message, properties) = theirs.recv_with(&["X-Color", "Identity", "Socket-Type"]).await;
        assert_eq!(message, Message::from("a"));
        assert_eq!(properties["X-Color"], "red");
        assert_eq!(properties["Identity"], "me");
        assert_eq!(properties["Socket-Type"], "DEALER");
        theirs.send("b").await;
        let (message, peer) = harness::within("a message", ours.recv_from()).await.unwrap();
        assert_eq!(message, Message::from("b"));
        assert_eq!(peer.metadata("x-shape"), Some(&b"round"[..]));
        assert_eq!(&peer.routing_id()[..], b"they");
    }
}

#[tokio::test]
async fn a_restarted_libzmq_is_found_again() {
    let py = Pyzmq::start();
    let ours = socket(SocketType::Push);
    let first = py.socket(SocketType::Pull).await;
    let endpoint = first.bind("tcp://127.0.0.1:*").await;
    ours.connect(endpoint.as_str()).unwrap();
    peers(&ours, 1).await;
    first.close(Duration::ZERO).await;
    peers(&ours, 0).await;
    send(&ours, "while nobody was there").await;
    let second = py.socket(SocketType::Pull).await;
    // The port is free once the first socket's thread has let it go.
    let args = json!({"name": second.name(), "endpoint": endpoint});
    harness::within("the port to be free again", async {
        while py.try_call("bind", args.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(second.recv().await, Message::from("while nobody was there"));
    until("the count of reconnects", || ours.stats().reconnects == 1).await;
}

#[tokio::test]
async fn a_full_receiver_is_slow_but_not_dead() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        // Our queue is full and the connection no longer read, so their PINGs wait: ours show that we live.
        let beat = Duration::from_millis(50);
        let ours = socket_with(
            SocketType::Pull,
            brisk()
                .recv_hwm(1_usize)
                .recv_buffer(65_536)
                .heartbeat_interval(beat)
                .heartbeat_timeout(beat * 20),
        );
        let their_options = json!({"HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 300, "SNDBUF": 65_536});
        let theirs = py.socket_with(SocketType::Push, their_options).await;
        link(&ours, &theirs, binder).await;
        let count = 200;
        assert_eq!(
            theirs
                .send_numbered(0, count, 65_536, Duration::from_secs(5))
                .await,
            count
        );
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(ours.stats().handshakes, 1, "{binder:?}: never connected anew");
        for i in 0..count {
            assert_eq!(harness::number(&recv(&ours).await[0]), i);
        }
        assert_eq!((ready_peers(&ours), ours.stats().handshakes), (1, 1));
    }
}

#[tokio::test]
async fn a_full_receiver_at_their_side_is_slow_but_not_dead() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        // Their queue is full and the connection no longer read: our PINGs wait behind the messages.
        let beat = Duration::from_millis(50);
        let ours = socket_with(
            SocketType::Push,
            brisk()
                .send_hwm(1000_usize)
                .send_buffer(65_536)
                .heartbeat_interval(beat),
        );
        let theirs = py
            .socket_with(SocketType::Pull, json!({"RCVHWM": 1, "RCVBUF": 65_536}))
            .await;
        link(&ours, &theirs, binder).await;
        for i in 0..200_u32 {
            send(&ours, [&i.to_be_bytes()[..], &[7; 65_536]].concat()).await;
        }
        tokio::time::sleep(20 * beat).await;
        for i in 0..200_u32 {
            let got = theirs.recv().await;
            assert_eq!(got[0][..4], i.to_be_bytes(), "{binder:?}");
        }
        assert_eq!((ready_peers(&ours), ours.stats().handshakes), (1, 1));
    }
}

#[tokio::test]
async fn names_and_both_families_of_addresses() {
    let py = Pyzmq::start();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let options = brisk().ipv6(host.starts_with('['));
        let ours = socket_with(SocketType::Pair, options.clone());
        let bound = harness::within("bind", ours.bind(format!("tcp://{host}:0")))
            .await
            .unwrap();
        let port = bound.to_string().rsplit(':').next().unwrap().to_owned();
        let theirs = py.socket_with(SocketType::Pair, json!({"IPV6": 1})).await;
        theirs.connect(&format!("tcp://{host}:{port}")).await;
        send(&ours, host).await;
        assert_eq!(theirs.recv().await, Message::from(host));

        let theirs = py
            .socket_with(
                SocketType::Pair,
                json!({"IPV6": i32::from(host.starts_with('['))}),
            )
            .await;
        let address = if host == "localhost" { "127.0.0.1" } else { host };
        let bound = theirs.bind(&format!("tcp://{address}:*")).await;
        let port = bound.rsplit(':').next().unwrap();
        let ours = socket_with(SocketType::Pair, options);
        ours.connect(format!("tcp://{host}:{port}")).unwrap();
        send(&ours, host).await;
        assert_eq!(theirs.recv().await, Message::from(host));
    }
    // A wildcard serves every address.
    let ours = socket(SocketType::Pull);
    let bound = harness::within("bind", ours.bind("tcp://*:0"))
        .await
        .unwrap()
        .to_string();
    let port = bound.rsplit(':').next().unwrap();
    let theirs = py.socket(SocketType::Push).await;
    theirs.connect(&format!("tcp://127.0.0.1:{port}")).await;
    theirs.send("x").await;
    assert_eq!(recv(&ours).await, Message::from("x"));
}
