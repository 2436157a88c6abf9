//! CURVE and ZAP with libzmq, in both roles.

mod harness;
mod interop;

use std::time::Duration;

use flexbond_session::socket::{
    CurveAllow, CurveClient, DenyStatus, HandshakeFailure, KeyPair, Options, PlainUser, SocketType,
    generate_keys,
};
use flexbond_session::{Frame, Message};
use harness::{brisk, denied, failed_handshake, ready_peers, recv, send, socket_with, within};
use interop::{BINDERS, Binder, Pyzmq, bytes, join, link};
use serde_json::{Value, json};

fn keys() -> KeyPair {
    generate_keys().expect("random numbers")
}

/// Who is the CURVE server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Ours,
    Theirs,
}

const SERVERS: [Server; 2] = [Server::Ours, Server::Theirs];

fn our_client(server: &KeyPair, client: &KeyPair) -> Options {
    brisk().curve_client(CurveClient::new(*server.public(), client.clone()))
}

fn their_server(keys: &KeyPair) -> Value {
    json!({"CURVE_SERVER": 1, "CURVE_SECRETKEY": bytes(keys.secret().expose_z85().as_str())})
}

fn their_client(server: &KeyPair, client: &KeyPair) -> Value {
    json!({
        "CURVE_SERVERKEY": bytes(server.public().to_string()),
        "CURVE_PUBLICKEY": bytes(client.public().to_string()),
        "CURVE_SECRETKEY": bytes(client.secret().expose_z85().as_str()),
    })
}

/// Options of both sides, with keys that fit.
fn sides(server: Server) -> (Options, Value) {
    let (at_server, at_client) = (keys(), keys());
    match server {
        Server::Ours => (
            brisk().curve_server(at_server.clone()),
            their_client(&at_server, &at_client),
        ),
        Server::Theirs => (our_client(&at_server, &at_client), their_server(&at_server)),
    }
}

fn with(mut options: Value, more: Value) -> Value {
    let (Value::Object(options_map), Value::Object(more)) = (&mut options, more) else {
        panic!("options are objects")
    };
    options_map.extend(more);
    options
}

#[tokio::test]
async fn messages_of_every_size_go_both_ways_in_both_roles() {
    let py = Pyzmq::start();
    for server in SERVERS {
        for binder in BINDERS {
            let (ours, theirs) = sides(server);
            let ours = socket_with(SocketType::Dealer, ours);
            let theirs = py.socket_with(SocketType::Dealer, theirs).await;
            theirs.monitor().await;
            link(&ours, &theirs, binder).await;
            theirs.event("HANDSHAKE_SUCCEEDED").await;
            for parts in [
                vec![0],
                vec![1, 0, 62, 63, 64],
                vec![222, 223, 254, 255, 256],
                vec![4063, 4064, 32_734, 32_735, 32_736],
                vec![200_000, 1],
            ] {
                let message: Message = parts.iter().map(|len| Frame::from(vec![9; *len])).collect();
                send(&ours, message.clone()).await;
                assert_eq!(theirs.recv().await, message, "{server:?} {binder:?} {parts:?}");
                theirs.send(message.clone()).await;
                assert_eq!(recv(&ours).await, message, "{server:?} {binder:?} {parts:?}");
            }
        }
    }
}

#[tokio::test]
async fn large_messages_go_both_ways() {
    let py = Pyzmq::start();
    let (ours, theirs) = sides(Server::Ours);
    let ours = socket_with(SocketType::Dealer, ours);
    let theirs = py.socket_with(SocketType::Dealer, theirs).await;
    link(&ours, &theirs, Binder::Ours).await;
    let message = Message::from(vec![5; 5 << 20]);
    send(&ours, message.clone()).await;
    assert_eq!(theirs.recv().await, message);
    theirs.send(message.clone()).await;
    assert_eq!(recv(&ours).await, message);
}

#[tokio::test]
async fn many_messages_keep_their_order() {
    let py = Pyzmq::start();
    for server in SERVERS {
        let (ours, theirs) = sides(server);
        let pull = socket_with(SocketType::Pull, ours);
        let theirs = py.socket_with(SocketType::Push, theirs).await;
        link(&pull, &theirs, Binder::Ours).await;
        let count = 5000;
        let sending = theirs.send_numbered(0, count, 100, Duration::from_secs(5));
        let receiving = async {
            for number in 0..count {
                assert_eq!(harness::number(&recv(&pull).await[0]), number);
            }
        };
        assert_eq!(tokio::join!(sending, receiving).0, count);
    }
}

#[tokio::test]
async fn subscriptions_pass_as_sealed_commands() {
    let py = Pyzmq::start();
    for server in SERVERS {
        for binder in BINDERS {
            let (ours, theirs) = sides(server);
            let sub = socket_with(SocketType::Sub, ours);
            sub.subscribe("early").expect("a SUB subscribes");
            let xpub = py.socket_with(SocketType::XPub, theirs).await;
            link(&sub, &xpub, binder).await;
            assert_eq!(xpub.recv().await, Message::from(b"\x01early"));
            sub.subscribe("late").expect("a SUB subscribes");
            assert_eq!(xpub.recv().await, Message::from(b"\x01late"));
            sub.unsubscribe("early").expect("it did");
            assert_eq!(xpub.recv().await, Message::from(b"\x00early"));
            xpub.send("early bird").await;
            xpub.send("late show").await;
            assert_eq!(recv(&sub).await, Message::from("late show"));

            let (ours, theirs) = sides(server);
            let xpub = socket_with(SocketType::XPub, ours);
            let sub = py.socket_with(SocketType::Sub, theirs).await;
            sub.subscribe("topic").await;
            link(&xpub, &sub, binder).await;
            assert_eq!(recv(&xpub).await, Message::from(b"\x01topic"));
            send(&xpub, "nothing").await;
            send(&xpub, "topic one").await;
            assert_eq!(sub.recv().await, Message::from("topic one"));
            sub.unsubscribe("topic").await;
            assert_eq!(recv(&xpub).await, Message::from(b"\x00topic"));
        }
    }
}

#[tokio::test]
async fn heartbeats_of_both_sides_keep_the_connection() {
    let py = Pyzmq::start();
    for server in SERVERS {
        let beat = Duration::from_millis(30);
        let (ours, theirs) = sides(server);
        let ours = ours
            .heartbeat_interval(beat)
            .heartbeat_timeout(beat * 10)
            .heartbeat_ttl(beat * 20);
        let ours = socket_with(SocketType::Dealer, ours);
        let beating = json!({"HEARTBEAT_IVL": 30, "HEARTBEAT_TIMEOUT": 300, "HEARTBEAT_TTL": 600});
        let theirs = py.socket_with(SocketType::Dealer, with(theirs, beating)).await;
        link(&ours, &theirs, Binder::Ours).await;
        // Long enough for either to give up, if it had a reason.
        tokio::time::sleep(beat * 25).await;
        assert_eq!(
            (ready_peers(&ours), ours.stats().handshakes),
            (1, 1),
            "{server:?}"
        );
        send(&ours, "still here").await;
        assert_eq!(theirs.recv().await, Message::from("still here"));
    }
}

#[tokio::test]
async fn a_wrong_server_key_is_refused_by_either() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let ours = socket_with(SocketType::Pull, brisk().curve_server(keys()));
        let mut monitor = ours.monitor();
        let theirs = py
            .socket_with(SocketType::Push, their_client(&keys(), &keys()))
            .await;
        join(&ours, &theirs, binder).await;
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert_eq!(why, HandshakeFailure::Key, "{text}");

        let ours = socket_with(SocketType::Push, our_client(&keys(), &keys()));
        let mut monitor = ours.monitor();
        let theirs = py.socket_with(SocketType::Pull, their_server(&keys())).await;
        theirs.monitor().await;
        join(&ours, &theirs, binder).await;
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert!(
            matches!(why, HandshakeFailure::Closed | HandshakeFailure::Other),
            "{text}"
        );
        theirs.event("HANDSHAKE_FAILED_PROTOCOL").await;
        assert_eq!(ready_peers(&ours), 0);
    }
}

#[tokio::test]
async fn mechanisms_must_match() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let server = keys();
        for (ours, theirs) in [
            (brisk().curve_server(server.clone()), json!({})),
            (our_client(&server, &keys()), json!({})),
            (brisk(), their_server(&server)),
            (brisk(), their_client(&server, &keys())),
        ] {
            let ours = socket_with(SocketType::Pull, ours);
            let mut monitor = ours.monitor();
            let theirs = py.socket_with(SocketType::Push, theirs).await;
            join(&ours, &theirs, binder).await;
            failed_handshake(&mut monitor).await;
            assert_eq!(ready_peers(&ours), 0);
        }
    }
}

#[tokio::test]
async fn our_list_of_keys_judges_clients_of_libzmq() {
    let py = Pyzmq::start();
    for binder in BINDERS {
        let (server, ada, eve) = (keys(), keys(), keys());
        let allowed = CurveAllow::new();
        allowed.allow(*ada.public(), "ada");
        let options = brisk().curve_server(server.clone());
        let ours = socket_with(SocketType::Pull, options.authenticator(allowed));
        let mut monitor = ours.monitor();
        let theirs = py
            .socket_with(SocketType::Push, their_client(&server, &eve))
            .await;
        theirs.monitor().await;
        join(&ours, &theirs, binder).await;
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert_eq!(denied(&why), Some(DenyStatus::Refused), "{text}");
        let told = theirs.event("HANDSHAKE_FAILED_AUTH").await;
        assert_eq!(told["value"], 400);
        theirs.close(Duration::ZERO).await;

        let theirs = py
            .socket_with(SocketType::Push, their_client(&server, &ada))
            .await;
        join(&ours, &theirs, binder).await;
        theirs.send("in").await;
        let (message, peer) = within("a message", ours.recv_from()).await.expect("received");
        assert_eq!((message, peer.user_id()), (Message::from("in"), Some("ada")));
    }
}

#[tokio::test]
async fn pyzmqs_authenticator_judges_our_clients() {
    let py = Pyzmq::start();
    let (server, ada, eve) = (keys(), keys(), keys());
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("metadata\ncurve\n    public-key = \"{}\"\n", ada.public());
    std::fs::write(folder.path().join("ada.key"), text).expect("written");
    py.call(
        "auth",
        json!({"folder": folder.path(), "users": {"ada": "lovelace"}}),
    )
    .await;
    for binder in BINDERS {
        let theirs = py.socket_with(SocketType::Pull, their_server(&server)).await;
        let ours = socket_with(SocketType::Push, our_client(&server, &ada));
        link(&ours, &theirs, binder).await;
        send(&ours, "in").await;
        let (message, properties) = theirs.recv_with(&["User-Id"]).await;
        assert_eq!(message, Message::from("in"));
        let public = ada.public().to_string();
        assert_eq!(properties["User-Id"].as_str(), Some(public.as_str()));

        let theirs = py.socket_with(SocketType::Pull, their_server(&server)).await;
        theirs.monitor().await;
        let ours = socket_with(SocketType::Push, our_client(&server, &eve));
        let mut monitor = ours.monitor();
        join(&ours, &theirs, binder).await;
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert!(
            matches!(&why, HandshakeFailure::Refused { reason, .. } if reason == "400"),
            "{text}"
        );
        theirs.event("HANDSHAKE_FAILED_AUTH").await;

        // The same authenticator, with passwords.
        for (password, good) in [("lovelace", true), ("wrong", false)] {
            let theirs = py.socket_with(SocketType::Pull, json!({"PLAIN_SERVER": 1})).await;
            let user = PlainUser::new("ada", password);
            let ours = socket_with(SocketType::Push, brisk().plain_client(user));
            let mut monitor = ours.monitor();
            join(&ours, &theirs, binder).await;
            if good {
                send(&ours, "in").await;
                assert_eq!(theirs.recv().await, Message::from("in"));
            } else {
                let (_, why, text) = failed_handshake(&mut monitor).await;
                assert!(matches!(why, HandshakeFailure::Refused { .. }), "{text}");
            }
        }
    }
}
